//! A way in for fuzzers: see `tests/fuzz`. Not part of what the executor is to others.

use std::sync::Arc;

use bytes::Bytes;
use indexmap::IndexMap;
use serde_json::json;
use yuanli_model::run::{
    Again, Answer, Cause, PinnedStage, PinnedWorkflow, Provenance, ReusedInstance, StageResult,
    StartingPoint, Then, Verdict,
};
use yuanli_model::stage::WorkflowReference;
use yuanli_model::{
    AttemptId, AttemptOutcome, Digest, Failure, FailureClass, Outcome, PluginReference, RunEvent, RunId,
    Section, SkipReason, Stage, Stream, Timestamp, Workflow,
};
use yuanli_ports::archive::Place;
use yuanli_ports::journal::{self, Call, Recorded};
use yuanli_ports::logs::StoredLog;
use yuanli_ports::plugins::Origin;
use yuanli_ports::records::Part;
use yuanli_ports::store::Key;

use crate::history::Summary;
use crate::record::envelope::{self, Stored};
use crate::record::key;
use crate::record::long::Long;
use crate::record::v1::Log;
use crate::record::v2::{Archived, Entries, Kept, Need, Packed, Records, Run, Start, Tally};
use crate::record::v3::Open;
use crate::record::v6::PinnedVersions;
use crate::record::v8::Transition;
use crate::record::{v4, v5};
use crate::submission::{Definition, Definitions};

/// Reads bytes as each of the stored values, the first byte says which, and as a key. Nothing panics, and what is read
/// is written and read again as the same.
pub fn envelope(case: &[u8]) {
    let Some((which, bytes)) = case.split_first() else { return };
    match which % 22 {
        0 => row(bytes),
        1 => transition(bytes),
        2 => drop(read::<Log>(bytes).map(Log::into_port)),
        3 => archived(bytes),
        4 => drop(read::<Open>(bytes).map(|open| (open.origin(), open.workflows()))),
        5 => drop(read::<Start>(bytes).map(|start| start.run())),
        6 => drop(read::<Kept>(bytes)),
        7 => drop(read::<Tally>(bytes)),
        8 => drop(read::<Records>(bytes)),
        10 => drop(read::<Need>(bytes)),
        11 => calls(bytes),
        12 => drop(read::<v4::Scope>(bytes)),
        13 => drop(read::<v4::State>(bytes)),
        14 => drop(read::<v4::Artifact>(bytes).map(|artifact| artifact.parts().count())),
        15 => drop(read::<v4::Gathered>(bytes)),
        16 => drop(read::<v4::Emitted>(bytes)),
        17 => drop(read::<v4::Next>(bytes)),
        18 => drop(read::<v4::Ordinal>(bytes)),
        19 => drop(read::<v4::Put>(bytes)),
        20 => drop(read::<v4::KeptArtifacts>(bytes)),
        21 => drop(read::<PinnedVersions>(bytes)),
        _ => keys(bytes),
    }
}

/// One value of each kind, by name: where a fuzzer begins.
#[must_use]
pub fn examples() -> Vec<(&'static str, Vec<u8>)> {
    let place = Place { segment: 3, offset: 16, position: 2 };
    let origin = Origin { folder: "/shop".into(), root: "/shop".into() };
    let log = Log::of(&StoredLog::File { bytes: 70_000 });
    let mut long = Long::default();
    let archived = Archived {
        run: run().as_u128().to_be_bytes(),
        entries: Entries {
            events: vec![(0, Packed(envelope::seal(&Transition::of(at(), &events(), &mut long)).to_vec()))],
            logs: vec![(Packed(key::log_in_run(&attempt())), Packed(envelope::seal(&log).to_vec()))],
        },
        elsewhere: vec![[5; 32]],
    };
    vec![
        ("row", example(0, &Run::of(&summary(), None))),
        ("row-archived", example(0, &Run::of(&summary(), Some(place)))),
        ("transition", example(1, &Transition::of(at(), &events(), &mut Long::default()))),
        ("log-inline", example(2, &Log::of(&StoredLog::Inline(b"{}\n".as_slice().into())))),
        ("log-file", example(2, &log)),
        ("archived", example(3, &archived)),
        ("open", example(4, &Open::of(&origin, &workflows(), true))),
        ("start", example(5, &Start::of(run()))),
        ("kept", example(6, &Kept { bytes: 7_000, has_files: true })),
        ("tally", example(7, &Tally { runs: 12, bytes: 90_000 })),
        ("records", example(8, &Records { written: 300, alive: 12 })),
        ("need", example(10, &Need { bytes: 20_000 })),
        ("call", example(11, &v5::Calls(vec![v5::Call::of(&call(), None)]))),
        ("scope", example(12, &v4::Scope { revision: 300, keys: 2, bytes: 90 })),
        (
            "state",
            example(13, &v4::State { revision: 3, changed_ms: 1_700_000_000_000, value: Packed(vec![1, 2]) }),
        ),
        (
            "artifact",
            example(
                14,
                &v4::Artifact::new("text/plain".to_owned(), 1_700_000_000_000, &part().digest, &[part()]),
            ),
        ),
        (
            "gathered",
            example(15, &v4::Gathered { artifacts: 1, artifact_bytes: 300, events: 2, event_bytes: 400 }),
        ),
        ("emitted", example(16, &emitted())),
        ("next", example(17, &v4::Next { number: 300 })),
        ("ordinal", example(18, &v4::Ordinal { number: 300 })),
        ("put", example(19, &v4::Put { bytes: 300 })),
        ("pinned", example(21, &PinnedVersions(vec![[5; 32]]))),
        ("kept-artifacts", example(20, &v4::KeptArtifacts { bytes: 300 })),
        ("key-call", [&[9], key::call(&attempt(), 3).as_bytes()].concat()),
        ("key-artifact", [&[9], key::artifact(&attempt(), "reports/a").as_bytes()].concat()),
        ("key-state", [&[9], key::state(&summary().workflow, "p", "k").as_bytes()].concat()),
        ("key", [&[9], key::log(&attempt()).as_bytes()].concat()),
        ("key-kept", [&[9], key::kept(&summary().workflow, run()).as_bytes()].concat()),
    ]
}

