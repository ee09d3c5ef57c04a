//! Durable first: what is not in the store has not happened.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::FutureExt;
use yuanli_executor::{Error, Submission, Update};
use yuanli_model::{AttemptOutcome, FailureClass, Outcome, RunEvent};
use yuanli_ports::store::StoreError;

use crate::support::{Act, Bench, end, failure, outcome, soon, to_the_end};

#[tokio::test]
async fn no_attempt_starts_and_nobody_is_told_before_the_commit() {
    let bench = Bench::new(&[]);
    bench.store.is_held.send_replace(true);
    let mut start = Box::pin(bench.start(&["a"]));
    // As far as it gets while the store does not answer.
    for _ in 0..100 {
        assert!(start.as_mut().now_or_never().is_none(), "it does not return before the commit");
        tokio::task::yield_now().await;
    }
    assert_eq!(*bench.plugins.called.borrow(), Vec::<String>::new());
    bench.store.is_held.send_replace(false);
    let run = soon(start).await.unwrap();
    bench.called(1).await;
    soon(to_the_end(bench.executor.follow(run))).await.unwrap();
}

#[tokio::test]
async fn the_next_stage_waits_for_the_commit_of_the_one_before() {
    let bench = Bench::new(&[("a", Act::Wait)]);
    let run = bench.start(&["a", "b: a"]).await.unwrap();
    bench.called(1).await;
    bench.store.is_held.send_replace(true);
    bench.plugins.is_gate_open.send_replace(true);
    let mut follower = bench.executor.follow(run);
    // The creation and the start of `a` are durable; the end of `a` is not.
    soon(follower.next()).await.unwrap();
    soon(follower.next()).await.unwrap();
    let next = tokio::time::timeout(Duration::from_millis(200), follower.next()).await;
    assert!(next.is_err(), "it was told {next:?} before it was durable");
    assert_eq!(*bench.plugins.called.borrow(), ["a"]);
    bench.store.is_held.send_replace(false);
    assert_eq!(outcome(&soon(to_the_end(follower)).await.unwrap()), Outcome::Succeeded);
}

#[tokio::test]
async fn what_arrives_together_is_one_commit() {
    let stages: Vec<String> = (0..40).map(|number| format!("s{number}")).collect();
    let acts: Vec<(&str, Act)> = stages.iter().map(|stage| (stage.as_str(), Act::Wait)).collect();
    let bench = Bench::new(&acts);
    let lines: Vec<&str> = stages.iter().map(String::as_str).collect();
    let run = bench.start(&lines).await.unwrap();
    bench.called(40).await;
    let before = bench.store.commits.load(Ordering::SeqCst);
    bench.store.is_held.send_replace(true);
    bench.plugins.is_gate_open.send_replace(true);
    // All of them end while the store does not answer, and wait in the mailbox.
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    bench.store.is_held.send_replace(false);
    soon(to_the_end(bench.executor.follow(run))).await.unwrap();
    let commits = bench.store.commits.load(Ordering::SeqCst) - before;
    assert!(commits <= 3, "40 ends took {commits} commits");
}

#[tokio::test]
async fn a_cancel_is_answered_when_it_is_durable() {
    let bench = Bench::new(&[("a", Act::Wait)]);
    let run = bench.start(&["a"]).await.unwrap();
    bench.called(1).await;
    bench.store.is_held.send_replace(true);
    let mut asked = Box::pin(bench.executor.cancel_durably(run, "test"));
    for _ in 0..1000 {
        assert!(asked.as_mut().now_or_never().is_none(), "the store has not answered");
        tokio::task::yield_now().await;
    }
    bench.store.is_held.send_replace(false);
    soon(asked).await.unwrap();
    let updates = soon(to_the_end(bench.executor.follow(run))).await.unwrap();
    assert_eq!(outcome(&updates), Outcome::Cancelled);
    assert_eq!(bench.executor.cancel_durably(run, "again").await, Err(Error::NotActive(run)));
}

