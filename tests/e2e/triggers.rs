//! Runs that start by what happens and by what is measured.

use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::registry::Registry;
use crate::served::{Served, document, request};
use crate::support::{Place, docker, root, wait_until};

/// The runs of a workflow, oldest first, with their inputs.
fn runs(served: &Served, workflow: &str) -> Vec<Value> {
    let listed = served.place.json(&["runs", "list"])["items"].as_array().unwrap().clone();
    let of_workflow = listed.iter().rev().filter(|run| run["workflow"] == workflow);
    of_workflow.map(|run| served.place.json(&["runs", "show", run["id"].as_str().unwrap()])).collect()
}

/// A workflow that starts by this and keeps what it was told as inputs.
fn follower(name: &str, on: &str, inputs: &[&str]) -> String {
    let given: Vec<String> =
        inputs.iter().map(|input| format!("{input}: \"${{{{ string(trigger.body.{input}) }}}}\"")).collect();
    let declared: Vec<String> = inputs.iter().map(|input| format!("{input}: \"\"")).collect();
    format!(
        "name: {name}\non:\n  {}\ninputs: {{ {} }}\nstages:\n  note: {{ uses: script, with: {{ print: [told] }} }}\n",
        on.replace("INPUTS", &format!("inputs: {{ {} }}", given.join(", "))),
        declared.join(", ")
    )
}

/// What the runs of a workflow were told.
fn told(served: &Served, workflow: &str, input: &str) -> Vec<String> {
    runs(served, workflow).iter().map(|run| run["inputs"][input].as_str().unwrap().to_owned()).collect()
}

const ASKING: &str = "name: shop\nstages:\n  ask: { approval: true }\n  work: { needs: ask, uses: script, with: { outputs: { size: 3 } } }\noutputs: { size: \"${{ stages.work.outputs.size }}\" }\n";

#[test]
fn the_end_of_a_run_starts_one_run_of_each_that_waits_for_it_also_over_crashes() {
    let mut served = Served::without_image();
    let on = "event: { workflow: shop, outcome: OUTCOME, INPUTS }";
    let inputs = ["run", "outcome", "workflow"];
    served.apply("shop.yaml", ASKING);
    for (name, outcome) in [("good", "succeeded"), ("bad", "[failed, cancelled]")] {
        served.apply(&format!("{name}.yaml"), &follower(name, &on.replace("OUTCOME", outcome), &inputs));
    }
    let start = || served.yuanli(&["trigger", "shop"]).expect(0, &[]).out.trim().to_owned();
    let ids: Vec<String> = (0..4).map(|_| start()).collect();
    served.yuanli(&["runs", "cancel", &ids[3]]).expect(0, &[]);
    for id in &ids[..3] {
        served.yuanli(&["runs", "approve", id, "ask"]).expect(0, &[]);
    }
    // Wherever that is now.
    served.kill();
    served.start();
    wait_until("each end was seen to", || {
        runs(&served, "good").len() == 3 && runs(&served, "bad").len() == 1
    });
    served.kill();
    served.start();
    let sorted = |mut all: Vec<String>| {
        all.sort();
        all
    };
    assert_eq!(sorted(told(&served, "good", "run")), sorted(ids[..3].to_vec()), "each once");
    assert_eq!(told(&served, "good", "outcome"), ["succeeded"; 3]);
    assert_eq!(told(&served, "bad", "outcome"), ["cancelled"]);
    assert_eq!(told(&served, "bad", "run"), [ids[3].clone()]);
    let shown = served.yuanli(&["workflow", "show", "bad"]).expect(0, &[]);
    assert!(shown.err.contains("when a run of shop ended failed or cancelled"), "{}", shown.err);

    // Nothing that happens while a workflow is paused is made up for.
    served.yuanli(&["workflow", "pause", "good"]).expect(0, &[]);
    let paused = served.yuanli(&["trigger", "shop"]).expect(0, &[]).out.trim().to_owned();
    served.yuanli(&["runs", "approve", &paused, "ask"]).expect(0, &[]);
    wait_until("it ends", || runs(&served, "shop").last().unwrap()["status"] == "succeeded");
    served.yuanli(&["workflow", "resume", "good"]).expect(0, &[]);
    let next = served.yuanli(&["trigger", "shop"]).expect(0, &[]).out.trim().to_owned();
    served.yuanli(&["runs", "approve", &next, "ask"]).expect(0, &[]);
    wait_until("the next one is seen to", || told(&served, "good", "run").last() == Some(&next));
    assert!(!told(&served, "good", "run").contains(&paused));

    // Runs that would follow each other for ever are not kept.
    let circle = follower("shop", "event: { workflow: good }", &[]).replace("inputs: {  }\n", "");
    let file = served.place.write("circle.yaml", circle);
    let refused = served.yuanli(&["workflow", "apply", &file]).expect(2, &["for ever"]);
    assert!(refused.err.contains("`shop`, then `good`, then `shop`"), "{}", refused.err);
}

