//! What each combination means: the rows of `docs/flow.md`, each a test.

use std::num::NonZeroU32;
use std::time::Duration;

use serde_json::json;
use yuanli_flow::{Command, Effect, Illegal, StageStatus, effects};
use yuanli_model::run::Answer;
use yuanli_model::stage::{Expiry, FanOut, MAX_INSTANCES, Matrix, Work, WorkflowReference};
use yuanli_model::workflow::Settings;
use yuanli_model::{
    AttemptOutcome, Expression, Failure, FailureClass, Input, InputType, Outcome, RunEvent, Stage, Template,
    Workflow,
};

use crate::support::{Story, attempt, expression, failed, grouped, name, succeeded, workflow, workflow_with};

fn outputs(story: &Story, stage: &str) -> serde_json::Value {
    let position = story.run.workflow().position(&name(stage)).unwrap();
    story.run.outputs(position).cloned().unwrap_or_default()
}

/// A workflow whose stages are changed.
fn changed(lines: &[&str], change: impl FnOnce(Stage) -> Stage + Clone) -> std::sync::Arc<Workflow> {
    let stages = workflow(lines).stages().iter().map(|stage| (change.clone())(stage.clone())).collect();
    Workflow::new("w".parse().unwrap(), None, indexmap::IndexMap::new(), stages).unwrap().into()
}

fn failure(story: &Story, stage: &str) -> Failure {
    let position = story.run.workflow().position(&name(stage)).unwrap();
    match story.run.status(position) {
        StageStatus::Failed(failure) | StageStatus::Allowed(failure) => failure.clone(),
        other => panic!("{stage} is {other:?}"),
    }
}

// Conditions

#[test]
fn a_false_condition_skips_the_stage_and_what_needs_it() {
    let (story, told) = Story::begin(workflow(&["a | if inputs.tag == 'v2'", "b: a", "c: b"]));
    assert_eq!(told, ["skip a (if)", "skip b (a)", "skip c (b)", "end succeeded"]);
    assert_eq!(story.run.outcome(), Some(Outcome::Succeeded));
}

#[test]
fn a_condition_is_not_asked_when_a_need_was_not_met() {
    let (mut story, _) = Story::begin(workflow(&["a", "b: a | if stages.a.outputs.n == 1"]));
    assert_eq!(story.fails("a"), ["a failed (k)", "skip b (a)", "end failed"]);
}

#[test]
fn a_condition_that_is_neither_true_nor_false_fails_the_stage() {
    let (story, told) = Story::begin(workflow(&["a | if inputs.tag", "b: a"]));
    assert_eq!(told, ["start a", "a failed (expression)", "skip b (a)", "end failed"]);
    assert_eq!(failure(&story, "a").message, "the condition: `inputs.tag` is \"v1\", not true or false");
}

#[test]
fn always_runs_after_a_failure_and_after_a_skip() {
    let lines = ["a", "b: a", "c: b | if always()"];
    let (mut story, _) = Story::begin(workflow(&lines));
    assert_eq!(story.fails("a"), ["a failed (k)", "skip b (a)", "start c"]);
    assert_eq!(story.succeeds("c"), ["c succeeded", "end failed"]);
}

#[test]
fn failure_is_about_all_that_a_stage_needs_also_through_others() {
    let lines = ["a", "b: a", "c: b | if failure()", "d", "e: d | if failure()"];
    let (mut story, _) = Story::begin(workflow(&lines));
    assert_eq!(story.fails("a"), ["a failed (k)", "skip b (a)", "start c"]);
    assert_eq!(story.succeeds("d"), ["d succeeded", "skip e (if)"]);
    assert_eq!(story.succeeds("c"), ["c succeeded", "end failed"]);
}

#[test]
fn a_skip_by_a_condition_is_no_failure() {
    let lines = ["a | if false", "b: a | if failure()", "c: a | if !failure()", "d: a | if success()"];
    let (mut story, told) = Story::begin(workflow(&lines));
    assert_eq!(told, ["skip a (if)", "skip b (if)", "start c", "skip d (if)"]);
    assert_eq!(story.succeeds("c"), ["c succeeded", "end succeeded"]);
}

