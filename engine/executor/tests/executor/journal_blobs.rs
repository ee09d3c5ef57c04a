//! Long answers in the journals of attempts: they go with their calls, and stay as long as these are kept.

use std::time::Duration;

use yuanli_executor::{JournalBounds, Journals, Options, Retention};
use yuanli_model::{AttemptId, Digest, RunId, Timestamp};
use yuanli_ports::Store as _;
use yuanli_ports::journal::{Call, Outcome, Recorded, Staged, Value};
use yuanli_ports::plugins::Attempt;
use yuanli_ports::records::NewArtifact;
use yuanli_ports::store::Range;

use crate::support::{Act, Bench, Then, soon};

/// What a call was told: so long that it is a blob.
const LONG: usize = 20_000;

/// Records a call that was told something long, ends the journal as the component host does, and puts an artifact as long.
pub(crate) async fn read(attempt: &Attempt) {
    let records = &attempt.records;
    let artifact = vec![1; LONG];
    let digest = Digest::of(&artifact);
    let (part, hold) = records.keep(artifact.into()).await.unwrap();
    let (name, media_type) = ("report".to_owned(), "text/plain".to_owned());
    let artifact = NewArtifact { name, media_type, digest, parts: vec![part] };
    let staged = records.put_artifact(artifact, vec![hold]).await.unwrap();
    crate::records::record(attempt, 1, staged).await;
    hear(attempt, 2).await;
}

/// Records a call that was told something long, and ends the journal as the component host does.
pub(crate) async fn hear(attempt: &Attempt, index: u32) {
    let told = format!("{:LONG$}", attempt.id.to_string());
    let (function, arguments, shown) = ("read".to_owned(), Digest::of(b""), String::new());
    let call = Call { index, function, arguments, shown };
    let outcome = Some(Outcome { value: Value::Told(told.into()), lines: Vec::new() });
    let recorded = Recorded { call, at: Timestamp::from_millis(2), outcome };
    attempt.journal.record(vec![recorded], Staged::default()).await.unwrap();
    attempt.journal.end(Vec::new(), true);
}

fn bench(which: Journals, retention: Retention) -> Bench {
    let acts = [
        ("good", Act::Read(Then::End)),
        ("bad", Act::Read(Then::Fail)),
        ("cut", Act::Read(Then::Hang)),
        ("bare", Act::Hear),
    ];
    let journals = JournalBounds { which, age: Duration::from_secs(60), bytes: 1 << 20 };
    Bench::optioned(None, &acts, Options { journals, retention, ..Options::default() })
}

fn attempt(run: RunId, stage: &str) -> AttemptId {
    AttemptId { run, stage: stage.parse().unwrap(), instance: 0, attempt: 1 }
}

/// How many blobs there are, once there are as many: those of calls are removed behind the end of their attempt.
async fn blobs(bench: &Bench, expect: usize) -> usize {
    let count = || {
        let folder = std::fs::read_dir(bench.folder.path().join("blobs")).unwrap();
        let files = folder.map(|entry| entry.unwrap().path()).flat_map(|path| match path.is_dir() {
            true => std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect(),
            false => vec![path],
        });
        files.filter(|path| path.file_name().is_some_and(|name| name.len() >= 60)).count()
    };
    for _ in 0..1_000 {
        if count() == expect {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    count()
}

async fn entries(bench: &Bench, space: u8) -> usize {
    bench.store.scan(Range::prefix(&[space], 100)).await.unwrap().len()
}

async fn check(bench: &Bench) {
    assert_eq!(bench.executor.check(false).await.unwrap().findings, [""; 0]);
}

async fn told(bench: &Bench, attempt: &AttemptId) -> usize {
    let calls = bench.executor.records().calls(attempt).await.unwrap();
    match &calls[1].outcome.as_ref().unwrap().value {
        Value::Told(told) => told.len(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_calls_were_told_goes_with_the_attempt_unless_they_are_kept() {
    for (which, kept) in
        [(Journals::None, &[][..]), (Journals::Failed, &["bad"]), (Journals::All, &["good", "bad"])]
    {
        let bench = bench(which, Retention::forever());
        let (run, _) = bench.run(&["good", "bad"]).await;
        // The artifacts of both are one blob.
        assert_eq!(blobs(&bench, 1 + kept.len()).await, 1 + kept.len(), "{which:?}");
        assert_eq!(entries(&bench, 28).await, kept.len(), "{which:?}");
        for stage in kept {
            assert_eq!(told(&bench, &attempt(run, stage)).await, LONG);
        }
        check(&bench).await;
        bench.executor.tidy_history().await.unwrap();
        check(&bench).await;
        bench.clock.pass(Duration::from_secs(61));
        bench.executor.tidy_history().await.unwrap();
        assert_eq!(blobs(&bench, 1).await, 1, "too old");
        check(&bench).await;
    }
}

#[tokio::test]
async fn what_is_kept_of_calls_does_not_count_for_its_run_and_goes_with_it() {
    // Less than what a call was told. Without an artifact, whatever the run needs counts as texts.
    let bench = bench(Journals::All, Retention { bytes: Some(15_000), ..Retention::forever() });
    bench.run(&["bare"]).await;
    bench.executor.tidy_history().await.unwrap();
    assert_eq!(bench.executor.records().all_kept_calls().await.unwrap().len(), 1, "the run is there");
    assert_eq!(blobs(&bench, 1).await, 1, "what the call was told, and nothing else");
    let next = Bench::keeping_beside(&bench, Retention { runs: Some(0), ..Retention::forever() });
    next.executor.tidy_history().await.unwrap();
    assert_eq!(blobs(&bench, 0).await, 0);
    assert_eq!((entries(&bench, 28).await, entries(&bench, 12).await), (0, 0));
    check(&next).await;
}

#[tokio::test]
async fn artifacts_that_are_too_many_take_no_answers_of_calls_along() {
    let bench = bench(Journals::All, Retention { artifact_bytes: Some(1), ..Retention::forever() });
    let (run, _) = bench.run(&["good"]).await;
    bench.executor.tidy_history().await.unwrap();
    assert_eq!(blobs(&bench, 1).await, 1, "the artifact is gone");
    assert_eq!(told(&bench, &attempt(run, "good")).await, LONG);
    check(&bench).await;
}

#[tokio::test]
async fn a_run_that_is_closed_keeps_the_calls_of_those_that_had_ended() {
    let bench = bench(Journals::Failed, Retention::forever());
    let mut called = bench.plugins.called.subscribe();
    let run = bench.executor.start(bench.submission("w", &["bad", "cut"])).await.unwrap().run;
    soon(called.wait_for(|called| called.contains(&"read".to_owned()))).await.unwrap();
    soon(async {
        while bench.executor.records().all_kept_calls().await.unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    bench.executor.suspend().await;
    let next = Bench::beside(&bench, &[]);
    next.executor.interrupt(run).await.unwrap();
    assert_eq!(told(&next, &attempt(run, "bad")).await, LONG);
    assert_eq!(next.executor.records().calls(&attempt(run, "cut")).await.unwrap().len(), 0);
    assert_eq!(blobs(&bench, 2).await, 2, "of the artifacts and the kept call");
    check(&next).await;
}