#[tokio::test]
async fn a_store_that_refuses_the_first_commit_starts_nothing() {
    let bench = Bench::new(&[]);
    let full = StoreError::Unavailable("the disk is full".to_owned());
    *bench.store.failure.lock().unwrap() = Some(full.clone());
    assert_eq!(bench.start(&["a"]).await, Err(Error::Store(full)));
    soon(bench.executor.close()).await;
    assert_eq!(*bench.plugins.called.borrow(), Vec::<String>::new());
}

#[tokio::test]
async fn a_store_that_is_closed_on_the_way_ends_the_run_here_and_followers_hear_of_it() {
    let bench = Bench::new(&[("a", Act::Wait), ("b", Act::Wait)]);
    let run = bench.start(&["a", "b", "c: a"]).await.unwrap();
    bench.called(2).await;
    let follower = bench.executor.follow(run);
    *bench.store.failure.lock().unwrap() = Some(StoreError::Closed);
    bench.plugins.is_gate_open.send_replace(true);
    assert_eq!(soon(to_the_end(follower)).await, Err(Error::NotActive(run)));
    soon(bench.executor.close()).await;
    assert_eq!(bench.plugins.called.borrow().len(), 2, "`c` was not started");
}

#[tokio::test]
async fn a_run_that_was_left_open_is_closed_as_interrupted() {
    let bench = Bench::new(&[("a", Act::Wait)]);
    let done = bench.run(&["z"]).await.0;
    let run = bench.start(&["a", "b: a", "c"]).await.unwrap();
    bench.called(3).await;
    // Another engine on the same store, as after a kill; the first one is not asked any more.
    let next = Bench::on(Arc::clone(&bench.store), &[]);
    assert_eq!(next.executor.end_left().await.unwrap(), [run]);
    let updates = soon(to_the_end(next.executor.follow(run))).await.unwrap();
    assert_eq!(outcome(&updates), Outcome::Failed);
    assert_eq!(failure(&updates, "a").class, FailureClass::Interrupted);
    assert_eq!(next.executor.end_left().await.unwrap(), [], "it is closed for good");
    assert!(next.executor.history().summary(done).await.unwrap().unwrap().ended.is_some());
}

#[tokio::test]
async fn a_run_that_is_kept_goes_on_under_the_next_engine() {
    let bench = Bench::new(&[("b", Act::Wait)]);
    let submission = Submission { is_kept: true, ..bench.submission("w", &["a", "b: a", "c: b"]) };
    let definition = submission.definition.clone();
    let origin = definition.origin.clone();
    let run = bench.executor.start(submission).await.unwrap().run;
    bench.called(2).await;
    soon(bench.executor.suspend()).await;

    let next = Bench::on(Arc::clone(&bench.store), &[]);
    assert_eq!(next.executor.end_left().await.unwrap(), [], "it is not ended");
    let left = next.executor.left().await.unwrap();
    assert_eq!((left.len(), left[0].run, left[0].origin.as_ref()), (1, run, Some(&origin)));
    assert_eq!(left[0].text.as_deref(), Some("a\nb: a\nc: b"));
    let running: Vec<_> =
        left[0].attempts.iter().map(|attempt| (attempt.stage.as_str(), attempt.attempt)).collect();
    assert_eq!(running, [("b", 1)]);
    let follower = next.executor.follow(run);
    next.executor.resume(run, definition, Arc::default()).await.unwrap();
    assert_eq!(next.executor.left().await.unwrap(), []);
    assert_eq!(next.executor.left_run(run).await.unwrap(), None);
    let updates = soon(to_the_end(follower)).await.unwrap();
    assert_eq!(outcome(&updates), Outcome::Succeeded);
    assert_eq!(next.called(2).await, ["b", "c"], "`a` is not run again");
    let attempts = updates.iter().filter(|update| {
        matches!(update, Update::Event(recorded)
        if matches!(recorded.event, RunEvent::AttemptStarted { .. }))
    });
    assert_eq!(attempts.count(), 3, "it is the same attempt");
}