#[test]
fn a_condition_sees_how_a_need_ended() {
    let lines = ["a", "b: a | if always() && stages.a.result == 'failed'"];
    let (mut story, _) = Story::begin(workflow(&lines));
    assert_eq!(story.fails("a"), ["a failed (k)", "start b"]);
}

// Failures that are allowed

#[test]
fn an_allowed_failure_is_as_good_as_success_for_what_needs_it_and_for_the_run() {
    let lines = ["a | allow", "b: a", "c: a | if stages.a.result == 'failed'", "d: a | if failure()"];
    let (mut story, _) = Story::begin(workflow(&lines));
    assert_eq!(story.fails("a"), ["a failed (k), allowed", "start b", "start c", "skip d (if)"]);
    story.succeeds("b");
    assert_eq!(story.succeeds("c"), ["c succeeded", "end succeeded"]);
}

#[test]
fn a_failure_is_allowed_only_after_the_last_attempt() {
    let (mut story, _) = Story::begin(workflow(&["a | allow | retry 2"]));
    assert_eq!(story.fails("a"), ["a failed (k), again in 10 s"]);
    assert_eq!(story.wakes_after(10), ["start a#2"]);
    assert_eq!(story.fails("a#2"), ["a#2 failed (k), allowed", "end succeeded"]);
}

// Retries

#[test]
fn an_attempt_that_failed_is_followed_by_another_at_its_time() {
    let (mut story, _) = Story::begin(workflow(&["a | retry 3", "b: a"]));
    assert_eq!(story.fails("a"), ["a failed (k), again in 10 s"]);
    assert_eq!(story.run.next_timer(), Some(story.now.after(Duration::from_secs(10))));
    assert_eq!(story.wakes_after(9), Vec::<String>::new());
    assert_eq!(story.wakes_after(1), ["start a#2"]);
    assert_eq!(story.run.next_timer(), None);
    assert_eq!(story.fails("a#2"), ["a#2 failed (k), again in 10 s"]);
    assert_eq!(story.wakes_after(10), ["start a#3"]);
    assert_eq!(story.fails("a#3"), ["a#3 failed (k)", "skip b (a)", "end failed"]);
}

#[test]
fn who_throttles_is_waited_for_as_long_as_he_says() {
    let (mut story, _) = Story::begin(workflow(&["a | retry 2"]));
    let class = FailureClass::Throttled { retry_after: Some(Duration::from_secs(120)) };
    let told = story.ends("a", AttemptOutcome::Failed(Failure::new(class, "busy", "later")));
    assert_eq!(told, ["a failed (busy), again in 120 s"]);
}

#[test]
fn what_cannot_change_is_not_tried_again() {
    let (_, told) = Story::begin(workflow(&["a | retry 3 = inputs.missing"]));
    assert_eq!(told, ["start a", "a failed (expression)", "end failed"]);
}

#[test]
fn a_cancel_while_an_attempt_is_waited_for_ends_the_stage() {
    let (mut story, _) = Story::begin(workflow(&["a | retry 2", "b: a"]));
    story.fails("a");
    assert_eq!(story.cancel().unwrap(), ["cancel", "skip b (cancelled)", "end cancelled"]);
    assert_eq!(story.run.status(0), &StageStatus::Cancelled);
    assert_eq!(story.run.next_timer(), None);
}

#[test]
fn after_a_cancel_nothing_is_tried_again() {
    let (mut story, _) = Story::begin(workflow(&["a | retry 2"]));
    story.cancel().unwrap();
    assert_eq!(story.fails("a"), ["a failed (k)", "end cancelled"]);
}

// Instances

