//! The engine is killed from inside, at every named point of the way of commits and effects, one after the other: each time the
//! next engine goes on with what is left, and is killed at the next point. Then it is looked at from outside, as in `killed.rs`.
//!
//! The points are those of the code (`engine/points`): one that is never passed fails the test. `YUANLI_SOAK` does it more
//! often, at later times, and kills containers and a Docker of its own meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::ExitStatusExt as _;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use yuanli_points::{Point, VARIABLE};
use yuanli_test_guests::PROBE;

use crate::afar::dockerd::Dockerd;
use crate::killed::{Random, seed};
use crate::served::Served;
use crate::support::{Ended, PROBE_GRANTS, docker, wait_until};

/// How often it is killed at each point in a soak, and at most the how manieth time counts.
const SOAK_ROUNDS: usize = 10;
const SOAK_TIMES: u64 = 4;
/// Lines that each container writes.
const LINES: usize = 12;

/// A server of others that counts what it was sent, by path.
struct Counter {
    address: SocketAddr,
    sent: Arc<Mutex<BTreeMap<String, usize>>>,
}

impl Counter {
    fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, sent) = (listener.local_addr().unwrap(), Arc::<Mutex<BTreeMap<_, _>>>::default());
        let counted = Arc::clone(&sent);
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let mut head = vec![0; 64 * 1024];
                let read = stream.read(&mut head).unwrap_or_default();
                let head = String::from_utf8_lossy(&head[..read]).into_owned();
                if let Some(path) = head.strip_prefix("POST ").and_then(|rest| rest.split(' ').next()) {
                    *counted.lock().unwrap().entry(path.to_owned()).or_default() += 1;
                }
                // Whoever asked may have been killed.
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ndone");
            }
        });
        Self { address, sent }
    }

    fn of(&self, run: &str) -> usize {
        self.sent.lock().unwrap().get(&format!("/{run}")).copied().unwrap_or_default()
    }
}

/// What the engine of this test is asked to do, over and over.
struct Work {
    served: Served,
    counter: Counter,
    image: String,
    /// Of each key there is to be one run.
    keys: usize,
    acknowledged: BTreeMap<String, String>,
    /// Workflows that start by what is measured.
    watching: Vec<String>,
    /// A Docker of its own, which may be killed, and containers on it: then stages are tried again.
    dockerd: Option<Dockerd>,
}

impl Work {
    fn begin(what: &str, dockerd: Option<Dockerd>) -> Self {
        docker::make_image();
        if let Some(dockerd) = &dockerd {
            dockerd.give(docker::IMAGE);
        }
        let served = Served::without_image();
        let (counter, image) = (Counter::open(), format!("yuanli-e2e-points:{what}"));
        served.place.write("probe.wasm", PROBE.component);
        let dockerfile = format!("FROM {}\nCOPY Dockerfile /it\n", docker::IMAGE);
        served.place.write("context/Dockerfile", dockerfile);
        served
            .apply("small.yaml", "name: small\nstages:\n  it: { uses: script, with: { print: [small] } }\n");
        let (acknowledged, watching) = (BTreeMap::new(), Vec::new());
        let mut work = Self { served, counter, image, keys: 0, acknowledged, watching, dockerd };
        work.served.apply("points.yaml", &work.workflow());
        let after = "name: after\non: { event: { workflow: points } }\nstages:\n  it: { uses: script, with: { print: [after] } }\n";
        work.served.apply("after.yaml", after);
        let ticking = "name: ticking\non:\n  schedule: { cron: \"0/5 * * * * ?\", dialect: quartz, inputs: { due: \"${{ trigger.body.due }}\" } }\n\
                       inputs: { due: \"\" }\nstages:\n  it: { uses: script, with: { print: [tick] } }\n";
        work.served.apply("ticking.yaml", ticking);
        // It may have asked the other Docker by now.
        assert_eq!(work.served.stop(), 0);
        work
    }

