//! Documents of tests, `NAME.test.yaml`: what a workflow is given, what its stages do without doing anything, and what is to
//! come of it.
//!
//! The grammar is in here (`fake.rs`: what stages do, `start.rs`: what starts a run, `expectation.rs`: what is to come of
//! it); what a document names is compared with the workflow that it is about while it is read.

mod expectation;
mod fake;
mod start;

use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexMap;
use serde_json::{Map, Value};
use yuanli_calendar::moment;
use yuanli_expr::nearest;
use yuanli_model::{PluginDescription, PluginReference, Stage, StageName, Timestamp, Workflow, WorkflowName};

use crate::compile::MAX_TEXT;
use crate::diagnostic::{Code, Diagnostic, Diagnostics, Span};
use crate::duration;
use crate::key;
use crate::node::{Entry, Kind, Node};
use crate::{value, yaml};

pub use expectation::{Expectation, ExpectedFailure, ExpectedStage};
pub use fake::{Act, Ending, Fake, StageKey};
pub use start::Start;

/// What a test says when nothing else is said: the first second of 2026.
const BEGINNING: Timestamp = Timestamp::from_millis(1_767_225_600_000);

/// A document of tests.
#[derive(Debug, Clone, PartialEq)]
pub struct Suite {
    /// The cases, in order; never empty.
    pub cases: Vec<Case>,
}

/// One test: a run that is made, and what is to come of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    /// What it shows, as a statement; unique in its document.
    pub name: String,
    /// The line that it begins in, from 1.
    pub line: usize,
    /// What the clock shows at the start.
    pub now: Timestamp,
    /// What starts the run.
    pub start: Start,
    /// What the stages do.
    pub fakes: IndexMap<StageKey, Fake>,
    /// What people answer, in the order of the document.
    pub answers: Vec<GivenAnswer>,
    /// When somebody cancels the run, after its start.
    pub cancel: Option<Duration>,
    /// What is to come of it.
    pub expect: Expectation,
}

/// What a person answers to an approval.
#[derive(Debug, Clone, PartialEq)]
pub struct GivenAnswer {
    /// To which stage.
    pub stage: StageKey,
    /// How long after it was asked.
    pub after: Duration,
    /// Who.
    pub by: String,
    /// Whether they agree.
    pub is_approved: bool,
    /// Why, in their words.
    pub comment: Option<String>,
    /// What the approval asks for.
    pub inputs: Map<String, Value>,
}

/// The workflow that a document of tests is about, and what it runs.
#[derive(Clone, Copy)]
pub struct Tested<'a> {
    /// The workflow.
    pub workflow: &'a Workflow,
    /// The plugin of a reference, when it is known.
    pub plugin: &'a dyn Fn(&PluginReference) -> Option<Arc<PluginDescription>>,
    /// A workflow that its stages run, by name.
    pub other: &'a dyn Fn(&WorkflowName) -> Option<Arc<Workflow>>,
}

/// The file that a document of tests names under `workflow`, relative to its own folder.
#[must_use]
pub fn tested_file(text: &str) -> Option<String> {
    let root = if text.len() > MAX_TEXT { None } else { yaml::parse(&mut Diagnostics::new(text)) };
    let Some(Kind::Map(entries)) = root.map(|root| root.kind) else { return None };
    match &key::given(&entries, "workflow")?.value.kind {
        Kind::Text(text) => Some(text.clone()),
        _ => None,
    }
}

/// Compiles a document of tests: its cases, when there is no error, and all that was found, in the order of the text.
#[must_use]
pub fn compile_suite(text: &str, tested: Tested<'_>) -> (Option<Suite>, Vec<Diagnostic>) {
    let mut diagnostics = Diagnostics::new(text);
    let suite = yaml::parse_bounded(&mut diagnostics).and_then(|root| {
        let mut reader = Reader { tested, diagnostics: &mut diagnostics };
        reader.suite(&root)
    });
    let suite = suite.filter(|_| !diagnostics.has_errors());
    (suite, diagnostics.finish())
}

