//! Checking a component for its author: `yuanli_conformance` does it, this is the way to the bodies that he gets.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use yuanli_api_types as api;
use yuanli_conformance::{CaseFile, Checked, Kind, Options, Suite, Verdict, cases_at};

use crate::clock::SystemClock;
use crate::document::Unread;
use crate::plugins::unread;

/// What is to be checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trial {
    /// The file of the component.
    pub component: PathBuf,
    /// Files of cases, or folders of them.
    pub cases: Vec<PathBuf>,
    /// Only what has this in its name.
    pub only: Option<String>,
    /// Whether what holds for every plugin is checked too.
    pub has_general: bool,
}

impl Trial {
    /// Checks it; compiled code is kept in the cache of the data directory. `tell` is told of each check as it ends.
    ///
    /// # Errors
    /// When the component or a case cannot be read, or this machine fails.
    pub async fn run(
        self,
        data: &Path,
        tell: &mut (dyn FnMut(&api::TestCase) + Send),
    ) -> Result<api::PluginTest, Unread> {
        let Self { component, cases, only, has_general } = self;
        let mut files: Vec<CaseFile> = Vec::new();
        for path in cases {
            files.extend(cases_at(&path).map_err(Unread::File)?);
        }
        if let Some(only) = &only {
            files.retain(|file| file.case.name.contains(only.as_str()));
        }
        let options =
            Options { cache: data.join("cache"), clock: Arc::new(SystemClock::default()), has_general };
        let suite = Suite::new(options).map_err(unread)?;
        let report = suite.check(&component, &files, &mut |checked| tell(&body(checked))).await;
        let report = report.map_err(unread)?;
        let (name, version) = report.plugin.clone().unzip();
        Ok(api::PluginTest {
            component: component.display().to_string(),
            digest: report.digest.to_string(),
            name,
            version,
            passed: report.has_passed(),
            cases: report.checked.iter().map(body).collect(),
        })
    }
}

fn body(checked: &Checked) -> api::TestCase {
    let (outcome, differences, log, reason) = match &checked.verdict {
        Verdict::Passed => (api::TestOutcome::Passed, Vec::new(), Vec::new(), None),
        Verdict::Failed { differences, log } => {
            (api::TestOutcome::Failed, differences.clone(), log.clone(), None)
        }
        Verdict::Skipped(why) => (api::TestOutcome::Skipped, Vec::new(), Vec::new(), Some(why.clone())),
    };
    api::TestCase {
        name: checked.name.clone(),
        file: match &checked.kind {
            Kind::General => None,
            Kind::Own(file) => Some(file.clone()),
        },
        outcome,
        duration_ms: u64::try_from(checked.took.as_millis()).unwrap_or(u64::MAX),
        run_ms: None,
        differences,
        log,
        reason,
    }
}
