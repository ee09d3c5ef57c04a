//! The calls of attempts that have ended: kept of those that are meant, within bounds, and whole.

use std::time::Duration;

use yuanli_executor::{JournalBounds, Journals, Options, Retention};
use yuanli_model::{AttemptId, Digest, RunId, Timestamp};
use yuanli_ports::Store as _;
use yuanli_ports::journal::{Call, Outcome, Recorded, Value};
use yuanli_ports::plugins::Attempt;
use yuanli_ports::store::Range;

use crate::support::{Act, Bench, Then};

/// What nothing had to be recorded of when the attempt ended: so long that it is a blob.
const LAST: [u8; 9_000] = [7; 9_000];

/// Ends a journal as the component host does, with one more call.
pub(crate) fn end(attempt: &Attempt, index: u32) {
    let call = Call { index, function: "last".to_owned(), arguments: Digest::of(b""), shown: String::new() };
    let value = Value::Told(LAST.as_slice().into());
    let outcome = Some(Outcome { value, lines: Vec::new() });
    attempt.journal.end(vec![Recorded { call, at: Timestamp::from_millis(2), outcome }], true);
}

fn bench(which: Journals, bytes: u64) -> Bench {
    let acts = [("good", Act::Keep(Then::End)), ("bad", Act::Keep(Then::Fail))];
    let journals = JournalBounds { which, age: Duration::from_secs(60), bytes };
    let retention = Retention { runs: Some(2), ..Retention::forever() };
    Bench::optioned(None, &acts, Options { journals, retention, ..Options::default() })
}

fn attempt(run: RunId, stage: &str) -> AttemptId {
    AttemptId { run, stage: stage.parse().unwrap(), instance: 0, attempt: 1 }
}

async fn kept(bench: &Bench) -> Vec<AttemptId> {
    let all = bench.executor.records().all_kept_calls().await.unwrap();
    all.into_iter().map(|kept| kept.attempt).collect()
}

async fn check(bench: &Bench) {
    assert_eq!(bench.executor.check(false).await.unwrap().findings, [""; 0]);
}

#[tokio::test]
async fn the_calls_of_attempts_are_kept_that_are_meant() {
    for (which, expect) in
        [(Journals::None, &[][..]), (Journals::Failed, &["bad"]), (Journals::All, &["bad", "good"])]
    {
        let bench = bench(which, 1 << 20);
        let (run, _) = bench.run(&["good", "bad", "idle"]).await;
        let expect: Vec<_> = expect.iter().map(|stage| attempt(run, stage)).collect();
        assert_eq!(kept(&bench).await, expect, "{which:?}");
        check(&bench).await;
        for attempt in expect {
            let calls = bench.executor.records().calls(&attempt).await.unwrap();
            let told: Vec<_> =
                calls.iter().map(|call| (call.call.index, call.call.function.as_str())).collect();
            assert_eq!(told, [(1, "f"), (2, "f"), (3, "f"), (4, "last")]);
            let last = &calls[3].outcome.as_ref().unwrap().value;
            assert_eq!(*last, Value::Told(LAST.as_slice().into()));
        }
        // In the archive as before it.
        bench.executor.tidy_history().await.unwrap();
        assert_eq!(bench.executor.records().kept_calls(run).await.unwrap().len(), kept(&bench).await.len());
        check(&bench).await;
    }
}

#[tokio::test]
async fn what_is_too_much_or_too_old_goes_and_the_rest_with_its_run() {
    // Each has some more than 9,000 bytes.
    let bench = bench(Journals::Failed, 20_000);
    let mut runs = Vec::new();
    for _ in 0..3 {
        runs.push(bench.run(&["bad"]).await.0);
    }
    assert_eq!(kept(&bench).await.len(), 3);
    bench.executor.tidy_history().await.unwrap();
    assert_eq!(kept(&bench).await, [attempt(runs[1], "bad"), attempt(runs[2], "bad")], "by size");
    runs.push(bench.run(&["idle"]).await.0);
    bench.executor.tidy_history().await.unwrap();
    assert_eq!(kept(&bench).await, [attempt(runs[2], "bad")], "with its run");
    check(&bench).await;
    bench.clock.pass(Duration::from_secs(61));
    bench.executor.tidy_history().await.unwrap();
    assert_eq!(kept(&bench).await, [], "by age");
    let calls = bench.store.scan(Range::prefix(&[14], 100)).await.unwrap();
    assert!(calls.is_empty(), "the calls go with the marks: {calls:?}");
    check(&bench).await;
}
