//! Due times that people ask for: one at once, or those of a stretch of time that have had no run.
//!
//! What is asked for is stored with the schedule's mark, and done from there like what waits: beside each other where runs may
//! overlap, else one after the other, each when nothing else of the schedule goes on or waits. Of one due time there is one
//! run, so asking twice, or a crash anywhere, repeats nothing.

use std::sync::Arc;

use yuanli_model::trigger::Overlap;
use yuanli_model::{Schedule, Timestamp, WorkflowName};
use yuanli_triggers::{StartId, Times};

use super::Became;
use crate::kept::{Kept, Mark, Timing, id_of, is_id};
use crate::refusal::Refusal;
use crate::service::Shared;

/// Most due times of a schedule that wait to be made up for.
pub(crate) const MAX_BACKFILL: usize = 1_000;
/// Most due times that one request looks at: a schedule of seconds has many in a year.
const MAX_LOOKED_AT: usize = 10_000;
/// How many runs of a schedule whose runs may overlap are started before others have their turn.
const AT_ONCE: usize = 16;

/// A stretch of time whose due times are asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    pub(crate) from: Timestamp,
    pub(crate) until: Timestamp,
    /// Whether those do not count that were before somebody asked for the schedule.
    pub(crate) missed_only: bool,
    pub(crate) limit: usize,
    /// Only say what would be done.
    pub(crate) is_dry: bool,
}

/// What such a request comes to.
#[derive(Debug, Default)]
pub(crate) struct Backfill {
    /// The due times that are to have their run.
    pub(crate) times: Vec<Timestamp>,
    /// How many of the stretch have had one.
    pub(crate) done: usize,
    /// The first that was not looked at: ask again from there.
    pub(crate) more_from: Option<Timestamp>,
}

impl Shared {
    /// A schedule of a workflow, by what it is called in requests.
    pub(crate) fn find_schedule(&self, name: &str, id: &str) -> Result<(Arc<Kept>, Timing), Refusal> {
        let kept = self.find(name)?;
        if !is_id(id) {
            return Err(Refusal::Invalid(format!(
                "`{id}` is no schedule: `yuanli schedule list` shows what they are called"
            )));
        }
        let timing = kept.schedules.iter().find(|(schedule, _)| id_of(schedule) == id).cloned();
        let timing = timing.ok_or_else(|| {
            Refusal::NotFound(format!(
                "workflow `{name}` has no schedule {id}; `yuanli schedule list` shows them"
            ))
        })?;
        Ok((kept, timing))
    }

    /// Treats this time as due, by its policy for runs that overlap; of one time there is one run.
    pub(crate) async fn run_schedule(
        &self,
        (kept, timing): &(Arc<Kept>, Timing),
        due: Timestamp,
    ) -> Result<Became, Refusal> {
        self.recovered.wait().await;
        // What the clock has still to come to is not behind because of this.
        let became = self.decide(kept, timing, due, Timestamp::from_millis(0)).await?;
        // It may wait for a run whose end nobody waits for.
        self.registry.wake();
        match became {
            Became::Paused => Err(paused(&kept.name)),
            became => Ok(became),
        }
    }

    /// Has the due times of a stretch done that have had no run: stored when this returns.
    pub(crate) async fn backfill(
        &self,
        (kept, timing): &(Arc<Kept>, Timing),
        wanted: Wanted,
    ) -> Result<Backfill, Refusal> {
        self.recovered.wait().await;
        let (name, (schedule, _)) = (&kept.name, timing);
        if self.is_paused(name, schedule) {
            return Err(paused(name));
        }
        let found = self.find_times(kept, timing, wanted).await?;
        if wanted.is_dry || found.times.is_empty() {
            return Ok(found);
        }
        let (mut is_full, mut is_paused) = (false, false);
        let note = |mark: &mut Mark| {
            let mut all = mark.backfill.clone();
            all.extend(&found.times);
            is_full = all.len() > MAX_BACKFILL;
            is_paused = mark.paused.is_some();
            if !is_full {
                mark.backfill = all;
            }
        };
        self.registry.note(name, schedule, note).await?;
        self.registry.wake();
        if is_paused {
            return Err(paused(name));
        }
        if is_full {
            return Err(Refusal::Conflict(format!(
                "more than {MAX_BACKFILL} due times would wait: ask again when those before are done"
            )));
        }
        Ok(found)
    }

    async fn find_times(&self, kept: &Kept, timing: &Timing, wanted: Wanted) -> Result<Backfill, Refusal> {
        let (name, schedule) = (&kept.name, &timing.0);
        let times = Times::parse(timing.clone()).map_err(|error| Refusal::Invalid(error.to_string()))?;
        let mark = self.registry.mark_of(name, schedule);
        let begin = if wanted.missed_only { wanted.from.max(mark.begun) } else { wanted.from };
        // What is not behind comes by itself.
        let behind = self.registry.due_of(name, schedule).unwrap_or(Timestamp::from_millis(u64::MAX));
        let is_wanted = |due: &Timestamp| *due <= wanted.until && *due < behind;
        let mut found = Backfill::default();
        let before = Timestamp::from_millis(begin.as_millis().saturating_sub(1));
        for (looked_at, due) in times.all_after(before).take_while(is_wanted).enumerate() {
            if looked_at == MAX_LOOKED_AT || found.times.len() == wanted.limit {
                found.more_from = Some(due);
                break;
            }
            if mark.line.waiting.contains(&due) || self.started_for(name, schedule, due).await?.is_some() {
                found.done += 1;
            } else {
                found.times.push(due);
            }
        }
        Ok(found)
    }

    /// The run that a due time has had.
    pub(super) async fn started_for(
        &self,
        name: &WorkflowName,
        schedule: &Schedule,
        due: Timestamp,
    ) -> anyhow::Result<Option<yuanli_model::RunId>> {
        let id = StartId::of_schedule(name, schedule, due).to_string();
        Ok(self.engine.executor().started(Some(&id)).await?)
    }

    /// Goes on with what was asked for, as far as it can now. Whoever calls this has the turn of the schedule.
    pub(super) async fn backfill_some(
        &self,
        kept: &Kept,
        timing: &Timing,
        mark: &Mark,
    ) -> anyhow::Result<()> {
        let (schedule, policy) = timing;
        if mark.line.running.is_some() || !mark.line.waiting.is_empty() {
            return Ok(());
        }
        let at_once = if policy.overlap == Overlap::Allow { AT_ONCE } else { 1 };
        let seen = Timestamp::from_millis(0);
        for due in mark.backfill.iter().take(at_once) {
            if policy.overlap != Overlap::Allow {
                // As if it had come: a crash before the start is noted makes no other start stand beside it.
                let wait = |mark: &mut Mark| mark.line.waiting.push_back(*due);
                self.registry.note(&kept.name, schedule, wait).await?;
            }
            self.start_due(kept, timing, *due, seen).await?;
        }
        Ok(())
    }
}

fn paused(name: &WorkflowName) -> Refusal {
    Refusal::Conflict(format!(
        "workflow `{name}` or this schedule is paused: resume it first, or start a run by `yuanli trigger {name}`"
    ))
}
