//! Tests of workflows, `NAME.test.yaml` beside `NAME.yaml`: finding and reading them, and trying their cases.
//!
//! `lang` reads a document, `yuanli_testing` tries a case; in between it is decided here what a trigger of a case starts, by
//! what decides it in an engine that stays.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use indexmap::IndexMap;
use serde_json::{Map, Value, json};
use yuanli_api_types as api;
use yuanli_calendar::Calendar;
use yuanli_lang::{Case, Diagnostic, Start, Suite, Tested};
use yuanli_model::input::InvalidInput;
use yuanli_model::run::Cause;
use yuanli_model::trigger::{Happened, MetricTrigger, ScheduleTrigger};
use yuanli_model::{Digest, InputName, PluginDescription, Timestamp, Workflow};
use yuanli_ports::Clock as _;
use yuanli_testing::{Subject, Tried, not_started, try_out};
use yuanli_triggers::Facts;

use crate::body::rfc3339;
use crate::clock::SystemClock;
use crate::document::{self, Document, Unread};
use crate::file::{ENDINGS, File, is_of_tests};
use crate::library::Library;
use crate::refusal::Refusal;
use crate::service::inputs_from;
use crate::webhooks;

/// A document of tests, read.
pub struct Tests {
    file: String,
    /// The workflow's file.
    workflow: PathBuf,
    state: State,
}

enum State {
    /// It can be tried.
    Ready { suite: Suite, subject: Box<Subject> },
    /// It has errors.
    Invalid { text: String, diagnostics: Vec<Diagnostic> },
    /// The workflow has.
    NoWorkflow(Box<Document>),
}

/// The documents of tests that a path means: it itself, that of a workflow, or all in a folder and below.
///
/// # Errors
/// What cannot be read, or that there is none, for whoever named it.
pub async fn tests_at(path: &str) -> Result<Vec<String>, Unread> {
    if Path::new(path).is_dir() {
        let found = crate::check::documents_in(path).await?;
        return Ok(found.into_iter().filter(|file| is_of_tests(Path::new(file))).collect());
    }
    if is_of_tests(Path::new(path)) {
        return Ok(vec![path.to_owned()]);
    }
    let beside = ENDINGS.map(|ending| Path::new(path).with_extension(format!("test.{ending}")));
    match beside.iter().find(|file| file.exists()) {
        Some(file) => Ok(vec![file.display().to_string()]),
        None => {
            Err(Unread::File(format!("there are no tests of `{path}`: no file `{}`", beside[0].display())))
        }
    }
}

/// The file of the workflow that a document of tests is about.
fn workflow_of(file: &Path, text: &str) -> PathBuf {
    let folder = file.parent().unwrap_or(Path::new(""));
    if let Some(named) = yuanli_lang::tested_file(text) {
        return folder.join(named);
    }
    // `shop.test` of `shop.test.yaml`.
    let stem = file.with_extension("");
    let candidates = ENDINGS.map(|ending| stem.with_extension(ending));
    candidates.iter().find(|candidate| candidate.exists()).unwrap_or(&candidates[0]).clone()
}

impl Library {
    /// Reads a document of tests, and the workflow that it is about.
    ///
    /// # Errors
    /// When one of the two cannot be read, or this machine fails; what is wrong *in* them is no error here.
    pub async fn read_tests(&self, file: &str) -> Result<Tests, Unread> {
        let File { name, text, .. } = File::read(file).await?;
        let path = workflow_of(Path::new(&name), &text);
        let document = self.read(&path.display().to_string()).await.map_err(|unread| match unread {
            Unread::File(why) => Unread::File(format!("the workflow that `{name}` tests: {why}")),
            other => other,
        })?;
        let state = match self.compile_tests(&text, document).await.map_err(Unread::Machine)? {
            Ok((suite, subject)) => State::Ready { suite, subject: Box::new(subject) },
            Err(Unfit::Tests(diagnostics)) => State::Invalid { text, diagnostics },
            Err(Unfit::Workflow(document)) => State::NoWorkflow(document),
        };
        Ok(Tests { file: name, workflow: path, state })
    }

    /// What is wrong with a document of tests.
    pub(crate) async fn check_tests(&self, name: &str, text: &str) -> Result<Vec<Diagnostic>, Unread> {
        let path = workflow_of(Path::new(name), text);
        let document = self.read(&path.display().to_string()).await?;
        match self.compile_tests(text, document).await.map_err(Unread::Machine)? {
            Ok(_) => Ok(Vec::new()),
            Err(Unfit::Tests(diagnostics)) => Ok(diagnostics),
            Err(Unfit::Workflow(document)) => {
                let why = format!("the workflow `{}` has errors", document.name());
                Err(Unread::File(format!("`{name}` cannot be checked: {why}")))
            }
        }
    }