#[test]
fn a_stage_runs_once_for_each_item_and_its_outputs_are_a_list() {
    let (mut story, told) =
        Story::begin(workflow(&["a | each [10, 20] = item + 1", "b: a = stages.a.outputs[1].n"]));
    assert_eq!(told, ["expand a 2", "start a", "start a[1]"]);
    let config = |story: &Story, id: &str| {
        let wanted = attempt(id);
        let found = story.events.iter().find_map(|event| match event {
            RunEvent::AttemptStarted { attempt, config } if *attempt == wanted => {
                Some(config["value"].clone())
            }
            _ => None,
        });
        found.unwrap()
    };
    assert_eq!((config(&story, "a"), config(&story, "a[1]")), (json!(11), json!(21)));
    assert_eq!(story.ends("a[1]", succeeded(json!({"n": 2}))), ["a[1] succeeded"]);
    assert_eq!(story.ends("a", succeeded(json!({"n": 1}))), ["a succeeded", "start b"]);
    assert_eq!(outputs(&story, "a"), json!([{"n": 1}, {"n": 2}]));
    assert_eq!(config(&story, "b"), 2);
}

#[test]
fn no_items_are_a_success_without_outputs() {
    let (story, told) = Story::begin(workflow(&["a | each []", "b: a"]));
    assert_eq!(told, ["expand a 0", "start b"]);
    assert_eq!(outputs(&story, "a"), json!([]));
}

#[test]
fn not_more_instances_run_than_may() {
    let (mut story, told) = Story::begin(workflow(&["a | each [1, 2, 3, 4] | max 2"]));
    assert_eq!(told, ["expand a 4", "start a", "start a[1]"]);
    assert_eq!(story.succeeds("a[1]"), ["a[1] succeeded", "start a[2]"]);
    assert_eq!(story.fails("a"), ["a failed (k)", "start a[3]"]);
    assert_eq!(story.succeeds("a[2]"), ["a[2] succeeded"]);
    assert_eq!(story.succeeds("a[3]"), ["a[3] succeeded", "end failed"]);
    assert_eq!(failure(&story, "a").message, "1 of 4 instances failed, the first one: m");
}

#[test]
fn an_instance_that_waits_for_its_next_attempt_keeps_its_place() {
    let (mut story, _) = Story::begin(workflow(&["a | each [1, 2] | max 1 | retry 2"]));
    assert_eq!(story.fails("a"), ["a failed (k), again in 10 s"]);
    assert_eq!(story.wakes_after(10), ["start a#2"]);
    assert_eq!(story.succeeds("a#2"), ["a#2 succeeded", "start a[1]"]);
}

#[test]
fn instances_that_fail_where_that_is_allowed_leave_holes_in_the_outputs() {
    let (mut story, _) = Story::begin(workflow(&["a | each [1, 2] | allow", "b: a"]));
    story.fails("a");
    assert_eq!(story.ends("a[1]", succeeded(json!({"n": 2}))), ["a[1] succeeded", "start b"]);
    assert_eq!(outputs(&story, "a"), json!([null, {"n": 2}]));
}

#[test]
fn a_cancel_ends_the_instances_that_have_not_begun() {
    let (mut story, _) = Story::begin(workflow(&["a | each [1, 2, 3] | max 1", "b: a"]));
    assert_eq!(story.cancel().unwrap(), ["cancel", "skip b (cancelled)"]);
    assert_eq!(story.ends("a", AttemptOutcome::Cancelled), ["a cancelled", "end cancelled"]);
}

#[test]
fn what_is_no_list_fails_the_stage() {
    let (story, told) = Story::begin(workflow(&["a | each inputs.tag"]));
    assert_eq!(told, ["start a", "a failed (expression)", "end failed"]);
    assert_eq!(failure(&story, "a").message, "`for_each` is a text, not a list");
}

#[test]
fn more_instances_than_there_can_be_fail_the_stage() {
    let each = |stage| Stage {
        fan_out: Some(FanOut::ForEach(Template::List(vec![Template::Null; MAX_INSTANCES + 1]))),
        ..stage
    };
    let (story, told) = Story::begin(changed(&["a"], each));
    assert_eq!(told, ["start a", "a failed (expression)", "end failed"]);
    assert_eq!(failure(&story, "a").message, "it would have 100001 instances, the most is 100000");
}

