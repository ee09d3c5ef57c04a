//! What is to come of a case.

use std::time::Duration;

use serde_json::Value;
use yuanli_model::run::StartingPoint;
use yuanli_model::{Outcome, StageName};

use super::Reader;
use crate::diagnostic::{Code, Span};
use crate::key;
use crate::node::{Entry, Kind};
use crate::value;

/// What is to come of a run. What is not named may be anything, but the outcome.
#[derive(Debug, Clone, PartialEq)]
pub struct Expectation {
    /// Whether there is to be a run at all.
    pub starts: bool,
    /// What the reason has in it why there is none.
    pub because: Option<String>,
    /// How it ends.
    pub outcome: Outcome,
    /// The outputs, all of them.
    pub outputs: Option<Value>,
    /// Why the first stage that failed did.
    pub failure: Option<ExpectedFailure>,
    /// How long it takes.
    pub took: Option<Duration>,
    /// The stages that run, all of them in the order in which they begin; those of an inner list in any order.
    pub ran: Option<Vec<Vec<StageName>>>,
    /// The stages that are skipped, all of them in any order.
    pub skipped: Option<Vec<StageName>>,
    /// What is expected of stages and instances.
    pub stages: Vec<(StartingPoint, ExpectedStage)>,
}

/// What is expected of a stage, or of an instance of it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ExpectedStage {
    /// How it ends, as expressions call it.
    pub result: Option<&'static str>,
    /// What the reason has in it why it is skipped.
    pub because: Option<String>,
    /// Parts that its config has, or its inputs where it runs a workflow.
    pub with: Option<Value>,
    /// Its outputs, all of them.
    pub outputs: Option<Value>,
    /// Why it fails.
    pub failure: Option<ExpectedFailure>,
    /// How many attempts it takes, of the instance that takes most.
    pub attempts: Option<u32>,
    /// How many instances it has.
    pub instances: Option<u32>,
    /// When it begins, after the start of the run.
    pub began: Option<Duration>,
    /// How long it takes, waits between attempts counted.
    pub took: Option<Duration>,
    /// What the question of its approval has in it.
    pub asked: Option<String>,
}

/// A failure, as far as it matters.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ExpectedFailure {
    /// Its class.
    pub class: Option<String>,
    /// Its kind.
    pub kind: Option<String>,
    /// What its message has in it.
    pub message: Option<String>,
}

impl Default for Expectation {
    fn default() -> Self {
        Self {
            starts: true,
            because: None,
            outcome: Outcome::Succeeded,
            outputs: None,
            failure: None,
            took: None,
            ran: None,
            skipped: None,
            stages: Vec::new(),
        }
    }
}

const OUTCOMES: [(&str, Outcome); 3] =
    [("succeeded", Outcome::Succeeded), ("failed", Outcome::Failed), ("cancelled", Outcome::Cancelled)];
const RESULTS: [(&str, &str); 5] = [
    ("succeeded", "succeeded"),
    ("failed", "failed"),
    ("allowed", "allowed"),
    ("skipped", "skipped"),
    ("cancelled", "cancelled"),
];