#[tokio::test]
async fn of_two_that_go_on_with_a_run_one_does() {
    let bench = Bench::new(&[("a", Act::Wait)]);
    let submission = Submission { is_kept: true, ..bench.submission("w", &["a", "b: a"]) };
    let definition = submission.definition.clone();
    let run = bench.executor.start(submission).await.unwrap().run;
    bench.called(1).await;
    soon(bench.executor.suspend()).await;
    let next = Bench::on(Arc::clone(&bench.store), &[("a", Act::Wait)]);
    let resume = || next.executor.resume(run, definition.clone(), Arc::default());
    let (one, other, end) = tokio::join!(resume(), resume(), next.executor.interrupt(run));
    assert_eq!((one, other, end), (Ok(()), Err(Error::Driven(run)), Err(Error::Driven(run))));
    next.called(1).await;
    assert_eq!(resume().await, Err(Error::Driven(run)), "it goes on");
    next.plugins.is_gate_open.send_replace(true);
    let updates = soon(to_the_end(next.executor.follow(run))).await.unwrap();
    assert_eq!(outcome(&updates), Outcome::Succeeded);
    assert_eq!(next.called(2).await, ["a", "b"]);
    soon(next.executor.close()).await;
    assert_eq!(resume().await, Err(Error::NotActive(run)), "it has ended");
}

#[tokio::test]
async fn of_one_cause_there_is_one_run() {
    let bench = Bench::new(&[]);
    let submit = || Submission { cause: Some("delivery 7".to_owned()), ..bench.submission("w", &["a"]) };
    let (first, second) = tokio::join!(bench.executor.start(submit()), bench.executor.start(submit()));
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_eq!((first.run, first.is_new as u32 + second.is_new as u32), (second.run, 1));
    let next = Bench::on(Arc::clone(&bench.store), &[]);
    let third = next.executor.start(submit()).await.unwrap();
    assert_eq!((third.run, third.is_new), (first.run, false));
    assert_ne!(bench.start(&["a"]).await.unwrap(), first.run, "without a cause each is its own");
}

#[tokio::test]
async fn a_run_that_ends_where_it_begins_is_closed() {
    let bench = Bench::new(&[]);
    let (run, updates) = bench.run(&["a = 1 / 0", "b: a"]).await;
    assert_eq!(failure(&updates, "a").kind, "expression");
    assert_eq!(outcome(&updates), Outcome::Failed);
    assert_eq!(bench.executor.end_left().await.unwrap(), []);
    assert!(bench.executor.history().summary(run).await.unwrap().unwrap().ended.is_some());
}

#[tokio::test]
async fn an_attempt_that_has_recorded_something_goes_on_in_its_workspace_and_its_time() {
    for records in [true, false] {
        let bench = Bench::new(&[("a", Act::Leave { records })]);
        let submission = Submission { is_kept: true, ..bench.submission("w", &["a"]) };
        let definition = submission.definition.clone();
        let run = bench.executor.start(submission).await.unwrap().run;
        bench.called(2).await;
        soon(bench.executor.suspend()).await;
        let next = Bench::beside(&bench, &[("a", Act::Leave { records })]);
        next.executor.resume(run, definition, Arc::default()).await.unwrap();
        let updates = soon(to_the_end(next.executor.follow(run))).await.unwrap();
        let AttemptOutcome::Succeeded { outputs, .. } = end(&updates, "a") else { panic!("{updates:?}") };
        let started = updates.iter().find_map(|update| match update {
            Update::Event(recorded) => matches!(recorded.event, RunEvent::AttemptStarted { .. })
                .then(|| recorded.at.as_millis().to_string()),
            Update::Line { .. } => None,
        });
        assert_eq!(outputs["started"].as_str(), started.as_deref(), "it began when it began");
        // Of what has no call in the journal nothing is known: it begins with what it began with.
        assert_eq!(outputs["left"].is_string(), records, "{outputs}");
    }
}
