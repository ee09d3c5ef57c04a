//! The stored types of version 1, and their translation from and to the model.
//!
//! Never changed once published: a new version is a new module, and this one goes on being read. JSON values are
//! kept as text, as postcard does not describe itself.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use yuanli_model::run::PinnedStage;
use yuanli_model::{self as model, Digest, RunId, Timestamp};
use yuanli_ports::logs::StoredLog;

use super::envelope::{Broken, Stored};
use crate::history::Recorded;

/// A row of the list of runs; [`super::v2::Run`] took its place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Run {
    pub(super) workflow: String,
    pub(super) version: [u8; 32],
    pub(super) created_ms: u64,
    pub(super) ended: Option<Ended>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Ended {
    pub(super) at_ms: u64,
    pub(super) outcome: Outcome,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) enum Outcome {
    Succeeded,
    Failed,
    Cancelled,
}

/// The events of one transition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Transition {
    at_ms: u64,
    events: Vec<Event>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Event {
    Created { workflow: String, version: [u8; 32], inputs: Vec<(String, String)>, stages: Vec<Pinned> },
    AttemptStarted { attempt: Attempt, config: String },
    AttemptEnded { attempt: Attempt, end: End },
    StageSkipped { stage: String, need: Option<String> },
    CancelRequested { reason: String },
    Finished { outcome: Outcome },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Pinned {
    name: String,
    plugin: String,
    component: [u8; 32],
    needs: Vec<String>,
}

/// An attempt of the run under whose key it is stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Attempt {
    stage: String,
    instance: u32,
    attempt: u32,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum End {
    Succeeded { outputs: String, workspace: Option<[u8; 32]> },
    Failed { class: Class, kind: String, message: String, details: Vec<(String, String)> },
    Cancelled,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Class {
    Permanent,
    Transient,
    Throttled { retry_after_ms: Option<u64> },
    Cancelled,
    Interrupted,
    Other(String),
}

/// Where the log of an ended attempt is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Log {
    Inline(Vec<u8>),
    File { bytes: u64 },
}

impl Stored for Transition {
    const WHAT: &'static str = "event";
}

impl Stored for Log {
    const WHAT: &'static str = "log";
}

impl Outcome {
    pub(super) const fn of(outcome: model::Outcome) -> Self {
        match outcome {
            model::Outcome::Succeeded => Self::Succeeded,
            model::Outcome::Failed => Self::Failed,
            model::Outcome::Cancelled => Self::Cancelled,
        }
    }

    pub(super) const fn into_model(self) -> model::Outcome {
        match self {
            Self::Succeeded => model::Outcome::Succeeded,
            Self::Failed => model::Outcome::Failed,
            Self::Cancelled => model::Outcome::Cancelled,
        }
    }
}

impl Transition {
    pub(crate) fn of(at: Timestamp, events: &[model::RunEvent]) -> Self {
        Self { at_ms: at.as_millis(), events: events.iter().map(Event::of).collect() }
    }

    pub(crate) fn into_events(self, run: RunId, first: u32) -> Result<Vec<Recorded>, Broken> {
        let at = Timestamp::from_millis(self.at_ms);
        let recorded =
            |(number, event): (u32, Event)| Ok(Recorded { run, number, at, event: event.into_model(run)? });
        (first..).zip(self.events).map(recorded).collect()
    }
}

impl Event {
    fn of(event: &model::RunEvent) -> Self {
        match event {
            model::RunEvent::Created { workflow, version, inputs, stages } => Self::Created {
                workflow: workflow.to_string(),
                version: *version.as_bytes(),
                inputs: inputs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect(),
                stages: stages.iter().map(Pinned::of).collect(),
            },
            model::RunEvent::AttemptStarted { attempt, config } => {
                Self::AttemptStarted { attempt: Attempt::of(attempt), config: config.to_string() }
            }
            model::RunEvent::AttemptEnded { attempt, outcome } => {
                Self::AttemptEnded { attempt: Attempt::of(attempt), end: End::of(outcome) }
            }
            model::RunEvent::StageSkipped { stage, reason } => Self::StageSkipped {
                stage: stage.to_string(),
                need: match reason {
                    model::SkipReason::NeedNotMet(need) => Some(need.to_string()),
                    model::SkipReason::RunCancelled => None,
                },
            },
            model::RunEvent::CancelRequested { reason } => Self::CancelRequested { reason: reason.clone() },
            model::RunEvent::Finished { outcome } => Self::Finished { outcome: Outcome::of(*outcome) },
        }
    }

    fn into_model(self, run: RunId) -> Result<model::RunEvent, Broken> {
        Ok(match self {
            Self::Created { workflow, version, inputs, stages } => {
                let input = |(name, value): (String, String)| Ok((parse("event", &name)?, json(&value)?));
                model::RunEvent::Created {
                    workflow: parse("event", &workflow)?,
                    version: Digest::from_bytes(version),
                    inputs: inputs.into_iter().map(input).collect::<Result<_, Broken>>()?,
                    stages: stages.into_iter().map(Pinned::into_model).collect::<Result<_, _>>()?,
                }
            }
            Self::AttemptStarted { attempt, config } => {
                model::RunEvent::AttemptStarted { attempt: attempt.into_model(run)?, config: json(&config)? }
            }
            Self::AttemptEnded { attempt, end } => model::RunEvent::AttemptEnded {
                attempt: attempt.into_model(run)?,
                outcome: end.into_model()?,
            },
            Self::StageSkipped { stage, need } => model::RunEvent::StageSkipped {
                stage: parse("event", &stage)?,
                reason: match need {
                    Some(need) => model::SkipReason::NeedNotMet(parse("event", &need)?),
                    None => model::SkipReason::RunCancelled,
                },
            },
            Self::CancelRequested { reason } => model::RunEvent::CancelRequested { reason },
            Self::Finished { outcome } => model::RunEvent::Finished { outcome: outcome.into_model() },
        })
    }
}

impl Pinned {
    fn of(stage: &PinnedStage) -> Self {
        Self {
            name: stage.name.to_string(),
            plugin: stage.plugin.clone(),
            component: *stage.component.as_bytes(),
            needs: stage.needs.iter().map(ToString::to_string).collect(),
        }
    }

    fn into_model(self) -> Result<PinnedStage, Broken> {
        Ok(PinnedStage {
            name: parse("event", &self.name)?,
            plugin: self.plugin,
            component: Digest::from_bytes(self.component),
            needs: self.needs.iter().map(|need| parse("event", need)).collect::<Result<_, _>>()?,
        })
    }
}

impl Attempt {
    fn of(id: &model::AttemptId) -> Self {
        Self { stage: id.stage.to_string(), instance: id.instance, attempt: id.attempt }
    }

    fn into_model(self, run: RunId) -> Result<model::AttemptId, Broken> {
        let stage = parse("event", &self.stage)?;
        Ok(model::AttemptId { run, stage, instance: self.instance, attempt: self.attempt })
    }
}

impl End {
    fn of(outcome: &model::AttemptOutcome) -> Self {
        match outcome {
            model::AttemptOutcome::Succeeded { outputs, workspace } => Self::Succeeded {
                outputs: outputs.to_string(),
                workspace: workspace.map(|digest| *digest.as_bytes()),
            },
            model::AttemptOutcome::Failed(failure) => Self::Failed {
                class: Class::of(&failure.class),
                kind: failure.kind.clone(),
                message: failure.message.clone(),
                details: failure.details.clone(),
            },
            model::AttemptOutcome::Cancelled => Self::Cancelled,
        }
    }

    fn into_model(self) -> Result<model::AttemptOutcome, Broken> {
        Ok(match self {
            Self::Succeeded { outputs, workspace } => model::AttemptOutcome::Succeeded {
                outputs: json(&outputs)?,
                workspace: workspace.map(Digest::from_bytes),
            },
            Self::Failed { class, kind, message, details } => {
                let class = class.into_model();
                model::AttemptOutcome::Failed(model::Failure { class, kind, message, details })
            }
            Self::Cancelled => model::AttemptOutcome::Cancelled,
        })
    }
}

impl Class {
    fn of(class: &model::FailureClass) -> Self {
        match class {
            model::FailureClass::Permanent => Self::Permanent,
            model::FailureClass::Transient => Self::Transient,
            model::FailureClass::Throttled { retry_after } => {
                let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
                Self::Throttled { retry_after_ms: retry_after.map(millis) }
            }
            model::FailureClass::Cancelled => Self::Cancelled,
            model::FailureClass::Interrupted => Self::Interrupted,
            model::FailureClass::Other(name) => Self::Other(name.clone()),
        }
    }

    fn into_model(self) -> model::FailureClass {
        match self {
            Self::Permanent => model::FailureClass::Permanent,
            Self::Transient => model::FailureClass::Transient,
            Self::Throttled { retry_after_ms } => {
                model::FailureClass::Throttled { retry_after: retry_after_ms.map(Duration::from_millis) }
            }
            Self::Cancelled => model::FailureClass::Cancelled,
            Self::Interrupted => model::FailureClass::Interrupted,
            Self::Other(name) => model::FailureClass::Other(name),
        }
    }
}

impl Log {
    pub(crate) fn of(log: &StoredLog) -> Self {
        match log {
            StoredLog::Inline(bytes) => Self::Inline(bytes.to_vec()),
            StoredLog::File { bytes } => Self::File { bytes: *bytes },
        }
    }

    pub(crate) fn into_port(self) -> StoredLog {
        match self {
            Self::Inline(bytes) => StoredLog::Inline(bytes.into()),
            Self::File { bytes } => StoredLog::File { bytes },
        }
    }
}

pub(super) fn parse<T: std::str::FromStr<Err: ToString>>(
    what: &'static str,
    text: &str,
) -> Result<T, Broken> {
    text.parse().map_err(|e: T::Err| Broken::damaged(what, e))
}

fn json(text: &str) -> Result<Value, Broken> {
    serde_json::from_str(text).map_err(|e| Broken::damaged("event", e))
}
