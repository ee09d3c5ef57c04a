//! Random workflows, random ends in random order, answers, time, cancels and interrupts at random moments.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::json;
use yuanli_flow::{Command, DEFAULT_PARALLEL, Run, StageStatus};
use yuanli_model::run::{Answer, Then};
use yuanli_model::workflow::Settings;
use yuanli_model::{
    AttemptId, AttemptOutcome, Failure, FailureClass, RunEvent, Section, StageName, Workflow,
};

use crate::support::{RUN, Story, failed, succeeded, workflow_with};

const STAGES: usize = 16;

/// Parts of a stage that are drawn from, each as `support::part` reads it.
const PARTS: [&str; 14] = [
    "if always()",
    "if failure()",
    "if inputs.tag == 'v1'",
    "if false",
    "each [1, 2, 3]",
    "each []",
    "each inputs.tag",
    "each [1, 2, 3, 4] | max 2",
    "retry 2",
    "retry 3",
    "allow",
    "approval 1",
    "gate 2",
    "matrix os ['a', 'b']",
];

/// A choice for each moment: which of the running attempts ends, and how; or something else happens.
#[derive(Debug, Clone, Copy)]
enum Moment {
    End { pick: usize, is_success: bool },
    Answer { pick: usize, is_approved: bool },
    Pass { seconds: u64 },
    Cancel,
    Interrupt,
}

fn workflows() -> impl Strategy<Value = Arc<Workflow>> {
    let edges = proptest::collection::vec((0..STAGES, 0..STAGES), 0..40);
    let parts = proptest::collection::vec(proptest::collection::vec(0..PARTS.len() * 3, 0..3), STAGES);
    let sections =
        proptest::collection::vec(prop_oneof![6 => Just(0_usize), 1 => Just(1), 1 => Just(2)], STAGES);
    (1..=STAGES, edges, parts, sections, prop::bool::weighted(0.2)).prop_map(
        |(count, edges, parts, mut sections, is_limited)| {
            sections[0] = 0;
            let line = |stage: usize| {
                let is_need = |(a, b): &&(usize, usize)| *a == stage && b < a && sections[*a] == sections[*b];
                let needs: BTreeSet<usize> = edges.iter().filter(is_need).map(|(_, b)| *b).collect();
                let needs: Vec<String> = needs.into_iter().map(|need| format!("s{need}")).collect();
                let section = ["", " | on_failure", " | finally"][sections[stage]];
                let parts: Vec<String> = parts[stage]
                    .iter()
                    .filter_map(|part| PARTS.get(*part))
                    .map(|part| format!(" | {part}"))
                    .collect();
                format!("s{stage}: {}{section}{}", needs.join(" "), parts.join(""))
            };
            let lines: Vec<String> = (0..count).map(line).collect();
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            let timeout = is_limited.then(|| Duration::from_secs(100));
            workflow_with(&lines, Settings { timeout, ..Settings::default() })
        },
    )
}

fn moments() -> impl Strategy<Value = Vec<Moment>> {
    let moment = prop_oneof![
        30 => (any::<usize>(), prop::bool::weighted(0.7)).prop_map(|(pick, is_success)| Moment::End { pick, is_success }),
        6 => (any::<usize>(), prop::bool::weighted(0.8)).prop_map(|(pick, is_approved)| Moment::Answer { pick, is_approved }),
        5 => (1_u64..30).prop_map(|seconds| Moment::Pass { seconds }),
        1 => Just(Moment::Cancel),
        1 => Just(Moment::Interrupt),
    ];
    proptest::collection::vec(moment, 0..4 * STAGES)
}

/// Plays the moments, then ends whatever still runs, one after the other.
fn play(workflow: Arc<Workflow>, moments: &[Moment]) -> Story {
    let (mut story, _) = Story::begin(workflow);
    let rest = [Moment::End { pick: 0, is_success: true }, Moment::Answer { pick: 0, is_approved: true }];
    let rest = rest.into_iter().chain([Moment::Pass { seconds: 10 }]).cycle();
    let mut ended: Vec<AttemptId> = Vec::new();
    for (number, moment) in moments.iter().copied().chain(rest).enumerate() {
        assert!(number < 10_000, "the run does not end");
        if story.run.outcome().is_some() {
            break;
        }
        let running: Vec<_> = story.run.running().collect();
        let held: Vec<StageName> = story.run.held().map(|(stage, _)| stage.clone()).collect();
        let is_waiting = story.run.next_timer().is_some();
        assert!(!running.is_empty() || !held.is_empty() || is_waiting, "something has to be waited for");
        let command = match moment {
            Moment::Cancel => Command::Cancel { reason: "random".to_owned() },
            Moment::Interrupt => Command::Interrupt,
            Moment::Pass { seconds } => {
                story.now = story.now.after(Duration::from_secs(seconds));
                Command::Wake
            }
            Moment::Answer { pick, is_approved } if !held.is_empty() => {
                let stage = held[pick % held.len()].clone();
                let answer =
                    Answer { by: format!("p{number}"), is_approved, comment: None, inputs: json!({}) };
                Command::Answer { stage, answer }
            }
            Moment::End { pick, is_success } if !running.is_empty() => {
                let attempt = running[pick % running.len()].clone();
                let outcome = match is_success {
                    true => succeeded(json!({})),
                    false if story.run.is_cancelling() => AttemptOutcome::Cancelled,
                    false if pick % 3 == 0 => {
                        AttemptOutcome::Failed(Failure::new(FailureClass::Transient, "t", "m"))
                    }
                    false => failed(),
                };
                ended.push(attempt.clone());
                Command::EndAttempt { attempt, outcome }
            }
            Moment::Answer { .. } | Moment::End { .. } => continue,
        };
        story.step(command).unwrap();
        // What has ended does not end again.
        if let Some(attempt) = ended.last() {
            let again = Command::EndAttempt { attempt: attempt.clone(), outcome: failed() };
            assert!(story.step(again).is_err());
        }
    }
    story
}

