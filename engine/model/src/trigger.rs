//! What starts a run of a workflow without a person, as a workflow declares it.

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use crate::app::ReleaseNumber;
use crate::schedule::Schedule;
use crate::{AppName, Expression, Outcome, RunId, SecretName, Template, Timestamp, WorkflowName};

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
    /// After how many runs in a row that failed the workflow is paused; never when absent.
    pub pause_after_failures: Option<NonZeroU32>,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
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
    /// After how many of its runs in a row that failed the schedule is paused; never when absent.
    pub pause_after_failures: Option<NonZeroU32>,
}

/// What becomes of due times that went by unseen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
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
    /// The secret that the sender signs with, or shows.
    pub secret: SecretName,
    /// Who sends: how its requests are signed, and where they say what happened.
    pub provider: Provider,
    /// Which of its requests start a run; the others are answered and start none.
    pub filter: HookFilter,
    /// Inputs of the run from the request: a map; `trigger.body` is its JSON.
    pub inputs: Option<Template>,
    /// How long a request waits for the end of its run; without it the answer comes once the run is durable.
    pub wait: Option<Duration>,
}

/// Who sends requests to a webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Provider {
    /// Whoever signs as GitHub does: `X-Hub-Signature-256` is the HMAC-SHA256 of the body.
    #[default]
    Generic,
    /// GitHub.
    Github,
    /// GitLab: `X-Gitlab-Token` is the secret, or the request is signed as Standard Webhooks has it.
    Gitlab,
    /// Gitea and Forgejo.
    Gitea,
    /// Notifications of a registry after the distribution specification: `Authorization: Bearer` and the secret.
    Registry,
    /// Standard Webhooks: id, time and body are signed, and a time too far from now is refused.
    Standard,
}

impl Provider {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Generic, Self::Github, Self::Gitlab, Self::Gitea, Self::Registry, Self::Standard];

    /// Its name in documents and in what is stored.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Generic => "generic",
            Self::Github => "github",
            Self::Gitlab => "gitlab",
            Self::Gitea => "gitea",
            Self::Registry => "registry",
            Self::Standard => "standard",
        }
    }

    /// The keys of a filter that its requests can answer.
    #[must_use]
    pub const fn filters(self) -> &'static [&'static str] {
        match self {
            Self::Generic => &[],
            Self::Github | Self::Gitlab | Self::Gitea => &["events", "branches", "tags", "paths"],
            Self::Registry => &["events", "tags"],
            Self::Standard => &["events"],
        }
    }
}

/// Which requests start a run: those that fit each part that is not empty.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HookFilter {
    /// What happened, as the sender calls it: `push`.
    pub events: Vec<String>,
    /// Patterns of the branch that it happened to, of a pull request that which it goes into. `*` stands for any text without
    /// `/`, `**` for any text.
    pub branches: Vec<String>,
    /// Patterns of the tag. With `branches` one of the two is enough.
    pub tags: Vec<String>,
    /// Patterns of files of which one was changed. What does not tell its files is not held back.
    pub paths: Vec<String>,
    /// What has to be true of the body, `trigger.body`.
    pub condition: Option<Expression>,
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

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Above(limit) => write!(f, "above {limit}"),
            Self::Below(limit) => write!(f, "below {limit}"),
        }
    }
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

impl Event {
    /// What it is about.
    #[must_use]
    pub fn subject(&self) -> Subject {
        match self {
            Self::RunEnded { workflow, .. } => Subject::Workflow(workflow.clone()),
            Self::ImagePushed { image } => Subject::Image(repository(image).to_owned()),
            Self::AppChanged { app } => Subject::App(app.clone()),
        }
    }

    /// The workflow whose end it is about.
    #[must_use]
    pub const fn ends(&self) -> Option<&WorkflowName> {
        match self {
            Self::RunEnded { workflow, .. } => Some(workflow),
            Self::ImagePushed { .. } | Self::AppChanged { .. } => None,
        }
    }

    /// Whether this is it.
    #[must_use]
    pub fn fits(&self, happened: &Happened) -> bool {
        self.subject() == happened.subject()
            && match (self, happened) {
                (Self::RunEnded { outcomes, .. }, Happened::RunEnded { outcome, .. }) => {
                    outcomes.is_empty() || outcomes.contains(outcome)
                }
                (Self::ImagePushed { image }, Happened::ImagePushed { image: pushed, .. }) => {
                    image == repository(image) || image == pushed
                }
                _ => true,
            }
    }
}

