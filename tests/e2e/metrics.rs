//! `/metrics`: what Prometheus' own tool says of it, and what it counts.

use std::io::Write as _;
use std::process::{Command, Stdio};

use crate::serve::signature;
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

    lint(&metrics);
}

/// What Prometheus' own tool says of it: nothing.
fn lint(metrics: &str) {
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

/// A workflow that a webhook starts, which runs one at a time, and waits for somebody.
const HOOKED: &str = "name: hooked\non: { webhook: { secret: hook-key, provider: github, events: push } }\n\
    concurrency: one\nstages: { a: { approval: true } }\n";

#[test]
fn what_waits_what_was_refused_and_what_others_were_asked_for_is_counted_and_each_metric_is_documented() {
    let served = Served::without_image();
    let mut set = served.place.command(&["secret", "set", "hook-key"]);
    let mut child = set.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"let-me-in").unwrap();
    assert!(child.wait().unwrap().success());
    served.apply("hooked.yaml", HOOKED);
    let metrics = || request(served.api, "GET", "/metrics", &[], "").1;
    let came = |outcome: &str, reason: &str| {
        format!("yuanli_triggers_total{{trigger=\"webhook\",outcome=\"{outcome}\",reason=\"{reason}\"}}")
    };
    assert_eq!(value(&metrics(), &came("started", "")), 0.0, "a rate can be made of it from the start");

    let signed = signature("let-me-in", "{}");
    let push = |event: &str, id: &str, signature: &str| {
        let headers =
            [("X-Hub-Signature-256", signature), ("X-GitHub-Event", event), ("X-GitHub-Delivery", id)];
        request(served.api, "POST", "/hooks/hooked", &headers, "{}").0
    };
    assert_eq!(push("push", "1", &signed), 202);
    assert_eq!(push("push", "1", &signed), 202);
    assert_eq!(push("push", "2", &signed), 202);
    assert_eq!(push("issues", "3", &signed), 200);
    assert_eq!(push("push", "4", "sha256=00"), 401);
    assert_eq!(request(served.api, "GET", "/no/such/place", &[], "").0, 404);
    // An image that nobody has: Docker is asked for it.
    let contained = "name: contained\nstages: { a: { uses: command, with: { image: \"yuanli.invalid/no:1\", command: [x] } } }\n";
    served.apply("contained.yaml", contained);
    served.yuanli(&["trigger", "contained", "--follow"]).expect(1, &[]);

    let told = metrics();
    assert_eq!(value(&told, &came("started", "")), 2.0);
    assert_eq!(value(&told, &came("skipped", "known")), 1.0);
    assert_eq!(value(&told, &came("skipped", "filter")), 1.0);
    assert_eq!(value(&told, &came("refused", "signature")), 1.0);
    assert_eq!(value(&told, "yuanli_http_requests_total{route=\"hooks\",code=\"202\"}"), 3.0);
    assert_eq!(value(&told, "yuanli_http_requests_total{route=\"hooks\",code=\"401\"}"), 1.0);
    assert_eq!(value(&told, "yuanli_http_requests_total{route=\"other\",code=\"404\"}"), 1.0);
    assert_eq!(value(&told, "yuanli_queue_depth{queue=\"runs\"}"), 1.0);
    assert!(value(&told, "yuanli_queue_oldest_wait_seconds{queue=\"runs\"}") > 0.0);
    let (commits, syncs) = ("yuanli_store_commits_total", "yuanli_store_fsync_duration_seconds_count");
    assert!(value(&told, syncs) > 0.0 && value(&told, commits) >= 8.0, "{told}");
    assert!(value(&told, "yuanli_store_fsync_duration_seconds_sum") > 0.0, "{told}");
    assert!(value(&told, "yuanli_docker_request_duration_seconds_count{operation=\"engine.version\"}") > 0.0);
    assert!(value(&told, "yuanli_cache_misses_total{cache=\"code\"}") >= 1.0, "{told}");
    assert!(value(&told, "yuanli_cache_bytes{cache=\"code\"}") > 0.0, "{told}");
    let limit = "yuanli_plugin_instances_limit";
    assert_eq!((value(&told, limit), value(&told, "yuanli_plugin_instances")), (64.0, 0.0));

    assert_eq!(value(&told, "yuanli_http_followers"), 0.0);
    let runs = served.place.json(&["runs", "list"]);
    let waiting = runs["items"].as_array().unwrap().iter().find(|run| run["workflow"] == "hooked").unwrap();
    let path = format!("/api/v1/runs/{}/events", waiting["id"].as_str().unwrap());
    let mut follower = std::net::TcpStream::connect(served.api).unwrap();
    let token = served.yuanli(&["token", "create", "follower", "--role", "viewer"]).expect(0, &[]).out;
    let token = token.trim();
    write!(
        follower,
        "GET {path} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {token}\r\naccept: text/event-stream\r\n\r\n",
        served.api
    )
    .unwrap();
    wait_until("somebody follows", || value(&metrics(), "yuanli_http_followers") == 1.0);
    drop(follower);
    wait_until("nobody does", || value(&metrics(), "yuanli_http_followers") == 0.0);
    lint(&told);
    let documented = std::fs::read_to_string(root().join("docs/metrics.md")).unwrap();
    for name in told.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()) {
        assert!(documented.contains(&format!("| `{name}` |")), "{name} is not in docs/metrics.md");
    }
}
