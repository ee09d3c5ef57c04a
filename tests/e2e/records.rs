//! What plugins keep: artifacts, events, state. Kept once whatever is killed, shown, fetched, carried along, cleared.

use serde_json::{Value, json};
use yuanli_test_guests::PROBE;

use crate::served::Served;
use crate::support::{PROBE_GRANTS, Place, wait_until};

/// A workflow whose stages are probes: name, what stands beside its config, config.
fn workflow(name: &str, stages: &[(&str, &str, Value)]) -> String {
    let mut text = format!("name: {name}\nstages:\n");
    for (stage, more, config) in stages {
        text += &format!(
            "  {stage}:\n    uses: ./probe.wasm\n    grants: {PROBE_GRANTS}\n{more}    with: {config}\n"
        );
    }
    text
}

fn place() -> Place {
    let place = Place::new();
    place.write("probe.wasm", PROBE.component);
    place
}

fn count(key: &str) -> Value {
    json!({ "do": "count", "key": key })
}

/// Runs a workflow of probes in the data directory and gives what `runs show` tells of it.
fn run(place: &Place, code: i32, text: &str) -> Value {
    let file = place.write("w.yaml", text);
    place.yuanli(&["run", &file]).expect(code, &[]);
    place.json(&["runs", "show", "last"])
}

fn items(place: &Place, arguments: &[&str]) -> Vec<Value> {
    place.json(arguments)["items"].as_array().unwrap().clone()
}

#[test]
fn whoever_is_killed_between_calls_counts_emits_and_puts_once() {
    let mut served = Served::without_image();
    served.place.write("probe.wasm", PROBE.component);
    let pausing = json!({ "do": "count", "key": "runs", "pause_ms": 2_000 });
    served.apply("counting.yaml", &workflow("counting", &[("count", "", pausing)]));
    let run = served.yuanli(&["trigger", "counting"]).expect(0, &[]).out;
    let run = run.trim();
    let place = |served: &Served, arguments: &[&str]| items(&served.place, arguments).len();
    let moments: [&[&str]; 3] = [
        &["plugin", "state", "list", "counting", "probe"],
        &["runs", "events", run],
        &["runs", "artifacts", run],
    ];
    for moment in moments {
        wait_until(&format!("{moment:?} shows something"), || place(&served, moment) > 0);
        served.kill();
        served.start();
    }
    let is_over = || served.place.json(&["runs", "show", run])["status"] != "running";
    wait_until("the run is over", is_over);
    let shown = served.place.json(&["runs", "show", run]);
    assert_eq!(shown["status"], "succeeded", "{shown}");
    let stage = &shown["stages"][0];
    assert_eq!((stage["attempts"].as_array().unwrap().len(), &stage["outputs"]["number"]), (1, &json!(1)));
    let values = items(&served.place, moments[0]);
    assert_eq!((values.len(), &values[0]["key"], &values[0]["text"]), (1, &json!("runs"), &json!("1")));
    assert_eq!(values[0]["revision"], stage["outputs"]["revision"]);
    let events = items(&served.place, moments[1]);
    assert_eq!((events.len(), &events[0]["id"]), (1, &stage["outputs"]["event"]));
    let artifacts = items(&served.place, moments[2]);
    assert_eq!((artifacts.len(), &artifacts[0]["digest"]), (1, &stage["outputs"]["digest"]));

    // All of it over HTTP as well.
    let fetched = served.yuanli(&["runs", "artifacts", run, "report.txt", "--output", "-"]).expect(0, &[]);
    assert_eq!(fetched.out, "counted to 1\n");
    served.yuanli(&["runs", "artifacts", run, "none", "-o", "-"]).expect(2, &["it has count/report.txt"]);
    served.yuanli(&["plugin", "state", "clear", "counting", "probe"]).expect(0, &["removed 1 key"]);
    assert_eq!(items(&served.place, &["plugin", "state", "list"]), Vec::<Value>::new());
    assert_eq!(served.stop(), 0);
    served.yuanli(&["admin", "check"]).expect(0, &[]);
}

