//! Runs, their stages, what happens in them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::record::{Artifact, Emitted, Summary};

/// Where a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RunStatus {
    /// It has not ended.
    Running,
    /// Every stage succeeded.
    Succeeded,
    /// At least one stage failed.
    Failed,
    /// It was cancelled.
    Cancelled,
}

/// A row of the list of runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunSummary {
    /// Its id.
    pub id: String,
    /// Its workflow.
    pub workflow: String,
    /// The digest of the workflow's text.
    pub version: String,
    /// Where it is.
    pub status: RunStatus,
    /// Whether it has not ended and no engine drives it: `yuanli runs resume` goes on with it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub resumable: bool,
    /// Whether it was open when the data directory was imported or adopted: no engine goes on with it by itself.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub restored: bool,
    /// When it was admitted.
    pub created_at: String,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<String>,
    /// How long it took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// Words to find it by: those of its workflow, and those that it was started with over them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// A run with its stages.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Run {
    /// Its row.
    #[serde(flatten)]
    pub summary: RunSummary,
    /// Its inputs.
    pub inputs: Map<String, Value>,
    /// What started it; absent for runs of older engines, which did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// How early it begins among those of its concurrency group that wait, from -1000 to 1000; left out for 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<i16>,
    /// The run that it takes over from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_of: Option<RetryOf>,
    /// Its stages, in the order of the document.
    pub stages: Vec<Stage>,
    /// What its stages left, those of all attempts, by stage, instance, attempt and name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub artifacts: Vec<Artifact>,
    /// What its stages wrote for people: the artifacts `summary.md` in Markdown, of the last attempt of each instance.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub summaries: Vec<Summary>,
    /// What its stages told, in the order in which they did.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub emitted: Vec<Emitted>,
}

/// What started a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Cause {
    /// `command`, `request`, `schedule`, `webhook`, `event`, `metric` or `stage`.
    pub kind: String,
    /// When a schedule was due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_at: Option<String>,
    /// The run of the stage that started it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// That stage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<String>,
}

/// That a run takes over from another one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RetryOf {
    /// The other one.
    pub run: String,
    /// Where it was to begin, as `STAGE` or `STAGE[INSTANCE]`; empty for what did not succeed.
    pub from: Vec<String>,
    /// The inputs that differ.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changed: Vec<ChangedInput>,
}

/// An input that differs from that of another run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ChangedInput {
    /// Its name.
    pub name: String,
    /// What it was; absent when it was not given, or the other run is not stored any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// What it is; absent when it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
}

/// What a run is to be retried with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RetryRequest {
    /// Where to begin, as `STAGE` or `STAGE[INSTANCE]`; with what did not succeed when empty.
    #[serde(default)]
    pub from: Vec<String>,
    /// Inputs that are to differ, each as text, which is read as the type that the workflow declares.
    #[serde(default)]
    pub inputs: BTreeMap<String, String>,
    /// Whether to take workflow and plugins that their names stand for now, instead of those of the run.
    #[serde(default)]
    pub latest: bool,
    /// Whether stages with `cache` run as well, whatever earlier runs gave.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub no_cache: bool,
}

/// Where a stage is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum StageStatus {
    /// Its needs have not all ended.
    Waiting,
    /// It waits for a person.
    Held,
    /// An attempt of it runs.
    Running,
    /// It ended well.
    Succeeded,
    /// It ended badly.
    Failed,
    /// It was stopped because the run was cancelled.
    Cancelled,
    /// It will not run.
    Skipped,
}

/// A stage of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Stage {
    /// What was pinned of it.
    #[serde(flatten)]
    pub pinned: PinnedStage,
    /// Where it is.
    pub status: StageStatus,
    /// Its attempts, oldest first.
    pub attempts: Vec<Attempt>,
    /// Its instances, when it runs for each item of a list or of a matrix and they are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instances: Option<Instances>,
    /// What it gave, once it succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outputs: Option<Value>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// Whether it may fail, and did: what needs it goes on.
    #[serde(default, skip_serializing_if = "is_false")]
    pub allowed: bool,
    /// Why it was skipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skipped: Option<String>,
    /// The run that what became of it is taken over from, of some instances or of the whole stage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken_from: Option<String>,
}

/// How the instances of a stage are doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Instances {
    /// How many there are.
    pub count: u64,
    /// How many ended.
    pub ended: u64,
    /// How many of those failed.
    pub failed: u64,
}

