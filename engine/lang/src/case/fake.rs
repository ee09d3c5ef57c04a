//! What stages do in a test, instead of what their plugins would: by stage, instance and attempt.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use indexmap::IndexMap;
use serde_json::{Map, Value, json};
use yuanli_expr::nearest;
use yuanli_model::stage::EXIT_CODE_DETAIL;
use yuanli_model::{Failure, FailureClass, Stage, StageName, Work, WorkflowName};

use super::Reader;
use crate::diagnostic::{Code, Span};
use crate::key;
use crate::node::{Entry, Kind, Node};
use crate::{schema, value};

/// Most items of lists and instances that a fake names.
const MAX_NUMBER: u32 = 100_000;
/// Exit codes above are those of programs that a signal has ended, as shells say it.
const SIGNAL_BASE: u32 = 128;

/// A stage of the workflow that is tested, or of one that this runs.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct StageKey {
    /// The other workflow.
    pub workflow: Option<WorkflowName>,
    /// The stage.
    pub stage: StageName,
}

/// What the attempts of a stage do.
#[derive(Debug, Clone, PartialEq)]
pub struct Fake {
    /// By attempt; the last one also stands for all that come after it. Never empty.
    pub attempts: Vec<Act>,
    /// The same for instances that do something else.
    pub instances: BTreeMap<u32, Vec<Act>>,
}

/// What an attempt does.
#[derive(Debug, Clone, PartialEq)]
pub struct Act {
    /// How long that takes.
    pub takes: Duration,
    /// The lines that it writes.
    pub log: Vec<String>,
    /// The artifacts that it puts: name and text.
    pub artifacts: Vec<(String, String)>,
    /// How it ends.
    pub end: Ending,
}

/// How an attempt ends.
#[derive(Debug, Clone, PartialEq)]
pub enum Ending {
    /// With these outputs.
    Outputs(Map<String, Value>),
    /// It fails.
    Failure(Failure),
}

impl fmt::Display for StageKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(workflow) = &self.workflow {
            write!(f, "{workflow}/")?;
        }
        self.stage.fmt(f)
    }
}

impl Fake {
    /// What an attempt of an instance does; attempts count from 1.
    #[must_use]
    pub fn act(&self, instance: u32, attempt: u32) -> Option<&Act> {
        let acts = self.instances.get(&instance).unwrap_or(&self.attempts);
        let index = usize::try_from(attempt.saturating_sub(1)).unwrap_or(usize::MAX);
        acts.get(index).or(acts.last())
    }
}

