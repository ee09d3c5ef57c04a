//! Which schedules are due, and when the next one is.
//!
//! A schedule is due at each of its times once. Times that went by unseen, because no engine ran or the clock was put
//! forward, are made up for by one start, that of the latest of them. A clock that is put back fires nothing again:
//! what was due stays behind, and the next time is after it.

use std::collections::{BTreeMap, BTreeSet};

use yuanli_calendar::{Calendar, Invalid};
use yuanli_model::{Schedule, Timestamp, WorkflowName};

use crate::start::StartId;

/// Which schedule: of which workflow, and its place in the workflow's list.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot {
    /// Whose.
    pub workflow: WorkflowName,
    /// From 0.
    pub index: u32,
}

/// A run that is to be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Firing {
    /// By which schedule.
    pub slot: Slot,
    /// The time that it is due for; `now` or before.
    pub due: Timestamp,
    /// Which start this is.
    pub id: StartId,
}

/// All schedules and their next times.
///
/// The times stand in order, so that asking costs by what is due and not by what there is. An ordered set instead of a
/// heap, since what is taken out of the list has to be taken out of the order as well.
#[derive(Debug, Default)]
pub struct Timetable {
    entries: BTreeMap<Slot, Entry>,
    order: BTreeSet<(Timestamp, Slot)>,
}

#[derive(Debug)]
struct Entry {
    schedule: Schedule,
    calendar: Calendar,
    /// Where it stands in the order; `None` when the calendar has ended.
    next: Option<Timestamp>,
}

impl Timetable {
    /// One without schedules.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a schedule in, in place of what its slot held, and gives its next time. Times up to `last` are behind: the
    /// due time of its latest [`Firing`], or, when it has had none, the time at which somebody asked for this schedule.
    /// A `last` from a clock that was far ahead is believed: who knows better says so by an earlier one, and the ids
    /// keep what was started from being started again.
    ///
    /// # Errors
    /// What is wrong with the schedule; the slot is then empty.
    pub fn set(
        &mut self,
        slot: Slot,
        schedule: Schedule,
        last: Timestamp,
    ) -> Result<Option<Timestamp>, Invalid> {
        self.remove(&slot);
        let calendar = Calendar::parse(&schedule)?;
        let next = calendar.next_after(last);
        self.order.extend(next.map(|next| (next, slot.clone())));
        self.entries.insert(slot, Entry { schedule, calendar, next });
        Ok(next)
    }

    /// Takes a schedule out; whether there was one.
    pub fn remove(&mut self, slot: &Slot) -> bool {
        let Some(entry) = self.entries.remove(slot) else { return false };
        if let Some(next) = entry.next {
            self.order.remove(&(next, slot.clone()));
        }
        true
    }

    /// Takes all schedules of a workflow out.
    pub fn remove_workflow(&mut self, workflow: &WorkflowName) {
        let slot = |index| Slot { workflow: workflow.clone(), index };
        let slots: Vec<Slot> =
            self.entries.range(slot(0)..=slot(u32::MAX)).map(|(slot, _)| slot.clone()).collect();
        for slot in slots {
            self.remove(&slot);
        }
    }

    /// What is due at `now`, by due time, each schedule at most once; it is behind from then on.
    pub fn due(&mut self, now: Timestamp) -> Vec<Firing> {
        let mut firings = Vec::new();
        while self.order.first().is_some_and(|(next, _)| *next <= now) {
            let Some((next, slot)) = self.order.pop_first() else { break };
            let Some(entry) = self.entries.get_mut(&slot) else { continue };
            // The next time is here; later ones may be as well, and the latest stands for all.
            let due = entry.calendar.missed(next, now).unwrap_or(next);
            let id = StartId::of_schedule(&slot.workflow, &entry.schedule, due);
            entry.next = entry.calendar.next_after(due);
            self.order.extend(entry.next.map(|next| (next, slot.clone())));
            firings.push(Firing { slot, due, id });
        }
        firings.sort_by(|a, b| (a.due, &a.slot).cmp(&(b.due, &b.slot)));
        firings
    }

    /// When something is due next: until then nobody has to ask. It lies behind the clock when something is due already.
    #[must_use]
    pub fn next(&self) -> Option<Timestamp> {
        self.order.first().map(|(next, _)| *next)
    }

    /// How many schedules there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}
