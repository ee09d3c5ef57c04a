//! From the model to the bodies of `api-types`.

use std::collections::HashMap;

use chrono::{DateTime, SecondsFormat};
use serde_json::{Map, Value};
use yuanli_api_types as api;
use yuanli_executor::{Recorded, Summary, Update};
use yuanli_flow::{Instances, Run, StageStatus};
use yuanli_model::run::{Again, CacheFinding, Cause, PinnedStage, StageResult, Then, Verdict};
use yuanli_model::{
    AttemptId, AttemptOutcome, Failure, InputName, Level, LogLine, Outcome, RunEvent, RunId, Section,
    StageName, Stream, Timestamp,
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
        resumable: false,
        restored: false,
        created_at: rfc3339(summary.created),
        ended_at: summary.ended.map(|(at, _)| rfc3339(at)),
        duration_ms: summary.ended.map(|(at, _)| millis_between(summary.created, at)),
        labels: summary.labels.clone(),
    }
}

pub(crate) fn run(row: &Summary, run: &Run, events: &[Recorded]) -> api::Run {
    let pinned = events.iter().find_map(|recorded| match &recorded.event {
        RunEvent::Created { stages, .. } => Some(stages.as_slice()),
        _ => None,
    });
    let stages = pinned.unwrap_or_default().iter().enumerate();
    let provenance = events.iter().find_map(|recorded| match &recorded.event {
        RunEvent::Created { provenance, .. } => Some(&**provenance),
        _ => None,
    });
    let mut attempts = attempts(events);
    let taken = taken_from(events);
    let mut of = |pinned: &PinnedStage| attempts.remove(&pinned.name).unwrap_or_default();
    api::Run {
        summary: summary(row),
        inputs: run.inputs().iter().map(|(name, value)| (name.to_string(), value.clone())).collect(),
        cause: provenance.map(|of| &of.cause).filter(|cause| **cause != Cause::Unknown).map(cause),
        priority: Some(run.priority().get()).filter(|priority| *priority != 0),
        retry_of: provenance
            .and_then(|provenance| provenance.again.as_ref())
            .map(|again| retry_of(run, again)),
        stages: stages
            .map(|(position, pinned)| api::Stage {
                taken_from: taken.get(&pinned.name).map(ToString::to_string),
                ..stage(run, position, pinned, of(pinned))
            })
            .collect(),
        artifacts: Vec::new(),
        summaries: Vec::new(),
        emitted: Vec::new(),
    }
}

pub(crate) fn cause(cause: &Cause) -> api::Cause {
    let (due_at, stage) = match cause {
        Cause::Schedule { due } => (Some(rfc3339(*due)), None),
        Cause::Stage(attempt) => (None, Some(attempt)),
        Cause::Unknown | Cause::Command | Cause::Request | Cause::Webhook | Cause::Event | Cause::Metric => {
            (None, None)
        }
    };
    api::Cause {
        kind: cause.name().to_owned(),
        due_at,
        run: stage.map(|attempt| attempt.run.to_string()),
        stage: stage.map(|attempt| attempt.stage.to_string()),
    }
}

/// What the inputs were before is for whoever can read the other run to add.
fn retry_of(run: &Run, again: &Again) -> api::RetryOf {
    let changed = |name: &InputName| api::ChangedInput {
        name: name.to_string(),
        before: None,
        after: run.inputs().get(name).cloned(),
    };
    api::RetryOf {
        run: again.run.to_string(),
        from: again.from.iter().map(ToString::to_string).collect(),
        changed: again.changed.iter().map(changed).collect(),
    }
}

/// The runs that stages, or some of their instances, were taken over from.
fn taken_from(events: &[Recorded]) -> HashMap<&StageName, RunId> {
    let taken = events.iter().filter_map(|recorded| match &recorded.event {
        RunEvent::StageReused { stage, from, .. } | RunEvent::InstancesReused { stage, from, .. } => {
            Some((stage, *from))
        }
        _ => None,
    });
    taken.collect()
}

fn stage(run: &Run, position: usize, pinned: &PinnedStage, attempts: Vec<api::Attempt>) -> api::Stage {
    let status = run.status(position);
    api::Stage {
        pinned: pinned_stage(pinned),
        status: stage_status(status),
        attempts,
        instances: instances(run.instances(position)),
        outputs: run.outputs(position).cloned(),
        failure: match status {
            StageStatus::Failed(reason) | StageStatus::Allowed(reason) => Some(failure(reason)),
            _ => None,
        },
        allowed: matches!(status, StageStatus::Allowed(_)),
        skipped: match status {
            StageStatus::Skipped(reason) => Some(reason.to_string()),
            _ => None,
        },
        taken_from: None,
    }
}