#[test]
fn a_variable_about_the_item_is_missed_only_where_it_is_read() {
    let with_env = |condition: &str| {
        let env = [("WHO", expression("item")), ("TAG", expression("inputs.tag"))];
        let env = env.map(|(name, value)| (name.to_owned(), value)).into_iter().collect();
        let condition = Some(Expression::new(condition));
        move |stage| Stage { env, condition, ..stage }
    };
    let line = "a | each ['x', 'y'] = env.WHO + env.TAG";
    let (story, _) = Story::begin(changed(&[line], with_env("env.TAG == 'v1'")));
    let RunEvent::AttemptStarted { config, .. } = &story.events[3] else { panic!("it starts") };
    assert_eq!(config["value"], "yv1");
    // What is wrong with another expression is told as it is.
    let (story, _) = Story::begin(changed(&[line], with_env("1 / 0 > 1")));
    assert!(failure(&story, "a").message.contains("division by zero"), "{:?}", failure(&story, "a"));
    let (story, _) = Story::begin(changed(&[line], with_env("env.WHO == 'x'")));
    assert!(failure(&story, "a").message.contains("`item`"), "{:?}", failure(&story, "a"));
}

#[test]
fn a_matrix_has_all_combinations_but_those_left_out_and_those_put_in() {
    let axes = [("os", "['a', 'b']"), ("v", "[1, 2]")];
    let axes = axes.map(|(axis, values)| (axis.to_owned(), expression(values))).into_iter().collect();
    let matrix = Matrix {
        axes,
        include: Some(expression("[{'os': 'a', 'fast': true}, {'os': 'c', 'v': 9}, {'note': 'alone'}]")),
        exclude: Some(expression("[{'os': 'b', 'v': 1}]")),
    };
    let stage = Stage { fan_out: Some(FanOut::Matrix(matrix)), ..workflow(&["a"]).stages()[0].clone() };
    let workflow = Workflow::new("w".parse().unwrap(), None, indexmap::IndexMap::new(), vec![stage]).unwrap();
    let (story, _) = Story::begin(workflow.into());
    let RunEvent::StageExpanded { instances, .. } = &story.events[1] else { panic!("it is expanded") };
    let expect = json!([
        {"os": "a", "v": 1, "fast": true},
        {"os": "a", "v": 2, "fast": true},
        {"os": "b", "v": 2},
        {"os": "c", "v": 9},
        {"note": "alone"},
    ]);
    assert_eq!(json!(instances), expect);
}

#[test]
fn a_matrix_shows_its_values_to_the_config() {
    let (story, told) = Story::begin(workflow(&["a | matrix os ['x', 'y'] = matrix.os"]));
    assert_eq!(told, ["expand a 2", "start a", "start a[1]"]);
    let RunEvent::AttemptStarted { config, .. } = &story.events[3] else { panic!("it starts") };
    assert_eq!(config["value"], "y");
}

// Approvals

#[test]
fn a_stage_waits_for_as_many_people_as_it_asks_for() {
    let (mut story, told) = Story::begin(workflow(&["a | approval 2", "b: a"]));
    assert_eq!(told, ["ask a"]);
    assert_eq!(story.answers("a", "eva", true).unwrap(), ["eva says yes to a"]);
    let again = story.answers("a", "eva", true).unwrap_err();
    assert_eq!(again, Illegal::Answered { stage: name("a"), by: "eva".to_owned() });
    assert_eq!(story.answers("a", "ada", true).unwrap(), ["ada says yes to a", "a approved", "start a"]);
    assert!(story.answers("a", "tom", true).is_err(), "it does not wait any more");
    assert_eq!(story.succeeds("a"), ["a succeeded", "start b"]);
}

#[test]
fn one_who_does_not_agree_is_enough() {
    let (mut story, _) = Story::begin(workflow(&["a | approval 2", "b: a"]));
    let told = story.answers("a", "eva", false).unwrap();
    assert_eq!(told, ["eva says no to a", "a rejected", "skip b (a)", "end failed"]);
    assert_eq!(failure(&story, "a").message, "eva did not approve it");
}

#[test]
fn a_gate_gives_who_approved_it() {
    let (mut story, _) = Story::begin(workflow(&["a | gate 1", "b: a = stages.a.outputs.approved_by[0]"]));
    let answer =
        Answer { by: "eva".to_owned(), is_approved: true, comment: Some("go".to_owned()), inputs: json!({}) };
    let told = story.tell(Command::Answer { stage: name("a"), answer }).unwrap();
    assert_eq!(told, ["eva says yes to a", "a approved", "start b"]);
    assert_eq!(outputs(&story, "a"), json!({"approved_by": ["eva"], "comment": "go", "inputs": {}}));
}