/// Reads a document about a workflow.
struct Reader<'a, 'd, 't> {
    tested: Tested<'a>,
    diagnostics: &'d mut Diagnostics<'t>,
}

impl<'a> Reader<'a, '_, '_> {
    fn suite(&mut self, root: &Node) -> Option<Suite> {
        if matches!(root.kind, Kind::Null) {
            self.diagnostics.error_with(Code::WrongKind, root.span, "the document is empty", || {
                Some("tests have at least `cases:` with a `name:` each".to_owned())
            });
            return None;
        }
        let entries = key::entries_of(root, root.span, "a document of tests", self.diagnostics)?;
        key::check(entries, &key::SUITE, self.diagnostics);
        if let Some(entry) = key::given(entries, "workflow") {
            key::text_of(entry, self.diagnostics);
        }
        let top = entries.first().map_or(root.span, |entry| entry.key_span);
        let Some(cases) = key::given(entries, "cases") else {
            self.diagnostics.error_with(Code::MissingKey, top, "the document has no cases", || {
                Some("add `cases:` with a list of cases, each with a `name:`".to_owned())
            });
            return None;
        };
        let Kind::List(items) = &cases.value.kind else {
            let message = format!("`cases` must be a list, not {}", cases.value.what());
            self.diagnostics.error(Code::WrongKind, cases.value_span(), message);
            return None;
        };
        let mut read: Vec<Case> = Vec::with_capacity(items.len());
        for item in items {
            let Some(case) = self.case(item) else { continue };
            if read.iter().any(|other| other.name == case.name) {
                let message = format!("two cases are named `{}`", case.name);
                self.diagnostics.error(Code::Contradiction, item.place(), message);
            }
            read.push(case);
        }
        if items.is_empty() {
            self.diagnostics.error(Code::MissingKey, cases.key_span, "there is no case");
        }
        Some(Suite { cases: read })
    }

    fn case(&mut self, item: &Node) -> Option<Case> {
        let entries = key::entries_of(item, item.place(), "a case", self.diagnostics)?;
        key::check(entries, &key::CASE, self.diagnostics);
        let find = |key| key::given(entries, key);
        let name = find("name").and_then(|entry| key::text_of(entry, self.diagnostics)).map(str::trim);
        if name.is_none_or(str::is_empty) {
            let place = find("name").map_or(item.place(), |entry| entry.key_span);
            self.diagnostics.error_with(Code::MissingKey, place, "the case has no name", || {
                Some("add `name:` and say in a sentence what it shows".to_owned())
            });
        }
        let now = find("now").and_then(|entry| self.moment(entry));
        let start = self.start(find("inputs"), find("trigger"));
        let due = match &start {
            Some(Start::Schedule { due }) => Some(*due),
            _ => None,
        };
        let fakes = find("stages").map(|entry| self.fakes(entry)).unwrap_or_default();
        let answers = find("approvals").map(|entry| self.answers(entry)).unwrap_or_default();
        let cancel = find("cancel").and_then(|entry| self.time(entry));
        let expect = find("expect").map(|entry| self.expectation(entry)).unwrap_or_default();
        Some(Case {
            name: name?.to_owned(),
            line: self.diagnostics.line(item.place()),
            now: now.or(due).unwrap_or(BEGINNING),
            start: start?,
            fakes,
            answers,
            cancel,
            expect,
        })
    }

