//! `on:`, what starts a run without a person.
//!
//! Nobody is there to be asked when a trigger fires: whatever a run needs has to be in the document or in what happened.

mod event;
mod given;
mod metric;
mod schedule;

use yuanli_model::trigger::ScheduleTrigger;
use yuanli_model::trigger::{EventTrigger, MetricTrigger, Webhook};
use yuanli_model::{SecretName, Triggers, WorkflowName};

use crate::diagnostic::{Code, Diagnostics, Span};
use crate::input::Inputs;
use crate::key;
use crate::node::{Entry, Kind, Node};
use crate::stage;
use crate::value::Use;
use given::Given;

pub(crate) use schedule::MAX_MISSED;

/// The triggers of a document. What could not be read is reported, and missing here.
#[derive(Debug, Default)]
pub(crate) struct Draft<'a> {
    schedules: Vec<(Option<ScheduleTrigger>, Given<'a>)>,
    webhook: Option<Hook<'a>>,
    metrics: Vec<(Option<MetricTrigger>, Given<'a>)>,
    events: Vec<(Option<EventTrigger>, Given<'a>)>,
}

#[derive(Debug)]
struct Hook<'a> {
    secret: Option<SecretName>,
    given: Given<'a>,
}

pub(crate) fn read<'a>(
    entry: &'a Entry,
    workflow: Option<&WorkflowName>,
    diagnostics: &mut Diagnostics<'_>,
) -> Draft<'a> {
    let mut draft = Draft::default();
    let entries = key::entries_of(&entry.value, entry.value_span(), "`on`", diagnostics).unwrap_or_default();
    key::check(entries, &key::TRIGGERS, diagnostics);
    if let Some(entry) = key::find(entries, "schedule") {
        let example = "`schedule: { cron: \"0 3 * * *\", timezone: Asia/Shanghai }`";
        let found = each(entry, "a schedule", example, diagnostics);
        draft.schedules = schedule::read(&found, entry.key_span, diagnostics);
    }
    draft.webhook = key::find(entries, "webhook").and_then(|entry| read_webhook(entry, diagnostics));
    if let Some(metric) = key::find(entries, "metric") {
        let example = "`metric: { query: \"…\", above: 5 }`";
        draft.metrics = each(metric, "a metric trigger", example, diagnostics)
            .into_iter()
            .map(|(entries, span)| metric::read(entries, span, diagnostics))
            .collect();
    }
    if let Some(event) = key::find(entries, "event") {
        draft.events = each(event, "an event", "`event: { workflow: shop, outcome: failed }`", diagnostics)
            .into_iter()
            .map(|(entries, span)| event::read(entries, span, workflow, diagnostics))
            .collect();
    }
    draft
}

/// The maps of an entry that has one, or a list of them; each with its place.
fn each<'a>(
    entry: &'a Entry,
    what: &str,
    example: &str,
    diagnostics: &mut Diagnostics<'_>,
) -> Vec<(&'a [Entry], Span)> {
    let mut found = Vec::new();
    let mut add = |node: &'a Node, span: Span| match &node.kind {
        Kind::Map(entries) => found.push((entries.as_slice(), span)),
        _ => {
            let message = format!("{what} must be a map, not {}", node.what());
            diagnostics.error_with(Code::WrongKind, span, message, || Some(format!("write {example}")));
        }
    };
    match &entry.value.kind {
        Kind::List(items) => items.iter().for_each(|item| add(item, item.place())),
        _ => add(&entry.value, entry.value_span()),
    }
    found
}

fn read_webhook<'a>(entry: &'a Entry, diagnostics: &mut Diagnostics<'_>) -> Option<Hook<'a>> {
    let entries = key::entries_of(&entry.value, entry.value_span(), "`webhook`", diagnostics)?;
    key::check(entries, &key::WEBHOOK, diagnostics);
    let secret = match key::find(entries, "secret") {
        Some(secret) => read_secret(secret, diagnostics),
        None => {
            let message = "the webhook does not name the secret that its requests are signed with";
            diagnostics.error_with(Code::MissingKey, entry.key_span, message, || {
                Some("add `secret:` with the name of a secret, such as `secret: hook-key`".to_owned())
            });
            None
        }
    };
    Some(Hook { secret, given: Given::read("the webhook", entries, entry.key_span, diagnostics) })
}

fn read_secret(entry: &Entry, diagnostics: &mut Diagnostics<'_>) -> Option<SecretName> {
    let text = key::text_of(entry, diagnostics)?;
    match text.parse() {
        Ok(name) => Some(name),
        Err(error) => {
            let help = || match text.contains("${{") {
                true => Some("write the name alone, such as `secret: hook-key`".to_owned()),
                false => stage::proper(text),
            };
            diagnostics.error_with(Code::InvalidName, entry.value_span(), error.to_string(), help);
            None
        }
    }
}

impl<'a> Draft<'a> {
    /// Reports what its triggers cannot give to the inputs of a run.
    pub(crate) fn check(&self, inputs: &Inputs, diagnostics: &mut Diagnostics<'_>) {
        for given in self.given() {
            given.check(inputs, diagnostics);
        }
    }

    fn given(&self) -> impl Iterator<Item = &Given<'a>> {
        let schedules = self.schedules.iter().map(|(_, given)| given);
        let hook = self.webhook.iter().map(|hook| &hook.given);
        let metrics = self.metrics.iter().map(|(_, given)| given);
        schedules.chain(hook).chain(metrics).chain(self.events.iter().map(|(_, given)| given))
    }

    /// The expressions in it.
    pub(crate) fn uses(&self) -> impl Iterator<Item = &Use> {
        self.given().flat_map(Given::uses)
    }

    /// The triggers of a document without errors.
    pub(crate) fn into_triggers(self) -> Triggers {
        let webhook = self
            .webhook
            .and_then(|hook| Some(Webhook { secret: hook.secret?, inputs: hook.given.into_template() }));
        let metrics = self
            .metrics
            .into_iter()
            .filter_map(|(metric, given)| Some(MetricTrigger { inputs: given.into_template(), ..metric? }));
        let events = self
            .events
            .into_iter()
            .filter_map(|(event, given)| Some(EventTrigger { inputs: given.into_template(), ..event? }));
        let schedules = self.schedules.into_iter().filter_map(|(schedule, given)| {
            Some(ScheduleTrigger { inputs: given.into_template(), ..schedule? })
        });
        Triggers {
            schedules: schedules.collect(),
            webhook,
            metrics: metrics.collect(),
            events: events.collect(),
        }
    }
}
