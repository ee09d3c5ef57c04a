//! What starts a run of a workflow without a person, as a workflow declares it.

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use crate::schedule::Schedule;
use crate::{AppName, Outcome, SecretName, Template, Timestamp, WorkflowName};

/// The triggers of a workflow, its `on:`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Triggers {
    /// At these times.
    pub schedules: Vec<ScheduleTrigger>,
    /// By a signed HTTP request.
    pub webhook: Option<Webhook>,
    /// When something that is measured crosses a threshold.
    pub metrics: Vec<MetricTrigger>,
    /// When something happens in the engine.
    pub events: Vec<EventTrigger>,
}

/// Times at which a run starts. No two of a workflow have the same [`Schedule`].
#[derive(Debug, Clone, PartialEq)]
pub struct ScheduleTrigger {
    /// When.
    pub schedule: Schedule,
    /// What bounds it, and what happens when it cannot be kept.
    pub policy: SchedulePolicy,
    /// Inputs of the run: a map; `trigger.body` is `{due}`.
    pub inputs: Option<Template>,
}

/// What bounds a schedule, and what happens when it cannot be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SchedulePolicy {
    /// Due times before this one are none.
    pub from: Option<Timestamp>,
    /// Due times after this one are none.
    pub until: Option<Timestamp>,
    /// A run starts up to this much after its due time, always the same for the same one: so that not everything begins at
    /// the full hour.
    pub jitter: Duration,
    /// What becomes of times that went by while no engine ran.
    pub missed: Missed,
    /// What happens when a run that the schedule has started has not ended.
    pub overlap: Overlap,
}

/// What becomes of due times that went by unseen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Missed {
    /// Nothing.
    Skip,
    /// One run starts, for the latest of them.
    #[default]
    Once,
    /// A run starts for each of the latest ones, at most this many.
    All(NonZeroU32),
}

/// What happens at a due time when a run that the same schedule has started has not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Overlap {
    /// Another one starts beside it.
    #[default]
    Allow,
    /// The time is skipped.
    Skip,
    /// The next one waits for its end; of several that wait only the latest stays.
    QueueOne,
    /// Each waits for the end of the one before.
    Queue,
    /// It is cancelled, and the next one starts when it has ended, with its `finally`.
    CancelRunning,
    /// It is cancelled with its `finally`, and the next one starts when it has ended.
    TerminateRunning,
}

impl Overlap {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Allow, Self::Skip, Self::QueueOne, Self::Queue, Self::CancelRunning, Self::TerminateRunning];

    /// Its name in documents, in what is stored, and in answers.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Skip => "skip",
            Self::QueueOne => "queue-one",
            Self::Queue => "queue",
            Self::CancelRunning => "cancel-running",
            Self::TerminateRunning => "terminate-running",
        }
    }
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
