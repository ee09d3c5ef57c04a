//! The events of a run: whole, legal from the first to the last, and what everybody was told.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use yuanli_executor::{Executor, Recorded, Summary};
use yuanli_flow::{Command, Run, step};
use yuanli_model::run::CacheFinding;
use yuanli_model::{AttemptId, RunEvent};

use super::attempt::Ended;
use crate::plan::Plan;
use crate::world::World;

/// Gives the attempts of the run.
pub(super) async fn check(
    world: &World,
    plan: &Plan,
    executor: &Executor,
    summary: &Summary,
) -> Option<Vec<Ended>> {
    let run = summary.id;
    let events = match executor.history().events(run, 0).await {
        Ok(events) => events,
        Err(error) => {
            world.accuse(format!("the events of run {run} cannot be read: {error}"));
            return None;
        }
    };
    if summary.ended.is_none() {
        world.accuse(format!("run {run} has not ended"));
    }
    check_told(world, &events, summary);
    if let Err(why) = replay(plan, summary, &events) {
        world.accuse(format!("run {run}: {why}"));
    }
    Some(attempts(world, &events))
}

/// What was told or answered is there.
fn check_told(world: &World, events: &[Recorded], summary: &Summary) {
    let (told, cancels) = {
        let ledger = world.ledger();
        let cancels = ledger.cancelled.iter().filter(|(run, _)| *run == summary.id).count();
        (ledger.told.get(&summary.id).cloned().unwrap_or_default(), cancels)
    };
    for (number, told) in told {
        if events.get(number as usize) != Some(&told) {
            world.accuse(format!("event {number} of run {} was told, and is another one now", summary.id));
        }
    }
    let asked = events.iter().filter(|found| matches!(found.event, RunEvent::CancelRequested { .. })).count();
    // One that comes after another need not be an event of its own.
    if cancels > 0 && asked == 0 {
        world.accuse(format!("that run {} is to end was answered and is lost", summary.id));
    }
}

/// Each prefix is a run, and where a commit has ended nothing was left to decide.
fn replay(plan: &Plan, summary: &Summary, events: &[Recorded]) -> Result<(), String> {
    let (first, rest) = events.split_first().ok_or("it has no events")?;
    let definition = plan.definition(&summary.version).ok_or("its workflow is not known")?;
    let workflow = Arc::clone(&definition.workflow);
    let mut run = Run::new(summary.id, workflow, &first.event).map_err(|error| error.to_string())?;
    for (number, recorded) in (1..).zip(rest) {
        if recorded.number != number {
            return Err(format!("after event {} comes {}", number - 1, recorded.number));
        }
        run.apply(&recorded.event).map_err(|error| format!("event {number} is illegal: {error}"))?;
        let next = rest.get(number as usize);
        if next.is_none_or(|next| next.at != recorded.at) {
            let decided = step(&mut run.clone(), Command::Advance, recorded.at);
            let decided = decided.map_err(|error| format!("after event {number}: {error}"))?;
            if !decided.is_empty() {
                return Err(format!("after event {number} {decided:?} was not decided"));
            }
        }
    }
    match (run.outcome(), summary.ended) {
        (Some(outcome), Some((_, told))) if outcome == told => Ok(()),
        (outcome, told) => Err(format!("it has ended as {outcome:?}, and is listed as {told:?}")),
    }
}

fn attempts(world: &World, events: &[Recorded]) -> Vec<Ended> {
    let mut open: BTreeMap<String, (AttemptId, Value)> = BTreeMap::new();
    let mut hits = BTreeMap::new();
    let mut ended = Vec::new();
    for recorded in events {
        match &recorded.event {
            RunEvent::AttemptStarted { attempt, config } => {
                let instance = format!("{}.{}", attempt.stage, attempt.instance);
                if let Some((other, _)) = open.insert(instance, (attempt.clone(), config.clone())) {
                    world.accuse(format!("{attempt} was begun before {other} had ended"));
                }
            }
            RunEvent::AttemptEnded { attempt, outcome, .. } => {
                let begun = open.remove(&format!("{}.{}", attempt.stage, attempt.instance));
                let config = begun.map(|(_, config)| config).unwrap_or_default();
                let hit = hits.remove(attempt);
                ended.push(Ended { attempt: attempt.clone(), outcome: outcome.clone(), config, hit });
            }
            RunEvent::CacheConsulted { attempt, finding: CacheFinding::Hit { from } } => {
                hits.insert(attempt.clone(), *from);
            }
            _ => {}
        }
    }
    for (attempt, _) in open.values() {
        world.accuse(format!("{attempt} has no end"));
    }
    ended
}
