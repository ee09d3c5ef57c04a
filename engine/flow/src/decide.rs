//! Which events follow from a command.

use serde_json::Value;
use yuanli_model::run::{Answer, Then, Verdict};
use yuanli_model::stage::{Approval, Expiry};
use yuanli_model::{
    AttemptId, AttemptOutcome, Failure, FailureClass, Outcome, RunEvent, Section, SkipReason, Stage,
    Timestamp, input,
};

use crate::chance::chance;
use crate::command::Command;
use crate::expand::expand;
use crate::instance::DEFAULT_PARALLEL;
use crate::run::{Illegal, Run, Timer};
use crate::scope::{self, Place};
use crate::stage::{InstanceStatus, StageStatus};

/// The events that follow from a command that is given now. Nothing is changed; no events means that there is nothing
/// to do.
///
/// # Errors
/// [`Illegal`] when the command does not fit the state.
pub fn decide(run: &Run, command: Command, now: Timestamp) -> Result<Vec<RunEvent>, Illegal> {
    if run.outcome().is_some() {
        return match command {
            Command::Advance | Command::Wake => Ok(Vec::new()),
            Command::Admit
            | Command::EndAttempt { .. }
            | Command::NoteCache { .. }
            | Command::Answer { .. }
            | Command::Cancel { .. }
            | Command::Interrupt => Err(Illegal::Over),
        };
    }
    Ok(match command {
        Command::Advance => advance(run, now),
        Command::Admit if !run.is_queued() => return Err(Illegal::Created),
        Command::Admit => vec![admit(run, now)],
        Command::EndAttempt { attempt, outcome } => vec![end_attempt(run, attempt, outcome, now)?],
        Command::NoteCache { attempt, finding } => {
            check_running(run, &attempt)?;
            vec![RunEvent::CacheConsulted { attempt, finding }]
        }
        Command::Answer { stage, answer } => {
            let position = run.workflow().position(&stage).ok_or(Illegal::UnknownStage(stage))?;
            answered(run, position, answer)?
        }
        Command::Wake => wake(run, now),
        Command::Cancel { reason } => cancel(run, reason),
        Command::Interrupt => interrupt(run),
    })
}

/// Decides on every stage of the frontier; ends the run when nothing is left.
fn advance(run: &Run, now: Timestamp) -> Vec<RunEvent> {
    if let Some(outcome) = run.verdict() {
        return vec![finish(run, outcome)];
    }
    // A run that is to end does not wait for its turn to do so.
    if run.is_queued() && !run.is_stopping() {
        return Vec::new();
    }
    run.frontier().flat_map(|position| begin_stage(run, position, now)).collect()
}

fn admit(run: &Run, now: Timestamp) -> RunEvent {
    RunEvent::Admitted { deadline: run.workflow().settings().timeout.map(|timeout| now.after(timeout)) }
}

fn finish(run: &Run, outcome: Outcome) -> RunEvent {
    let outputs = &run.workflow().settings().outputs;
    if outcome != Outcome::Succeeded || outputs.is_empty() {
        return RunEvent::Finished { outcome, outputs: None, failure: None };
    }
    let (outputs, failure) = match scope::render_map(run, Place::End, outputs) {
        Ok(outputs) => (Some(outputs), None),
        Err(error) => {
            (None, Some(Failure::permanent("expression", format!("the outputs of the workflow: {error}"))))
        }
    };
    let outcome = if failure.is_some() { Outcome::Failed } else { outcome };
    RunEvent::Finished { outcome, outputs, failure }
}

fn begin_stage(run: &Run, position: usize, now: Timestamp) -> Vec<RunEvent> {
    let stage = &run.workflow().stages()[position];
    if let Some(reason) = run.stopped(position) {
        return vec![RunEvent::StageSkipped { stage: stage.name.clone(), reason }];
    }
    let state = run.state(position);
    if *run.status(position) == StageStatus::Running {
        let instances = state.instances.next();
        return instances.flat_map(|instance| begin_attempt(run, position, instance, 1)).collect();
    }
    if state.approval.is_given {
        return begin_work(run, position);
    }
    match is_wanted(run, position) {
        Ok(None) => {}
        Ok(Some(reason)) => return vec![RunEvent::StageSkipped { stage: stage.name.clone(), reason }],
        Err(failure) => return fail_at_once(run, position, failure),
    }
    match &stage.approval {
        Some(approval) => ask(run, position, approval, now),
        None => begin_work(run, position),
    }
}

