//! What fires when: with a clock that goes forward, stands still, jumps, and goes back.

use std::collections::{BTreeMap, HashSet};
use std::num::NonZeroU32;
use std::time::Duration;

use proptest::prelude::*;
use yuanli_calendar::Calendar;
use yuanli_model::trigger::{Missed, SchedulePolicy};
use yuanli_model::{Schedule, Timestamp};
use yuanli_triggers::{LATE, Slot, StartId, Timetable};

const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// Midnight of a Monday, UTC: 1 June 2026.
const MONDAY: u64 = 1_780_272_000_000;

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(MONDAY + millis)
}

fn slot(workflow: &str, index: u32) -> Slot {
    Slot { workflow: workflow.parse().expect("a name"), index }
}

fn schedule(cron: &str) -> Schedule {
    Schedule { cron: cron.to_owned(), timezone: "UTC".to_owned() }
}

fn kept(cron: &str) -> (Schedule, SchedulePolicy) {
    (schedule(cron), SchedulePolicy::default())
}

/// A timetable in which all times before Monday are behind.
fn timetable(schedules: &[(&str, u32, &str)]) -> Timetable {
    let mut timetable = Timetable::new();
    for (workflow, index, cron) in schedules {
        timetable.set(slot(workflow, *index), kept(cron), at(0)).expect("a schedule");
    }
    timetable
}

/// What fires at `now`: workflow, index, and the due time after Monday's midnight.
fn fired(timetable: &mut Timetable, now: u64) -> Vec<(String, u32, u64)> {
    let firings = timetable.due(at(now));
    firings
        .into_iter()
        .map(|firing| (firing.slot.workflow.to_string(), firing.slot.index, firing.due.as_millis() - MONDAY))
        .collect()
}

fn one(workflow: &str, index: u32, due: u64) -> (String, u32, u64) {
    (workflow.to_owned(), index, due)
}

#[test]
fn each_time_of_each_schedule_fires_once_in_their_order() {
    let mut table = timetable(&[("b", 0, "0 * * * *"), ("a", 0, "0 * * * *"), ("a", 1, "30 0 * * *")]);
    assert_eq!(table.next(), Some(at(HOUR / 2)));
    assert_eq!(fired(&mut table, HOUR / 2 - 1), []);
    assert_eq!(fired(&mut table, HOUR / 2), [one("a", 1, HOUR / 2)]);
    assert_eq!(fired(&mut table, HOUR / 2), []);
    assert_eq!(table.next(), Some(at(HOUR)));
    assert_eq!(fired(&mut table, HOUR + 5), [one("a", 0, HOUR), one("b", 0, HOUR)]);
    assert_eq!(fired(&mut table, 2 * HOUR - 1), []);
    assert_eq!(fired(&mut table, 2 * HOUR), [one("a", 0, 2 * HOUR), one("b", 0, 2 * HOUR)]);
}

#[test]
fn of_the_times_that_were_missed_the_latest_fires_once() {
    let mut table = timetable(&[("a", 0, "0 * * * *"), ("b", 0, "0 3 * * *"), ("c", 0, "0 0 1 1 *")]);
    assert_eq!(
        fired(&mut table, 10 * DAY + 30 * MINUTE),
        [one("b", 0, 9 * DAY + 3 * HOUR), one("a", 0, 10 * DAY)]
    );
    assert_eq!(table.next(), Some(at(10 * DAY + HOUR)));
}

#[test]
fn a_clock_that_goes_back_fires_nothing_again() {
    let mut table = timetable(&[("a", 0, "0 * * * *")]);
    assert_eq!(fired(&mut table, 2 * HOUR), [one("a", 0, 2 * HOUR)]);
    for now in [HOUR, 0, HOUR + 1, 2 * HOUR, 3 * HOUR - 1] {
        assert_eq!(fired(&mut table, now), [], "{now}");
    }
    assert_eq!(fired(&mut table, 3 * HOUR), [one("a", 0, 3 * HOUR)]);
}

#[test]
fn a_firing_that_was_not_stored_comes_again_with_the_same_id() {
    let mut table = timetable(&[("a", 0, "0 * * * *")]);
    let before = table.due(at(HOUR + 1));
    // The engine died before it stored anything: `last` is what it was.
    let mut table = timetable(&[("a", 0, "0 * * * *")]);
    let after = table.due(at(HOUR + 40 * MINUTE));
    assert_eq!(before, after);
    // It died after: the firing is behind.
    let mut table = Timetable::new();
    let next = table.set(slot("a", 0), kept("0 * * * *"), after[0].due).expect("a schedule");
    assert_eq!((next, table.due(at(HOUR + 40 * MINUTE))), (Some(at(2 * HOUR)), vec![]));
}

