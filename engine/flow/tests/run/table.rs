//! What follows from what.

use serde_json::json;
use yuanli_flow::{Command, Effect, Illegal, StageStatus, decide, effects};
use yuanli_model::{AttemptOutcome, Digest, FailureClass, Outcome, RunEvent};

use crate::support::{Story, attempt, failed, starts, succeeded, workflow};

#[test]
fn independent_stages_start_together_and_a_chain_in_order() {
    let (mut story, told) = Story::begin(workflow(&["a", "b", "c: a", "d: c b"]));
    assert_eq!(told, ["start a", "start b"]);
    assert_eq!(story.succeeds("a"), ["a succeeded", "start c"]);
    assert_eq!(story.succeeds("c"), ["c succeeded"]);
    assert_eq!(story.succeeds("b"), ["b succeeded", "start d"]);
    assert_eq!(story.succeeds("d"), ["d succeeded", "end succeeded"]);
    assert_eq!(story.run.outcome(), Some(Outcome::Succeeded));
}

#[test]
fn a_failed_stage_skips_what_needs_it_and_the_rest_goes_on() {
    let (mut story, _) = Story::begin(workflow(&["a", "b: a", "c: b", "d", "e: d"]));
    assert_eq!(story.fails("a"), ["a failed (k)", "skip b (a)", "skip c (b)"]);
    assert_eq!(story.succeeds("d"), ["d succeeded", "start e"]);
    assert_eq!(story.succeeds("e"), ["e succeeded", "end failed"]);
}

#[test]
fn a_stage_with_a_failed_need_waits_for_its_other_needs_before_it_is_skipped() {
    let (mut story, _) = Story::begin(workflow(&["a", "b", "c: a b"]));
    assert_eq!(story.fails("a"), ["a failed (k)"]);
    assert_eq!(story.succeeds("b"), ["b succeeded", "skip c (a)", "end failed"]);
}

#[test]
fn a_cancel_skips_what_waits_and_stops_what_runs() {
    let (mut story, _) = Story::begin(workflow(&["a", "b", "c: a", "d: c"]));
    assert_eq!(story.succeeds("b"), ["b succeeded"]);
    let events = story.step(Command::Cancel { reason: "r".to_owned() }).unwrap();
    assert!(effects(story.run.workflow(), &events).contains(&Effect::StopAttempts));
    assert!(matches!(story.run.status(2), StageStatus::Skipped(_)));
    assert!(matches!(story.run.status(3), StageStatus::Skipped(_)));
    assert_eq!(story.cancel(), Ok(vec![]), "a second cancel changes nothing");
    assert_eq!(story.ends("a", AttemptOutcome::Cancelled), ["a cancelled", "end cancelled"]);
    assert_eq!(story.cancel(), Err(Illegal::Over));
}

#[test]
fn a_stage_that_succeeds_after_the_cancel_counts_and_starts_nothing() {
    let (mut story, _) = Story::begin(workflow(&["a", "b: a"]));
    assert_eq!(story.cancel().unwrap(), ["cancel", "skip b (cancelled)"]);
    assert_eq!(story.succeeds("a"), ["a succeeded", "end cancelled"]);
}

#[test]
fn an_interrupt_fails_what_runs_and_ends_the_run() {
    let (mut story, _) = Story::begin(workflow(&["a", "b", "c: a"]));
    let told = story.tell(Command::Interrupt).unwrap();
    let failed = ["a failed (engine-stopped)", "b failed (engine-stopped)"];
    assert_eq!(told, ["interrupted", failed[0], failed[1], "skip c (interrupted)", "end failed"]);
    let StageStatus::Failed(failure) = story.run.status(0) else { panic!("it failed") };
    assert_eq!(failure.class, FailureClass::Interrupted);
}

#[test]
fn expressions_see_inputs_outputs_and_the_run() {
    let workflow =
        workflow(&["a = inputs.tag", "b: a = stages.a.outputs.n + 1", "c: b = run.workflow + run.id"]);
    let (mut story, _) = Story::begin(workflow);
    let config = |story: &Story| match story.events.iter().rev().find_map(|event| match event {
        RunEvent::AttemptStarted { config, .. } => Some(config.clone()),
        _ => None,
    }) {
        Some(config) => config["value"].clone(),
        None => panic!("nothing was started"),
    };
    assert_eq!(config(&story), "v1");
    story.ends("a", succeeded(json!({ "n": 41 })));
    assert_eq!(config(&story), 42);
    story.succeeds("b");
    assert_eq!(config(&story), format!("w{}", story.run.id()));
}

#[test]
fn an_expression_that_fails_fails_its_stage_without_starting_it() {
    let (mut story, _) = Story::begin(workflow(&["a", "b: a = stages.a.outputs.missing", "c: b", "d"]));
    let events =
        story.step(Command::EndAttempt { attempt: attempt("a"), outcome: succeeded(json!({})) }).unwrap();
    assert_eq!(starts(&story.run, &events), Vec::<String>::new());
    let StageStatus::Failed(failure) = story.run.status(1) else { panic!("it failed") };
    assert_eq!(failure.kind, "expression");
    assert!(failure.message.contains("missing"), "{failure:?}");
    assert!(matches!(story.run.status(2), StageStatus::Skipped(_)));
    assert_eq!(story.succeeds("d"), ["d succeeded", "end failed"]);
}

#[test]
fn what_cannot_have_happened_is_refused_and_changes_nothing() {
    let (mut story, _) = Story::begin(workflow(&["a", "b: a"]));
    let check = |story: &mut Story, stage: &str, number: u32, says: &str| {
        let before = story.run.clone();
        let attempt = yuanli_model::AttemptId { attempt: number, ..attempt(stage) };
        let refused = story.step(Command::EndAttempt { attempt, outcome: failed() }).unwrap_err().to_string();
        assert!(refused.contains(says), "{refused}");
        assert!(story.run == before);
    };
    check(&mut story, "b", 1, "stage `b` is waiting");
    check(&mut story, "a", 2, "stage `a` is running");
    check(&mut story, "z", 1, "no stage `z`");
    story.succeeds("a");
    check(&mut story, "a", 1, "stage `a` is succeeded");
    story.succeeds("b");
    check(&mut story, "b", 1, "the run is over");
    let created = story.events[0].clone();
    assert_eq!(story.run.apply(&created), Err(Illegal::Over));
}

#[test]
fn a_stage_begins_with_what_its_needs_left() {
    let (mut story, _) = Story::begin(workflow(&["a", "b", "c: a b"]));
    let left =
        |text: &[u8]| AttemptOutcome::Succeeded { outputs: json!({}), workspace: Some(Digest::of(text)) };
    story.ends("a", left(b"a"));
    story.succeeds("b");
    assert_eq!(story.run.workspaces(2), [Digest::of(b"a")], "`b` left nothing");
}

#[test]
fn deciding_changes_nothing() {
    let (story, _) = Story::begin(workflow(&["a"]));
    let before = story.run.clone();
    decide(&story.run, Command::EndAttempt { attempt: attempt("a"), outcome: failed() }, story.now).unwrap();
    assert!(story.run == before);
}
