//! Runs that take over from others: what is told, what is kept, what is refused.

use std::time::Duration;

use indexmap::IndexMap;
use serde_json::{Value, json};
use yuanli_executor::{Error, Options, Retention, Retry, Submission, Update, WorkspaceBounds};
use yuanli_flow::NotReusable;
use yuanli_model::run::{Cause, StartingPoint};
use yuanli_model::{AttemptOutcome, Outcome, RunEvent, RunId};
use yuanli_ports::store::StoreError;

use crate::support::{Act, Bench, Then, end, outcome, soon, to_the_end};

const LINES: [&str; 4] = ["a", "b: a", "c: b", "d: a"];

fn acts(c: Act) -> [(&'static str, Act); 4] {
    [
        ("a", Act::Write("a.txt", "from a")),
        ("b", Act::Write("b.txt", "from b")),
        ("c", c),
        ("d", Act::Give(json!({ "n": 1 }))),
    ]
}

fn points(from: &[&str]) -> Vec<StartingPoint> {
    from.iter().map(|point| point.parse().unwrap()).collect()
}

async fn retry(bench: &Bench, run: RunId, from: &[&str]) -> Result<RunId, Error> {
    let submission = Submission { is_kept: true, ..bench.submission("w", &LINES) };
    bench
        .executor
        .retry(Retry { submission, run, from: points(from) }, Cause::Command)
        .await
        .map(|started| started.run)
}

async fn ended(bench: &Bench, run: RunId) -> Vec<Update> {
    soon(to_the_end(bench.executor.follow(run))).await.unwrap()
}

fn outputs(updates: &[Update], stage: &str) -> Value {
    match end(updates, stage) {
        AttemptOutcome::Succeeded { outputs, .. } => outputs.clone(),
        other => panic!("{stage}: {other:?}"),
    }
}

/// Whether something is kept of the workspaces of a run.
fn is_kept(bench: &Bench, run: RunId) -> bool {
    bench.folder.path().join("work").join(run.to_string()).exists()
}

#[tokio::test]
async fn a_retry_begins_with_what_failed_in_the_files_of_the_stages_before_it() {
    let bench = Bench::new(&acts(Act::Fail));
    let (first, updates) = bench.run(&LINES).await;
    assert_eq!(outcome(&updates), Outcome::Failed);
    let next = Bench::beside(&bench, &acts(Act::Write("c.txt", "from c")));
    next.clock.pass(Duration::from_secs(60));
    let run = retry(&next, first, &[]).await.unwrap();
    let updates = ended(&next, run).await;
    assert_eq!(outcome(&updates), Outcome::Succeeded);
    assert_eq!(*next.plugins.called.borrow(), ["c"]);
    assert_eq!(outputs(&updates, "c"), json!({ "files": ["a.txt", "b.txt", "c.txt"] }));
    let Some(Update::Event(created)) = updates.first() else { panic!("no event") };
    let RunEvent::Created { provenance, .. } = &created.event else { panic!("not created") };
    assert_eq!(provenance.again.as_ref().map(|again| again.run), Some(first));
    assert_eq!(provenance.cause, Cause::Command);
    // Of a run that has taken over, and from the middle.
    let third = retry(&next, run, &["b"]).await.unwrap();
    assert_eq!(outputs(&ended(&next, third).await, "c")["files"], json!(["a.txt", "b.txt", "c.txt"]));
    assert_eq!(*next.plugins.called.borrow(), ["c", "b", "c"]);
}

#[tokio::test]
async fn a_retry_goes_on_after_a_crash_like_any_run() {
    let bench = Bench::new(&acts(Act::Fail));
    let (first, _) = bench.run(&LINES).await;
    let second = Bench::beside(&bench, &acts(Act::Hang));
    second.clock.pass(Duration::from_secs(60));
    let run = retry(&second, first, &[]).await.unwrap();
    second.called(1).await;
    second.executor.suspend().await;
    let third = Bench::beside(&bench, &acts(Act::Write("c.txt", "from c")));
    third.clock.pass(Duration::from_secs(120));
    assert_eq!(third.executor.end_left().await.unwrap(), Vec::<RunId>::new());
    let definition = third.submission("w", &LINES).definition;
    third.executor.resume(run, definition, std::sync::Arc::default()).await.unwrap();
    let updates = ended(&third, run).await;
    assert_eq!(outputs(&updates, "c"), json!({ "files": ["a.txt", "b.txt", "c.txt"] }));
}

#[tokio::test]
async fn an_archived_run_is_retried_like_one_that_has_just_ended() {
    let bench = Bench::new(&acts(Act::Fail));
    let (first, _) = bench.run(&LINES).await;
    bench.executor.tidy_history().await.unwrap();
    let run = retry(&bench, first, &[]).await.unwrap();
    assert_eq!(outcome(&ended(&bench, run).await), Outcome::Failed);
    assert_eq!(*bench.plugins.called.borrow(), ["a", "b", "d", "c", "c"]);
}

#[tokio::test]
async fn a_run_that_goes_on_and_one_that_is_gone_are_refused() {
    let bench = Bench::new(&acts(Act::Wait));
    let run = bench.start(&LINES).await.unwrap();
    bench.called(4).await;
    // Also where the stage that runs is named.
    for from in [&[][..], &["c"]] {
        let refused = retry(&bench, run, from).await.unwrap_err();
        assert_eq!(refused, Error::NotReusable(NotReusable::GoesOn(run)));
    }
    bench.plugins.is_gate_open.send_replace(true);
    ended(&bench, run).await;
    assert_eq!(retry(&bench, run, &[]).await, Err(Error::NotReusable(NotReusable::Succeeded(run))));
    let gone = RunId::from_u128(5);
    let refused = retry(&bench, gone, &[]).await.unwrap_err();
    assert_eq!(refused.to_string(), format!("run {gone} is not stored any more"));
}

#[tokio::test]
async fn inputs_that_differ_are_told() {
    let bench = Bench::new(&[("b", Act::Fail)]);
    let submission = |tag: &str| Submission {
        inputs: IndexMap::from([("tag".parse().unwrap(), json!(tag))]),
        ..bench.submission("w", &["a", "b: a =inputs.tag"])
    };
    let first = bench.executor.start(submission("v1")).await.unwrap().run;
    ended(&bench, first).await;
    let again = Retry { submission: submission("v2"), run: first, from: Vec::new() };
    let run = bench.executor.retry(again, Cause::Request).await.unwrap().run;
    let updates = ended(&bench, run).await;
    let Some(Update::Event(created)) = updates.first() else { panic!("no event") };
    let RunEvent::Created { provenance, .. } = &created.event else { panic!("not created") };
    assert_eq!(provenance.again.as_ref().unwrap().changed, ["tag".parse().unwrap()]);
    assert_eq!(*bench.plugins.called.borrow(), ["a", "b", "b"]);
}

#[tokio::test]
async fn artifacts_of_what_is_taken_over_are_those_of_the_new_run_as_well() {
    let lines = ["a", "b: a"];
    let bench = Bench::keeping(
        &[("a", Act::Keep(Then::End)), ("b", Act::Fail)],
        Retention { runs: Some(1), ..Retention::forever() },
    );
    let (first, _) = bench.run(&lines).await;
    let next = Bench::keeping_beside(&bench, Retention { runs: Some(1), ..Retention::forever() });
    next.clock.pass(Duration::from_secs(60));
    next.plugins.does("b", Act::Collect);
    let submission = next.submission("w", &lines);
    let again = Retry { submission, run: first, from: Vec::new() };
    let run = next.executor.retry(again, Cause::Command).await.unwrap().run;
    let seen = outputs(&ended(&next, run).await, "b");
    assert_eq!(seen["seen"].as_array().unwrap().len(), 1, "{seen}");
    // The first run goes with its own names for them, and nothing that the second one needs.
    next.executor.tidy_history().await.unwrap();
    assert_eq!(next.executor.history().summary(first).await.unwrap(), None);
    let kept = next.executor.records().artifacts_of(run).await.unwrap();
    for part in &kept[0].content.parts {
        next.executor.records().part(part.digest).await.unwrap();
    }
    let found = next.executor.check(false).await.unwrap();
    assert_eq!(found.findings, Vec::<String>::new());
}

#[tokio::test]
async fn what_is_not_kept_any_more_is_told_with_where_to_begin() {
    let bench = Bench::new(&acts(Act::Fail));
    let (first, _) = bench.run(&LINES).await;
    std::fs::remove_dir_all(bench.folder.path().join("work")).unwrap();
    let refused = retry(&bench, first, &[]).await.unwrap_err().to_string();
    let says = format!(
        "the files that stage `b` left in run {first} are not kept any more: begin there, with `--from b`"
    );
    assert_eq!(refused, says);
    let refused = retry(&bench, first, &["b"]).await.unwrap_err().to_string();
    assert!(refused.contains("stage `a`"), "{refused}");
    // What nobody needs any more does not matter.
    let run = retry(&bench, first, &["a"]).await.unwrap();
    ended(&bench, run).await;
    assert_eq!(*bench.plugins.called.borrow(), ["a", "b", "d", "c", "a", "b", "d", "c"]);
}

#[tokio::test]
async fn a_retry_that_is_not_committed_leaves_nothing() {
    let bench = Bench::new(&acts(Act::Fail));
    let (first, _) = bench.run(&LINES).await;
    *bench.store.next_failure.lock().unwrap() = Some(StoreError::Exhausted("no room".to_owned()));
    assert!(matches!(retry(&bench, first, &[]).await, Err(Error::Store(_))));
    bench.executor.tidy_history().await.unwrap();
    let left: Vec<_> = std::fs::read_dir(bench.folder.path().join("work")).unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");
    assert!(is_kept(&bench, first));
}

#[tokio::test]
async fn the_files_of_a_retry_that_may_have_been_committed_stay_until_the_next_engine_knows() {
    let bench = Bench::new(&acts(Act::Fail));
    let (first, _) = bench.run(&LINES).await;
    *bench.store.next_failure.lock().unwrap() = Some(StoreError::Unavailable("a bad block".to_owned()));
    assert!(matches!(retry(&bench, first, &[]).await, Err(Error::Store(_))));
    bench.executor.tidy_history().await.unwrap();
    let kept = || std::fs::read_dir(bench.folder.path().join("work")).unwrap().count();
    assert_eq!(kept(), 2, "the commit may be found, and then names them");
    let next = Bench::beside(&bench, &acts(Act::Fail));
    next.executor.tidy_history().await.unwrap();
    assert_eq!(kept(), 1, "it was not found");
}

// Bounds

fn bounded(other: Option<&Bench>, workspaces: WorkspaceBounds) -> Bench {
    let options = Options { workspaces, retention: Retention::forever(), ..Options::default() };
    Bench::optioned(other, &acts(Act::Fail), options)
}

#[tokio::test]
async fn workspaces_of_ended_runs_go_when_they_are_old() {
    let age = Some(Duration::from_secs(60));
    let bench = bounded(None, WorkspaceBounds { age, bytes: None });
    let (old, _) = bench.run(&LINES).await;
    bench.clock.pass(Duration::from_secs(50));
    let (young, _) = bench.run(&LINES).await;
    bench.executor.tidy_history().await.unwrap();
    assert!(is_kept(&bench, old) && is_kept(&bench, young));
    bench.clock.pass(Duration::from_secs(15));
    bench.executor.tidy_history().await.unwrap();
    assert!(!is_kept(&bench, old) && is_kept(&bench, young));
    assert_eq!(bench.executor.kept_workspaces().await.unwrap().len(), 1);
    assert!(bench.executor.history().summary(old).await.unwrap().is_some(), "the run stays");
}

#[tokio::test]
async fn of_too_many_bytes_those_of_runs_that_succeeded_go_first_and_then_the_oldest() {
    let bench = bounded(None, WorkspaceBounds { age: None, bytes: None });
    let (oldest, _) = bench.run(&LINES).await;
    let (second, _) = bench.run(&LINES).await;
    bench.plugins.does("c", Act::Give(json!({})));
    let (good, _) = bench.run(&LINES).await;
    bench.executor.tidy_history().await.unwrap();
    let kept = bench.executor.kept_workspaces().await.unwrap();
    assert_eq!(kept.len(), 3);
    let bytes = kept[0].1;
    let room_for = |runs: u64| WorkspaceBounds { age: None, bytes: Some(bytes * runs) };
    let next = bounded(Some(&bench), room_for(2));
    next.executor.tidy_history().await.unwrap();
    assert_eq!([oldest, second, good].map(|run| is_kept(&bench, run)), [true, true, false]);
    let next = bounded(Some(&bench), room_for(1));
    next.executor.tidy_history().await.unwrap();
    assert_eq!([oldest, second, good].map(|run| is_kept(&bench, run)), [false, true, false]);
}

#[tokio::test]
async fn workspaces_of_a_run_that_goes_on_are_nobodys_to_remove() {
    let bench = Bench::optioned(
        None,
        &acts(Act::Wait),
        Options {
            workspaces: WorkspaceBounds { age: Some(Duration::ZERO), bytes: Some(0) },
            ..Options::default()
        },
    );
    let run = bench.start(&LINES).await.unwrap();
    bench.called(4).await;
    bench.executor.tidy_history().await.unwrap();
    assert!(is_kept(&bench, run));
    bench.plugins.is_gate_open.send_replace(true);
    ended(&bench, run).await;
    bench.executor.close().await;
    bench.executor.tidy_history().await.unwrap();
    assert!(!is_kept(&bench, run));
}
