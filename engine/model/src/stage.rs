//! A node of the DAG: what it runs, when, how often, and what happens when that fails.

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use indexmap::IndexMap;

use crate::run::FailureClass;
use crate::{
    Expression, Failure, Grant, Input, InputName, PluginReference, StageName, Template, WorkflowName,
};

/// A node of the DAG.
#[derive(Debug, Clone, PartialEq)]
pub struct Stage {
    /// Unique in its workflow.
    pub name: StageName,
    /// What it is for, in its author's words.
    pub description: Option<String>,
    /// When in a run its turn comes.
    pub section: Section,
    /// What it does.
    pub work: Work,
    /// The stages of its section that have to end before it starts.
    pub needs: Vec<StageName>,
    /// Whether it runs, once its needs have ended. Without one it runs when all of them succeeded.
    pub condition: Option<Expression>,
    /// What it runs for, each in an instance of its own; one instance without.
    pub fan_out: Option<FanOut>,
    /// Most instances that run at the same time.
    pub max_parallel: Option<NonZeroU32>,
    /// What a person has to agree to before it starts.
    pub approval: Option<Approval>,
    /// Whether and when an attempt that failed is followed by another.
    pub retry: Retry,
    /// Whether its failure leaves the run, and what needs it, as if it had succeeded.
    pub allow_failure: bool,
    /// Rights granted to a plugin that did not come with the engine.
    pub grants: Vec<Grant>,
    /// How long an attempt may take, wall clock; the engine's default when absent.
    pub timeout: Option<Duration>,
    /// What else an attempt may use.
    pub limits: Limits,
    /// When the outputs of an earlier run may stand for those of this stage.
    pub cache: Option<Cache>,
    /// Environment variables: those of the workflow, with its own over them.
    pub env: IndexMap<String, Template>,
}

/// The part of a run that a stage belongs to. They come one after the other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Section {
    /// `stages`
    #[default]
    Main,
    /// `on_failure`: after the main part, when that failed.
    OnFailure,
    /// `finally`: last, however the run went.
    Finally,
}

impl Section {
    /// All of them, in the order in which they come.
    pub const ALL: [Self; 3] = [Self::Main, Self::OnFailure, Self::Finally];

    /// The key in documents.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Main => "stages",
            Self::OnFailure => "on_failure",
            Self::Finally => "finally",
        }
    }
}

/// What a stage does.
#[derive(Debug, Clone, PartialEq)]
pub enum Work {
    /// Runs a plugin.
    Plugin {
        /// Which one.
        uses: PluginReference,
        /// Its config, expressions still in it; a map.
        with: Template,
    },
    /// Runs a workflow and takes its outputs.
    Workflow {
        /// Which one.
        uses: WorkflowReference,
        /// Its inputs, expressions still in them; a map.
        with: Template,
    },
    /// Nothing but waiting for its approval.
    Gate,
}

/// The workflow that a stage runs: `workflow/NAME`, `workflow/NAME@VERSION`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkflowReference {
    /// Its name.
    pub name: WorkflowName,
    /// The first digits of the digest of its text; the newest when absent.
    pub version: Option<String>,
}

impl fmt::Display for WorkflowReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "workflow/{}", self.name)?;
        self.version.as_ref().map_or(Ok(()), |version| write!(f, "@{version}"))
    }
}

/// What a stage runs for.
#[derive(Debug, Clone, PartialEq)]
pub enum FanOut {
    /// Each item of a list, which expressions see as `item`.
    ForEach(Template),
    /// Each combination of values, which expressions see as `matrix`.
    Matrix(Matrix),
}

/// Combinations of values.
#[derive(Debug, Clone, PartialEq)]
pub struct Matrix {
    /// The values of each variable: lists.
    pub axes: IndexMap<String, Template>,
    /// More combinations: a list of maps. One whose values of axes are those of a combination adds to that one.
    pub include: Option<Template>,
    /// Combinations that are left out: a list of maps, each of which leaves out all that have these values.
    pub exclude: Option<Template>,
}

/// Most instances of a stage: bounds what one list can ask for.
pub const MAX_INSTANCES: usize = 100_000;

/// Whether and when an attempt that failed is followed by another.
#[derive(Debug, Clone, PartialEq)]
pub struct Retry {
    /// Most attempts, the first one included.
    pub attempts: NonZeroU32,
    /// How long to wait before the next one.
    pub backoff: Backoff,
    /// The failures after which there is another; all but those that cannot change when empty.
    pub on: Vec<RetryOn>,
}

/// How long to wait between attempts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Backoff {
    /// Before the second attempt.
    pub initial: Duration,
    /// How it grows from attempt to attempt.
    pub growth: Growth,
    /// The longest wait.
    pub cap: Duration,
    /// The share of a wait, from 0 to 1, that is left to chance: it is shorter by up to so much.
    pub jitter: f64,
}

/// How waits grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Growth {
    /// All are the same.
    Fixed,
    /// Each is twice the one before.
    Exponential,
}

