//! A run and its history survive in the store.

use serde_json::Value;

use crate::support::{Place, examples};

fn hello(place: &Place, name: &str) -> String {
    let file = examples().join("hello/hello.yaml");
    let ended =
        place.yuanli(&["run", file.to_str().unwrap(), "--input", &format!("name={name}")]).expect(0, &[]);
    ended.out.trim().to_owned()
}

#[test]
fn runs_are_listed_shown_and_read_later() {
    let place = Place::new();
    let ids: Vec<String> = ["Ada", "Grace", "Barbara"].map(|name| hello(&place, name)).into();
    let listed = place.json(&["runs", "list"]);
    let listed: Vec<&str> =
        listed["items"].as_array().unwrap().iter().map(|run| run["id"].as_str().unwrap()).collect();
    assert_eq!(listed, [&ids[2], &ids[1], &ids[0]], "newest first");
    let shown = place.json(&["runs", "show", &ids[1]]);
    assert_eq!((&shown["status"], &shown["inputs"]["name"]), (&"succeeded".into(), &"Grace".into()));
    assert!(
        shown["stages"].as_array().unwrap().iter().all(|stage| stage["status"] == "succeeded"),
        "{shown}"
    );
    assert!(shown["created_at"].as_str().unwrap().ends_with('Z'));
    let logs = place.yuanli(&["runs", "logs", &ids[0]]).expect(0, &[]);
    assert!(logs.out.contains("Hello, Ada!"), "{logs:?}");
    let text = place.yuanli(&["runs", "show", "last"]).expect(0, &[]);
    assert!(text.out.contains("Barbara") && text.out.contains("succeeded"), "{text:?}");
}

#[test]
fn lists_come_in_pages() {
    let place = Place::new();
    let ids: Vec<String> = (0..3).map(|_| hello(&place, "x")).collect();
    let first = place.json(&["runs", "list", "--limit", "2"]);
    assert_eq!(first["items"].as_array().unwrap().len(), 2);
    let rest = place.json(&["runs", "list", "--limit", "2", "--after", first["next"].as_str().unwrap()]);
    assert_eq!((&rest["items"][0]["id"], &rest["next"]), (&Value::from(ids[0].clone()), &Value::Null));
}

#[test]
fn the_beginning_of_an_id_is_enough_when_it_is_unique() {
    let place = Place::new();
    let id = hello(&place, "x");
    assert_eq!(place.json(&["runs", "show", &id[..20]])["id"], id);
    hello(&place, "y");
    place.yuanli(&["runs", "show", &id[..3]]).expect(2, &["several runs begin with"]);
}

#[test]
fn json_lines_tell_the_whole_run() {
    let place = Place::new();
    let file = examples().join("hello/hello.yaml");
    let ended = place.yuanli(&["run", file.to_str().unwrap(), "--json"]).expect(0, &[]);
    let lines = ended.lines();
    assert_eq!((&lines[0]["type"], &lines[0]["event"]), (&"event".into(), &"created".into()));
    let last = lines.last().unwrap();
    assert_eq!((&last["event"], &last["status"]), (&"finished".into(), &"succeeded".into()));
    assert!(lines.iter().any(|line| line["type"] == "log" && line["stream"] == "plugin"));
    let numbers: Vec<u64> = lines.iter().filter_map(|line| line["number"].as_u64()).collect();
    assert_eq!(numbers, (0..numbers.len() as u64).collect::<Vec<_>>(), "each event once, in order");
}

#[test]
fn a_workflow_can_come_from_standard_input() {
    let place = Place::new();
    let mut command = place.command(&["run", "-"]);
    command.stdin(std::fs::File::open(examples().join("hello/hello.yaml")).unwrap());
    assert!(command.output().unwrap().status.success());
}

#[test]
fn a_reader_that_has_enough_is_no_error() {
    let place = Place::new();
    // A long log, so that the pipe is closed before all of it is written.
    let lines = "\"a line that is long enough to fill a pipe when there are many of them\", ".repeat(4000);
    let text = format!("name: many\nstages:\n  a: {{ uses: script, with: {{ print: [{lines}] }} }}\n");
    let file = place.write("many.yaml", text);
    place.yuanli(&["run", &file]).expect(0, &[]);
    let yuanli = env!("CARGO_BIN_EXE_yuanli");
    let script = format!("set -o pipefail; '{yuanli}' runs logs last | head -n 1");
    let output = std::process::Command::new("bash")
        .args(["-c", &script])
        .env("YUANLI_DATA", place.data())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}