/// A workflow that stages of a run may run.
fn workflows() -> Definitions {
    let origin = Origin { folder: "/shop".into(), root: "/shop".into() };
    let stage = Stage::new(attempt().stage, PluginReference::Named("build".to_owned()));
    let workflow = Workflow::new(summary().workflow, None, IndexMap::new(), vec![stage]);
    let definition = |workflow| Definition {
        workflow: Arc::new(workflow),
        text: Bytes::from_static(b"name: shop"),
        components: Vec::new(),
        origin,
    };
    let uses = WorkflowReference { name: summary().workflow, version: Some("0123abc".to_owned()) };
    workflow.map(|workflow| (uses, definition(workflow))).into_iter().collect()
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
    let read = read::<Transition>(bytes).map(|read| read.into_events(run(), 0, &Long::default()));
    let Some(Ok(recorded)) = read else { return };
    let Some(first) = recorded.first() else { return };
    let events: Vec<RunEvent> = recorded.iter().map(|recorded| recorded.event.clone()).collect();
    let mut long = Long::default();
    let again = Transition::of(first.at, &events, &mut long).into_events(run(), 0, &long);
    assert_eq!(again, Ok(recorded));
}

fn archived(bytes: &[u8]) {
    let Some(archived) = read::<Archived>(bytes) else { return };
    archived.entries.events.iter().for_each(|(_, value)| transition(&value.0));
    for (name, value) in &archived.entries.logs {
        let _ = key::parse_log_in_run(run(), &name.0);
        let _ = read::<Log>(&value.0);
    }
}

fn calls(bytes: &[u8]) {
    let Some(v5::Calls(calls)) = read::<v5::Calls>(bytes) else { return };
    calls.into_iter().for_each(|call| drop((call.blob(), call.into_port(1, None))));
}

fn keys(bytes: &[u8]) {
    let key = Key::new(bytes.to_vec());
    let _ = (key::parse_run(&key), key::parse_event(&key), key::parse_kept(&key));
    let _ = (key::parse_kept_workflow(&key), key::parse_tally(&key));
    let _ = (key::parse_call(&key), key::parse_artifact(&key), key::parse_gathered(&key));
    let _ = (key::parse_emitted(&key), key::parse_emitted_by(&key));
    let _ = (key::parse_state(&key), key::parse_scope(&key));
    let _ = (key::parse_need(&key), key::parse_needed(&key), key::parse_version(&key));
    let _ = key::parse_call_need(&key);
    if let Some(attempt) = key::parse_log_in_run(run(), key::in_run(&key)) {
        assert_eq!(key::log_in_run(&attempt), key::in_run(&key));
    }
}

fn example<T: Stored>(which: u8, value: &T) -> Vec<u8> {
    [&[which], &*envelope::seal(value)].concat()
}

fn call() -> Recorded {
    let (function, shown) = ("yuanli:state/state@0.1.0#set".to_owned(), "\"n\", \"1\"".to_owned());
    let call = Call { index: 3, function, arguments: Digest::of(b"n1"), shown };
    let value = journal::Value::Told(b"\0\x01".as_slice().into());
    let outcome = Some(journal::Outcome { value, lines: vec![(Stream::Build, "Step 1".into())] });
    Recorded { call, at: at(), outcome }
}

fn part() -> Part {
    Part { digest: Digest::from_bytes([7; 32]), size: 300 }
}

fn emitted() -> v4::Emitted {
    v4::Emitted {
        run: run().as_u128().to_be_bytes(),
        workflow: "shop".to_owned(),
        stage: "build".to_owned(),
        instance: 0,
        attempt: 1,
        call: 3,
        at_ms: at().as_millis(),
        kind: "shop.tested".to_owned(),
        subject: Some("shop:1".to_owned()),
        data: "{\"passed\":12}".to_owned(),
    }
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
        labels: labels(),
    }
}