    fn answers(&mut self, entry: &Entry) -> Vec<GivenAnswer> {
        let stages = key::entries_of(&entry.value, entry.value_span(), "`approvals`", self.diagnostics);
        let mut answers = Vec::new();
        for entry in stages.unwrap_or_default() {
            let Some((name, stage)) = self.named(entry) else { continue };
            if stage.approval.is_none() {
                let message = format!("stage `{name}` asks for no approval");
                self.diagnostics.error(Code::NotInWorkflow, entry.key_span, message);
                continue;
            }
            match &entry.value.kind {
                Kind::List(items) => {
                    answers.extend(items.iter().filter_map(|item| self.answer(&name, item, item.place())));
                }
                _ => answers.extend(self.answer(&name, &entry.value, entry.value_span())),
            }
        }
        answers
    }

    fn answer(&mut self, stage: &StageKey, node: &Node, span: Span) -> Option<GivenAnswer> {
        const WORDS: [(&str, bool); 2] = [("approve", true), ("reject", false)];
        let entries = key::entries_of(node, span, "an answer", self.diagnostics)?;
        key::check(entries, &key::ANSWER, self.diagnostics);
        let Some(given) = key::given(entries, "answer") else {
            self.diagnostics.error_with(Code::MissingKey, span, "the answer is not given", || {
                Some("add `answer: approve` or `answer: reject`".to_owned())
            });
            return None;
        };
        let is_approved = key::word_of(given, &WORDS, self.diagnostics)?;
        let mut text = |key| {
            key::given(entries, key)
                .and_then(|entry| key::text_of(entry, self.diagnostics))
                .map(str::to_owned)
        };
        let (by, comment) = (text("by"), text("comment"));
        let inputs = key::given(entries, "inputs").map(|entry| self.map(entry)).unwrap_or_default();
        let after = key::given(entries, "after").and_then(|entry| self.time(entry)).unwrap_or_default();
        let by = by.unwrap_or_else(|| "tester".to_owned());
        Some(GivenAnswer { stage: stage.clone(), after, by, is_approved, comment, inputs })
    }

    /// A map whose values are taken as they stand.
    fn map(&mut self, entry: &Entry) -> Map<String, Value> {
        let what = format!("`{}`", entry.key);
        key::entries_of(&entry.value, entry.value_span(), &what, self.diagnostics);
        match value::plain(&entry.value) {
            Value::Object(map) => map,
            _ => Map::new(),
        }
    }

    /// A duration, or no time at all.
    fn time(&mut self, entry: &Entry) -> Option<Duration> {
        match &entry.value.kind {
            Kind::Text(text) if matches!(text.as_str(), "0s" | "0ms") => Some(Duration::ZERO),
            _ => key::duration_of(entry, self.diagnostics),
        }
    }

    fn moment(&mut self, entry: &Entry) -> Option<Timestamp> {
        let text = key::text_of(entry, self.diagnostics)?;
        let found = moment(text, "UTC");
        if found.is_none() {
            let message = format!("`{text}` is no time");
            self.diagnostics.error_with(Code::InvalidSchedule, entry.value_span(), message, || {
                Some("write it as `2026-12-01T03:00:00Z`, or with another offset".to_owned())
            });
        }
        found
    }

    /// The stage of the workflow with that name; one that is not there is reported.
    fn stage(&mut self, name: &str, span: Span) -> Option<&'a Stage> {
        let workflow = self.tested.workflow;
        self.stage_of(workflow, name, span)
    }

    fn stage_of<'w>(&mut self, workflow: &'w Workflow, name: &str, span: Span) -> Option<&'w Stage> {
        let found = name.parse::<StageName>().ok().and_then(|name| workflow.stage(&name));
        if found.is_none() {
            let message = format!("workflow `{}` has no stage `{name}`", workflow.name());
            self.diagnostics.error_with(Code::NotInWorkflow, span, message, || {
                let names = workflow.stages().iter().map(|stage| stage.name.as_str());
                Some(match nearest(name, names.clone()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("it has {}", key::listed(names)),
                })
            });
        }
        found
    }
}

/// A duration as documents have it, for a person.
#[must_use]
pub fn written_duration(duration: Duration) -> String {
    if duration.as_millis() == 0 { "0s".to_owned() } else { duration::written(duration) }
}
