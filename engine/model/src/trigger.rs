//! What starts a run of a workflow without a person, as a workflow declares it.

use std::fmt;
use std::time::Duration;

use crate::schedule::Schedule;
use crate::{AppName, Outcome, SecretName, Template, WorkflowName};

/// The triggers of a workflow, its `on:`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Triggers {
    /// At these times. A time that was missed while no engine ran is made up for once.
    pub schedules: Vec<Schedule>,
    /// By a signed HTTP request.
    pub webhook: Option<Webhook>,
    /// When something that is measured crosses a threshold.
    pub metrics: Vec<MetricTrigger>,
    /// When something happens in the engine.
    pub events: Vec<EventTrigger>,
}

/// A signed request to `/hooks/NAME` starts a run; NAME is the workflow's.
#[derive(Debug, Clone, PartialEq)]
pub struct Webhook {
    /// The secret that the sender signs with (HMAC-SHA256 over the raw body).
    pub secret: SecretName,
    /// Inputs of the run from the request: a map; `trigger.body` is its JSON.
    pub inputs: Option<Template>,
}

/// A measured value that crosses a threshold, and stays there, starts a run: one for each time that it crosses.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricTrigger {
    /// What is measured: a query in PromQL that gives one number.
    pub query: String,
    /// The base URL of the Prometheus that is asked; the engine's own metrics when absent.
    pub source: Option<String>,
    /// Where it has to be.
    pub threshold: Threshold,
    /// How long it has to be there before a run starts.
    pub hold: Duration,
    /// Until where it has to come back before it can start another run; the threshold itself when absent.
    pub clear: Option<f64>,
    /// The least time between two starts.
    pub cooldown: Duration,
    /// Inputs of the run: a map; `trigger.body` is `{value}`.
    pub inputs: Option<Template>,
}

/// Where a measured value has to be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Threshold {
    /// Greater than this.
    Above(f64),
    /// Less than this.
    Below(f64),
}

/// Something that happens in the engine starts a run.
#[derive(Debug, Clone, PartialEq)]
pub struct EventTrigger {
    /// What has to happen.
    pub event: Event,
    /// Inputs of the run: a map; `trigger.body` is what happened, see [`Event`].
    pub inputs: Option<Template>,
}

/// What happens in the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A run of another workflow ended: `{workflow, run, outcome, outputs}`.
    RunEnded {
        /// Of which.
        workflow: WorkflowName,
        /// How it has to have ended; however when empty.
        outcomes: Vec<Outcome>,
    },
    /// An image was pushed: `{image, digest}`.
    ImagePushed {
        /// Its repository, with or without a tag; any tag without.
        image: String,
    },
    /// An app got a new release, or another state: `{app, release, state}`.
    AppChanged {
        /// Which one.
        app: AppName,
    },
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
