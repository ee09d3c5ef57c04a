//! What can be typed about schedules.

use clap::{Args, Subcommand};

/// How a schedule is named.
const NAME: &str = "WORKFLOW[/ID]";

#[derive(Debug, Subcommand)]
pub(crate) enum ScheduleCommand {
    /// The schedules: when each is due next, and what became of the last time
    List(ScheduleList),
    /// A schedule with its next due times, its policies and what waits
    #[command(
        after_help = "Examples:\n  yuanli schedule show shop\n  yuanli schedule show shop/5d2f31c4 --json"
    )]
    Show(OneSchedule),
    /// Let a schedule start nothing; its runs go on, and a backfill of it ends
    Pause(OneSchedule),
    /// Let a paused schedule start what is due from now on; what was due meanwhile is not made up for
    Resume(OneSchedule),
    /// Start what it starts now, by its `overlap`
    Run(ScheduleRun),
    /// Have the due times of a stretch of time done that have had no run
    Backfill(ScheduleBackfill),
}

#[derive(Debug, Args)]
pub(crate) struct OneSchedule {
    /// The workflow; with several schedules, which of them, as `yuanli schedule list` shows it
    #[arg(value_name = NAME)]
    pub(crate) schedule: String,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  yuanli schedule list
  yuanli schedule list --paused
  yuanli schedule list --workflow shop --json | jq '.items[].next'")]
pub(crate) struct ScheduleList {
    /// Only those of this workflow
    #[arg(long, value_name = "NAME")]
    pub(crate) workflow: Option<String>,
    /// Only those that are paused
    #[arg(long)]
    pub(crate) paused: bool,
    /// The most schedules
    #[arg(long, default_value_t = 50, value_name = "NUMBER")]
    pub(crate) limit: usize,
    /// Begin after this one: the `next` of an earlier list
    #[arg(long, value_name = "CURSOR")]
    pub(crate) after: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
The run gets the inputs of the schedule. Of one time there is one run: with --due the same command
can be given again.

Examples:
  yuanli schedule run shop
  yuanli schedule run shop/5d2f31c4 --due 2026-11-30T03:00")]
pub(crate) struct ScheduleRun {
    /// The workflow; with several schedules, which of them, as `yuanli schedule list` shows it
    #[arg(value_name = NAME)]
    pub(crate) schedule: String,
    /// The time that it is to be due for, on the clock of the schedule or with an offset [default: now]
    #[arg(long, value_name = "TIME")]
    pub(crate) due: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Each due time gets a run that knows it. Where runs may not overlap, one begins when the one before has
ended. Times that have had a run are passed over, so that the same backfill can be asked for again. The
engine goes on with it after a crash; `yuanli schedule pause` ends it.

Examples:
  yuanli schedule backfill shop --from 2026-11-01 --dry-run
  yuanli schedule backfill shop --from 2026-11-01 --until 2026-11-15T12:00
  yuanli schedule backfill shop --from 2026-11-01 --missed --limit 10")]
pub(crate) struct ScheduleBackfill {
    /// The workflow; with several schedules, which of them, as `yuanli schedule list` shows it
    #[arg(value_name = NAME)]
    pub(crate) schedule: String,
    /// Where it begins: a date, or one with a time of day, on the clock of the schedule or with an offset
    #[arg(long, value_name = "TIME")]
    pub(crate) from: String,
    /// Where it ends [default: now]
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,
    /// Only what was missed: no times before the workflow had the schedule
    #[arg(long)]
    pub(crate) missed: bool,
    /// The most due times, the first ones; at most 1,000
    #[arg(long, default_value_t = 100, value_name = "NUMBER")]
    pub(crate) limit: u32,
    /// Only say what would be done
    #[arg(long)]
    pub(crate) dry_run: bool,
}
