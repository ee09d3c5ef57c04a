//! Histories that earlier versions recorded mean today what they meant then.
//!
//! `histories/NAME.export` is an exported data directory, `histories/NAME.json` what was told of its runs when it was made.
//! A version that records something new adds a pair (`make_a_history`); none is ever changed.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::crash::signal;
use crate::support::{Place, copy, examples, root, wait_until};

/// Beside the examples: what ends runs in other ways.
const OTHERS: [(&str, &str); 3] = [
    (
        "too-long.yaml",
        "name: too-long\ntimeout: 1s\nstages:\n  ask: { approval: true }\nfinally:\n  clean: { uses: script }\n",
    ),
    (
        "stopped.yaml",
        "name: stopped\nstages:\n  first: { uses: script }\n  ask: { needs: first, approval: true }\n  \
         last: { uses: script, needs: ask }\nfinally:\n  clean: { uses: script }\n",
    ),
    (
        "asked.yaml",
        "name: asked\nstages:\n  ask: { approval: { message: Which?, inputs: { version: { type: string, default: x } } } }\n  \
         ship: { uses: script, needs: ask, with: { outputs: { version: \"${{ stages.ask.outputs.inputs.version }}\" } } }\n\
         outputs: { version: \"${{ stages.ship.outputs.version }}\" }\n",
    ),
];

/// What is taken over: stages that succeeded, failed where they may, were skipped; instances.
const AGAIN: &str = "
name: again
inputs: { good: { type: number, default: 1 } }
stages:
  first: { uses: script, with: { outputs: { n: 1 } } }
  may: { uses: script, allow_failure: true, with: { assert: [{ that: '${{ false }}', message: no }] } }
  never: { needs: first, if: 'false', uses: script, with: {} }
  each:
    needs: [first, may]
    for_each: [1, 2]
    uses: script
    with: { outputs: { n: '${{ item }}' }, assert: [{ that: '${{ item <= inputs.good }}', message: too large }] }
  last: { needs: each, uses: script, with: {} }
";

fn folder() -> PathBuf {
    root().join("tests/e2e/histories")
}

/// All that is told of the runs, newest first.
fn told(place: &Place) -> Vec<Value> {
    let listed = place.json(&["runs", "list", "--limit", "1000"]);
    let runs = listed["items"].as_array().unwrap();
    let run = |run: &Value| {
        let id = run["id"].as_str().unwrap();
        let lines = place.yuanli(&["runs", "logs", id, "--json"]).lines();
        json!({ "run": place.json(&["runs", "show", id]), "lines": lines })
    };
    runs.iter().map(run).collect()
}

#[test]
fn what_was_recorded_means_the_same() {
    let mut count = 0;
    for entry in std::fs::read_dir(folder()).unwrap() {
        let export = entry.unwrap().path();
        if export.extension().is_none_or(|ending| ending != "export") {
            continue;
        }
        let place = Place::new();
        place.yuanli(&["admin", "import", export.to_str().unwrap()]).expect(0, &["imported"]);
        let expected = std::fs::read_to_string(export.with_extension("json")).unwrap();
        let expected: Vec<Value> = serde_json::from_str(&expected).unwrap();
        let found = told(&place);
        assert_eq!(found.len(), expected.len(), "{}", export.display());
        for (found, expected) in found.iter().zip(&expected) {
            assert_eq!(found, expected, "{}", export.display());
        }
        count += expected.len();
    }
    assert!(count >= 22, "there are only {count} runs");
}

/// Records a run of every example that needs no Docker, and runs that end otherwise, into `target/histories`.
#[test]
#[ignore = "records a new history"]
fn make_a_history() {
    let place = Place::new();
    // Where files lie is recorded, and is nobody's business.
    let of_place = place.path("examples");
    for folder in ["language", "tour", "failing", "hello"] {
        copy(&examples().join(folder), &of_place.join(folder));
    }
    let mut files: Vec<PathBuf> = std::fs::read_dir(of_place.join("language"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "yaml"))
        .collect();
    files.sort();
    files.extend([of_place.join("tour/tour.yaml"), of_place.join("failing/failing.yaml")]);
    for file in files {
        place.yuanli(&["run", file.to_str().unwrap()]);
    }
    let [too_long, stopped, asked] = OTHERS.map(|(name, text)| place.write(name, text));
    place.yuanli(&["run", &too_long]).expect(1, &[]);
    place.yuanli(&["run", &asked, "--approve", "ask"]).expect(0, &[]);
    for name in ["-INT", "-KILL"] {
        // Nobody else can look into the directory meanwhile.
        let mut child = place.attended(&["run", &stopped]).spawn().unwrap();
        let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stderr.take().unwrap()));
        assert!(lines.any(|line| line.unwrap().contains("waits for an approval")));
        signal(&child, name);
        lines.for_each(drop);
        child.wait().unwrap();
    }
    // The one that was killed waits for somebody.
    place.yuanli(&["runs", "cancel", "last"]).expect(0, &["is ended"]);
    place.yuanli(&["run", of_place.join("hello/hello.yaml").to_str().unwrap()]).expect(0, &[]);
    let again = place.write("again.yaml", AGAIN);
    place.yuanli(&["run", &again]).expect(1, &[]);
    place.yuanli(&["runs", "retry", "last"]).expect(1, &[]);
    place.yuanli(&["runs", "retry", "last", "--from", "each[1]"]).expect(1, &[]);
    place.yuanli(&["runs", "retry", "last", "--with", "good=2"]).expect(0, &[]);
    wait_until("nothing is open", || told(&place).iter().all(|told| told["run"]["status"] != "running"));
    let made = root().join("target/histories");
    std::fs::create_dir_all(&made).unwrap();
    let export = made.join("new.export");
    let _ = std::fs::remove_file(&export);
    place.yuanli(&["admin", "export", export.to_str().unwrap()]).expect(0, &["exported"]);
    std::fs::write(made.join("new.json"), serde_json::to_string_pretty(&told(&place)).unwrap()).unwrap();
}
