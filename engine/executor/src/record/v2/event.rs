//! The events of a run as version 2 stored them: more kinds than version 1, and long texts beside them. Version 6 has those
//! within its own.
//!
//! `convert.rs` is the way to the model and back.

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

use super::super::long::Text;
use super::super::v1::{self, Attempt, Class, Outcome};

/// The events of one transition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Transition {
    pub(crate) at_ms: u64,
    pub(crate) events: Vec<Event>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Event {
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
pub(crate) struct Created {
    pub(super) workflow: String,
    pub(super) version: [u8; 32],
    pub(super) inputs: Vec<(String, Text)>,
    pub(super) stages: Vec<Pinned>,
    pub(super) group: Option<String>,
    pub(super) deadline_ms: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Pinned {
    pub(super) name: String,
    pub(super) section: Section,
    pub(super) plugin: String,
    pub(super) component: [u8; 32],
    pub(super) needs: Vec<String>,
    pub(super) allow_failure: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) enum Section {
    Main,
    OnFailure,
    Finally,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Answer {
    pub(super) by: String,
    pub(super) is_approved: bool,
    pub(super) comment: Option<String>,
    pub(super) inputs: Text,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) enum Verdict {
    Approved,
    Rejected,
    ExpiredApproved,
    ExpiredRejected,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) enum Then {
    End,
    Allow,
    Retry { at_ms: u64 },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Reason {
    NeedNotMet(String),
    Condition { expression: String, values: Vec<(String, String)> },
    RunCancelled,
    RunTimedOut,
    RunInterrupted,
    NoFailure,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum End {
    Succeeded { outputs: Text, workspace: Option<[u8; 32]> },
    Failed(Failure),
    Cancelled,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Failure {
    pub(super) class: Class,
    pub(super) kind: String,
    pub(super) message: String,
    pub(super) details: Vec<(String, String)>,
}

impl Transition {
    /// Reads what engines before version 3 of it wrote; `None` for versions that were never written.
    pub(crate) fn read(version: u8, body: &[u8]) -> Option<postcard::Result<Self>> {
        match version {
            1 => Some(postcard::from_bytes::<v1::Transition>(body).map(Self::from)),
            2 => Some(postcard::from_bytes(body)),
            _ => None,
        }
    }
}

impl Event {
    pub(crate) fn texts(&self) -> Vec<&Text> {
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
    use yuanli_model::{
        self as model, AttemptId, AttemptOutcome, Digest, RunEvent, RunId, SkipReason, Timestamp,
    };

    use crate::record::envelope;
    use crate::record::long::Long;
    use crate::record::v8::Transition;

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
                priority: yuanli_model::workflow::Priority::default(),
                deadline: None,
                provenance: Box::default(),
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
