//! Files that are no files, too large, several: `validate` says all there is to say, and `run` the same.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::{Ended, Place};

const RIGHT: &str = "name: w\nstages:\n  a: { uses: script, with: {} }\n";

#[test]
fn what_has_no_end_is_not_read_to_it() {
    let place = Place::new();
    let limited = |arguments: &[&str]| {
        let command = place.command(arguments);
        let yuanli = command.get_program().to_str().unwrap().to_owned();
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("yes '# endless' | timeout 60 {yuanli} {}", arguments.join(" "))]);
        shell.env("YUANLI_DATA", place.data()).stdin(Stdio::null());
        Ended::of(shell.output().unwrap())
    };
    for command in ["validate", "run"] {
        place.yuanli(&[command, "/dev/zero"]).expect(2, &["`/dev/zero` cannot be read", "a device"]);
        limited(&[command, "-"]).expect(2, &["WF002", "more than 1048576 bytes"]);
        limited(&[command, "/dev/stdin"]).expect(2, &["WF002", "more than 1048576 bytes"]);
    }
    let large = place.write("large.yaml", format!("{RIGHT}#{}", "ä".repeat(1024 * 1024)));
    place.yuanli(&["validate", &large]).expect(2, &["WF002"]);
}

#[test]
fn a_component_that_is_no_file_is_told_at_its_place_with_everything_else() {
    let place = Place::new();
    let pipe = place.path("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let file = place.write(
        "w.yaml",
        "name: w\nstages:\n  a: { uses: /tmp, with: {} }\n  b: { uses: /dev/zero, with: {} }\n  c: { uses: ./pipe, with: {} }\n  \
         d: { uses: /etc/passwd, with: {} }\n  e: { uses: ./w.yaml/x.wasm, with: {} }\n  f: { uses: scirpt, with: {} }\n",
    );
    let says = [
        "w.yaml:3:",
        "`/tmp` is a folder",
        "w.yaml:4:",
        "`/dev/zero` is a device",
        "w.yaml:5:",
        "a pipe",
        "w.yaml:6:",
        "no WebAssembly component",
        "w.yaml:7:",
        "cannot be read",
        "w.yaml:8:",
        "did you mean `script`?",
    ];
    for command in ["validate", "run"] {
        let ended = place.yuanli(&[command, &file]).expect(2, &says);
        assert_eq!(ended.err.matches("WF015").count(), 6, "{}", ended.err);
        assert!(!ended.err.contains("0x"), "no bytes are shown: {}", ended.err);
    }
}

#[test]
fn every_file_is_checked_also_after_one_that_cannot_be_read() {
    let place = Place::new();
    let right = place.write("right.yaml", RIGHT);
    let wrong = place.write("wrong.yaml", "name: w\nstages:\n  a: { uses: scirpt, with: {} }\n");
    let says = ["`missing.yaml` cannot be read", "right.yaml is valid", "did you mean `script`?"];
    place.yuanli(&["validate", "missing.yaml", &right, &wrong]).expect(2, &says);
    let ended = place.yuanli(&["validate", "--json", "missing.yaml", &right, &wrong]).expect(2, &[]);
    let body = &ended.lines()[0];
    let bodies = body["items"].as_array().unwrap();
    assert_eq!((bodies.len(), &body["valid"], &body["errors"]), (3, &false.into(), &2.into()), "{ended:?}");
    assert_eq!((&bodies[0]["file"], &bodies[0]["valid"]), (&"missing.yaml".into(), &false.into()));
    assert!(bodies[0]["error"].as_str().unwrap().contains("No such file"), "{ended:?}");
    assert_eq!((&bodies[1]["valid"], &bodies[1]["error"]), (&true.into(), &Value::Null));
    assert_eq!(bodies[2]["diagnostics"][0]["code"], "WF015");
}

#[test]
fn a_folder_stands_for_the_one_workflow_in_it() {
    let place = Place::new();
    place.write("one/w.yml", RIGHT);
    place.write("one/.hidden.yaml", "");
    place.write("one/notes.txt", "");
    place.write("several/a.yaml", RIGHT);
    place.write("several/b.yml", RIGHT);
    place.write("none/notes.txt", "");
    place.yuanli(&["run", "one"]).expect(0, &["succeeded"]);
    place.yuanli(&["run", "several"]).expect(2, &["several workflows", "`several/a.yaml`, `several/b.yml`"]);
    place.yuanli(&["run", "none"]).expect(2, &["the folder `none` has no workflow"]);
}

