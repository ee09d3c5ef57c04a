//! Runs that end in all their ways, as the spans that a collector gets.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value as Json, json};
use yuanli_model::run::{
    Answer as PersonsAnswer, AttemptOutcome, Failure, FailureClass, PinnedStage, Provenance, SkipReason,
    Then, Verdict,
};
use yuanli_model::workflow::Priority;
use yuanli_model::{AttemptId, Digest, Outcome, RunEvent, RunId, Section, StageName, Timestamp};
use yuanli_traces::{Answer, Resource, Span, SpanId, TraceId, request, spans_of};

const RUN: RunId = RunId::from_u128(0x0193_812a_5b8d_0193_812a_5b8d_0193_812a);

fn stage(name: &str) -> StageName {
    name.parse().expect("a name")
}

fn created(stages: &[&str], group: Option<&str>) -> RunEvent {
    let pinned = |name: &&str| PinnedStage {
        name: stage(name),
        section: Section::Main,
        plugin: "script".to_owned(),
        component: Digest::of(b""),
        needs: Vec::new(),
        allow_failure: false,
    };
    RunEvent::Created {
        workflow: "shop".parse().expect("a name"),
        version: Digest::of(b""),
        inputs: indexmap::IndexMap::new(),
        stages: stages.iter().map(pinned).collect(),
        group: group.map(str::to_owned),
        priority: Priority::default(),
        deadline: None,
        provenance: Box::new(Provenance {
            labels: BTreeMap::from([("team".to_owned(), "blue".to_owned())]),
            ..Provenance::default()
        }),
    }
}

fn attempt(name: &str, attempt: u32) -> AttemptId {
    AttemptId { run: RUN, stage: stage(name), instance: 0, attempt }
}

fn started(name: &str, number: u32) -> RunEvent {
    RunEvent::AttemptStarted { attempt: attempt(name, number), config: Json::Null }
}

fn ended(name: &str, number: u32, outcome: AttemptOutcome, then: Then) -> RunEvent {
    RunEvent::AttemptEnded { attempt: attempt(name, number), outcome, then }
}

fn failed(kind: &str, class: FailureClass) -> AttemptOutcome {
    let message = format!("it failed by {kind}");
    AttemptOutcome::Failed(Failure { class, kind: kind.to_owned(), message, details: Vec::new() })
}

fn finished(outcome: Outcome) -> RunEvent {
    RunEvent::Finished { outcome, outputs: None, failure: None }
}

/// The events, a second after each other from second 1 on.
fn spans(events: &[RunEvent]) -> Vec<Span> {
    let at = |at: usize| Timestamp::from_millis(1_000 * (at as u64 + 1));
    spans_of(RUN, events.iter().enumerate().map(|(place, event)| (at(place), event)))
}

