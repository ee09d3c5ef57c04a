//! What is due around real changes of real clocks, and everywhere else.

use chrono::DateTime;
use yuanli_calendar::{Calendar, Part, zones};
use yuanli_model::{Schedule, Timestamp};

fn calendar(cron: &str, zone: &str) -> Calendar {
    let schedule = Schedule { cron: cron.to_owned(), timezone: zone.to_owned() };
    Calendar::parse(&schedule).unwrap_or_else(|invalid| panic!("{cron} {zone}: {invalid}"))
}

fn at(text: &str) -> Timestamp {
    let millis = DateTime::parse_from_rfc3339(text).expect("a time").timestamp_millis();
    Timestamp::from_millis(millis.try_into().expect("after 1970"))
}

/// What is due one after another after `from`; all times with the zone's own offset, as a clock on the wall shows them.
#[track_caller]
fn check(cron: &str, zone: &str, from: &str, expect: &[&str]) {
    let calendar = calendar(cron, zone);
    let mut now = at(from);
    for expect in expect {
        let next = calendar.next_after(now).expect("there is a next");
        assert_eq!(next, at(expect), "{cron} {zone}: expected {expect}, not {next:?}");
        now = next;
    }
}

#[test]
fn a_time_that_the_clock_jumps_over_is_due_right_after_the_jump() {
    // 29 March 2026: 02:00+01:00 -> 03:00+02:00.
    let berlin = "Europe/Berlin";
    check(
        "30 2 * * *",
        berlin,
        "2026-03-28T12:00:00+01:00",
        &["2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"],
    );
    // Three times that are jumped over, and one right after: once.
    check(
        "0,20,40 2,3 * * *",
        berlin,
        "2026-03-28T12:00:00+01:00",
        &["2026-03-29T03:00:00+02:00", "2026-03-29T03:20:00+02:00"],
    );
    check(
        "0 */2 * * *",
        berlin,
        "2026-03-29T00:00:00+01:00",
        &["2026-03-29T03:00:00+02:00", "2026-03-29T04:00:00+02:00"],
    );
    // 8 March 2026: 02:00-05:00 -> 03:00-04:00.
    check(
        "15 2 * * 0",
        "America/New_York",
        "2026-03-07T00:00:00-05:00",
        &["2026-03-08T03:00:00-04:00", "2026-03-15T02:15:00-04:00"],
    );
    // 4 October 2026: 02:00+10:30 -> 02:30+11:00.
    check(
        "10,40 2 * * *",
        "Australia/Lord_Howe",
        "2026-10-03T12:00:00+10:30",
        &["2026-10-04T02:30:00+11:00", "2026-10-04T02:40:00+11:00", "2026-10-05T02:10:00+11:00"],
    );
    // A whole day, 30 December 2011, was left out.
    check(
        "0 12 * * *",
        "Pacific/Apia",
        "2011-12-29T12:00:00-10:00",
        &["2011-12-31T00:00:00+14:00", "2011-12-31T12:00:00+14:00"],
    );
}

#[test]
fn of_a_time_that_comes_twice_the_first_counts() {
    // 25 October 2026: 03:00+02:00 -> 02:00+01:00.
    let berlin = "Europe/Berlin";
    check(
        "30 2 * * *",
        berlin,
        "2026-10-24T12:00:00+02:00",
        &["2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"],
    );
    check("30 2 * * *", berlin, "2026-10-25T02:10:00+01:00", &["2026-10-26T02:30:00+01:00"]);
    check(
        "0,30 2-3 * * *",
        berlin,
        "2026-10-25T02:00:00+02:00",
        &["2026-10-25T02:30:00+02:00", "2026-10-25T03:00:00+01:00"],
    );
    // 1 November 2026: 02:00-04:00 -> 01:00-05:00.
    check(
        "0 1 * * *",
        "America/New_York",
        "2026-10-31T12:00:00-04:00",
        &["2026-11-01T01:00:00-04:00", "2026-11-02T01:00:00-05:00"],
    );
    // 5 April 2026: 02:00+11:00 -> 01:30+10:30.
    check(
        "15,45 1 * * *",
        "Australia/Lord_Howe",
        "2026-04-04T12:00:00+11:00",
        &["2026-04-05T01:15:00+11:00", "2026-04-05T01:45:00+11:00", "2026-04-06T01:15:00+10:30"],
    );
}

