//! What becomes of runs that have ended.

use std::time::Duration;

use yuanli_executor::{Retention, Submission};
use yuanli_model::{AttemptId, Outcome, RunId};
use yuanli_ports::store::{Range, StoreError};
use yuanli_ports::{Archive, Logs, Store};
use yuanli_store::FileLogs;

use crate::support::{Act, Bench, outcome, soon, to_the_end};

/// Entries of the store that are neither rows of runs nor texts of workflows.
async fn others(bench: &Bench) -> usize {
    let rows = bench.store.scan(Range::prefix(&[], 10_000)).await.unwrap();
    rows.iter().filter(|(key, _)| ![1, 5].contains(&key.as_bytes()[0])).count()
}

async fn runs(bench: &Bench) -> Vec<RunId> {
    let runs = bench.executor.history().list(None, 10_000).await.unwrap();
    runs.iter().rev().map(|run| run.id).collect()
}

#[tokio::test]
async fn a_run_reads_the_same_from_the_archive() {
    let bench = Bench::new(&[("bad", Act::Fail), ("log", Act::Say(3)), ("long", Act::Say(2000))]);
    let mut before = Vec::new();
    for lines in [["a", "b: a"], ["bad", "c: bad"], ["log", "long: log"]] {
        before.push(bench.run(&lines).await.0);
    }
    let history = bench.executor.history();
    let mut expected = Vec::new();
    for run in &before {
        expected.push((history.summary(*run).await.unwrap(), history.events(*run, 0).await.unwrap()));
    }
    let attempt =
        |stage: &str| AttemptId { run: before[2], stage: stage.parse().unwrap(), instance: 0, attempt: 1 };
    let logs = [history.log(&attempt("log")).await.unwrap(), history.log(&attempt("long")).await.unwrap()];
    assert!(logs.iter().all(Option::is_some));

    bench.executor.tidy_history().await.unwrap();

    assert_eq!(bench.archive.segments().await.unwrap().len(), 1);
    // One is kept per run, one counts the uses of each text, one tally of the workflow, one entry of the segment: no
    // events, no logs, nothing waiting.
    assert_eq!(others(&bench).await, 3 + 3 + 1 + 1);
    for (run, (summary, events)) in before.iter().zip(&expected) {
        assert_eq!(history.summary(*run).await.unwrap(), *summary);
        assert_eq!(history.events(*run, 0).await.unwrap(), *events);
        assert_eq!(history.events(*run, 2).await.unwrap(), events[2..]);
        let (state, _) = history.run(*run).await.unwrap().unwrap();
        assert_eq!(state.outcome(), summary.as_ref().unwrap().ended.map(|(_, outcome)| outcome));
    }
    assert_eq!(history.log(&attempt("log")).await.unwrap(), logs[0]);
    assert_eq!(history.log(&attempt("long")).await.unwrap(), logs[1]);
    assert_eq!(runs(&bench).await, before);
    // Who comes late sees it as if it were there.
    let updates = soon(to_the_end(bench.executor.follow(before[1]))).await.unwrap();
    assert_eq!(outcome(&updates), Outcome::Failed);
}

#[tokio::test]
async fn the_newest_runs_of_a_workflow_are_kept() {
    let bench = Bench::keeping(&[], Retention { runs: Some(3), ..Retention::forever() });
    let mut all = Vec::new();
    for _ in 0..10 {
        all.push(bench.run(&["a"]).await.0);
    }
    bench.executor.tidy_history().await.unwrap();
    assert_eq!(runs(&bench).await, all[7..]);
    let gone = bench.executor.history();
    assert_eq!(gone.summary(all[0]).await.unwrap(), None);
    assert_eq!(gone.events(all[0], 0).await.unwrap(), []);
    assert!(gone.run(all[9]).await.unwrap().is_some());
}

#[tokio::test]
async fn two_that_tidy_at_once_lose_no_count() {
    let bench = Bench::new(&[]);
    for _ in 0..20 {
        bench.run(&["a"]).await;
    }
    let (first, second) = tokio::join!(bench.executor.tidy_history(), bench.executor.tidy_history());
    assert_eq!((first, second), (Ok(()), Ok(())));
    let workflows = bench.executor.history().workflows().await.unwrap();
    assert_eq!(workflows.iter().map(|(_, runs, _)| *runs).collect::<Vec<_>>(), [20]);
}

