//! A workflow as the document has it, before any name in it is looked up.

use yuanli_model::WorkflowName;

use crate::compile::MAX_STAGES;
use crate::diagnostic::{Code, Diagnostics, Span};
use crate::input::{self, Inputs};
use crate::key;
use crate::node::{Entry, Kind, Node};
use crate::stage::{self, Draft};
use crate::trigger;

/// A document. What could not be read is reported, and missing here.
#[derive(Debug)]
pub(crate) struct Document<'a> {
    pub(crate) name: Option<WorkflowName>,
    pub(crate) description: Option<String>,
    pub(crate) inputs: Inputs,
    pub(crate) triggers: trigger::Draft<'a>,
    pub(crate) stages: Vec<Draft<'a>>,
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
    Some(Document {
        name: read_name(find("name"), top, diagnostics),
        description: find("description")
            .and_then(|entry| key::text_of(entry, diagnostics))
            .map(str::to_owned),
        inputs: find("inputs").map(|entry| input::read(entry, diagnostics)).unwrap_or_default(),
        triggers: find("on").map(|entry| trigger::read(entry, diagnostics)).unwrap_or_default(),
        stages: read_stages(find("stages"), top, diagnostics),
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

fn read_stages<'a>(entry: Option<&'a Entry>, top: Span, diagnostics: &mut Diagnostics<'_>) -> Vec<Draft<'a>> {
    let Some(entry) = entry else {
        diagnostics.error_with(Code::MissingKey, top, "the workflow has no stages", || {
            Some("add `stages:` with at least one stage".to_owned())
        });
        return Vec::new();
    };
    let entries = match &entry.value.kind {
        Kind::Null => &[],
        _ => match key::entries_of(&entry.value, entry.value_span(), "`stages`", diagnostics) {
            Some(entries) => entries,
            None => return Vec::new(),
        },
    };
    if entries.is_empty() {
        diagnostics.error_with(Code::NoStages, entry.key_span, "a workflow needs at least one stage", || {
            Some("write a name and what it uses, such as `hello: { uses: script }`".to_owned())
        });
    }
    if entries.len() > MAX_STAGES {
        let message = format!("the workflow has {} stages, the most is {MAX_STAGES}", entries.len());
        diagnostics.error_with(Code::TooManyStages, entry.key_span, message, || {
            Some("split it into several workflows".to_owned())
        });
        return Vec::new();
    }
    entries.iter().map(|entry| stage::read(entry, diagnostics)).collect()
}
