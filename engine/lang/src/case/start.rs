//! What starts the run of a test: inputs as a person gives them, or what a trigger brings.

use serde_json::{Map, Value};
use yuanli_model::app::ReleaseNumber;
use yuanli_model::trigger::{AppState, Happened};
use yuanli_model::{Outcome, RunId, Timestamp};

use super::Reader;
use crate::diagnostic::{Code, Span};
use crate::key;
use crate::node::{Entry, Kind};
use crate::value;

/// What starts a run.
#[derive(Debug, Clone, PartialEq)]
pub enum Start {
    /// Somebody, with these inputs.
    Inputs(Map<String, Value>),
    /// A request to its webhook; that it is signed is taken for granted.
    Webhook {
        /// Its headers, names in lower case.
        headers: Vec<(String, String)>,
        /// Its body.
        body: Value,
    },
    /// A time that has come.
    Schedule {
        /// Which one.
        due: Timestamp,
    },
    /// A measured value that has crossed a threshold.
    Metric {
        /// It.
        value: f64,
        /// What is measured, where a workflow has several rules.
        query: Option<String>,
    },
    /// Something that has happened in the engine.
    Event {
        /// It.
        happened: Happened,
        /// The outputs of a run that ended.
        outputs: Map<String, Value>,
    },
}

const TRIGGERS: [&str; 4] = ["webhook", "schedule", "metric", "event"];
const OUTCOMES: [(&str, Outcome); 3] =
    [("succeeded", Outcome::Succeeded), ("failed", Outcome::Failed), ("cancelled", Outcome::Cancelled)];
/// The digest of an image of which a test does not say it.
const SOME_DIGEST: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";