impl Reader<'_, '_, '_> {
    pub(super) fn expectation(&mut self, entry: &Entry) -> Expectation {
        let default = Expectation::default();
        let entries = key::entries_of(&entry.value, entry.value_span(), "`expect`", self.diagnostics);
        let Some(entries) = entries else { return default };
        key::check(entries, &key::EXPECT, self.diagnostics);
        let find = |key| key::given(entries, key);
        let starts =
            find("starts").and_then(|entry| key::boolean_of(entry, self.diagnostics)).unwrap_or(true);
        let because = find("because");
        if let Some(because) = because.filter(|_| starts) {
            let message = "`because` says why no run starts: it goes with `starts: false`";
            self.diagnostics.error(Code::Contradiction, because.key_span, message);
        }
        const OF_RUNS: [&str; 7] = ["outcome", "outputs", "failure", "took", "ran", "skipped", "stages"];
        if let Some(other) = OF_RUNS.iter().find_map(|name| find(name)).filter(|_| !starts) {
            let message = format!("no run is to start, and `{}` is about one", other.key);
            self.diagnostics.error(Code::Contradiction, other.key_span, message);
        }
        let outcome = find("outcome").and_then(|entry| key::word_of(entry, &OUTCOMES, self.diagnostics));
        Expectation {
            starts,
            because: because.and_then(|entry| key::text_of(entry, self.diagnostics)).map(str::to_owned),
            outcome: outcome.unwrap_or(default.outcome),
            outputs: find("outputs").map(|entry| Value::Object(self.map(entry))),
            failure: find("failure").and_then(|entry| self.expected_failure(entry)),
            took: find("took").and_then(|entry| self.time(entry)),
            ran: find("ran").map(|entry| self.ran(entry)),
            skipped: find("skipped").map(|entry| self.stages_of(entry)),
            stages: find("stages").map(|entry| self.expected_stages(entry)).unwrap_or_default(),
        }
    }

    /// Names in a row; a list among them for those that come in any order.
    fn ran(&mut self, entry: &Entry) -> Vec<Vec<StageName>> {
        let Kind::List(items) = &entry.value.kind else {
            return self.stages_of(entry).into_iter().map(|name| vec![name]).collect();
        };
        let mut ran = Vec::with_capacity(items.len());
        for item in items {
            let names = match &item.kind {
                Kind::List(names) => names.iter().map(|name| (name, name.place())).collect(),
                _ => vec![(item, item.place())],
            };
            let names = names.into_iter().filter_map(|(node, span)| match &node.kind {
                Kind::Text(text) => self.stage(text, span).map(|stage| stage.name.clone()),
                _ => {
                    let message = format!("`ran` has names of stages, not {}", node.what());
                    self.diagnostics.error(Code::WrongKind, span, message);
                    None
                }
            });
            ran.push(names.collect());
        }
        ran
    }

    fn stages_of(&mut self, entry: &Entry) -> Vec<StageName> {
        let names = key::texts_of(entry, "the name of a stage", self.diagnostics);
        names
            .into_iter()
            .filter_map(|(name, span)| self.stage(name, span).map(|stage| stage.name.clone()))
            .collect()
    }

    fn expected_stages(&mut self, entry: &Entry) -> Vec<(StartingPoint, ExpectedStage)> {
        let entries = key::entries_of(&entry.value, entry.value_span(), "`stages`", self.diagnostics);
        let mut expected = Vec::new();
        for entry in entries.unwrap_or_default() {
            let Some(point) = self.point(&entry.key, entry.key_span) else { continue };
            let read = match &entry.value.kind {
                Kind::Text(_) => key::word_of(entry, &RESULTS, self.diagnostics)
                    .map(|result| ExpectedStage { result: Some(result), ..ExpectedStage::default() }),
                _ => self.expected_stage(entry),
            };
            if let Some(read) = read {
                expected.push((point, read));
            }
        }
        expected
    }

    /// `STAGE`, `STAGE[NUMBER]`.
    fn point(&mut self, text: &str, span: Span) -> Option<StartingPoint> {
        let (name, is_instance) = text.split_once('[').map_or((text, false), |(name, _)| (name, true));
        let has_instances = self.stage(name, span)?.fan_out.is_some();
        match text.parse::<StartingPoint>() {
            Ok(_) if is_instance && !has_instances => {
                let message = format!("stage `{name}` has one instance: no `for_each`, no `matrix`");
                self.diagnostics.error(Code::NotInWorkflow, span, message);
                None
            }
            Ok(point) => Some(point),
            Err(error) => {
                self.diagnostics.error(Code::InvalidName, span, error.to_string());
                None
            }
        }
    }

    fn expected_stage(&mut self, entry: &Entry) -> Option<ExpectedStage> {
        let what = "what is expected of a stage";
        let entries = key::entries_of(&entry.value, entry.value_span(), what, self.diagnostics)?;
        key::check(entries, &key::EXPECTED_STAGE, self.diagnostics);
        let find = |key| key::given(entries, key);
        let mut text = |key| {
            key::given(entries, key)
                .and_then(|entry| key::text_of(entry, self.diagnostics))
                .map(str::to_owned)
        };
        let (because, asked) = (text("because"), text("asked"));
        let mut number =
            |key| find(key).and_then(|entry| key::number_of(entry, 0..=u32::MAX, self.diagnostics));
        let (attempts, instances) = (number("attempts"), number("instances"));
        Some(ExpectedStage {
            result: find("result").and_then(|entry| key::word_of(entry, &RESULTS, self.diagnostics)),
            because,
            with: find("with").map(|entry| Value::Object(self.map(entry))),
            outputs: find("outputs").map(|entry| value::plain(&entry.value)),
            failure: find("failure").and_then(|entry| self.expected_failure(entry)),
            attempts,
            instances,
            began: find("began").and_then(|entry| self.time(entry)),
            took: find("took").and_then(|entry| self.time(entry)),
            asked,
        })
    }

    fn expected_failure(&mut self, entry: &Entry) -> Option<ExpectedFailure> {
        let entries = key::entries_of(&entry.value, entry.value_span(), "`failure`", self.diagnostics)?;
        key::check(entries, &key::EXPECTED_FAILURE, self.diagnostics);
        let mut text = |key| {
            key::given(entries, key)
                .and_then(|entry| key::text_of(entry, self.diagnostics))
                .map(str::to_owned)
        };
        Some(ExpectedFailure { class: text("class"), kind: text("kind"), message: text("message") })
    }
}
