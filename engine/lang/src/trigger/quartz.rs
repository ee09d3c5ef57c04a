//! `dialect: quartz`: expressions of six or seven fields as the scheduler Quartz has them, written as cron has them.
//!
//! Seconds come first and years last; days of the week are counted from 1, Sunday; one of the two day fields is `?`; `5/10` goes on
//! to the end of its field. Years become the first and the last moment that count, so that a schedule is stored as any other.

use std::ops::RangeInclusive;

/// An expression as cron has it, and the years that it names, when it names some.
pub(super) struct Translated {
    pub(super) cron: String,
    pub(super) years: Option<RangeInclusive<u32>>,
}

/// What is wrong: a sentence, and how to mend it.
pub(super) type Fault = (String, Option<String>);

/// The years that Quartz knows.
const YEARS: RangeInclusive<u32> = 1970..=2099;
/// The largest number of each field, from seconds to days of the week, as cron counts them.
const MOST: [u32; 6] = [59, 59, 23, 31, 12, 6];
const MONTH_DAY: usize = 3;
const WEEK_DAY: usize = 5;

/// Writes an expression as cron has it. What is wrong with a field beyond what differs is left to who reads cron.
pub(super) fn translate(text: &str) -> Result<Translated, Fault> {
    let fields: Vec<&str> = text.split_ascii_whitespace().collect();
    if !matches!(fields.len(), 6 | 7) {
        let message =
            format!("an expression of Quartz has 6 fields, or 7 with years after them, not {}", fields.len());
        let help =
            "they are second, minute, hour, day of the month, month, day of the week: `0 30 3 ? * MON-FRI`";
        return Err((message, Some(help.to_owned())));
    }
    let (month_day, week_day) = (fields[MONTH_DAY], fields[WEEK_DAY]);
    if (month_day == "?") == (week_day == "?") {
        let message = "one of the day of the month and the day of the week is `?`, and not both";
        let help = "write `?` for the one that does not count: `0 0 12 * * ?`";
        return Err((message.to_owned(), Some(help.to_owned())));
    }
    let mut written = Vec::with_capacity(MOST.len());
    for (index, (field, most)) in fields.iter().zip(MOST).enumerate() {
        if *field == "?" && index != MONTH_DAY && index != WEEK_DAY {
            return Err((format!("`?` stands for days only, not in field {}", index + 1), None));
        }
        let items: Result<Vec<String>, Fault> =
            field.split(',').map(|item| written_item(item, index, most)).collect();
        written.push(items?.join(","));
    }
    let years = fields.get(MOST.len()).map_or(Ok(None), |years| read_years(years))?;
    Ok(Translated { cron: written.join(" "), years })
}

fn written_item(item: &str, index: usize, most: u32) -> Result<String, Fault> {
    let (range, step) = match item.split_once('/') {
        Some((range, step)) => (range, Some(step)),
        None => (item, None),
    };
    let range = match index {
        _ if range == "?" => "*".to_owned(),
        WEEK_DAY => week_day(range)?,
        _ => range.to_owned(),
    };
    Ok(match step {
        None => range,
        // `5/10` goes on to the end of its field; `*/10` and `5-30/10` say themselves how far.
        Some(step) if range == "*" || range.contains('-') => format!("{range}/{step}"),
        Some(step) => format!("{range}-{most}/{step}"),
    })
}

/// Days of the week, from 0 instead of 1. `L` alone is Saturday, the last day of the week.
fn week_day(range: &str) -> Result<String, Fault> {
    if range.eq_ignore_ascii_case("l") {
        return Ok("6".to_owned());
    }
    let one = |text: &str| -> Result<String, Fault> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, rest) = text.split_at(digits);
        match number {
            // A name, or something that who reads cron will refuse.
            "" => Ok(text.to_owned()),
            _ => match number.parse::<u32>() {
                Ok(number @ 1..=7) => Ok(format!("{}{rest}", number - 1)),
                _ => Err((
                    format!("`{text}` is no day of the week"),
                    Some("Quartz counts them from 1, Sunday, to 7, Saturday".to_owned()),
                )),
            },
        }
    };
    match range.split_once('-') {
        Some((first, last)) => Ok(format!("{}-{}", one(first)?, one(last)?)),
        None => one(range),
    }
}

fn read_years(text: &str) -> Result<Option<RangeInclusive<u32>>, Fault> {
    if text == "*" {
        return Ok(None);
    }
    let year = |text: &str| text.parse::<u32>().ok().filter(|year| YEARS.contains(year));
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (year(first), year(last)) {
        (Some(first), Some(last)) if first <= last => Ok(Some(first..=last)),
        _ => {
            let help = "write `*`, a year such as `2026`, or a range such as `2026-2028`";
            Err((format!("`{text}` is no range of years"), Some(help.to_owned())))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_of_quartz_are_written_as_cron_has_them() {
        for (quartz, cron, years) in [
            ("0 0 12 * * ?", "0 0 12 * * *", None),
            ("0 15 10 ? * MON-FRI", "0 15 10 * * MON-FRI", None),
            ("0 15 10 ? * 2-6", "0 15 10 * * 1-5", None),
            ("0 0/5 14,18 * * ? *", "0 0-59/5 14,18 * * *", None),
            ("30 10-20/2 8 L * ?", "30 10-20/2 8 L * *", None),
            ("0 0 8 15W * ?", "0 0 8 15W * *", None),
            ("0 15 10 ? * 6L 2026-2028", "0 15 10 * * 5L", Some(2026..=2028)),
            ("0 15 10 ? * 6#3 2026", "0 15 10 * * 5#3", Some(2026..=2026)),
            ("0 0 0 ? 1/3 L", "0 0 0 * 1-12/3 6", None),
            ("0 0 0 ? * 1,SAT", "0 0 0 * * 0,SAT", None),
            ("0 0 0 ? * 2/2", "0 0 0 * * 1-6/2", None),
        ] {
            let found = translate(quartz).unwrap_or_else(|fault| panic!("{quartz}: {fault:?}"));
            assert_eq!((found.cron.as_str(), found.years), (cron, years), "{quartz}");
        }
    }

    #[test]
    fn what_quartz_does_not_have_is_refused() {
        for (quartz, says) in [
            ("0 3 * * *", "has 6 fields, or 7 with years after them, not 5"),
            ("0 0 12 * * *", "one of the day of the month and the day of the week is `?`"),
            ("0 0 12 ? * ?", "one of the day of the month and the day of the week is `?`"),
            ("? 0 12 * * ?", "`?` stands for days only, not in field 1"),
            ("0 0 12 ? * 0", "`0` is no day of the week"),
            ("0 0 12 ? * 1-8", "`8` is no day of the week"),
            ("0 0 12 * * ? 2026/2", "`2026/2` is no range of years"),
            ("0 0 12 * * ? 2028-2026", "`2028-2026` is no range of years"),
        ] {
            let Err((message, _)) = translate(quartz) else { panic!("{quartz}") };
            assert!(message.contains(says), "{quartz}: {message}");
        }
    }
}