#[test]
fn without_an_answer_in_time_it_is_no() {
    let (mut story, _) = Story::begin(workflow(&["a | gate 1", "b: a"]));
    assert_eq!(story.wakes_after(59), Vec::<String>::new());
    assert_eq!(story.wakes_after(1), ["a rejected by time", "skip b (a)", "end failed"]);
}

#[test]
fn without_an_answer_in_time_it_is_yes_where_that_was_said() {
    let yes = |mut stage: Stage| {
        stage.approval.as_mut().unwrap().on_expiry = Expiry::Approve;
        stage
    };
    let (mut story, _) = Story::begin(changed(&["a | gate 1", "b | approval 1"], yes));
    let told = story.wakes_after(60);
    assert_eq!(told, ["a approved by time", "b approved by time", "start b"]);
    assert_eq!(outputs(&story, "a"), json!({"approved_by": [], "comment": null, "inputs": {}}));
}

#[test]
fn what_is_asked_for_comes_with_the_answer() {
    let asks = |mut stage: Stage| {
        let percent = Input { kind: InputType::NUMBER, default: None, is_optional: false, description: None };
        stage.approval.as_mut().unwrap().inputs.insert("percent".parse().unwrap(), percent);
        stage
    };
    let (mut story, _) = Story::begin(changed(&["a | gate 1"], asks));
    let answer = |inputs| {
        let answer = Answer { by: "eva".to_owned(), is_approved: true, comment: None, inputs };
        Command::Answer { stage: name("a"), answer }
    };
    let refused = story.tell(answer(json!({"percnt": 5}))).unwrap_err().to_string();
    assert!(
        refused.contains("no input `percnt`") && refused.contains("`percent` has no default"),
        "{refused}"
    );
    assert_eq!(story.tell(answer(json!({"percent": 5}))).unwrap()[1..], ["a approved", "end succeeded"]);
    assert_eq!(outputs(&story, "a")["inputs"], json!({"percent": 5}));
}

#[test]
fn a_cancel_ends_the_waiting_for_a_person() {
    let (mut story, _) = Story::begin(workflow(&["a | gate 1", "b: a"]));
    assert_eq!(
        story.cancel().unwrap(),
        ["cancel", "skip a (cancelled)", "skip b (cancelled)", "end cancelled"]
    );
    assert_eq!(story.run.next_timer(), None);
}

#[test]
fn a_condition_comes_before_the_question() {
    let (_, told) = Story::begin(workflow(&["a | gate 1 | if false"]));
    assert_eq!(told, ["skip a (if)", "end succeeded"]);
}

// Parts of a run

#[test]
fn the_parts_come_one_after_the_other() {
    let lines = ["a", "b | on_failure", "c | finally", "d: c | finally"];
    let (mut story, told) = Story::begin(workflow(&lines));
    assert_eq!(told, ["start a"]);
    assert_eq!(story.fails("a"), ["a failed (k)", "start b"]);
    assert_eq!(story.fails("b"), ["b failed (k)", "start c"]);
    assert_eq!(story.succeeds("c"), ["c succeeded", "start d"]);
    assert_eq!(story.succeeds("d"), ["d succeeded", "end failed"]);
}

#[test]
fn without_a_failure_what_is_for_failures_is_skipped() {
    let (mut story, _) = Story::begin(workflow(&["a", "b | on_failure", "c: b | on_failure", "d | finally"]));
    let told = story.succeeds("a");
    assert_eq!(told, ["a succeeded", "skip b (no failure)", "skip c (no failure)", "start d"]);
    assert_eq!(story.succeeds("d"), ["d succeeded", "end succeeded"]);
}

#[test]
fn a_failure_at_the_end_fails_the_run() {
    let (mut story, _) = Story::begin(workflow(&["a", "b | finally", "c: b | finally"]));
    story.succeeds("a");
    assert_eq!(story.fails("b"), ["b failed (k)", "skip c (b)", "end failed"]);
}

