//! Files that are no files, too large, several: `validate` says all there is to say, and `run` the same.

use std::process::{Command, Stdio};

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
    let bodies = ended.lines();
    assert_eq!(bodies.len(), 3, "{ended:?}");
    assert_eq!((&bodies[0]["file"], &bodies[0]["valid"]), (&"missing.yaml".into(), &false.into()));
    assert!(bodies[0]["error"].as_str().unwrap().contains("No such file"), "{ended:?}");
    assert_eq!((&bodies[1]["valid"], &bodies[1]["error"]), (&true.into(), &serde_json::Value::Null));
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
    place.yuanli(&["validate", "one"]).expect(0, &["one/w.yml is valid"]);
    place.yuanli(&["run", "one"]).expect(0, &["succeeded"]);
    for command in ["validate", "run"] {
        place
            .yuanli(&[command, "several"])
            .expect(2, &["several workflows", "`several/a.yaml`, `several/b.yml`"]);
        place.yuanli(&[command, "none"]).expect(2, &["the folder `none` has no workflow"]);
    }
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