/// Checks what must hold of any history.
fn check(workflow: &Workflow, story: &Story) {
    let mut running: BTreeMap<(StageName, u32), u32> = BTreeMap::new();
    let mut attempts: BTreeMap<(StageName, u32), u32> = BTreeMap::new();
    let mut open: BTreeSet<&StageName> = workflow.stages().iter().map(|stage| &stage.name).collect();
    let mut replay = Run::new(RUN, Arc::new(workflow.clone()), &story.events[0]).unwrap();
    for (position, event) in story.events.iter().enumerate() {
        if position > 0 {
            replay.apply(event).unwrap();
        }
        match event {
            RunEvent::AttemptStarted { attempt, .. } => {
                let stage = workflow.stage(&attempt.stage).unwrap();
                let earlier = workflow.stages().iter().filter(|other| other.section < stage.section);
                let needs = stage.needs.iter().chain(earlier.map(|stage| &stage.name));
                for need in needs {
                    assert!(!open.contains(need), "{} began before {need} had ended", attempt.stage);
                }
                let key = (attempt.stage.clone(), attempt.instance);
                let number = attempts.entry(key.clone()).or_default();
                *number += 1;
                assert_eq!(attempt.attempt, *number, "attempts of {} are counted", attempt.stage);
                assert!(*number <= stage.retry.attempts.get(), "{} is tried too often", attempt.stage);
                assert_eq!(running.insert(key, attempt.attempt), None, "{} runs twice", attempt.stage);
                let now = running.keys().filter(|(name, _)| *name == attempt.stage).count();
                assert!(now <= stage.max_parallel.unwrap_or(DEFAULT_PARALLEL).get() as usize);
            }
            RunEvent::AttemptEnded { attempt, then, .. } => {
                let key = (attempt.stage.clone(), attempt.instance);
                assert_eq!(
                    running.remove(&key),
                    Some(attempt.attempt),
                    "{} ended and did not run",
                    attempt.stage
                );
                assert!(*then != Then::Allow || workflow.stage(&attempt.stage).unwrap().allow_failure);
            }
            RunEvent::StageSkipped { stage, .. } => {
                assert!(!running.keys().any(|(name, _)| name == stage), "{stage} is skipped and runs");
            }
            RunEvent::Finished { .. } => {
                assert_eq!(position, story.events.len() - 1, "nothing comes after the end")
            }
            RunEvent::Created { .. } => assert_eq!(position, 0),
            RunEvent::Admitted { .. }
            | RunEvent::CacheBypassed
            | RunEvent::CacheConsulted { .. }
            | RunEvent::StageReused { .. }
            | RunEvent::InstancesReused { .. }
            | RunEvent::StageExpanded { .. }
            | RunEvent::ApprovalRequested { .. }
            | RunEvent::ApprovalAnswered { .. }
            | RunEvent::ApprovalEnded { .. }
            | RunEvent::CancelRequested { .. }
            | RunEvent::TimedOut
            | RunEvent::Interrupted => {}
        }
        open.retain(|name| !replay.status(workflow.position(name).unwrap()).is_final());
    }
    assert!(running.is_empty() && open.is_empty(), "{open:?} have not ended");
    assert!(matches!(story.events.last(), Some(RunEvent::Finished { .. })), "every run ends");
    assert_eq!(story.run.next_timer(), None, "nothing is waited for after the end");
    let failed = |section: Section| {
        let stages = workflow.stages().iter().enumerate().filter(|(_, stage)| stage.section == section);
        stages.filter(|(position, _)| matches!(story.run.status(*position), StageStatus::Failed(_))).count()
    };
    if failed(Section::Main) + failed(Section::Finally) > 0 {
        assert_ne!(story.run.outcome(), Some(yuanli_model::Outcome::Succeeded));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn every_run_ends_and_breaks_no_rule(workflow in workflows(), moments in moments()) {
        let story = play(Arc::clone(&workflow), &moments);
        check(&workflow, &story);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_replay_of_any_prefix_gives_the_state_of_that_moment(workflow in workflows(), moments in moments()) {
        let story = play(Arc::clone(&workflow), &moments);
        // The live states, event by event, are what a run went through.
        let mut live = Run::new(RUN, Arc::clone(&workflow), &story.events[0]).unwrap();
        for end in 1..=story.events.len() {
            let mut replayed = Run::new(RUN, Arc::clone(&workflow), &story.events[0]).unwrap();
            story.events[1..end].iter().for_each(|event| replayed.apply(event).unwrap());
            prop_assert!(replayed == live);
            if let Some(event) = story.events.get(end) {
                live.apply(event).unwrap();
            }
        }
        prop_assert!(live == story.run);
    }
}
