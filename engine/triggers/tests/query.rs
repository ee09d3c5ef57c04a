//! Queries over the engine's own metrics.

use proptest::prelude::*;
use yuanli_model::Timestamp;
use yuanli_triggers::{Query, Snapshot, samples_of};

/// Values at these seconds.
fn history(texts: &[(u64, &str)]) -> Vec<Snapshot> {
    texts.iter().map(|(second, text)| (Timestamp::from_millis(second * 1_000), samples_of(text))).collect()
}

fn check(query: &str, texts: &[(u64, &str)]) -> Result<Option<f64>, String> {
    let query = Query::parse(query).map_err(|error| error.to_string())?;
    query.answer(&history(texts)).map_err(|several| format!("{several} series"))
}

const APPS: &str = "# HELP ready Replicas.\nready{app=\"shop\"} 3\nready{app=\"pay\",zone=\"a\\\"b\"} 1\nactive 7 1700000000\n";

#[test]
fn a_query_gives_one_number() {
    for (query, expected) in [
        ("active", Some(7.0)),
        (" ( active + 1 ) * 2 - 4 / 2", Some(14.0)),
        ("-active", Some(-7.0)),
        ("1.5e1", Some(15.0)),
        (r#"ready{app="shop"}"#, Some(3.0)),
        (r#"ready{app="pay", zone="a\"b"}"#, Some(1.0)),
        (r#"ready{app!="shop"}"#, Some(1.0)),
        (r#"ready{zone=""}"#, Some(3.0)),
        ("sum(ready)", Some(4.0)),
        ("max(ready) - min(ready)", Some(2.0)),
        ("avg(ready)", Some(2.0)),
        ("count(ready)", Some(2.0)),
        ("missing", None),
        ("sum(missing)", None),
        ("active + missing", None),
        ("0 / 0", None),
        ("1 / 0", Some(f64::MAX)),
        ("-1e999", Some(f64::MIN)),
    ] {
        assert_eq!(check(query, &[(0, APPS)]), Ok(expected), "{query}");
    }
    assert_eq!(check("ready", &[(0, APPS)]), Err("2 series".to_owned()));
    assert_eq!(check("ready * 2", &[(0, APPS)]), Err("2 series".to_owned()));
    assert_eq!(check("active", &[]), Ok(None));
}

#[test]
fn a_counter_grows_also_when_it_begins_anew() {
    let counts = [(0, "c 100"), (60, "c 110"), (120, "c 5"), (180, "c 8")];
    assert_eq!(check("increase(c[1h])", &counts), Ok(Some(18.0)));
    assert_eq!(check("increase(c[2m])", &counts), Ok(Some(8.0)), "what is older does not count");
    assert_eq!(check("rate(c[2m])", &counts), Ok(Some(8.0 / 120.0)));
    assert_eq!(check("rate(c[5s])", &counts), Ok(None), "one look shows no growth");
    let two = [(0, "c{a=\"1\"} 1\nc{a=\"2\"} 1"), (10, "c{a=\"1\"} 2\nc{a=\"2\"} 4")];
    assert_eq!(check("sum(increase(c[1m]))", &two), Ok(Some(4.0)));
    assert_eq!(check("sum(rate(c{a=\"2\"}[1m]))", &two), Ok(Some(0.3)));
}

#[test]
fn what_cannot_be_answered_is_refused_with_its_place() {
    for (query, says) in [
        ("", "a number, a metric or a function is missing, at character 1"),
        ("a b", "the query goes on where it should end, at character 3"),
        ("a + ", "a number, a metric or a function is missing, at character 5"),
        ("(a", "`)` is missing, at character 3"),
        ("rate(a)", "`[` is missing, at character 7"),
        ("rate(a[5])", "a time such as `5m` is missing, of at most one hour, at character 8"),
        ("rate(a[2h])", "a time such as `5m` is missing, of at most one hour, at character 8"),
        ("a{b=~\"c\"}", "labels are compared by `=` and `!=` here, at character 6"),
        ("a{b=\"c}", "the quote does not end, at character 6"),
        ("a{b", "`=` is missing, at character 4"),
        ("1.2.3", "`1.2.3` is no number, at character 1"),
    ] {
        assert_eq!(check(query, &[]), Err(says.to_owned()), "{query}");
    }
    let unknown = check("topk(3, a)", &[]).expect_err("it is not known");
    assert!(
        unknown.starts_with("`topk` is no function here") && unknown.ends_with("at character 1"),
        "{unknown}"
    );
    for part in ["(", "-", "1+", "1*"] {
        assert!(Query::parse(&format!("{}1", part.repeat(10_000))).is_err(), "{part}");
    }
    let longest = format!("{}1", "1+".repeat(500));
    assert_eq!(check(&longest, &[]), Ok(Some(501.0)));
    let (range, names) = {
        let query = Query::parse("rate(a[5m]) + sum(b)").expect("a query");
        let (range, names) = query.looks_at();
        (range.as_secs(), names.join(" "))
    };
    assert_eq!((range, names.as_str()), (300, "a b"));
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in ".{0,60}", other in r#"[a-z{}()\[\]"=+\-*/.,0-9\\é ]{0,60}"#) {
        for text in [&text, &other] {
            if let Ok(query) = Query::parse(text) {
                let _ = query.answer(&history(&[(0, APPS)]));
            }
            let _ = samples_of(text);
        }
    }
}
