//! What a stage is told to test.

use std::collections::BTreeMap;

use yuanli_sdk::prelude::*;

use crate::coverage::{self, Coverage};
use crate::report::{self, Cases, Unreadable};

/// Which tests to run.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// Name or id of the image that holds the tests.
    pub(crate) image: String,
    /// When the image is fetched: where it is `missing`, `always`, or `never`.
    #[serde(default)]
    pub(crate) pull: registries::Pull,
    /// Who to be at the registry of the image: `{ username: ci, password: ${{ inputs.token }} }`, with an input of type
    /// `secret`. Without, whoever the engine's user is there (`docker login`).
    pub(crate) login: Option<registries::LoginConfig>,
    /// One command with its arguments; the image's own when empty.
    #[serde(default)]
    command: Vec<String>,
    /// Several named commands, each in a container of its own, at the same time. Instead of `command`.
    #[serde(default)]
    suites: BTreeMap<String, Vec<String>>,
    /// Environment variables: texts, or secrets.
    #[serde(default)]
    env: BTreeMap<String, containers::Variable>,
    /// What each container of tests may use, and what it is not given.
    #[serde(default)]
    container: containers::Form,
    /// What runs beside the tests by name, such as a database: each in a container of its own, reached by that name, ready
    /// before the tests begin, and gone with the stage.
    #[serde(default)]
    pub(crate) services: BTreeMap<String, services::ServiceConfig>,
    /// Whether the tests reach more than their services.
    #[serde(default)]
    network: bool,
    /// Where the workspace appears in the containers; nowhere when absent, or at `/workspace` where there is something to
    /// report. Read-only, unless there is.
    workspace: Option<String>,
    /// Files of the workspace in which the tests report, such as `reports/*.xml`: JUnit's XML, TAP, or the JSON lines of
    /// `cargo test` and `go test`. What matches before they run is removed.
    #[serde(default)]
    pub(crate) reports: Vec<String>,
    /// How tests that have failed are run again; those that pass then are flaky and no failure. Needs `reports`.
    pub(crate) rerun: Option<Rerun>,
    /// Files of the workspace that say what was covered, such as `coverage/lcov.info`: lcov's or Cobertura's.
    #[serde(default)]
    coverage: Vec<String>,
    /// How much of the lines has to be covered, in percent. Needs `coverage`.
    #[schemars(range(min = 0, max = 100))]
    min_coverage: Option<f64>,
}

/// How failed tests are run again.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rerun {
    /// The command. `{tests}` stands for the names of the tests, an argument for each; the variable
    /// `YUANLI_FAILED_TESTS` has them too, one in a line. It writes its reports where the tests did.
    command: Vec<String>,
    /// How often, at most.
    #[serde(default = "once")]
    #[schemars(range(min = 1, max = 10))]
    pub(crate) times: u32,
}

fn once() -> u32 {
    1
}

/// What stands for the names of the tests in the command of a rerun.
const TESTS: &str = "{tests}";
const FAILED_TESTS: &str = "YUANLI_FAILED_TESTS";
const WORKSPACE: &str = "/workspace";

impl Config {
    pub(crate) fn check(&self) -> Result<(), Failure> {
        let wrong = |message: &str| Err(Failure::permanent("invalid-config", message));
        if !self.command.is_empty() && !self.suites.is_empty() {
            return wrong("give `command` or `suites`, not both");
        }
        if self.rerun.is_some() && self.reports.is_empty() {
            return wrong("`rerun` needs `reports`: they say which tests have failed");
        }
        if self.min_coverage.is_some() && self.coverage.is_empty() {
            return wrong("`min_coverage` needs `coverage`: the files that say what was covered");
        }
        Ok(())
    }

    /// The suites by name, with their commands.
    pub(crate) fn suites(&self) -> BTreeMap<String, Vec<String>> {
        if self.suites.is_empty() {
            return BTreeMap::from([("tests".to_owned(), self.command.clone())]);
        }
        self.suites.clone()
    }

    /// Whether tests write into the workspace.
    fn writes(&self) -> bool {
        !self.reports.is_empty() || !self.coverage.is_empty()
    }

    /// Where the workspace is in their containers.
    fn target(&self) -> Option<String> {
        self.workspace.clone().or(self.writes().then(|| WORKSPACE.to_owned()))
    }

