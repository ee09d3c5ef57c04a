//! What plugins keep: durable with the call, once, for as long as the run or longer.

use std::sync::Arc;

use serde_json::json;
use yuanli_executor::{Retention, StateOwner, Submission};
use yuanli_model::workflow::Settings;
use yuanli_model::{
    AttemptId, AttemptOutcome, Digest, Outcome, PluginReference, RunId, Section, Stage, Stream, Timestamp,
};
use yuanli_ports::Store;
use yuanli_ports::journal::{self, Call, Recorded, Staged, Value};
use yuanli_ports::plugins::Attempt;
use yuanli_ports::records::{Expected, NewArtifact, NewEvent};
use yuanli_ports::store::{Batch, Key, Range};

use crate::support::{Act, Bench, Then, end, outcome, soon, to_the_end};

/// First bytes of keys: calls, and all that plugins keep.
const CALLS: u8 = 14;
const RECORDS: std::ops::RangeInclusive<u8> = 14..=24;

/// Keeps one of each, as the component host does: by calls that are looked up, and recorded with what they change.
pub(crate) async fn keep(attempt: &Attempt) {
    let records = &attempt.records;
    let recorded = attempt.journal.recorded().await.unwrap().len() as u32;
    for index in 1..=3_u32 {
        if index <= recorded {
            continue;
        }
        let staged = match index {
            1 => {
                let old = records.state("p", "count").await.unwrap();
                let count = old.map_or(0, |old| String::from_utf8_lossy(&old.value).parse().unwrap()) + 1;
                let value = Some(format!("{count}").into());
                records.set_state("p", "count", value, Expected::Anything).await.unwrap().2
            }
            2 => {
                let text = format!("report of {}, attempt {}", attempt.id.stage, attempt.id.attempt);
                let digest = Digest::of(text.as_bytes());
                let (part, hold) = records.keep(text.into()).await.unwrap();
                let (name, media_type) = ("report".to_owned(), "text/plain".to_owned());
                let artifact = NewArtifact { name, media_type, digest, parts: vec![part] };
                records.put_artifact(artifact, vec![hold]).await.unwrap()
            }
            _ => {
                let event = NewEvent { kind: "kept".to_owned(), subject: None, data: "1".to_owned() };
                records.emit(index, event).await.unwrap().1
            }
        };
        record(attempt, index, staged).await;
    }
}

pub(crate) async fn record(attempt: &Attempt, index: u32, staged: Staged) {
    let (function, arguments, shown) = ("f".to_owned(), Digest::of(b""), String::new());
    let call = Call { index, function, arguments, shown };
    let recorded = recorded(call);
    attempt.journal.record(vec![recorded], staged).await.unwrap();
}

fn recorded(call: Call) -> Recorded {
    let value = Value::Told(b"x".as_slice().into());
    let outcome = Some(journal::Outcome { value, lines: Vec::new() });
    Recorded { call, at: Timestamp::from_millis(1), outcome }
}

pub(crate) async fn count(bench: &Bench) -> Option<String> {
    let owner = StateOwner { workflow: "w".parse().unwrap(), plugin: "p".to_owned() };
    let values = bench.executor.records().values(&owner).await.unwrap();
    values.first().map(|value| String::from_utf8_lossy(&value.value).into_owned())
}

pub(crate) async fn artifacts(bench: &Bench, run: RunId) -> Vec<String> {
    let found = bench.executor.records().artifacts_of(run).await.unwrap();
    found.iter().map(|found| format!("{}.{}/{}", found.stage, found.attempt, found.content.name)).collect()
}

pub(crate) async fn events(bench: &Bench) -> Vec<u64> {
    bench.executor.records().events(0, 1_000).await.unwrap().iter().map(|event| event.number).collect()
}

async fn findings(bench: &Bench) -> Vec<String> {
    bench.executor.check(false).await.unwrap().findings
}

