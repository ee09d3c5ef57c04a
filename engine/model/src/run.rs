//! What happens in a run, as data.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use indexmap::IndexMap;
use serde_json::Value;

use crate::id::InvalidId;
use crate::stage::WorkflowReference;
use crate::workflow::Priority;
use crate::{AttemptId, Digest, InputName, RunId, Section, StageName, Timestamp, WorkflowName};

/// Something that happened in a run. A run is its events, in order.
#[derive(Debug, Clone, PartialEq)]
pub enum RunEvent {
    /// The run was admitted or queued; everything that it depends on is pinned here.
    Created {
        /// The workflow's name.
        workflow: WorkflowName,
        /// The digest of the workflow's text.
        version: Digest,
        /// The checked inputs, defaults filled in.
        inputs: IndexMap<InputName, Value>,
        /// The stages with what they will run, in the order of the document.
        stages: Vec<PinnedStage>,
        /// The concurrency group that it waits for; without one it begins at once.
        group: Option<String>,
        /// How early it begins among those of its group that wait.
        priority: Priority,
        /// When its time is over, for one that begins at once.
        deadline: Option<Timestamp>,
        /// Where it comes from.
        provenance: Box<Provenance>,
    },
    /// It begins: its concurrency group has a place for it.
    Admitted {
        /// When its time is over.
        deadline: Option<Timestamp>,
    },
    /// What became of a stage in another run is taken over; it does not run again.
    StageReused {
        /// Which one.
        stage: StageName,
        /// The run that it is taken from.
        from: RunId,
        /// What became of it there.
        result: StageResult,
        /// What it left of its workspaces.
        workspaces: Vec<Digest>,
    },
    /// What some instances of a stage gave in another run can be taken over; which of them are is said when the instances
    /// are known.
    InstancesReused {
        /// Which stage.
        stage: StageName,
        /// The run that they are taken from.
        from: RunId,
        /// They, in their order.
        instances: Vec<ReusedInstance>,
    },
    /// The instances of a stage are known.
    StageExpanded {
        /// Which one.
        stage: StageName,
        /// What expressions see as `item` or `matrix`, for each instance.
        instances: Vec<Value>,
        /// Most of them that run at the same time.
        parallel: NonZeroU32,
        /// Those of which it is taken over what they gave in another run: they do not run again.
        reused: Vec<u32>,
    },
    /// A stage waits for a person.
    ApprovalRequested {
        /// Which one.
        stage: StageName,
        /// What is asked.
        message: Option<String>,
        /// When the answer is given without a person.
        deadline: Option<Timestamp>,
    },
    /// A person answered.
    ApprovalAnswered {
        /// Which stage.
        stage: StageName,
        /// Who and what.
        answer: Answer,
    },
    /// A stage waits no longer for a person.
    ApprovalEnded {
        /// Which one.
        stage: StageName,
        /// What became of it.
        verdict: Verdict,
    },
    /// An attempt was decided on; it starts once this is durable.
    AttemptStarted {
        /// Which one.
        attempt: AttemptId,
        /// The plugin's config, every expression evaluated.
        config: Value,
    },
    /// An attempt came to its end.
    AttemptEnded {
        /// Which one.
        attempt: AttemptId,
        /// How it ended.
        outcome: AttemptOutcome,
        /// What comes after it.
        then: Then,
    },
    /// Nothing of earlier runs stands for stages of this one, whatever they may.
    CacheBypassed,
    /// It was looked whether what an earlier run gave stands for an attempt of a stage that is cached.
    CacheConsulted {
        /// The attempt.
        attempt: AttemptId,
        /// What was found.
        finding: CacheFinding,
    },
    /// A stage will not run.
    StageSkipped {
        /// Which one.
        stage: StageName,
        /// Why.
        reason: SkipReason,
    },
    /// Somebody asked for the end of the run.
    CancelRequested {
        /// Who or why, for a person.
        reason: String,
    },
    /// The run took longer than it may.
    TimedOut,
    /// The engine that drove the run is gone, and the run is not gone on with.
    Interrupted,
    /// The run is over; nothing comes after this.
    Finished {
        /// How it ended.
        outcome: Outcome,
        /// The outputs of the workflow, if it has some and succeeded: a map.
        outputs: Option<Value>,
        /// Why it failed, when that is no failure of a stage.
        failure: Option<Failure>,
    },
}

