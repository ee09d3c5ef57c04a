//! Which schedules are due, and when the next one is.
//!
//! A schedule is due at each of its times once. What becomes of times that went by unseen, because no engine ran or the clock
//! was put forward, its [`Missed`](yuanli_model::trigger::Missed) says. A clock that is put back fires nothing again: what was due stays behind, and the
//! next time is after it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use yuanli_calendar::Invalid;
use yuanli_model::trigger::SchedulePolicy;
use yuanli_model::{Schedule, Timestamp, WorkflowName};

use crate::start::StartId;
use crate::times::{Shared, Times};

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
/// heap, since what is taken out of the list has to be taken out of the order as well. There may be a million: what many
/// schedules say is there once, names are shared, and the order has numbers in place of slots.
#[derive(Debug, Default)]
pub struct Timetable {
    /// What schedules say, each with the stretch of time that its last answer holds for.
    times: HashMap<Shared, Stretch>,
    entries: Vec<Option<Entry>>,
    /// Places of `entries` that are empty.
    free: Vec<u32>,
    slots: BTreeMap<(Arc<WorkflowName>, u32), u32>,
    order: BTreeSet<(Timestamp, u32)>,
}

/// What never comes.
const NEVER: Timestamp = Timestamp::from_millis(u64::MAX);

/// From one moment to the next due time after it: asked for any moment in between the answer is the same.
type Stretch = std::ops::Range<Timestamp>;

#[derive(Debug)]
struct Entry {
    workflow: Arc<WorkflowName>,
    index: u32,
    times: Arc<Times>,
    /// Its next due time, or [`NEVER`]; in the order it stands where that and its jitter are.
    due: Timestamp,
}

impl Entry {
    fn slot(&self) -> Slot {
        Slot { workflow: (*self.workflow).clone(), index: self.index }
    }

    fn next(&self) -> Timestamp {
        self.due.after(self.times.jitter(self.due))
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
        timing: (Schedule, SchedulePolicy),
        last: Timestamp,
    ) -> Result<Option<Timestamp>, Invalid> {
        self.remove(&slot);
        let known = self.times.get_key_value(&timing).map(|(known, _)| Arc::clone(&known.0));
        let times = known.map_or_else(|| Times::parse(timing).map(Arc::new), Ok)?;
        let due = self.due_after(&times, last);
        let Slot { workflow, index } = slot;
        let entry = Entry { workflow: self.shared(workflow), index, times, due };
        let (name, next) = (Arc::clone(&entry.workflow), entry.next());
        let place = match self.free.pop() {
            Some(place) => place,
            None => {
                self.entries.push(None);
                // More would not fit into memory.
                u32::try_from(self.entries.len() - 1).unwrap_or(u32::MAX)
            }
        };
        if let Some(empty) = self.entries.get_mut(place as usize) {
            *empty = Some(entry);
        }
        self.slots.insert((name, index), place);
        self.stand(place, due, next);
        Ok((due != NEVER).then_some(due))
    }

    /// The name as another schedule of the workflow has it, if there is one.
    fn shared(&self, workflow: WorkflowName) -> Arc<WorkflowName> {
        let workflow = Arc::new(workflow);
        let first = self.slots.range((Arc::clone(&workflow), 0)..).next();
        first.map(|((name, _), _)| name).filter(|name| **name == workflow).cloned().unwrap_or(workflow)
    }

    /// The first due time after `last`, or [`NEVER`].
    fn due_after(&mut self, times: &Arc<Times>, last: Timestamp) -> Timestamp {
        let known = self.times.entry(Shared(Arc::clone(times))).or_insert(NEVER..NEVER);
        if !known.contains(&last) {
            *known = last..times.after(last).unwrap_or(NEVER);
        }
        known.end
    }

    fn stand(&mut self, place: u32, due: Timestamp, next: Timestamp) {
        if due != NEVER {
            self.order.insert((next, place));
        }
    }

    /// Takes a schedule out; whether there was one.
    pub fn remove(&mut self, slot: &Slot) -> bool {
        self.remove_at(&(Arc::new(slot.workflow.clone()), slot.index))
    }

    fn remove_at(&mut self, key: &(Arc<WorkflowName>, u32)) -> bool {
        let Some(place) = self.slots.remove(key) else { return false };
        let Some(entry) = self.entries.get_mut(place as usize).and_then(Option::take) else { return false };
        self.free.push(place);
        self.order.remove(&(entry.next(), place));
        let times = Shared(entry.times);
        // That of the map, and this one.
        if Arc::strong_count(&times.0) == 2 {
            self.times.remove(&times);
        }
        true
    }

    /// Takes all schedules of a workflow out.
    pub fn remove_workflow(&mut self, workflow: &WorkflowName) {
        let name = Arc::new(workflow.clone());
        let all = (Arc::clone(&name), 0)..=(name, u32::MAX);
        let keys: Vec<_> = self.slots.range(all).map(|(key, _)| key.clone()).collect();
        for key in keys {
            self.remove_at(&key);
        }
    }

    /// What is due at `now`, by due time; it is behind from then on. What a schedule passes over is not in it, and is behind
    /// as well.
    pub fn due(&mut self, now: Timestamp) -> Vec<Firing> {
        let mut firings = Vec::new();
        while self.order.first().is_some_and(|(next, _)| *next <= now) {
            let Some((_, place)) = self.order.pop_first() else { break };
            let Some(entry) = self.entries.get(place as usize).and_then(Option::as_ref) else { continue };
            let (times, slot) = (Arc::clone(&entry.times), entry.slot());
            let (here, last) = times.here(entry.due, now);
            firings.extend(here.into_iter().map(|due| {
                let id = StartId::of_schedule(&slot.workflow, times.schedule(), due);
                Firing { slot: slot.clone(), due, id }
            }));
            let due = self.due_after(&times, last);
            let Some(entry) = self.entries.get_mut(place as usize).and_then(Option::as_mut) else { continue };
            entry.due = due;
            let next = entry.next();
            self.stand(place, due, next);
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
        let place = *self.slots.get(&(Arc::new(slot.workflow.clone()), slot.index))?;
        let due = self.entries.get(place as usize)?.as_ref()?.due;
        (due != NEVER).then_some(due)
    }

    /// How many schedules there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// How many of them differ in what they say.
    #[must_use]
    pub fn distinct(&self) -> usize {
        self.times.len()
    }
}
