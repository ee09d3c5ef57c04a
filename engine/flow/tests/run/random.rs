//! Random workflows, random ends in random order, cancels and interrupts at random moments.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use indexmap::IndexMap;
use proptest::prelude::*;
use serde_json::json;
use yuanli_flow::{Command, Run};
use yuanli_model::{AttemptOutcome, PluginReference, RunEvent, Stage, StageName, Template, Workflow};

use crate::support::{RUN, Story, failed, succeeded};

const STAGES: usize = 16;

/// A choice for each moment: which of the running attempts ends, and how; or something else happens.
#[derive(Debug, Clone, Copy)]
enum Moment {
    End { pick: usize, is_success: bool },
    Cancel,
    Interrupt,
}

fn name(position: usize) -> StageName {
    format!("s{position}").parse().unwrap()
}

fn workflows() -> impl Strategy<Value = Arc<Workflow>> {
    let edges = proptest::collection::vec((0..STAGES, 0..STAGES), 0..40);
    (1..=STAGES, edges).prop_map(|(count, edges)| {
        let needs = |stage: usize| -> Vec<StageName> {
            let to = edges.iter().filter(|(a, b)| *a == stage && b < a).map(|(_, b)| *b);
            to.collect::<BTreeSet<_>>().into_iter().map(name).collect()
        };
        let stage = |position: usize| Stage {
            name: name(position),
            uses: PluginReference::Named("p".to_owned()),
            with: Template::Map(IndexMap::new()),
            needs: needs(position),
            grants: Vec::new(),
            timeout: None,
        };
        let stages = (0..count).map(stage).collect();
        Arc::new(Workflow::new("w".parse().unwrap(), None, IndexMap::new(), stages).unwrap())
    })
}

fn moments() -> impl Strategy<Value = Vec<Moment>> {
    let moment = prop_oneof![
        30 => (any::<usize>(), prop::bool::weighted(0.8)).prop_map(|(pick, is_success)| Moment::End { pick, is_success }),
        1 => Just(Moment::Cancel),
        1 => Just(Moment::Interrupt),
    ];
    proptest::collection::vec(moment, 0..3 * STAGES)
}

/// Plays the moments, then ends whatever still runs, one after the other.
fn play(workflow: Arc<Workflow>, moments: &[Moment]) -> Story {
    let (mut story, _) = Story::begin(workflow);
    let rest = std::iter::repeat(Moment::End { pick: 0, is_success: true });
    for moment in moments.iter().copied().chain(rest) {
        if story.run.outcome().is_some() {
            break;
        }
        let running: Vec<_> = story.run.running().collect();
        assert!(!running.is_empty(), "a run that is not over has something that runs");
        let command = match moment {
            Moment::Cancel => Command::Cancel { reason: "random".to_owned() },
            Moment::Interrupt => Command::Interrupt,
            Moment::End { pick, is_success } => {
                let attempt = running[pick % running.len()].clone();
                let outcome = match is_success {
                    true => succeeded(json!({})),
                    false if story.run.is_cancelling() => AttemptOutcome::Cancelled,
                    false => failed(),
                };
                Command::EndAttempt { attempt, outcome }
            }
        };
        story.step(command).unwrap();
    }
    story
}

/// Checks what must hold of any history.
fn check(workflow: &Workflow, events: &[RunEvent]) {
    let mut running: BTreeSet<StageName> = BTreeSet::new();
    let mut ended: BTreeMap<StageName, bool> = BTreeMap::new();
    for (position, event) in events.iter().enumerate() {
        match event {
            RunEvent::AttemptStarted { attempt, .. } => {
                let needs = &workflow.stage(&attempt.stage).unwrap().needs;
                assert!(
                    needs.iter().all(|need| ended.get(need) == Some(&true)),
                    "{} began too early",
                    attempt.stage
                );
                assert!(running.insert(attempt.stage.clone()), "{} runs twice", attempt.stage);
            }
            RunEvent::AttemptEnded { attempt, outcome } => {
                assert!(running.remove(&attempt.stage), "{} ended and did not run", attempt.stage);
                let has_succeeded = matches!(outcome, AttemptOutcome::Succeeded { .. });
                assert_eq!(
                    ended.insert(attempt.stage.clone(), has_succeeded),
                    None,
                    "{} ended twice",
                    attempt.stage
                );
            }
            RunEvent::StageSkipped { stage, .. } => {
                assert!(!running.contains(stage));
                assert_eq!(ended.insert(stage.clone(), false), None, "{stage} ended twice");
            }
            RunEvent::Created { .. } => assert_eq!(position, 0),
            RunEvent::CancelRequested { .. } => {}
            RunEvent::Finished { .. } => {
                assert_eq!(position, events.len() - 1, "nothing comes after the end")
            }
        }
    }
    assert!(running.is_empty());
    assert_eq!(ended.len(), workflow.stages().len(), "every stage ended once");
    assert!(matches!(events.last(), Some(RunEvent::Finished { .. })), "every run ends");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn every_run_ends_and_breaks_no_rule(workflow in workflows(), moments in moments()) {
        let story = play(Arc::clone(&workflow), &moments);
        check(&workflow, &story.events);
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
