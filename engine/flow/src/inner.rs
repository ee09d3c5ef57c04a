//! What the end of a run is for the stage of another run that started it.

use serde_json::{Map, Value};
use yuanli_model::{AttemptOutcome, Failure, Outcome, RunEvent};

use crate::run::Run;
use crate::stage::StageStatus;

/// How the attempt ends that started a run which has ended; `finished` is the run's last event.
#[must_use]
pub fn outcome_for_stage(run: &Run, finished: &RunEvent) -> AttemptOutcome {
    let (outputs, of_outputs) = match finished {
        RunEvent::Finished { outputs, failure, .. } => (outputs.clone(), failure.clone()),
        _ => (None, None),
    };
    match run.outcome() {
        Some(Outcome::Succeeded) => {
            let outputs = outputs.unwrap_or_else(|| Value::Object(Map::new()));
            AttemptOutcome::Succeeded { outputs, workspace: None }
        }
        Some(Outcome::Cancelled) => {
            let message = format!("run {} of workflow `{}` was cancelled", run.id(), run.workflow().name());
            AttemptOutcome::Failed(Failure::permanent("run-cancelled", message))
        }
        Some(Outcome::Failed) | None => AttemptOutcome::Failed(failure(run, of_outputs)),
    }
}

/// The failure of a run: that of the first of its stages, of class and kind, so that `retry` means the same.
fn failure(run: &Run, of_outputs: Option<Failure>) -> Failure {
    let stages = run.workflow().stages().iter().enumerate();
    let mut failed = stages.filter_map(|(position, stage)| match run.status(position) {
        StageStatus::Failed(failure) => Some((format!(", stage `{}`", stage.name), failure.clone())),
        _ => None,
    });
    let (place, failure) = failed.next().unwrap_or_else(|| {
        let timed_out = || Failure::transient("timeout", "its time is over");
        (String::new(), of_outputs.unwrap_or_else(timed_out))
    });
    let message =
        format!("run {} of workflow `{}`{place}: {}", run.id(), run.workflow().name(), failure.message);
    Failure { message, ..failure }
}
