//! What is told to people, in Markdown: counts, failed tests and why, flaky ones, coverage.

use std::fmt::Write as _;

use crate::Counts;
use crate::coverage::Coverage;
use crate::report::Outcome;
use crate::verdict::Verdict;

/// Tests that are named; more are counted.
const NAMED: usize = 20;

/// What a run came to; nothing where there is neither a report nor coverage.
pub(crate) fn of(verdict: &Verdict, coverage: Option<&Coverage>) -> String {
    let mut text = String::new();
    if verdict.has_reports {
        tests(&mut text, verdict);
    }
    if let Some(coverage) = coverage {
        let (percent, covered, lines) = (coverage.percent(), coverage.covered(), coverage.lines());
        let _ = writeln!(text, "**Coverage**: {percent} % ({covered} of {lines} lines)\n");
    }
    if text.is_empty() { text } else { format!("## Tests\n\n{text}") }
}

fn tests(text: &mut String, verdict: &Verdict) {
    let failed = verdict.failed();
    let Counts { passed, skipped, flaky } = Counts::of(verdict);
    let (passed, count) = (passed - failed.len() as u64, failed.len());
    let _ = writeln!(text, "{passed} passed, {count} failed, {skipped} skipped, {flaky} flaky\n");
    let why = |name: &String| match &verdict.cases[name].outcome {
        Outcome::Failed(why) => format!("{}: {}", code(name), code(why)),
        _ => code(name),
    };
    named(text, "Failed", &failed, why);
    named(text, "Flaky", &verdict.flaky, |name| code(name));
}

fn named(text: &mut String, title: &str, names: &[String], line: impl Fn(&String) -> String) {
    if names.is_empty() {
        return;
    }
    let _ = writeln!(text, "**{title}**\n");
    for name in names.iter().take(NAMED) {
        let _ = writeln!(text, "- {}", line(name));
    }
    if names.len() > NAMED {
        let _ = writeln!(text, "- and {} more", names.len() - NAMED);
    }
    text.push('\n');
}

/// Text as it is, whatever Markdown would make of it.
fn code(text: &str) -> String {
    format!("`{}`", text.replace('`', "'"))
}
