//! What runs take over: exactly what `flow` says of the other one, and of a cached stage what the other attempt gave.

use std::collections::BTreeSet;

use serde_json::Value;
use yuanli_executor::{Executor, Recorded, RunArtifact, Summary};
use yuanli_flow::{Wanted, reuse};
use yuanli_model::run::{Again, CacheFinding, Provenance, StageResult};
use yuanli_model::{AttemptId, AttemptOutcome, Digest, RunEvent, RunId, StageName};

use super::attempt::Ended;
use crate::plan::{INPUT, Plan, gives_input};
use crate::world::World;

/// Says whether the run takes over from another one.
pub(super) async fn check_run(world: &World, plan: &Plan, executor: &Executor, summary: &Summary) -> bool {
    let Ok(events) = executor.history().events(summary.id, 0).await else { return false };
    let Some(RunEvent::Created { provenance, inputs, .. }) = events.first().map(|first| &first.event) else {
        return false;
    };
    let Provenance { again, .. } = &**provenance;
    check_asked(world, summary.id, again.as_ref());
    check_bypass(world, summary.id, &events);
    let number = inputs.iter().find(|(name, _)| name.as_str() == INPUT).map(|(_, number)| number);
    if let Some(number) = number {
        check_input(world, plan, summary, &events, number);
    }
    check_kept(world, summary.id, &events);
    let Some(again) = again else {
        if events.iter().any(|found| taken(&found.event)) {
            world.accuse(format!("run {} takes over from others and was not asked to", summary.id));
        }
        return false;
    };
    if let Err(why) = check_taken(plan, executor, summary, &events, again).await {
        world.accuse(format!("run {} of {}: {why}", summary.id, again.run));
    }
    true
}

/// What was answered about it is so.
fn check_asked(world: &World, run: RunId, again: Option<&Again>) {
    let Some((old, from)) = world.ledger().retried.get(&run).cloned() else { return };
    if again.is_none_or(|again| again.run != old || again.from != from) {
        world.accuse(format!("run {run} was to take over from {old} and has {again:?}"));
    }
}

/// Nothing stands for stages of a run that was told so.
fn check_bypass(world: &World, run: RunId, events: &[Recorded]) {
    let is_bypassed = events.iter().any(|found| matches!(found.event, RunEvent::CacheBypassed));
    let is_hit = |found: &Recorded| {
        matches!(found.event, RunEvent::CacheConsulted { finding: CacheFinding::Hit { .. }, .. })
    };
    if is_bypassed && events.iter().any(is_hit) {
        world.accuse(format!("something stands for stages of run {run}, which was to do all itself"));
    }
}

fn taken(event: &RunEvent) -> bool {
    matches!(event, RunEvent::StageReused { .. } | RunEvent::InstancesReused { .. })
}

async fn check_taken(
    plan: &Plan,
    executor: &Executor,
    summary: &Summary,
    events: &[Recorded],
    again: &Again,
) -> Result<(), String> {
    let definition = plan.definition(&summary.version).ok_or("its workflow is not known")?;
    let old = executor.history().run(again.run).await.map_err(|error| error.to_string())?;
    let (old, _) = old.ok_or("the other run is not there")?;
    let wanted = Wanted { from: &again.from, changed: &again.changed };
    let meant = reuse(&old, &definition.workflow, wanted).map_err(|error| error.to_string())?;
    let found: Vec<&RunEvent> =
        events.iter().map(|found| &found.event).filter(|event| taken(event)).collect();
    if found != meant.iter().collect::<Vec<_>>() {
        return Err(format!("it takes over {found:?}, and was to take over {meant:?}"));
    }
    check_artifacts(executor, summary.id, again.run, &found).await?;
    for event in found {
        let RunEvent::StageReused { stage, .. } = event else { continue };
        let runs = |found: &Recorded| matches!(&found.event, RunEvent::AttemptStarted { attempt, .. } if attempt.stage == *stage);
        if events.iter().any(runs) {
            return Err(format!("stage `{stage}` is taken over and runs"));
        }
        if again.from.iter().any(|point| point.stage == *stage) {
            return Err(format!("stage `{stage}` is taken over and was to run again"));
        }
    }
    Ok(())
}

