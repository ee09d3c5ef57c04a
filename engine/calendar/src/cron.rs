//! A cron expression: which times of day it names, on a clock that nobody puts forward or back.
//!
//! As crontab(5) has it: minute, hour, day of the month, month, day of the week; `*`, numbers, names of months and days,
//! ranges, steps, lists. When both days are given, one of them is enough; a day field that begins with `*` is not given.
//! Of a crate that reads cron we would use little: those there are take more than these five fields, say what is wrong
//! in words for programmers, and have rules of their own for changes of the clock.

use std::ops::Range;

use chrono::{Datelike as _, NaiveDate, NaiveDateTime, Timelike as _};

use crate::field::{KINDS, Set};
use crate::{Invalid, Part};

/// Longest expression, in bytes: room for every minute of an hour, one by one.
const MAX_LENGTH: usize = 500;

/// The last year of the calendar. Also what ends a search.
const LAST_YEAR: i32 = 9999;

/// Short forms of other schedulers, and what they are here.
const SHORT: [(&str, &str); 6] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

/// A cron expression that is due some time.
#[derive(Debug, Clone)]
pub(crate) struct Cron {
    minutes: Set,
    hours: Set,
    days: Set,
    months: Set,
    weekdays: Set,
    /// Whether a day has to be in `days` and in `weekdays`, not just in one of them.
    needs_both_days: bool,
}

impl Cron {
    pub(crate) fn parse(text: &str) -> Result<Self, Invalid> {
        let fields = fields(text)?;
        let mut sets = [Set::EMPTY; 5];
        for ((set, (field, at)), kind) in sets.iter_mut().zip(&fields).zip(&KINDS) {
            *set = Set::parse(field, kind).map_err(|(message, help)| Invalid {
                part: Part::Cron,
                message,
                at: at.clone(),
                help,
            })?;
        }
        let [minutes, hours, days, months, weekdays] = sets;
        let needs_both_days = fields[2].0.starts_with('*') || fields[4].0.starts_with('*');
        let cron = Self { minutes, hours, days, months, weekdays: weekdays.week(), needs_both_days };
        if cron.is_never() {
            let help = Some("its months have no such day".to_owned());
            let message = "this date never comes".to_owned();
            return Err(Invalid { part: Part::Cron, message, at: fields[2].1.start..fields[3].1.end, help });
        }
        Ok(cron)
    }

    /// Whether it names no hours, but counts within each of them.
    pub(crate) fn is_of_every_hour(&self) -> bool {
        self.hours.len() == 24
    }

    /// The first of its times after `clock`; `None` where the calendar ends.
    pub(crate) fn next_after(&self, clock: NaiveDateTime) -> Option<NaiveDateTime> {
        let today = clock.date();
        if self.has_day(today)
            && let Some((hour, minute)) = self.time_after(clock.hour(), clock.minute())
        {
            return today.and_hms_opt(hour, minute, 0);
        }
        let day = self.day_from(today.succ_opt()?)?;
        day.and_hms_opt(self.hours.at_least(0)?, self.minutes.at_least(0)?, 0)
    }

    /// The first time of day after that minute.
    fn time_after(&self, hour: u32, minute: u32) -> Option<(u32, u32)> {
        if self.hours.has(hour)
            && let Some(minute) = self.minutes.at_least(minute + 1)
        {
            return Some((hour, minute));
        }
        Some((self.hours.at_least(hour + 1)?, self.minutes.at_least(0)?))
    }

    /// The first of its days that is `day` or later.
    fn day_from(&self, mut day: NaiveDate) -> Option<NaiveDate> {
        while day.year() <= LAST_YEAR {
            if self.has_day(day) {
                return Some(day);
            }
            day = match self.months.at_least(day.month()) {
                Some(month) if month == day.month() => day.succ_opt()?,
                Some(month) => NaiveDate::from_ymd_opt(day.year(), month, 1)?,
                None => NaiveDate::from_ymd_opt(day.year() + 1, self.months.at_least(1)?, 1)?,
            };
        }
        None
    }

    fn has_day(&self, day: NaiveDate) -> bool {
        let in_month = self.days.has(day.day());
        let in_week = self.weekdays.has(day.weekday().num_days_from_sunday());
        self.months.has(day.month())
            && if self.needs_both_days { in_month && in_week } else { in_month || in_week }
    }

    /// Whether none of its months has any of its days, and no day of the week stands in for them.
    fn is_never(&self) -> bool {
        const LONGEST: [u32; 12] = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        let first = self.days.at_least(1).unwrap_or(1);
        let fits = |month: u32, days: u32| self.months.has(month) && first <= days;
        self.needs_both_days && !(1..).zip(LONGEST).any(|(month, days)| fits(month, days))
    }
}

/// The five fields and where they stand.
fn fields(text: &str) -> Result<[(&str, Range<usize>); 5], Invalid> {
    let refuse = |message: String, help: Option<&str>| Invalid {
        part: Part::Cron,
        message,
        at: 0..text.len(),
        help: help.map(str::to_owned),
    };
    if text.len() > MAX_LENGTH {
        return Err(refuse(format!("a cron expression of more than {MAX_LENGTH} bytes"), None));
    }
    if let Some((short, long)) = SHORT.iter().find(|(short, _)| short.eq_ignore_ascii_case(text.trim())) {
        return Err(refuse(format!("`{short}` is not known here"), Some(&format!("write `{long}`"))));
    }
    let place = |field: &str| field.as_ptr() as usize - text.as_ptr() as usize;
    let fields: Vec<_> = text
        .split_ascii_whitespace()
        .map(|field| (field, place(field)..place(field) + field.len()))
        .collect();
    let count = fields.len();
    fields.try_into().map_err(|_| {
        refuse(
            format!("a cron expression has 5 fields, not {count}"),
            Some("they are minute, hour, day of the month, month, day of the week: `30 3 * * 1-5`"),
        )
    })
}
