//! `dialect: quartz`: when such a schedule is due, and what is said of one that is wrong.

mod support;

use support::{compiled, shown};
use yuanli_calendar::{Calendar, moment};
use yuanli_model::trigger::ScheduleTrigger;

fn schedule(keys: &str) -> ScheduleTrigger {
    let text = format!(
        "name: w\non: {{ schedule: {{ {keys}, dialect: quartz }} }}\nstages: {{ a: {{ uses: script }} }}\n"
    );
    let workflow = compiled(&text).workflow.unwrap_or_else(|| panic!("{}", shown(&text)));
    workflow.triggers().schedules[0].clone()
}

#[test]
fn it_is_due_when_quartz_says_so() {
    for (cron, after, due) in [
        // The examples of its tutorial.
        ("0 15 10 ? * *", "2026-12-01T10:15", "2026-12-02T10:15"),
        ("0 0/5 14 * * ?", "2026-12-01T14:56", "2026-12-02T14:00"),
        ("0 10,44 14 ? 3 WED", "2026-12-01T00:00", "2027-03-03T14:10"),
        ("0 15 10 ? * 6L", "2026-12-01T00:00", "2026-12-25T10:15"),
        ("0 15 10 ? * 6#3", "2026-12-01T00:00", "2026-12-18T10:15"),
        ("0 15 10 L * ?", "2026-12-01T00:00", "2026-12-31T10:15"),
        // 1 is Sunday: the 6th is one.
        ("0 0 8 ? * 1", "2026-12-01T00:00", "2026-12-06T08:00"),
        ("30 0 0 1/10 * ?", "2026-12-01T00:01", "2026-12-11T00:00:30"),
    ] {
        let trigger = schedule(&format!("cron: \"{cron}\""));
        let calendar = Calendar::parse(&trigger.schedule).unwrap();
        let at = |text| moment(text, "UTC").unwrap();
        assert_eq!(calendar.next_after(at(after)), Some(at(due)), "{cron} is {}", trigger.schedule.cron);
    }
}

#[test]
fn years_bound_it_and_the_narrower_bound_counts() {
    let bounds = |keys: &str| {
        let policy = schedule(keys).policy;
        (policy.from.map(|from| from.as_millis()), policy.until.map(|until| until.as_millis()))
    };
    let at = |text| moment(text, "Europe/Berlin").map(|at| at.as_millis());
    let before = |text| at(text).map(|at| at - 1);
    let years = "cron: \"0 0 12 * * ? 2026-2027\", timezone: Europe/Berlin";
    assert_eq!(bounds(years), (at("2026-01-01"), before("2028-01-01")));
    let narrower = format!("{years}, from: 2026-06-01, until: 2027-06-01");
    assert_eq!(bounds(&narrower), (at("2026-06-01"), at("2027-06-01")));
    let wider = format!("{years}, from: 2025-06-01, until: 2029-06-01");
    assert_eq!(bounds(&wider), (at("2026-01-01"), before("2028-01-01")));
    assert_eq!(bounds("cron: \"0 0 12 * * ? *\""), (None, None));
}

#[test]
fn what_is_wrong_is_told_at_the_expression() {
    for (cron, says) in [
        ("0 3 * * *", "has 6 fields, or 7 with years after them, not 5"),
        ("0 0 12 * * *", "one of the day of the month and the day of the week is `?`"),
        ("0 0 24 * * ?", "`24` is no hour"),
        ("0 0 12 30 2 ?", "this date never comes"),
    ] {
        let text = format!(
            "name: w\non: {{ schedule: {{ cron: \"{cron}\", dialect: quartz }} }}\nstages: {{ a: {{ uses: script }} }}\n"
        );
        let found = compiled(&text).diagnostics;
        assert!(
            found.iter().any(|found| found.message.contains(says) && found.line == 2),
            "{cron}: {found:?}"
        );
    }
    let text = "name: w\non: { schedule: { cron: \"0 3 * * *\", dialect: qartz } }\nstages: { a: { uses: script } }\n";
    assert!(shown(text).contains("did you mean `quartz`?"), "{}", shown(text));
}