#[test]
fn what_is_replaced_or_taken_out_fires_no_more() {
    let mut table = timetable(&[("a", 0, "0 * * * *"), ("a", 1, "5 * * * *"), ("ab", 0, "10 * * * *")]);
    table.set(slot("a", 0), kept("20 * * * *"), at(0)).expect("a schedule");
    assert_eq!(table.len(), 3);
    table.remove_workflow(&slot("a", 0).workflow);
    assert_eq!((table.len(), table.next()), (1, Some(at(10 * MINUTE))));
    assert!(table.remove(&slot("ab", 0)) && !table.remove(&slot("ab", 0)));
    assert_eq!((table.is_empty(), table.next(), table.due(at(DAY))), (true, None, vec![]));
    // A wrong schedule does not leave the old one behind.
    table.set(slot("a", 0), kept("0 * * * *"), at(0)).expect("a schedule");
    table.set(slot("a", 0), kept("0 25 * * *"), at(0)).expect_err("no schedule");
    assert!(table.is_empty() && table.due(at(DAY)).is_empty());
}

/// A timetable with one schedule that begins on Monday, as `a`.
fn with(cron: &str, policy: SchedulePolicy) -> Timetable {
    let mut table = Timetable::new();
    table.set(slot("a", 0), (schedule(cron), policy), at(0)).expect("a schedule");
    table
}

fn dues(table: &mut Timetable, now: u64) -> Vec<u64> {
    fired(table, now).into_iter().map(|(_, _, due)| due).collect()
}

#[test]
fn what_was_missed_is_passed_over_made_up_for_once_or_each_time() {
    let all = |limit| Missed::All(NonZeroU32::new(limit).expect("not 0"));
    for (missed, seen) in [
        (Missed::Skip, vec![]),
        (Missed::Once, vec![5 * HOUR]),
        (all(100), vec![HOUR, 2 * HOUR, 3 * HOUR, 4 * HOUR, 5 * HOUR]),
        (all(2), vec![4 * HOUR, 5 * HOUR]),
        (all(1), vec![5 * HOUR]),
    ] {
        let mut table = with("0 * * * *", SchedulePolicy { missed, ..SchedulePolicy::default() });
        assert_eq!(dues(&mut table, 5 * HOUR + 30 * MINUTE), seen, "{missed:?}");
        // What comes in time is no matter of this; a minute is in time.
        assert_eq!(dues(&mut table, 6 * HOUR + MINUTE), [6 * HOUR], "{missed:?}");
        assert_eq!(table.next(), Some(at(7 * HOUR)));
    }
    // Of a year of minutes the last three, without looking at half a million.
    let mut table = with("* * * * *", SchedulePolicy { missed: all(3), ..SchedulePolicy::default() });
    let year = 365 * DAY;
    assert_eq!(dues(&mut table, year), [year - 2 * MINUTE, year - MINUTE, year]);
}

#[test]
fn a_schedule_has_a_beginning_and_an_end() {
    let policy = SchedulePolicy {
        from: Some(at(3 * HOUR)),
        until: Some(at(5 * HOUR)),
        missed: Missed::All(NonZeroU32::new(100).expect("not 0")),
        ..SchedulePolicy::default()
    };
    let mut table = with("0 * * * *", policy);
    assert_eq!(table.next(), Some(at(3 * HOUR)), "the first moment counts");
    assert_eq!(dues(&mut table, DAY), [3 * HOUR, 4 * HOUR, 5 * HOUR], "and so does the last");
    assert_eq!((table.next(), table.len()), (None, 1));
}

#[test]
fn jitter_spreads_starts_and_is_the_same_for_the_same_time() {
    let policy = SchedulePolicy { jitter: Duration::from_secs(600), ..SchedulePolicy::default() };
    let starts = |cron: &str| {
        let mut table = with(cron, policy);
        let mut starts = Vec::new();
        for hour in 1..=200 {
            let next = table.next().expect("there is one").as_millis() - MONDAY;
            assert!(next >= hour * HOUR && next < hour * HOUR + 10 * MINUTE, "{hour}: {next}");
            assert_eq!(dues(&mut table, next - 1), [0; 0]);
            assert_eq!(dues(&mut table, next), [hour * HOUR], "the due time is that of the schedule");
            starts.push(next % HOUR);
        }
        starts
    };
    let first = starts("0 * * * *");
    assert_eq!(first, starts("0 * * * *"));
    assert_ne!(first, starts("0 */1 * * *"), "another schedule has others");
    let mean = first.iter().sum::<u64>() / first.len() as u64;
    assert!((4 * MINUTE..6 * MINUTE).contains(&mean), "{mean} ms is far from the middle");
}

#[derive(Debug, Clone)]
enum Step {
    Forward(u64),
    Back(u64),
    Set(usize, usize),
    Remove(usize),
    /// The engine dies, after it has stored what fired.
    Crash,
}