#[test]
fn what_is_due_every_hour_follows_the_time_that_goes_by() {
    let berlin = "Europe/Berlin";
    check(
        "7 * * * *",
        berlin,
        "2026-03-29T00:30:00+01:00",
        &["2026-03-29T01:07:00+01:00", "2026-03-29T03:07:00+02:00"],
    );
    check(
        "*/30 * * * *",
        berlin,
        "2026-10-25T02:00:00+02:00",
        &[
            "2026-10-25T02:30:00+02:00",
            "2026-10-25T02:00:00+01:00",
            "2026-10-25T02:30:00+01:00",
            "2026-10-25T03:00:00+01:00",
        ],
    );
    check(
        "50 0-23 * * *",
        "Australia/Lord_Howe",
        "2026-04-05T00:55:00+11:00",
        &["2026-04-05T01:50:00+11:00", "2026-04-05T01:50:00+10:30", "2026-04-05T02:50:00+10:30"],
    );
    // The day begins again: 25 October is no longer over once it is.
    check(
        "0 * 26 10 *",
        berlin,
        "2026-10-25T01:00:00+02:00",
        &["2026-10-26T00:00:00+01:00", "2026-10-26T01:00:00+01:00"],
    );
}

#[test]
fn without_changes_of_the_clock_a_day_is_a_day() {
    check(
        "0 3 * * *",
        "Asia/Shanghai",
        "2026-03-28T12:00:00+08:00",
        &["2026-03-29T03:00:00+08:00", "2026-03-30T03:00:00+08:00"],
    );
    check(
        "0 3 29 2 *",
        "UTC",
        "2026-01-01T00:00:00Z",
        &["2028-02-29T03:00:00Z", "2032-02-29T03:00:00Z", "2036-02-29T03:00:00Z"],
    );
    check("0 0 29 2 *", "UTC", "2096-03-01T00:00:00Z", &["2104-02-29T00:00:00Z"]);
    // A due time is after the asked one, also by a millisecond.
    check("* * * * *", "UTC", "2026-01-01T00:00:00.001Z", &["2026-01-01T00:01:00Z"]);
    check("* * * * *", "UTC", "2026-01-01T00:00:59.999Z", &["2026-01-01T00:01:00Z", "2026-01-01T00:02:00Z"]);
}

#[test]
fn days_of_month_and_week_are_joined_as_crontab_has_it() {
    // 1 June 2026 is a Monday.
    let from = "2026-06-01T12:00:00Z";
    check(
        "0 0 13 * fri",
        "UTC",
        from,
        &["2026-06-05T00:00:00Z", "2026-06-12T00:00:00Z", "2026-06-13T00:00:00Z"],
    );
    check(
        "0 0 */2 * 1",
        "UTC",
        from,
        &["2026-06-15T00:00:00Z", "2026-06-29T00:00:00Z", "2026-07-13T00:00:00Z"],
    );
    check("0 0 * * SAT-SUN", "UTC", from, &["2026-06-06T00:00:00Z", "2026-06-07T00:00:00Z"]);
    check("0 0 * * 7", "UTC", from, &["2026-06-07T00:00:00Z", "2026-06-14T00:00:00Z"]);
    check(
        "0 0 * * */3",
        "UTC",
        from,
        &["2026-06-03T00:00:00Z", "2026-06-06T00:00:00Z", "2026-06-07T00:00:00Z"],
    );
    check("0 0 31 jan-APR *", "UTC", from, &["2027-01-31T00:00:00Z", "2027-03-31T00:00:00Z"]);
    check("0 0 30 2 1", "UTC", from, &["2027-02-01T00:00:00Z"]);
}