#[test]
fn outputs_of_a_run_are_told_and_a_workflow_that_cannot_start_keeps_nothing_up() {
    let served = Served::without_image();
    served.apply("shop.yaml", ASKING);
    let sized = "name: sized\non:\n  event: { workflow: shop, inputs: { size: \"${{ trigger.body.outputs.size }}\" } }\ninputs: { size: { type: number } }\nstages:\n  note: { uses: script, with: { print: [told] } }\n";
    served.apply("sized.yaml", sized);
    served.apply("wrong.yaml", &sized.replace("sized", "wrong").replace("outputs.size", "outputs.missing"));
    let run = served.yuanli(&["trigger", "shop"]).expect(0, &[]).out.trim().to_owned();
    served.yuanli(&["runs", "approve", &run, "ask"]).expect(0, &[]);
    wait_until("the end is seen to", || !runs(&served, "sized").is_empty());
    assert_eq!(runs(&served, "sized")[0]["inputs"]["size"], 3);
    let log = || std::fs::read_to_string(served.place.path("log")).unwrap();
    wait_until("the other one is told of", || log().contains("cannot be started by an event"));
    assert!(runs(&served, "wrong").is_empty());
}

#[test]
fn an_app_that_changes_and_an_image_that_is_pushed_start_runs() {
    docker::make_image();
    let served = Served::new();
    let registry = Registry::open();
    let name = registry.name("team/it:1");
    served.apply(
        "states.yaml",
        &follower("states", "event: { app: shop, INPUTS }", &["app", "release", "state"]),
    );
    let repository = name.rsplit_once(':').unwrap().0.to_owned();
    let on = format!("event: {{ image: \"{repository}\", INPUTS }}");
    served.apply("pushed.yaml", &follower("pushed", &on, &["image", "digest"]));
    served.apply("other.yaml", &follower("other", &on.replace("team/it", "team/other"), &["image"]));
    let push = format!(
        "name: push\nstages:\n  it: {{ uses: push, with: {{ image: {}, to: \"{name}\" }} }}\n",
        docker::IMAGE
    );
    served.apply("push.yaml", &push);
    served.yuanli(&["trigger", "push", "--follow"]).expect(0, &[]);
    wait_until("the push is seen to", || runs(&served, "pushed").len() == 1);
    assert_eq!(told(&served, "pushed", "image"), [name]);
    let digest = &runs(&served, "push")[0]["stages"][0]["outputs"]["digest"];
    assert_eq!(told(&served, "pushed", "digest"), [digest.as_str().unwrap()]);

    let file = served.place.write("shop.app.yaml", document("one", ""));
    served.yuanli(&["app", "apply", &file, "--wait", "--timeout", "60"]).expect(0, &[]);
    wait_until("it is told that it serves", || {
        told(&served, "states", "state").contains(&"healthy".to_owned())
    });
    served.yuanli(&["app", "delete", "shop"]).expect(0, &[]);
    wait_until("it is told that it goes", || {
        told(&served, "states", "state").contains(&"deleted".to_owned())
    });
    let mut states = told(&served, "states", "state");
    states.sort();
    assert_eq!(states, ["deleted", "healthy", "rolling-out"]);
    assert!(told(&served, "states", "release").iter().all(|release| release == "1"));
    assert!(runs(&served, "other").is_empty());
}

/// A Prometheus that asks an engine each second.
struct Prometheus {
    address: SocketAddr,
    child: Child,
    _place: Place,
}