    async fn compile_tests(
        &self,
        text: &str,
        document: Document,
    ) -> anyhow::Result<Result<(Suite, Subject), Unfit>> {
        let Some(workflow) = document.workflow() else { return Ok(Err(Unfit::Workflow(Box::new(document)))) };
        let workflows = document.workflows();
        let other = |name: &yuanli_model::WorkflowName| {
            let found = workflows.iter().find(|(uses, _)| uses.name == *name);
            found.map(|(_, definition)| Arc::clone(&definition.workflow))
        };
        let plugin = |uses: &yuanli_model::PluginReference| document.plugin(uses);
        let (suite, diagnostics) =
            yuanli_lang::compile_suite(text, Tested { workflow, plugin: &plugin, other: &other });
        let Some(suite) = suite else { return Ok(Err(Unfit::Tests(diagnostics))) };
        let mut descriptions: HashMap<Digest, Arc<PluginDescription>> = HashMap::new();
        for component in document.components() {
            descriptions.insert(component, self.plugins.description(&component).await?);
        }
        let Some(definition) = document.into_definition() else {
            anyhow::bail!("a workflow that was compiled is none");
        };
        let subject = Subject {
            definition,
            workflows: Arc::new(workflows),
            descriptions: Arc::new(descriptions),
            plugins: self.plugins.clone(),
            runtime: tokio::runtime::Handle::current(),
        };
        Ok(Ok((suite, subject)))
    }
}

/// Why there is nothing to try.
enum Unfit {
    Workflow(Box<Document>),
    Tests(Vec<Diagnostic>),
}

impl Tests {
    /// The name of its file.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Its file, and that of the workflow.
    #[must_use]
    pub fn files(&self) -> [PathBuf; 2] {
        [PathBuf::from(&self.file), self.workflow.clone()]
    }

    /// How many cases it has that have this in their name; none when it has errors.
    #[must_use]
    pub fn count(&self, filter: Option<&str>) -> usize {
        self.cases(filter).count()
    }

    fn cases(&self, filter: Option<&str>) -> impl Iterator<Item = (&Case, &Subject)> {
        let ready = match &self.state {
            State::Ready { suite, subject } => Some((suite, &**subject)),
            State::Invalid { .. } | State::NoWorkflow(_) => None,
        };
        let cases = ready
            .into_iter()
            .flat_map(|(suite, subject)| suite.cases.iter().map(move |case| (case, subject)));
        cases.filter(move |(case, _)| filter.is_none_or(|filter| case.name.contains(filter)))
    }

    /// What is wrong with it or with its workflow, for a person, with excerpts; empty when it can be tried.
    #[must_use]
    pub fn render(&self, has_color: bool, width: usize) -> String {
        match &self.state {
            State::Ready { .. } => String::new(),
            State::Invalid { text, diagnostics } => {
                document::render(&self.file, text, diagnostics, has_color, width)
            }
            State::NoWorkflow(document) => document.render(has_color, width),
        }
    }

    /// Tries its cases, one after the other; `tell` is told of each as it ends.
    ///
    /// # Errors
    /// When this machine fails.
    pub async fn run(
        &self,
        filter: Option<&str>,
        tell: &mut (dyn FnMut(&api::TestCase) + Send),
    ) -> anyhow::Result<api::WorkflowTests> {
        let mut tests = api::WorkflowTests {
            file: self.file.clone(),
            workflow: self.workflow.display().to_string(),
            valid: matches!(self.state, State::Ready { .. }),
            diagnostics: match &self.state {
                State::Invalid { text, diagnostics } => document::diagnostics(text, diagnostics),
                State::Ready { .. } | State::NoWorkflow(_) => Vec::new(),
            },
            cases: Vec::new(),
        };
        for (case, subject) in self.cases(filter) {
            let tried = self.try_case(case, subject).await?;
            tell(&tried);
            tests.cases.push(tried);
        }
        Ok(tests)
    }

    async fn try_case(&self, case: &Case, subject: &Subject) -> anyhow::Result<api::TestCase> {
        let clock = SystemClock::default();
        let begun = clock.now();
        let tried = match begin(&subject.definition.workflow, case) {
            Ok((inputs, cause)) => {
                let (subject, case) = (subject.clone(), case.clone());
                // It has a runtime of its own, which takes a thread while it lasts.
                tokio::task::spawn_blocking(move || try_out(&subject, &case, inputs, cause)).await??
            }
            Err(why) => Tried {
                differences: not_started(&case.expect, &why),
                log: Vec::new(),
                took: std::time::Duration::ZERO,
            },
        };
        let millis = |duration: std::time::Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let Tried { differences, log, took } = tried;
        let has_passed = differences.is_empty();
        Ok(api::TestCase {
            name: case.name.clone(),
            file: Some(format!("{}:{}", self.file, case.line)),
            outcome: if has_passed { api::TestOutcome::Passed } else { api::TestOutcome::Failed },
            duration_ms: millis(clock.now().since(begun)),
            run_ms: Some(millis(took)),
            differences,
            log: if has_passed { Vec::new() } else { log },
            reason: None,
        })
    }
}