/// What a collector gets: the name of each span, when it began and ended in seconds, its parent, and its attributes.
fn sent(events: &[RunEvent]) -> Vec<(String, u64, u64, String, Json)> {
    let resource = Resource { instance: "e".to_owned(), version: "1".to_owned() };
    let body: Json = serde_json::from_slice(&request(&resource, &spans(events))).expect("JSON");
    let spans = body["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().expect("spans").clone();
    let second = |time: &Json| {
        let nanoseconds: u64 = time.as_str().and_then(|time| time.parse().ok()).expect("64 bits are a text");
        nanoseconds / 1_000_000_000
    };
    spans
        .iter()
        .map(|span| {
            assert_eq!(span["traceId"], "0193812a5b8d0193812a5b8d0193812a");
            let attributes = span["attributes"].as_array().expect("attributes").iter().map(|attribute| {
                let value = attribute["value"].as_object().and_then(|value| value.values().next()).cloned();
                (attribute["key"].as_str().expect("a key").to_owned(), value.unwrap_or_default())
            });
            (
                span["name"].as_str().expect("a name").to_owned(),
                second(&span["startTimeUnixNano"]),
                second(&span["endTimeUnixNano"]),
                span["parentSpanId"].as_str().unwrap_or_default().to_owned(),
                Json::Object(attributes.collect()),
            )
        })
        .collect()
}

#[test]
fn a_stage_that_is_tried_again_has_its_attempts_below_it_and_others_have_none() {
    let events = [
        created(&["build", "test", "push"], Some("main")),
        RunEvent::Admitted { deadline: None },
        started("build", 1),
        ended(
            "build",
            1,
            failed("timeout", FailureClass::Transient),
            Then::Retry(Timestamp::from_millis(9_000)),
        ),
        started("build", 2),
        ended("build", 2, AttemptOutcome::Succeeded { outputs: json!({}), workspace: None }, Then::End),
        started("test", 1),
        ended("test", 1, failed("exit-code", FailureClass::Permanent), Then::End),
        RunEvent::StageSkipped { stage: stage("push"), reason: SkipReason::NeedNotMet(stage("test")) },
        finished(Outcome::Failed),
    ];
    let told = sent(&events);
    let names: Vec<_> = told.iter().map(|(name, began, ended, ..)| (name.as_str(), *began, *ended)).collect();
    assert_eq!(
        names,
        [
            ("RUN shop", 1, 10),
            ("build", 3, 6),
            ("build", 3, 4),
            ("build", 5, 6),
            ("test", 7, 8),
            ("push", 9, 9)
        ]
    );
    let id = SpanId::of_stage(RUN, &stage("build")).to_string();
    assert_eq!((&told[2].3, &told[3].3), (&id, &id));
    assert_eq!(told[1].3, SpanId::of_run(RUN).to_string());
    let result = |at: usize| told[at].4["cicd.pipeline.task.run.result"].as_str();
    let results: Vec<_> = (1..6).map(result).collect();
    let expected = ["success", "timeout", "success", "failure", "skip"].map(Some);
    assert_eq!(results, expected);
    let run = &told[0].4;
    assert_eq!(run["cicd.pipeline.result"], "failure");
    assert_eq!(run["error.type"], "exit-code");
    assert_eq!(run["yuanli.label.team"], "blue");
    assert_eq!(told[5].4["yuanli.skipped"], "`test` did not succeed");
    let root = &spans(&events)[0];
    assert_eq!(root.failure.as_deref(), Some("it failed by exit-code"));
    let happened: Vec<_> = root.happened.iter().map(|happened| happened.name).collect();
    assert_eq!(happened, ["waits for its group", "begins"]);
    let again = &spans(&events)[1].happened[0];
    assert_eq!(
        (again.name, &again.attributes[0].1),
        ("is tried again", &yuanli_traces::Value::Number(5_000))
    );
}

#[test]
fn each_end_of_a_run_is_told_apart() {
    let cancel = || RunEvent::CancelRequested { reason: "by eva".to_owned() };
    let cancelled = || ended("build", 1, AttemptOutcome::Cancelled, Then::End);
    let lost = || ended("build", 1, failed("interrupted", FailureClass::Interrupted), Then::End);
    for (middle, outcome, of_run, of_stage) in [
        (vec![cancel(), cancelled()], Outcome::Cancelled, "cancellation", "cancellation"),
        (vec![RunEvent::TimedOut, cancelled()], Outcome::Failed, "timeout", "cancellation"),
        (vec![RunEvent::Interrupted], Outcome::Failed, "error", "error"),
        (vec![lost()], Outcome::Failed, "error", "error"),
    ] {
        let mut events = vec![created(&["build"], None), started("build", 1)];
        events.extend(middle);
        events.push(finished(outcome));
        let told = sent(&events);
        assert_eq!(told[0].4["cicd.pipeline.result"], of_run, "{events:?}");
        assert_eq!(told[1].4["cicd.pipeline.task.run.result"], of_stage, "{events:?}");
        let has_error = outcome == Outcome::Failed;
        assert_eq!(told[0].4.get("error.type").is_some(), has_error, "{events:?}");
    }
}

#[test]
fn who_answered_is_told_and_a_failure_that_is_allowed_is_not_the_runs() {
    let answer = PersonsAnswer { by: "eva".to_owned(), is_approved: false, comment: None, inputs: json!({}) };
    let asked = |verdict| {
        [
            created(&["ask"], None),
            RunEvent::ApprovalRequested { stage: stage("ask"), message: None, deadline: None },
            RunEvent::ApprovalAnswered { stage: stage("ask"), answer: answer.clone() },
            RunEvent::ApprovalEnded { stage: stage("ask"), verdict },
            finished(Outcome::Failed),
        ]
    };
    let told = sent(&asked(Verdict::Rejected));
    assert_eq!((told[1].1, told[1].2), (2, 4));
    assert_eq!(
        (&told[0].4["error.type"], &told[1].4["error.type"]),
        (&json!("rejected"), &json!("rejected"))
    );
    let told = spans(&asked(Verdict::Rejected));
    assert!(format!("{:?}", told[1].happened).contains("eva"));

    let events = [
        created(&["a", "b"], None),
        started("a", 1),
        ended("a", 1, failed("first", FailureClass::Permanent), Then::Allow),
        started("b", 1),
        ended("b", 1, failed("second", FailureClass::Permanent), Then::End),
        finished(Outcome::Failed),
    ];
    let told = sent(&events);
    assert_eq!(told[0].4["error.type"], "second");
    assert_eq!(told[1].4["yuanli.failure_allowed"], true);
    assert_eq!(told[1].4["cicd.pipeline.task.run.result"], "failure");
}

#[test]
fn ids_are_those_that_others_can_work_out() {
    assert_eq!(TraceId::of(RunId::from_u128(1)).to_string(), format!("{:032x}", 1));
    let digest = Digest::of(format!("{RUN}/build").as_bytes()).hex();
    assert_eq!(SpanId::of_stage(RUN, &stage("build")).to_string(), digest[..16]);
    assert_eq!(
        spans_of(RUN, [(Timestamp::from_millis(1), &RunEvent::TimedOut)]),
        [],
        "without its beginning"
    );
}

#[test]
fn an_answer_says_whether_the_same_is_to_be_sent_again() {
    let read = |status, after, body: &str| Answer::read(status, after, body.as_bytes());
    for body in ["", "{}", r#"{"partialSuccess":null}"#, r#"{"partialSuccess":{"errorMessage":"so so"}}"#] {
        assert_eq!(read(200, None, body), Answer::Taken, "{body}");
    }
    for number in ["2", "\"2\""] {
        let body = format!(r#"{{"partialSuccess":{{"rejectedSpans":{number},"errorMessage":"old"}}}}"#);
        assert_eq!(read(200, None, &body), Answer::Partly(2, "old".to_owned()));
    }
    let later = |seconds: Option<u64>| Some(seconds.map(Duration::from_secs));
    let wait = |answer| match answer {
        Answer::Later(_, wait) => Some(wait),
        _ => None,
    };
    for status in [429, 502, 503, 504] {
        assert_eq!(wait(read(status, Some("7"), "")), later(Some(7)), "{status}");
        assert_eq!(wait(read(status, Some("Wed, 21 Oct 2026 07:28:00 GMT"), "")), later(None), "{status}");
    }
    for status in [400, 401, 404, 500] {
        let refused = read(status, Some("7"), r#"{"message":"why"}"#);
        assert_eq!(refused, Answer::Refused(format!("it answers {status}: why")));
    }
}
