//! The stored types of version 1, and their translation from and to the model.
//!
//! Never changed once published: a new version is a new module, and this one goes on being read. JSON values are
//! kept as text, as postcard does not describe itself.

use serde::{Deserialize, Serialize};
use yuanli_model as model;
use yuanli_ports::logs::StoredLog;

use super::envelope::{Broken, Stored};

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
pub(crate) enum Outcome {
    Succeeded,
    Failed,
    Cancelled,
}

/// The events of one transition; [`super::v2::Transition`] took its place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Transition {
    pub(super) at_ms: u64,
    pub(super) events: Vec<Event>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum Event {
    Created { workflow: String, version: [u8; 32], inputs: Vec<(String, String)>, stages: Vec<Pinned> },
    AttemptStarted { attempt: Attempt, config: String },
    AttemptEnded { attempt: Attempt, end: End },
    StageSkipped { stage: String, need: Option<String> },
    CancelRequested { reason: String },
    Finished { outcome: Outcome },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Pinned {
    pub(super) name: String,
    pub(super) plugin: String,
    pub(super) component: [u8; 32],
    pub(super) needs: Vec<String>,
}

/// An attempt of the run under whose key it is stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Attempt {
    pub(super) stage: String,
    pub(super) instance: u32,
    pub(super) attempt: u32,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum End {
    Succeeded { outputs: String, workspace: Option<[u8; 32]> },
    Failed { class: Class, kind: String, message: String, details: Vec<(String, String)> },
    Cancelled,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Class {
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

pub(crate) fn parse<T: std::str::FromStr<Err: ToString>>(
    what: &'static str,
    text: &str,
) -> Result<T, Broken> {
    text.parse().map_err(|e: T::Err| Broken::damaged(what, e))
}