impl Reader<'_, '_, '_> {
    pub(super) fn fakes(&mut self, entry: &Entry) -> IndexMap<StageKey, Fake> {
        let entries = key::entries_of(&entry.value, entry.value_span(), "`stages`", self.diagnostics);
        let mut fakes = IndexMap::new();
        for entry in entries.unwrap_or_default() {
            let Some((key, stage)) = self.named(entry) else { continue };
            if !matches!(stage.work, Work::Plugin { .. }) {
                let message = match &stage.work {
                    Work::Workflow { uses, .. } => {
                        format!(
                            "stage `{key}` runs `{uses}`: what the stages of that do is said here, as `{}/STAGE`",
                            uses.name
                        )
                    }
                    _ => format!("stage `{key}` runs nothing: it waits for its approval, see `approvals`"),
                };
                self.diagnostics.error(Code::NotInWorkflow, entry.key_span, message);
                continue;
            }
            if let Some(fake) = self.fake(entry, &stage) {
                fakes.insert(key, fake);
            }
        }
        fakes
    }

    /// The stage that a key names: `STAGE`, `WORKFLOW/STAGE`.
    pub(super) fn named(&mut self, entry: &Entry) -> Option<(StageKey, Stage)> {
        let Some((workflow, name)) = entry.key.split_once('/') else {
            let stage = self.stage(&entry.key, entry.key_span)?.clone();
            return Some((StageKey { workflow: None, stage: stage.name.clone() }, stage));
        };
        let other = workflow.parse::<WorkflowName>().ok().and_then(|name| (self.tested.other)(&name));
        let Some(other) = other else {
            let message = format!("no stage runs a workflow `{workflow}`");
            self.diagnostics.error(Code::NotInWorkflow, entry.key_span, message);
            return None;
        };
        let stage = self.stage_of(&other, name, entry.key_span)?.clone();
        Some((StageKey { workflow: Some(other.name().clone()), stage: stage.name.clone() }, stage))
    }

    fn fake(&mut self, entry: &Entry, stage: &Stage) -> Option<Fake> {
        let (node, span) = (&entry.value, entry.value_span());
        if matches!(node.kind, Kind::Null) {
            return Some(Fake { attempts: vec![Act::of(Map::new())], instances: BTreeMap::new() });
        }
        let entries = key::entries_of(node, span, "what a stage does", self.diagnostics)?;
        let mut instances = BTreeMap::new();
        if let Some(given) = key::given(entries, "instances") {
            if stage.fan_out.is_none() {
                let message = format!("stage `{}` has one instance: no `for_each`, no `matrix`", stage.name);
                self.diagnostics.error(Code::NotInWorkflow, given.key_span, message);
            }
            let what = "`instances`";
            let given = key::entries_of(&given.value, given.value_span(), what, self.diagnostics);
            for instance in given.unwrap_or_default() {
                let Some(number) = instance.key.parse::<u32>().ok().filter(|number| *number < MAX_NUMBER)
                else {
                    let message = format!("`{}` is no number of an instance", instance.key);
                    self.diagnostics.error_with(Code::WrongNumber, instance.key_span, message, || {
                        Some("instances are counted from 0".to_owned())
                    });
                    continue;
                };
                let acts = self.acts(&instance.value, instance.value_span(), stage);
                instances.insert(number, acts?);
            }
        }
        Some(Fake { attempts: self.acts(node, span, stage)?, instances })
    }

    /// What attempts do: `attempts`, or the same for all.
    fn acts(&mut self, node: &Node, span: Span, stage: &Stage) -> Option<Vec<Act>> {
        let entries = key::entries_of(node, span, "what a stage does", self.diagnostics)?;
        key::check(entries, &key::FAKE, self.diagnostics);
        let Some(attempts) = key::given(entries, "attempts") else {
            return Some(vec![self.act(entries, stage)?]);
        };
        const OF_ONE: [&str; 6] = ["outputs", "fails", "exit", "takes", "log", "artifacts"];
        if let Some(other) = OF_ONE.iter().find_map(|name| key::given(entries, name)) {
            let message = format!("`{}` belongs to one of the `attempts`", other.key);
            self.diagnostics.error(Code::Contradiction, other.key_span, message);
        }
        let Kind::List(items) = &attempts.value.kind else {
            let message = format!("`attempts` must be a list, not {}", attempts.value.what());
            self.diagnostics.error(Code::WrongKind, attempts.value_span(), message);
            return None;
        };
        let mut acts = Vec::with_capacity(items.len());
        for item in items {
            let entries = key::entries_of(item, item.place(), "what an attempt does", self.diagnostics)?;
            key::check(entries, &key::FAKE, self.diagnostics);
            acts.push(self.act(entries, stage)?);
        }
        if acts.is_empty() {
            self.diagnostics.error(Code::MissingKey, attempts.key_span, "there is no attempt");
        }
        Some(acts)
    }

    fn act(&mut self, entries: &[Entry], stage: &Stage) -> Option<Act> {
        let find = |key| key::given(entries, key);
        let (outputs, fails, exit) = (find("outputs"), find("fails"), find("exit"));
        if let (Some(fails), Some(other)) = (fails, outputs.or(exit)) {
            let message = format!("an attempt that fails has no `{}`", other.key);
            self.diagnostics.error(Code::Contradiction, fails.key_span, message);
        }
        let takes = find("takes").and_then(|entry| self.time(entry)).unwrap_or_default();
        let log = find("log").map(|entry| key::texts_of(entry, "a line", self.diagnostics));
        let log = log.unwrap_or_default().into_iter().map(|(line, _)| line.to_owned()).collect();
        let artifacts = find("artifacts").map(|entry| self.artifacts(entry)).unwrap_or_default();
        let end = match (fails, exit) {
            (Some(fails), _) => Ending::Failure(self.failure(fails)?),
            (None, Some(exit)) => self.exit(exit, outputs, takes, stage)?,
            (None, None) => {
                Ending::Outputs(outputs.map(|entry| self.outputs(entry, stage)).unwrap_or_default())
            }
        };
        Some(Act { takes, log, artifacts, end })
    }

    fn artifacts(&mut self, entry: &Entry) -> Vec<(String, String)> {
        let entries = key::entries_of(&entry.value, entry.value_span(), "`artifacts`", self.diagnostics);
        let mut artifacts = Vec::new();
        for entry in entries.unwrap_or_default() {
            if let Some(text) = key::text_of(entry, self.diagnostics) {
                artifacts.push((entry.key.clone(), text.to_owned()));
            }
        }
        artifacts
    }

    /// How a container ends: as `command` tells it.
    fn exit(
        &mut self,
        exit: &Entry,
        outputs: Option<&Entry>,
        takes: Duration,
        stage: &Stage,
    ) -> Option<Ending> {
        let code = key::number_of(exit, 0..=255, self.diagnostics)?;
        if code != 0 {
            let (kind, ending) = match code.checked_sub(SIGNAL_BASE) {
                Some(signal @ 1..) => ("signal", format!("was ended by signal {signal}")),
                _ => ("exit-code", format!("ended with exit code {code}")),
            };
            let failure = Failure::permanent(kind, format!("the command {ending}"));
            return Some(Ending::Failure(failure.with_detail(EXIT_CODE_DETAIL, code.to_string())));
        }
        let millis = u64::try_from(takes.as_millis()).unwrap_or(u64::MAX);
        let all = [("exit_code", json!(0)), ("duration_ms", json!(millis)), ("values", json!({}))];
        let properties = self.outputs_schema(stage).and_then(|schema| schema.get("properties").cloned());
        let known = |name: &str| properties.as_ref().is_none_or(|known| known.get(name).is_some());
        let mut all: Map<String, Value> = all
            .into_iter()
            .filter(|(name, _)| known(name))
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        all.extend(outputs.map(|entry| self.outputs(entry, stage)).unwrap_or_default());
        Some(Ending::Outputs(all))
    }

    fn failure(&mut self, entry: &Entry) -> Option<Failure> {
        if let Kind::Text(message) = &entry.value.kind {
            return Some(Failure::permanent("failed", message));
        }
        let entries = key::entries_of(&entry.value, entry.value_span(), "`fails`", self.diagnostics)?;
        key::check(entries, &key::FAKE_FAILURE, self.diagnostics);
        let find = |key| key::given(entries, key);
        let retry_after = find("retry_after").and_then(|entry| self.time(entry));
        let classes = [("permanent", 0), ("transient", 1), ("throttled", 2), ("interrupted", 3)];
        let class = match find("class").map(|entry| key::word_of(entry, &classes, self.diagnostics)) {
            Some(class) => class?,
            None => 0,
        };
        let class = match class {
            1 => FailureClass::Transient,
            2 => FailureClass::Throttled { retry_after },
            3 => FailureClass::Interrupted,
            _ => FailureClass::Permanent,
        };
        let mut text = |key| {
            key::given(entries, key)
                .and_then(|entry| key::text_of(entry, self.diagnostics))
                .map(str::to_owned)
        };
        let (kind, message) = (text("kind"), text("message"));
        let kind = kind.unwrap_or_else(|| "failed".to_owned());
        let message = message.unwrap_or_else(|| "the test has it fail".to_owned());
        let details = find("details").map(|entry| self.map(entry)).unwrap_or_default();
        let details = details.into_iter().map(|(key, value)| match value {
            Value::String(text) => (key, text),
            other => (key, other.to_string()),
        });
        Some(Failure { details: details.collect(), ..Failure::new(class, kind, message) })
    }

    fn outputs_schema(&self, stage: &Stage) -> Option<Value> {
        let Work::Plugin { uses, .. } = &stage.work else { return None };
        Some((self.tested.plugin)(uses)?.outputs_schema.clone())
    }

    /// Outputs, which have to be such as the plugin gives; it need not be all of them.
    fn outputs(&mut self, entry: &Entry, stage: &Stage) -> Map<String, Value> {
        let given = self.map(entry);
        let (Some(whole), Kind::Map(entries)) = (self.outputs_schema(stage), &entry.value.kind) else {
            return given;
        };
        for entry in entries {
            if let Some((_, known)) = schema::missing(&whole, std::slice::from_ref(&entry.key)) {
                let message = format!("stage `{}` has no output `{}`", stage.name, entry.key);
                self.diagnostics.error_with(Code::UnknownOutput, entry.key_span, message, || {
                    Some(match nearest(&entry.key, known.iter().copied()) {
                        Some(near) => format!("did you mean `{near}`?"),
                        None => format!("it has {}", key::listed(known.iter().copied())),
                    })
                });
                continue;
            }
            if let Some(why) = misfit(&whole, &entry.key, &value::plain(&entry.value)) {
                let message = format!("stage `{}` gives no such `{}`: {why}", stage.name, entry.key);
                self.diagnostics.error(Code::WrongType, entry.value_span(), message);
            }
        }
        given
    }
}

impl Act {
    /// One that ends at once with these outputs.
    fn of(outputs: Map<String, Value>) -> Self {
        Self { takes: Duration::ZERO, log: Vec::new(), artifacts: Vec::new(), end: Ending::Outputs(outputs) }
    }
}

/// Why a plugin with this schema gives no such value under that name.
fn misfit(whole: &Value, name: &str, value: &Value) -> Option<String> {
    let Value::Object(mut part) = whole.get("properties")?.get(name)?.clone() else { return None };
    for shared in ["$defs", "definitions"] {
        if let Some(definitions) = whole.get(shared) {
            part.insert(shared.to_owned(), definitions.clone());
        }
    }
    let validator = schema::compile(&Value::Object(part)).ok()?;
    let error = validator.iter_errors(value).next()?;
    Some(error.to_string())
}
