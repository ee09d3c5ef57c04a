//! What starts a run of a workflow without a person, as a workflow declares it.

use std::fmt;

use crate::schedule::Schedule;
use crate::{SecretName, Template};

/// The triggers of a workflow, its `on:`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Triggers {
    /// At these times. A time that was missed while no engine ran is made up for once.
    pub schedules: Vec<Schedule>,
    /// By a signed HTTP request.
    pub webhook: Option<Webhook>,
}

/// A signed request to `/hooks/NAME` starts a run; NAME is the workflow's.
#[derive(Debug, Clone, PartialEq)]
pub struct Webhook {
    /// The secret that the sender signs with (HMAC-SHA256 over the raw body).
    pub secret: SecretName,
    /// Inputs of the run from the request: a map; `trigger.body` is its JSON.
    pub inputs: Option<Template>,
}

/// What started a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// A person or another system asked for it.
    Manual,
    /// A time of a schedule.
    Schedule,
    /// A signed request.
    Webhook,
}

impl Cause {
    /// The word in documents and output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Manual => "manual",
            Self::Schedule => "schedule",
            Self::Webhook => "webhook",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
