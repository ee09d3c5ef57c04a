//! A workflow as the document has it, before any name in it is looked up.

use std::num::NonZeroU32;
use std::time::Duration;

use indexmap::IndexMap;
use yuanli_model::stage::{Limits, Retry};
use yuanli_model::{Grant, Section, WorkflowName};

use crate::compile::MAX_STAGES;
use crate::diagnostic::{Code, Diagnostics, Span};
use crate::input::{self, Inputs};
use crate::key;
use crate::node::{Entry, Kind, Node};
use crate::setting::{self, Concurrency, Output};
use crate::stage::{self, Draft, Variable};
use crate::trigger;

/// A document. What could not be read is reported, and missing here.
#[derive(Debug)]
pub(crate) struct Document<'a> {
    pub(crate) name: Option<WorkflowName>,
    pub(crate) description: Option<String>,
    pub(crate) labels: IndexMap<String, String>,
    pub(crate) inputs: Inputs,
    pub(crate) env: Vec<Variable>,
    pub(crate) triggers: trigger::Draft<'a>,
    pub(crate) concurrency: Option<Concurrency>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) defaults: Defaults,
    /// Those of the main part, then those for failures, then those for the end.
    pub(crate) stages: Vec<Draft<'a>>,
    pub(crate) outputs: Vec<Output>,
}

/// What holds for each stage that does not say otherwise.
#[derive(Debug, Default)]
pub(crate) struct Defaults {
    pub(crate) timeout: Option<Duration>,
    pub(crate) retry: Option<Retry>,
    pub(crate) env: Vec<Variable>,
    pub(crate) grants: Vec<(Grant, Span)>,
    pub(crate) max_parallel: Option<NonZeroU32>,
    pub(crate) limits: Limits,
}

pub(crate) fn read<'a>(root: &'a Node, diagnostics: &mut Diagnostics<'_>) -> Option<Document<'a>> {
    if matches!(root.kind, Kind::Null) {
        diagnostics.error_with(Code::WrongKind, root.span, "the document is empty", || {
            Some("a workflow has at least `name:` and `stages:`".to_owned())
        });
        return None;
    }
    let entries = key::entries_of(root, root.span, "a workflow", diagnostics)?;
    key::check(entries, &key::WORKFLOW, diagnostics);
    // Where to point for what is missing in the document as a whole.
    let top = entries.first().map_or(root.span, |entry| entry.key_span);
    let find = |key| key::find(entries, key);
    let given = |key| key::given(entries, key);
    let name = read_name(find("name"), top, diagnostics);
    let triggers =
        given("on").map(|entry| trigger::read(entry, name.as_ref(), diagnostics)).unwrap_or_default();
    Some(Document {
        name,
        description: given("description")
            .and_then(|entry| key::text_of(entry, diagnostics))
            .map(str::to_owned),
        labels: given("labels").map(|entry| setting::labels(entry, diagnostics)).unwrap_or_default(),
        inputs: given("inputs").map(|entry| input::read(entry, "input", diagnostics)).unwrap_or_default(),
        env: given("env").map(|entry| stage::read_variables(entry, diagnostics)).unwrap_or_default(),
        triggers,
        concurrency: given("concurrency").and_then(|entry| setting::concurrency(entry, diagnostics)),
        timeout: given("timeout").and_then(|entry| key::duration_of(entry, diagnostics)),
        defaults: given("defaults").map(|entry| read_defaults(entry, diagnostics)).unwrap_or_default(),
        stages: read_stages(entries, top, diagnostics),
        outputs: given("outputs").map(|entry| setting::outputs(entry, diagnostics)).unwrap_or_default(),
    })
}

fn read_name(entry: Option<&Entry>, top: Span, diagnostics: &mut Diagnostics<'_>) -> Option<WorkflowName> {
    let Some(entry) = entry else {
        diagnostics.error_with(Code::MissingKey, top, "the workflow has no name", || {
            Some("add `name:` with a short name, such as `name: shop`".to_owned())
        });
        return None;
    };
    let text = key::text_of(entry, diagnostics)?;
    match text.parse() {
        Ok(name) => Some(name),
        Err(error) => {
            let help = || stage::proper(text);
            diagnostics.error_with(Code::InvalidName, entry.value_span(), error.to_string(), help);
            None
        }
    }
}

fn read_defaults(entry: &Entry, diagnostics: &mut Diagnostics<'_>) -> Defaults {
    let entries =
        key::entries_of(&entry.value, entry.value_span(), "`defaults`", diagnostics).unwrap_or_default();
    key::check(entries, &key::DEFAULTS, diagnostics);
    let given = |key| key::given(entries, key);
    let grants = given("grants").map(|grants| stage::read_grants(grants, diagnostics)).unwrap_or_default();
    Defaults {
        timeout: given("timeout").and_then(|entry| key::duration_of(entry, diagnostics)),
        retry: given("retry").and_then(|entry| stage::read_retry(entry, diagnostics)),
        env: given("env").map(|entry| stage::read_variables(entry, diagnostics)).unwrap_or_default(),
        grants,
        max_parallel: given("max_parallel").and_then(|entry| stage::read_max_parallel(entry, diagnostics)),
        limits: given("limits").map(|entry| stage::read_limits(entry, diagnostics)).unwrap_or_default(),
    }
}

/// The stages of all parts, in the order in which the parts come.
fn read_stages<'a>(entries: &'a [Entry], top: Span, diagnostics: &mut Diagnostics<'_>) -> Vec<Draft<'a>> {
    let Some(main) = key::find(entries, Section::Main.name()) else {
        diagnostics.error_with(Code::MissingKey, top, "the workflow has no stages", || {
            Some("add `stages:` with at least one stage".to_owned())
        });
        return Vec::new();
    };
    let mut parts = Vec::with_capacity(Section::ALL.len());
    for section in Section::ALL {
        let Some(entry) = key::find(entries, section.name()) else { continue };
        let what = format!("`{}`", section.name());
        match &entry.value.kind {
            Kind::Null => parts.push((section, entry, &[][..])),
            _ => {
                if let Some(stages) = key::entries_of(&entry.value, entry.value_span(), &what, diagnostics) {
                    parts.push((section, entry, stages));
                }
            }
        }
    }
    for (section, entry, _) in parts.iter().filter(|(_, _, stages)| stages.is_empty()) {
        report_empty(*section, entry, diagnostics);
    }
    let count: usize = parts.iter().map(|(_, _, stages)| stages.len()).sum();
    if count > MAX_STAGES {
        let message = format!("the workflow has {count} stages, the most is {MAX_STAGES}");
        diagnostics.error_with(Code::TooManyStages, main.key_span, message, || {
            Some("split it into several workflows".to_owned())
        });
        return Vec::new();
    }
    let stages = parts.iter().flat_map(|(section, _, stages)| stages.iter().map(|entry| (*section, entry)));
    stages.map(|(section, entry)| stage::read(entry, section, diagnostics)).collect()
}

fn report_empty(section: Section, entry: &Entry, diagnostics: &mut Diagnostics<'_>) {
    match section {
        Section::Main => {
            let message = "a workflow needs at least one stage";
            diagnostics.error_with(Code::NoStages, entry.key_span, message, || {
                Some("write a name and what it uses, such as `hello: { uses: script }`".to_owned())
            });
        }
        Section::OnFailure | Section::Finally => {
            let message = format!("`{}` has no stage", section.name());
            diagnostics.warning(Code::Idle, entry.key_span, message, Some("remove it".to_owned()));
        }
    }
}