/// The entries whose keys begin with one of these bytes.
async fn entries(bench: &Bench, spaces: impl IntoIterator<Item = u8>) -> Vec<Key> {
    let mut keys = Vec::new();
    for space in spaces {
        let found = bench.store.scan(Range::prefix(&[space], 1_000)).await.unwrap();
        keys.extend(found.into_iter().map(|(key, _)| key));
    }
    keys
}

#[tokio::test]
async fn calls_go_with_their_attempt_and_what_they_did_stays() {
    let bench =
        Bench::new(&[("a", Act::Keep(Then::End)), ("b", Act::Keep(Then::Fail)), ("c", Act::Give(json!({})))]);
    let (run, updates) = bench.run(&["a", "b", "c"]).await;
    assert_eq!(outcome(&updates), Outcome::Failed);
    assert_eq!(entries(&bench, [CALLS]).await, []);
    assert_eq!(count(&bench).await.as_deref(), Some("2"));
    // What a stage that failed has left is what one wants to see.
    assert_eq!(artifacts(&bench, run).await, ["a.1/report", "b.1/report"]);
    assert_eq!(events(&bench).await, [1, 2]);
    assert_eq!(findings(&bench).await, [""; 0]);
    // It is still there when the run is in the archive.
    bench.executor.tidy_history().await.unwrap();
    assert_eq!(artifacts(&bench, run).await, ["a.1/report", "b.1/report"]);
    let report = &bench.executor.records().artifacts_of(run).await.unwrap()[1];
    let content = bench.executor.records().part(report.content.parts[0].digest).await.unwrap();
    assert_eq!(content, b"report of b, attempt 1".as_slice());
    let story = bench.executor.records().events_of(run).await.unwrap();
    assert_eq!(story.len(), 2);
    assert_eq!(findings(&bench).await, [""; 0]);
}

#[tokio::test]
async fn a_run_that_keeps_nothing_has_no_entry_of_it() {
    let bench = Bench::new(&[]);
    bench.run(&["a", "b: a"]).await;
    assert_eq!(entries(&bench, RECORDS).await, []);
}

#[tokio::test]
async fn all_of_it_but_the_state_goes_with_the_run() {
    let retention = Retention { runs: Some(1), ..Retention::forever() };
    let bench = Bench::keeping(&[("a", Act::Keep(Then::End))], retention);
    let (first, _) = bench.run(&["a"]).await;
    let (second, _) = bench.run(&["a"]).await;
    bench.executor.tidy_history().await.unwrap();
    assert_eq!(artifacts(&bench, first).await, [""; 0]);
    assert_eq!(artifacts(&bench, second).await, ["a.1/report"]);
    assert_eq!(events(&bench).await, [2], "numbers are never given twice");
    assert_eq!(count(&bench).await.as_deref(), Some("2"));
    assert_eq!(findings(&bench).await, [""; 0]);
    let third = bench.start(&["a"]).await.unwrap();
    soon(to_the_end(bench.executor.follow(third))).await.unwrap();
    assert_eq!(events(&bench).await, [2, 3]);
    let cleared = bench.executor.records();
    let owner = StateOwner { workflow: "w".parse().unwrap(), plugin: "p".to_owned() };
    assert_eq!(cleared.clear(&owner).await.unwrap(), 1);
    assert_eq!((count(&bench).await, cleared.scopes().await.unwrap()), (None, Vec::new()));
    assert_eq!(findings(&bench).await, [""; 0]);
}

