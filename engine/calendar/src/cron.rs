//! A cron expression: which times of day it names, on a clock that nobody puts forward or back.
//!
//! As crontab(5) has it: minute, hour, day of the month, month, day of the week; `*`, numbers, names of months and days,
//! ranges, steps, lists. When both days are given, one of them is enough; a day field that begins with `*` is not given.
//! Beside that, what other schedulers have added: seconds before the minutes, and special days (`day.rs`).
//! Of a crate that reads cron we would use little: they say what is wrong in words for programmers, and have rules of their
//! own for changes of the clock.

use std::ops::Range;

use chrono::{Datelike as _, NaiveDate, NaiveDateTime, Timelike as _};

use crate::day::Days;
use crate::field::{Fault, KINDS, Set};
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
    seconds: Set,
    minutes: Set,
    hours: Set,
    months: Set,
    days: Days,
}

impl Cron {
    pub(crate) fn parse(text: &str) -> Result<Self, Invalid> {
        let (second, fields) = fields(text)?;
        let invalid = |at: &Range<usize>, (message, help): Fault| Invalid {
            part: Part::Cron,
            message,
            at: at.clone(),
            help,
        };
        let numbers = |(field, at): &Field<'_>, kind| {
            Set::parse(field, kind, |_| Ok(false)).map_err(|fault| invalid(at, fault))
        };
        let [minute, hour, day, month, weekday] = &fields;
        let [of_seconds, of_minutes, of_hours, _, of_months, _] = &KINDS;
        let seconds = second.map_or(Ok(Set::of(0)), |second| numbers(&second, of_seconds))?;
        let (minutes, hours, months) =
            (numbers(minute, of_minutes)?, numbers(hour, of_hours)?, numbers(month, of_months)?);
        let days = Days::parse(day.0, weekday.0);
        let days = days.map_err(|(which, fault)| invalid([&day.1, &weekday.1][which], fault))?;
        let cron = Self { seconds, minutes, hours, months, days };
        if cron.is_never() {
            let help = Some("its months have no such day".to_owned());
            let message = "this date never comes".to_owned();
            return Err(Invalid { part: Part::Cron, message, at: day.1.start..month.1.end, help });
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
            && let Some((hour, minute, second)) = self.time_after(clock)
        {
            return today.and_hms_opt(hour, minute, second);
        }
        let day = self.day_from(today.succ_opt()?)?;
        day.and_hms_opt(self.hours.at_least(0)?, self.minutes.at_least(0)?, self.seconds.at_least(0)?)
    }

    /// The first time of day after that one: hour, minute, second.
    fn time_after(&self, clock: NaiveDateTime) -> Option<(u32, u32, u32)> {
        let (hour, minute, second) = (clock.hour(), clock.minute(), clock.second());
        if self.hours.has(hour) {
            if self.minutes.has(minute)
                && let Some(second) = self.seconds.at_least(second + 1)
            {
                return Some((hour, minute, second));
            }
            if let Some(minute) = self.minutes.at_least(minute + 1) {
                return Some((hour, minute, self.seconds.at_least(0)?));
            }
        }
        Some((self.hours.at_least(hour + 1)?, self.minutes.at_least(0)?, self.seconds.at_least(0)?))
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
        self.months.has(day.month()) && self.days.has(day)
    }

    /// Whether its days never come. Days of the week come on each date within 28 years, and within 40 where a year in between is
    /// no leap year.
    fn is_never(&self) -> bool {
        const YEARS: std::ops::Range<i32> = 2000..2040;
        let first = NaiveDate::from_ymd_opt(YEARS.start, 1, 1);
        first.and_then(|first| self.day_from(first)).is_none_or(|day| !YEARS.contains(&day.year()))
    }
}

/// A field and where it stands.
type Field<'t> = (&'t str, Range<usize>);

/// The seconds, if there are any, and the five other fields.
fn fields(text: &str) -> Result<(Option<Field<'_>>, [Field<'_>; 5]), Invalid> {
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
    let mut fields: Vec<_> = text
        .split_ascii_whitespace()
        .map(|field| (field, place(field)..place(field) + field.len()))
        .collect();
    let count = fields.len();
    let second = (count == 6).then(|| fields.remove(0));
    let five = fields.try_into().map_err(|_| {
        refuse(
            format!("a cron expression has 5 fields, or 6 with seconds before them, not {count}"),
            Some("they are minute, hour, day of the month, month, day of the week: `30 3 * * 1-5`"),
        )
    })?;
    Ok((second, five))
}
