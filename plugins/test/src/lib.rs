//! `test`: runs the tests of an application in containers, one for each command, all of them even when one fails, and reads
//! what they report.

mod config;
mod coverage;
mod report;
mod suite;
mod summary;
mod verdict;

use std::collections::BTreeMap;

use yuanli_sdk::prelude::*;
use yuanli_sdk::services::Services;

use config::Config;
use coverage::Coverage;
use report::{Cases, Outcome};
use suite::Suite;
use verdict::Verdict;

struct Test;

/// How the tests went. A stage with a failed test fails and gives no outputs.
#[derive(Serialize, JsonSchema)]
struct Outputs {
    /// How many suites passed.
    passed: u64,
    /// How long each suite ran, in milliseconds.
    duration_ms: BTreeMap<String, u64>,
    /// What the reports count; only where there are `reports`.
    #[serde(skip_serializing_if = "Option::is_none")]
    tests: Option<Counts>,
    /// The slowest tests of the reports, at most five, the slowest first.
    slowest: Vec<Slow>,
    /// Tests that failed and then passed when they were run again.
    flaky: Vec<String>,
    /// What was covered; only where there are files of `coverage`.
    #[serde(skip_serializing_if = "Option::is_none")]
    coverage: Option<Coverage>,
    /// What they wrote into `$YUANLI_OUTPUT`, which there is where they have the workspace.
    values: BTreeMap<String, String>,
}

/// How many tests went how.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
struct Counts {
    /// Passed, those too that passed only when they were run again.
    passed: u64,
    /// Were not run, or had not to pass.
    skipped: u64,
    /// Of those that passed, how many failed before.
    flaky: u64,
}

/// A test and its time.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
struct Slow {
    /// Its name.
    name: String,
    /// How long it took, in milliseconds.
    duration_ms: u64,
}

impl Stage for Test {
    const NAME: &str = "test";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &str = "Runs tests in containers";
    const CAPABILITIES: &[(&str, &str)] = &[
        ("artifacts", "to keep their summary"),
        ("containers", "to run the tests"),
        ("registries", "to fetch their images"),
        ("secrets", "to log in where they are"),
        ("workspace", "to read their reports"),
    ];

    type Config = Config;
    type Outputs = Outputs;

    fn run(config: Config) -> Result<Outputs, Failure> {
        config.check()?;
        registries::ensure(&config.image, config.pull, config.login.as_ref())?;
        config.remove_old()?;
        let services = Services::start(&config.services)?;
        let tested = test(&config, &services);
        services.stop();
        let (suites, verdict) = tested?;
        let coverage = config.coverage();
        // Also of those that have failed: that is when it is read.
        let own = summary::of(&verdict, coverage.as_ref().ok().and_then(Option::as_ref));
        Suite::keep_summary(&config, own, &suites);
        verdict.judge(&suites)?;
        let (coverage, values) = (coverage?, Suite::values(&config, &suites)?);
        config.require(coverage.as_ref())?;
        let duration_ms = suites.into_iter().map(|suite| (suite.name, suite.exit.duration_ms)).collect();
        Ok(Outputs { values, ..outputs(duration_ms, verdict, coverage) })
    }
}

/// Runs the tests, and those that have failed again.
fn test(config: &Config, services: &Services) -> Result<(Vec<Suite>, Verdict), Failure> {
    let suites = suite::run(config, services)?;
    let mut verdict = Verdict::of(config, &suites)?;
    if let Some(rerun) = &config.rerun {
        verdict.run_again(config, rerun, services)?;
    }
    Ok((suites, verdict))
}

fn outputs(duration_ms: BTreeMap<String, u64>, verdict: Verdict, coverage: Option<Coverage>) -> Outputs {
    let tests = verdict.has_reports.then(|| Counts::of(&verdict));
    if let Some(Counts { passed, skipped, flaky }) = &tests {
        log::info(format!("{passed} tests passed, {skipped} were skipped, {flaky} are flaky"));
    }
    Outputs {
        passed: duration_ms.len() as u64,
        duration_ms,
        tests,
        slowest: slowest(&verdict.cases),
        flaky: verdict.flaky,
        coverage,
        values: BTreeMap::new(),
    }
}

impl Counts {
    /// Of tests none of which has failed in the end.
    fn of(verdict: &Verdict) -> Self {
        let skipped = verdict.cases.values().filter(|case| case.outcome == Outcome::Skipped).count() as u64;
        Self { passed: verdict.cases.len() as u64 - skipped, skipped, flaky: verdict.flaky.len() as u64 }
    }
}

fn slowest(cases: &Cases) -> Vec<Slow> {
    const MOST: usize = 5;
    let mut times: Vec<_> = cases.values().filter(|case| case.duration_ms > 0).collect();
    times.sort_by_key(|case| std::cmp::Reverse(case.duration_ms));
    let slow = |case: &report::Case| Slow { name: case.name.clone(), duration_ms: case.duration_ms };
    times.into_iter().take(MOST).map(slow).collect()
}

yuanli_sdk::export!(Test);

#[cfg(test)]
mod tests;