/// Puts an artifact as a stage does, for a run that may have ended.
async fn put(bench: &Bench, run: RunId, index: u32, content: Vec<u8>) {
    let attempt = yuanli_model::AttemptId { run, stage: "a".parse().unwrap(), instance: 0, attempt: 1 };
    let workflow = bench.submission("w", &["a"]).definition.workflow;
    let (journal, records) = bench.executor.records().of_attempt(&attempt, &workflow, false);
    let digest = Digest::of(&content);
    let (part, hold) = records.keep(content.into()).await.unwrap();
    let (name, media_type) = (format!("large-{index}"), "text/plain".to_owned());
    let artifact = NewArtifact { name, media_type, digest, parts: vec![part] };
    let staged = records.put_artifact(artifact, vec![hold]).await.unwrap();
    journal.record(Vec::new(), staged).await.unwrap();
}

#[tokio::test]
async fn artifacts_cost_no_run_its_history_and_go_by_a_bound_of_their_own() {
    let text = "x".repeat(9_000);
    let first = "y".repeat(9_000);
    let acts = [("a", Act::Give(json!({ "text": text }))), ("first", Act::Give(json!({ "text": first })))];
    let retention = Retention { bytes: Some(60_000), artifact_bytes: Some(20_000), ..Retention::forever() };
    let bench = Bench::keeping(&acts, retention);
    let mut runs = Vec::new();
    for number in 0..4_u8 {
        let (run, _) = bench.run(&[if number == 0 { "first" } else { "a" }]).await;
        put(&bench, run, 1, vec![number; 9_000]).await;
        runs.push(run);
    }
    // One artifact is what an output of its run is as well, and one is replaced.
    let outputs = json!({ "text": first }).to_string().into_bytes();
    put(&bench, runs[0], 2, outputs).await;
    put(&bench, runs[3], 1, vec![9; 2_000]).await;
    bench.executor.tidy_history().await.unwrap();
    let left = async |run| artifacts(&bench, run).await.len();
    let found = [left(runs[0]).await, left(runs[1]).await, left(runs[2]).await, left(runs[3]).await];
    assert_eq!(found, [0, 0, 1, 1], "9,000 and 11,000 bytes are not too many");
    for (run, text) in runs.iter().zip([&first, &text, &text, &text]) {
        let (_, events) = bench.executor.history().run(*run).await.unwrap().expect("the run is there");
        assert!(format!("{events:?}").contains(text), "with its outputs");
    }
    assert_eq!(findings(&bench).await, [""; 0]);
    // The whole run goes with what is counted of it.
    let next = Bench::keeping_beside(&bench, Retention { runs: Some(1), ..Retention::forever() });
    next.executor.tidy_history().await.unwrap();
    assert_eq!((left(runs[2]).await, left(runs[3]).await), (0, 1));
    assert_eq!(findings(&next).await, [""; 0]);
}

#[tokio::test]
async fn artifacts_that_are_counted_wrong_are_found_and_counted_anew() {
    let bench = Bench::new(&[("a", Act::Keep(Then::End))]);
    let (run, _) = bench.run(&["a"]).await;
    bench.executor.tidy_history().await.unwrap();
    let mut batch = Batch::default();
    for tally in entries(&bench, [24]).await {
        batch.delete(tally);
    }
    // Of a run that there is not.
    for put in entries(&bench, [22]).await {
        let value = bench.store.get(&put).await.unwrap().unwrap().value;
        let mut bytes = put.as_bytes().to_vec();
        bytes[1] ^= 1;
        batch.put(Key::new(bytes), value);
    }
    assert_eq!(batch.writes.len(), 2, "both are there");
    bench.store.commit(batch).await.unwrap();
    let found = bench.executor.check(true).await.unwrap();
    for says in ["the artifacts of workflow `w` are not counted right", "are counted, whose run there is not"]
    {
        assert!(found.findings.iter().any(|finding| finding.contains(says)), "`{says}`: {found:#?}");
    }
    assert_eq!(findings(&bench).await, [""; 0], "it is mended");
    assert_eq!(artifacts(&bench, run).await, ["a.1/report"]);
}