    /// Whether they hand over files: where they have the workspace, as both lie on the machine of the engine.
    pub(crate) fn hands_over(&self) -> bool {
        self.target().is_some()
    }

    /// The container of a command.
    pub(crate) fn request(&self, command: Vec<String>) -> containers::Request {
        let (writes, target) = (self.writes(), self.target());
        let request = containers::Request {
            workspace: target.map(|target| containers::WorkspaceMount { target, read_only: !writes }),
            network: self.network,
            ..containers::request(&self.image, command)
        };
        let request = if self.hands_over() { handover::of(request) } else { request };
        containers::with_variables(self.container.of(request), self.env.clone())
    }

    /// The container that runs tests again.
    pub(crate) fn rerun(&self, rerun: &Rerun, tests: &[String]) -> containers::Request {
        let command = rerun
            .command
            .iter()
            .flat_map(|part| if part == TESTS { tests.to_vec() } else { vec![part.clone()] });
        let mut request = self.request(command.collect());
        request.environment.push((FAILED_TESTS.to_owned(), tests.join("\n")));
        request
    }

    /// Removes what would be taken for reports of the tests that are about to run.
    pub(crate) fn remove_old(&self) -> Result<(), Failure> {
        files(&self.coverage)?.iter().try_for_each(|path| workspace::remove(path))?;
        self.remove_reports()
    }

    /// Removes reports, before others are written in their place.
    pub(crate) fn remove_reports(&self) -> Result<(), Failure> {
        Ok(files(&self.reports)?.iter().try_for_each(|path| workspace::remove(path))?)
    }

    /// What the reports say; `None` where there is none.
    pub(crate) fn cases(&self) -> Result<Option<Cases>, Failure> {
        let files = files(&self.reports)?;
        let mut cases = Cases::new();
        for path in &files {
            let found = report::read(&text(path)?).map_err(|why| unreadable(path, &why))?;
            report::add(&mut cases, found);
        }
        // A report of no test at all is as good as none.
        Ok((!cases.is_empty()).then_some(cases))
    }

    /// What was covered; `None` where nobody asked.
    pub(crate) fn coverage(&self) -> Result<Option<Coverage>, Failure> {
        if self.coverage.is_empty() {
            return Ok(None);
        }
        let mut all: Option<Coverage> = None;
        for path in files(&self.coverage)? {
            let found = coverage::read(&text(&path)?).map_err(|why| unreadable(&path, &why))?;
            all = Some(all.map_or(found, |all| all.and(found)));
        }
        let Some(all) = all else { return Err(missing("coverage", &self.coverage)) };
        log::info(format!("{} % of the lines are covered", all.percent()));
        Ok(Some(all))
    }

    /// Fails where less is covered than has to be.
    pub(crate) fn require(&self, coverage: Option<&Coverage>) -> Result<(), Failure> {
        match (self.min_coverage, coverage.map(|coverage| coverage.percent())) {
            (Some(wanted), Some(percent)) if percent < wanted => {
                let message = format!("{percent} % of the lines are covered, and it has to be {wanted} %");
                Err(Failure::permanent("coverage", message))
            }
            _ => Ok(()),
        }
    }
}

/// The files of the workspace that match, each once.
fn files<'a>(patterns: impl IntoIterator<Item = &'a String>) -> Result<Vec<String>, Failure> {
    let mut paths = Vec::new();
    for pattern in patterns {
        paths.extend(workspace::glob(pattern)?.into_iter().map(|entry| entry.path));
    }
    paths.sort_unstable();
    paths.dedup();
    Ok(paths)
}

/// The text of a report. What is no UTF-8 in it is replaced: names in another encoding are no reason to lose the rest.
fn text(path: &str) -> Result<String, Failure> {
    let too_large = |message: &str| unreadable(path, &Unreadable(message.to_owned()));
    workspace::read_text(path).map_err(|error| match &error {
        workspace::Error::TooLarge(message) => too_large(message),
        _ => error.into(),
    })
}

/// The failure of tests that did not report.
pub(crate) fn missing(what: &str, patterns: &[String]) -> Failure {
    let patterns = patterns.join("`, `");
    let message = format!(
        "the tests have written no {what}: no file of the workspace that matches `{patterns}` has any"
    );
    Failure::permanent("no-report", message)
}

fn unreadable(path: &str, Unreadable(why): &Unreadable) -> Failure {
    Failure::permanent("invalid-report", format!("`{path}` cannot be read as a report: {why}"))
}
