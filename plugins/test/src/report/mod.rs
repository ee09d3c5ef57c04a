//! What tests say of themselves, in the forms that test tools write.

mod json;
mod junit;
mod tap;

use std::collections::BTreeMap;

/// One test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Case {
    /// Its name, with what groups it before: `shop::cart::adds_up`, `com.example.Cart.addsUp`.
    pub(crate) name: String,
    pub(crate) outcome: Outcome,
    /// How long it took, in milliseconds; 0 where the report does not say.
    pub(crate) duration_ms: u64,
}

/// How a test went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Passed,
    /// With what the report says of it, in one line.
    Failed(String),
    Skipped,
}

/// The tests of one run, by name. A test that a report has twice counts once, failed if it failed once.
pub(crate) type Cases = BTreeMap<String, Case>;

/// A report that cannot be read; says what is wrong with it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unreadable(pub(crate) String);

/// Most tests of one report: whoever has more has them in several.
const MOST_CASES: usize = 200_000;
/// Most elements and texts of a report in XML, which a document is made of in memory.
pub(crate) const MOST_NODES: u32 = 1_000_000;

/// Reads a report. Its first character says what it is: `<` is JUnit's XML, `{` are JSON lines of `cargo test` or `go test
/// -json`, and whatever else is TAP.
pub(crate) fn read(text: &str) -> Result<Vec<Case>, Unreadable> {
    let cases = match text.trim_start_matches('\u{feff}').trim_start().chars().next() {
        Some('<') => junit::read(text),
        Some('{') => json::read(text),
        Some(_) => tap::read(text),
        None => Err(Unreadable("it is empty".to_owned())),
    }?;
    within(cases.len())?;
    Ok(cases)
}

/// Refuses more tests than are read.
fn within(count: usize) -> Result<(), Unreadable> {
    if count <= MOST_CASES {
        return Ok(());
    }
    Err(Unreadable(format!("it has more than {MOST_CASES} tests; write several reports")))
}

/// Adds tests to those of the same run.
pub(crate) fn add(cases: &mut Cases, more: Vec<Case>) {
    for case in more {
        // Names become arguments, and lines of a variable.
        let case = Case { name: line(&case.name.replace(char::is_control, " ")), ..case };
        let is_worse = |old: &Case| matches!(old.outcome, Outcome::Failed(_));
        if !cases.get(&case.name).is_some_and(is_worse) {
            cases.insert(case.name.clone(), case);
        }
    }
}

/// The first line of a message that has something in it, cut where it is long.
fn line(text: &str) -> String {
    const MOST: usize = 300;
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    match line.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

/// Milliseconds of a number of seconds.
fn millis(seconds: f64) -> u64 {
    // Saturates, and is 0 for what is no number.
    (seconds * 1000.0).round() as u64
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn case(name: &str, outcome: Outcome, duration_ms: u64) -> Case {
        Case { name: name.to_owned(), outcome, duration_ms }
    }

    pub(crate) fn failed(message: &str) -> Outcome {
        Outcome::Failed(message.to_owned())
    }

    #[test]
    fn a_report_is_what_it_begins_with() {
        assert_eq!(read("\u{feff}<testsuites/>"), Ok(Vec::new()));
        assert_eq!(read("1..1\nok 1 - a\n").unwrap().len(), 1);
        assert_eq!(read("{\"type\":\"test\",\"event\":\"ok\",\"name\":\"a\"}\n").unwrap().len(), 1);
        assert_eq!(read(" \n"), Err(Unreadable("it is empty".to_owned())));
        assert!(read("hello\n").unwrap_err().0.contains("TAP"));
    }

    #[test]
    fn a_test_that_failed_once_has_failed() {
        let mut cases = Cases::new();
        add(&mut cases, vec![case("a", failed("x"), 1), case("a", Outcome::Passed, 2)]);
        assert_eq!(cases["a"].outcome, failed("x"));
    }

    #[test]
    fn messages_are_one_line() {
        assert_eq!(line("\n  left != right \nat x.rs:1"), "left != right");
        assert_eq!(line(&"ü".repeat(400)), format!("{}…", "ü".repeat(300)));
        assert_eq!((millis(0.0015), millis(-1.0), millis(f64::NAN)), (2, 0, 0));
    }
}