/// In words.
impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RunEnded { workflow, outcomes } if outcomes.is_empty() => {
                write!(f, "a run of {workflow} ended")
            }
            Self::RunEnded { workflow, outcomes } => {
                let names: Vec<&str> = outcomes.iter().map(|outcome| outcome.name()).collect();
                write!(f, "a run of {workflow} ended {}", names.join(" or "))
            }
            Self::ImagePushed { image } => write!(f, "the image {image} was pushed"),
            Self::AppChanged { app } => write!(f, "the app {app} changed"),
        }
    }
}

/// What an event is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// Runs of a workflow.
    Workflow(WorkflowName),
    /// The images of a repository.
    Image(String),
    /// An app.
    App(AppName),
}

/// Something that has happened in the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happened {
    /// A run ended.
    RunEnded {
        /// Of which workflow.
        workflow: WorkflowName,
        /// Which one.
        run: RunId,
        /// How.
        outcome: Outcome,
    },
    /// An image was pushed.
    ImagePushed {
        /// The name that it was pushed under, with its tag.
        image: String,
        /// What it is in the registry, `sha256:` and 64 hexadecimal digits.
        digest: String,
        /// The operation that pushed it: the same when it is told again.
        operation: String,
    },
    /// An app got a new release, or another state.
    AppChanged {
        /// Which one.
        app: AppName,
        /// The release that it is to run.
        release: ReleaseNumber,
        /// How far that is.
        state: AppState,
        /// When.
        at: Timestamp,
    },
}

impl Happened {
    /// What it is about.
    #[must_use]
    pub fn subject(&self) -> Subject {
        match self {
            Self::RunEnded { workflow, .. } => Subject::Workflow(workflow.clone()),
            Self::ImagePushed { image, .. } => Subject::Image(repository(image).to_owned()),
            Self::AppChanged { app, .. } => Subject::App(app.clone()),
        }
    }
}

/// How far the release is that an app is to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AppState {
    /// Its replicas are being started, or requests move over to it.
    RollingOut,
    /// Every replica is of it and serves.
    Healthy,
    /// It cannot be brought to serve, or was given up; the one before serves.
    Failed,
    /// It did not get there in the time that it had.
    TimedOut,
    /// The app is on its way out.
    Deleted,
}

impl AppState {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::RollingOut, Self::Healthy, Self::Failed, Self::TimedOut, Self::Deleted];

    /// Its name in documents, in what is stored, and in answers.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::RollingOut => "rolling-out",
            Self::Healthy => "healthy",
            Self::Failed => "failed",
            Self::TimedOut => "timed-out",
            Self::Deleted => "deleted",
        }
    }
}

/// The name of an image without its tag and digest. A colon before the last slash is that of a port.
fn repository(image: &str) -> &str {
    let name = image.split_once('@').map_or(image, |(name, _)| name);
    let last = name.rfind('/').map_or(0, |slash| slash + 1);
    name[last..].find(':').map_or(name, |colon| &name[..last + colon])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_known_by_its_repository_and_by_its_tag() {
        let check = |trigger: &str, pushed: &str| {
            let event = Event::ImagePushed { image: trigger.to_owned() };
            let (digest, operation) = ("sha256:0".to_owned(), "1".to_owned());
            event.fits(&Happened::ImagePushed { image: pushed.to_owned(), digest, operation })
        };
        assert!(check("shop", "shop:1"));
        assert!(check("localhost:5000/shop", "localhost:5000/shop:1"));
        assert!(check("localhost:5000/shop:1", "localhost:5000/shop:1"));
        assert!(!check("localhost:5000/shop:1", "localhost:5000/shop:2"));
        assert!(!check("localhost:5000/shop", "localhost:5001/shop:1"));
        assert!(!check("shop", "my/shop:1"));
    }

    #[test]
    fn a_run_is_known_by_its_workflow_and_by_its_outcome() {
        let check = |outcomes: &[Outcome], workflow: &str, outcome| {
            let name = |text: &str| text.parse::<WorkflowName>().expect("a name");
            let event = Event::RunEnded { workflow: name("shop"), outcomes: outcomes.to_vec() };
            event.fits(&Happened::RunEnded { workflow: name(workflow), run: RunId::from_u128(1), outcome })
        };
        assert!(check(&[], "shop", Outcome::Cancelled));
        assert!(check(&[Outcome::Failed], "shop", Outcome::Failed));
        assert!(!check(&[Outcome::Failed], "shop", Outcome::Succeeded));
        assert!(!check(&[], "shop-2", Outcome::Failed));
    }
}