#[test]
fn what_stages_left_is_shown_fetched_and_read_by_later_ones() {
    let place = place();
    let text = workflow(
        "keeping",
        &[
            ("count", "", count("runs")),
            (
                "broken",
                "    needs: count\n    allow_failure: true\n",
                json!({ "do": "count", "key": "runs", "fail": true }),
            ),
            ("collect", "    needs: broken\n", json!({ "do": "collect", "into": "got" })),
        ],
    );
    let shown = run(&place, 0, &text);
    let outputs = &shown["stages"][2]["outputs"];
    let report = |stage: &str, number: u32| {
        json!([stage, "report.txt", "text/plain", format!("counted to {number}\n"), "nted"])
    };
    assert_eq!(outputs["found"], json!([report("broken", 2), report("count", 1)]));
    assert_eq!(outputs["files"], json!(["got/report.txt"]));
    assert!(outputs["missing"].as_str().unwrap().contains("NotFound"), "{outputs}");

    // What a stage that failed has left is there too.
    let told: Vec<_> = shown["artifacts"].as_array().unwrap().iter().map(|it| &it["stage"]).collect();
    assert_eq!(told, ["broken", "count"]);
    let event = &shown["emitted"][1];
    let run_id = shown["id"].as_str().unwrap();
    assert_eq!(
        (&event["type"], &event["source"], &event["subject"], &event["data"], &event["datacontenttype"]),
        (
            &json!("probe.counted"),
            &json!("/workflows/keeping/stages/broken"),
            &json!("runs"),
            &json!({ "number": 2 }),
            &json!("application/json")
        )
    );
    assert_eq!((&event["run"], &event["number"]), (&json!(run_id), &json!(2)));
    let text = place.yuanli(&["runs", "show", "last"]).expect(0, &[]).out;
    assert!(text.contains("report.txt") && text.contains("probe.counted"), "{text}");

    let fetch = |more: &[&str]| place.yuanli(&[&["runs", "artifacts", "last", "report.txt"], more].concat());
    fetch(&["-o", "-"]).expect(2, &["stages `broken` and `count`", "--stage"]);
    assert_eq!(fetch(&["--stage", "count", "-o", "-"]).expect(0, &[]).out, "counted to 1\n");
    fetch(&["--stage", "broken", "--output", "there.txt"]).expect(0, &["13 B"]);
    assert_eq!(std::fs::read_to_string(place.path("there.txt")).unwrap(), "counted to 2\n");
    fetch(&["--stage", "count", "-o", "missing/there.txt"]).expect(3, &["cannot be written"]);
    fetch(&[]).expect(2, &["--output"]);
    let left: Vec<_> =
        std::fs::read_dir(place.path("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().ends_with(".part")), "{left:?}");
}

#[test]
fn what_plugins_keep_survives_runs_export_and_import() {
    let place = place();
    let text = workflow("keeping", &[("count", "", count("runs")), ("keep", "", json!({ "do": "keep" }))]);
    run(&place, 0, &text);
    let first = place.json(&["runs", "show", "last"]);
    run(&place, 0, &text);
    place.yuanli(&["admin", "compact"]).expect(0, &[]);

    let other = Place::new();
    let export = other.path("all.export");
    place.yuanli(&["admin", "export", export.to_str().unwrap()]).expect(0, &[]);
    other.yuanli(&["admin", "import", export.to_str().unwrap()]).expect(0, &[]);
    for place in [&place, &other] {
        let values = items(place, &["plugin", "state", "list", "keeping", "probe"]);
        let values: Vec<_> = values.iter().map(|value| (&value["key"], &value["text"])).collect();
        assert_eq!(values, [(&json!("a/2"), &json!("two")), (&json!("runs"), &json!("2"))]);
        let run = first["id"].as_str().unwrap();
        let shown = place.json(&["runs", "show", run]);
        assert_eq!((&shown["artifacts"], &shown["emitted"]), (&first["artifacts"], &first["emitted"]));
        let fetched = place.yuanli(&["runs", "artifacts", run, "reports/unit.xml", "-o", "-"]);
        assert_eq!(fetched.expect(0, &[]).out, "<report/>");
        place.yuanli(&["admin", "check"]).expect(0, &[]);
        let usage = place.json(&["admin", "usage"]);
        let records = &usage["records"];
        let counts = [&records["artifacts"], &records["events"], &records["state_keys"]];
        assert_eq!(counts, [&json!(6), &json!(4), &json!(2)], "{usage}");
        assert!(place.yuanli(&["admin", "usage"]).out.contains("PLUGINS KEEP"));
    }
    let owners = items(&other, &["plugin", "state", "list"]);
    assert_eq!(owners, [json!({ "workflow": "keeping", "plugin": "probe", "keys": 2, "size_bytes": 11 })]);
    other.yuanli(&["plugin", "state", "list", "Keeping", "probe"]).expect(2, &["Keeping"]);
    other.yuanli(&["plugin", "state", "list", "keeping", "a b"]).expect(2, &["a b"]);
}

#[test]
fn a_run_whose_engine_is_killed_keeps_what_it_has_left_and_no_call() {
    let place = place();
    // Between its first and its second call it is killed.
    let pausing = json!({ "do": "count", "key": "kept", "pause_ms": 600_000 });
    let waver = workflow("wavering", &[("waver", "", pausing)]);
    let file = place.write("w.yaml", &waver);
    let mut child = place.start(&["run", &file]);
    wait_until("it has begun", || place.path("data/store").exists());
    let has_kept = || {
        let other = Place::new();
        let export = other.path("all.export");
        place.yuanli(&["admin", "export", export.to_str().unwrap()]);
        other.yuanli(&["admin", "import", export.to_str().unwrap()]).code == 0
            && other.yuanli(&["plugin", "state", "list"]).out.contains("wavering")
    };
    wait_until("it has kept something", has_kept);
    child.kill().unwrap();
    child.wait().unwrap();
    let nothing = place.write("n.yaml", "name: w\nstages:\n  a: { uses: script, with: {} }\n");
    place.yuanli(&["run", &nothing]).expect(0, &["was interrupted"]);
    let run = items(&place, &["runs", "list"])[1]["id"].as_str().unwrap().to_owned();
    place.yuanli(&["runs", "cancel", &run]).expect(0, &["is ended"]);
    assert_eq!(items(&place, &["plugin", "state", "list"])[0]["keys"], 1);
    place.yuanli(&["admin", "check"]).expect(0, &[]);
}
