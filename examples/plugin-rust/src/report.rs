//! Reads JUnit XML and writes what it says as Markdown. Knows nothing of the engine, so that `cargo test` can test it.

use std::fmt::Write;

use crate::xml::{self, Tag};

/// More of them are no summary any more.
const MAX_SLOWEST: usize = 3;

/// A test as the report has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Test {
    pub name: String,
    pub milliseconds: u64,
    pub is_skipped: bool,
    /// Why it failed.
    pub problem: Option<String>,
}

/// All tests of a report, in its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    pub tests: Vec<Test>,
}

impl Report {
    /// The report of a JUnit XML, or in words what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut tests: Vec<Test> = Vec::new();
        let mut open: Vec<String> = Vec::new();
        for tag in xml::tags(text)? {
            let name = tag.name.as_str();
            if tag.is_end {
                if open.pop().as_deref() != Some(name) {
                    return Err(format!("it is no XML: </{name}> ends what was not begun"));
                }
                continue;
            }
            let is_in_test = open.last().is_some_and(|parent| parent == "testcase");
            match (name, tests.last_mut()) {
                (name, _) if open.is_empty() && !matches!(name, "testsuites" | "testsuite") => {
                    return Err(format!("it begins with <{name}>, not with <testsuites> or <testsuite>"));
                }
                ("testcase", _) => tests.push(Test::of(&tag)),
                ("failure" | "error", Some(test)) if is_in_test => {
                    let message = tag.attributes.get("message").map_or("no message", String::as_str);
                    test.problem.get_or_insert_with(|| message.to_owned());
                }
                ("skipped", Some(test)) if is_in_test => test.is_skipped = true,
                _ => {}
            }
            if !tag.is_empty {
                open.push(tag.name);
            }
        }
        match open.pop() {
            Some(name) => Err(format!("it is no XML: <{name}> does not end")),
            None => Ok(Self { tests }),
        }
    }

    pub fn failed(&self) -> impl Iterator<Item = &Test> {
        self.tests.iter().filter(|test| test.problem.is_some())
    }

    pub fn skipped(&self) -> usize {
        self.tests.iter().filter(|test| test.is_skipped).count()
    }

    pub fn slowest(&self) -> Vec<&Test> {
        let mut timed: Vec<&Test> = self.tests.iter().filter(|test| test.milliseconds > 0).collect();
        timed.sort_by_key(|test| std::cmp::Reverse(test.milliseconds));
        timed.truncate(MAX_SLOWEST);
        timed
    }

    pub fn seconds(&self) -> f64 {
        seconds(self.tests.iter().map(|test| test.milliseconds).sum())
    }

    /// The report for a person, with how the container ended that looked at it.
    pub fn summary(&self, exit_code: i64) -> String {
        let (tests, failed, skipped) = (self.tests.len(), self.failed().count(), self.skipped());
        let mut text = format!(
            "# {failed} of {tests} tests failed\n\n| tests | failed | skipped | seconds |\n|---|---|---|---|\n\
             | {tests} | {failed} | {skipped} | {:.3} |\n",
            self.seconds()
        );
        let failed = self.failed().map(|test| {
            let problem = test.problem.as_deref().unwrap_or_default();
            format!("{}: {problem}", test.name)
        });
        let slowest = self.slowest();
        let slowest =
            slowest.iter().map(|test| format!("{:.3} s: {}", seconds(test.milliseconds), test.name));
        list(&mut text, "Failed", failed);
        list(&mut text, "Slowest", slowest);
        let _ = writeln!(text, "\nThe command ended with exit code {exit_code}.");
        text
    }
}

impl Test {
    fn of(tag: &Tag) -> Self {
        let attribute = |key| tag.attributes.get(key).map(String::as_str).filter(|value| !value.is_empty());
        let parts: Vec<&str> = [attribute("classname"), attribute("name")].into_iter().flatten().collect();
        // Zero for what is no number, as some tools write nothing there.
        let seconds: f64 = attribute("time").and_then(|time| time.parse().ok()).unwrap_or_default();
        Self {
            name: parts.join("."),
            milliseconds: (seconds * 1000.0).round() as u64,
            is_skipped: false,
            problem: None,
        }
    }
}

fn seconds(milliseconds: u64) -> f64 {
    milliseconds as f64 / 1000.0
}

/// Appends a list with a title, unless it is empty.
fn list(text: &mut String, title: &str, items: impl Iterator<Item = String>) {
    let mut items = items.peekable();
    if items.peek().is_some() {
        let _ = writeln!(text, "\n{title}:\n");
        items.for_each(|item| {
            let _ = writeln!(text, "- {item}");
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = r#"<?xml version="1.0"?>
<!-- <testcase name="not one"/> -->
<testsuite name="cart">
  <testcase classname="cart" name="a &amp; b" time="0.25"/>
  <testcase classname="cart" name="c" time="1.5"><failure message="2 &#60; 3"><![CDATA[</x>]]></failure></testcase>
  <testcase name="d" time="-"><skipped/></testcase>
  <testcase name="e"><error/></testcase>
</testsuite>"#;

    #[test]
    fn a_report_is_counted() {
        let report = Report::parse(REPORT).expect("it is a report");
        let names: Vec<&str> = report.tests.iter().map(|test| test.name.as_str()).collect();
        assert_eq!(names, ["cart.a & b", "cart.c", "d", "e"]);
        let problems: Vec<&str> = report.failed().filter_map(|test| test.problem.as_deref()).collect();
        assert_eq!(problems, ["2 < 3", "no message"]);
        assert_eq!(report.skipped(), 1);
        let slowest: Vec<u64> = report.slowest().iter().map(|test| test.milliseconds).collect();
        assert_eq!(slowest, [1500, 250]);
        assert_eq!(format!("{:.3}", report.seconds()), "1.750");
    }

    #[test]
    fn a_summary_names_what_failed_and_what_was_slow() {
        let text = Report::parse(REPORT).expect("it is a report").summary(3);
        for line in [
            "# 2 of 4 tests failed",
            "| 4 | 2 | 1 | 1.750 |",
            "- cart.c: 2 < 3",
            "- 1.500 s: cart.c",
            "The command ended with exit code 3.",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn what_is_no_report_is_told() {
        for (text, why) in [
            ("", "no XML"),
            ("<html></html>", "begins with <html>"),
            ("<testsuite><testcase></testsuite>", "ends what was not begun"),
            ("<testsuite>", "<testsuite> does not end"),
        ] {
            let error = Report::parse(text).expect_err(text);
            assert!(error.contains(why), "{error}");
        }
    }
}
