//! Which days a cron expression names: numbers, and the special ones that follow from the month: `L`, `W` and `#`.

use chrono::{Datelike as _, NaiveDate, TimeDelta, Weekday};

use crate::field::{Fault, KINDS, Kind, Set, read_number};

const MONTH_DAY: usize = 3;
const WEEK_DAY: usize = 5;
/// A month has a fifth day of the same name sometimes, and never a sixth.
const MOST_IN_MONTH: u32 = 5;
/// Days before the last one that a month always has.
const MOST_BEFORE_LAST: u32 = 27;

/// The days of two fields.
#[derive(Debug, Clone)]
pub(crate) struct Days {
    month: Set,
    week: Set,
    of_month: Vec<OfMonth>,
    of_week: Vec<OfWeek>,
    /// Whether a day has to be named by both fields, not just by one of them.
    needs_both: bool,
}

/// A special day of the month.
#[derive(Debug, Clone, Copy)]
enum OfMonth {
    /// `L`, `L-3`: so many days before the last.
    BeforeLast(u32),
    /// `15W`: the day from Monday to Friday that is nearest to it, in the same month.
    NearestWorkday(u32),
    /// `LW`: the last day from Monday to Friday.
    LastWorkday,
}

/// A special day of the week; from 0, Sunday.
#[derive(Debug, Clone, Copy)]
enum OfWeek {
    /// `5#2`: the second one of the month.
    Nth(u32, u32),
    /// `5L`: the last one of the month.
    Last(u32),
}

impl Days {
    /// The days of the field for the month and of that for the week; what is wrong is of the first or the second.
    pub(crate) fn parse(month: &str, week: &str) -> Result<Self, (usize, Fault)> {
        let (mut of_month, mut of_week) = (Vec::new(), Vec::new());
        let in_month = Set::parse(month, &KINDS[MONTH_DAY], |item| {
            let special = read_of_month(item, &KINDS[MONTH_DAY])?;
            of_month.extend(special);
            Ok(special.is_some())
        });
        let in_week = Set::parse(week, &KINDS[WEEK_DAY], |item| {
            let special = read_of_week(item, &KINDS[WEEK_DAY])?;
            of_week.extend(special);
            Ok(special.is_some())
        });
        let needs_both = month.starts_with('*') || week.starts_with('*');
        let (month, week) = (in_month.map_err(|fault| (0, fault))?, in_week.map_err(|fault| (1, fault))?);
        Ok(Self { month, week: week.week(), of_month, of_week, needs_both })
    }

    pub(crate) fn has(&self, day: NaiveDate) -> bool {
        let in_month = self.month.has(day.day()) || self.of_month.iter().any(|special| special.is(day));
        let weekday = day.weekday().num_days_from_sunday();
        let in_week = self.week.has(weekday) || self.of_week.iter().any(|special| special.is(day));
        if self.needs_both { in_month && in_week } else { in_month || in_week }
    }
}

impl OfMonth {
    fn is(self, day: NaiveDate) -> bool {
        match self {
            Self::BeforeLast(before) => day.day() + before == last_of(day),
            Self::LastWorkday => {
                is_workday(day)
                    && (day.day() + 1..=last_of(day))
                        .all(|later| day.with_day(later).is_none_or(|later| !is_workday(later)))
            }
            Self::NearestWorkday(wanted) => {
                is_workday(day) && day.with_day(wanted).and_then(nearest_workday) == Some(day)
            }
        }
    }
}

impl OfWeek {
    fn is(self, day: NaiveDate) -> bool {
        let is_weekday = |weekday| day.weekday().num_days_from_sunday() == weekday;
        match self {
            Self::Nth(weekday, number) => is_weekday(weekday) && day.day0() / 7 + 1 == number,
            Self::Last(weekday) => is_weekday(weekday) && day.day() + 7 > last_of(day),
        }
    }
}

fn is_workday(day: NaiveDate) -> bool {
    !matches!(day.weekday(), Weekday::Sat | Weekday::Sun)
}

/// The number of the last day of the month.
fn last_of(day: NaiveDate) -> u32 {
    u32::from(day.num_days_in_month())
}

/// Saturday stands for the Friday before, Sunday for the Monday after, but no month for another.
fn nearest_workday(day: NaiveDate) -> Option<NaiveDate> {
    let days = match day.weekday() {
        Weekday::Sat if day.day() == 1 => 2,
        Weekday::Sat => -1,
        Weekday::Sun if day.day() == last_of(day) => -2,
        Weekday::Sun => 1,
        Weekday::Mon | Weekday::Tue | Weekday::Wed | Weekday::Thu | Weekday::Fri => 0,
    };
    day.checked_add_signed(TimeDelta::days(days))
}

fn read_of_month(item: &str, kind: &Kind) -> Result<Option<OfMonth>, Fault> {
    let upper = item.to_ascii_uppercase();
    if upper == "L" {
        return Ok(Some(OfMonth::BeforeLast(0)));
    }
    if upper == "LW" {
        return Ok(Some(OfMonth::LastWorkday));
    }
    if let Some(before) = upper.strip_prefix("L-") {
        let before = before.parse().ok().filter(|before| (1..=MOST_BEFORE_LAST).contains(before));
        return before.map(|before| Some(OfMonth::BeforeLast(before))).ok_or_else(|| {
            let help = format!("days before the last are counted from 1 to {MOST_BEFORE_LAST}: `L-3`");
            (format!("`{item}` is no {}", kind.name), Some(help))
        });
    }
    match upper.strip_suffix('W') {
        Some(day) => Ok(Some(OfMonth::NearestWorkday(read_number(day, kind)?))),
        None => Ok(None),
    }
}

fn read_of_week(item: &str, kind: &Kind) -> Result<Option<OfWeek>, Fault> {
    // Names of days have an `L` of their own nowhere at their end.
    if let Some(day) = item.strip_suffix(['L', 'l']).filter(|day| !day.is_empty()) {
        return Ok(Some(OfWeek::Last(read_number(day, kind)? % 7)));
    }
    let Some((day, number)) = item.split_once('#') else { return Ok(None) };
    let weekday = read_number(day, kind)? % 7;
    let number = number.parse().ok().filter(|number| (1..=MOST_IN_MONTH).contains(number));
    number.map(|number| Some(OfWeek::Nth(weekday, number))).ok_or_else(|| {
        let help =
            format!("days of a month are counted from 1 to {MOST_IN_MONTH}: `fri#2` is the second Friday");
        (format!("`{item}` is no {}", kind.name), Some(help))
    })
}
