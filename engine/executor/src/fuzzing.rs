//! A way in for fuzzers: see `tests/fuzz`. Not part of what the executor is to others.

use serde_json::json;
use yuanli_model::run::PinnedStage;
use yuanli_model::{
    AttemptId, AttemptOutcome, Digest, Failure, FailureClass, Outcome, RunEvent, RunId, SkipReason, Timestamp,
};
use yuanli_ports::archive::Place;
use yuanli_ports::logs::StoredLog;
use yuanli_ports::plugins::Origin;
use yuanli_ports::store::Key;

use crate::history::Summary;
use crate::record::envelope::{self, Stored};
use crate::record::key;
use crate::record::v1::{Log, Transition};
use crate::record::v2::{Archived, Kept, Open, Packed, Records, Run, Start, Tally};

/// Reads bytes as each of the stored values, the first byte says which, and as a key. Nothing panics, and what is read
/// is written and read again as the same.
pub fn envelope(case: &[u8]) {
    let Some((which, bytes)) = case.split_first() else { return };
    match which % 10 {
        0 => row(bytes),
        1 => transition(bytes),
        2 => drop(read::<Log>(bytes).map(Log::into_port)),
        3 => archived(bytes),
        4 => drop(read::<Open>(bytes).map(Open::into_origin)),
        5 => drop(read::<Start>(bytes).map(|start| start.run())),
        6 => drop(read::<Kept>(bytes)),
        7 => drop(read::<Tally>(bytes)),
        8 => drop(read::<Records>(bytes)),
        _ => keys(bytes),
    }
}

/// One value of each kind, by name: where a fuzzer begins.
#[must_use]
pub fn examples() -> Vec<(&'static str, Vec<u8>)> {
    let place = Place { segment: 3, offset: 16, position: 2 };
    let origin = Origin { folder: "/shop".into(), root: "/shop".into() };
    let log = Log::of(&StoredLog::File { bytes: 70_000 });
    let archived = Archived {
        run: run().as_u128().to_be_bytes(),
        events: vec![(0, Packed(envelope::seal(&Transition::of(at(), &events())).to_vec()))],
        logs: vec![(Packed(key::log_in_run(&attempt())), Packed(envelope::seal(&log).to_vec()))],
    };
    vec![
        ("row", example(0, &Run::of(&summary(), None))),
        ("row-archived", example(0, &Run::of(&summary(), Some(place)))),
        ("transition", example(1, &Transition::of(at(), &events()))),
        ("log-inline", example(2, &Log::of(&StoredLog::Inline(b"{}\n".as_slice().into())))),
        ("log-file", example(2, &log)),
        ("archived", example(3, &archived)),
        ("open", example(4, &Open::of(&origin, true))),
        ("start", example(5, &Start::of(run()))),
        ("kept", example(6, &Kept { bytes: 7_000, has_files: true })),
        ("tally", example(7, &Tally { runs: 12, bytes: 90_000 })),
        ("records", example(8, &Records { written: 300, alive: 12 })),
        ("key", [&[9], key::log(&attempt()).as_bytes()].concat()),
        ("key-kept", [&[9], key::kept(&summary().workflow, run()).as_bytes()].concat()),
    ]
}

fn read<T: Stored>(bytes: &[u8]) -> Option<T> {
    let value: T = envelope::open(bytes).ok()?;
    let sealed = envelope::seal(&value);
    let again: T = envelope::open(&sealed).expect("what was sealed can be opened");
    assert_eq!(envelope::seal(&again), sealed, "and is the same");
    Some(again)
}

fn row(bytes: &[u8]) {
    let Some(Ok((summary, place))) = read::<Run>(bytes).map(|row| row.into_summary(run())) else { return };
    let again = Run::of(&summary, place).into_summary(run());
    assert_eq!(again, Ok((summary, place)));
}

fn transition(bytes: &[u8]) {
    let Some(Ok(recorded)) = read::<Transition>(bytes).map(|read| read.into_events(run(), 0)) else { return };
    let Some(first) = recorded.first() else { return };
    let events: Vec<RunEvent> = recorded.iter().map(|recorded| recorded.event.clone()).collect();
    let again = Transition::of(first.at, &events).into_events(run(), 0);
    assert_eq!(again, Ok(recorded));
}

fn archived(bytes: &[u8]) {
    let Some(archived) = read::<Archived>(bytes) else { return };
    archived.events.iter().for_each(|(_, value)| transition(&value.0));
    for (name, value) in &archived.logs {
        let _ = key::parse_log_in_run(run(), &name.0);
        let _ = read::<Log>(&value.0);
    }
}

fn keys(bytes: &[u8]) {
    let key = Key::new(bytes.to_vec());
    let _ = (key::parse_run(&key), key::parse_event(&key), key::parse_kept(&key));
    let _ = (key::parse_kept_workflow(&key), key::parse_tally(&key));
    if let Some(attempt) = key::parse_log_in_run(run(), key::in_run(&key)) {
        assert_eq!(key::log_in_run(&attempt), key::in_run(&key));
    }
}

fn example<T: Stored>(which: u8, value: &T) -> Vec<u8> {
    [&[which], &*envelope::seal(value)].concat()
}

fn run() -> RunId {
    RunId::from_u128(7)
}

fn at() -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000)
}

fn attempt() -> AttemptId {
    AttemptId { run: run(), stage: "build".parse().expect("a name"), instance: 0, attempt: 1 }
}

fn summary() -> Summary {
    Summary {
        id: run(),
        workflow: "shop".parse().expect("a name"),
        version: Digest::of(b"a workflow"),
        created: at(),
        ended: Some((at(), Outcome::Failed)),
    }
}

/// One event of each kind.
fn events() -> Vec<RunEvent> {
    let name = |name: &str| name.parse().expect("a name");
    let (stage, needs) = (name("build"), vec![name("source")]);
    let pinned =
        PinnedStage { name: stage, plugin: "build".into(), component: Digest::of(b"component"), needs };
    let failure = Failure {
        class: FailureClass::Throttled { retry_after: Some(std::time::Duration::from_secs(2)) },
        kind: "busy".into(),
        message: "it is busy".into(),
        details: vec![("code".into(), "429".into())],
    };
    let succeeded = AttemptOutcome::Succeeded { outputs: json!({"image": "shop:1"}), workspace: None };
    let ended = |outcome| RunEvent::AttemptEnded { attempt: attempt(), outcome };
    vec![
        RunEvent::Created {
            workflow: "shop".parse().expect("a name"),
            version: Digest::of(b"a workflow"),
            inputs: [("tag".parse().expect("a name"), json!("dev"))].into_iter().collect(),
            stages: vec![pinned],
        },
        RunEvent::AttemptStarted { attempt: attempt(), config: json!({"context": [1, 2.5, null]}) },
        ended(AttemptOutcome::Failed(failure)),
        ended(succeeded),
        ended(AttemptOutcome::Cancelled),
        RunEvent::StageSkipped { stage: name("test"), reason: SkipReason::NeedNotMet(name("build")) },
        RunEvent::CancelRequested { reason: "somebody asked".into() },
        RunEvent::Finished { outcome: Outcome::Cancelled },
    ]
}
