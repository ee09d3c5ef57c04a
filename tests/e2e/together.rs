//! Commands that work in one data directory at the same time: one is the engine, the others work with it, and when it ends or is
//! killed, one of them goes on with what is theirs.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Stdio};

use serde_json::Value;

use crate::served::signal;
use crate::support::{Ended, Place, docker, wait_until};

const HELLO: &str = "name: hello\ninputs: { who: { type: string } }\nstages:\n  greet: { uses: script, with: { print: [\"Hello, ${{ inputs.who }}!\"] } }\n";

/// A workflow that goes on once somebody has said so.
fn asks(name: &str) -> String {
    format!(
        "name: {name}\nstages:\n  first: {{ uses: script, with: {{ print: [{name} has begun] }} }}\n  ask: {{ needs: first, approval: true }}\n  last: {{ needs: ask, uses: script, with: {{ print: [{name} is done] }} }}\n"
    )
}

/// Lines that a container writes in ten seconds.
const LINES: usize = 200;

/// A workflow with a container that takes its time.
fn counts(name: &str) -> String {
    docker::make_image();
    let script =
        format!("i=0; while [ $i -lt {LINES} ]; do echo {name} $i; i=$((i+1)); busybox usleep 50000; done");
    let (image, script) = (docker::IMAGE, Value::from(script));
    format!(
        "name: {name}\nstages:\n  count: {{ uses: command, with: {{ image: {image}, command: [/bin/sh, -c, {script}] }} }}\n"
    )
}

/// What it writes.
fn numbered(name: &str) -> Vec<String> {
    (0..LINES).map(|number| format!("{name} {number}")).collect()
}

/// What the containers wrote, of updates or lines of a log.
fn written(told: &[Value]) -> Vec<&str> {
    let lines = told.iter().filter(|line| line["stream"] == "stdout");
    lines.map(|line| line["text"].as_str().unwrap()).collect()
}

/// A command that follows a run, and what it has told so far.
struct Running {
    child: Child,
    out: std::path::PathBuf,
    err: std::path::PathBuf,
}

impl Running {
    /// Runs a workflow.
    fn start(place: &Place, name: &str, text: &str) -> Self {
        let file = place.write(&format!("{name}.yaml"), text);
        Self::spawn(place, name, &["run", &file])
    }

