//! What has to be done in the outside world, as data.

use serde_json::Value;
use yuanli_model::stage::WorkflowReference;
use yuanli_model::{AttemptId, Outcome, RunEvent, Work, Workflow};

/// Something to do once the event that it follows from is durable.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Run this attempt and report its end.
    StartAttempt {
        /// Which one.
        attempt: AttemptId,
        /// The plugin's config.
        config: Value,
    },
    /// Run a workflow for this attempt and report its end.
    StartRun {
        /// For which one.
        attempt: AttemptId,
        /// The workflow.
        workflow: WorkflowReference,
        /// Its inputs: a map.
        inputs: Value,
    },
    /// Stop every attempt that runs; each reports its end.
    StopAttempts,
    /// The run is over: give back what was kept for it.
    Release {
        /// How it ended.
        outcome: Outcome,
    },
}

/// The effects of *new* events. Events that were read from a store have had theirs.
///
/// An attempt whose end follows at once (its config could not be evaluated) is not started.
#[must_use]
pub fn effects(workflow: &Workflow, events: &[RunEvent]) -> Vec<Effect> {
    let ends_at_once = |index: usize, started: &AttemptId| match events.get(index + 1) {
        Some(RunEvent::AttemptEnded { attempt, .. }) => attempt == started,
        _ => false,
    };
    let effect = |(index, event): (usize, &RunEvent)| match event {
        RunEvent::AttemptStarted { attempt, .. } if ends_at_once(index, attempt) => None,
        RunEvent::AttemptStarted { attempt, config } => Some(start(workflow, attempt, config)),
        RunEvent::CancelRequested { .. } | RunEvent::TimedOut => Some(Effect::StopAttempts),
        RunEvent::Finished { outcome, .. } => Some(Effect::Release { outcome: *outcome }),
        RunEvent::Created { .. }
        | RunEvent::Admitted { .. }
        | RunEvent::StageReused { .. }
        | RunEvent::InstancesReused { .. }
        | RunEvent::StageExpanded { .. }
        | RunEvent::ApprovalRequested { .. }
        | RunEvent::ApprovalAnswered { .. }
        | RunEvent::ApprovalEnded { .. }
        | RunEvent::AttemptEnded { .. }
        | RunEvent::CacheBypassed
        | RunEvent::CacheConsulted { .. }
        | RunEvent::StageSkipped { .. }
        | RunEvent::Interrupted => None,
    };
    events.iter().enumerate().filter_map(effect).collect()
}

fn start(workflow: &Workflow, attempt: &AttemptId, config: &Value) -> Effect {
    let (attempt, config) = (attempt.clone(), config.clone());
    match workflow.stage(&attempt.stage).map(|stage| &stage.work) {
        Some(Work::Workflow { uses, .. }) => {
            Effect::StartRun { attempt, workflow: uses.clone(), inputs: config }
        }
        Some(Work::Plugin { .. } | Work::Gate) | None => Effect::StartAttempt { attempt, config },
    }
}
