//! Which events follow from a command.

use serde_json::Value;
use yuanli_model::{AttemptId, AttemptOutcome, Failure, FailureClass, RunEvent};

use crate::command::Command;
use crate::run::{Illegal, Run};
use crate::stage::StageStatus;

/// The events that follow from a command. Nothing is changed; no events means that there is nothing to do.
///
/// # Errors
/// [`Illegal`] when the command does not fit the state.
pub fn decide(run: &Run, command: Command) -> Result<Vec<RunEvent>, Illegal> {
    if run.outcome().is_some() {
        return match command {
            Command::Advance => Ok(Vec::new()),
            Command::EndAttempt { .. } | Command::Cancel { .. } | Command::Interrupt => Err(Illegal::Over),
        };
    }
    Ok(match command {
        Command::Advance => advance(run),
        Command::EndAttempt { attempt, outcome } => vec![end_attempt(run, attempt, outcome)?],
        // A second cancel changes nothing.
        Command::Cancel { .. } if run.is_cancelling() => Vec::new(),
        Command::Cancel { reason } => vec![RunEvent::CancelRequested { reason }],
        Command::Interrupt => interrupt(run),
    })
}

/// Decides on every stage of the frontier; ends the run when nothing is left.
fn advance(run: &Run) -> Vec<RunEvent> {
    if let Some(outcome) = run.verdict() {
        return vec![RunEvent::Finished { outcome }];
    }
    run.frontier().flat_map(|position| begin_stage(run, position)).collect()
}

fn begin_stage(run: &Run, position: usize) -> Vec<RunEvent> {
    let stage = &run.workflow().stages()[position];
    if let Some(reason) = run.skip_reason(position) {
        return vec![RunEvent::StageSkipped { stage: stage.name.clone(), reason }];
    }
    let attempt = run.attempt_id(position, 1);
    match yuanli_expr::render(&stage.with, &run.scope()) {
        Ok(config) => vec![RunEvent::AttemptStarted { attempt, config }],
        // The attempt begins and ends at once, so that its failure is found where all failures are. There is no
        // effect: an attempt that has ended is not started.
        Err(error) => {
            let failure = Failure::permanent("expression", error.to_string());
            let started = RunEvent::AttemptStarted { attempt: attempt.clone(), config: Value::Null };
            vec![started, RunEvent::AttemptEnded { attempt, outcome: AttemptOutcome::Failed(failure) }]
        }
    }
}

fn end_attempt(run: &Run, attempt: AttemptId, outcome: AttemptOutcome) -> Result<RunEvent, Illegal> {
    let position = run.workflow().position(&attempt.stage);
    let status = run.status(position.ok_or_else(|| Illegal::UnknownStage(attempt.stage.clone()))?);
    if *status == (StageStatus::Running { attempt: attempt.attempt }) {
        Ok(RunEvent::AttemptEnded { attempt, outcome })
    } else {
        let status = status.name();
        Err(Illegal::Stage { stage: attempt.stage, status, event: "the end of this attempt" })
    }
}

/// Every attempt that ran is lost: whether its effects happened cannot be known.
fn interrupt(run: &Run) -> Vec<RunEvent> {
    let failure = || {
        Failure::new(
            FailureClass::Interrupted,
            "engine-stopped",
            "the engine was stopped while this stage ran; run the workflow again",
        )
    };
    run.running()
        .map(|attempt| RunEvent::AttemptEnded { attempt, outcome: AttemptOutcome::Failed(failure()) })
        .collect()
}
