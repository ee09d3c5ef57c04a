//! A time zone: from what its clock shows to moments, and back. Moments are seconds since the epoch.

use chrono::{DateTime, MappedLocalTime, NaiveDate, NaiveDateTime, Offset as _, TimeZone as _};
use chrono_tz::{GapInfo, TZ_VARIANTS, Tz};

use crate::{Invalid, Part};

/// How far ahead a change of the clock can matter, in seconds: what it shows again, it has shown in the day before.
const REACH: i64 = 25 * 3600;

/// How a date and a time of day are written.
const FORMATS: [&str; 2] = ["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"];

/// A time zone of the IANA database.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Zone(Tz);

impl Zone {
    pub(crate) fn parse(name: &str) -> Result<Self, Invalid> {
        name.parse().map(Self).map_err(|_| Invalid {
            part: Part::Timezone,
            message: format!("there is no time zone `{name}`"),
            at: 0..name.len(),
            help: Some("it is a name of the IANA database, such as `Asia/Shanghai` or `UTC`".to_owned()),
        })
    }

    /// What the clock shows at a moment.
    pub(crate) fn clock(self, moment: i64) -> Option<NaiveDateTime> {
        Some(DateTime::from_timestamp(moment, 0)?.with_timezone(&self.0).naive_local())
    }

    /// The moments at which the clock shows `clock`: none, one, or two.
    pub(crate) fn shown(self, clock: NaiveDateTime) -> [Option<i64>; 2] {
        match self.0.from_local_datetime(&clock) {
            MappedLocalTime::None => [None, None],
            MappedLocalTime::Single(moment) => [Some(moment.timestamp()), None],
            MappedLocalTime::Ambiguous(first, second) => [Some(first.timestamp()), Some(second.timestamp())],
        }
    }

    /// The moment that stands for `clock`: the first at which it is shown, or the one at which the clock jumps over it.
    pub(crate) fn moment(self, clock: NaiveDateTime) -> Option<i64> {
        match self.shown(clock)[0] {
            Some(moment) => Some(moment),
            None => Some(GapInfo::new(&clock, &self.0)?.end?.timestamp()),
        }
    }

    /// The moment of a date, which is its first one, or of a date and a time of day.
    pub(crate) fn read(self, text: &str) -> Option<i64> {
        let date = |text: &str| text.parse::<NaiveDate>().ok()?.and_hms_opt(0, 0, 0);
        let clock = || FORMATS.iter().find_map(|format| NaiveDateTime::parse_from_str(text, format).ok());
        match DateTime::parse_from_rfc3339(text) {
            Ok(moment) => Some(moment.timestamp()),
            Err(_) => self.moment(date(text).or_else(clock)?),
        }
    }

    /// The first moment after the clock was put back, when it is after `from` and at most at `until` (and near).
    /// `None` outside is where time ends.
    #[allow(clippy::option_option, reason = "no change and no such moment are different answers")]
    pub(crate) fn set_back(self, from: i64, until: Option<i64>) -> Option<Option<i64>> {
        let end = until.map_or(from + REACH, |until| until.min(from + REACH));
        let before = self.offset(from)?;
        if self.offset(end)? >= before {
            return Some(None);
        }
        // Of `[low, high]` the first has the offset of before, the last has not.
        let (mut low, mut high) = (from, end);
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if self.offset(middle)? < before { high = middle } else { low = middle }
        }
        Some(Some(high))
    }

    /// Seconds that the clock is ahead of UTC at a moment.
    fn offset(self, moment: i64) -> Option<i32> {
        let time = DateTime::from_timestamp(moment, 0)?.naive_utc();
        Some(self.0.offset_from_utc_datetime(&time).fix().local_minus_utc())
    }
}

pub(crate) fn names() -> impl Iterator<Item = &'static str> + Clone {
    TZ_VARIANTS.iter().map(|zone| zone.name())
}
