//! Any expression in any zone, against a count minute by minute; and fields, against another reader of cron.

use std::collections::BTreeSet;
use std::str::FromStr as _;

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use croner::Cron;
use croner::parser::{CronParser, Seconds};
use proptest::prelude::*;
use yuanli_calendar::{Calendar, zones};
use yuanli_model::{Schedule, Timestamp};

const MINUTE: i64 = 60;
const DAY: i64 = 86_400;

/// A field: one number, a range, a step, a list, or everything.
fn field(least: u32, most: u32) -> impl Strategy<Value = String> {
    let number = least..=most;
    let range = (least..most, least..most).prop_map(|(a, b)| format!("{}-{}", a.min(b), a.max(b) + 1));
    let step = (1..most - least).prop_map(|step| format!("*/{step}"));
    let list = prop::collection::vec(least..=most, 1..4)
        .prop_map(|items| items.iter().map(u32::to_string).collect::<Vec<_>>().join(","));
    prop_oneof![2 => number.prop_map(|number| number.to_string()), 1 => range, 1 => step, 1 => list, 3 => Just("*".to_owned())]
}

/// A field of days without steps over all: whether those count as given is where readers of cron differ.
fn day(least: u32, most: u32) -> impl Strategy<Value = String> {
    field(least, most).prop_map(|text| if text.starts_with("*/") { "*".to_owned() } else { text })
}

fn cron() -> impl Strategy<Value = String> {
    (field(0, 59), field(0, 23), day(1, 31), field(1, 12), day(0, 6))
        .prop_map(|(minute, hour, day, month, weekday)| format!("{minute} {hour} {day} {month} {weekday}"))
}

/// One with seconds and special days.
fn extended() -> impl Strategy<Value = String> {
    let of_month = prop_oneof![
        Just("L".to_owned()),
        Just("LW".to_owned()),
        (1..29_u32).prop_map(|day| format!("{day}W")),
        day(1, 31)
    ];
    let of_week = prop_oneof![
        (0..7_u32, 1..6_u32).prop_map(|(day, number)| format!("{day}#{number}")),
        (0..7_u32).prop_map(|day| format!("{day}L")),
        day(0, 6)
    ];
    (field(0, 59), field(0, 59), field(0, 23), of_month, field(1, 12), of_week).prop_map(
        |(second, minute, hour, day, month, weekday)| {
            format!("{second} {minute} {hour} {day} {month} {weekday}")
        },
    )
}

/// An expression that is due on most days, so that changes of the clock matter to it.
fn daily() -> impl Strategy<Value = String> {
    (field(0, 59), field(0, 4)).prop_map(|(minute, hour)| format!("{minute} {hour} * * *"))
}

/// Zones of every kind, more often those with changes by half an hour, by night, and by politics.
fn zone() -> impl Strategy<Value = &'static str> {
    let all: Vec<&str> = zones().collect();
    let some = vec![
        "Europe/Berlin",
        "America/New_York",
        "Australia/Lord_Howe",
        "Asia/Shanghai",
        "Africa/Casablanca",
        "America/Havana",
        "Asia/Beirut",
        "Antarctica/Troll",
    ];
    prop_oneof![prop::sample::select(all), prop::sample::select(some)]
}

/// A moment of 2000 to 2036, often near a change of the zone's clock.
fn moment() -> impl Strategy<Value = i64> {
    946_684_800_i64..2_082_758_400
}

/// The first change of the clock after `from`, in seconds, within a year; `from` when there is none.
fn change(zone: Tz, from: i64) -> i64 {
    let offset = |at: i64| clock(zone, at) - DateTime::from_timestamp(at, 0).expect("a time").naive_utc();
    let mut at = from;
    while at < from + 366 * DAY {
        if offset(at) != offset(at + DAY) {
            return at;
        }
        at += DAY;
    }
    from
}

fn clock(zone: Tz, at: i64) -> NaiveDateTime {
    DateTime::from_timestamp(at, 0).expect("a time").with_timezone(&zone).naive_local()
}

fn calendar(cron: &str, zone: &str) -> Option<Calendar> {
    Calendar::parse(&Schedule { cron: cron.to_owned(), timezone: zone.to_owned() }).ok()
}

