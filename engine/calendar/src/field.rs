//! One field of a cron expression: a set of numbers below 64.

/// What a field counts.
#[derive(Debug)]
pub(crate) struct Kind {
    /// For a person: `minute`.
    pub(crate) name: &'static str,
    pub(crate) least: u32,
    pub(crate) most: u32,
    /// Names of the numbers from `least` on; empty when they have none.
    names: &'static [&'static str],
}

pub(crate) const KINDS: [Kind; 6] = [
    Kind { name: "second", least: 0, most: 59, names: &[] },
    Kind { name: "minute", least: 0, most: 59, names: &[] },
    Kind { name: "hour", least: 0, most: 23, names: &[] },
    Kind { name: "day of the month", least: 1, most: 31, names: &[] },
    Kind {
        name: "month",
        least: 1,
        most: 12,
        names: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
    },
    // 7 is Sunday as well as 0, so that weeks can end with it.
    Kind {
        name: "day of the week",
        least: 0,
        most: 7,
        names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat", "sun"],
    },
];

impl Kind {
    /// The last number that is not another one again: a week has seven days, also where Sunday is called by two.
    fn last(&self) -> u32 {
        if self.most == 7 { 6 } else { self.most }
    }
}

/// The numbers of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Set(u64);

/// Why a text is no field: what is wrong, and how to mend it.
pub(crate) type Fault = (String, Option<String>);

impl Set {
    /// The set of one number.
    pub(crate) const fn of(number: u32) -> Self {
        Self(1 << number)
    }

    /// The set that `text` stands for: items with commas between. `special` takes those that are no set of numbers.
    pub(crate) fn parse(
        text: &str,
        kind: &Kind,
        mut special: impl FnMut(&str) -> Result<bool, Fault>,
    ) -> Result<Self, Fault> {
        let mut bits = 0;
        for item in text.split(',') {
            if !special(item)? {
                bits |= read_item(item, kind)?;
            }
        }
        Ok(Self(bits))
    }

    pub(crate) fn has(self, number: u32) -> bool {
        self.0 & (1 << number) != 0
    }

    /// The least number of the set that is `from` or more.
    pub(crate) fn at_least(self, from: u32) -> Option<u32> {
        let rest = self.0.checked_shr(from)?;
        (rest != 0).then(|| from + rest.trailing_zeros())
    }

    pub(crate) fn len(self) -> u32 {
        self.0.count_ones()
    }

    /// The same set, in which 7 is 0.
    pub(crate) fn week(self) -> Self {
        Self((self.0 | self.0 >> 7) & 0x7f)
    }
}

/// `*`, `n`, `a-b`, and the latter two or the first with `/step`.
fn read_item(item: &str, kind: &Kind) -> Result<u64, Fault> {
    let (range, step) = match item.split_once('/') {
        None => (item, None),
        Some((range, step)) => (range, Some(step)),
    };
    let (first, last) = match range.split_once('-') {
        _ if range == "*" => (kind.least, kind.last()),
        None => {
            let number = read_number(range, kind)?;
            (number, number)
        }
        Some((first, last)) => read_range(range, first, last, kind)?,
    };
    let step = match step {
        None => 1,
        Some(step) if first == last => {
            let help = format!("write `{first}-{}/{step}`", kind.most);
            return Err((format!("`{item}` has a step and no range to go through"), Some(help)));
        }
        Some(step) => read_step(step, item, last - first, kind)?,
    };
    Ok((first..=last).step_by(step).fold(0, |bits, number| bits | 1 << number))
}

fn read_range(range: &str, first: &str, last: &str, kind: &Kind) -> Result<(u32, u32), Fault> {
    let (from, mut until) = (read_number(first, kind)?, read_number(last, kind)?);
    // `sat-sun`: a name does not say which end of the week is meant, its place does.
    if kind.most == 7 && until == 0 && from > 0 {
        until = 7;
    }
    if from > until {
        let help = format!("write `{from}-{},{}-{until}`", kind.last(), kind.least);
        return Err((format!("`{range}` goes backwards"), Some(help)));
    }
    Ok((from, until))
}

pub(crate) fn read_number(text: &str, kind: &Kind) -> Result<u32, Fault> {
    let named = kind.names.iter().position(|name| name.eq_ignore_ascii_case(text));
    let number = match named.and_then(|index| u32::try_from(index).ok()) {
        Some(index) => Some(kind.least + index),
        None if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok(),
        None => None,
    };
    number.filter(|number| (kind.least..=kind.most).contains(number)).ok_or_else(|| {
        let names = match kind.names {
            [] => String::new(),
            [first, .., _] => format!(", or a name such as `{first}`"),
            [only] => format!(", or `{only}`"),
        };
        let help = format!("it is `*`, or a number from {} to {}{names}", kind.least, kind.most);
        (format!("`{text}` is no {}", kind.name), Some(help))
    })
}

fn read_step(step: &str, item: &str, width: u32, kind: &Kind) -> Result<usize, Fault> {
    let is_number = !step.is_empty() && step.bytes().all(|byte| byte.is_ascii_digit());
    let number = step.parse::<u32>().ok().filter(|number| is_number && *number > 0);
    let Some(number) = number else {
        let help = "it is a number from 1, such as `*/5`".to_owned();
        return Err((format!("`{step}` in `{item}` is no step"), Some(help)));
    };
    if number > width {
        // `*/90` reads like every 90 minutes, and would be every hour.
        let help =
            format!("a field counts within its {} only; the largest step here is {width}", scope(kind));
        return Err((format!("the step of `{item}` leaves its range at once"), Some(help)));
    }
    usize::try_from(number).map_err(|_| (format!("`{step}` in `{item}` is too large"), None))
}

/// In what a field counts.
fn scope(kind: &Kind) -> &'static str {
    match kind.name {
        "second" => "minute",
        "minute" => "hour",
        "hour" => "day",
        "day of the month" => "month",
        "month" => "year",
        _ => "week",
    }
}
