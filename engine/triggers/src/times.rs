//! The due times of one schedule: within what bounds it, with what becomes of those that went by.

use std::borrow::Borrow;
use std::collections::VecDeque;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use yuanli_calendar::{Calendar, Invalid};
use yuanli_model::trigger::{Missed, SchedulePolicy};
use yuanli_model::{Digest, Schedule, Timestamp};

use crate::timetable::LATE;

/// A schedule, and what bounds it.
type Timing = (Schedule, SchedulePolicy);

/// The due times of a schedule.
#[derive(Debug)]
pub struct Times {
    timing: Timing,
    calendar: Calendar,
}

impl Times {
    /// Those of a schedule within what bounds it.
    ///
    /// # Errors
    /// What is wrong with the schedule.
    pub fn parse(timing: Timing) -> Result<Self, Invalid> {
        let calendar = Calendar::parse(&timing.0)?;
        Ok(Self { timing, calendar })
    }

    /// The first one after `last`.
    #[must_use]
    pub fn after(&self, last: Timestamp) -> Option<Timestamp> {
        let policy = &self.timing.1;
        let begin = policy.from.map_or(0, Timestamp::as_millis).saturating_sub(1);
        let due = self.calendar.next_after(last.max(Timestamp::from_millis(begin)))?;
        policy.until.is_none_or(|until| due <= until).then_some(due)
    }

    /// Those after `last`, in their order.
    pub fn all_after(&self, last: Timestamp) -> impl Iterator<Item = Timestamp> {
        std::iter::successors(self.after(last), |due| self.after(*due))
    }

    pub(crate) fn schedule(&self) -> &Schedule {
        &self.timing.0
    }

    /// The due times from `due` on that runs are to start for at `now`, with the last one that is behind then.
    pub(crate) fn here(&self, due: Timestamp, now: Timestamp) -> (Vec<Timestamp>, Timestamp) {
        let is_late = |due: Timestamp| now.since(due.after(self.jitter(due))) > LATE;
        if !is_late(due) {
            return (vec![due], due);
        }
        let policy = &self.timing.1;
        let end = policy.until.map_or(now, |until| until.min(now));
        let latest = self.calendar.missed(due, end).unwrap_or(due);
        let here = match policy.missed {
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
            self.all_after(before).take_while(|due| *due <= last)
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
    pub(crate) fn jitter(&self, due: Timestamp) -> Duration {
        let (Schedule { cron, timezone }, policy) = &self.timing;
        let Some(most) = u64::try_from(policy.jitter.as_millis()).ok().filter(|most| *most > 0) else {
            return Duration::ZERO;
        };
        let digest = Digest::of(format!("{cron}\0{timezone}\0{}", due.as_millis()).as_bytes());
        let number =
            digest.as_bytes().iter().take(8).fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
        Duration::from_millis(number % most)
    }
}

/// Times that all slots have in common whose schedules say the same: found by what they say.
#[derive(Debug, Clone)]
pub(crate) struct Shared(pub(crate) Arc<Times>);

impl Borrow<Timing> for Shared {
    fn borrow(&self) -> &Timing {
        &self.0.timing
    }
}

impl PartialEq for Shared {
    fn eq(&self, other: &Self) -> bool {
        self.0.timing == other.0.timing
    }
}

impl Eq for Shared {}

impl Hash for Shared {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.timing.hash(state);
    }
}