#[tokio::test]
async fn a_cause_is_forgotten_with_its_run_and_not_before() {
    let bench = Bench::keeping(&[], Retention { runs: Some(1), ..Retention::forever() });
    let submit = |cause: &str| Submission { cause: Some(cause.to_owned()), ..bench.submission("w", &["a"]) };
    let mut started = Vec::new();
    for cause in ["first", "second"] {
        let run = bench.executor.start(submit(cause)).await.unwrap().run;
        soon(to_the_end(bench.executor.follow(run))).await.unwrap();
        started.push(run);
    }
    bench.executor.tidy_history().await.unwrap();
    assert_eq!(runs(&bench).await, started[1..]);
    let second = bench.executor.start(submit("second")).await.unwrap();
    assert_eq!((second.run, second.is_new), (started[1], false));
    let first = bench.executor.start(submit("first")).await.unwrap();
    assert!(first.is_new, "what it had started is gone");
}

#[tokio::test]
async fn old_runs_and_runs_that_take_too_much_are_removed_with_their_logs() {
    // The clock of the tests goes on by a millisecond whenever it is asked.
    let bench =
        Bench::keeping(&[], Retention { age: Some(Duration::from_millis(40)), ..Retention::forever() });
    let first = bench.run(&["a"]).await.0;
    for _ in 0..20 {
        bench.run(&["a"]).await;
    }
    bench.executor.tidy_history().await.unwrap();
    let left = runs(&bench).await;
    assert!(!left.contains(&first) && !left.is_empty() && left.len() < 21, "{left:?}");

    let bench = Bench::keeping(
        &[("long", Act::Say(2000))],
        Retention { bytes: Some(300_000), ..Retention::forever() },
    );
    let mut all = Vec::new();
    for _ in 0..4 {
        all.push(bench.run(&["long"]).await.0);
    }
    let folder = |run: &RunId| bench.folder.path().join("logs").join(run.to_string());
    assert!(all.iter().all(|run| folder(run).exists()));
    bench.executor.tidy_history().await.unwrap();
    let left = runs(&bench).await;
    assert!(left.len() < 4 && left.ends_with(&all[3..]), "{} of 4 are left", left.len());
    assert!(all.iter().all(|run| folder(run).exists() == left.contains(run)));
    let logs = FileLogs::new(bench.folder.path().join("logs"));
    logs.remove(all[0]).await.unwrap();
}

#[tokio::test]
async fn segments_go_when_nothing_in_them_is_alive_and_sparse_ones_are_written_again() {
    let bench = Bench::keeping(&[], Retention { runs: Some(12), ..Retention::forever() });
    let (mut busy, mut rare) = (Vec::new(), Vec::new());
    for round in 0..10 {
        for workflow in ["rare"].iter().chain(&["busy"; 20]) {
            let run = bench.start_of(workflow, &["a", "b: a"]).await.unwrap();
            soon(to_the_end(bench.executor.follow(run))).await.unwrap();
            if *workflow == "rare" { rare.push(run) } else { busy.push(run) }
        }
        bench.executor.tidy_history().await.unwrap();
        // Every round fills a segment, of which one run is kept for long; two of those fill a segment of their own.
        let segments = bench.archive.segments().await.unwrap();
        assert!(segments.len() <= 7, "{} segments in round {round}", segments.len());
    }
    let left = runs(&bench).await;
    assert_eq!(left.len(), rare.len() + 12);
    assert!(rare.iter().chain(&busy[busy.len() - 12..]).all(|run| left.contains(run)));
    for run in left {
        let (state, _) = bench.executor.history().run(run).await.unwrap().unwrap();
        assert_eq!(state.outcome(), Some(Outcome::Succeeded));
    }
}

#[tokio::test]
async fn what_could_not_be_committed_is_moved_later_and_once() {
    let bench = Bench::new(&[]);
    let all = [bench.run(&["a"]).await.0, bench.run(&["a"]).await.0];
    *bench.store.failure.lock().unwrap() = Some(StoreError::Exhausted("the disk is full".to_owned()));
    bench.executor.tidy_history().await.unwrap_err();
    assert!(bench.executor.history().run(all[0]).await.unwrap().is_some(), "nothing went before its commit");
    *bench.store.failure.lock().unwrap() = None;
    bench.executor.tidy_history().await.unwrap();
    assert_eq!(others(&bench).await, 2 + 1 + 1 + 1);
    assert!(bench.executor.history().run(all[0]).await.unwrap().is_some());
}

#[tokio::test]
async fn a_running_engine_moves_runs_by_itself() {
    let bench = Bench::new(&[]);
    bench.executor.keep_history();
    for _ in 0..256 {
        bench.run(&["a"]).await;
    }
    let is_moved = async {
        while bench.archive.segments().await.unwrap().is_empty() || others(&bench).await > 256 + 1 + 2 {
            tokio::task::yield_now().await;
        }
    };
    soon(is_moved).await;
    soon(bench.executor.close()).await;
}