#[tokio::test]
async fn an_event_waits_for_an_artifact_of_its_run_and_overtakes_it_not() {
    let bench = Bench::new(&[]);
    let (run, _) = bench.run(&["a"]).await;
    let attempt = yuanli_model::AttemptId { run, stage: "a".parse().unwrap(), instance: 0, attempt: 1 };
    let workflow = bench.submission("w", &["a"]).definition.workflow;
    let (journal, records) = bench.executor.records().of_attempt(&attempt, &workflow, false);
    let (part, hold) = records.keep(b"x".as_slice().into()).await.unwrap();
    let (name, media_type, digest) = ("a".to_owned(), "text/plain".to_owned(), Digest::of(b"x"));
    let artifact = NewArtifact { name, media_type, digest, parts: vec![part] };
    let put = records.put_artifact(artifact, vec![hold]).await.unwrap();
    let event = NewEvent { kind: "kept".to_owned(), subject: None, data: "1".to_owned() };
    let mut emit = records.emit(2, event);
    for _ in 0..100 {
        assert!(futures::poll!(&mut emit).is_pending(), "it would be decided on what the artifact changes");
        tokio::task::yield_now().await;
    }
    journal.record(Vec::new(), put).await.unwrap();
    let (_, emitted) = soon(emit).await.unwrap();
    journal.record(Vec::new(), emitted).await.unwrap();
    assert_eq!((artifacts(&bench, run).await.len(), events(&bench).await.len()), (1, 1));
}

#[tokio::test]
async fn the_same_attempt_under_the_next_engine_finds_its_calls() {
    let bench = Bench::new(&[("a", Act::Keep(Then::Hang))]);
    let submission = Submission { is_kept: true, ..bench.submission("w", &["a", "b: a"]) };
    let definition = submission.definition.clone();
    let run = bench.executor.start(submission).await.unwrap().run;
    bench.called(2).await;
    soon(bench.executor.suspend()).await;
    assert_eq!(entries(&bench, [CALLS]).await.len(), 3);
    assert_eq!(findings(&bench).await, [""; 0], "they are of an attempt that goes on");

    let next = Bench::beside(&bench, &[("a", Act::Keep(Then::End)), ("b", Act::Collect)]);
    next.executor.resume(run, definition, Arc::default()).await.unwrap();
    let updates = soon(to_the_end(next.executor.follow(run))).await.unwrap();
    let seen = json!({ "seen": ["a.1/report"] });
    assert!(
        matches!(end(&updates, "b"), AttemptOutcome::Succeeded { outputs, .. } if *outputs == seen),
        "{updates:?}"
    );
    assert_eq!(count(&next).await.as_deref(), Some("1"));
    assert_eq!(events(&next).await, [1]);
    assert_eq!(entries(&next, [CALLS]).await, []);
    assert_eq!(findings(&next).await, [""; 0]);
}

#[tokio::test]
async fn calls_of_an_attempt_that_nobody_goes_on_with_are_forgotten() {
    let bench = Bench::new(&[("a", Act::Keep(Then::Hang))]);
    let run = bench.start(&["a"]).await.unwrap();
    bench.called(2).await;
    soon(bench.executor.suspend()).await;
    let next = Bench::beside(&bench, &[]);
    assert_eq!(next.executor.end_left().await.unwrap(), [run]);
    assert_eq!(entries(&next, [CALLS]).await, []);
    assert_eq!(artifacts(&next, run).await, ["a.1/report"]);
    assert_eq!(findings(&next).await, [""; 0]);
}

