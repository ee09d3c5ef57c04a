//! `junit-report`: reads a JUnit report from the workspace, has a container look at it, writes a summary, and keeps that as an
//! artifact of the run.

mod report;
mod xml;

use yuanli_sdk::prelude::*;

use crate::report::Report;

/// Where the workspace appears in the container.
const WORKSPACE: &str = "/workspace";
/// The artifact that people find the summary in.
const ARTIFACT: &str = "summary.md";

struct JunitReport;

/// What to sum up.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {
    /// The JUnit XML in the workspace.
    report: String,
    /// The image of a container that looks at the report.
    image: String,
    /// Its command, the image's own when empty; finds the report at `$REPORT`.
    #[serde(default)]
    command: Vec<String>,
    /// Where the summary is written in the workspace.
    #[serde(default = "summary_file")]
    summary: String,
    /// Fail when a test of the report did.
    #[serde(default)]
    fail: bool,
}

/// What the report says.
#[derive(Serialize, JsonSchema)]
struct Outputs {
    /// How many tests there are.
    tests: usize,
    /// How many of them failed.
    failed: usize,
    /// How many of them were skipped.
    skipped: usize,
    /// How long they took together.
    seconds: f64,
    /// Where the summary is in the workspace.
    summary: String,
}

fn summary_file() -> String {
    "summary.md".to_owned()
}

impl Stage for JunitReport {
    const NAME: &str = "junit-report";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &str = "Sums up a JUnit report";
    const CAPABILITIES: &[(&str, &str)] = &[
        ("workspace", "to read the report and write the summary"),
        ("containers", "to run the command that looks at it"),
        ("artifacts", "to keep the summary with the run"),
    ];

    type Config = Config;
    type Outputs = Outputs;

    fn run(config: Config) -> Result<Outputs, Failure> {
        let path = &config.report;
        let report = Report::parse(&workspace::read_text(path)?)
            .map_err(|why| Failure::permanent("invalid-report", format!("{path} cannot be read: {why}")))?;
        let failed: Vec<&str> = report.failed().map(|test| test.name.as_str()).collect();
        let tests = report.tests.len();
        log::write(
            log::Level::Info,
            format!("{path}: {tests} tests"),
            &[("failed", &failed.len().to_string())],
        );
        let exit_code = run_command(&config)?;
        let summary = report.summary(exit_code);
        workspace::write(&config.summary, &summary)?;
        // Before anything fails: what is kept of a failed stage is what people look for.
        artifacts::put(ARTIFACT, "text/markdown", &summary)?;
        if exit_code != 0 {
            let message = format!("the command ended with exit code {exit_code}");
            // By this detail a workflow can say `retry: { exit_codes: [...] }`.
            return Err(Failure::permanent("exit-code", message).with("exit-code", exit_code.to_string()));
        }
        if config.fail && !failed.is_empty() {
            let message = format!("{} of {tests} tests failed: {}", failed.len(), failed.join(", "));
            return Err(Failure::permanent("tests-failed", message));
        }
        Ok(Outputs {
            tests,
            failed: failed.len(),
            skipped: report.skipped(),
            seconds: report.seconds(),
            summary: config.summary,
        })
    }
}

/// Runs the command beside the workspace, which it cannot change, and gives its exit code.
fn run_command(config: &Config) -> Result<i64, Failure> {
    let container = containers::start(&containers::Request {
        environment: vec![("REPORT".to_owned(), format!("{WORKSPACE}/{}", config.report))],
        workspace: Some(containers::WorkspaceMount { target: WORKSPACE.to_owned(), read_only: true }),
        ..containers::request(&config.image, config.command.clone())
    })?;
    Ok(container.wait()?.code)
}

yuanli_sdk::export!(JunitReport);