    /// What the docker program says of the Docker of the engine.
    fn docker(&self, arguments: &[&str]) -> String {
        let Some(dockerd) = &self.dockerd else { return docker::run(arguments) };
        let output = dockerd.docker(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Containers, networks and volumes of the engine.
    fn left(&self) -> String {
        let filter = format!("label=yuanli.engine={}", self.served.place.engine());
        let lists: [&[&str]; 3] = [&["ps", "-aq"], &["network", "ls", "-q"], &["volume", "ls", "-q"]];
        lists.map(|list| self.docker(&[list, &["--filter", &filter]].concat())).concat()
    }

    /// Starts an engine that may end before it answers.
    fn launch(&mut self, armed: Option<&str>) {
        let host = self.dockerd.as_ref().map(Dockerd::host);
        let mut environment = Vec::new();
        environment.extend(armed.map(|armed| (VARIABLE, armed)));
        environment.extend(host.as_deref().map(|host| ("DOCKER_HOST", host)));
        self.served.launch(&environment);
    }

    /// Kills its Docker, or a container.
    fn kill_docker(&mut self, random: &mut Random) {
        let Some(dockerd) = &mut self.dockerd else { return };
        if random.below(2) == 0 {
            dockerd.kill();
            dockerd.start_again();
            return;
        }
        let running = dockerd.docker(&["ps", "-q"]).stdout;
        if let Some(id) = String::from_utf8_lossy(&running).lines().next() {
            // It may be gone by now.
            dockerd.docker(&["kill", id]);
        }
    }

    /// A container beside a build, changes of what the engine keeps, a request that cannot be repeated, and a run of another
    /// workflow; then a container that reads what the first one wrote.
    fn workflow(&self) -> String {
        let (image, base) = (&self.image, docker::IMAGE);
        let http = format!("{{http: {{hosts: ['{}'], methods: [POST]}}}}", self.counter.address);
        let grants = PROBE_GRANTS.replace("{http: {hosts: '127.0.0.1:1'}}", &http);
        let count = format!(
            "echo begun >> marks; i=0; while [ $i -lt {LINES} ]; do echo line $i; i=$((i+1)); busybox usleep 20000; done"
        );
        let retry = match self.dockerd {
            Some(_) => "retry: { attempts: 30, backoff: 100ms }",
            None => "retry: { attempts: 1 }",
        };
        let probe =
            |with: &str| format!("uses: ./probe.wasm\n    grants: {grants}\n    with: {{ {with} }}\n");
        format!(
            "name: points\nstages:\n  lines:\n    {retry}\n    uses: command\n    with: {{ image: {base}, command: [/bin/sh, -c, {count:?}] }}\n  \
             source: {{ uses: source, with: {{ path: context }} }}\n  \
             image: {{ {retry}, uses: build, needs: source, with: {{ image: \"{image}\", context: . }} }}\n  \
             count:\n    {}  post:\n    allow_failure: true\n    {}  child: {{ uses: workflow/small }}\n  \
             show:\n    {retry}\n    needs: [lines, image, count, post, child]\n    uses: command\n    \
             with: {{ image: {base}, command: [/bin/busybox, cat, marks] }}\n",
            probe("do: count, key: \"${{ run.id }}\""),
            probe(&format!("do: post, url: \"http://{}/${{{{ run.id }}}}\"", self.counter.address)),
        )
    }

    fn trigger(&self, key: &str) -> Option<String> {
        let told: Ended = self.served.yuanli(&["trigger", "points", "--key", key]);
        (told.code == 0).then(|| told.out.trim().to_owned())
    }

    /// Has an engine go on until it is killed at a point, the so manieth time that it passes it.
    fn die_at(&mut self, point: Point, time: u64) {
        let armed = format!("{}:{time}", point.name());
        self.launch(Some(&armed));
        let mut under_way: Option<String> = None;
        let mut is_watched = false;
        wait_until(&format!("the engine passes {armed}"), || {
            if let Some(status) = self.served.has_ended() {
                assert_eq!(status.signal(), Some(9), "{armed}: the engine ended by itself");
                return true;
            }
            if point.name().starts_with("alarm-") && !is_watched {
                is_watched = self.watch(point, time);
            }
            let is_over = under_way.as_ref().is_none_or(|run| is_over(&self.served, run).unwrap_or_default());
            if is_over {
                let key = format!("key-{}", self.keys);
                under_way = self.trigger(&key);
                if let Some(run) = &under_way {
                    self.keys += 1;
                    self.acknowledged.insert(key, run.clone());
                }
            }
            false
        });
    }

    /// Keeps a workflow that starts by what is always above its threshold. Returns whether it is kept.
    fn watch(&mut self, point: Point, time: u64) -> bool {
        let name = format!("{}-{time}-{}", point.name(), self.watching.len());
        let file = self.served.place.write(
            &format!("{name}.yaml"),
            format!(
                "name: {name}\non: {{ metric: {{ query: \"max(yuanli_build_info)\", above: 0 }} }}\n\
                 stages:\n  it: {{ uses: script, with: {{ print: [watched] }} }}\n"
            ),
        );
        let is_kept = self.served.yuanli(&["workflow", "apply", &file]).code == 0;
        // Also when the answer was lost: whether it is kept is seen at the end.
        self.watching.push(name);
        is_kept
    }

    /// Looks at everything once nothing kills the engine any more.
    fn check(mut self) {
        self.launch(None);
        wait_until("the engine answers", || self.served.yuanli(&["app", "list"]).code == 0);
        let mut runs = Vec::new();
        // Of the last key it may not be known whether there is a run.
        for key in (0..=self.keys).map(|number| format!("key-{number}")) {
            let run = self.trigger(&key).unwrap_or_else(|| panic!("{key} is asked for again"));
            assert!(
                self.acknowledged.get(&key).is_none_or(|known| *known == run),
                "of {key} there is one run"
            );
            runs.push(run);
        }
        for run in &runs {
            wait_until(&format!("run {run} has ended"), || is_over(&self.served, run) == Some(true));
            self.check_run(run);
        }
        let of = |workflow: &str| {
            let listed = self.served.place.json(&["runs", "list", "--limit", "1000"]);
            let all = listed["items"].as_array().unwrap();
            all.iter().filter(|run| run["workflow"] == workflow).cloned().collect::<Vec<Value>>()
        };
        assert_eq!(of("points").len(), runs.len(), "none was started twice");
        assert_eq!(of("small").len(), runs.len(), "each has one run of its stage");
        wait_until("each end has started a run", || of("after").len() >= runs.len());
        wait_until("those have ended", || of("after").iter().all(|run| run["status"] != "running"));
        assert_eq!(of("after").len(), runs.len(), "each end has started one run");
        let due: Vec<Value> = of("ticking")
            .iter()
            .map(|run| {
                self.served.place.json(&["runs", "show", run["id"].as_str().unwrap()])["inputs"]["due"].take()
            })
            .collect();
        let times: BTreeSet<&str> = due.iter().map(|due| due.as_str().unwrap()).collect();
        assert!(!times.is_empty() && times.len() == due.len(), "each due time has started one run: {due:?}");
        for name in &self.watching {
            if self.served.yuanli(&["workflow", "show", name]).code == 0 {
                wait_until(&format!("`{name}` has started"), || !of(name).is_empty());
                assert_eq!(of(name).len(), 1, "`{name}` is raised once");
            }
        }
        wait_until("nothing is left on Docker", || self.left().is_empty());
        let names = self.docker(&["image", "ls", "-q", &self.image]);
        assert_eq!(names.lines().count(), 1, "the image has its name");
        self.docker(&["image", "rm", &self.image]);
        assert_eq!(self.served.stop(), 0);
        assert_eq!(self.served.place.json(&["admin", "check"])["findings"], json!([]));
    }

    /// One attempt of each stage, each line once, each effect once or told as interrupted.
    fn check_run(&self, run: &str) {
        let place = &self.served.place;
        let shown = place.json(&["runs", "show", run]);
        assert_eq!(shown["status"], "succeeded", "{shown}");
        for stage in shown["stages"].as_array().unwrap().iter().filter(|_| self.dockerd.is_none()) {
            let attempts = stage["attempts"].as_array().unwrap().len();
            assert_eq!(attempts, 1, "a crash of the engine is no attempt: {stage}");
        }
        let numbered: Vec<String> = (0..LINES).map(|number| format!("line {number}")).collect();
        let mut lines = self.lines(run, "lines");
        // An attempt whose container was killed said a beginning of it.
        assert_eq!(
            lines.pop_last().map(|(_, lines)| lines),
            Some(numbered.clone()),
            "run {run}: each line once"
        );
        for (attempt, said) in lines {
            assert!(numbered.starts_with(&said), "run {run}, attempt {attempt}: {said:?}");
        }
        let show = self.lines(run, "show").pop_last().map(|(_, lines)| lines);
        assert_eq!(
            show.as_deref(),
            Some(&["begun".to_owned()][..]),
            "run {run}: its container was started once"
        );
        let stage = |name: &str| {
            let all = shown["stages"].as_array().unwrap();
            all.iter().find(|stage| stage["name"] == name).unwrap().clone()
        };
        assert_eq!(stage("count")["outputs"]["number"], 1, "run {run}: it is counted once");
        for kept in ["events", "artifacts"] {
            let kept = place.json(&["runs", kept, run]);
            assert_eq!(kept["items"].as_array().unwrap().len(), 1, "run {run}: {kept}");
        }
        let post = stage("post");
        match post["status"].as_str().unwrap() {
            "succeeded" => assert_eq!(self.counter.of(run), 1, "run {run}: it was sent once"),
            _ => {
                assert_eq!(post["failure"]["class"], "interrupted", "{post}");
                assert!(self.counter.of(run) <= 1, "run {run}: it was never sent again");
            }
        }
    }

    /// What the containers of a stage wrote, by attempt.
    fn lines(&self, run: &str, stage: &str) -> BTreeMap<u64, Vec<String>> {
        let told = self.served.yuanli(&["runs", "logs", run, "--stage", stage, "--json"]).expect(0, &[]);
        let mut lines = BTreeMap::<u64, Vec<String>>::new();
        for line in told.lines().iter().filter(|line| line["stream"] == "stdout") {
            let text = line["text"].as_str().unwrap().to_owned();
            lines.entry(line["attempt"].as_u64().unwrap()).or_default().push(text);
        }
        lines
    }
}

/// Whether a run has ended; `None` when nobody answers.
fn is_over(served: &Served, run: &str) -> Option<bool> {
    let told = served.yuanli(&["runs", "show", run, "--json"]);
    let shown: Value = serde_json::from_str(&told.out).ok()?;
    (told.code == 0).then(|| shown["status"] != "running")
}

#[test]
fn an_engine_that_is_killed_at_any_point_loses_nothing_and_does_nothing_twice() {
    let mut work = Work::begin("each", None);
    for point in Point::ALL {
        work.die_at(*point, 1);
    }
    work.check();
}

/// Kills it at each point again and again, the more often the later; with a Docker of its own that too.
fn soak(what: &str, has_dockerd: bool) {
    if std::env::var_os("YUANLI_SOAK").is_none() {
        return;
    }
    let seed = seed();
    eprintln!("YUANLI_SEED={seed} repeats it");
    let mut random = Random(seed.max(1));
    for _ in 0..SOAK_ROUNDS {
        let mut work = Work::begin(what, has_dockerd.then(Dockerd::start));
        for point in Point::ALL {
            work.die_at(*point, 1 + random.below(SOAK_TIMES));
            work.kill_docker(&mut random);
        }
        work.check();
    }
}

#[test]
fn so_does_one_that_is_killed_there_again_and_again() {
    soak("again", false);
}

#[test]
fn so_does_one_whose_docker_and_containers_are_killed_as_well() {
    soak("docker", true);
}
