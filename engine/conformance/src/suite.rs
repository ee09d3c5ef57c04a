//! All checks of a component, in order.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;
use yuanli_model::{Digest, PluginDescription, PluginReference, Timestamp};
use yuanli_ports::plugins::PluginError;
use yuanli_ports::{Clock, Plugins};
use yuanli_wasm::Said;

use crate::bench::{Bench, Ended, Variation};
use crate::case::{Case, CaseFile};
use crate::general::behaviour::{Subject, between};
use crate::general::description::{self, NO_CONFIG};
use crate::report::{Checked, Kind, Report, Verdict};
use crate::{expectation, sample};

/// How components are checked.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where compiled code is kept.
    pub cache: PathBuf,
    /// By which it is told how long things took; plugins have a clock of their own.
    pub clock: Arc<dyn Clock>,
    /// Whether what holds for every plugin is checked too.
    pub has_general: bool,
}

/// Checks components.
#[derive(Debug)]
pub struct Suite {
    bench: Bench,
    options: Options,
}

/// A check that goes on, and who is told of each.
struct Course<'a> {
    clock: &'a dyn Clock,
    report: Report,
    begun: Timestamp,
    tell: &'a mut (dyn FnMut(&Checked) + Send),
}

impl Course<'_> {
    /// Notes what came of the check that began after the one before.
    fn note(&mut self, name: impl Into<String>, kind: Kind, verdict: Verdict) {
        let now = self.clock.now();
        let checked = Checked { name: name.into(), kind, verdict, took: now.since(self.begun) };
        (self.tell)(&checked);
        self.begun = now;
        self.report.checked.push(checked);
    }

    fn general(&mut self, name: &str, verdict: Verdict) {
        self.note(name, Kind::General, verdict);
    }
}

impl Suite {
    /// A suite.
    ///
    /// # Errors
    /// When this machine does not let the component host start.
    pub fn new(options: Options) -> Result<Self, PluginError> {
        Ok(Self { bench: Bench::new(options.cache.clone())?, options })
    }

    /// Checks the component in a file with these cases. `tell` is told of each check as it ends.
    ///
    /// # Errors
    /// When the file cannot be read or has no component that this engine can run, or this machine fails. What is wrong with
    /// what the component says and does is no error here.
    pub async fn check(
        &self,
        file: &Path,
        cases: &[CaseFile],
        tell: &mut (dyn FnMut(&Checked) + Send),
    ) -> Result<Report, PluginError> {
        let host = &self.bench.host;
        let file = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
        let reference = PluginReference::File(file.display().to_string());
        let binary = host.component(&reference, &self.bench.origin()).await?;
        let digest = Digest::of(&binary);
        let report = Report { plugin: None, digest, checked: Vec::new() };
        let clock = &*self.options.clock;
        let mut course = Course { clock, report, begun: clock.now(), tell };
        let described = match host.resolve(&reference, &self.bench.origin()).await {
            Ok(described) => described,
            Err(error @ PluginError::Local(_)) => return Err(error),
            Err(error) => {
                course.general("it describes itself", Verdict::of(vec![error.to_string()]));
                return Ok(course.report);
            }
        };
        course.report.plugin = Some((described.name.clone(), described.version.clone()));
        if self.options.has_general {
            self.check_description(&described, &binary, cases, &mut course).await?;
            self.check_behaviour(&described, cases, &mut course).await;
        }
        for file in cases {
            let verdict = self.check_case(digest, file).await;
            course.note(file.case.name.clone(), Kind::Own(file.path.display().to_string()), verdict);
        }
        Ok(course.report)
    }

    async fn check_description(
        &self,
        described: &PluginDescription,
        binary: &Bytes,
        cases: &[CaseFile],
        course: &mut Course<'_>,
    ) -> Result<(), PluginError> {
        let said = self.bench.host.said(binary).await?;
        course.general("it describes itself", description::is_well_formed(&said));
        let again = self.bench.host.said(binary).await?;
        course.general("it says the same of itself each time", description::is_repeatable(&said, &again));
        course.general("it claims of itself what it says", claims(binary, &said));
        course.general("its schemas are of draft 2020-12", description::has_valid_schemas(&said));
        let config = config_of(described, cases);
        let verdict = description::is_closed(&described.config_schema, config.as_ref());
        course.general("a key that it does not know is a mistake", verdict);
        let verdict = description::describes_its_rights(&said, &described.capabilities);
        course.general("it says what its rights are for", verdict);
        Ok(())
    }

