//! What tests in real containers report.

use serde_json::{Value, json};

use crate::support::{Place, docker};

/// A stage `test` whose container runs this script in its workspace.
fn workflow(script: &str, more: &str) -> String {
    docker::make_image();
    let script = serde_json::to_string(script).unwrap();
    format!(
        "name: w\nstages:\n  tests:\n    uses: test\n    with:\n      image: {}\n      command: [/bin/sh, -c, {script}]\n{more}",
        docker::IMAGE
    )
}

const SCRIPT: &str = "cd /workspace; busybox mkdir -p out; \
    echo \"<testsuite><testcase name='adds' time='1.25'/><testcase name='races'><failure message='too late'/></testcase></testsuite>\" >out/junit.xml; \
    printf 'SF:a\\nLF:4\\nLH:3\\nend_of_record\\n' >out/lcov.info; exit 1";

fn outputs(place: &Place, run: &str) -> Value {
    let run = place.json(&["runs", "show", run.trim()]);
    run["stages"][0]["outputs"].clone()
}

#[test]
fn tests_are_counted_run_again_and_covered() {
    let place = Place::new();
    let again = "cd /workspace; busybox test \"$YUANLI_FAILED_TESTS\" = \"$0\" || exit 9; \
                 echo 'ok 1 - races' >out/again.tap";
    let again = serde_json::to_string(again).unwrap();
    let more = format!(
        "      reports: [out/*.xml, out/*.tap]\n      rerun: {{ command: [/bin/sh, -c, {again}, \"{{tests}}\"] }}\n      coverage: \
         [out/lcov.info]\n      min_coverage: 75\n"
    );
    let file = place.write("w.yaml", workflow(SCRIPT, &more));
    let ended = place.yuanli(&["run", &file]).expect(0, &["races is flaky", "75 % of the lines are covered"]);
    let outputs = outputs(&place, &ended.out);
    assert_eq!(outputs["tests"], json!({ "passed": 2, "skipped": 0, "flaky": 1 }));
    assert_eq!(outputs["flaky"], json!(["races"]));
    assert_eq!(outputs["slowest"], json!([{ "name": "adds", "duration_ms": 1250 }]));
    assert_eq!(outputs["coverage"]["percent"], 75.0);
    let said = ["2 passed, 0 failed, 0 skipped, 1 flaky", "- `races`", "75 % (3 of 4 lines)"];
    let shown = place.yuanli(&["runs", "show", ended.out.trim()]).expect(0, &[]).out;
    said.iter().for_each(|said| assert!(shown.contains(said), "{said}: {shown}"));
}

#[test]
fn failed_tests_are_named_in_the_failure() {
    let place = Place::new();
    let file = place.write("w.yaml", workflow(SCRIPT, "      reports: [out/*.xml]\n"));
    place.yuanli(&["run", &file]).expect(1, &["1 of 2 tests failed: races (too late)"]);
}
