//! `/metrics`: what Prometheus' own tool says of it, and what it counts.

use std::io::Write as _;
use std::process::{Command, Stdio};

use crate::served::{Served, request};
use crate::support::{root, wait_until};

/// One run that succeeds, with two attempts, and one that fails.
const WORKFLOW: &str = "name: counted\ninputs: { n: 1 }\nstages:\n  \
    a: { uses: script, with: { assert: [{ that: \"${{ inputs.n == 1 }}\", message: it is not 1 }] } }\n  \
    b: { uses: script, needs: a }\n";

fn value(metrics: &str, sample: &str) -> f64 {
    let found = metrics.lines().find_map(|line| line.strip_prefix(sample)?.trim().parse().ok());
    found.unwrap_or_else(|| panic!("no {sample} in:\n{metrics}"))
}

#[test]
fn runs_and_stages_are_counted_and_promtool_finds_nothing_wrong() {
    let served = Served::without_image();
    served.apply("counted.yaml", WORKFLOW);
    served.yuanli(&["trigger", "counted", "--follow"]).expect(0, &[]);
    served.yuanli(&["trigger", "counted", "--follow", "-i", "n=2"]).expect(1, &[]);
    let metrics = || request(served.api, "GET", "/metrics", &[], "").1;
    let runs = |outcome: &str| format!("yuanli_run_duration_seconds_count{{outcome=\"{outcome}\"}}");
    wait_until("both have ended", || value(&metrics(), &runs("failed")) == 1.0);
    let metrics = metrics();
    assert_eq!(value(&metrics, &runs("succeeded")), 1.0);
    let stages = |outcome: &str| format!("yuanli_stage_duration_seconds_count{{outcome=\"{outcome}\"}}");
    assert_eq!((value(&metrics, &stages("succeeded")), value(&metrics, &stages("failed"))), (2.0, 1.0));
    let all = "yuanli_run_duration_seconds_bucket{outcome=\"succeeded\",le=\"+Inf\"}";
    assert_eq!(value(&metrics, all), 1.0);
    assert!(value(&metrics, "yuanli_store_commit_duration_seconds_count") >= 4.0, "{metrics}");

    let mut promtool = Command::new(root().join("target/peers/usr/bin/promtool"))
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("scripts/setup has unpacked it, with prometheus");
    promtool.stdin.take().unwrap().write_all(metrics.as_bytes()).unwrap();
    let said = promtool.wait_with_output().unwrap();
    assert!(said.status.success() && said.stderr.is_empty(), "{said:?}\n{metrics}");
}