/// What a run pinned of a stage when it was admitted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PinnedStage {
    /// Its name.
    pub name: String,
    /// The part of the run that it belongs to, when that is not the main part: `on_failure` or `finally`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub section: Option<String>,
    /// The plugin that it runs; empty when it only waits for a person.
    pub plugin: String,
    /// The digest of the plugin's component.
    pub component: String,
    /// The stages that it needs.
    pub needs: Vec<String>,
}

/// One try of a stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Attempt {
    /// The instance of the stage, from 0; left out for 0.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub instance: u32,
    /// Which one, from 1.
    pub attempt: u32,
    /// When it began.
    pub started_at: String,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<String>,
    /// How long it took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// The run whose attempt stood for it, as the stage is cached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached_from: Option<String>,
}

/// Which attempt is to be told once more what it was told.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReplayRequest {
    /// The instance of the stage, from 0; the only one, or the last, when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<u32>,
    /// Which attempt, from 1; the last one whose calls are kept when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
}

/// An attempt that has ended, told once more what it was told, without anything being done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Replay {
    /// The run.
    pub run: String,
    /// The stage.
    pub stage: String,
    /// The instance of the stage, from 0; left out for 0.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub instance: u32,
    /// Which attempt, from 1.
    pub attempt: u32,
    /// The plugin, as the workflow names it.
    pub plugin: String,
    /// The digest of the component that was run.
    pub component: String,
    /// Whether it is another one than that of the attempt.
    pub changed: bool,
    /// What the plugin called, with the answers that were recorded, and what it wrote, in order.
    pub steps: Vec<ReplayStep>,
    /// How many further steps are left out.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub left_out: u32,
    /// How it ended now.
    pub ending: ReplayEnding,
    /// How the attempt ended.
    pub recorded: ReplayEnding,
    /// Whether that is the same.
    pub same: bool,
}

/// One thing that happened in a replay.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", tag = "type")]
pub enum ReplayStep {
    /// A call of a host function.
    Call {
        /// Its number in the journal, from 1. Calls that were recorded together have one.
        index: u32,
        /// When it was made.
        at: String,
        /// `package/interface@version#function`.
        function: String,
        /// Its arguments, in short.
        arguments: String,
        /// What it gave: long texts and lists are cut, bytes are text where they are text.
        answer: Value,
    },
    /// A line that the plugin wrote.
    Line {
        /// `plugin`, `stdout`, `stderr`, `build` or `engine`.
        stream: String,
        /// `debug`, `info`, `warn` or `error`.
        level: String,
        /// The text.
        text: String,
    },
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", tag = "type")]
pub enum ReplayEnding {
    /// With these outputs.
    Succeeded {
        /// Them.
        outputs: Value,
    },
    /// With this failure.
    Failed {
        /// It.
        failure: Failure,
    },
    /// It was cancelled.
    Cancelled,
    /// With another call than the recorded one.
    Mismatch {
        /// Both calls, in words.
        text: String,
    },
    /// Where the attempt was cut off, or with an answer that is not kept.
    Cut {
        /// The call, in words.
        text: String,
    },
}

/// A person's answer to a stage that waits for one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApprovalAnswer {
    /// Whether they agree.
    pub approved: bool,
    /// Who; each person answers once.
    pub by: String,
    /// Why, in their words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// What the stage asks for with the answer.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub inputs: Map<String, Value>,
}

/// Why a stage failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Failure {
    /// `permanent`, `transient`, `throttled`, `cancelled`, `interrupted`, or one of a newer contract.
    pub class: String,
    /// A short word for machines, such as `exit-code`.
    pub kind: String,
    /// What went wrong, where, and what to do.
    pub message: String,
    /// More, as key and value.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub details: Map<String, Value>,
}

/// One line of the stream of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", tag = "type")]
pub enum Update {
    /// Something happened.
    Event(Event),
    /// A stage wrote a line.
    Log(LogLine),
}

/// Something that happened in a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// The run.
    pub run: String,
    /// The event's number in the run, from 0.
    pub number: u32,
    /// When it was decided.
    pub at: String,
    /// What happened.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", tag = "event")]
