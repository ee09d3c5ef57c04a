//! When a cron expression in a time zone is due.
//!
//! Pure: time comes in, due times go out. The expression is the one of crontab(5), five fields, with seconds before them where
//! somebody wants them, and the special days `L`, `W` and `#` (`cron.rs`, `day.rs`). A [`Calendar`] is made once from a [`Schedule`] and then asked; its answers
//! grow strictly, and take microseconds also where years lie between two of them.
//!
//! Where a clock is put forward or back, crontab(8) is followed:
//! - A schedule that names hours is due once at each of its times of day. A time that a clock jumps over is due right
//!   after the jump, and of a time that comes twice the first counts.
//! - A schedule of every hour follows the time that goes by: it is due in each hour that there is, also in one that
//!   comes twice, and has nothing to make up for an hour that does not come.

mod cron;
mod day;
mod field;
mod zone;

use std::ops::Range;

use yuanli_model::{Schedule, Timestamp};

use crate::cron::Cron;
use crate::zone::Zone;

/// The due times of a schedule.
#[derive(Debug, Clone)]
pub struct Calendar {
    cron: Cron,
    zone: Zone,
}

/// Which part of a schedule is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// [`Schedule::cron`].
    Cron,
    /// [`Schedule::timezone`].
    Timezone,
}

/// Why a schedule is none, for a person.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Invalid {
    /// The part that is wrong.
    pub part: Part,
    /// What is wrong with it.
    pub message: String,
    /// Where in that part's text, in bytes.
    pub at: Range<usize>,
    /// How to mend it, when that is known.
    pub help: Option<String>,
}

/// The moment that a text names: `2026-12-01`, `2026-12-01T08:00` or `2026-12-01T08:00:30` on the clock of a time zone, or RFC 3339
/// with an offset, `2026-12-01T08:00:00+08:00`. A time of day that a clock jumps over stands for the jump. `None` where it names
/// none, or one before 1970.
#[must_use]
pub fn moment(text: &str, timezone: &str) -> Option<Timestamp> {
    let second = Zone::parse(timezone).ok()?.read(text)?;
    u64::try_from(second).ok()?.checked_mul(1000).map(Timestamp::from_millis)
}

impl Calendar {
    /// The calendar of a schedule.
    ///
    /// # Errors
    /// What is wrong with the expression or the time zone; an expression that is never due is wrong.
    pub fn parse(schedule: &Schedule) -> Result<Self, Invalid> {
        Ok(Self { cron: Cron::parse(&schedule.cron)?, zone: Zone::parse(&schedule.timezone)? })
    }

    /// The first due time after `time`. `None` only where the calendar ends, in the year 9999.
    #[must_use]
    pub fn next_after(&self, time: Timestamp) -> Option<Timestamp> {
        let second = i64::try_from(time.as_millis() / 1000).ok()?;
        // Due times are whole seconds: one after `time` is one after its second.
        let due = if self.cron.is_of_every_hour() {
            self.next_in_passing_time(second)
        } else {
            self.next_on_the_clock(second)
        }?;
        u64::try_from(due).ok()?.checked_mul(1000).map(Timestamp::from_millis)
    }

    /// The latest due time after `last` and not after `now`, if there is one: what was missed in between, once.
    ///
    /// Costs some 40 times [`Self::next_after`], however many times were missed.
    #[must_use]
    pub fn missed(&self, last: Timestamp, now: Timestamp) -> Option<Timestamp> {
        let due = |after: u64| self.next_after(Timestamp::from_millis(after)).filter(|due| *due <= now);
        let mut latest = due(last.as_millis())?;
        // Later and later starts still have a due time before `now`, until they have none: bisect.
        let mut none_after = now.as_millis();
        while latest.as_millis() < none_after {
            let middle = latest.as_millis() + (none_after - latest.as_millis()) / 2;
            match due(middle) {
                Some(later) => latest = later,
                None => none_after = middle,
            }
        }
        Some(latest)
    }

    /// For schedules that name hours: the first time of day whose moment is after `second`. Moments never go back as
    /// times of day go on, so the first that is found is the first there is.
    fn next_on_the_clock(&self, second: i64) -> Option<i64> {
        let mut clock = self.zone.clock(second)?;
        loop {
            clock = self.cron.next_after(clock)?;
            let moment = self.zone.moment(clock)?;
            // Inside a repeated hour: its times were due when they came first.
            if moment > second {
                return Some(moment);
            }
        }
    }

    /// For schedules of every hour: the first moment after `second` at which the clock shows one of its times.
    fn next_in_passing_time(&self, second: i64) -> Option<i64> {
        let clock = self.zone.clock(second)?;
        let ahead = self.next_shown(clock, second);
        // The clock may go back before that, and show times again that are behind `clock`.
        match self.zone.set_back(second, ahead)? {
            None => ahead,
            Some(change) => {
                // The second before, as the one that the clock goes back to may itself be due.
                let again = self.zone.clock(change)?.checked_sub_signed(chrono::TimeDelta::seconds(1))?;
                let again = self.next_shown(again, change - 1);
                ahead.into_iter().chain(again).min()
            }
        }
    }

    /// The first moment after `second` at which the clock shows a due time after `clock`, without looking at times
    /// that come again. Times that are never shown are passed over.
    fn next_shown(&self, mut clock: chrono::NaiveDateTime, second: i64) -> Option<i64> {
        loop {
            clock = self.cron.next_after(clock)?;
            if let Some(moment) = self.zone.shown(clock).into_iter().flatten().find(|moment| *moment > second)
            {
                return Some(moment);
            }
        }
    }
}

/// The names of all time zones.
pub fn zones() -> impl Iterator<Item = &'static str> + Clone {
    zone::names()
}
