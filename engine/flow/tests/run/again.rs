//! Runs that take over from others: what runs again, what does not, and what is refused.

use serde_json::json;
use yuanli_flow::{Command, NotReusable, Run, Wanted, reuse, step};
use yuanli_model::{AttemptOutcome, Digest, Outcome, RunEvent};

use crate::support::{RUN, Story, attempt, created, failed, in_words, name, starts, succeeded, workflow};

/// A run that takes over from that of a story.
struct Again {
    run: Run,
    events: Vec<RunEvent>,
    told: Vec<String>,
}

impl Again {
    fn of(story: &Story, from: &[&str], changed: &[&str]) -> Result<Self, NotReusable> {
        let workflow = story.run.workflow();
        let from: Vec<_> = from.iter().map(|point| point.parse().unwrap()).collect();
        let changed: Vec<_> = changed.iter().map(|input| input.parse().unwrap()).collect();
        let mut events = reuse(&story.run, workflow, Wanted { from: &from, changed: &changed })?;
        let mut run = Run::new(RUN, std::sync::Arc::clone(workflow), &created(workflow)).unwrap();
        events.iter().for_each(|event| run.apply(event).unwrap());
        events.extend(step(&mut run, Command::Advance, story.now).unwrap());
        let told = events.iter().map(|event| in_words(event, story.now)).collect();
        Ok(Self { run, events, told })
    }

    fn ends(&mut self, stage: &str, outcome: AttemptOutcome) -> Vec<String> {
        let command = Command::EndAttempt { attempt: attempt(stage), outcome };
        let events = step(&mut self.run, command, crate::support::BEGIN).unwrap();
        events.iter().map(|event| in_words(event, crate::support::BEGIN)).collect()
    }
}

/// What a run again begins with, in words.
fn again(story: &Story, from: &[&str]) -> Vec<String> {
    Again::of(story, from, &[]).unwrap().told
}

fn refused(story: &Story, from: &[&str], changed: &[&str]) -> String {
    Again::of(story, from, changed).err().expect("it is refused").to_string()
}

#[test]
fn without_a_stage_what_failed_runs_again_and_with_one_that_does() {
    let (mut story, _) = Story::begin(workflow(&["a", "b: a", "c: b", "d: a", "e: d"]));
    ["a", "b", "d"].iter().for_each(|stage| drop(story.succeeds(stage)));
    story.fails("c");
    story.fails("e");
    assert_eq!(again(&story, &[]), ["reuse a", "reuse b", "reuse d", "start c", "start e"]);
    // What else became of the run is taken over, also that it failed.
    assert_eq!(again(&story, &["c"]), ["reuse a", "reuse b", "reuse d", "reuse e (failed)", "start c"]);
    assert_eq!(again(&story, &["b"]), ["reuse a", "reuse d", "reuse e (failed)", "start b"]);
    assert_eq!(again(&story, &["c", "d"]), ["reuse a", "reuse b", "start d", "start c"]);
    assert_eq!(again(&story, &["a"]), ["start a"]);
}

#[test]
fn a_failure_that_is_taken_over_fails_the_run() {
    let (mut story, _) = Story::begin(workflow(&["a", "b"]));
    story.fails("a");
    story.fails("b");
    let mut again = Again::of(&story, &["a"], &[]).unwrap();
    assert_eq!(again.told, ["reuse b (failed)", "start a"]);
    assert_eq!(again.ends("a", succeeded(json!({}))), ["a succeeded", "end failed"]);
}

#[test]
fn what_was_skipped_or_may_fail_is_taken_over_as_it_was() {
    let lines = ["a | allow", "b: a | if false", "c: b | if always()", "d: c"];
    let (mut story, _) = Story::begin(workflow(&lines));
    story.fails("a");
    story.succeeds("c");
    story.fails("d");
    let told = ["reuse a (failed, allowed)", "reuse b (skipped)", "reuse c", "start d"];
    assert_eq!(again(&story, &[]), told);
    assert_eq!(again(&story, &["d"]), told);
}

#[test]
fn what_was_stopped_or_had_no_turn_runs_again_whatever_is_named() {
    let (mut story, _) = Story::begin(workflow(&["a", "b: a", "x", "y: x"]));
    story.succeeds("a");
    story.succeeds("b");
    story.cancel().unwrap();
    story.ends("x", AttemptOutcome::Cancelled);
    assert_eq!(story.run.outcome(), Some(Outcome::Cancelled));
    assert_eq!(again(&story, &[]), ["reuse a", "reuse b", "start x"]);
    assert_eq!(again(&story, &["b"]), ["reuse a", "start x", "start b"]);
}