/// Where a run comes from: what started it, and what it takes to begin with it again.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Provenance {
    /// What started it.
    pub cause: Cause,
    /// The folder of the workflow's file, and the work tree around that; `None` for runs of engines that did not keep it.
    pub origin: Option<(String, String)>,
    /// The workflows that its stages may run.
    pub workflows: Vec<PinnedWorkflow>,
    /// The run that it takes over from, if there is one.
    pub again: Option<Again>,
    /// Words to find it by: those of its workflow, and those that it was started with over them.
    pub labels: BTreeMap<String, String>,
}

/// What started a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Cause {
    /// It is not known: an older engine has started it.
    #[default]
    Unknown,
    /// Somebody ran a command.
    Command,
    /// A request to the engine.
    Request,
    /// A schedule.
    Schedule {
        /// When it was due.
        due: Timestamp,
    },
    /// A signed request.
    Webhook,
    /// Something that happened in the engine.
    Event,
    /// A measured value that crossed a threshold.
    Metric,
    /// A stage of another run.
    Stage(AttemptId),
}

impl Cause {
    /// The word for it in output.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Command => "command",
            Self::Request => "request",
            Self::Schedule { .. } => "schedule",
            Self::Webhook => "webhook",
            Self::Event => "event",
            Self::Metric => "metric",
            Self::Stage(_) => "stage",
        }
    }
}

/// A workflow that stages of a run may run, as it was when the run was started.
#[derive(Debug, Clone, PartialEq)]
pub struct PinnedWorkflow {
    /// As stages call it.
    pub uses: WorkflowReference,
    /// The digest of its text.
    pub version: Digest,
    /// The folder of its file, and the work tree around that.
    pub origin: (String, String),
}

/// That a run takes over from another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Again {
    /// The other one.
    pub run: RunId,
    /// Where this one was to begin; empty for what did not succeed in that.
    pub from: Vec<StartingPoint>,
    /// The inputs whose values are other ones.
    pub changed: Vec<InputName>,
}

/// Where a run begins that takes over from another one: with a stage, or with one instance of it. Written `test`, `test[2]`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct StartingPoint {
    /// The stage.
    pub stage: StageName,
    /// The instance, from 0; all of them when absent.
    pub instance: Option<u32>,
}

impl fmt::Display for StartingPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.instance {
            Some(instance) => write!(f, "{}[{instance}]", self.stage),
            None => self.stage.fmt(f),
        }
    }
}

impl FromStr for StartingPoint {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let of_list = text.strip_suffix(']').and_then(|text| text.split_once('['));
        let of_list = of_list.and_then(|(stage, instance)| Some((stage, instance.parse().ok()?)));
        match of_list {
            Some((stage, instance)) => Ok(Self { stage: stage.parse()?, instance: Some(instance) }),
            None => Ok(Self { stage: text.parse()?, instance: None }),
        }
    }
}

/// What became of a stage that is taken over.
#[derive(Debug, Clone, PartialEq)]
pub enum StageResult {
    /// It succeeded.
    Succeeded {
        /// With these outputs.
        outputs: Value,
    },
    /// It failed, which it may.
    Allowed {
        /// Why.
        failure: Failure,
        /// What those of its instances gave that did not fail, if it has several.
        outputs: Option<Value>,
    },
    /// It failed.
    Failed(Failure),
    /// It did not run.
    Skipped(SkipReason),
}

/// What there was of earlier runs for an attempt of a stage that is cached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CacheFinding {
    /// What this run gave: it is taken over, and the plugin does not run.
    Hit {
        /// The run.
        from: RunId,
    },
    /// Nothing.
    Nothing,
    /// Nothing that is the same in all that counts.
    Differs {
        /// The latest run of which something is kept.
        from: RunId,
        /// The first thing that counts and is another one, such as `config.image` or `files.src/main.rs`.
        part: String,
    },
    /// The same, but older than it may be.
    TooOld {
        /// The run that gave it.
        from: RunId,
    },
    /// The same, but not whole any more.
    Gone {
        /// The run that gave it.
        from: RunId,
    },
}

/// An instance of a stage that can be taken over.
#[derive(Debug, Clone, PartialEq)]
pub struct ReusedInstance {
    /// Its number.
    pub instance: u32,
    /// What it ran for: it is taken over for the same only.
    pub item: Value,
    /// What it gave.
    pub outputs: Value,
    /// What it left of its workspace.
    pub workspace: Option<Digest>,
}

/// A stage as a run pinned it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PinnedStage {
    /// The stage.
    pub name: StageName,
    /// The part of the run that it belongs to.
    pub section: Section,
    /// What `uses:` named; empty when it only waits for a person.
    pub plugin: String,
    /// The component that the name stood for at admission: of a plugin, or the text of a workflow.
    pub component: Digest,
    /// What it needs.
    pub needs: Vec<StageName>,
    /// Whether it may fail.
    pub allow_failure: bool,
}