fn instances(instances: &Instances) -> Option<api::Instances> {
    let (ended, failed) = instances.ended();
    let [count, ended, failed] = [instances.len(), ended, failed].map(|count| count as u64);
    instances.is_list().then_some(api::Instances { count, ended, failed })
}

/// The attempts of all stages, by stage, oldest first.
fn attempts(events: &[Recorded]) -> HashMap<&StageName, Vec<api::Attempt>> {
    let mut attempts: HashMap<&StageName, Vec<api::Attempt>> = HashMap::new();
    let mut open = HashMap::new();
    for recorded in events {
        match &recorded.event {
            RunEvent::AttemptStarted { attempt, .. } => {
                let of_stage = attempts.entry(&attempt.stage).or_default();
                open.insert(attempt, (recorded.at, of_stage.len()));
                of_stage.push(api::Attempt {
                    instance: attempt.instance,
                    attempt: attempt.attempt,
                    started_at: rfc3339(recorded.at),
                    ended_at: None,
                    duration_ms: None,
                    cached_from: None,
                });
            }
            RunEvent::CacheConsulted { attempt, finding: CacheFinding::Hit { from } } => {
                let begun = open.get(attempt).zip(attempts.get_mut(&attempt.stage));
                if let Some(((_, index), of_stage)) = begun {
                    of_stage[*index].cached_from = Some(from.to_string());
                }
            }
            RunEvent::AttemptEnded { attempt, .. } => {
                let begun = open.remove(attempt).zip(attempts.get_mut(&attempt.stage));
                if let Some(((started, index), of_stage)) = begun {
                    of_stage[index].ended_at = Some(rfc3339(recorded.at));
                    of_stage[index].duration_ms = Some(millis_between(started, recorded.at));
                }
            }
            _ => {}
        }
    }
    attempts
}

pub(crate) fn update(update: &Update) -> api::Update {
    match update {
        Update::Line { attempt, line: text } => api::Update::Log(line(attempt, text)),
        Update::Event(recorded) => api::Update::Event(self::recorded(recorded)),
    }
}

pub(crate) fn recorded(recorded: &Recorded) -> api::Event {
    api::Event {
        run: recorded.run.to_string(),
        number: recorded.number,
        at: rfc3339(recorded.at),
        kind: event(&recorded.event),
    }
}

fn cache_consulted(attempt: &AttemptId, finding: &CacheFinding) -> api::EventKind {
    let (word, from, differs) = match finding {
        CacheFinding::Hit { from } => ("hit", Some(from), None),
        CacheFinding::Nothing => ("nothing", None, None),
        CacheFinding::Differs { from, part } => ("differs", Some(from), Some(part.clone())),
        CacheFinding::TooOld { from } => ("too-old", Some(from), None),
        CacheFinding::Gone { from } => ("gone", Some(from), None),
    };
    api::EventKind::CacheConsulted {
        stage: attempt.stage.to_string(),
        instance: attempt.instance,
        attempt: attempt.attempt,
        finding: word.to_owned(),
        from: from.map(ToString::to_string),
        differs,
    }
}