#[test]
fn the_end_of_a_run_is_not_taken_over() {
    let (mut story, _) = Story::begin(workflow(&["a", "b: a", "r | on_failure", "c | finally"]));
    story.succeeds("a");
    story.fails("b");
    story.succeeds("r");
    story.succeeds("c");
    let mut again = Again::of(&story, &[], &[]).unwrap();
    assert_eq!(again.told, ["reuse a", "start b"]);
    assert_eq!(again.ends("b", succeeded(json!({}))), ["b succeeded", "skip r (no failure)", "start c"]);
    let again = Again::of(&story, &["c"], &[]).unwrap();
    assert_eq!(again.told, ["reuse a", "reuse b (failed)", "start r"]);
}

#[test]
fn each_run_that_cannot_be_retried_says_why() {
    let (mut story, _) = Story::begin(workflow(&["a", "b: a"]));
    assert_eq!(
        refused(&story, &[], &[]),
        format!("run {RUN} goes on: wait for its end, or end it with `yuanli runs cancel {RUN}`")
    );
    assert_eq!(refused(&story, &["a"], &[]), refused(&story, &[], &[]), "also where its stages run");
    story.succeeds("a");
    story.succeeds("b");
    assert_eq!(
        refused(&story, &[], &[]),
        format!(
            "run {RUN} succeeded, so there is nothing to retry: say with `--from STAGE` where to begin again"
        )
    );
    assert_eq!(again(&story, &["b"]), ["reuse a", "start b"]);
    assert_eq!(refused(&story, &["z"], &[]), "the workflow has no stage `z`");
}

#[test]
fn a_run_again_cannot_begin_after_what_failed_unless_it_asks_for_that() {
    let (mut story, _) = Story::begin(workflow(&["a", "b: a", "c: a | if failure()"]));
    story.fails("a");
    story.succeeds("c");
    assert_eq!(refused(&story, &["b"], &[]), "stage `b` needs `a`, which is failed in that run: begin there");
    assert_eq!(again(&story, &["c"]), ["reuse a (failed)", "reuse b (skipped)", "start c"]);
}

#[test]
fn what_reads_an_input_that_changed_is_not_taken_over() {
    let lines = ["a = inputs.tag", "b: a", "c", "d: c | if inputs['tag'] == 'v1'", "e: d"];
    let (mut story, _) = Story::begin(workflow(&lines));
    ["a", "b", "c", "d"].iter().for_each(|stage| drop(story.succeeds(stage)));
    story.fails("e");
    let changed = |from: &[&str]| Again::of(&story, from, &["tag"]).map(|again| again.told);
    assert_eq!(changed(&[]).unwrap(), ["reuse c", "start a", "start d"]);
    assert_eq!(
        refused(&story, &["e"], &["tag"]),
        "stage `a` reads input `tag`, which is another one now: begin there, with `--from a`"
    );
    assert_eq!(changed(&["a", "d"]).unwrap(), ["reuse c", "start a", "start d"]);
    let other = Again::of(&story, &["e"], &["other"]).unwrap().told;
    assert_eq!(other, ["reuse a", "reuse c", "reuse b", "reuse d", "start e"]);
}

#[test]
fn what_is_taken_over_is_not_run_and_gives_what_it_gave() {
    let (mut story, _) = Story::begin(workflow(&["a", "b: a = stages.a.outputs.n"]));
    let left = Digest::of(b"files");
    story.ends("a", AttemptOutcome::Succeeded { outputs: json!({"n": 5}), workspace: Some(left) });
    story.fails("b");
    let again = Again::of(&story, &["b"], &[]).unwrap();
    assert_eq!(starts(&again.run, &again.events), ["b"]);
    let RunEvent::AttemptStarted { config, .. } = &again.events[1] else { panic!("it starts") };
    assert_eq!(config["value"], 5);
    assert_eq!(again.run.workspaces(1), [left]);
}

// Instances

/// A run of a stage with four instances, of which those that are named failed.
fn four(failed_ones: &[u32]) -> Story {
    let (mut story, _) = Story::begin(workflow(&["s | each ['a', 'b', 'c', 'd'] = item", "t: s"]));
    for number in 0..4 {
        let outcome = match failed_ones.contains(&number) {
            true => failed(),
            false => AttemptOutcome::Succeeded {
                outputs: json!({ "n": number }),
                workspace: Some(Digest::of(&[number as u8])),
            },
        };
        story.ends(&format!("s[{number}]"), outcome);
    }
    story
}

#[test]
fn instances_that_succeeded_are_taken_over_and_the_others_run_again() {
    let story = four(&[1, 3]);
    let mut again = Again::of(&story, &[], &[]).unwrap();
    assert_eq!(again.told, ["reuse s[0, 2]", "expand s 4", "start s[1]", "start s[3]"]);
    again.ends("s[3]", succeeded(json!({ "n": "new" })));
    assert_eq!(again.ends("s[1]", succeeded(json!({ "n": "new" }))), ["s[1] succeeded", "start t"]);
    assert_eq!(again.run.outputs(0).unwrap(), &json!([{"n": 0}, {"n": "new"}, {"n": 2}, {"n": "new"}]));
    assert_eq!(again.run.workspaces(1), [Digest::of(&[0]), Digest::of(&[2])]);
}

