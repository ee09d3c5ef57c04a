//! `on.schedule`: times at which a run starts.

use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::time::Duration;

use yuanli_model::trigger::{Missed, Overlap, SchedulePolicy, ScheduleTrigger};
use yuanli_model::{Schedule, Timestamp};

use super::given::Given;
use super::quartz;
use crate::diagnostic::{Code, Diagnostics, Span};
use crate::key;
use crate::node::{Entry, Kind, Node};
use crate::schedule;

/// Most times that are made up for.
pub(crate) const MAX_MISSED: u32 = 1000;
/// How many are when nobody says.
const MISSED: NonZeroU32 = NonZeroU32::new(100).expect("not 0");

/// Ways to make up for what was missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Skip,
    Once,
    All,
}

/// Reads each schedule of `found`; `place` is where schedules are asked for.
pub(super) fn read<'a>(
    found: &[(&'a [Entry], Span)],
    place: Span,
    diagnostics: &mut Diagnostics<'_>,
) -> Vec<(Option<ScheduleTrigger>, Given<'a>)> {
    let mut read: Vec<(Option<ScheduleTrigger>, Given<'a>)> = Vec::new();
    for &(entries, span) in found {
        key::check(entries, &key::SCHEDULE, diagnostics);
        let given = Given::read("the schedule", entries, place, diagnostics);
        let trigger = read_trigger(entries, span, diagnostics);
        let is_known = |schedule: &Schedule| {
            read.iter().any(|(other, _)| other.as_ref().is_some_and(|other| other.schedule == *schedule))
        };
        // What was started for which due time is remembered by the schedule alone.
        if trigger.as_ref().is_some_and(|trigger| is_known(&trigger.schedule)) {
            let cron = key::find(entries, "cron").map_or(span, Entry::value_span);
            let message = "the workflow has this schedule already";
            diagnostics.error_with(Code::Contradiction, cron, message, || {
                Some(
                    "leave one out; what differs from time to time can follow from `trigger.body.due`"
                        .to_owned(),
                )
            });
        }
        read.push((trigger, given));
    }
    read
}

fn read_trigger(entries: &[Entry], span: Span, diagnostics: &mut Diagnostics<'_>) -> Option<ScheduleTrigger> {
    let mut years = None;
    let schedule = match key::find(entries, "cron") {
        Some(cron) => match written_as_cron(cron, key::given(entries, "dialect"), diagnostics) {
            Some((cron, named)) => {
                years = named;
                schedule::read(&cron, key::find(entries, "timezone"), diagnostics)
            }
            None => None,
        },
        None => {
            diagnostics.error_with(Code::MissingKey, span, "the schedule does not say when", || {
                Some("add `cron:` with five fields, such as `cron: \"0 3 * * *\"`".to_owned())
            });
            None
        }
    };
    let timezone = schedule.as_ref().map_or("UTC", |schedule| &schedule.timezone);
    let (first, last) = years.map_or((None, None), |years| bounds(&years, timezone));
    // Of a moment and a year the narrower one counts.
    let from = read_moment(entries, "from", timezone, diagnostics).map(|from| from.max(first));
    let until = read_moment(entries, "until", timezone, diagnostics);
    let until = until.map(|until| [until, last].into_iter().flatten().min());
    if let (Some(Some(from)), Some(Some(until)), Some(entry)) = (from, until, key::given(entries, "until"))
        && until < from
    {
        let message = "the schedule is over before it begins: `until` is before `from`";
        diagnostics.error(Code::Contradiction, entry.value_span(), message);
    }
    let jitter = key::given(entries, "jitter").map(|entry| key::duration_of(entry, diagnostics));
    let missed = read_missed(entries, diagnostics);
    let overlaps = Overlap::ALL.map(|overlap| (overlap.name(), overlap));
    let overlap = key::given(entries, "overlap").map(|entry| key::word_of(entry, &overlaps, diagnostics));
    let failures = key::given(entries, super::PAUSE_AFTER_FAILURES);
    let failures = failures.map(|entry| super::failures_of(entry, diagnostics));
    let policy = SchedulePolicy {
        from: from?,
        until: until?,
        jitter: jitter.unwrap_or(Some(Duration::ZERO))?,
        missed: missed?,
        overlap: overlap.unwrap_or(Some(Overlap::default()))?,
        pause_after_failures: match failures {
            Some(failures) => Some(failures?),
            None => None,
        },
    };
    Some(ScheduleTrigger { schedule: schedule?, policy, inputs: None })
}

/// The entry of an expression as cron has it, with the years that it names.
fn written_as_cron(
    cron: &Entry,
    dialect: Option<&Entry>,
    diagnostics: &mut Diagnostics<'_>,
) -> Option<(Entry, Option<RangeInclusive<u32>>)> {
    const DIALECTS: [(&str, bool); 2] = [("cron", false), ("quartz", true)];
    let is_quartz = dialect.map_or(Some(false), |dialect| key::word_of(dialect, &DIALECTS, diagnostics))?;
    if !is_quartz {
        return Some((cron.clone(), None));
    }
    let text = key::text_of(cron, diagnostics)?;
    match quartz::translate(text) {
        Ok(quartz::Translated { cron: written, years }) => {
            // What is wrong with it beyond what differs is told of the whole expression, whose letters these are not.
            let value = Node { kind: Kind::Text(written), span: cron.value.span };
            Some((Entry { value, ..cron.clone() }, years))
        }
        Err((message, help)) => {
            diagnostics.error_with(Code::InvalidSchedule, cron.value_span(), message, || help);
            None
        }
    }
}

/// The first moment of the first year and the last one of the last.
fn bounds(years: &RangeInclusive<u32>, timezone: &str) -> (Option<Timestamp>, Option<Timestamp>) {
    let begin = |year: u32| yuanli_calendar::moment(&format!("{year}-01-01"), timezone);
    let end = begin(years.end() + 1).map(|end| Timestamp::from_millis(end.as_millis().saturating_sub(1)));
    (begin(*years.start()), end)
}

/// `None` when it is wrong, and the moment, if there is one.
#[allow(clippy::option_option, reason = "left out and wrong are different answers")]
fn read_moment(
    entries: &[Entry],
    name: &str,
    timezone: &str,
    diagnostics: &mut Diagnostics<'_>,
) -> Option<Option<Timestamp>> {
    let Some(entry) = key::given(entries, name) else { return Some(None) };
    let text = key::text_of(entry, diagnostics)?;
    let moment = yuanli_calendar::moment(text, timezone);
    if moment.is_none() {
        let message = format!("`{text}` is no moment");
        diagnostics.error_with(Code::InvalidSchedule, entry.value_span(), message, || {
            Some(
                "write a date, such as `2026-12-01`, or one with a time of day, such as `2026-12-01T08:00`"
                    .to_owned(),
            )
        });
    }
    moment.map(Some)
}

fn read_missed(entries: &[Entry], diagnostics: &mut Diagnostics<'_>) -> Option<Missed> {
    const WAYS: [(&str, Way); 3] = [("skip", Way::Skip), ("once", Way::Once), ("all", Way::All)];
    let way = match key::given(entries, "missed") {
        None => Some(Way::Once),
        Some(entry) => key::word_of(entry, &WAYS, diagnostics),
    };
    let Some(entry) = key::given(entries, "missed_limit") else {
        return Some(missed(way?, MISSED));
    };
    if way.is_some_and(|way| way != Way::All) {
        let message = "`missed_limit` bounds how many missed times are made up for, and here it is not all";
        diagnostics.error_with(Code::Contradiction, entry.key_span, message, || {
            Some("leave it out, or add `missed: all`".to_owned())
        });
    }
    let limit = key::number_of(entry, 1..=MAX_MISSED, diagnostics).and_then(NonZeroU32::new);
    Some(missed(way?, limit?))
}

fn missed(way: Way, limit: NonZeroU32) -> Missed {
    match way {
        Way::Skip => Missed::Skip,
        Way::Once => Missed::Once,
        Way::All => Missed::All(limit),
    }
}