#[test]
fn at_the_end_conditions_see_how_the_run_went() {
    let lines =
        ["a", "b | finally | if success()", "c | finally | if failure()", "d | finally = stages.a.result"];
    let (mut story, _) = Story::begin(workflow(&lines));
    assert_eq!(story.fails("a"), ["a failed (k)", "skip b (if)", "start c", "start d"]);
}

#[test]
fn the_end_runs_after_a_cancel_and_a_second_cancel_ends_it() {
    let lines = ["a", "b: a", "c | on_failure", "d | finally", "e: d | finally"];
    let (mut story, _) = Story::begin(workflow(&lines));
    let told = story.cancel().unwrap();
    assert_eq!(told, ["cancel", "skip b (cancelled)", "skip c (cancelled)"]);
    assert_eq!(story.cancel(), Ok(vec![]));
    assert_eq!(story.ends("a", AttemptOutcome::Cancelled), ["a cancelled", "start d"]);
    let events = story.step(Command::Cancel { reason: "again".to_owned() }).unwrap();
    assert!(effects(story.run.workflow(), &events).contains(&Effect::StopAttempts));
    assert_eq!(story.cancel(), Ok(vec![]), "a third cancel changes nothing");
    assert_eq!(story.ends("d", AttemptOutcome::Cancelled), ["d cancelled", "end cancelled"]);
    assert!(matches!(story.run.status(4), StageStatus::Skipped(_)));
}

#[test]
fn a_cancel_at_the_end_ends_the_end() {
    let (mut story, _) = Story::begin(workflow(&["a", "b | finally", "c: b | finally"]));
    story.succeeds("a");
    assert_eq!(story.cancel().unwrap(), ["cancel", "skip c (cancelled)"]);
    assert_eq!(story.ends("b", AttemptOutcome::Cancelled), ["b cancelled", "end cancelled"]);
}

// Time

fn an_hour() -> Settings {
    Settings { timeout: Some(Duration::from_secs(3600)), ..Settings::default() }
}

#[test]
fn a_run_that_takes_too_long_is_ended_and_fails_and_its_end_runs() {
    let lines = ["a", "b: a", "c | on_failure", "d | finally"];
    let (mut story, told) = Story::begin(workflow_with(&lines, an_hour()));
    assert_eq!(told, ["start a"]);
    assert_eq!(story.wakes_after(3600), ["timed out", "skip b (timed out)"]);
    assert_eq!(story.ends("a", AttemptOutcome::Cancelled), ["a cancelled", "start c"]);
    assert_eq!(story.succeeds("c"), ["c succeeded", "start d"]);
    assert_eq!(story.run.next_timer(), None);
    assert_eq!(story.succeeds("d"), ["d succeeded", "end failed"]);
}

#[test]
fn the_end_of_a_run_has_its_own_time() {
    let (mut story, _) = Story::begin(workflow_with(&["a", "b | finally"], an_hour()));
    story.succeeds("a");
    assert_eq!(story.run.next_timer(), None);
    assert_eq!(story.wakes_after(4000), Vec::<String>::new());
}

#[test]
fn when_the_time_is_over_nothing_else_that_was_due_happens() {
    let (mut story, _) = Story::begin(workflow_with(&["a | retry 2", "b | gate 1"], an_hour()));
    story.fails("a");
    assert_eq!(story.wakes_after(4000), ["timed out", "skip b (timed out)", "end failed"]);
}

// Groups

#[test]
fn a_run_of_a_group_waits_until_it_is_let_in() {
    let settings = Settings { timeout: an_hour().timeout, ..grouped("deploy-${{ inputs.tag }}") };
    let (mut story, told) = Story::begin(workflow_with(&["a"], settings));
    assert_eq!(told, Vec::<String>::new());
    assert_eq!(story.run.group(), Some("deploy-v1"));
    assert!(story.run.is_queued());
    assert_eq!(story.tell(Command::Admit).unwrap(), ["admitted", "start a"]);
    assert_eq!(story.tell(Command::Admit), Err(Illegal::Created));
    assert_eq!(
        story.run.next_timer(),
        Some(story.now.after(Duration::from_secs(3600))),
        "from when it began"
    );
}