/// The inputs of the run that a case starts, and what for; or why none starts.
fn begin(workflow: &Workflow, case: &Case) -> Result<(IndexMap<InputName, Value>, Cause), String> {
    let (given, cause) = match &case.start {
        Start::Inputs(given) => (given.clone(), Cause::Command),
        Start::Webhook { headers, body } => (by_webhook(workflow, headers, body)?, Cause::Webhook),
        Start::Schedule { due } => (by_schedule(workflow, *due)?, Cause::Schedule { due: *due }),
        Start::Metric { value, query } => (by_metric(workflow, *value, query.as_deref())?, Cause::Metric),
        Start::Event { happened, outputs } => (by_event(workflow, happened, outputs)?, Cause::Event),
    };
    let given = given.into_iter().collect();
    let inputs = workflow.bind(given).map_err(|wrong| InvalidInput::in_words(&wrong))?;
    Ok((inputs, cause))
}

fn by_webhook(
    workflow: &Workflow,
    headers: &[(String, String)],
    body: &Value,
) -> Result<Map<String, Value>, String> {
    let webhook = workflow.triggers().webhook.as_ref().ok_or("it has no webhook")?;
    let header = |name: &'static str| {
        headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    };
    let facts = Facts::of(webhook.provider, header, body);
    webhooks::decide(webhook, &facts, Ok(body.clone())).map_err(Refusal::in_words)?
}

fn by_schedule(workflow: &Workflow, due: Timestamp) -> Result<Map<String, Value>, String> {
    let before = Timestamp::from_millis(due.as_millis().saturating_sub(1));
    let next = |trigger: &ScheduleTrigger| Calendar::parse(&trigger.schedule).ok()?.next_after(before);
    let is_within = |trigger: &&ScheduleTrigger| {
        trigger.policy.from.is_none_or(|from| due >= from)
            && trigger.policy.until.is_none_or(|until| due <= until)
    };
    let schedules = || workflow.triggers().schedules.iter().filter(is_within);
    match schedules().find(|trigger| next(trigger) == Some(due)) {
        Some(trigger) => inputs(trigger.inputs.as_ref(), json!({ "due": rfc3339(due) })),
        None => Err(match schedules().filter_map(next).min() {
            Some(next) => {
                format!("no schedule is due at {}, the next one is at {}", rfc3339(due), rfc3339(next))
            }
            None => format!("no schedule is due at {}", rfc3339(due)),
        }),
    }
}

fn by_metric(workflow: &Workflow, value: f64, query: Option<&str>) -> Result<Map<String, Value>, String> {
    let is_meant = |rule: &&MetricTrigger| query.is_none_or(|query| rule.query == query);
    let rule = workflow.triggers().metrics.iter().find(is_meant);
    let rule = rule.ok_or_else(|| format!("no rule is about `{}`", query.unwrap_or_default()))?;
    let has_crossed = match rule.threshold {
        yuanli_model::trigger::Threshold::Above(limit) => value > limit,
        yuanli_model::trigger::Threshold::Below(limit) => value < limit,
    };
    if !has_crossed {
        return Err(format!("{value} is not {}", rule.threshold));
    }
    inputs(rule.inputs.as_ref(), json!({ "value": value }))
}

fn by_event(
    workflow: &Workflow,
    happened: &Happened,
    outputs: &Map<String, Value>,
) -> Result<Map<String, Value>, String> {
    let trigger = workflow.triggers().events.iter().find(|trigger| trigger.event.fits(happened));
    let trigger = trigger.ok_or_else(|| {
        let events = workflow.triggers().events.iter();
        let awaited: Vec<String> = events.map(|trigger| trigger.event.to_string()).collect();
        format!("it waits for something else: {}", awaited.join(", "))
    })?;
    inputs(trigger.inputs.as_ref(), crate::events::body_of(happened, Some(Value::Object(outputs.clone()))))
}

fn inputs(template: Option<&yuanli_model::Template>, body: Value) -> Result<Map<String, Value>, String> {
    inputs_from(template, body).map_err(Refusal::in_words)
}