fn event(event: &RunEvent) -> api::EventKind {
    match event {
        RunEvent::Created { workflow, version, inputs, stages, .. } => api::EventKind::Created {
            workflow: workflow.to_string(),
            version: version.to_string(),
            inputs: inputs.iter().map(|(name, value)| (name.to_string(), value.clone())).collect(),
            stages: stages.iter().map(pinned_stage).collect(),
        },
        RunEvent::Admitted { .. } => api::EventKind::Admitted,
        RunEvent::StageReused { stage, from, result, .. } => {
            let (status, outputs) = match result {
                StageResult::Succeeded { outputs } => (api::StageStatus::Succeeded, outputs.clone()),
                StageResult::Allowed { outputs, .. } => {
                    (api::StageStatus::Failed, outputs.clone().unwrap_or_default())
                }
                StageResult::Failed(_) => (api::StageStatus::Failed, Value::Null),
                StageResult::Skipped(_) => (api::StageStatus::Skipped, Value::Null),
            };
            let (stage, from) = (stage.to_string(), from.to_string());
            api::EventKind::StageReused { stage, from, status, outputs }
        }
        RunEvent::CacheBypassed => api::EventKind::CacheBypassed,
        RunEvent::CacheConsulted { attempt, finding } => cache_consulted(attempt, finding),
        RunEvent::InstancesReused { stage, from, instances } => api::EventKind::InstancesReused {
            stage: stage.to_string(),
            from: from.to_string(),
            instances: instances.iter().map(|reused| reused.instance).collect(),
        },
        RunEvent::StageExpanded { stage, instances, reused, .. } => api::EventKind::StageExpanded {
            stage: stage.to_string(),
            instances: instances.clone(),
            reused: reused.clone(),
        },
        RunEvent::ApprovalRequested { stage, message, deadline } => api::EventKind::ApprovalRequested {
            stage: stage.to_string(),
            message: message.clone(),
            deadline: deadline.map(rfc3339),
        },
        RunEvent::ApprovalAnswered { stage, answer } => api::EventKind::ApprovalAnswered {
            stage: stage.to_string(),
            by: answer.by.clone(),
            approved: answer.is_approved,
            comment: answer.comment.clone(),
        },
        RunEvent::ApprovalEnded { stage, verdict } => api::EventKind::ApprovalEnded {
            stage: stage.to_string(),
            approved: matches!(verdict, Verdict::Approved | Verdict::ExpiredApproved),
            expired: matches!(verdict, Verdict::ExpiredApproved | Verdict::ExpiredRejected),
        },
        RunEvent::AttemptStarted { attempt, config } => api::EventKind::AttemptStarted {
            stage: attempt.stage.to_string(),
            instance: attempt.instance,
            attempt: attempt.attempt,
            config: config.clone(),
        },
        RunEvent::AttemptEnded { attempt, outcome, then } => ended(attempt, outcome, *then),
        RunEvent::StageSkipped { stage, reason } => {
            api::EventKind::StageSkipped { stage: stage.to_string(), reason: reason.to_string() }
        }
        RunEvent::CancelRequested { reason } => api::EventKind::CancelRequested { reason: reason.clone() },
        RunEvent::TimedOut => api::EventKind::TimedOut,
        RunEvent::Interrupted => api::EventKind::Interrupted,
        RunEvent::Finished { outcome, outputs, failure: why } => api::EventKind::Finished {
            status: status(*outcome),
            outputs: outputs.clone(),
            failure: why.as_ref().map(failure),
        },
    }
}

fn ended(attempt: &AttemptId, outcome: &AttemptOutcome, then: Then) -> api::EventKind {
    let (status, outputs, why) = match outcome {
        AttemptOutcome::Succeeded { outputs, .. } => {
            (api::StageStatus::Succeeded, Some(outputs.clone()), None)
        }
        AttemptOutcome::Failed(reason) => (api::StageStatus::Failed, None, Some(failure(reason))),
        AttemptOutcome::Cancelled => (api::StageStatus::Cancelled, None, None),
    };
    api::EventKind::AttemptEnded {
        stage: attempt.stage.to_string(),
        instance: attempt.instance,
        attempt: attempt.attempt,
        status,
        outputs,
        failure: why,
        retry_at: match then {
            Then::Retry(at) => Some(rfc3339(at)),
            Then::End | Then::Allow => None,
        },
        allowed: then == Then::Allow,
    }
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
        instance: attempt.instance,
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
        section: (pinned.section != Section::Main).then(|| pinned.section.name().to_owned()),
        plugin: pinned.plugin.clone(),
        component: pinned.component.to_string(),
        needs: pinned.needs.iter().map(ToString::to_string).collect(),
    }
}

pub(crate) fn failure(failure: &Failure) -> api::Failure {
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

fn stage_status(status: &StageStatus) -> api::StageStatus {
    match status {
        StageStatus::Waiting { .. } => api::StageStatus::Waiting,
        StageStatus::Held => api::StageStatus::Held,
        StageStatus::Running => api::StageStatus::Running,
        StageStatus::Succeeded => api::StageStatus::Succeeded,
        StageStatus::Allowed(_) | StageStatus::Failed(_) => api::StageStatus::Failed,
        StageStatus::Cancelled => api::StageStatus::Cancelled,
        StageStatus::Skipped(_) => api::StageStatus::Skipped,
    }
}

pub(crate) const fn status(outcome: Outcome) -> api::RunStatus {
    match outcome {
        Outcome::Succeeded => api::RunStatus::Succeeded,
        Outcome::Failed => api::RunStatus::Failed,
        Outcome::Cancelled => api::RunStatus::Cancelled,
    }
}

fn millis_between(earlier: Timestamp, later: Timestamp) -> u64 {
    u64::try_from(later.since(earlier).as_millis()).unwrap_or(u64::MAX)
}
