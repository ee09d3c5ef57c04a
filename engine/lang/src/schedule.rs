//! A schedule, `{cron, timezone}`: what is wrong is told at the field of the expression that is wrong.

use yuanli_calendar::{Calendar, Invalid, Part};
use yuanli_expr::nearest;
use yuanli_model::Schedule;

use crate::diagnostic::{Code, Diagnostics, Span};
use crate::key;
use crate::node::Entry;

/// The time zone when none is given.
const UTC: &str = "UTC";

/// Cities that people look for, and the zone that has their time: the database names one city of each.
const CITIES: [(&str, &str); 7] = [
    ("beijing", "Asia/Shanghai"),
    ("shenzhen", "Asia/Shanghai"),
    ("bangalore", "Asia/Kolkata"),
    ("mumbai", "Asia/Kolkata"),
    ("munich", "Europe/Berlin"),
    ("san_francisco", "America/Los_Angeles"),
    ("washington", "America/New_York"),
];

/// The schedule of an entry for the expression and one for the zone.
pub(crate) fn read(
    cron: &Entry,
    timezone: Option<&Entry>,
    diagnostics: &mut Diagnostics<'_>,
) -> Option<Schedule> {
    let text = key::text_of(cron, diagnostics);
    let zone = match timezone {
        None => Some(UTC),
        Some(entry) => key::text_of(entry, diagnostics),
    };
    let schedule = Schedule { cron: text?.to_owned(), timezone: zone?.to_owned() };
    // Each part for itself: both may be wrong.
    let is_right = [
        Schedule { timezone: UTC.to_owned(), ..schedule.clone() },
        Schedule { cron: "* * * * *".to_owned(), ..schedule.clone() },
    ]
    .map(|part| match Calendar::parse(&part) {
        Ok(_) => true,
        Err(invalid) => {
            report(&invalid, cron, timezone, diagnostics);
            false
        }
    });
    (is_right == [true, true]).then_some(schedule)
}

fn report(invalid: &Invalid, cron: &Entry, timezone: Option<&Entry>, diagnostics: &mut Diagnostics<'_>) {
    match invalid.part {
        Part::Cron => {
            let span = part_of(cron, invalid, diagnostics);
            diagnostics.error_with(Code::InvalidSchedule, span, &invalid.message, || invalid.help.clone());
        }
        Part::Timezone => {
            let Some(entry) = timezone else { return };
            let help = || zone_meant(entry).or_else(|| invalid.help.clone());
            diagnostics.error_with(Code::UnknownTimezone, entry.value_span(), &invalid.message, help);
        }
    }
}

/// Where the part stands in the document, when it has the expression letter by letter; else the whole expression.
fn part_of(cron: &Entry, invalid: &Invalid, diagnostics: &Diagnostics<'_>) -> Span {
    let whole = cron.value_span();
    let crate::node::Kind::Text(text) = &cron.value.kind else { return whole };
    let written = diagnostics.text().get(whole.offset..whole.end()).unwrap_or_default();
    match written.find(text.as_str()).filter(|_| !invalid.at.is_empty()) {
        Some(begin) => Span { offset: whole.offset + begin + invalid.at.start, length: invalid.at.len() },
        None => whole,
    }
}

/// The time zone that somebody meant.
fn zone_meant(entry: &Entry) -> Option<String> {
    let crate::node::Kind::Text(wrong) = &entry.value.kind else { return None };
    if let Some(fixed) = fixed_offset(wrong) {
        return Some(format!("a fixed offset is written `{fixed}`, with the sign turned round"));
    }
    let city = |zone: &str| zone.rsplit('/').next().unwrap_or_default().to_lowercase().replace(' ', "_");
    let known = CITIES.iter().find(|(name, _)| *name == city(wrong)).map(|(_, zone)| *zone);
    let same = || yuanli_calendar::zones().find(|zone| zone.contains('/') && city(zone) == city(wrong));
    let near = || nearest(wrong, yuanli_calendar::zones());
    known.or_else(same).or_else(near).map(|near| format!("did you mean `{near}`?"))
}

/// `UTC+8`, which the database calls `Etc/GMT-8`.
fn fixed_offset(wrong: &str) -> Option<String> {
    let upper = wrong.to_uppercase();
    let rest = upper.strip_prefix("UTC").or_else(|| upper.strip_prefix("GMT")).unwrap_or(&upper);
    let (sign, hours) = match rest.split_at_checked(1)? {
        ("+", hours) => ('-', hours),
        ("-", hours) => ('+', hours),
        _ => return None,
    };
    let hours: u32 = hours.trim_end_matches(":00").parse().ok()?;
    let name = format!("Etc/GMT{sign}{hours}");
    yuanli_calendar::zones().any(|zone| zone == name).then_some(name)
}