impl Prometheus {
    fn of(engine: SocketAddr) -> Self {
        let place = Place::new();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let configuration = format!(
            "global: {{ scrape_interval: 1s }}\nscrape_configs:\n  - job_name: yuanli\n    static_configs: [{{ targets: [\"{engine}\"] }}]\n"
        );
        let file = place.write("prometheus.yml", configuration);
        let child = Command::new(root().join("target/peers/usr/bin/prometheus"))
            .arg(format!("--config.file={file}"))
            .arg(format!("--web.listen-address={address}"))
            .arg(format!("--storage.tsdb.path={}", place.path("tsdb").display()))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("scripts/setup has unpacked it");
        Self { address, child, _place: place }
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// What a workflow has measured.
fn metric(served: &Served, workflow: &str) -> Value {
    served.place.json(&["workflow", "show", workflow])["metrics"][0].clone()
}

#[test]
fn a_value_that_crosses_its_threshold_starts_one_run() {
    let mut served = Served::without_image();
    let prometheus = Prometheus::of(served.api);
    served.apply("shop.yaml", ASKING);
    let rule = "metric: { query: \"max(yuanli_runs_active)\", SOURCE above: 1, clear: 0, INPUTS }";
    let source = format!("source: \"http://{}\",", prometheus.address);
    served.apply("asked.yaml", &follower("asked", &rule.replace("SOURCE", &source), &["value"]));
    served.apply("own.yaml", &follower("own", &rule.replace("SOURCE", ""), &["value"]));
    wait_until("both are measured", || {
        metric(&served, "asked")["value"].is_number() && metric(&served, "own")["value"].is_number()
    });
    assert_eq!(metric(&served, "own")["state"], "clear");
    let ids: Vec<String> =
        (0..2).map(|_| served.yuanli(&["trigger", "shop"]).expect(0, &[]).out.trim().to_owned()).collect();
    wait_until("both have started one", || {
        runs(&served, "asked").len() == 1 && runs(&served, "own").len() == 1
    });
    let value = told(&served, "own", "value")[0].parse::<f64>().unwrap();
    assert!(value >= 2.0, "{value}");
    assert_eq!(metric(&served, "own")["state"], "raised");
    let shown = served.yuanli(&["workflow", "show", "own"]).expect(0, &[]);
    assert!(shown.err.contains("when max(yuanli_runs_active) is above 1: now "), "{}", shown.err);

    // It does not start another one when it is only seen again.
    served.kill();
    served.start();
    wait_until("it is measured again", || metric(&served, "own")["value"].is_number());
    for id in &ids {
        served.yuanli(&["runs", "approve", id, "ask"]).expect(0, &[]);
    }
    let is_clear = |name: &str| metric(&served, name)["state"] == "clear";
    wait_until("it came back", || is_clear("asked") && is_clear("own"));
    let count = |name: &str| runs(&served, name).len();
    assert_eq!((count("asked"), count("own")), (1, 1));

    drop(prometheus);
    wait_until("nobody answers", || metric(&served, "asked")["trouble"].is_string());
    let file = served.place.write(
        "wrong.yaml",
        follower("wrong", "metric: { query: \"topk(1, a)\", above: 1 }", &[]).replace("inputs: {  }\n", ""),
    );
    served.yuanli(&["workflow", "apply", &file]).expect(2, &["`topk` is no function here"]);
    let (status, _) = request(served.api, "GET", "/healthz", &[], "");
    assert_eq!(status, 200);
}

#[test]
fn workflows_that_are_applied_at_once_close_no_circle() {
    const ROUNDS: usize = 8;
    let served = Served::without_image();
    for round in 0..ROUNDS {
        let [one, other] = [format!("one-{round}"), format!("other-{round}")];
        let after = |name: &str, before: &str| {
            let text = follower(name, &format!("event: {{ workflow: {before} }}"), &[]);
            served.place.write(&format!("{name}.yaml"), text.replace("inputs: {  }\n", ""))
        };
        let files = [after(&one, &other), after(&other, &one)];
        let codes: Vec<i32> = std::thread::scope(|scope| {
            let served = &served;
            let apply = |file| scope.spawn(move || served.yuanli(&["workflow", "apply", file]).code);
            let applied: Vec<_> = files.iter().map(|file| apply(file.as_str())).collect();
            applied.into_iter().map(|code| code.join().unwrap()).collect()
        });
        assert_eq!(codes.iter().filter(|code| **code == 0).count(), 1, "one of them is kept: {codes:?}");
    }
    let kept = served.place.json(&["workflow", "list"])["items"].as_array().unwrap().len();
    assert_eq!(kept, ROUNDS);
}