/// Why a stage is skipped, if it is.
fn is_wanted(run: &Run, position: usize) -> Result<Option<SkipReason>, Failure> {
    let stage = &run.workflow().stages()[position];
    let unmet = run.state(position).unmet().cloned().map(SkipReason::NeedNotMet);
    let Some(condition) = &stage.condition else { return Ok(unmet) };
    // An expression that cannot be read is found out below.
    let is_about_needs =
        yuanli_expr::parse(condition.source()).is_ok_and(|program| program.asks_for_status());
    if unmet.is_some() && !is_about_needs {
        return Ok(unmet);
    }
    let place = Place::Stage { position, instance: None };
    let failure = |message: String| Failure::permanent("expression", format!("the condition: {message}"));
    match scope::evaluate(run, place, condition) {
        Ok(Value::Bool(true)) => Ok(None),
        Ok(Value::Bool(false)) => {
            let expression = condition.source().to_owned();
            Ok(Some(SkipReason::Condition { expression, values: scope::seen(run, place, condition) }))
        }
        Ok(other) => Err(failure(format!("`{}` is {other}, not true or false", condition.source()))),
        Err(error) => Err(failure(error.to_string())),
    }
}

fn ask(run: &Run, position: usize, approval: &Approval, now: Timestamp) -> Vec<RunEvent> {
    let place = Place::Stage { position, instance: None };
    let message = approval.message.as_ref().map(|message| scope::render(run, place, message)).transpose();
    match message {
        Ok(message) => vec![RunEvent::ApprovalRequested {
            stage: run.workflow().stages()[position].name.clone(),
            message: message.map(|message| match message {
                Value::String(text) => text,
                other => other.to_string(),
            }),
            deadline: approval.deadline.map(|deadline| now.after(deadline)),
        }],
        Err(error) => fail_at_once(run, position, Failure::permanent("expression", error.to_string())),
    }
}

fn begin_work(run: &Run, position: usize) -> Vec<RunEvent> {
    let stage = &run.workflow().stages()[position];
    let Some(fan_out) = &stage.fan_out else { return begin_attempt(run, position, 0, 1) };
    match expand(run, position, fan_out) {
        Ok(instances) => {
            let parallel = stage.max_parallel.unwrap_or(DEFAULT_PARALLEL);
            let reused = run.state(position).reusable.iter().filter_map(|kept| {
                (instances.get(kept.instance as usize) == Some(&kept.item)).then_some(kept.instance)
            });
            let reused = reused.collect();
            vec![RunEvent::StageExpanded { stage: stage.name.clone(), instances, parallel, reused }]
        }
        Err(failure) => fail_at_once(run, position, failure),
    }
}

fn begin_attempt(run: &Run, position: usize, instance: u32, number: u32) -> Vec<RunEvent> {
    let stage = &run.workflow().stages()[position];
    let attempt = run.attempt_id(position, instance, number);
    let place = Place::Stage { position, instance: Some(instance) };
    match stage.config().map(|config| scope::render(run, place, config)).transpose() {
        Ok(config) => vec![RunEvent::AttemptStarted { attempt, config: config.unwrap_or(Value::Null) }],
        Err(error) => fail(stage, attempt, Failure::permanent("expression", error.to_string())),
    }
}

/// The stage fails before anything of it has begun.
fn fail_at_once(run: &Run, position: usize, failure: Failure) -> Vec<RunEvent> {
    fail(&run.workflow().stages()[position], run.attempt_id(position, 0, 1), failure)
}

/// The attempt begins and ends at once, so that its failure is found where all failures are. There is no effect: an
/// attempt that has ended is not started.
fn fail(stage: &Stage, attempt: AttemptId, failure: Failure) -> Vec<RunEvent> {
    let then = if stage.allow_failure { Then::Allow } else { Then::End };
    let started = RunEvent::AttemptStarted { attempt: attempt.clone(), config: Value::Null };
    vec![started, RunEvent::AttemptEnded { attempt, outcome: AttemptOutcome::Failed(failure), then }]
}

fn end_attempt(
    run: &Run,
    attempt: AttemptId,
    outcome: AttemptOutcome,
    now: Timestamp,
) -> Result<RunEvent, Illegal> {
    let position = check_running(run, &attempt)?;
    let then = match &outcome {
        AttemptOutcome::Failed(failure) => after_failure(run, position, &attempt, failure, now),
        AttemptOutcome::Succeeded { .. } | AttemptOutcome::Cancelled => Then::End,
    };
    Ok(RunEvent::AttemptEnded { attempt, outcome, then })
}

/// The position of the stage of an attempt that runs.
fn check_running(run: &Run, attempt: &AttemptId) -> Result<usize, Illegal> {
    let position = run.workflow().position(&attempt.stage);
    let position = position.ok_or_else(|| Illegal::UnknownStage(attempt.stage.clone()))?;
    let status = run.state(position).instances.status(attempt.instance);
    if status != Some(InstanceStatus::Running { attempt: attempt.attempt }) {
        let (stage, status) = (attempt.stage.clone(), run.status(position).name());
        return Err(Illegal::Stage { stage, status, event: "the end of this attempt" });
    }
    Ok(position)
}