#[test]
fn a_folder_is_checked_with_all_below_it_that_is_ours() {
    let place = Place::new();
    let app = "app: shop\nimage: shop:dev\nport: 80\n";
    place.write("all/a.yaml", RIGHT);
    place.write("all/deep/er/shop.app.yml", app);
    place.write("all/compose.yaml", "services: { db: { image: x } }\n");
    place.write("all/notes.txt", "stages:\n");
    place.write("all/.hidden/w.yaml", "stages: 3\n");
    place.write("all/.gitignore", "build/\n*.tmp.yaml\n");
    place.write("all/build/w.yaml", "stages: 3\n");
    place.write("all/x.tmp.yaml", "stages: 3\n");
    let says = ["checked 1 workflow and 1 app: nothing is wrong", "not checked", "all/compose.yaml"];
    place.yuanli(&["validate", "all"]).expect(0, &says);

    let mut slip = place.yuanli(&["validate", "all", "all/a.yaml", "./all/deep"]);
    slip = slip.expect(0, &["checked 1 workflow and 1 app"]);
    assert!(!slip.err.contains("is valid"), "each file is checked once: {}", slip.err);

    place.write("all/b.yaml", "name: w\nstage:\n  a: { uses: script }\n");
    place.write("all/c.yaml", "stages: [\n");
    place.write("all/d.yaml", "app: shop\nimage: 3\n");
    place.write("all/e.yaml", b"stages: \xe9\n");
    let ended = place.yuanli(&["validate", "all", "--json"]).expect(2, &[]);
    let body = &ended.lines()[0];
    let found: Vec<(&str, Option<&str>, bool)> = body["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|file| (file["file"].as_str().unwrap(), file["kind"].as_str(), file["valid"].as_bool().unwrap()))
        .collect();
    let (workflow, app) = (Some("workflow"), Some("app"));
    let expect = [
        ("all/a.yaml", workflow, true),
        ("all/b.yaml", workflow, false),
        ("all/c.yaml", workflow, false),
        ("all/d.yaml", app, false),
        ("all/deep/er/shop.app.yml", app, true),
        ("all/e.yaml", None, false),
    ];
    assert_eq!(found, expect);
    assert_eq!((&body["workflows"], &body["apps"]), (&3.into(), &2.into()));
    assert_eq!(body["passed_over"], json!(["all/compose.yaml"]));

    place.write("none/notes.txt", "");
    place.write("none/compose.yaml", "services: {}\n");
    place.yuanli(&["validate", "none"]).expect(2, &["`none` has no workflow and no app"]);
}

#[test]
fn standard_input_is_checked_as_a_file() {
    let place = Place::new();
    let check = |text: &str, arguments: &[&str]| {
        let mut command = place.command(arguments);
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        Ended::of(child.wait_with_output().unwrap())
    };
    check(RIGHT, &["validate", "-"]).expect(0, &["- is valid"]);
    check("app: shop\nimage: a\nport: 80\n", &["validate", "-"]).expect(0, &["- is valid"]);
    check("", &["validate", "-"]).expect(2, &["WF003", "the document is empty"]);
    check("stages:\n", &["validate", "-"]).expect(2, &["WF012"]);
    check("", &["validate", "-", "-"]).expect(2, &["standard input can be read once"]);
    let utf16: Vec<u8> = "name: w\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let file = place.write("utf16.yaml", [&[0xFF, 0xFE], utf16.as_slice()].concat());
    place.yuanli(&["validate", &file]).expect(2, &["no UTF-8", "UTF-16: save it as UTF-8"]);
}

/// A document with a warning and no error.
const DOUBTFUL: &str = "name: w\nstages:\n  a: { uses: script, grants: [containers] }\n";

#[test]
fn warnings_are_errors_only_when_that_is_asked_for() {
    let place = Place::new();
    let file = place.write("w.yaml", DOUBTFUL);
    place.yuanli(&["validate", &file]).expect(0, &["WF018", "w.yaml is valid"]);
    let ended = place.yuanli(&["validate", &file, "--strict"]).expect(2, &["WF018"]);
    assert!(!ended.err.contains("is valid"), "{ended:?}");
    for (arguments, code, valid, severity) in
        [(vec![], 0, true, "warning"), (vec!["--strict"], 2, false, "error")]
    {
        let arguments = [&["validate", &file, "--json"], arguments.as_slice()].concat();
        let ended = place.yuanli(&arguments).expect(code, &[]);
        let body = &ended.lines()[0]["items"][0];
        assert_eq!((&body["valid"], &body["diagnostics"][0]["severity"]), (&valid.into(), &severity.into()));
    }
}

#[test]
fn the_place_of_a_mistake_has_an_end() {
    let place = Place::new();
    let file = place.write("w.yaml", "name: w\ndescription: ä\nstages:\n  ä: { uses: scirpt }\n");
    let ended = place.yuanli(&["validate", &file, "--json"]).expect(2, &[]);
    let found = &ended.lines()[0]["items"][0]["diagnostics"];
    let wrong = found.as_array().unwrap().iter().find(|found| found["code"] == "WF015").unwrap();
    let expect = json!({
        "code": "WF015",
        "severity": "error",
        "message": "there is no plugin `scirpt`",
        "line": 4,
        "column": 14,
        "end": { "line": 4, "column": 20 },
        "span": { "offset_bytes": 46, "length_bytes": 6 },
        "help": "did you mean `script`?",
    });
    assert_eq!(*wrong, expect);
}

#[test]
fn code_hosts_are_told_in_sarif() {
    let place = Place::new();
    place.write("a b.yaml", "name: w\nstages:\n  a: { uses: scirpt }\n");
    place.write("doubt.yaml", DOUBTFUL);
    let ended = place
        .yuanli(&["validate", "a b.yaml", "doubt.yaml", "gone.yaml", "--format", "sarif"])
        .expect(2, &[]);
    let log = &ended.lines()[0];
    assert_eq!(log["version"], "2.1.0");
    let run = &log["runs"][0];
    let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
    let results = run["results"].as_array().unwrap();
    let shown: Vec<_> = results
        .iter()
        .map(|result| {
            let place = &result["locations"][0]["physicalLocation"];
            let rule = &rules[usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap()];
            assert_eq!(rule["id"], result["ruleId"]);
            assert!(rule["help"]["markdown"].as_str().unwrap().contains("```yaml"), "{rule}");
            let region = &place["region"];
            let region =
                ["startLine", "startColumn", "endLine", "endColumn"].map(|key| region[key].as_u64().unwrap());
            (place["artifactLocation"]["uri"].as_str().unwrap(), result["level"].as_str().unwrap(), region)
        })
        .collect();
    assert_eq!(shown, [("a%20b.yaml", "error", [3, 14, 3, 20]), ("doubt.yaml", "warning", [3, 31, 3, 41])]);
    assert_eq!(run["invocations"][0]["executionSuccessful"], false);
    let told = &run["invocations"][0]["toolExecutionNotifications"][0]["message"]["text"];
    assert!(told.as_str().unwrap().contains("`gone.yaml` cannot be read"), "{told}");
    place.yuanli(&["validate", "a b.yaml", "--json", "--format", "sarif"]).expect(2, &["not both"]);
    let right = place.write("right.yaml", RIGHT);
    let ended = place.yuanli(&["validate", &right, "--format", "sarif"]).expect(0, &[]);
    assert_eq!(ended.lines()[0]["runs"][0]["results"], json!([]));
}

#[test]
fn a_code_is_explained() {
    let place = Place::new();
    for code in ["WF012", "wf012", "wf12", " 12 "] {
        let ended = place.yuanli(&["explain", code]).expect(0, &[]);
        assert!(ended.out.starts_with("WF012: There is no stage\n\n"), "{ended:?}");
        assert!(ended.out.contains("Wrong:\n\n  name: shop\n  stages: {}\n"), "{ended:?}");
    }
    assert_eq!(place.json(&["explain", "WF012"])["title"], "There is no stage");
    place.yuanli(&["explain", "WF0122"]).expect(2, &["there is no code `WF0122`", "did you mean `WF012`?"]);
    for code in ["WF000", "WF999", "12x", "WF", ""] {
        place.yuanli(&["explain", code]).expect(2, &["there is no code"]);
    }
    place.yuanli(&["explain", "nonsense"]).expect(2, &["`yuanli explain` lists them"]);
    let listed = place.json(&["explain"]);
    assert_eq!(listed["items"][11]["code"], "WF012");
    assert!(place.yuanli(&["explain"]).out.contains("There is no stage"));
}

#[test]
fn an_input_that_is_given_twice_is_refused() {
    let place = Place::new();
    let file = place.write("w.yaml", format!("inputs: {{ a: x }}\n{RIGHT}"));
    let ended = place.yuanli(&["run", &file, "--input", "a=1", "-i", "a=2"]);
    ended.expect(2, &["input `a` was given twice, `1` and `2`"]);
    assert!(!place.data().exists(), "nothing was begun");
}

#[test]
fn a_repository_without_a_commit_is_not_told_to_be_none() {
    let place = Place::new();
    let file = place.write("w.yaml", "name: w\nstages:\n  a: { uses: source, with: { path: . } }\n");
    place.yuanli(&["run", &file]).expect(0, &["not in git"]);
    let init = Command::new("git").args(["init", "-q"]).current_dir(place.path("")).status().unwrap();
    assert!(init.success());
    place.yuanli(&["run", &file]).expect(0, &["in git, without a commit yet"]);
}
