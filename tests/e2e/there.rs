//! `yuanli run` where an engine serves: the run is that engine's, and shown as one that runs here.

use std::collections::BTreeSet;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::served::{Served, request, signal};
use crate::support::{Ended, wait_until};

const HELLO: &str = "name: hello\non: { schedule: { cron: \"* * * * *\", inputs: { who: clock } } }\ninputs: { who: { type: string } }\nstages:\n  greet: { uses: script, with: { print: [\"Hello, ${{ inputs.who }}!\"] } }\n";
const ASKS: &str = "name: asks\nstages:\n  first: { uses: script, with: { print: [begun] } }\n  ask: { needs: first, approval: true }\n  last: { needs: ask, uses: script, with: { print: [done] } }\n";

#[test]
fn a_run_is_the_engines_and_is_shown_as_one_from_here() {
    let served = Served::without_image();
    let hello = served.place.write("hello.yaml", HELLO);
    let ended = served.yuanli(&["run", &hello, "-i", "who=Ada"]).expect(0, &["Hello, Ada!"]);
    let run = ended.out.trim();
    assert_eq!(served.place.json(&["runs", "show", run])["status"], "succeeded");
    let kept = served.place.json(&["workflow", "list"]);
    assert!(kept["items"].as_array().unwrap().is_empty(), "it is not kept, and no schedule fires: {kept}");

    // Exit codes and mistakes are those of a run here.
    served.yuanli(&["run", &hello]).expect(2, &["who"]);
    let wrong = served.place.write("wrong.yaml", HELLO.replace("uses: script", "uses: skript"));
    served.yuanli(&["run", &wrong]).expect(2, &["skript", "wrong.yaml:5"]);
    let fails = served.place.write(
        "fails.yaml",
        "name: fails\nstages:\n  a: { uses: script, with: { assert: [{ that: false, message: no }] } }\n",
    );
    served.yuanli(&["run", &fails]).expect(1, &["[a] failed", "(assertion): no"]);
    served
        .yuanli(&["run", &hello, "-i", "who=A", "--secret", "k=env:PATH"])
        .expect(2, &["yuanli secret set"]);
    served.yuanli(&["run", &hello, "-i", "who=A", "--watch"]).expect(2, &["--watch"]);
    let asks = served.place.write("asks.yaml", ASKS);
    served.yuanli(&["run", &asks, "--approve", "ask"]).expect(0, &["done"]);
    // Workflows that it runs lie beside it, as for a run here.
    let outer = served
        .place
        .write("outer.yaml", "name: outer\nstages:\n  a: { uses: workflow/hello, with: { who: Eve } }\n");
    served.yuanli(&["run", &outer]).expect(0, &[]);

    // By its URL it takes an editor, and the engine sees no folder of this machine.
    let url = format!("http://{}", served.api);
    let token = |role: &str| served.yuanli(&["token", "create", role, "--role", role]).expect(0, &[]).out;
    let by = |token: &str, file: &str| {
        let arguments = ["--url", &url, "--token", token.trim(), "run", file, "-i", "who=Bob"];
        served.yuanli(&arguments)
    };
    by(&token("operator"), &hello).expect(3, &["`operator` is an operator; this needs an editor"]);
    let editor = token("editor");
    by(&editor, &hello).expect(0, &["Hello, Bob!"]);
    let outer = served.place.write(
        "outer.yaml",
        "name: outer\ninputs: { who: x }\nstages:\n  a: { uses: workflow/hello, with: { who: Eve } }\n",
    );
    by(&editor, &outer).expect(2, &["the engine keeps no workflow `hello`"]);
    let audit = served.yuanli(&["audit", "--by", "editor"]).out;
    assert!(audit.contains("workflow hello, which is not kept, run "), "{audit}");
}

#[test]
fn it_is_followed_over_a_crash_of_the_engine_with_each_thing_once() {
    let mut served = Served::without_image();
    let asks = served.place.write("asks.yaml", ASKS);
    let out = std::fs::File::create(served.place.path("out")).unwrap();
    let mut running = served.place.command(&["run", &asks, "--json"]);
    let mut running = running.stdout(out).stderr(Stdio::piped()).spawn().unwrap();
    let told = || std::fs::read_to_string(served.place.path("out")).unwrap();
    wait_until("it asks", || told().contains("approval_requested") || told().contains("approval-requested"));
    served.kill();
    served.start();
    // Not before the engine goes on with what the one before it has left.
    wait_until("it is answered", || served.yuanli(&["runs", "approve", "last", "ask"]).code == 0);
    assert_eq!(running.wait().unwrap().code(), Some(0));
    let told = std::fs::read_to_string(served.place.path("out")).unwrap();
    let lines: Vec<Value> = told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let shown: BTreeSet<String> = lines.iter().map(Value::to_string).collect();
    assert_eq!(shown.len(), lines.len(), "nothing comes twice: {told}");
    assert!(told.contains("begun") && told.contains("done"), "{told}");
}

#[test]
fn the_first_signal_asks_for_the_end_and_the_exit_code_says_so() {
    let served = Served::without_image();
    let asks = served.place.write("asks.yaml", ASKS);
    let running = served.place.attended(&["run", &asks]).spawn().unwrap();
    wait_until("it asks", || {
        served.place.json(&["runs", "list"])["items"][0]["status"] == "running"
            && served.yuanli(&["runs", "logs", "last"]).out.contains("begun")
    });
    signal("INT", running.id());
    let ended = Ended::of(running.wait_with_output().unwrap()).expect(130, &["stopping the run"]);
    let shown = served.place.json(&["runs", "show", ended.out.trim()]);
    assert_eq!(shown["status"], "cancelled", "{shown}");
}

#[test]
fn of_one_key_a_document_runs_once_and_a_dry_run_is_none() {
    let served = Served::without_image();
    let token = served.yuanli(&["token", "create", "ci", "--role", "editor"]).expect(0, &[]).out;
    let bearer = format!("Bearer {}", token.trim());
    let ask = |key: &str, dry_run: bool| {
        let text = "name: once\nstages:\n  a: { uses: script, with: {} }\n";
        let document = json!({ "file": "once.yaml", "text": text, "dry_run": dry_run });
        let headers = [
            ("authorization", bearer.as_str()),
            ("content-type", "application/json"),
            ("idempotency-key", key),
        ];
        let body = json!({ "document": document, "inputs": {} }).to_string();
        let (status, answer) = request(served.api, "POST", "/api/v1/document-runs", &headers, &body);
        (status, serde_json::from_str::<Value>(&answer).unwrap())
    };
    let (status, first) = ask("1", false);
    assert_eq!(status, 201, "{first}");
    let (status, again) = ask("1", false);
    assert_eq!((status, &again["id"]), (200, &first["id"]));
    assert_eq!(ask("2", true).0, 422);
    assert_ne!(ask("2", false).1["id"], first["id"]);
    assert_eq!(served.place.json(&["runs", "list"])["items"].as_array().unwrap().len(), 2);
}
