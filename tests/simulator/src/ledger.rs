//! What was done outside, by whoever asked for it: what the engine says it has done is compared with this.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use yuanli_executor::Recorded;
use yuanli_model::run::StartingPoint;
use yuanli_model::{AttemptId, RunId};

/// A container, by the id of its operation.
#[derive(Debug, Default)]
pub(crate) struct Container {
    /// How often one of this operation was started.
    pub(crate) launches: u32,
    /// Whether it was made when whoever had asked for it was dead, or did not wait any more.
    pub(crate) is_late: bool,
    /// Whether the engine has heard of it.
    pub(crate) is_known: bool,
    /// Whether it was asked to end.
    pub(crate) is_asked: bool,
    /// What it was told: the step that has it, and what was read before.
    pub(crate) command: Vec<String>,
    /// What it has printed.
    pub(crate) lines: Vec<String>,
}

/// A request, by its body, which names the step that sent it.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    /// How often it has arrived.
    pub(crate) arrivals: u32,
    /// The keys that it had.
    pub(crate) keys: BTreeSet<String>,
    /// What its sender had read before.
    pub(crate) seen: BTreeSet<String>,
}

#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) containers: BTreeMap<String, Container>,
    pub(crate) sent: BTreeMap<String, Sent>,
    /// Runs that the engine has said it has begun, by their causes.
    pub(crate) begun: BTreeMap<String, RunId>,
    /// Runs of which it has said that they are to end, and which request for that it was.
    pub(crate) cancelled: BTreeSet<(RunId, Duration)>,
    /// What followers were told.
    pub(crate) told: BTreeMap<RunId, BTreeMap<u32, Recorded>>,
    /// Runs of which it has said that they take over from another one, with that and where they were to begin.
    pub(crate) retried: BTreeMap<RunId, (RunId, Vec<StartingPoint>)>,
    /// Causes of which it has said that no run can be begun for them.
    pub(crate) refused: BTreeSet<String>,
    /// Attempts whose guests were begun, by life.
    pub(crate) begun_guests: BTreeSet<(u64, AttemptId)>,
    /// How often one of them was begun once more in the same life: it had waited without an instance.
    pub(crate) evictions: u64,
    /// Which attempts run right now, by stage and instance.
    pub(crate) running: BTreeSet<(RunId, String, u32)>,
    /// Of which run attempts run right now that are in a concurrency group, by group, and how many.
    pub(crate) in_groups: BTreeMap<String, BTreeMap<RunId, u32>>,
    /// What was wrong, as soon as it was.
    pub(crate) problems: Vec<String>,
}