/// The artifacts of what it takes over are its own as well, those of the last attempts, and no others of these stages.
async fn check_artifacts(
    executor: &Executor,
    run: RunId,
    old: RunId,
    taken: &[&RunEvent],
) -> Result<(), String> {
    let is_taken = |found: &RunArtifact| {
        taken.iter().any(|event| match event {
            RunEvent::StageReused { stage, .. } => *stage == found.stage,
            RunEvent::InstancesReused { stage, instances, .. } => {
                *stage == found.stage && instances.iter().any(|reused| reused.instance == found.instance)
            }
            _ => false,
        })
    };
    let of_run = async |run: RunId| {
        let mut artifacts = executor.records().artifacts_of(run).await.map_err(|error| error.to_string())?;
        artifacts.retain(is_taken);
        Ok::<_, String>(artifacts)
    };
    let (mut theirs, ours) = (of_run(old).await?, of_run(run).await?);
    let events = executor.history().events(old, 0).await.map_err(|error| error.to_string())?;
    let is_later = |event: &RunEvent, found: &RunArtifact| {
        matches!(event, RunEvent::AttemptStarted { attempt, .. }
            if attempt.stage == found.stage && attempt.instance == found.instance && attempt.attempt > found.attempt)
    };
    theirs.retain(|found| !events.iter().any(|event| is_later(&event.event, found)));
    let named = |found: &RunArtifact| {
        let parts: Vec<Digest> = found.content.parts.iter().map(|part| part.digest).collect();
        (found.stage.clone(), found.instance, found.attempt, found.content.name.clone(), parts)
    };
    let (theirs, ours): (BTreeSet<_>, BTreeSet<_>) =
        (theirs.iter().map(named).collect(), ours.iter().map(named).collect());
    match theirs == ours {
        true => Ok(()),
        false => Err(format!("what it takes over has the artifacts {ours:?}, and had {theirs:?}")),
    }
}

/// Whatever gives the input gives that of this run.
fn check_input(world: &World, plan: &Plan, summary: &Summary, events: &[Recorded], number: &Value) {
    let Some(definition) = plan.definition(&summary.version) else { return };
    let gives = |stage: &StageName| definition.workflow.stage(stage).is_some_and(gives_input);
    for found in events {
        let (stage, outputs) = match &found.event {
            RunEvent::AttemptEnded {
                attempt, outcome: AttemptOutcome::Succeeded { outputs, .. }, ..
            } => (&attempt.stage, outputs),
            RunEvent::StageReused { stage, result: StageResult::Succeeded { outputs }, .. } => {
                (stage, outputs)
            }
            _ => continue,
        };
        if gives(stage) && outputs["item"] != *number {
            world.accuse(format!("stage `{stage}` of run {} gave {outputs} for {number}", summary.id));
        }
    }
}

/// What its attempts have left, and those of others that it has taken over, is kept for it.
fn check_kept(world: &World, run: RunId, events: &[Recorded]) {
    for found in events {
        let left = match &found.event {
            RunEvent::AttemptEnded { outcome: AttemptOutcome::Succeeded { workspace, .. }, .. } => {
                workspace.iter().copied().collect()
            }
            RunEvent::StageReused { workspaces, .. } => workspaces.clone(),
            RunEvent::InstancesReused { instances, .. } => {
                instances.iter().filter_map(|instance| instance.workspace).collect()
            }
            _ => Vec::new(),
        };
        if let Some(gone) = left.into_iter().find(|left| !world.workspaces.has(run, *left)) {
            world.accuse(format!(
                "{gone} is not kept for run {run}, which names it in event {}",
                found.number
            ));
        }
    }
}

/// The attempt that stood for another one had the same config, succeeded, and gave the same.
pub(super) async fn check_hit(world: &World, executor: &Executor, ended: &Ended, from: RunId) {
    let events = executor.history().events(from, 0).await.unwrap_or_default();
    let same = |attempt: &AttemptId| attempt.stage == ended.attempt.stage;
    let stood = events.iter().find_map(|found| match &found.event {
        RunEvent::AttemptEnded { attempt, outcome, .. } if same(attempt) => {
            (gave(outcome) == gave(&ended.outcome)).then_some(attempt)
        }
        _ => None,
    });
    let is_same = |found: &Recorded| matches!(&found.event, RunEvent::AttemptStarted { attempt, config } if Some(attempt) == stood && *config == ended.config);
    if gave(&ended.outcome).is_none() || !events.iter().any(is_same) {
        world.accuse(format!("nothing in run {from} is the same as {}, and stood for it", ended.attempt));
    }
    let artifacts = async |attempt: &AttemptId| {
        let of_run = executor.records().artifacts_of(attempt.run).await.unwrap_or_default();
        let own = of_run.into_iter().filter(|found| {
            (&found.stage, found.instance, found.attempt)
                == (&attempt.stage, attempt.instance, attempt.attempt)
        });
        let content = own
            .map(|found| (found.content.name, found.content.parts.iter().map(|part| part.digest).collect()));
        content.collect::<Vec<(String, Vec<Digest>)>>()
    };
    if let Some(stood) = stood {
        let (theirs, ours) = (artifacts(stood).await, artifacts(&ended.attempt).await);
        if theirs != ours {
            world.accuse(format!("{stood} put {theirs:?}, and {} has {ours:?}", ended.attempt));
        }
    }
}

fn gave(outcome: &AttemptOutcome) -> Option<&Value> {
    match outcome {
        AttemptOutcome::Succeeded { outputs, .. } => Some(outputs),
        _ => None,
    }
}
