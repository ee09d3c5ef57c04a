//! Schedules of workflows, and what is asked of them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A schedule of a workflow, as it is now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ScheduleState {
    /// The workflow.
    pub workflow: String,
    /// What it is called there. It follows from the expression and the time zone.
    pub schedule: String,
    /// The cron expression.
    pub cron: String,
    /// Its time zone.
    pub timezone: String,
    /// The first moment that counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// How much later than it is due a run starts at most.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub jitter_seconds: u64,
    /// What becomes of times that went by while no engine ran: `skip`, `once` or `all`.
    pub missed: String,
    /// How many of them at most, with `all`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missed_limit: Option<u32>,
    /// What happens at a due time when a run that it has started has not ended.
    pub overlap: String,
    /// After how many of its runs in a row that failed it is paused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause_after_failures: Option<u32>,
    /// How many have failed in a row; counted only where that pauses it.
    #[serde(default)]
    pub failures: u32,
    /// Since when it, or its workflow, starts nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused_at: Option<String>,
    /// Why, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused_because: Option<String>,
    /// When it is due next; empty when it never is, and while it is paused. A run starts up to the jitter later.
    #[serde(default)]
    pub next: Vec<String>,
    /// Its latest due time that was seen to, and what became of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<ScheduleLast>,
    /// The run that it has started last, as far as that matters and until it was seen to have ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<String>,
    /// The due times that wait for its end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waiting: Vec<String>,
    /// The due times that somebody has asked for and that have not had their run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub backfill: Vec<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// A due time, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ScheduleLast {
    /// The due time.
    pub due_at: String,
    /// `started`, `waits`, `skipped` or `refused`.
    pub became: String,
    /// Its run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// Why there could be none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A time that a schedule is to be treated as due at.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ScheduleRunRequest {
    /// The time, not one to come: a date, one with a time of day on the clock of the schedule, or RFC 3339; now when absent. Of
    /// one time there is one run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_at: Option<String>,
}

/// What became of that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ScheduleRun {
    /// The time.
    pub due_at: String,
    /// `started`, or `waits` for the run before it.
    pub became: String,
    /// Its run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// Whether it was started by this.
    pub is_new: bool,
}

/// A stretch of time whose due times are to be made up for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BackfillRequest {
    /// Its first moment: a date, one with a time of day on the clock of the schedule, or RFC 3339.
    pub from: String,
    /// Its last one; now when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// Only what was missed: no times before the workflow had the schedule.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub missed_only: bool,
    /// The most due times, the first ones of the stretch; 100, at most 1,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Only say what would be done.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
}

/// What is made up for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Backfill {
    /// The due times that get a run, in their order.
    pub times: Vec<String>,
    /// How many due times of the stretch have had one, or wait already.
    pub done: usize,
    /// The first due time that was not looked at: more can be asked for from there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub more_from: Option<String>,
}
