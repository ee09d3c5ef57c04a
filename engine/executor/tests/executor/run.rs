//! Runs from their beginning to their end.

use serde_json::json;
use yuanli_model::{AttemptOutcome, Outcome};

use crate::support::{Act, Bench, end, failure, outcome, soon, to_the_end};

#[tokio::test]
async fn a_run_goes_through_its_stages() {
    let bench = Bench::new(&[("a", Act::Give(json!({ "n": 1 })))]);
    let (_, updates) = bench.run(&["a", "b: a"]).await;
    assert_eq!(outcome(&updates), Outcome::Succeeded);
    assert!(matches!(end(&updates, "a"), AttemptOutcome::Succeeded { outputs, .. } if outputs["n"] == 1));
    assert_eq!(*bench.plugins.called.borrow(), ["a", "b"]);
}

#[tokio::test]
async fn stages_that_do_not_need_each_other_run_at_the_same_time() {
    let bench = Bench::new(&[("a", Act::Wait), ("b", Act::Wait)]);
    let run = bench.start(&["a", "b", "c: a b"]).await.unwrap();
    assert_eq!(bench.called(2).await.len(), 2, "both wait, so both were begun");
    bench.plugins.is_gate_open.send_replace(true);
    assert_eq!(outcome(&soon(to_the_end(bench.executor.follow(run))).await.unwrap()), Outcome::Succeeded);
}

#[tokio::test]
async fn a_failure_and_a_panic_fail_their_stage_only() {
    let bench = Bench::new(&[("a", Act::Fail), ("b", Act::Panic)]);
    let (_, updates) = bench.run(&["a", "b", "c", "d: b"]).await;
    assert_eq!(outcome(&updates), Outcome::Failed);
    assert_eq!(failure(&updates, "a").kind, "told");
    assert_eq!(failure(&updates, "b").kind, "engine-panic");
    assert!(failure(&updates, "b").message.contains("a plugin host with a defect"));
    assert!(matches!(end(&updates, "c"), AttemptOutcome::Succeeded { .. }));
}

#[tokio::test]
async fn a_cancel_ends_the_run_and_later_ones_are_refused() {
    let bench = Bench::new(&[("a", Act::Wait)]);
    let run = bench.start(&["a", "b: a"]).await.unwrap();
    bench.called(1).await;
    bench.executor.cancel(run, "test").unwrap();
    let updates = soon(to_the_end(bench.executor.follow(run))).await.unwrap();
    assert_eq!(outcome(&updates), Outcome::Cancelled);
    assert_eq!(*end(&updates, "a"), AttemptOutcome::Cancelled);
    soon(bench.executor.close()).await;
    assert!(bench.executor.cancel(run, "again").is_err());
}

#[tokio::test]
async fn files_are_handed_from_stage_to_stage() {
    let bench = Bench::new(&[("a", Act::Write("one", "1")), ("b", Act::Write("two", "2"))]);
    let (_, updates) = bench.run(&["a", "b: a"]).await;
    let AttemptOutcome::Succeeded { outputs, .. } = end(&updates, "b") else { panic!("it succeeded") };
    assert_eq!(outputs["files"], json!(["one", "two"]));
}

#[tokio::test]
async fn a_stage_whose_needs_disagree_fails_and_names_them() {
    let bench = Bench::new(&[("a", Act::Write("file", "a")), ("b", Act::Write("file", "b"))]);
    let (_, updates) = bench.run(&["a", "b", "c: a b"]).await;
    let failure = failure(&updates, "c");
    assert_eq!(failure.kind, "workspace-conflict");
    assert!(failure.message.contains("stages `a` and `b` both changed `file`"), "{failure:?}");
}
