//! A million schedules: what they take of memory, and what it costs to ask which of them are due.
//!
//! Decisions alone, as `yuanli-triggers` makes them for an engine: no store, and no run is started.

use std::time::Duration;

use anyhow::{Context, ensure};
use yuanli_model::trigger::SchedulePolicy;
use yuanli_model::{Schedule, Timestamp};
use yuanli_triggers::{Slot, Timetable};

use crate::measure::{Samples, micros, millis, now};
use crate::report::{Figure, Row};
use crate::usage;

/// How many there are, each of a workflow of its own: what the issue asks for.
const SCHEDULES: u32 = 1_000_000;
/// Ticks of each kind.
const TICKS: usize = 200;
/// How many are due at once in a busy tick.
const BUSY: usize = 1_000;
const SECOND: u64 = 1_000;
const DAY: u64 = 86_400 * SECOND;
/// Midnight of a Monday, UTC: 1 June 2026.
const BEGIN: u64 = 1_780_272_000_000;
/// Zones with changes of the clock in all parts of a year.
const ZONES: [&str; 4] = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Sydney"];
const BYTES_AIM: f64 = 1_024.0;

pub(crate) fn measure() -> anyhow::Result<Figure> {
    let mut rows = Vec::new();
    // What can be shared is what people write: times of a day. What cannot is the worst there is. The first are there until the
    // second were measured, whose memory would be theirs else.
    let (shared, of_shared) = kind("each at one of 1,440 minutes of a day", &|number| Schedule {
        cron: format!("{} {} * * *", number % 60, number / 60 % 24),
        timezone: "UTC".to_owned(),
    })?;
    let (differing, of_differing) = kind("no two the same", &|number| {
        let (second, minute, hour) = (number % 60, number / 60 % 60, number / 3_600 % 24);
        let (day, zone) = (number / 86_400 % 28 + 1, ZONES[number as usize % ZONES.len()]);
        Schedule { cron: format!("{second} {minute} {hour} {day} * *"), timezone: zone.to_owned() }
    })?;
    drop((shared, differing));
    rows.extend(of_shared);
    rows.extend(of_differing);
    rows.extend(ticks()?);
    let conditions = format!(
        "one thread; {SCHEDULES} workflows with one schedule each, in memory, without a store and without starting runs; \
         {BUSY} are due at once in a busy tick"
    );
    Ok(Figure { name: "schedules", conditions, rows })
}

fn slot(number: u32) -> anyhow::Result<Slot> {
    Ok(Slot { workflow: format!("workflow-{number:07}").parse().context("a name")?, index: 0 })
}

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(BEGIN + millis)
}

/// What so many schedules take, and how long an engine that starts takes for them.
fn kind(name: &str, schedule: &dyn Fn(u32) -> Schedule) -> anyhow::Result<(Timetable, Vec<Row>)> {
    let before = usage::resident_bytes()?;
    let begun = now();
    let table = filled(schedule)?;
    let time = now() - begun;
    let bytes = usage::resident_bytes()?.saturating_sub(before) as f64 / f64::from(SCHEDULES);
    let rows = vec![
        Row::plain(format!("memory of a schedule, {name}"), bytes, "bytes").at_most(BYTES_AIM, ""),
        Row::plain(format!("{SCHEDULES} are put in, {name}"), millis(time), "ms"),
        Row::plain(format!("which of them differ, {name}"), table.distinct() as f64, ""),
    ];
    Ok((table, rows))
}

/// Seen to at different times, as schedules are that have fired before.
fn filled(schedule: &dyn Fn(u32) -> Schedule) -> anyhow::Result<Timetable> {
    let mut table = Timetable::new();
    for number in 0..SCHEDULES {
        let timing = (schedule(number), SchedulePolicy::default());
        table.set(slot(number)?, timing, at(u64::from(number % 1_000)))?;
    }
    Ok(table)
}

/// Ticks in which nothing is due, one schedule is, and many are.
fn ticks() -> anyhow::Result<Vec<Row>> {
    let mut table = filled(&|number| match number as usize {
        // One is due at each full minute, many half a minute later, the others on another day.
        0 => Schedule { cron: "0 * * * * *".to_owned(), timezone: "UTC".to_owned() },
        1..=BUSY => Schedule { cron: "30 * * * * *".to_owned(), timezone: "UTC".to_owned() },
        _ => Schedule { cron: "0 0 1 1 *".to_owned(), timezone: "UTC".to_owned() },
    })?;
    let [mut idle, mut one, mut many] = [const { Vec::new() }; 3];
    let mut time = DAY;
    table.due(at(time));
    for _ in 0..TICKS {
        for (after, count) in [(10, 0), (30, BUSY), (40, 0), (60, 1)] {
            let begun = now();
            let due = table.due(at(time + after * SECOND)).len();
            let took = now() - begun;
            ensure!(due == count, "{due} are due and not {count}");
            match count {
                0 => idle.push(took),
                1 => one.push(took),
                _ => many.push(took),
            }
        }
        time += 60 * SECOND;
    }
    let each = |times: &[Duration]| Samples::new(times.to_vec());
    let many = each(&many);
    let of_one = micros(many.median()) / BUSY as f64;
    Ok(vec![
        Row::micros("a tick, nothing is due", &each(&idle)),
        Row::micros("a tick, 1 is due", &each(&one)),
        Row::micros(format!("a tick, {BUSY} are due"), &many),
        Row::plain("of these each", of_one, "µs"),
    ])
}