impl Reader<'_, '_, '_> {
    /// `inputs` or `trigger`; nothing is a start without inputs.
    pub(super) fn start(&mut self, inputs: Option<&Entry>, trigger: Option<&Entry>) -> Option<Start> {
        let Some(trigger) = trigger else {
            let given = inputs.map(|entry| {
                self.check_inputs(entry);
                self.map(entry)
            });
            return Some(Start::Inputs(given.unwrap_or_default()));
        };
        if let Some(inputs) = inputs {
            let message = "a case has `inputs` or a `trigger`, which gives them";
            self.diagnostics.error(Code::Contradiction, inputs.key_span, message);
        }
        let entries = key::entries_of(&trigger.value, trigger.value_span(), "`trigger`", self.diagnostics)?;
        key::check(entries, &key::FAKE_TRIGGER, self.diagnostics);
        let given: Vec<&Entry> = TRIGGERS.iter().filter_map(|key| key::given(entries, key)).collect();
        let &[only] = given.as_slice() else {
            let message = "a trigger is one of `webhook`, `schedule`, `metric` and `event`";
            self.diagnostics.error(Code::MissingKey, trigger.key_span, message);
            return None;
        };
        self.check_trigger(only);
        match only.key.as_str() {
            "webhook" => self.webhook(only),
            "schedule" => self.schedule(only),
            "metric" => self.metric(only),
            _ => self.event(only),
        }
    }

    /// That the workflow has the trigger.
    fn check_trigger(&mut self, entry: &Entry) {
        let triggers = self.tested.workflow.triggers();
        let has_it = match entry.key.as_str() {
            "webhook" => triggers.webhook.is_some(),
            "schedule" => !triggers.schedules.is_empty(),
            "metric" => !triggers.metrics.is_empty(),
            _ => !triggers.events.is_empty(),
        };
        if !has_it {
            let (name, kind) = (self.tested.workflow.name(), &entry.key);
            let message = format!("workflow `{name}` has no `{kind}` under `on`");
            self.diagnostics.error(Code::NotInWorkflow, entry.key_span, message);
        }
    }

    /// That the workflow has the inputs. Values of a wrong type are refused by the run, as those of a person are.
    fn check_inputs(&mut self, entry: &Entry) {
        let Kind::Map(entries) = &entry.value.kind else { return };
        let workflow = self.tested.workflow;
        let names = || workflow.inputs().keys().map(yuanli_model::InputName::as_str);
        for entry in entries.iter().filter(|entry| names().all(|name| name != entry.key)) {
            let message = format!("workflow `{}` has no input `{}`", workflow.name(), entry.key);
            self.diagnostics.error_with(Code::UnknownInput, entry.key_span, message, || {
                yuanli_expr::nearest(&entry.key, names()).map(|near| format!("did you mean `{near}`?"))
            });
        }
    }

    fn webhook(&mut self, entry: &Entry) -> Option<Start> {
        let entries = key::entries_of(&entry.value, entry.value_span(), "`webhook`", self.diagnostics)?;
        key::check(entries, &key::FAKE_WEBHOOK, self.diagnostics);
        let headers = key::given(entries, "headers").map(|entry| self.map(entry)).unwrap_or_default();
        let text = |value: Value| match value {
            Value::String(text) => text,
            other => other.to_string(),
        };
        let headers = headers.into_iter().map(|(name, value)| (name.to_lowercase(), text(value)));
        let body = key::given(entries, "body").map_or(Value::Null, |entry| value::plain(&entry.value));
        Some(Start::Webhook { headers: headers.collect(), body })
    }

    fn schedule(&mut self, entry: &Entry) -> Option<Start> {
        let due = match &entry.value.kind {
            Kind::Map(entries) => {
                key::check(entries, &key::FAKE_SCHEDULE, self.diagnostics);
                self.required(entries, "due", entry.key_span)?
            }
            _ => entry,
        };
        Some(Start::Schedule { due: self.moment(due)? })
    }

    fn metric(&mut self, entry: &Entry) -> Option<Start> {
        let entries = key::entries_of(&entry.value, entry.value_span(), "`metric`", self.diagnostics)?;
        key::check(entries, &key::FAKE_METRIC, self.diagnostics);
        let value = self.required(entries, "value", entry.key_span)?;
        let query = key::given(entries, "query").and_then(|entry| key::text_of(entry, self.diagnostics));
        let Kind::Number(number) = &value.value.kind else {
            let message = format!("`value` must be a number, not {}", value.value.what());
            self.diagnostics.error(Code::WrongKind, value.value_span(), message);
            return None;
        };
        Some(Start::Metric { value: number.as_f64()?, query: query.map(str::to_owned) })
    }

    fn event(&mut self, entry: &Entry) -> Option<Start> {
        let entries = key::entries_of(&entry.value, entry.value_span(), "`event`", self.diagnostics)?;
        key::check(entries, &key::FAKE_EVENT, self.diagnostics);
        let find = |key| key::given(entries, key);
        let outputs = find("outputs").map(|entry| self.map(entry)).unwrap_or_default();
        let happened = match (find("workflow"), find("image"), find("app")) {
            (Some(workflow), None, None) => {
                let outcome = find("outcome").map(|entry| key::word_of(entry, &OUTCOMES, self.diagnostics));
                let (run, outcome) = (RunId::from_u128(1), outcome.unwrap_or(Some(Outcome::Succeeded))?);
                Happened::RunEnded { workflow: self.parsed(workflow)?, run, outcome }
            }
            (None, Some(image), None) => {
                let image = key::text_of(image, self.diagnostics)?.to_owned();
                let digest = find("digest").and_then(|entry| key::text_of(entry, self.diagnostics));
                let digest = digest.unwrap_or(SOME_DIGEST).to_owned();
                Happened::ImagePushed { image, digest, operation: String::new() }
            }
            (None, None, Some(app)) => {
                let number =
                    find("release").map(|entry| key::number_of(entry, 1..=u32::MAX, self.diagnostics));
                let states = AppState::ALL.map(|state| (state.name(), state));
                let state = find("state").map(|entry| key::word_of(entry, &states, self.diagnostics));
                let release = ReleaseNumber(number.unwrap_or(Some(1))?);
                let (state, at) = (state.unwrap_or(Some(AppState::Healthy))?, Timestamp::from_millis(0));
                Happened::AppChanged { app: self.parsed(app)?, release, state, at }
            }
            _ => {
                let message = "an event is about one of `workflow`, `image` and `app`";
                self.diagnostics.error(Code::MissingKey, entry.key_span, message);
                return None;
            }
        };
        Some(Start::Event { happened, outputs })
    }

    fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(&mut self, at: &Entry) -> Option<T> {
        let parsed = key::text_of(at, self.diagnostics)?.parse();
        parsed
            .map_err(|error: T::Err| {
                self.diagnostics.error(Code::InvalidName, at.value_span(), error.to_string());
            })
            .ok()
    }

    /// The entry of that key, which must be there.
    fn required<'e>(&mut self, entries: &'e [Entry], key: &str, span: Span) -> Option<&'e Entry> {
        let found = key::given(entries, key);
        if found.is_none() {
            self.diagnostics.error(Code::MissingKey, span, format!("`{key}` is missing"));
        }
        found
    }
}