/// All that is due in `(from, until]` by the definition: every minute looked at.
fn counted(cron: &str, zone: Tz, from: i64, until: i64) -> Vec<i64> {
    let croner = Cron::from_str(cron).expect("croner reads it");
    let matches = |clock: NaiveDateTime| croner.is_time_matching(&clock.and_utc()).expect("croner answers");
    let is_of_every_hour = cron.split(' ').nth(1).is_some_and(|hours| matches!(hours, "*" | "*/1" | "0-23"));
    let mut due = BTreeSet::new();
    let mut latest = None::<NaiveDateTime>;
    // A day more, for what comes twice: the first time may have been before `from`.
    for at in (from - DAY..=until).step_by(60) {
        let shown = clock(zone, at);
        if is_of_every_hour {
            if matches(shown) {
                due.insert(at);
            }
            continue;
        }
        // Every minute that the clock has reached for the first time with this one: more than one after a jump.
        let mut reached = latest.map_or(shown, |latest| latest + TimeDelta::minutes(1));
        while reached <= shown {
            if matches(reached) {
                due.insert(at);
            }
            reached += TimeDelta::minutes(1);
        }
        latest = latest.max(Some(shown));
    }
    due.into_iter().filter(|at| *at > from).collect()
}

fn walked(calendar: &Calendar, from: i64, until: i64) -> Vec<i64> {
    let mut due = Vec::new();
    let mut now = millis(from);
    while let Some(next) = calendar.next_after(now) {
        assert!(next > now, "due times grow");
        let at = i64::try_from(next.as_millis() / 1000).expect("in range");
        if at > until {
            break;
        }
        due.push(at);
        now = next;
    }
    due
}

fn millis(seconds: i64) -> Timestamp {
    Timestamp::from_millis(u64::try_from(seconds).expect("after 1970") * 1000)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_due_is_what_a_count_of_all_minutes_finds(
        cron in prop_oneof![daily(), cron()], name in zone(), moment in moment(), before in 0..DAY,
    ) {
        let Some(calendar) = calendar(&cron, name) else { return Ok(()) };
        let zone: Tz = name.parse().expect("a zone");
        let from = (change(zone, moment) - before) / MINUTE * MINUTE;
        let until = from + 3 * DAY;
        prop_assert_eq!(walked(&calendar, from, until), counted(&cron, zone, from, until), "{} {}", cron, name);
    }

    #[test]
    fn fields_mean_what_another_reader_of_cron_takes_them_for(
        cron in prop_oneof![cron(), extended()], moment in moment(),
    ) {
        let Some(calendar) = calendar(&cron, "UTC") else { return Ok(()) };
        let from: DateTime<Utc> = DateTime::from_timestamp(moment, 0).expect("a time");
        let parser = CronParser::builder().seconds(Seconds::Optional).build();
        let expect = parser.parse(&cron).expect("croner reads it").find_next_occurrence(&from, false).expect("it comes");
        let next = calendar.next_after(millis(moment)).expect("it comes");
        prop_assert_eq!(next, millis(expect.timestamp()), "{}", cron);
    }

    #[test]
    fn what_was_missed_is_the_last_that_was_due(
        cron in cron(), name in zone(), moment in moment(), length in 1..400 * DAY,
    ) {
        let Some(calendar) = calendar(&cron, name) else { return Ok(()) };
        let (last, now) = (millis(moment), millis(moment + length));
        match calendar.missed(last, now) {
            None => prop_assert!(calendar.next_after(last).is_none_or(|next| next > now)),
            Some(missed) => {
                prop_assert!(last < missed && missed <= now);
                // It is due, and nothing after it is.
                let before = Timestamp::from_millis(missed.as_millis() - 1);
                prop_assert_eq!(calendar.next_after(before), Some(missed));
                prop_assert!(calendar.next_after(missed).is_none_or(|next| next > now));
            }
        }
    }

    #[test]
    fn no_text_makes_it_panic(cron in "[0-9a-zLW*,/# -]{0,20}", zone in "\\PC{0,12}") {
        let _ = calendar(&cron, &zone);
        let _ = calendar("0 0 * * *", &zone);
    }
}
