//! The events of a run as version 2 stores them: as version 1, with long texts beside them.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use yuanli_model::run::PinnedStage;
use yuanli_model::{self as model, Digest, RunId, Timestamp};

use super::super::envelope::{Broken, Stored};
use super::super::long::{Long, Text};
use super::super::v1::{self, Attempt, Class, Outcome, Pinned, parse};
use crate::history::Recorded;

/// The events of one transition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Transition {
    at_ms: u64,
    events: Vec<Event>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Event {
    Created { workflow: String, version: [u8; 32], inputs: Vec<(String, Text)>, stages: Vec<Pinned> },
    AttemptStarted { attempt: Attempt, config: Text },
    AttemptEnded { attempt: Attempt, end: End },
    StageSkipped { stage: String, need: Option<String> },
    CancelRequested { reason: String },
    Finished { outcome: Outcome },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum End {
    Succeeded { outputs: Text, workspace: Option<[u8; 32]> },
    Failed { class: Class, kind: String, message: String, details: Vec<(String, String)> },
    Cancelled,
}

impl Stored for Transition {
    const WHAT: &'static str = "event";
    const VERSION: u8 = 2;

    fn older(version: u8, body: &[u8]) -> Option<postcard::Result<Self>> {
        (version == 1).then(|| postcard::from_bytes::<v1::Transition>(body).map(Self::from))
    }
}

impl From<v1::Transition> for Transition {
    fn from(v1::Transition { at_ms, events }: v1::Transition) -> Self {
        Self { at_ms, events: events.into_iter().map(Event::from).collect() }
    }
}

impl From<v1::Event> for Event {
    fn from(event: v1::Event) -> Self {
        match event {
            v1::Event::Created { workflow, version, inputs, stages } => {
                let inputs = inputs.into_iter().map(|(name, value)| (name, Text::Inline(value))).collect();
                Self::Created { workflow, version, inputs, stages }
            }
            v1::Event::AttemptStarted { attempt, config } => {
                Self::AttemptStarted { attempt, config: Text::Inline(config) }
            }
            v1::Event::AttemptEnded { attempt, end } => Self::AttemptEnded { attempt, end: end.into() },
            v1::Event::StageSkipped { stage, need } => Self::StageSkipped { stage, need },
            v1::Event::CancelRequested { reason } => Self::CancelRequested { reason },
            v1::Event::Finished { outcome } => Self::Finished { outcome },
        }
    }
}

impl From<v1::End> for End {
    fn from(end: v1::End) -> Self {
        match end {
            v1::End::Succeeded { outputs, workspace } => {
                Self::Succeeded { outputs: Text::Inline(outputs), workspace }
            }
            v1::End::Failed { class, kind, message, details } => {
                Self::Failed { class, kind, message, details }
            }
            v1::End::Cancelled => Self::Cancelled,
        }
    }
}

impl Transition {
    /// These events; their long texts go to `long`.
    pub(crate) fn of(at: Timestamp, events: &[model::RunEvent], long: &mut Long) -> Self {
        Self { at_ms: at.as_millis(), events: events.iter().map(|event| Event::of(event, long)).collect() }
    }

    /// The blobs that hold its long texts.
    pub(crate) fn blobs(&self) -> impl Iterator<Item = Digest> {
        self.events.iter().flat_map(Event::texts).filter_map(Text::blob)
    }

    /// The events, the first of which has number `first`; `long` has the texts of [`Self::blobs`].
    pub(crate) fn into_events(self, run: RunId, first: u32, long: &Long) -> Result<Vec<Recorded>, Broken> {
        let at = Timestamp::from_millis(self.at_ms);
        let recorded = |(number, event): (u32, Event)| {
            Ok(Recorded { run, number, at, event: event.into_model(run, long)? })
        };
        (first..).zip(self.events).map(recorded).collect()
    }
}

impl Event {
    fn texts(&self) -> Vec<&Text> {
        match self {
            Self::Created { inputs, .. } => inputs.iter().map(|(_, text)| text).collect(),
            Self::AttemptStarted { config, .. } => vec![config],
            Self::AttemptEnded { end: End::Succeeded { outputs, .. }, .. } => vec![outputs],
            Self::AttemptEnded { .. }
            | Self::StageSkipped { .. }
            | Self::CancelRequested { .. }
            | Self::Finished { .. } => Vec::new(),
        }
    }

    fn of(event: &model::RunEvent, long: &mut Long) -> Self {
        match event {
            model::RunEvent::Created { workflow, version, inputs, stages } => Self::Created {
                workflow: workflow.to_string(),
                version: *version.as_bytes(),
                inputs: inputs.iter().map(|(name, value)| (name.to_string(), long.take(value.to_string()))).collect(),
                stages: stages.iter().map(Pinned::of).collect(),
            },
            model::RunEvent::AttemptStarted { attempt, config } => {
                Self::AttemptStarted { attempt: Attempt::of(attempt), config: long.take(config.to_string()) }
            }
            model::RunEvent::AttemptEnded { attempt, outcome } => {
                Self::AttemptEnded { attempt: Attempt::of(attempt), end: End::of(outcome, long) }
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

    fn into_model(self, run: RunId, long: &Long) -> Result<model::RunEvent, Broken> {
        Ok(match self {
            Self::Created { workflow, version, inputs, stages } => {
                let input = |(name, value): (String, Text)| Ok((parse("event", &name)?, json(&long.text(value)?)?));
                model::RunEvent::Created {
                    workflow: parse("event", &workflow)?,
                    version: Digest::from_bytes(version),
                    inputs: inputs.into_iter().map(input).collect::<Result<_, Broken>>()?,
                    stages: stages.into_iter().map(Pinned::into_model).collect::<Result<_, _>>()?,
                }
            }
            Self::AttemptStarted { attempt, config } => {
                let config = json(&long.text(config)?)?;
                model::RunEvent::AttemptStarted { attempt: attempt.into_model(run)?, config }
            }
            Self::AttemptEnded { attempt, end } => model::RunEvent::AttemptEnded {
                attempt: attempt.into_model(run)?,
                outcome: end.into_model(long)?,
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
    fn of(outcome: &model::AttemptOutcome, long: &mut Long) -> Self {
        match outcome {
            model::AttemptOutcome::Succeeded { outputs, workspace } => Self::Succeeded {
                outputs: long.take(outputs.to_string()),
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

    fn into_model(self, long: &Long) -> Result<model::AttemptOutcome, Broken> {
        Ok(match self {
            Self::Succeeded { outputs, workspace } => model::AttemptOutcome::Succeeded {
                outputs: json(&long.text(outputs)?)?,
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

fn json(text: &str) -> Result<Value, Broken> {
    serde_json::from_str(text).map_err(|e| Broken::damaged("event", e))
}