#[test]
fn of_what_was_missed_the_latest_is_due() {
    for (cron, last, now, expect) in [
        ("0 3 * * *", "2026-03-01T03:00:00Z", "2026-03-01T03:00:00Z", None),
        ("0 3 * * *", "2026-03-01T03:00:00Z", "2026-03-02T02:59:59Z", None),
        ("0 3 * * *", "2026-03-01T03:00:00Z", "2026-03-02T03:00:00Z", Some("2026-03-02T03:00:00Z")),
        ("0 3 * * *", "2026-03-01T02:59:59Z", "2026-03-09T12:00:00Z", Some("2026-03-09T03:00:00Z")),
        ("* * * * *", "1970-01-01T00:00:00Z", "2026-03-09T12:00:30Z", Some("2026-03-09T12:00:00Z")),
        ("0 0 29 2 *", "2000-01-01T00:00:00Z", "2026-03-09T12:00:30Z", Some("2024-02-29T00:00:00Z")),
        // The clock went backwards.
        ("* * * * *", "2026-03-09T12:00:30Z", "2026-03-09T11:00:00Z", None),
    ] {
        let missed = calendar(cron, "UTC").missed(at(last), at(now));
        assert_eq!(missed, expect.map(at), "{cron} in ({last}, {now}]");
    }
}

#[test]
fn special_days_follow_from_the_month() {
    // March 2026 begins with a Sunday and ends with a Tuesday; February has 28 days and ends with a Saturday.
    for (cron, days) in [
        ("0 0 L * *", ["2026-02-28", "2026-03-31", "2026-04-30"]),
        ("0 0 L-3 * *", ["2026-02-25", "2026-03-28", "2026-04-27"]),
        ("0 0 LW * *", ["2026-02-27", "2026-03-31", "2026-04-30"]),
        // Saturday 14 February and Sunday 1 March, which may not become one of February.
        ("0 0 14w * *", ["2026-02-13", "2026-03-13", "2026-04-14"]),
        ("0 0 1W * *", ["2026-02-02", "2026-03-02", "2026-04-01"]),
        ("0 0 28W * *", ["2026-02-27", "2026-03-27", "2026-04-28"]),
        ("0 0 * * fri#2", ["2026-02-13", "2026-03-13", "2026-04-10"]),
        ("0 0 * * 7#1", ["2026-02-01", "2026-03-01", "2026-04-05"]),
        ("0 0 * * 5L", ["2026-02-27", "2026-03-27", "2026-04-24"]),
        ("0 0 * * sunL", ["2026-02-22", "2026-03-29", "2026-04-26"]),
        // Both are given: one is enough.
        ("0 0 L * mon#1", ["2026-02-02", "2026-02-28", "2026-03-02"]),
        ("0 0 1,L * *", ["2026-02-01", "2026-02-28", "2026-03-01"]),
    ] {
        let calendar = calendar(cron, "UTC");
        let mut now = at("2026-01-31T12:00:00Z");
        for day in days {
            now = calendar.next_after(now).expect("it comes");
            assert_eq!(now, at(&format!("{day}T00:00:00Z")), "{cron}");
        }
    }
}

#[test]
fn a_sixth_field_in_front_counts_seconds() {
    let every_twenty = calendar("*/20 59 23 * * *", "UTC");
    let mut now = at("2026-01-31T12:00:00Z");
    for due in
        ["2026-01-31T23:59:00Z", "2026-01-31T23:59:20Z", "2026-01-31T23:59:40Z", "2026-02-01T23:59:00Z"]
    {
        now = every_twenty.next_after(now).expect("it comes");
        assert_eq!(now, at(due));
    }
    let each = calendar("* * * * * *", "Europe/Berlin");
    assert_eq!(
        each.next_after(at("2026-10-25T00:59:59Z")),
        Some(at("2026-10-25T01:00:00Z")),
        "an hour that comes again"
    );
}

