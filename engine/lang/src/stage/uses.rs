//! What a stage uses: a plugin, or a workflow.

use yuanli_model::plugin::InvalidReference;
use yuanli_model::stage::WorkflowReference;
use yuanli_model::{PluginReference, WorkflowName};

use crate::diagnostic::{Code, Diagnostics, Span};
use crate::key;
use crate::node::Entry;
use crate::template;

/// How `uses` names a workflow.
const WORKFLOW: &str = "workflow/";

/// The digits of a digest that name a version of a workflow: fewer may soon be those of another version too.
const DIGITS: std::ops::RangeInclusive<usize> = 7..=64;

/// What a stage uses.
#[derive(Debug)]
pub(crate) enum Uses {
    Plugin(PluginReference),
    Workflow(WorkflowReference),
}

/// What a stage uses, without a word when that cannot be read.
pub(super) fn parse(entry: &Entry) -> Option<Uses> {
    read(entry, &mut Diagnostics::new("")).map(|(uses, _)| uses)
}

pub(super) fn read(entry: &Entry, diagnostics: &mut Diagnostics<'_>) -> Option<(Uses, Span)> {
    let text = key::text_of(entry, diagnostics)?;
    let span = entry.value_span();
    if text.starts_with(template::PREFIX) {
        // Why it is still there has been told: the template is unknown, or wrong.
        return None;
    }
    if text.contains("${{") {
        let message = "what a stage uses must be known before it runs: no expression can stand here";
        diagnostics.error_with(Code::WrongKind, span, message, || {
            Some("have a stage for each, with an `if`".to_owned())
        });
        return None;
    }
    if let Some(reference) = text.strip_prefix(WORKFLOW) {
        return read_workflow(reference, span, diagnostics)
            .map(|reference| (Uses::Workflow(reference), span));
    }
    match text.parse() {
        Ok(reference) => Some((Uses::Plugin(reference), span)),
        Err(error) => {
            let code = match error {
                InvalidReference::Name(_) => Code::UnknownPlugin,
                InvalidReference::Version(_) => Code::WrongVersion,
            };
            diagnostics.error(code, span, error.to_string());
            None
        }
    }
}

/// `NAME` or `NAME@DIGITS`.
fn read_workflow(text: &str, span: Span, diagnostics: &mut Diagnostics<'_>) -> Option<WorkflowReference> {
    let (name, version) = match text.split_once('@') {
        Some((name, version)) => (name, Some(version)),
        None => (text, None),
    };
    let is_digits = |text: &str| {
        DIGITS.contains(&text.len()) && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    if let Some(version) = version.filter(|version| !is_digits(version)) {
        let message = format!("`{version}` is no version of a workflow");
        diagnostics.error_with(Code::WrongVersion, span, message, || {
            Some(
                "write the first digits of its digest, 7 or more, such as `workflow/shop@1f0c3a9`".to_owned(),
            )
        });
        return None;
    }
    match name.parse::<WorkflowName>() {
        Ok(name) => Some(WorkflowReference { name, version: version.map(str::to_owned) }),
        Err(error) => {
            diagnostics.error_with(Code::InvalidName, span, error.to_string(), || super::proper(name));
            None
        }
    }
}
