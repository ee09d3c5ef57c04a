//! A store that takes nothing for a while holds runs up, and no longer than that.

use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::FutureExt;
use yuanli_model::Outcome;
use yuanli_model::workflow::{Older, Settings};
use yuanli_ports::store::StoreError;

use crate::child::{calls, runs_of, stage, submission};
use crate::language::grouped;
use crate::records;
use crate::support::{Act, Bench, Then, outcome, soon, to_the_end};

/// Why a store that lives takes nothing.
fn reasons() -> [StoreError; 2] {
    [StoreError::Exhausted("it is full".to_owned()), StoreError::Unavailable("it fails".to_owned())]
}

/// Waits until the store has refused so many commits more.
async fn refused(bench: &Bench, count: u64) {
    let before = bench.store.failed.load(Ordering::SeqCst);
    let refused = async {
        while bench.store.failed.load(Ordering::SeqCst) < before + count {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    soon(refused).await;
}

fn breaks(bench: &Bench, failure: Option<StoreError>) {
    *bench.store.failure.lock().unwrap() = failure;
}

#[tokio::test]
async fn a_run_goes_on_once_the_store_does() {
    for reason in reasons() {
        let bench = Bench::new(&[("a", Act::Wait), ("b", Act::Wait)]);
        let run = bench.start(&["a", "b", "c: a"]).await.unwrap();
        bench.called(2).await;
        let mut follower = bench.executor.follow(run);
        let mut told = Box::pin(to_the_end(bench.executor.follow(run)));
        breaks(&bench, Some(reason));
        bench.plugins.is_gate_open.send_replace(true);
        refused(&bench, 2).await;
        assert!(told.as_mut().now_or_never().is_none(), "it waits");
        assert!(bench.executor.is_driving(run));
        assert_eq!(bench.plugins.called.borrow().len(), 2, "`c` is not started");
        breaks(&bench, None);
        let updates = soon(told).await.unwrap();
        assert_eq!(outcome(&updates), Outcome::Succeeded);
        assert_eq!(*bench.plugins.called.borrow(), ["a", "b", "c"], "each was started once");
        assert!(soon(follower.next()).await.unwrap().is_some());
        soon(bench.executor.close()).await;
    }
}

#[tokio::test]
async fn those_that_wait_in_its_group_come_in_afterwards() {
    let bench = Bench::new(&[("a", Act::Wait)]);
    let start = async || {
        let settings: Settings = grouped(Older::Finish);
        let submission = bench.submission_of("w", vec![stage("a")], settings, "a");
        bench.executor.start(submission).await.unwrap().run
    };
    let runs = [start().await, start().await];
    bench.called(1).await;
    let [reason, _] = reasons();
    breaks(&bench, Some(reason));
    bench.plugins.is_gate_open.send_replace(true);
    refused(&bench, 1).await;
    breaks(&bench, None);
    for run in runs {
        let updates = soon(to_the_end(bench.executor.follow(run))).await.unwrap();
        assert_eq!(outcome(&updates), Outcome::Succeeded);
    }
}

#[tokio::test]
async fn what_is_asked_meanwhile_is_answered_when_it_is_durable() {
    let bench = Bench::new(&[("a", Act::Wait)]);
    let run = bench.start(&["a"]).await.unwrap();
    bench.called(1).await;
    let [_, reason] = reasons();
    breaks(&bench, Some(reason));
    let mut asked = Box::pin(bench.executor.cancel_durably(run, "test"));
    assert!(asked.as_mut().now_or_never().is_none());
    refused(&bench, 2).await;
    assert!(asked.as_mut().now_or_never().is_none(), "the store has not taken it");
    breaks(&bench, None);
    soon(asked).await.unwrap();
    let updates = soon(to_the_end(bench.executor.follow(run))).await.unwrap();
    assert_eq!(outcome(&updates), Outcome::Cancelled);
}

#[tokio::test]
async fn a_run_that_a_stage_starts_is_started_once() {
    for reason in reasons() {
        let bench = Bench::new(&[("a", Act::Wait)]);
        let part = calls("part", "inner").after(vec!["a".parse().unwrap()]);
        let outer = submission(&bench, vec![stage("a"), part], &[("inner", vec![stage("b")])]);
        let run = bench.executor.start(outer).await.unwrap().run;
        bench.called(1).await;
        bench.store.is_flawed_by(reason);
        bench.plugins.is_gate_open.send_replace(true);
        let updates = soon(to_the_end(bench.executor.follow(run))).await.unwrap();
        assert_eq!(outcome(&updates), Outcome::Succeeded, "{updates:?}");
        assert_eq!(*bench.plugins.called.borrow(), ["a", "b"]);
        assert_eq!(runs_of(&bench, "inner").await.len(), 1);
    }
}

#[tokio::test]
async fn what_an_attempt_keeps_is_kept_once() {
    for reason in reasons() {
        let bench = Bench::new(&[("a", Act::Wait), ("b", Act::Keep(Then::End))]);
        let run = bench.start(&["a", "b: a"]).await.unwrap();
        bench.called(1).await;
        bench.store.is_flawed_by(reason);
        bench.plugins.is_gate_open.send_replace(true);
        let updates = soon(to_the_end(bench.executor.follow(run))).await.unwrap();
        assert_eq!(outcome(&updates), Outcome::Succeeded, "{updates:?}");
        assert!(bench.store.failed.load(Ordering::SeqCst) > 2, "the store has failed");
        assert_eq!(records::count(&bench).await.as_deref(), Some("1"));
        assert_eq!(records::artifacts(&bench, run).await.len(), 1);
        assert_eq!(records::events(&bench).await.len(), 1);
    }
}