/// Failures after which there is another attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RetryOn {
    /// Those of a class, such as `transient`.
    Class(String),
    /// Those of a kind, such as `timeout`.
    Kind(String),
    /// A program ended with this exit code.
    ExitCode(i64),
}

/// Kinds of failures that another attempt would meet again: what the engine found out before the plugin ran.
pub const LASTING_KINDS: [&str; 4] = ["expression", "invalid-config", "not-granted", "workspace-conflict"];

/// The detail of a failure that has the exit code of a program.
pub const EXIT_CODE_DETAIL: &str = "exit-code";

impl Default for Retry {
    /// No second attempt.
    fn default() -> Self {
        Self { attempts: NonZeroU32::MIN, backoff: Backoff::default(), on: Vec::new() }
    }
}

impl Default for Backoff {
    /// 1 s, doubled up to a minute, half of it left to chance.
    fn default() -> Self {
        Self {
            initial: Duration::from_secs(1),
            growth: Growth::Exponential,
            cap: Duration::from_secs(60),
            jitter: 0.5,
        }
    }
}

impl Retry {
    /// Whether a failure of attempt `number`, from 1, is followed by another.
    #[must_use]
    pub fn follows(&self, number: u32, failure: &Failure) -> bool {
        number < self.attempts.get() && failure.class != FailureClass::Cancelled && self.covers(failure)
    }

    fn covers(&self, failure: &Failure) -> bool {
        if self.on.is_empty() {
            return !LASTING_KINDS.contains(&failure.kind.as_str());
        }
        self.on.iter().any(|on| match on {
            RetryOn::Class(class) => failure.class.name() == class,
            RetryOn::Kind(kind) => failure.kind == *kind,
            RetryOn::ExitCode(code) => failure
                .details
                .iter()
                .any(|(key, value)| key == EXIT_CODE_DETAIL && value.parse() == Ok(*code)),
        })
    }
}

impl Backoff {
    /// How long to wait after attempt `number`, from 1. `chance` is from 0 to 1.
    #[must_use]
    pub fn after(&self, number: u32, chance: f64) -> Duration {
        let whole = match self.growth {
            Growth::Fixed => self.initial,
            // 2^31 of the shortest wait, a millisecond, are 24 days: more than any cap.
            Growth::Exponential => self.initial.saturating_mul(1 << number.saturating_sub(1).min(31)),
        };
        let whole = whole.min(self.cap);
        whole.mul_f64(1.0 - self.jitter.clamp(0.0, 1.0) * chance.clamp(0.0, 1.0))
    }
}

/// What a person has to agree to.
#[derive(Debug, Clone, PartialEq)]
pub struct Approval {
    /// What is asked, expressions still in it.
    pub message: Option<Template>,
    /// Who may answer: names of people or roles; anybody who may operate the workflow when empty.
    pub by: Vec<String>,
    /// How many have to agree; one who does not is enough to refuse.
    pub count: NonZeroU32,
    /// How long to wait for the answer; for ever when absent.
    pub deadline: Option<Duration>,
    /// What the answer is when nobody gave one in time.
    pub on_expiry: Expiry,
    /// What is asked for with the answer.
    pub inputs: IndexMap<InputName, Input>,
}

/// What the plugin of an attempt may use; the engine's defaults where absent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Memory of the plugin's instance, in bytes; at most [`MAX_MEMORY_BYTES`].
    pub memory_bytes: Option<u64>,
    /// Time in which the plugin's code runs, time in host calls not counted; at most [`MAX_CPU`].
    pub cpu: Option<Duration>,
    /// What the plugin itself writes to the log, in bytes; at most [`MAX_LOG_BYTES`].
    pub log_bytes: Option<u64>,
    /// The outputs as JSON, in bytes; at most [`MAX_OUTPUT_BYTES`].
    pub output_bytes: Option<u64>,
    /// How many handles it has at the same time: of containers and builds, which are there until the attempt ends, of
    /// secrets; at most [`MAX_HANDLES`].
    pub handles: Option<u32>,
    /// The artifacts that it puts, replaced ones counted, in bytes; at most [`MAX_ARTIFACTS_BYTES`].
    pub artifact_bytes: Option<u64>,
}

impl Limits {
    /// These, and the others where these say nothing.
    #[must_use]
    pub fn over(self, others: Self) -> Self {
        let Self { memory_bytes, cpu, log_bytes, output_bytes, handles, artifact_bytes } = self;
        Self {
            memory_bytes: memory_bytes.or(others.memory_bytes),
            cpu: cpu.or(others.cpu),
            log_bytes: log_bytes.or(others.log_bytes),
            output_bytes: output_bytes.or(others.output_bytes),
            handles: handles.or(others.handles),
            artifact_bytes: artifact_bytes.or(others.artifact_bytes),
        }
    }
}

/// The most memory that an attempt may ask for: 2 GiB, half of what a component can address.
pub const MAX_MEMORY_BYTES: u64 = 2 << 30;

