//! Which schedules are due, and when the next one is.
//!
//! A schedule is due at each of its times once. What becomes of times that went by unseen, because no engine ran or the clock
//! was put forward, its [`Missed`] says. A clock that is put back fires nothing again: what was due stays behind, and the
//! next time is after it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use yuanli_calendar::{Calendar, Invalid};
use yuanli_model::trigger::{Missed, SchedulePolicy};
use yuanli_model::{Digest, Schedule, Timestamp, WorkflowName};

use crate::start::StartId;

/// A time that is seen later than this was missed: an engine that works is never as late.
pub const LATE: Duration = Duration::from_secs(60);

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
    policy: SchedulePolicy,
    calendar: Calendar,
    /// Its next due time; `None` when there is none any more.
    due: Option<Timestamp>,
    /// Where it stands in the order: that, and its jitter.
    next: Option<Timestamp>,
}

impl Entry {
    fn due_after(&self, last: Timestamp) -> Option<Timestamp> {
        let begin = self.policy.from.map_or(0, Timestamp::as_millis).saturating_sub(1);
        let due = self.calendar.next_after(last.max(Timestamp::from_millis(begin)))?;
        self.policy.until.is_none_or(|until| due <= until).then_some(due)
    }

    /// The due times from `due` on that runs are to start for at `now`, with the last one that is behind then.
    fn here(&self, due: Timestamp, now: Timestamp) -> (Vec<Timestamp>, Timestamp) {
        let is_late = |due: Timestamp| now.since(due.after(self.jitter(due))) > LATE;
        if !is_late(due) {
            return (vec![due], due);
        }
        let end = self.policy.until.map_or(now, |until| until.min(now));
        let latest = self.calendar.missed(due, end).unwrap_or(due);
        let here = match self.policy.missed {
            Missed::Skip if is_late(latest) => Vec::new(),
            Missed::Skip | Missed::Once => vec![latest],
            Missed::All(limit) => self.latest(due, latest, limit.get() as usize),
        };
        (here, latest)
    }

    /// The latest of the due times from `first` to `last`, at most `limit` of them. However many there are, it looks at few
    /// times as many as it gives.
    fn latest(&self, first: Timestamp, last: Timestamp, limit: usize) -> Vec<Timestamp> {
        let from = |begin: Timestamp| {
            let before = Timestamp::from_millis(begin.as_millis().saturating_sub(1));
            std::iter::successors(self.due_after(before), |due| self.due_after(*due))
                .take_while(|due| *due <= last)
        };
        // Half as far back, until that is not enough: the time before was.
        let (mut span, mut begin) = (last.since(first), first);
        loop {
            span /= 2;
            let half = Timestamp::from_millis(last.as_millis() - span.as_millis() as u64);
            if half <= begin || from(half).take(limit).count() < limit {
                break;
            }
            begin = half;
        }
        let mut latest = VecDeque::with_capacity(limit);
        for due in from(begin) {
            if latest.len() == limit {
                latest.pop_front();
            }
            latest.push_back(due);
        }
        latest.into()
    }

    /// How much later than its due time a run starts: spread evenly over the jitter by a digest, so that it is the same after
    /// a crash.
    fn jitter(&self, due: Timestamp) -> Duration {
        let Some(most) = u64::try_from(self.policy.jitter.as_millis()).ok().filter(|most| *most > 0) else {
            return Duration::ZERO;
        };
        let Schedule { cron, timezone } = &self.schedule;
        let digest = Digest::of(format!("{cron}\0{timezone}\0{}", due.as_millis()).as_bytes());
        let number =
            digest.as_bytes().iter().take(8).fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
        Duration::from_millis(number % most)
    }
}

impl Timetable {
    /// One without schedules.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a schedule in, in place of what its slot held, and gives its next due time. Times up to `last` are behind: the
    /// due time of its latest [`Firing`], or, when it has had none, the time at which somebody asked for this schedule.
    /// A `last` from a clock that was far ahead is believed: who knows better says so by an earlier one, and the ids
    /// keep what was started from being started again.
    ///
    /// # Errors
    /// What is wrong with the schedule; the slot is then empty.
    pub fn set(
        &mut self,
        slot: Slot,
        (schedule, policy): (Schedule, SchedulePolicy),
        last: Timestamp,
    ) -> Result<Option<Timestamp>, Invalid> {
        self.remove(&slot);
        let calendar = Calendar::parse(&schedule)?;
        let mut entry = Entry { schedule, policy, calendar, due: None, next: None };
        let due = entry.due_after(last);
        self.stand(&mut entry, &slot, due);
        self.entries.insert(slot, entry);
        Ok(due)
    }

    /// Puts an entry where it stands with that due time.
    fn stand(&mut self, entry: &mut Entry, slot: &Slot, due: Option<Timestamp>) {
        entry.due = due;
        entry.next = due.map(|due| due.after(entry.jitter(due)));
        self.order.extend(entry.next.map(|next| (next, slot.clone())));
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

    /// What is due at `now`, by due time; it is behind from then on. What a schedule passes over is not in it, and is behind
    /// as well.
    pub fn due(&mut self, now: Timestamp) -> Vec<Firing> {
        let mut firings = Vec::new();
        while self.order.first().is_some_and(|(next, _)| *next <= now) {
            let Some((_, slot)) = self.order.pop_first() else { break };
            let Some(mut entry) = self.entries.remove(&slot) else { continue };
            if let Some(due) = entry.due {
                let (here, last) = entry.here(due, now);
                firings.extend(here.into_iter().map(|due| {
                    let id = StartId::of_schedule(&slot.workflow, &entry.schedule, due);
                    Firing { slot: slot.clone(), due, id }
                }));
                let next = entry.due_after(last);
                self.stand(&mut entry, &slot, next);
            }
            self.entries.insert(slot, entry);
        }
        firings.sort_by(|a, b| (a.due, &a.slot).cmp(&(b.due, &b.slot)));
        firings
    }

    /// When something is to be started next: until then nobody has to ask. It lies behind the clock when something is due already.
    #[must_use]
    pub fn next(&self) -> Option<Timestamp> {
        self.order.first().map(|(next, _)| *next)
    }

    /// The next due time of a schedule; a run may start later by its jitter.
    #[must_use]
    pub fn due_of(&self, slot: &Slot) -> Option<Timestamp> {
        self.entries.get(slot)?.due
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