    fn spawn(place: &Place, name: &str, arguments: &[&str]) -> Self {
        let (out, err) = (place.path(&format!("{name}.out")), place.path(&format!("{name}.err")));
        let mut command = place.attended(&[arguments, &["--json"]].concat());
        command.stdout(Stdio::from(std::fs::File::create(&out).unwrap()));
        command.stderr(Stdio::from(std::fs::File::create(&err).unwrap()));
        Self { child: command.spawn().unwrap(), out, err }
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn told(&self) -> String {
        std::fs::read_to_string(&self.out).unwrap()
    }

    fn notes(&self) -> String {
        std::fs::read_to_string(&self.err).unwrap()
    }

    fn wait_for(&mut self, text: &str) {
        wait_until(&format!("`{text}` is told"), || {
            assert!(
                self.told().contains(text) || self.child.try_wait().unwrap().is_none(),
                "it has ended: {}{}",
                self.told(),
                self.notes()
            );
            self.told().contains(text)
        });
    }

    /// Its run.
    fn id(&self) -> String {
        let told = self.told();
        let first: Value = serde_json::from_str(told.lines().next().expect("an event")).unwrap();
        first["run"].as_str().unwrap_or_else(|| panic!("{first}")).to_owned()
    }

    fn signal(&self, name: &str) {
        signal(name, self.child.id());
    }

    /// How it ended, with nothing told twice.
    #[track_caller]
    fn expect(&mut self, code: i32) -> Ended {
        let status = self.child.wait().unwrap();
        let ended = Ended { code: status.code().unwrap_or(-1), out: self.told(), err: self.notes() };
        let lines: Vec<&str> = ended.out.lines().collect();
        let once: BTreeSet<&str> = lines.iter().copied().collect();
        assert_eq!(once.len(), lines.len(), "something was told twice: {ended:#?}");
        ended.expect(code, &[])
    }
}

impl Drop for Running {
    /// None stays behind when a test fails.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn approve(place: &Place, run: &str) {
    wait_until("it is approved", || place.yuanli(&["runs", "approve", run, "ask"]).code == 0);
}

fn status(place: &Place, run: &str) -> Value {
    place.json(&["runs", "show", run])["status"].clone()
}

#[test]
fn a_second_command_works_with_the_engine_of_the_first() {
    let place = Place::new();
    let mut first = Running::start(&place, "one", &asks("one"));
    first.wait_for("approval-requested");
    let hello = place.write("hello.yaml", HELLO);
    let ended = place.yuanli(&["run", &hello, "-i", "who=Ada"]).expect(0, &["Hello, Ada!"]);
    let run = ended.out.trim();
    // Mistakes and exit codes are those of a run that is alone.
    place.yuanli(&["run", &hello]).expect(2, &["who"]);
    let fails =
        "name: fails\nstages:\n  a: { uses: script, with: { assert: [{ that: false, message: no }] } }\n";
    let fails = place.write("fails.yaml", fails);
    place.yuanli(&["run", &fails]).expect(1, &["[a] failed", "(assertion): no"]);
    place
        .yuanli(&["run", &hello, "-i", "who=A", "--secret", "k=env:PATH"])
        .expect(3, &["`--secret`", "--data"]);

    // Whoever only looks is told as well.
    assert_eq!(status(&place, run), "succeeded");
    let listed = place.json(&["runs", "list"]);
    assert_eq!(listed["items"].as_array().unwrap().len(), 3, "{listed}");
    assert_eq!(listed["items"][2]["status"], "running");
    assert!(listed["items"][2].get("resumable").is_none(), "it is driven: {listed}");
    let logs = place.yuanli(&["runs", "logs", run]).expect(0, &[]);
    assert!(logs.out.contains("Hello, Ada!"), "{logs:?}");
    place.yuanli(&["why", &first.id()]).expect(0, &[]);

    // It is for its owner alone, and keeps nothing.
    let mode = std::fs::metadata(place.path("data/command.sock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    place.yuanli(&["app", "list"]).expect(3, &["no engine serves", "yuanli serve"]);
    let socket = place.path("data/command.sock");
    let asked = std::process::Command::new("curl")
        .args(["-s", "--unix-socket", socket.to_str().unwrap(), "http://engine/api/v1/tokens"])
        .output()
        .unwrap();
    let answer = String::from_utf8(asked.stdout).unwrap();
    assert!(answer.contains("drives runs only"), "{answer}");

    approve(&place, &first.id());
    let told = first.expect(0).out;
    assert!(told.contains("one is done"), "{told}");
    assert!(!socket.exists(), "nobody answers there any more");
}

#[test]
fn of_three_the_engine_is_killed_and_the_others_go_on_where_they_were() {
    let place = Place::new();
    let mut owner = Running::start(&place, "a", &counts("a"));
    owner.wait_for("\"a 3\"");
    let mut others = ["b", "c"].map(|name| (name, Running::start(&place, name, &counts(name))));
    for (name, other) in &mut others {
        other.wait_for(&format!("\"{name} 3\""));
    }
    let engine = place.engine();
    let before: BTreeSet<String> = docker::containers(&engine).into_iter().collect();
    assert_eq!(before.len(), 3);
    let left = owner.id();
    owner.kill();
    wait_until("one of them is the engine", || {
        others.iter().any(|(_, other)| other.notes().contains("it goes on in this one"))
    });
    wait_until("it answers", || place.yuanli(&["runs", "list"]).code == 0);
    let now: BTreeSet<String> = docker::containers(&engine).into_iter().collect();
    assert!(now.is_subset(&before), "none was started again: {before:?} {now:?}");
    for (name, other) in &mut others {
        let ended = other.expect(0);
        assert_eq!(written(&ended.lines()), numbered(name));
    }
    // Nobody follows that of the one which was killed: somebody has to say what becomes of it.
    assert_eq!(place.json(&["runs", "show", &left])["resumable"], true);
    place.yuanli(&["runs", "resume", &left]).expect(0, &[]);
    let logs = place.yuanli(&["runs", "logs", &left, "--json"]).lines();
    assert_eq!(written(&logs), numbered("a"));
    assert_eq!(docker::left(&engine), Vec::<String>::new());
}

#[test]
fn whoever_is_the_engine_ends_with_its_own_run_and_another_goes_on() {
    let place = Place::new();
    let mut owner = Running::start(&place, "one", &asks("one"));
    owner.wait_for("approval-requested");
    let mut other = Running::start(&place, "b", &counts("b"));
    other.wait_for("\"b 3\"");
    let engine = place.engine();
    assert_eq!(docker::containers(&engine).len(), 1);
    approve(&place, &owner.id());
    let ended = owner.expect(0);
    assert!(ended.out.contains("one is done") && ended.err.contains("handed over"), "{ended:?}");
    let ended = other.expect(0);
    assert!(ended.err.contains("it goes on in this one"), "{ended:?}");
    assert_eq!(written(&ended.lines()), numbered("b"));
    assert_eq!(docker::left(&engine), Vec::<String>::new());
    assert_eq!(place.json(&["runs", "list"])["items"].as_array().unwrap().len(), 2);
}

#[test]
fn a_signal_ends_the_run_of_its_own_command_only() {
    let place = Place::new();
    let [mut one, mut two, mut three] = ["one", "two", "three"].map(|name| {
        let mut running = Running::start(&place, name, &asks(name));
        running.wait_for("approval-requested");
        running
    });
    two.signal("INT");
    two.expect(130);
    assert_eq!(status(&place, &two.id()), "cancelled");
    assert_eq!([&one, &three].map(|other| status(&place, &other.id())), ["running", "running"]);
    // The engine's own.
    one.signal("INT");
    one.expect(130);
    wait_until("the other is the engine", || three.notes().contains("it goes on in this one"));
    assert_eq!(status(&place, &one.id()), "cancelled");
    assert_eq!(status(&place, &three.id()), "running");
    // And that of one that has become it.
    three.signal("INT");
    three.expect(130);
    assert_eq!(status(&place, &three.id()), "cancelled");
}

#[test]
fn what_was_left_goes_on_or_is_ended_in_the_engine_of_another_command() {
    let place = Place::new();
    let mut left = ["one", "two", "three"].map(|name| {
        let mut running = Running::start(&place, name, &asks(name));
        running.wait_for("approval-requested");
        running
    });
    // None of those that follow it takes over.
    left.iter().rev().for_each(|running| running.signal("STOP"));
    left.iter_mut().for_each(Running::kill);
    let left = left.map(|running| running.id());
    // The socket of the one that was killed is still there.
    assert!(place.path("data/command.sock").exists());
    let mut owner = Running::start(&place, "owner", &asks("owner"));
    owner.wait_for("approval-requested");
    for run in &left {
        assert!(owner.notes().contains(run.as_str()), "it is told");
        assert_eq!(place.json(&["runs", "show", run])["resumable"], true);
    }
    place.yuanli(&["runs", "cancel", &left[0]]).expect(0, &[]);
    wait_until("it is ended", || status(&place, &left[0]) == "cancelled");

    // Gone on with, over the end of the engine.
    let mut resumed = Running::spawn(&place, "resumed", &["runs", "resume", &left[1]]);
    resumed.wait_for("approval-requested");
    approve(&place, &owner.id());
    owner.expect(0);
    approve(&place, &left[1]);
    let told = resumed.expect(0).out;
    assert!(told.contains("two is done"), "{told}");
    assert_eq!(place.json(&["runs", "show", &left[2]])["resumable"], true, "nobody asked for that one");
    place.yuanli(&["runs", "resume", "--approve", "ask"]).expect(0, &[]);
    assert_eq!(status(&place, &left[2]), "succeeded");
}

#[test]
fn a_path_that_is_too_long_for_a_socket_is_none_for_commands() {
    let place = Place::new();
    let data = place.path(&"long/".repeat(40)).join("data");
    let data = data.to_str().unwrap();
    let file = place.write("one.yaml", asks("one"));
    let mut owner = Running::spawn(&place, "one", &["run", &file, "--data", data]);
    owner.wait_for("approval-requested");
    let hello = place.write("hello.yaml", HELLO);
    place.yuanli(&["run", &hello, "-i", "who=Ada", "--data", data]).expect(0, &["Hello, Ada!"]);
    place.yuanli(&["runs", "approve", &owner.id(), "ask", "--data", data]).expect(0, &[]);
    owner.expect(0);
}