#[tokio::test]
async fn a_stage_sees_what_those_before_it_left_in_their_last_attempt() {
    let acts = [
        ("a", Act::Keep(Then::FailFirst)),
        ("b", Act::Collect),
        ("other", Act::Keep(Then::End)),
        ("c", Act::Collect),
        ("z", Act::Collect),
    ];
    let bench = Bench::new(&acts);
    let stage = |name: &str, needs: &[&str], section| Stage {
        section,
        ..Stage::new(name.parse().unwrap(), PluginReference::Named("p".to_owned()))
            .after(needs.iter().map(|need| need.parse().unwrap()).collect())
    };
    let retry = yuanli_model::stage::Retry {
        attempts: 2.try_into().unwrap(),
        ..yuanli_model::stage::Retry::default()
    };
    let stages = vec![
        Stage { retry, ..stage("a", &[], Section::Main) },
        stage("b", &["a"], Section::Main),
        stage("other", &[], Section::Main),
        stage("c", &["b"], Section::Main),
        stage("z", &[], Section::Finally),
    ];
    let submission = bench.submission_of("w", stages, Settings::default(), "text");
    let run = bench.executor.start(submission).await.unwrap().run;
    let passing = async {
        loop {
            bench.clock.pass(std::time::Duration::from_secs(60));
            tokio::task::yield_now().await;
        }
    };
    let updates = tokio::select! {
        updates = soon(to_the_end(bench.executor.follow(run))) => updates.unwrap(),
        () = passing => unreachable!("time goes on"),
    };
    assert_eq!(artifacts(&bench, run).await, ["a.1/report", "a.2/report", "other.1/report"]);
    for (stage, sees) in [
        ("b", json!(["a.2/report"])),
        ("c", json!(["a.2/report"])),
        ("z", json!(["a.2/report", "other.1/report"])),
    ] {
        match end(&updates, stage) {
            AttemptOutcome::Succeeded { outputs, .. } => assert_eq!(outputs["seen"], sees, "{stage}"),
            other => panic!("{stage}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_check_finds_what_does_not_belong_together_and_mends_it() {
    let bench = Bench::new(&[("a", Act::Keep(Then::End))]);
    let (run, _) = bench.run(&["a"]).await;
    let all = entries(&bench, RECORDS).await;
    let of = |space: u8| all.iter().find(|key| key.as_bytes()[0] == space).unwrap().clone();
    // Another run's id in the place of the run's own.
    let stray = |space: u8| {
        let mut bytes = of(space).as_bytes().to_vec();
        bytes[1] ^= 1;
        Key::new(bytes)
    };
    let value = async |key: Key| bench.store.get(&key).await.unwrap().unwrap().value;
    let mut batch = Batch::default();
    batch.put(stray(15), value(of(15)).await);
    batch.put(stray(16), value(of(16)).await);
    batch.put(stray(18), value(of(18)).await);
    batch.delete(of(17));
    batch.delete(of(21));
    let attempt = yuanli_model::AttemptId { run, stage: "a".parse().unwrap(), instance: 0, attempt: 1 };
    let (journal, _) = {
        let workflow = bench.submission("w", &["a"]).definition.workflow;
        bench.executor.records().of_attempt(&attempt, &workflow, false)
    };
    let (function, arguments, shown) = ("f".to_owned(), Digest::of(b""), String::new());
    let call = Call { index: 1, function, arguments, shown };
    journal.record(vec![recorded(call)], Staged::default()).await.unwrap();
    bench.store.commit(batch).await.unwrap();

    let found = bench.executor.check(true).await.unwrap();
    for says in [
        "does not run, and 1 of its calls are recorded",
        "there is artifact `report` of run",
        "which there is not",
        "has emitted event 1, which there is not",
        "artifacts and events of run",
        "the state of plugin `p` in workflow `w` is not counted right",
    ] {
        assert!(found.findings.iter().any(|finding| finding.contains(says)), "`{says}`: {found:#?}");
    }
    assert_eq!(findings(&bench).await, [""; 0], "it is mended");
    assert_eq!(artifacts(&bench, run).await, ["a.1/report"]);
    assert_eq!(count(&bench).await.as_deref(), Some("1"));
}

/// Whatever single entry cannot be read, the check goes on to the end, tells of it, and takes away nothing that belongs to what
/// it could not read.
#[tokio::test]
async fn a_check_that_cannot_read_an_entry_tells_so_and_removes_nothing_because_of_it() {
    for is_archived in [false, true] {
        let bench = Bench::new(&[("a", Act::Keep(Then::End))]);
        bench.run(&["a"]).await;
        if is_archived {
            bench.executor.tidy_history().await.unwrap();
        }
        let keys = entries(&bench, 1..=24).await;
        for damaged in keys.clone() {
            let value = bench.store.get(&damaged).await.unwrap().unwrap().value;
            if value.is_empty() {
                continue;
            }
            let put = async |value: Vec<u8>| {
                let mut batch = Batch::default();
                batch.put(damaged.clone(), value);
                bench.store.commit(batch).await.unwrap();
            };
            // A version that was never written.
            put(vec![0; 3]).await;
            let found = bench.executor.check(true).await.unwrap();
            assert!(!found.findings.is_empty(), "{damaged:?} is damaged");
            assert_eq!(entries(&bench, 1..=24).await, keys, "{damaged:?}: {found:#?}");
            put(value.to_vec()).await;
            assert_eq!(findings(&bench).await, [""; 0], "{damaged:?}");
        }
    }
}

#[tokio::test]
async fn two_who_change_the_same_thing_do_so_one_after_the_other() {
    let stages: Vec<String> = (0..40).map(|number| format!("s{number}")).collect();
    let acts: Vec<(&str, Act)> = stages.iter().map(|stage| (stage.as_str(), Act::Keep(Then::End))).collect();
    let bench = Bench::new(&acts);
    let lines: Vec<&str> = stages.iter().map(String::as_str).collect();
    let (run, updates) = bench.run(&lines).await;
    assert_eq!(outcome(&updates), Outcome::Succeeded);
    assert_eq!(events(&bench).await, (1..=40).collect::<Vec<u64>>());
    assert_eq!(artifacts(&bench, run).await.len(), 40);
    assert_eq!(findings(&bench).await, [""; 0]);
}

#[tokio::test]
async fn calls_that_were_recorded_together_are_found_one_by_one_however_long_they_are() {
    let bench = Bench::new(&[]);
    let run = bench.start(&["a"]).await.unwrap();
    let attempt = AttemptId { run, stage: "a".parse().unwrap(), instance: 0, attempt: 7 };
    let workflow = bench.submission("w", &["a"]).definition.workflow.clone();
    let journal = |is_again| bench.executor.records().of_attempt(&attempt, &workflow, is_again).0;
    let call = |index: u32, length: usize| {
        let (function, arguments) = ("f".to_owned(), Digest::of(&index.to_le_bytes()));
        let call = Call { index, function, arguments, shown: String::new() };
        let value = Value::Told(vec![index as u8; length].into());
        let outcome = Some(journal::Outcome { value, lines: vec![(Stream::Build, format!("line {index}"))] });
        Recorded { call, at: Timestamp::from_millis(index.into()), outcome }
    };
    // The first is intended, and known afterwards. One is so long that it is a blob.
    let lengths =
        [10, 8_000, 8_000, 100_000, 8_000, 8_000, 8_000, 8_000, 8_000, 8_000, 8_000, 8_000, 8_000, 5];
    let calls: Vec<Recorded> = (1..).zip(lengths).map(|(index, length)| call(index, length)).collect();
    let intended = Recorded { outcome: None, ..calls[0].clone() };
    let writing = journal(false);
    writing.record(vec![intended.clone()], Staged::default()).await.unwrap();
    assert_eq!(journal(true).recorded().await, Ok(vec![intended]));
    writing.record(calls.clone(), Staged::default()).await.unwrap();
    assert_eq!(journal(true).recorded().await, Ok(calls.clone()));
    assert_eq!(writing.recorded().await, Ok(calls), "and by who has written them");
    let entries = entries(&bench, [CALLS]).await.len();
    assert!((2..5).contains(&entries), "{entries} entries");
}