#[test]
fn one_instance_can_be_named_also_of_a_stage_that_succeeded() {
    let mut story = four(&[]);
    story.succeeds("t");
    let mut first = Again::of(&story, &["s[2]"], &[]).unwrap();
    assert_eq!(first.told, ["reuse s[0, 1, 3]", "expand s 4", "start s[2]"]);
    assert_eq!(first.ends("s[2]", succeeded(json!({}))), ["s[2] succeeded", "start t"]);
    assert_eq!(again(&story, &["s[2]", "s"])[..2], ["expand s 4", "start s"], "all of it");
    assert_eq!(
        refused(&story, &["s[4]"], &[]),
        "stage `s` had 4 instances in that run, numbered from 0: there is no `s[4]`"
    );
    assert_eq!(
        refused(&story, &["t[0]"], &[]),
        "stage `t` had 1 instances in that run, numbered from 0: there is no `t[0]`"
    );
}

#[test]
fn what_a_run_took_over_and_did_not_come_to_is_handed_on() {
    let (mut story, _) = Story::begin(workflow(&["s | each ['a', 'b']"]));
    story.succeeds("s[0]");
    story.fails("s[1]");
    let workflow = std::sync::Arc::clone(story.run.workflow());
    let taken = reuse(&story.run, &workflow, Wanted::default()).unwrap();
    let mut second = Run::new(RUN, std::sync::Arc::clone(&workflow), &created(&workflow)).unwrap();
    taken.iter().for_each(|event| second.apply(event).unwrap());
    // Before its instances are known: it waited for others of its group.
    step(&mut second, Command::Cancel { reason: "somebody".to_owned() }, story.now).unwrap();
    assert_eq!(second.outcome(), Some(Outcome::Cancelled));
    let third = reuse(&second, &workflow, Wanted::default()).unwrap();
    let told: Vec<String> = third.iter().map(|event| in_words(event, story.now)).collect();
    assert_eq!(told, ["reuse s[0]"]);
    assert_eq!(third, taken);
    let from = ["s".parse().unwrap()];
    assert_eq!(reuse(&second, &workflow, Wanted { from: &from, changed: &[] }), Ok(Vec::new()), "all of it");
}

#[test]
fn an_instance_is_taken_over_for_the_same_item_only() {
    let lines = ["s | each inputs.tag == 'v1' ? ['a', 'b'] : ['b', 'b', 'a']"];
    let (mut story, _) = Story::begin(workflow(&lines));
    story.succeeds("s[0]");
    story.succeeds("s[1]");
    let events = [RunEvent::InstancesReused {
        stage: name("s"),
        from: RUN,
        instances: [(0, "a"), (1, "b"), (7, "c")]
            .map(|(instance, item)| yuanli_model::run::ReusedInstance {
                instance,
                item: json!(item),
                outputs: json!({}),
                workspace: None,
            })
            .into(),
    }];
    let mut created = created(story.run.workflow());
    if let RunEvent::Created { inputs, .. } = &mut created {
        inputs.insert("tag".parse().unwrap(), json!("v2"));
    }
    let mut run = Run::new(RUN, std::sync::Arc::clone(story.run.workflow()), &created).unwrap();
    events.iter().for_each(|event| run.apply(event).unwrap());
    let events = step(&mut run, Command::Advance, story.now).unwrap();
    let told: Vec<String> = events.iter().map(|event| in_words(event, story.now)).collect();
    assert_eq!(told, ["expand s 3", "start s", "start s[2]"]);
}

#[test]
fn places_are_for_those_that_run() {
    let lines = ["s | max 1 | each ['a', 'b', 'c', 'd']"];
    let (mut story, _) = Story::begin(workflow(&lines));
    story.fails("s[0]");
    story.succeeds("s[1]");
    story.fails("s[2]");
    story.fails("s[3]");
    let mut again = Again::of(&story, &[], &[]).unwrap();
    assert_eq!(again.told, ["reuse s[1]", "expand s 4", "start s"]);
    assert_eq!(again.ends("s[0]", succeeded(json!({}))), ["s succeeded", "start s[2]"]);
    assert_eq!(again.ends("s[2]", succeeded(json!({}))), ["s[2] succeeded", "start s[3]"]);
    assert_eq!(again.ends("s[3]", failed()), ["s[3] failed (k)", "end failed"]);
}

#[test]
fn a_list_that_was_taken_over_as_a_whole_begins_as_a_whole() {
    let story = four(&[]);
    let mut second = Again::of(
        &{
            let mut story = story;
            story.fails("t");
            story
        },
        &[],
        &[],
    )
    .unwrap();
    assert_eq!(second.told, ["reuse s", "start t"]);
    second.ends("t", failed());
    let workflow = std::sync::Arc::clone(second.run.workflow());
    let from = ["s[1]".parse().unwrap()];
    let refused = reuse(&second.run, &workflow, Wanted { from: &from, changed: &[] }).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "stage `s` was taken over from another run: begin with all of it, `--from s`"
    );
}