/// What comes after the end of an attempt.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Then {
    /// Nothing: its outcome is that of its stage instance.
    #[default]
    End,
    /// Nothing: it failed, which the stage may.
    Allow,
    /// Another attempt, at this time.
    Retry(Timestamp),
}

/// An answer of a person to an approval.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// Who.
    pub by: String,
    /// Whether they agree.
    pub is_approved: bool,
    /// Why, in their words.
    pub comment: Option<String>,
    /// What the approval asked for; a map.
    pub inputs: Value,
}

/// What became of an approval.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Enough people agreed.
    Approved,
    /// Somebody did not.
    Rejected,
    /// Nobody answered in time, and the stage goes on.
    ExpiredApproved,
    /// Nobody answered in time, and the stage fails.
    ExpiredRejected,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq)]
pub enum AttemptOutcome {
    /// It did its job.
    Succeeded {
        /// What it gives to the stages after it.
        outputs: Value,
        /// What it left of its workspace; `None` when nothing was ever written there.
        workspace: Option<Digest>,
    },
    /// It did not.
    Failed(Failure),
    /// It was stopped because its run was cancelled.
    Cancelled,
}

/// Why an attempt failed: data for the engine and a sentence for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What the engine decides by.
    pub class: FailureClass,
    /// A short word for machines, such as `exit-code`, `timeout`, `memory-limit`.
    pub kind: String,
    /// What went wrong, where, and what to do.
    pub message: String,
    /// More, as key and value.
    pub details: Vec<(String, String)>,
}

/// What may be done about a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FailureClass {
    /// Trying again gives the same.
    Permanent,
    /// Trying again may help.
    Transient,
    /// Trying again may help after a while.
    Throttled {
        /// How long to wait, when the other side said so.
        retry_after: Option<Duration>,
    },
    /// It was asked to stop.
    Cancelled,
    /// Whether an effect happened cannot be known.
    Interrupted,
    /// A class that a newer contract knows; treated as permanent.
    Other(String),
}

impl FailureClass {
    /// The word for it in documents and output.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Permanent => "permanent",
            Self::Transient => "transient",
            Self::Throttled { .. } => "throttled",
            Self::Cancelled => "cancelled",
            Self::Interrupted => "interrupted",
            Self::Other(name) => name,
        }
    }
}

impl Failure {
    /// A failure without details.
    pub fn new(class: FailureClass, kind: impl Into<String>, message: impl Into<String>) -> Self {
        Self { class, kind: kind.into(), message: message.into(), details: Vec::new() }
    }

    /// A failure that trying again will not mend.
    pub fn permanent(kind: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(FailureClass::Permanent, kind, message)
    }

    /// A failure that trying again may mend.
    pub fn transient(kind: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(FailureClass::Transient, kind, message)
    }

    /// The same failure with one more detail.
    #[must_use]
    pub fn with_detail(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.details.push((key.into(), value.into()));
        self
    }
}

/// Why a stage was not run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SkipReason {
    /// Its condition is false.
    Condition {
        /// The expression.
        expression: String,
        /// What it read, as text, each shortened: name and value.
        values: Vec<(String, String)>,
    },
    /// This need did not succeed: it failed, or was itself skipped or cancelled.
    NeedNotMet(StageName),
    /// The run was cancelled before it began.
    RunCancelled,
    /// The run's time was over before it began.
    RunTimedOut,
    /// The engine was gone before it began.
    RunInterrupted,
    /// It is there for runs that fail, and this one did not.
    NoFailure,
}

/// For a person.
impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NeedNotMet(need) => write!(f, "`{need}` did not succeed"),
            Self::Condition { expression, values } => {
                write!(f, "`{expression}` is false")?;
                let seen: Vec<String> =
                    values.iter().map(|(name, value)| format!("{name} is {value}")).collect();
                if seen.is_empty() { Ok(()) } else { write!(f, " ({})", seen.join(", ")) }
            }
            Self::RunCancelled => f.write_str("the run was cancelled"),
            Self::RunTimedOut => f.write_str("the time of the run was over"),
            Self::RunInterrupted => f.write_str("the engine was stopped"),
            Self::NoFailure => f.write_str("nothing failed"),
        }
    }
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Every stage succeeded.
    Succeeded,
    /// At least one stage failed.
    Failed,
    /// It was cancelled.
    Cancelled,
}

impl Outcome {
    /// The word for it in documents and output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}
