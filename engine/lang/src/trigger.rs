//! `on:`, what starts a run without a person.
//!
//! Nobody is there to be asked when a trigger fires: whatever a run needs has to be in the document or in what happened.

mod event;
mod given;
mod metric;
mod quartz;
mod schedule;
mod webhook;

use std::num::NonZeroU32;

use yuanli_model::trigger::ScheduleTrigger;
use yuanli_model::trigger::{EventTrigger, MetricTrigger};
use yuanli_model::{Triggers, WorkflowName};

use crate::diagnostic::{Code, Diagnostics, Span};
use crate::input::Inputs;
use crate::key;
use crate::node::{Entry, Kind, Node};
use crate::value::Use;
use given::Given;
use webhook::Hook;

pub(crate) use schedule::MAX_MISSED;

/// Most failures in a row that can be waited for: more would be as good as never.
pub(crate) const MAX_FAILURES: u32 = 100;
/// The key of a workflow's `on`, and of a schedule.
const PAUSE_AFTER_FAILURES: &str = "pause_after_failures";
/// The keys of `on` that start something.
const TRIGGERS: [&str; 4] = ["schedule", "webhook", "metric", "event"];

/// The triggers of a document. What could not be read is reported, and missing here.
#[derive(Debug, Default)]
pub(crate) struct Draft<'a> {
    schedules: Vec<(Option<ScheduleTrigger>, Given<'a>)>,
    webhook: Option<Hook<'a>>,
    metrics: Vec<(Option<MetricTrigger>, Given<'a>)>,
    events: Vec<(Option<EventTrigger>, Given<'a>)>,
    pause_after_failures: Option<NonZeroU32>,
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
    draft.webhook = key::find(entries, "webhook").and_then(|entry| webhook::read(entry, diagnostics));
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
    if let Some(entry) = key::find(entries, PAUSE_AFTER_FAILURES) {
        draft.pause_after_failures = failures_of(entry, diagnostics);
        if !TRIGGERS.iter().any(|trigger| key::find(entries, trigger).is_some()) {
            let message = "nothing but people starts the workflow, so that nothing would be paused";
            diagnostics.error_with(Code::Contradiction, entry.key_span, message, || {
                Some("leave it out, or add what starts the workflow, such as `schedule`".to_owned())
            });
        }
    }
    draft
}

/// How many failures in a row an entry has.
fn failures_of(entry: &Entry, diagnostics: &mut Diagnostics<'_>) -> Option<NonZeroU32> {
    key::number_of(entry, 1..=MAX_FAILURES, diagnostics).and_then(NonZeroU32::new)
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

    /// The condition of its webhook.
    pub(crate) fn condition(&self) -> Option<&Use> {
        self.webhook.as_ref().and_then(|hook| hook.condition.as_ref())
    }

    /// The expressions in what it gives to inputs.
    pub(crate) fn uses(&self) -> impl Iterator<Item = &Use> {
        self.given().flat_map(Given::uses)
    }

    /// The triggers of a document without errors.
    pub(crate) fn into_triggers(self) -> Triggers {
        let webhook = self.webhook.and_then(Hook::into_webhook);
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
            pause_after_failures: self.pause_after_failures,
        }
    }
}