#[test]
fn what_is_no_schedule_is_refused_with_its_place_and_the_way_to_mend_it() {
    for (cron, at, message, help) in [
        ("", "", "a cron expression has 5 fields, or 6 with seconds before them, not 0", "minute, hour"),
        (
            "0 0 3 * * * 2027",
            "0 0 3 * * * 2027",
            "a cron expression has 5 fields, or 6 with seconds before them, not 7",
            "minute, hour",
        ),
        ("60 0 3 * * *", "60", "`60` is no second", "0 to 59"),
        ("@daily", "@daily", "`@daily` is not known here", "write `0 0 * * *`"),
        ("60 * * * *", "60", "`60` is no minute", "a number from 0 to 59"),
        ("0 24 * * *", "24", "`24` is no hour", "0 to 23"),
        ("0 0 0 * *", "0", "`0` is no day of the month", "1 to 31"),
        ("0  0 *  JANUARY *", "JANUARY", "`JANUARY` is no month", "a name such as `jan`"),
        ("0 0 * * 8", "8", "`8` is no day of the week", "0 to 7"),
        ("mon 0 * * *", "mon", "`mon` is no minute", "0 to 59"),
        ("1jan * * * *", "1jan", "`1jan` is no minute", "0 to 59"),
        ("0 0 L-28 * *", "L-28", "`L-28` is no day of the month", "from 1 to 27"),
        ("0 0 32W * *", "32W", "`32` is no day of the month", "1 to 31"),
        ("0 0 * * fri#6", "fri#6", "`fri#6` is no day of the week", "fri#2"),
        ("0 0 * * L", "L", "`L` is no day of the week", "0 to 7"),
        ("0 0 31W 4 *", "31W 4", "this date never comes", "no such day"),
        ("0 22-2 * * *", "22-2", "`22-2` goes backwards", "write `22-23,0-2`"),
        ("0 0 * * fri-mon", "fri-mon", "`fri-mon` goes backwards", "write `5-6,0-1`"),
        ("*/90 * * * *", "*/90", "the step of `*/90` leaves its range at once", "within its hour"),
        ("*/0 * * * *", "*/0", "`0` in `*/0` is no step", "such as `*/5`"),
        ("*/+5 * * * *", "*/+5", "`+5` in `*/+5` is no step", "such as `*/5`"),
        ("5/15 * * * *", "5/15", "`5/15` has a step and no range to go through", "write `5-59/15`"),
        ("1,,2 * * * *", "1,,2", "`` is no minute", "0 to 59"),
        ("0 0 30 2 *", "30 2", "this date never comes", "no such day"),
        ("0 0 31 4,6,sep,11 *", "31 4,6,sep,11", "this date never comes", "no such day"),
        ("0 0 ä * *", "ä", "`ä` is no day of the month", "1 to 31"),
    ] {
        let schedule = Schedule { cron: cron.to_owned(), timezone: "UTC".to_owned() };
        let invalid = Calendar::parse(&schedule).expect_err(cron);
        assert_eq!((invalid.part, &cron[invalid.at.clone()]), (Part::Cron, at), "{cron}");
        assert_eq!(invalid.to_string(), message, "{cron}");
        assert!(invalid.help.as_deref().unwrap_or_default().contains(help), "{cron}: {:?}", invalid.help);
    }
    let schedule = Schedule { cron: "0 0 * * *".to_owned(), timezone: "Asia/Beijing".to_owned() };
    let invalid = Calendar::parse(&schedule).expect_err("no such zone");
    assert_eq!(
        (invalid.part, invalid.message.as_str()),
        (Part::Timezone, "there is no time zone `Asia/Beijing`")
    );
    assert!(zones().any(|zone| zone == "Asia/Shanghai") && zones().any(|zone| zone == "UTC"));
}

#[test]
fn the_calendar_ends_and_does_not_break() {
    let end = Timestamp::from_millis(253_402_300_799_000);
    assert_eq!(calendar("0 0 1 1 *", "UTC").next_after(end), None);
    for cron in ["* * * * *", "0 3 * * *"] {
        for zone in ["UTC", "Europe/Berlin", "Pacific/Apia"] {
            assert_eq!(calendar(cron, zone).next_after(Timestamp::from_millis(u64::MAX)), None);
        }
    }
}