/// The most processor time that an attempt may ask for: an hour.
pub const MAX_CPU: Duration = Duration::from_secs(60 * 60);

/// The most that the plugin of an attempt may ask to write to its log: 1 GiB, all that a log can have.
pub const MAX_LOG_BYTES: u64 = 1 << 30;

/// The most bytes of outputs, as the contract says: 1 MiB. They go through expressions and into the history.
pub const MAX_OUTPUT_BYTES: u64 = 1 << 20;

/// The most handles that an attempt may have: each can be a container.
pub const MAX_HANDLES: u32 = 1024;

/// The most bytes of artifacts that an attempt may put, replaced ones counted: all that its run may.
pub const MAX_ARTIFACTS_BYTES: u64 = 1 << 30;

/// When the outputs of an earlier run may stand for those of a stage: when its plugin, its config and these are the same.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Cache {
    /// Patterns of files of the workspace whose contents count.
    pub files: Vec<String>,
    /// A value that counts, expressions still in it.
    pub values: Option<Template>,
    /// How old the outputs may be; as old as they are kept when absent.
    pub max_age: Option<Duration>,
}

/// The answer when nobody gave one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Expiry {
    /// No.
    #[default]
    Reject,
    /// Yes.
    Approve,
}

impl Stage {
    /// A stage of the main part that runs a plugin with an empty config, and nothing else.
    #[must_use]
    pub fn new(name: StageName, uses: PluginReference) -> Self {
        Self {
            name,
            description: None,
            section: Section::Main,
            work: Work::Plugin { uses, with: Template::Map(IndexMap::new()) },
            needs: Vec::new(),
            condition: None,
            fan_out: None,
            max_parallel: None,
            approval: None,
            retry: Retry::default(),
            allow_failure: false,
            grants: Vec::new(),
            timeout: None,
            limits: Limits::default(),
            cache: None,
            env: IndexMap::new(),
        }
    }

    /// The same stage with this config.
    #[must_use]
    pub fn with(mut self, config: Template) -> Self {
        match &mut self.work {
            Work::Plugin { with, .. } | Work::Workflow { with, .. } => *with = config,
            Work::Gate => {}
        }
        self
    }

    /// The same stage, after these.
    #[must_use]
    pub fn after(self, needs: Vec<StageName>) -> Self {
        Self { needs, ..self }
    }

    /// Its config with expressions in it, if it has one.
    #[must_use]
    pub fn config(&self) -> Option<&Template> {
        match &self.work {
            Work::Plugin { with, .. } | Work::Workflow { with, .. } => Some(with),
            Work::Gate => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn retry(attempts: u32, on: &[RetryOn]) -> Retry {
        Retry { attempts: NonZeroU32::new(attempts).expect("not 0"), on: on.to_vec(), ..Retry::default() }
    }

    #[test]
    fn what_fails_is_tried_again_when_that_may_help() {
        let exit = Failure::permanent("exit-code", "").with_detail("exit-code", "137");
        let slow = Failure::transient("timeout", "");
        let never = Failure::permanent("expression", "");
        let cancelled = Failure::new(FailureClass::Cancelled, "cancelled", "");
        let class = |name: &str| RetryOn::Class(name.to_owned());
        let kind = |name: &str| RetryOn::Kind(name.to_owned());
        let cases = [
            (retry(1, &[]), 1, &exit, false),
            (retry(3, &[]), 1, &exit, true),
            (retry(3, &[]), 2, &exit, true),
            (retry(3, &[]), 3, &exit, false),
            (retry(3, &[]), 1, &never, false),
            (retry(3, &[class("permanent")]), 1, &never, true),
            (retry(3, &[]), 1, &cancelled, false),
            (retry(3, &[class("cancelled")]), 1, &cancelled, false),
            (retry(3, &[class("transient")]), 1, &exit, false),
            (retry(3, &[class("transient")]), 1, &slow, true),
            (retry(3, &[kind("timeout"), RetryOn::ExitCode(137)]), 1, &exit, true),
            (retry(3, &[RetryOn::ExitCode(1)]), 1, &exit, false),
        ];
        for (retry, number, failure, expect) in cases {
            assert_eq!(retry.follows(number, failure), expect, "{retry:?} {number} {failure:?}");
        }
    }

    #[test]
    fn waits_grow_to_their_cap_and_chance_makes_them_shorter() {
        let backoff = Backoff { initial: Duration::from_secs(2), jitter: 0.5, ..Backoff::default() };
        let waits: Vec<u64> = (1..=8).map(|number| backoff.after(number, 0.0).as_secs()).collect();
        assert_eq!(waits, [2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(backoff.after(2, 1.0), Duration::from_secs(2));
        assert_eq!(backoff.after(u32::MAX, 0.0), Duration::from_secs(60));
        let fixed = Backoff { growth: Growth::Fixed, ..backoff };
        assert_eq!(fixed.after(7, 0.0), Duration::from_secs(2));
    }
}
