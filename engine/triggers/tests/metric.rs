//! When a measured value starts a run.

use std::time::Duration;

use proptest::prelude::*;
use yuanli_model::Timestamp;
use yuanli_model::trigger::{MetricTrigger, Threshold};
use yuanli_triggers::{Alarm, NoValue, RuleId, Seen, value_of};

fn rule(threshold: Threshold, clear: Option<f64>, hold: u64, cooldown: u64) -> MetricTrigger {
    MetricTrigger {
        query: "q".to_owned(),
        source: None,
        threshold,
        hold: Duration::from_secs(hold),
        clear,
        cooldown: Duration::from_secs(cooldown),
        inputs: None,
    }
}

/// The seconds at which runs start, of values that are seen one each second; NaN stands for none.
fn starts(rule: &MetricTrigger, values: &[f64]) -> Vec<u64> {
    let (mut alarm, mut starts) = (Alarm::default(), Vec::new());
    for (second, value) in (0..).zip(values) {
        let now = Timestamp::from_millis(second * 1_000);
        if let Seen::Raised(since) = alarm.see(rule, Some(*value).filter(|value| !value.is_nan()), now) {
            assert_eq!(alarm.due(), Some((since, *value)), "it is known until it was started");
            alarm.started(now);
            starts.push(second);
        }
    }
    starts
}

const NONE: f64 = f64::NAN;

#[test]
fn one_run_starts_for_each_time_that_the_value_crosses() {
    let above = Threshold::Above(5.0);
    for (what, rule, values, expected) in [
        (
            "at the threshold is not above it",
            rule(above, None, 0, 0),
            &[5.0, 6.0, 7.0, 5.0, 6.0][..],
            &[1, 4][..],
        ),
        (
            "below is the other side",
            rule(Threshold::Below(5.0), None, 0, 0),
            &[6.0, 4.0, 3.0, 5.0, 4.0],
            &[1, 4],
        ),
        ("it has to stay there", rule(above, None, 2, 0), &[6.0, 6.0, 1.0, 6.0, 6.0, 6.0, 6.0], &[5]),
        ("it has to come back to `clear`", rule(above, Some(2.0), 0, 0), &[6.0, 4.0, 6.0, 2.0, 6.0], &[0, 4]),
        ("the next start waits", rule(above, None, 0, 4), &[6.0, 1.0, 6.0, 6.0, 6.0, 6.0], &[0, 4]),
        ("no value proves nothing", rule(above, None, 2, 0), &[6.0, NONE, 6.0, 6.0, NONE, 6.0], &[]),
        ("nor that it came back", rule(above, None, 0, 0), &[6.0, NONE, 6.0], &[0]),
    ] {
        assert_eq!(starts(&rule, values), expected, "{what}");
    }
}

#[test]
fn what_is_due_survives_a_restart_and_what_is_pending_begins_anew() {
    let rule = rule(Threshold::Above(5.0), None, 1, 0);
    let mut alarm = Alarm::default();
    let at = |second: u64| Timestamp::from_millis(second * 1_000);
    assert_eq!(alarm.see(&rule, Some(6.0), at(0)), Seen::Nothing);
    assert_eq!(alarm.lasting(), Alarm::default());
    assert_eq!(alarm.see(&rule, Some(6.0), at(1)), Seen::Raised(at(0)));
    let mut alarm = alarm.lasting();
    assert_eq!(alarm.due(), Some((at(0), 6.0)), "the same run as before");
    assert_eq!(alarm.see(&rule, Some(1.0), at(2)), Seen::Nothing, "first it is started");
    alarm.started(at(3));
    assert_eq!(alarm.lasting(), alarm);
}

#[test]
fn a_rule_is_known_by_what_it_says() {
    let of = |threshold, hold| RuleId::of(&rule(threshold, None, hold, 0));
    assert_eq!(of(Threshold::Above(5.0), 1), of(Threshold::Above(5.0), 2));
    assert_ne!(of(Threshold::Above(5.0), 1), of(Threshold::Below(5.0), 1));
    assert_ne!(of(Threshold::Above(5.0), 1), of(Threshold::Above(5.5), 1));
}

#[test]
fn an_answer_is_one_number_or_says_why_not() {
    let vector = |series: &str| {
        format!(r#"{{"status":"success","data":{{"resultType":"vector","result":[{series}]}}}}"#)
    };
    let series = |value: &str| format!(r#"{{"metric":{{}},"value":[1.5,"{value}"]}}"#);
    let check = |body: &str| value_of(body.as_bytes());
    assert_eq!(check(&vector(&series("0.25"))), Ok(Some(0.25)));
    assert_eq!(
        check(&vector(&series("+Inf"))),
        Ok(Some(f64::MAX)),
        "it is kept as JSON, which has no infinity"
    );
    assert_eq!(check(&vector(&series("-Inf"))), Ok(Some(f64::MIN)));
    assert_eq!(check(&vector(&series("NaN"))), Ok(None));
    assert_eq!(check(&vector("")), Ok(None));
    assert_eq!(check(&vector(&[series("1"), series("2")].join(","))), Err(NoValue::Several(2)));
    let scalar = r#"{"status":"success","data":{"resultType":"scalar","result":[1.5,"3"]}}"#;
    assert_eq!(check(scalar), Ok(Some(3.0)));
    let matrix = r#"{"status":"success","data":{"resultType":"matrix","result":[]}}"#;
    assert_eq!(check(matrix), Err(NoValue::Kind("matrix".to_owned())));
    let refused = r#"{"status":"error","errorType":"bad_data","error":"parse error"}"#;
    assert_eq!(check(refused), Err(NoValue::Refused("parse error".to_owned())));
    assert!(matches!(check("<html>"), Err(NoValue::Malformed(_))));
    assert!(matches!(check(&vector(&series("one"))), Err(NoValue::Malformed(_))));
}

proptest! {
    #[test]
    fn two_starts_are_never_closer_than_the_cooldown(values in prop::collection::vec(0.0..10.0, 0..60), cooldown in 0..9_u64) {
        let found = starts(&rule(Threshold::Above(5.0), Some(3.0), 1, cooldown), &values);
        for pair in found.windows(2) {
            prop_assert!(pair[1] - pair[0] >= cooldown);
            prop_assert!(values[pair[0] as usize..pair[1] as usize].iter().any(|value| *value <= 3.0), "it came back between");
        }
    }
}
