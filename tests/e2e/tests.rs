//! `yuanli test`: workflows are tried out without Docker, and what differs is told.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Ended, Place, examples};

/// A workflow with a stage that reaches outside.
const WORKFLOW: &str = "\
name: shop
inputs: { tag: dev }
stages:
  build: { uses: build, with: { context: ., image: \"shop:${{ inputs.tag }}\" } }
  say: { uses: script, needs: build, with: { print: [\"built ${{ stages.build.outputs.image }}\"] } }
";

/// What stands on standard output.
#[track_caller]
fn said(ended: &Ended, code: i32, says: &[&str]) {
    assert_eq!(ended.code, code, "{ended:#?}");
    for text in says {
        assert!(ended.out.contains(text), "`{text}` is not in {ended:#?}");
    }
}

fn place(tests: &str) -> Place {
    let place = Place::new();
    std::fs::write(place.path("shop.yaml"), WORKFLOW).unwrap();
    std::fs::write(place.path("shop.test.yaml"), tests).unwrap();
    place
}

#[test]
fn the_tests_of_the_examples_pass_without_docker_and_without_waiting() {
    let place = Place::new();
    let folder = examples();
    let mut command = place.command(&["test", folder.to_str().unwrap(), "--json"]);
    let output = command.env("DOCKER_HOST", "unix:///nowhere/docker.sock").output().unwrap();
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(output.status.success(), "{told:#}");
    let cases: Vec<&Value> =
        told["items"].as_array().unwrap().iter().flat_map(|item| item["cases"].as_array().unwrap()).collect();
    assert!(cases.len() >= 20, "{told:#}");
    // On their own clock they take hours together.
    let sum: u64 = cases.iter().map(|case| case["run_ms"].as_u64().unwrap()).sum();
    assert!(Duration::from_millis(sum) > Duration::from_secs(3 * 60), "{sum}");
}

#[test]
fn what_differs_is_told_with_both_sides() {
    let place = place(
        "cases:
  - name: it is built and said
    inputs: { tag: v1 }
    stages: { build: { outputs: { image: \"shop:v1\" }, log: [step 1], takes: 90s } }
    expect:
      took: 1m
      ran: [say, build]
      stages: { build: { with: { image: \"shop:v2\" } }, say: { result: failed, attempts: 2 } }
  - name: nothing is said of the build
    expect: { ran: [build, say] }
  - name: no such input
    inputs: { tag: 7 }
    expect: { starts: false, because: color }
",
    );
    let file = place.path("shop.test.yaml");
    let report = place.path("report.xml");
    let ended = place.yuanli(&["test", file.to_str().unwrap(), "--junit", report.to_str().unwrap()]);
    said(
        &ended,
        1,
        &[
            "the run took 1m30s, expected: 1m",
            "ran: [build, say], expected: [say, build]",
            "build.with.image is \"shop:v1\", expected: \"shop:v2\"",
            "stage `say` has succeeded, expected: failed",
            "stage `say` took 1 attempts, expected: 2",
            "log: [build] step 1",
            "stage `build` ran, and reaches what a test does not: say under `stages` what it does",
            "expected: color",
            "0 passed, 3 failed",
        ],
    );
    let report = std::fs::read_to_string(report).unwrap();
    assert!(report.contains("tests=\"3\" failures=\"3\"") && report.contains("shop.test.yaml:2"), "{report}");
}

#[test]
fn who_is_asked_by_a_workflow_that_a_stage_runs_answers_as_well() {
    const INNER: &str = "\
name: inner
inputs: { to: text }
stages:
  ask: { approval: { message: \"ship ${{ inputs.to }}?\", count: 2 } }
  say: { uses: script, needs: ask, with: { outputs: { said: \"${{ inputs.to }}\" }, print: [\"to ${{ inputs.to }}\"] } }
outputs: { said: \"${{ stages.say.outputs.said }}\" }
";
    const MIDDLE: &str = "\
name: middle
inputs: { to: text }
stages:
  deeper: { uses: workflow/inner, with: { to: \"${{ inputs.to }}\" } }
outputs: { said: \"${{ stages.deeper.outputs.said }}\" }
";
    const OUTER: &str = "\
name: outer
stages:
  each: { uses: workflow/middle, for_each: [east, west], with: { to: \"${{ item }}\" } }
";
    let place = Place::new();
    for (name, text) in [("inner.yaml", INNER), ("middle.yaml", MIDDLE), ("outer.yaml", OUTER)] {
        place.write(name, text);
    }
    let tests = |approvals: &str, expect: &str| {
        let text = format!(
            "cases:\n  - name: asked\n    approvals: {{ {approvals} }}\n    expect: {{ {expect} }}\n"
        );
        place.write("outer.test.yaml", text);
        place.yuanli(&["test", &place.path("outer.test.yaml").display().to_string()])
    };
    let eva = "{ answer: approve, by: eva, after: 1h }";
    let told = tests(
        &format!("inner/ask: [{eva}, {{ answer: approve, by: mia, after: 2h }}]"),
        "took: 2h, stages: { each: { outputs: [{ said: east }, { said: west }] } }",
    );
    said(&told, 0, &["asked"]);
    let told = tests(&format!("inner/ask: [{eva}]"), "");
    said(&told, 1, &["waits for ever for an answer to `inner/ask`"]);
    let told = tests("inner/ask: [{ answer: reject, by: eva }]", "outcome: succeeded");
    said(&told, 1, &["the run has failed", "stage `ask`: eva did not approve it"]);
    tests("inner/say: { answer: approve }", "").expect(2, &["stage `inner/say` asks for no approval"]);
    tests("other/ask: { answer: approve }", "").expect(2, &["no stage runs a workflow `other`"]);
}

#[test]
fn a_document_with_errors_is_told_with_its_place_and_nothing_is_tried() {
    let place = place("cases:\n  - name: a\n    stages: { biuld: {} }\n");
    let file = place.path("shop.yaml");
    // The workflow stands for its tests.
    place.yuanli(&["test", file.to_str().unwrap()]).expect(
        2,
        &["WF059", "workflow `shop` has no stage `biuld`", "did you mean `build`?", "shop.test.yaml:3:15"],
    );
    let tests = place.path("shop.test.yaml");
    place.yuanli(&["validate", tests.to_str().unwrap()]).expect(2, &["WF059"]);
    let explained = place.yuanli(&["explain", "WF059"]);
    said(&explained, 0, &["A test names what its workflow does not have"]);
    std::fs::write(place.path("shop.yaml"), "name: shop\nstages: {}\n").unwrap();
    place.yuanli(&["test", tests.to_str().unwrap()]).expect(2, &["a workflow needs at least one stage"]);
    std::fs::remove_file(place.path("shop.yaml")).unwrap();
    place.yuanli(&["test", tests.to_str().unwrap()]).expect(2, &["the workflow that", "shop.yaml"]);
}

#[test]
fn cases_are_chosen_by_name_and_a_folder_without_any_is_a_mistake() {
    let place = place(
        "cases:
  - { name: one, stages: { build: { outputs: { image: x } } } }
  - { name: two, stages: { build: { fails: no } } }
",
    );
    let folder = place.path(".");
    let folder = folder.to_str().unwrap();
    let one = place.json(&["test", folder, "--filter", "one"]);
    assert_eq!(one["items"][0]["cases"].as_array().unwrap().len(), 1);
    assert_eq!(one["passed"], json!(true));
    place.yuanli(&["test", folder, "--filter", "three"]).expect(2, &["no case has `three` in its name"]);
    std::fs::remove_file(place.path("shop.test.yaml")).unwrap();
    place.yuanli(&["test", folder]).expect(2, &["there are no tests"]);
}