/// One event of each kind.
fn events() -> Vec<RunEvent> {
    let name = |name: &str| name.parse().expect("a name");
    let pinned = PinnedStage {
        name: name("build"),
        section: Section::Main,
        plugin: "build".into(),
        component: Digest::of(b"component"),
        needs: vec![name("source")],
        allow_failure: true,
    };
    let failure = Failure {
        class: FailureClass::Throttled { retry_after: Some(std::time::Duration::from_secs(2)) },
        kind: "busy".into(),
        message: "it is busy".into(),
        details: vec![("code".into(), "429".into())],
    };
    let succeeded = AttemptOutcome::Succeeded { outputs: json!({"image": "shop:1"}), workspace: None };
    let ended = |outcome, then| RunEvent::AttemptEnded { attempt: attempt(), outcome, then };
    let answer = Answer {
        by: "eva".into(),
        is_approved: true,
        comment: Some("go".into()),
        inputs: json!({"percent": 5}),
    };
    let seen = vec![("inputs.tag".into(), "\"dev\"".into())];
    let condition = SkipReason::Condition { expression: "inputs.tag == 'v1'".into(), values: seen };
    let reused =
        |result| RunEvent::StageReused { stage: name("lint"), from: run(), result, workspaces: Vec::new() };
    vec![
        RunEvent::Created {
            workflow: "shop".parse().expect("a name"),
            version: Digest::of(b"a workflow"),
            inputs: [("tag".parse().expect("a name"), json!("dev"))].into_iter().collect(),
            stages: vec![pinned],
            group: Some("deploy".into()),
            priority: yuanli_model::workflow::Priority::new(-7).unwrap_or_default(),
            deadline: Some(at()),
            provenance: Box::new(provenance()),
        },
        RunEvent::Admitted { deadline: Some(at()) },
        RunEvent::StageReused {
            stage: name("source"),
            from: run(),
            result: StageResult::Succeeded { outputs: json!({"commit": "c0ffee"}) },
            workspaces: vec![Digest::of(b"workspace")],
        },
        reused(StageResult::Failed(failure.clone())),
        reused(StageResult::Allowed { failure: failure.clone(), outputs: Some(json!([1, null])) }),
        reused(StageResult::Skipped(condition.clone())),
        RunEvent::InstancesReused {
            stage: name("test"),
            from: run(),
            instances: vec![ReusedInstance {
                instance: 1,
                item: json!({"os": "b"}),
                outputs: json!({"tests": 5}),
                workspace: Some(Digest::of(b"workspace")),
            }],
        },
        RunEvent::StageExpanded {
            stage: name("test"),
            instances: vec![json!("a"), json!({"os": "b"})],
            parallel: std::num::NonZeroU32::MIN,
            reused: vec![1],
        },
        RunEvent::ApprovalRequested {
            stage: name("ship"),
            message: Some("ship it?".into()),
            deadline: Some(at()),
        },
        RunEvent::ApprovalAnswered { stage: name("ship"), answer },
        RunEvent::ApprovalEnded { stage: name("ship"), verdict: Verdict::Approved },
        RunEvent::AttemptStarted { attempt: attempt(), config: json!({"context": [1, 2.5, null]}) },
        ended(AttemptOutcome::Failed(failure.clone()), Then::Retry(at())),
        ended(AttemptOutcome::Failed(failure.clone()), Then::Allow),
        ended(succeeded, Then::End),
        ended(AttemptOutcome::Cancelled, Then::End),
        RunEvent::StageSkipped { stage: name("test"), reason: SkipReason::NeedNotMet(name("build")) },
        RunEvent::StageSkipped { stage: name("deploy"), reason: condition },
        RunEvent::CancelRequested { reason: "somebody asked".into() },
        RunEvent::TimedOut,
        RunEvent::Interrupted,
        RunEvent::Finished {
            outcome: Outcome::Cancelled,
            outputs: Some(json!({"image": "shop:1"})),
            failure: Some(failure),
        },
    ]
}

fn labels() -> std::collections::BTreeMap<String, String> {
    [("team".to_owned(), "web".to_owned())].into()
}

fn provenance() -> Provenance {
    let name = |name: &str| name.parse().expect("a name");
    Provenance {
        cause: Cause::Stage(attempt()),
        origin: Some(("/shop/ci".into(), "/shop".into())),
        workflows: vec![PinnedWorkflow {
            uses: WorkflowReference {
                name: "deploy".parse().expect("a name"),
                version: Some("c0ffee".into()),
            },
            version: Digest::of(b"a workflow"),
            origin: ("/shop".into(), "/shop".into()),
        }],
        again: Some(Again {
            run: run(),
            from: vec![StartingPoint { stage: name("test"), instance: Some(2) }],
            changed: vec!["tag".parse().expect("a name")],
        }),
        labels: labels(),
    }
}