    async fn check_behaviour(
        &self,
        described: &PluginDescription,
        cases: &[CaseFile],
        course: &mut Course<'_>,
    ) {
        let own = chosen(cases);
        let made = config_of(described, cases).map(Case::of_config);
        let (case, beside) = match (own, &made) {
            (Some(own), _) => (&own.case, folder_of(&own.path)),
            (None, Some(made)) => (made, Path::new(".")),
            (None, None) => {
                for name in BEHAVIOUR {
                    course.general(name, Verdict::Skipped(NO_CONFIG.to_owned()));
                }
                return;
            }
        };
        let subject = Subject { bench: &self.bench, component: described.digest, case, beside };
        let [runs, same, hostile, cancelled, over] = BEHAVIOUR;
        course.general(runs, subject.runs_without_wasi().await);
        course.general(same, subject.does_the_same_twice().await);
        let verdict = match sample::validator(&described.config_schema) {
            Some(schema) => subject.bears_hostile_config(&schema).await,
            None => Verdict::Skipped("its schema cannot be used".to_owned()),
        };
        course.general(hostile, verdict);
        course.general(cancelled, subject.ends_when_cancelled().await);
        course.general(over, subject.ends_when_time_is_over().await);
    }

    /// A case of the author: what comes of it is what he expects, and the same again.
    async fn check_case(&self, component: Digest, file: &CaseFile) -> Verdict {
        let beside = folder_of(&file.path);
        let run = || self.bench.run(component, &file.case, beside, Variation::default());
        let ended: Ended = match run().await {
            Ok(ended) => ended,
            Err(why) => return Verdict::of(vec![why]),
        };
        let mut differences = expectation::differences(&file.case, &ended, beside);
        if differences.is_empty() {
            match run().await {
                Ok(again) => differences.extend(between(&ended, &again)),
                Err(why) => differences.push(why),
            }
        }
        match Verdict::of(differences) {
            Verdict::Failed { differences, .. } => Verdict::Failed { differences, log: ended.last_lines() },
            other => other,
        }
    }
}

/// What holds for what every plugin does, in the order in which it is tried.
const BEHAVIOUR: [&str; 5] = [
    "it runs without rights of WASI, within its limits",
    "it does the same with the same input",
    "it bears hostile config",
    "it ends when it is cancelled",
    "it ends when its time is over",
];

/// The case that plugins are tried with: the first that is to succeed, else the first.
fn chosen(cases: &[CaseFile]) -> Option<&CaseFile> {
    let is_good = |file: &&CaseFile| file.case.expect.failure.is_none() && file.case.cancel_at_call.is_none();
    cases.iter().find(is_good).or(cases.first())
}

/// A config that the plugin takes: of a case, or made of its schema.
fn config_of(described: &PluginDescription, cases: &[CaseFile]) -> Option<Value> {
    match chosen(cases) {
        Some(file) => Some(file.case.config.clone()),
        None => sample::of_schema(&described.config_schema),
    }
}

fn folder_of(file: &Path) -> &Path {
    file.parent().unwrap_or(Path::new("."))
}

/// What stands in its section is what it says.
fn claims(binary: &[u8], said: &Said) -> Verdict {
    match yuanli_wasm::claim(binary) {
        Ok(None) => Verdict::Skipped("it claims nothing: `yuanli plugin pack` writes that in".to_owned()),
        Ok(Some(claimed)) if claimed == *said => Verdict::Passed,
        Ok(Some(_)) => Verdict::of(vec!["its section claims something else: pack it again".to_owned()]),
        Err(why) => Verdict::of(vec![why]),
    }
}