const CRONS: [&str; 6] = ["* * * * *", "*/7 * * * *", "0 * * * *", "30 2 * * *", "0 0 * * 1", "15 12 29 2 *"];

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0..3 * HOUR).prop_map(Step::Forward),
        1 => (0..40 * DAY).prop_map(Step::Forward),
        2 => (0..2 * HOUR).prop_map(Step::Back),
        3 => (0..4_usize, 0..CRONS.len()).prop_map(|(slot, cron)| Step::Set(slot, cron)),
        1 => (0..4_usize).prop_map(Step::Remove),
        1 => Just(Step::Crash),
    ];
    prop::collection::vec(step, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    /// Against a model that looks at every schedule every time.
    #[test]
    fn whatever_clock_and_engine_do_each_time_fires_once(steps in steps()) {
        let mut table = Timetable::new();
        let mut model: BTreeMap<Slot, (Schedule, Timestamp)> = BTreeMap::new();
        let mut started: BTreeMap<Slot, HashSet<StartId>> = BTreeMap::new();
        let mut now = 30 * DAY;
        for step in steps {
            match step {
                Step::Forward(by) => now += by,
                Step::Back(by) => now = now.saturating_sub(by),
                Step::Set(index, cron) => {
                    let (slot, schedule) = (slot(&format!("w{index}"), 0), schedule(CRONS[cron]));
                    // Asked for now, or the same as before: then what is behind stays behind.
                    let last = model.get(&slot).filter(|(old, _)| *old == schedule).map_or(at(now), |(_, last)| *last);
                    table.set(slot.clone(), (schedule.clone(), SchedulePolicy::default()), last).expect("a schedule");
                    // Another schedule, or the clock put back before it was asked for again: its times begin anew.
                    if model.get(&slot).is_none_or(|(old, _)| *old != schedule) {
                        started.remove(&slot);
                    }
                    model.insert(slot, (schedule, last));
                }
                Step::Remove(index) => {
                    let slot = slot(&format!("w{index}"), 0);
                    prop_assert_eq!(table.remove(&slot), model.remove(&slot).is_some());
                }
                Step::Crash => {
                    table = Timetable::new();
                    for (slot, (schedule, last)) in &model {
                        table.set(slot.clone(), (schedule.clone(), SchedulePolicy::default()), *last).expect("a schedule");
                    }
                }
            }
            let firings = table.due(at(now));
            let mut expect = Vec::new();
            for (slot, (schedule, last)) in &mut model {
                let calendar = Calendar::parse(schedule).expect("a schedule");
                while let Some(due) = calendar.next_after(*last).filter(|due| *due <= at(now)) {
                    let is_late = at(now).since(due) > LATE;
                    *last = if is_late { calendar.missed(*last, at(now)).expect("there is one") } else { due };
                    expect.push((*last, slot.clone()));
                }
            }
            expect.sort();
            let got: Vec<_> = firings.iter().map(|firing| (firing.due, firing.slot.clone())).collect();
            prop_assert_eq!(got, expect);
            for firing in firings {
                prop_assert!(firing.due <= at(now));
                prop_assert!(started.entry(firing.slot).or_default().insert(firing.id), "no start comes twice");
            }
            prop_assert_eq!(table.len(), model.len());
            prop_assert!(table.next().is_none_or(|next| next > at(now)));
        }
    }
}

#[test]
fn what_many_schedules_say_is_there_once_and_goes_with_the_last_of_them() {
    let mut table = timetable(&[("a", 0, "0 * * * *"), ("b", 0, "0 * * * *"), ("b", 1, "30 * * * *")]);
    assert_eq!((table.len(), table.distinct()), (3, 2));
    let policy = SchedulePolicy { jitter: Duration::from_secs(1), ..SchedulePolicy::default() };
    table.set(slot("c", 0), (schedule("0 * * * *"), policy), at(0)).expect("a schedule");
    assert_eq!(table.distinct(), 3, "what bounds it counts");
    table.remove_workflow(&"b".parse().expect("a name"));
    assert_eq!((table.len(), table.distinct()), (2, 2), "the hour is that of another one as well");
    assert!(table.remove(&slot("a", 0)) && !table.remove(&slot("a", 0)));
    assert!(table.remove(&slot("c", 0)));
    assert_eq!((table.len(), table.distinct(), table.next()), (0, 0, None));
}

#[test]
fn schedules_that_say_the_same_have_each_their_own_times_behind_them() {
    let mut table = Timetable::new();
    let lasts = [3 * HOUR, 0, 3 * HOUR + 1, 7 * DAY, HOUR - 1, HOUR, 3 * HOUR - 1];
    for (index, last) in (0..).zip(lasts) {
        let next = table.set(slot("a", index), kept("0 * * * *"), at(last)).expect("a schedule");
        assert_eq!(next, Some(at((last / HOUR + 1) * HOUR)), "after {last}");
    }
    assert_eq!(table.distinct(), 1);
    assert_eq!(fired(&mut table, HOUR), [one("a", 1, HOUR), one("a", 4, HOUR)]);
    table.remove(&slot("a", 5));
    assert_eq!(table.due_of(&slot("a", 5)), None);
    table.set(slot("b", 0), kept("30 * * * *"), at(HOUR)).expect("a schedule in the place of that one");
    assert_eq!(
        fired(&mut table, 2 * HOUR),
        [one("b", 0, HOUR + 30 * MINUTE), one("a", 1, 2 * HOUR), one("a", 4, 2 * HOUR)]
    );
}
