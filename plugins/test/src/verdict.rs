//! Whether the tests have passed.

use yuanli_sdk::prelude::*;
use yuanli_sdk::serde_json::json;
use yuanli_sdk::services::Services;

use crate::config::{Config, Rerun, missing};
use crate::report::{Cases, Outcome};
use crate::suite::Suite;

/// Failed tests that a message names with their reasons; more are counted.
const NAMED: usize = 5;
/// Most bytes of the names of tests that are run again: Linux takes 128 KiB in one variable.
const MOST_NAMES_BYTES: usize = 64 * 1024;
/// Failed tests whose names are in the details of a failure.
const LISTED: usize = 100;

/// Failed tests that are lines of the log.
const ANNOTATED: usize = 50;

/// Writes a line that readers show beside the code, as one that a container prints as `::warning title=…::…`.
fn annotate((word, level): (&str, log::Level), title: &str, message: &str) {
    log::write(level, message, &[("yuanli.annotation", word), ("title", title)]);
}

/// What the reports say, and what running again has changed.
pub(crate) struct Verdict {
    pub(crate) cases: Cases,
    /// Tests that failed before they passed.
    pub(crate) flaky: Vec<String>,
    pub(crate) has_reports: bool,
    /// Whether any test of the first run has failed.
    had_failed: bool,
}

impl Verdict {
    /// Of the first run.
    pub(crate) fn of(config: &Config, suites: &[Suite]) -> Result<Self, Failure> {
        let has_reports = !config.reports.is_empty();
        let found = match config.cases() {
            // Half of a report is what a suite leaves that ended badly, and why it did says more.
            Err(failure) if suites.iter().any(|suite| suite.why().is_some()) => {
                log::warn(failure.message);
                None
            }
            found => found?,
        };
        if has_reports && found.is_none() && suites.iter().all(|suite| suite.why().is_none()) {
            return Err(missing("report", &config.reports));
        }
        let mut verdict =
            Self { cases: found.unwrap_or_default(), flaky: Vec::new(), has_reports, had_failed: false };
        verdict.had_failed = !verdict.failed().is_empty();
        Ok(verdict)
    }

    /// The names of the tests that have failed.
    pub(crate) fn failed(&self) -> Vec<String> {
        let failed = self.cases.values().filter(|case| matches!(case.outcome, Outcome::Failed(_)));
        failed.map(|case| case.name.clone()).collect()
    }

    /// Runs failed tests again, and takes those that pass for flaky.
    pub(crate) fn run_again(
        &mut self,
        config: &Config,
        rerun: &Rerun,
        services: &Services,
    ) -> Result<(), Failure> {
        for time in 1..=rerun.times {
            let failed = self.failed();
            if failed.is_empty() {
                return Ok(());
            }
            let (count, times) = (failed.len(), rerun.times);
            config.remove_reports()?;
            let title = format!("running {count} failed tests again ({time} of {times})");
            if failed.iter().map(|name| name.len() + 1).sum::<usize>() > MOST_NAMES_BYTES {
                log::warn(format!("{count} failed tests are too many to be run again by their names"));
                return Ok(());
            }
            let run = || services.wait(&containers::start(&services.beside(config.rerun(rerun, &failed)))?);
            let ended = log::group(&title, run);
            // Whatever becomes of it, that tests have failed is what this stage is to say.
            let again = match ended.and_then(|exit| Ok((exit, config.cases()?))) {
                Ok((_, Some(again))) => again,
                Ok((exit, None)) => {
                    log::warn(format!("they wrote no report (exit code {})", exit.code));
                    return Ok(());
                }
                Err(failure) => {
                    log::warn(format!("they could not be run again: {}", failure.message));
                    return Ok(());
                }
            };
            for name in failed {
                if again.get(&name).is_some_and(|case| case.outcome == Outcome::Passed) {
                    annotate(
                        ("warning", log::Level::Warn),
                        "flaky test",
                        &format!("{name} is flaky: it failed, and passed when it was run again"),
                    );
                    self.cases.insert(name.clone(), again[&name].clone());
                    self.flaky.push(name);
                }
            }
        }
        Ok(())
    }

    /// Fails where a test has failed, or a suite for another reason.
    pub(crate) fn judge(&self, suites: &[Suite]) -> Result<(), Failure> {
        let failed = self.failed();
        if !failed.is_empty() {
            for name in failed.iter().take(ANNOTATED) {
                annotate(("error", log::Level::Error), "failed test", &self.reason(name));
            }
            return Err(self.failure(&failed));
        }
        // Of several that failed nobody knows which tests were whose.
        let is_one = suites.iter().filter(|suite| suite.why().is_some()).count() == 1;
        let is_explained = |suite: &Suite| self.had_failed && is_one && suite.has_ended_itself();
        let bad: Vec<String> = suites
            .iter()
            .filter(|suite| !is_explained(suite))
            .filter_map(|suite| Some(format!("{} ({})", suite.name, suite.why()?)))
            .collect();
        if bad.is_empty() {
            return Ok(());
        }
        let message = format!("{} of {} test suites failed: {}", bad.len(), suites.len(), bad.join(", "));
        Err(Failure::permanent("tests-failed", message))
    }

    /// A failed test with what its report says of it.
    fn reason(&self, name: &String) -> String {
        match &self.cases[name].outcome {
            Outcome::Failed(reason) => format!("{name} ({reason})"),
            _ => name.clone(),
        }
    }

    fn failure(&self, failed: &[String]) -> Failure {
        let named: Vec<String> = failed.iter().take(NAMED).map(|name| self.reason(name)).collect();
        let more = failed.len().saturating_sub(NAMED);
        let more = if more == 0 { String::new() } else { format!(", and {more} more") };
        let (count, all) = (failed.len(), self.cases.len());
        let message = format!("{count} of {all} tests failed: {}{more}", named.join(", "));
        let listed = |names: &[String]| json!(names[..names.len().min(LISTED)]).to_string();
        Failure::permanent("tests-failed", message)
            .with("failed", listed(failed))
            .with("flaky", listed(&self.flaky))
    }
}
