//! From the model to the bodies of `api-types`.

use chrono::{DateTime, SecondsFormat};
use serde_json::{Map, Value};
use yuanli_api_types as api;
use yuanli_executor::{Recorded, Summary, Update};
use yuanli_flow::{Run, StageStatus};
use yuanli_model::run::PinnedStage;
use yuanli_model::{
    AttemptId, AttemptOutcome, Failure, Level, LogLine, Outcome, RunEvent, SkipReason, Stream, Timestamp,
};

/// A time as RFC 3339 in UTC with milliseconds.
#[must_use]
pub fn rfc3339(time: Timestamp) -> String {
    let millis = i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
    let time = DateTime::from_timestamp_millis(millis).unwrap_or(DateTime::<chrono::Utc>::MAX_UTC);
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

pub(crate) fn summary(summary: &Summary) -> api::RunSummary {
    api::RunSummary {
        id: summary.id.to_string(),
        workflow: summary.workflow.to_string(),
        version: summary.version.to_string(),
        status: summary.ended.map_or(api::RunStatus::Running, |(_, outcome)| status(outcome)),
        created_at: rfc3339(summary.created),
        ended_at: summary.ended.map(|(at, _)| rfc3339(at)),
        duration_ms: summary.ended.map(|(at, _)| millis_between(summary.created, at)),
    }
}

pub(crate) fn run(row: &Summary, run: &Run, events: &[Recorded]) -> api::Run {
    let pinned = events.iter().find_map(|recorded| match &recorded.event {
        RunEvent::Created { stages, .. } => Some(stages.as_slice()),
        _ => None,
    });
    let stages = pinned.unwrap_or_default().iter().enumerate();
    api::Run {
        summary: summary(row),
        inputs: run.inputs().iter().map(|(name, value)| (name.to_string(), value.clone())).collect(),
        stages: stages.map(|(position, pinned)| stage(run, position, pinned, events)).collect(),
    }
}

fn stage(run: &Run, position: usize, pinned: &PinnedStage, events: &[Recorded]) -> api::Stage {
    let status = run.status(position);
    api::Stage {
        pinned: pinned_stage(pinned),
        status: stage_status(status),
        attempts: attempts(pinned, events),
        outputs: run.outputs(position).cloned(),
        failure: match status {
            StageStatus::Failed(reason) => Some(failure(reason)),
            _ => None,
        },
        skipped: match status {
            StageStatus::Skipped(reason) => Some(skip_reason(reason)),
            _ => None,
        },
    }
}

fn attempts(pinned: &PinnedStage, events: &[Recorded]) -> Vec<api::Attempt> {
    let mut attempts: Vec<(Timestamp, api::Attempt)> = Vec::new();
    for recorded in events {
        match &recorded.event {
            RunEvent::AttemptStarted { attempt, .. } if attempt.stage == pinned.name => {
                let started_at = rfc3339(recorded.at);
                let number = attempt.attempt;
                let begun = api::Attempt { attempt: number, started_at, ended_at: None, duration_ms: None };
                attempts.push((recorded.at, begun));
            }
            RunEvent::AttemptEnded { attempt, .. } if attempt.stage == pinned.name => {
                if let Some((started, begun)) = attempts.last_mut() {
                    begun.ended_at = Some(rfc3339(recorded.at));
                    begun.duration_ms = Some(millis_between(*started, recorded.at));
                }
            }
            _ => {}
        }
    }
    attempts.into_iter().map(|(_, attempt)| attempt).collect()
}

pub(crate) fn update(update: &Update) -> api::Update {
    match update {
        Update::Line { attempt, line: text } => api::Update::Log(line(attempt, text)),
        Update::Event(recorded) => api::Update::Event(api::Event {
            run: recorded.run.to_string(),
            number: recorded.number,
            at: rfc3339(recorded.at),
            kind: event(&recorded.event),
        }),
    }
}

fn event(event: &RunEvent) -> api::EventKind {
    match event {
        RunEvent::Created { workflow, version, inputs, stages } => api::EventKind::Created {
            workflow: workflow.to_string(),
            version: version.to_string(),
            inputs: inputs.iter().map(|(name, value)| (name.to_string(), value.clone())).collect(),
            stages: stages.iter().map(pinned_stage).collect(),
        },
        RunEvent::AttemptStarted { attempt, config } => api::EventKind::AttemptStarted {
            stage: attempt.stage.to_string(),
            attempt: attempt.attempt,
            config: config.clone(),
        },
        RunEvent::AttemptEnded { attempt, outcome } => ended(attempt, outcome),
        RunEvent::StageSkipped { stage, reason } => {
            api::EventKind::StageSkipped { stage: stage.to_string(), reason: skip_reason(reason) }
        }
        RunEvent::CancelRequested { reason } => api::EventKind::CancelRequested { reason: reason.clone() },
        RunEvent::Finished { outcome } => api::EventKind::Finished { status: status(*outcome) },
    }
}

fn ended(attempt: &AttemptId, outcome: &AttemptOutcome) -> api::EventKind {
    let (status, outputs, why) = match outcome {
        AttemptOutcome::Succeeded { outputs, .. } => {
            (api::StageStatus::Succeeded, Some(outputs.clone()), None)
        }
        AttemptOutcome::Failed(reason) => (api::StageStatus::Failed, None, Some(failure(reason))),
        AttemptOutcome::Cancelled => (api::StageStatus::Cancelled, None, None),
    };
    let stage = attempt.stage.to_string();
    api::EventKind::AttemptEnded { stage, attempt: attempt.attempt, status, outputs, failure: why }
}

pub(crate) fn line(attempt: &AttemptId, line: &LogLine) -> api::LogLine {
    let stream = match line.stream {
        Stream::Plugin => "plugin",
        Stream::Stdout => "stdout",
        Stream::Stderr => "stderr",
        Stream::Build => "build",
        Stream::Engine => "engine",
    };
    let level = match line.level {
        Level::Debug => "debug",
        Level::Info => "info",
        Level::Warn => "warn",
        Level::Error => "error",
    };
    api::LogLine {
        stage: attempt.stage.to_string(),
        attempt: attempt.attempt,
        at: rfc3339(line.at),
        stream: stream.to_owned(),
        level: level.to_owned(),
        text: line.text.clone(),
        fields: texts(&line.fields),
    }
}

fn pinned_stage(pinned: &PinnedStage) -> api::PinnedStage {
    api::PinnedStage {
        name: pinned.name.to_string(),
        plugin: pinned.plugin.clone(),
        component: pinned.component.to_string(),
        needs: pinned.needs.iter().map(ToString::to_string).collect(),
    }
}

fn failure(failure: &Failure) -> api::Failure {
    api::Failure {
        class: failure.class.name().to_owned(),
        kind: failure.kind.clone(),
        message: failure.message.clone(),
        details: texts(&failure.details),
    }
}

fn texts(pairs: &[(String, String)]) -> Map<String, Value> {
    pairs.iter().map(|(key, value)| (key.clone(), Value::String(value.clone()))).collect()
}

fn skip_reason(reason: &SkipReason) -> String {
    match reason {
        SkipReason::NeedNotMet(need) => format!("`{need}` did not succeed"),
        SkipReason::RunCancelled => "the run was cancelled".to_owned(),
    }
}

fn stage_status(status: &StageStatus) -> api::StageStatus {
    match status {
        StageStatus::Waiting { .. } => api::StageStatus::Waiting,
        StageStatus::Running { .. } => api::StageStatus::Running,
        StageStatus::Succeeded => api::StageStatus::Succeeded,
        StageStatus::Failed(_) => api::StageStatus::Failed,
        StageStatus::Cancelled => api::StageStatus::Cancelled,
        StageStatus::Skipped(_) => api::StageStatus::Skipped,
    }
}

const fn status(outcome: Outcome) -> api::RunStatus {
    match outcome {
        Outcome::Succeeded => api::RunStatus::Succeeded,
        Outcome::Failed => api::RunStatus::Failed,
        Outcome::Cancelled => api::RunStatus::Cancelled,
    }
}

fn millis_between(earlier: Timestamp, later: Timestamp) -> u64 {
    u64::try_from(later.since(earlier).as_millis()).unwrap_or(u64::MAX)
}
