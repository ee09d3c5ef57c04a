//! The marks of schedules in the registry: what changes one is stored first, and what depends on it follows.

use std::sync::Arc;

use yuanli_model::{Outcome, Schedule, Timestamp, WorkflowName};
use yuanli_ports::store::{Batch, Key};

use super::mark::{Mark, MarkRow, Pause, PausedBy};
use super::row::{Row, seal};
use super::{Inner, Kept, Registry, key, mark, slots};

/// What the end of a run has paused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Paused {
    /// After so many failures in a row.
    Workflow(u32),
    Schedule(Schedule, u32),
}

impl Registry {
    /// What is remembered of a schedule.
    pub(crate) fn mark_of(&self, name: &WorkflowName, schedule: &Schedule) -> Mark {
        let mark = self.lock().marks.get(&(name.clone(), schedule.clone())).cloned();
        mark.unwrap_or(Mark::begun(Timestamp::from_millis(0)))
    }

    /// The schedules of which something waits to be done.
    pub(crate) fn busy(&self) -> Vec<(WorkflowName, Schedule)> {
        self.lock().busy.iter().cloned().collect()
    }

    /// Who decides on the runs of a line holds this until what was decided is noted.
    pub(crate) async fn turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.turns.lock().await
    }

    /// Changes what is remembered of a schedule, unless there is none of that kind any more. That a run was started is
    /// noted when that is durable.
    pub(crate) async fn note(
        &self,
        name: &WorkflowName,
        schedule: &Schedule,
        change: impl FnOnce(&mut Mark) + Send,
    ) -> anyhow::Result<()> {
        let _writer = self.writer.lock().await;
        let Some(kept) = self.get(name).filter(|kept| kept.has(schedule)) else { return Ok(()) };
        let mut new = self.mark_of(name, schedule);
        let was_paused = new.paused.is_some();
        change(&mut new);
        // It may have been paused since whoever notes this has looked.
        if kept.paused.is_some() || new.paused.is_some() {
            new.line.waiting.clear();
            new.backfill.clear();
        }
        let mut batch = Batch::default();
        batch.put(mark(name, schedule), seal(&MarkRow::of(&new)));
        self.store.commit(batch).await?;
        let is_other = was_paused != new.paused.is_some();
        let mut inner = self.lock();
        inner.put_mark(name, schedule, new);
        if is_other {
            inner.follow(&kept);
        }
        drop(inner);
        if is_other {
            self.wake();
        }
        Ok(())
    }

    /// Has schedules looked at again.
    pub(crate) fn wake(&self) {
        self.changed.notify_one();
    }

    /// Lets a schedule start nothing, or again what is due from now on.
    pub(crate) async fn pause_schedule(
        &self,
        name: &WorkflowName,
        schedule: &Schedule,
        is_paused: bool,
        now: Timestamp,
    ) -> anyhow::Result<()> {
        let change = |mark: &mut Mark| {
            if mark.paused.is_some() == is_paused {
                return;
            }
            mark.paused = is_paused.then_some(Pause { at: now, by: PausedBy::Somebody });
            mark.failures = 0;
            mark.stop(now);
        };
        self.note(name, schedule, change).await
    }

    /// Counts the end of a run of a workflow, and of the schedule that has started it, with the row that tells of it: so that it
    /// counts once. What that pauses is told.
    pub(crate) async fn count_end(
        &self,
        name: &WorkflowName,
        schedule: Option<&Schedule>,
        outcome: Outcome,
        row: &Key,
        now: Timestamp,
    ) -> anyhow::Result<Vec<Paused>> {
        let _writer = self.writer.lock().await;
        let Some(before) = self.get(name).filter(|kept| kept.paused.is_none()) else { return Ok(Vec::new()) };
        let (mut batch, mut paused) = (Batch::default(), Vec::new());
        batch.delete(row.clone());
        let timing = schedule.and_then(|schedule| before.schedules.iter().find(|(own, _)| own == schedule));
        let mut changed = timing.and_then(|(schedule, policy)| {
            let old = self.mark_of(name, schedule);
            let mut new = old.clone();
            match outcome {
                Outcome::Succeeded => new.failures = 0,
                Outcome::Failed if new.fail(policy, now) => {
                    paused.push(Paused::Schedule(schedule.clone(), new.failures));
                }
                Outcome::Failed | Outcome::Cancelled => {}
            }
            (new != old).then_some((schedule, new))
        });
        let mut kept = (*before).clone();
        match (outcome, kept.pause_after_failures) {
            (Outcome::Succeeded, Some(_)) => kept.failures = 0,
            (Outcome::Failed, Some(_)) => kept.failures = kept.failures.saturating_add(1),
            (Outcome::Cancelled, _) | (_, None) => {}
        }
        let mut marks = Vec::new();
        if kept.pause_after_failures.is_some_and(|most| kept.failures >= most.get()) {
            kept.paused = Some(now);
            kept.paused_by_failures = true;
            paused.push(Paused::Workflow(kept.failures));
            for (schedule, _) in &before.schedules {
                let known = changed.take_if(|(own, _)| *own == schedule).map(|(_, mark)| mark);
                let mut mark = known.unwrap_or_else(|| self.mark_of(name, schedule));
                mark.stop(now);
                marks.push((schedule, mark));
            }
        }
        marks.extend(changed);
        if kept != *before {
            batch.put(key(name), seal(&Row::of(&kept)));
        }
        for (schedule, new) in &marks {
            batch.put(mark(name, schedule), seal(&MarkRow::of(new)));
        }
        self.store.commit(batch).await?;
        let kept = Arc::new(kept);
        let mut inner = self.lock();
        for (schedule, new) in marks {
            inner.put_mark(name, schedule, new);
        }
        inner.workflows.insert(name.clone(), Arc::clone(&kept));
        if !paused.is_empty() {
            inner.follow(&kept);
            self.interest.set(inner.wanted());
        }
        drop(inner);
        self.changed.notify_one();
        Ok(paused)
    }

    /// When a schedule is due next.
    pub(crate) fn due_of(&self, name: &WorkflowName, schedule: &Schedule) -> Option<Timestamp> {
        let kept = self.get(name)?;
        let (slot, _) = slots(&kept).find(|(_, (own, _))| own == schedule)?;
        self.lock().timetable.due_of(&slot)
    }

    /// Some workflows, in the order of their names: from this one on, if one is named.
    pub(crate) fn page(&self, from: Option<&WorkflowName>, size: usize) -> Vec<Arc<Kept>> {
        let inner = self.lock();
        match from {
            Some(from) => {
                inner.workflows.range(from.clone()..).take(size).map(|(_, kept)| Arc::clone(kept)).collect()
            }
            None => inner.workflows.values().take(size).cloned().collect(),
        }
    }
}

impl Inner {
    /// Remembers this of a schedule.
    pub(super) fn put_mark(&mut self, name: &WorkflowName, schedule: &Schedule, mark: Mark) {
        let of = (name.clone(), schedule.clone());
        if mark.is_busy() {
            self.busy.insert(of.clone());
        } else {
            self.busy.remove(&of);
        }
        self.marks.insert(of, mark);
    }

    /// Forgets all of a schedule.
    pub(super) fn drop_mark(&mut self, name: &WorkflowName, schedule: &Schedule) {
        let of = (name.clone(), schedule.clone());
        self.busy.remove(&of);
        self.marks.remove(&of);
    }
}
