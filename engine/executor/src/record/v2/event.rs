//! The events of a run as version 2 stores them: more kinds than version 1, and long texts beside them.
//!
//! `convert.rs` is the way to the model and back.

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};
use yuanli_model::{self as model, Digest, RunId, Timestamp};

use super::super::envelope::{Broken, Stored};
use super::super::long::{Long, Text};
use super::super::v1::{self, Attempt, Class, Outcome};
use crate::history::Recorded;

/// The events of one transition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Transition {
    at_ms: u64,
    events: Vec<Event>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum Event {
    Created(Box<Created>),
    Admitted { deadline_ms: Option<u64> },
    StageReused { stage: String, from: [u8; 16], outputs: Text, workspaces: Vec<[u8; 32]> },
    StageExpanded { stage: String, instances: Text, parallel: NonZeroU32 },
    ApprovalRequested { stage: String, message: Option<Text>, deadline_ms: Option<u64> },
    ApprovalAnswered { stage: String, answer: Answer },
    ApprovalEnded { stage: String, verdict: Verdict },
    AttemptStarted { attempt: Attempt, config: Text },
    AttemptEnded { attempt: Attempt, end: End, then: Then },
    StageSkipped { stage: String, reason: Reason },
    CancelRequested { reason: String },
    TimedOut,
    Interrupted,
    Finished { outcome: Outcome, outputs: Option<Text>, failure: Option<Failure> },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Created {
    pub(super) workflow: String,
    pub(super) version: [u8; 32],
    pub(super) inputs: Vec<(String, Text)>,
    pub(super) stages: Vec<Pinned>,
    pub(super) group: Option<String>,
    pub(super) deadline_ms: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Pinned {
    pub(super) name: String,
    pub(super) section: Section,
    pub(super) plugin: String,
    pub(super) component: [u8; 32],
    pub(super) needs: Vec<String>,
    pub(super) allow_failure: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) enum Section {
    Main,
    OnFailure,
    Finally,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Answer {
    pub(super) by: String,
    pub(super) is_approved: bool,
    pub(super) comment: Option<String>,
    pub(super) inputs: Text,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) enum Verdict {
    Approved,
    Rejected,
    ExpiredApproved,
    ExpiredRejected,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) enum Then {
    End,
    Allow,
    Retry { at_ms: u64 },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum Reason {
    NeedNotMet(String),
    Condition { expression: String, values: Vec<(String, String)> },
    RunCancelled,
    RunTimedOut,
    RunInterrupted,
    NoFailure,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum End {
    Succeeded { outputs: Text, workspace: Option<[u8; 32]> },
    Failed(Failure),
    Cancelled,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Failure {
    pub(super) class: Class,
    pub(super) kind: String,
    pub(super) message: String,
    pub(super) details: Vec<(String, String)>,
}

impl Stored for Transition {
    const WHAT: &'static str = "event";
    const VERSION: u8 = 2;

    fn older(version: u8, body: &[u8]) -> Option<postcard::Result<Self>> {
        (version == 1).then(|| postcard::from_bytes::<v1::Transition>(body).map(Self::from))
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
            Self::Created(created) => created.inputs.iter().map(|(_, text)| text).collect(),
            Self::StageReused { outputs: text, .. }
            | Self::StageExpanded { instances: text, .. }
            | Self::AttemptStarted { config: text, .. }
            | Self::AttemptEnded { end: End::Succeeded { outputs: text, .. }, .. } => vec![text],
            Self::ApprovalRequested { message: text, .. } | Self::Finished { outputs: text, .. } => {
                text.iter().collect()
            }
            Self::ApprovalAnswered { answer, .. } => vec![&answer.inputs],
            Self::Admitted { .. }
            | Self::ApprovalEnded { .. }
            | Self::AttemptEnded { .. }
            | Self::StageSkipped { .. }
            | Self::CancelRequested { .. }
            | Self::TimedOut
            | Self::Interrupted => Vec::new(),
        }
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
                let stages = stages.into_iter().map(Pinned::from).collect();
                let (group, deadline_ms) = (None, None);
                Self::Created(Box::new(Created { workflow, version, inputs, stages, group, deadline_ms }))
            }
            v1::Event::AttemptStarted { attempt, config } => {
                Self::AttemptStarted { attempt, config: Text::Inline(config) }
            }
            v1::Event::AttemptEnded { attempt, end } => {
                Self::AttemptEnded { attempt, end: end.into(), then: Then::End }
            }
            v1::Event::StageSkipped { stage, need } => {
                Self::StageSkipped { stage, reason: need.map_or(Reason::RunCancelled, Reason::NeedNotMet) }
            }
            v1::Event::CancelRequested { reason } => Self::CancelRequested { reason },
            v1::Event::Finished { outcome } => Self::Finished { outcome, outputs: None, failure: None },
        }
    }
}

impl From<v1::Pinned> for Pinned {
    fn from(v1::Pinned { name, plugin, component, needs }: v1::Pinned) -> Self {
        Self { name, section: Section::Main, plugin, component, needs, allow_failure: false }
    }
}

impl From<v1::End> for End {
    fn from(end: v1::End) -> Self {
        match end {
            v1::End::Succeeded { outputs, workspace } => {
                Self::Succeeded { outputs: Text::Inline(outputs), workspace }
            }
            v1::End::Failed { class, kind, message, details } => {
                Self::Failed(Failure { class, kind, message, details })
            }
            v1::End::Cancelled => Self::Cancelled,
        }
    }
}

#[cfg(test)]
mod tests {
    use yuanli_model::run::{PinnedStage, Then};
    use yuanli_model::{AttemptId, AttemptOutcome, RunEvent, SkipReason};

    use super::*;
    use crate::record::envelope;

    /// What version 1 wrote of a run whose stage `a` failed and whose stage `b` was skipped, kept as it was.
    const EVENTS_OF_VERSION_1: &str = "0180d095ffbc3105000473686f7003030303030303030303030303030303030303030303030303030303\
                                       030303030103746167052264657622020161067363726970740707070707070707070707070707070707\
                                       070707070707070707070707070707000162067363726970740707070707070707070707070707070707\
                                       07070707070707070707070707070701016101016100010d7b22696d616765223a2278227d0201610001\
                                       010009657869742d636f64650f697420656e646564207769746820310109657869742d636f6465013103\
                                       01620101610501";

    #[test]
    fn events_of_version_1_are_still_read() {
        let bytes = hex::decode(EVENTS_OF_VERSION_1).expect("a fixture");
        let transition: Transition = envelope::open(&bytes).expect("it is read");
        let run = RunId::from_u128(7);
        let events = transition.into_events(run, 0, &Long::default()).expect("it is whole");
        assert!(events.iter().all(|recorded| recorded.at == Timestamp::from_millis(1_700_000_000_000)));
        let stage = |name: &str, needs: &[&str]| PinnedStage {
            name: name.parse().expect("a name"),
            section: model::Section::Main,
            plugin: "script".to_owned(),
            component: Digest::from_bytes([7; 32]),
            needs: needs.iter().map(|need| need.parse().expect("a name")).collect(),
            allow_failure: false,
        };
        let attempt = || AttemptId { run, stage: "a".parse().expect("a name"), instance: 0, attempt: 1 };
        let inputs = [("tag".parse().expect("a name"), serde_json::json!("dev"))];
        let failure = model::Failure::permanent("exit-code", "it ended with 1").with_detail("exit-code", "1");
        let expect = [
            RunEvent::Created {
                workflow: "shop".parse().expect("a name"),
                version: Digest::from_bytes([3; 32]),
                inputs: inputs.into_iter().collect(),
                stages: vec![stage("a", &[]), stage("b", &["a"])],
                group: None,
                deadline: None,
            },
            RunEvent::AttemptStarted { attempt: attempt(), config: serde_json::json!({ "image": "x" }) },
            RunEvent::AttemptEnded {
                attempt: attempt(),
                outcome: AttemptOutcome::Failed(failure),
                then: Then::End,
            },
            RunEvent::StageSkipped {
                stage: "b".parse().expect("a name"),
                reason: SkipReason::NeedNotMet("a".parse().expect("a name")),
            },
            RunEvent::Finished { outcome: model::Outcome::Failed, outputs: None, failure: None },
        ];
        let events: Vec<RunEvent> = events.into_iter().map(|recorded| recorded.event).collect();
        assert_eq!(events, expect);
    }
}