#[test]
fn a_run_that_was_not_let_in_has_no_end_to_run() {
    let (mut story, _) = Story::begin(workflow_with(&["a", "b: a", "c | finally"], grouped("g")));
    let told = story.cancel().unwrap();
    assert_eq!(told[..2], ["cancel", "skip a (cancelled)"]);
    assert_eq!(told[2..], ["skip b (cancelled)", "skip c (cancelled)", "end cancelled"]);
}

// Workflows as stages, and outputs of workflows

#[test]
fn a_stage_runs_a_workflow_and_takes_its_outputs() {
    let uses = WorkflowReference { name: "child".parse().unwrap(), version: None };
    let with = Template::Map([("n".to_owned(), expression("1 + 1"))].into_iter().collect());
    let stage =
        Stage { work: Work::Workflow { uses: uses.clone(), with }, ..workflow(&["a"]).stages()[0].clone() };
    let workflow = Workflow::new("w".parse().unwrap(), None, indexmap::IndexMap::new(), vec![stage]).unwrap();
    let (mut story, _) = Story::begin(workflow.into());
    let begun = effects(story.run.workflow(), &story.events);
    assert_eq!(begun, [Effect::StartRun { attempt: attempt("a"), workflow: uses, inputs: json!({"n": 2}) }]);
    story.ends("a", succeeded(json!({"image": "x"})));
    assert_eq!(outputs(&story, "a"), json!({"image": "x"}));
}

fn giving(text: &str) -> Settings {
    Settings {
        outputs: [("image".to_owned(), expression(text))].into_iter().collect(),
        ..Settings::default()
    }
}

#[test]
fn a_run_gives_its_outputs_when_it_succeeded() {
    let ends = |is_success: bool| {
        let (mut story, _) = Story::begin(workflow_with(&["a"], giving("stages.a.outputs.image")));
        story.ends("a", if is_success { succeeded(json!({"image": "x"})) } else { failed() });
        match story.events.last() {
            Some(RunEvent::Finished { outcome, outputs, failure }) => {
                (*outcome, outputs.clone(), failure.clone())
            }
            other => panic!("no end: {other:?}"),
        }
    };
    assert_eq!(ends(true), (Outcome::Succeeded, Some(json!({"image": "x"})), None));
    assert_eq!(ends(false), (Outcome::Failed, None, None));
}

#[test]
fn outputs_that_cannot_be_had_fail_the_run() {
    let (mut story, _) = Story::begin(workflow_with(&["a"], giving("stages.a.outputs.missing")));
    assert_eq!(story.succeeds("a"), ["a succeeded", "end failed"]);
    let Some(RunEvent::Finished { failure: Some(failure), .. }) = story.events.last() else {
        panic!("no failure")
    };
    assert!(failure.message.starts_with("the outputs of the workflow: "), "{}", failure.message);
}

// Size

#[test]
fn ten_thousand_stages_and_a_hundred_thousand_instances_end() {
    let lines: Vec<String> =
        (0..10_000).map(|n| if n < 100 { format!("s{n}") } else { format!("s{n}: s{}", n - 100) }).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let (mut story, _) = Story::begin(workflow(&lines));
    while story.run.outcome().is_none() {
        let running: Vec<_> = story.run.running().collect();
        for attempt in running {
            story.step(Command::EndAttempt { attempt, outcome: succeeded(json!({})) }).unwrap();
        }
    }
    let stage = Stage {
        fan_out: Some(FanOut::ForEach(Template::List(vec![Template::Bool(true); 100_000]))),
        max_parallel: NonZeroU32::new(1000),
        ..workflow(&["a"]).stages()[0].clone()
    };
    let workflow = Workflow::new("w".parse().unwrap(), None, indexmap::IndexMap::new(), vec![stage]).unwrap();
    let (mut story, _) = Story::begin(workflow.into());
    for instance in 0..100_000 {
        let attempt = yuanli_model::AttemptId { instance, ..attempt("a") };
        story.step(Command::EndAttempt { attempt, outcome: succeeded(json!({})) }).unwrap();
    }
    assert_eq!(story.run.outcome(), Some(Outcome::Succeeded));
}