fn after_failure(run: &Run, position: usize, attempt: &AttemptId, failure: &Failure, now: Timestamp) -> Then {
    let stage = &run.workflow().stages()[position];
    let is_stopped = run.stopped(position).is_some();
    if !is_stopped && stage.retry.follows(attempt.attempt, failure) {
        let pause = stage.retry.backoff.after(attempt.attempt, chance(attempt));
        let asked = match failure.class {
            FailureClass::Throttled { retry_after } => retry_after.unwrap_or_default(),
            FailureClass::Permanent
            | FailureClass::Transient
            | FailureClass::Cancelled
            | FailureClass::Interrupted
            | FailureClass::Other(_) => std::time::Duration::ZERO,
        };
        return Then::Retry(now.after(pause.max(asked)));
    }
    if stage.allow_failure { Then::Allow } else { Then::End }
}

fn answered(run: &Run, position: usize, answer: Answer) -> Result<Vec<RunEvent>, Illegal> {
    let stage = &run.workflow().stages()[position];
    let (StageStatus::Held, Some(approval)) = (run.status(position), &stage.approval) else {
        let status = run.status(position).name();
        return Err(Illegal::Stage { stage: stage.name.clone(), status, event: "an answer" });
    };
    let before = &run.state(position).approval.answers;
    if before.iter().any(|other| other.by == answer.by) {
        return Err(Illegal::Answered { stage: stage.name.clone(), by: answer.by });
    }
    let given = match answer.inputs {
        Value::Object(ref given) if answer.is_approved => given.clone().into_iter().collect(),
        _ => indexmap::IndexMap::new(),
    };
    let inputs = match answer.is_approved {
        true => input::bind(&approval.inputs, given).map_err(Illegal::Answer)?,
        false => indexmap::IndexMap::new(),
    };
    let inputs = inputs.into_iter().map(|(name, value)| (name.to_string(), value)).collect();
    let answer = Answer { inputs: Value::Object(inputs), ..answer };
    let verdict = match answer.is_approved {
        false => Some(Verdict::Rejected),
        true if before.len() + 1 >= approval.count.get() as usize => Some(Verdict::Approved),
        true => None,
    };
    let name = stage.name.clone();
    let mut events = vec![RunEvent::ApprovalAnswered { stage: name.clone(), answer }];
    events.extend(verdict.map(|verdict| RunEvent::ApprovalEnded { stage: name, verdict }));
    Ok(events)
}

/// What the timers that are due bring. When the run's time is over, that alone: it decides about all others.
fn wake(run: &Run, now: Timestamp) -> Vec<RunEvent> {
    let due: Vec<Timer> = run.due(now).collect();
    if due.contains(&Timer::Run) {
        return vec![RunEvent::TimedOut];
    }
    due.into_iter().flat_map(|timer| fire(run, timer)).collect()
}

fn fire(run: &Run, timer: Timer) -> Vec<RunEvent> {
    match timer {
        Timer::Run => vec![RunEvent::TimedOut],
        Timer::Approval { position } => {
            let stage = &run.workflow().stages()[position];
            let expiry = stage.approval.as_ref().map(|approval| approval.on_expiry).unwrap_or_default();
            let verdict = match expiry {
                Expiry::Reject => Verdict::ExpiredRejected,
                Expiry::Approve => Verdict::ExpiredApproved,
            };
            vec![RunEvent::ApprovalEnded { stage: stage.name.clone(), verdict }]
        }
        Timer::Retry { position, instance } => match run.state(position).instances.status(instance) {
            Some(InstanceStatus::Resting { attempt, .. }) => {
                begin_attempt(run, position, instance, attempt + 1)
            }
            _ => Vec::new(),
        },
    }
}

/// A second cancel changes nothing, unless it is the `finally` part that is to end now.
fn cancel(run: &Run, reason: String) -> Vec<RunEvent> {
    let is_ending = match run.section() {
        Section::Main | Section::OnFailure => run.is_cancelling(),
        Section::Finally => run.is_stopping_finally(),
    };
    if is_ending { Vec::new() } else { vec![RunEvent::CancelRequested { reason }] }
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
    let ended = run.running().map(|attempt| RunEvent::AttemptEnded {
        attempt,
        outcome: AttemptOutcome::Failed(failure()),
        then: Then::End,
    });
    std::iter::once(RunEvent::Interrupted).chain(ended).collect()
}