pub enum EventKind {
    /// The run was admitted.
    Created {
        /// Its workflow.
        workflow: String,
        /// The digest of the workflow's text.
        version: String,
        /// Its inputs.
        inputs: Map<String, Value>,
        /// Its stages, in the order of the document.
        stages: Vec<PinnedStage>,
    },
    /// The concurrency group of the run has a place for it: it begins.
    Admitted,
    /// What a stage gave in another run is taken over.
    StageReused {
        /// The stage.
        stage: String,
        /// The run that it is taken from.
        from: String,
        /// What became of it there: `succeeded`, `failed` or `skipped`.
        #[serde(default = "succeeded")]
        status: StageStatus,
        /// What it gave; null where it gave nothing.
        #[serde(default)]
        outputs: Value,
    },
    /// Nothing of earlier runs stands for stages of this one.
    CacheBypassed,
    /// It was looked whether what an earlier run gave stands for an attempt of a stage that is cached.
    CacheConsulted {
        /// The stage.
        stage: String,
        /// Its instance, from 0.
        instance: u32,
        /// The attempt, from 1.
        attempt: u32,
        /// `hit`, `nothing`, `differs`, `too-old` or `gone`.
        finding: String,
        /// The run that gave it, or that was compared with.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<String>,
        /// The first thing that is another one than there, such as `config.image`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        differs: Option<String>,
    },
    /// What some instances of a stage gave in another run can be taken over.
    InstancesReused {
        /// The stage.
        stage: String,
        /// The run that they are taken from.
        from: String,
        /// Their numbers, from 0.
        instances: Vec<u32>,
    },
    /// The instances of a stage are known.
    StageExpanded {
        /// The stage.
        stage: String,
        /// What each runs for.
        instances: Vec<Value>,
        /// The numbers, from 0, of those that are taken over from another run.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        reused: Vec<u32>,
    },
    /// A stage waits for a person.
    ApprovalRequested {
        /// The stage.
        stage: String,
        /// What is asked.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message: Option<String>,
        /// When the answer is given without a person.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        deadline: Option<String>,
    },
    /// A person answered.
    ApprovalAnswered {
        /// The stage.
        stage: String,
        /// Who.
        by: String,
        /// Whether they agree.
        approved: bool,
        /// Why, in their words.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        comment: Option<String>,
    },
    /// A stage waits no longer for a person.
    ApprovalEnded {
        /// The stage.
        stage: String,
        /// Whether it goes on.
        approved: bool,
        /// Whether nobody answered in time.
        expired: bool,
    },
    /// An attempt began.
    AttemptStarted {
        /// The stage.
        stage: String,
        /// The instance of the stage, from 0; left out for 0.
        #[serde(default, skip_serializing_if = "is_zero")]
        instance: u32,
        /// Which attempt, from 1.
        attempt: u32,
        /// The plugin's config, expressions evaluated.
        config: Value,
    },
    /// An attempt ended.
    AttemptEnded {
        /// The stage.
        stage: String,
        /// The instance of the stage, from 0; left out for 0.
        #[serde(default, skip_serializing_if = "is_zero")]
        instance: u32,
        /// Which attempt, from 1.
        attempt: u32,
        /// `succeeded`, `failed` or `cancelled`.
        status: StageStatus,
        /// What it gave, when it succeeded.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        outputs: Option<Value>,
        /// Why it failed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        failure: Option<Failure>,
        /// When the next attempt begins, if there is one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_at: Option<String>,
        /// Whether it may fail, and did: what needs it goes on.
        #[serde(default, skip_serializing_if = "is_false")]
        allowed: bool,
    },
    /// A stage will not run.
    StageSkipped {
        /// The stage.
        stage: String,
        /// Why.
        reason: String,
    },
    /// Somebody asked for the end of the run.
    CancelRequested {
        /// Who or why.
        reason: String,
    },
    /// The run took longer than it may.
    TimedOut,
    /// The engine that drove the run is gone, and nobody goes on with it.
    Interrupted,
    /// The run is over.
    Finished {
        /// How it ended.
        status: RunStatus,
        /// What the workflow gives, if it gives something and succeeded.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        outputs: Option<Value>,
        /// Why it failed, when that is no failure of a stage.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        failure: Option<Failure>,
    },
}

/// A line of a stage's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LogLine {
    /// The stage.
    pub stage: String,
    /// The instance of the stage, from 0; left out for 0.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub instance: u32,
    /// Which attempt, from 1.
    pub attempt: u32,
    /// When the engine got it.
    pub at: String,
    /// `plugin`, `stdout`, `stderr`, `build` or `engine`.
    pub stream: String,
    /// `debug`, `info`, `warn` or `error`.
    pub level: String,
    /// The text.
    pub text: String,
    /// Key and value pairs beside it.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub fields: Map<String, Value>,
}

/// What was taken over before it was said what became of it had succeeded.
const fn succeeded() -> StageStatus {
    StageStatus::Succeeded
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

fn is_false(flag: &bool) -> bool {
    !flag
}

impl RunStatus {
    /// The word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl StageStatus {
    /// The word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Held => "held",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Skipped => "skipped",
        }
    }
}
