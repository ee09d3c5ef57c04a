//! The way from a text to a workflow.

use std::collections::HashSet;

use yuanli_model::{PluginReference, Stage, Workflow};

use crate::capability;
use crate::catalog::Catalog;
use crate::diagnostic::{Code, Diagnostic, Diagnostics, Span};
use crate::document::{self, Document};
use crate::expression::Names;
use crate::key;
use crate::needs;
use crate::node::{Kind, Node};
use crate::plugin::Plugins;
use crate::schema;
use crate::stage::Draft;
use crate::yaml;

/// Largest text, in bytes.
pub const MAX_TEXT: usize = 1024 * 1024;

/// Most stages of a workflow.
pub const MAX_STAGES: usize = 10_000;

/// What became of a text.
#[derive(Debug)]
pub struct Compilation {
    /// The workflow, when there is no error.
    pub workflow: Option<Workflow>,
    /// All that was found, in the order of the text.
    pub diagnostics: Vec<Diagnostic>,
}

/// Compiles the text of a workflow. The name of its file changes nothing about it yet: what is wrong is told by place,
/// and [`crate::render`] takes the name. All plugins that it uses should be in the catalog, see [`references`].
#[must_use]
pub fn compile(_file: &str, text: &str, catalog: &dyn Catalog) -> Compilation {
    let mut diagnostics = Diagnostics::new(text);
    let workflow = build(&mut diagnostics, catalog);
    Compilation { workflow, diagnostics: diagnostics.finish() }
}

fn build(diagnostics: &mut Diagnostics<'_>, catalog: &dyn Catalog) -> Option<Workflow> {
    if diagnostics.text().len() > MAX_TEXT {
        // Whoever read it may have stopped when it was clear that it is too long.
        let message = format!("the document has more than {MAX_TEXT} bytes");
        diagnostics.error_with(Code::TooLarge, Span::default(), message, || {
            Some("split it into several workflows, and keep data in files of its own".to_owned())
        });
        return None;
    }
    let mut root = yaml::parse(diagnostics)?;
    yaml::deduplicate(&mut root, diagnostics);
    let document = document::read(&root, diagnostics)?;
    check(&document, catalog, diagnostics);
    if diagnostics.has_errors() { None } else { into_workflow(document, diagnostics) }
}

/// Everything that takes more than one place of the document, or a plugin.
fn check(document: &Document<'_>, catalog: &dyn Catalog, diagnostics: &mut Diagnostics<'_>) {
    let needs = needs::resolve(&document.stages, diagnostics);
    let mut plugins = Plugins::new(catalog);
    let mut used = Vec::with_capacity(document.stages.len());
    for stage in &document.stages {
        let plugin =
            stage.uses.as_ref().and_then(|(reference, span)| plugins.find(reference, *span, diagnostics));
        if let Some(plugin) = &plugin {
            capability::check(stage, &plugin.description, diagnostics);
            schema::check(stage, plugin, diagnostics);
        }
        used.push(plugin);
    }
    document.triggers.check(&document.inputs, diagnostics);
    let names = Names { inputs: &document.inputs, stages: &document.stages, needs: &needs, plugins: &used };
    for stage in 0..document.stages.len() {
        names.check(stage, diagnostics);
    }
}

/// The workflow of a document without errors.
fn into_workflow(document: Document<'_>, diagnostics: &mut Diagnostics<'_>) -> Option<Workflow> {
    let stages = document.stages.into_iter().map(into_stage).collect::<Option<Vec<_>>>()?;
    match Workflow::new(document.name?, document.description, document.inputs.valid, stages) {
        Ok(workflow) => Some(workflow.with_triggers(document.triggers.into_triggers())),
        Err(invalid) => {
            // Every reason has a diagnostic of its own, with a place; this one is for a reason that is new.
            diagnostics.error(Code::WrongKind, Span::default(), invalid.to_string());
            None
        }
    }
}

fn into_stage(draft: Draft<'_>) -> Option<Stage> {
    let (uses, _) = draft.uses?;
    let needs = draft.needs.iter().map(|(need, _)| need.parse().ok()).collect::<Option<Vec<_>>>()?;
    Some(Stage {
        name: draft.name?,
        uses,
        with: draft.config.template,
        needs,
        grants: draft.grants.into_iter().map(|(capability, _)| capability).collect(),
        timeout: draft.timeout,
    })
}

/// The plugins that a text uses, each once, in the order of the text; none when it cannot be read.
#[must_use]
pub fn references(text: &str) -> Vec<PluginReference> {
    if text.len() > MAX_TEXT {
        return Vec::new();
    }
    let Some(root) = yaml::parse(&mut Diagnostics::new(text)) else { return Vec::new() };
    let Some(stages) = entry(&root, "stages").and_then(entries) else { return Vec::new() };
    let mut seen = HashSet::new();
    stages
        .iter()
        .filter_map(|stage| match &entry(&stage.value, "uses")?.kind {
            Kind::Text(text) => text.parse::<PluginReference>().ok(),
            _ => None,
        })
        .filter(|reference| seen.insert(reference.clone()))
        .collect()
}

fn entries(node: &Node) -> Option<&[crate::node::Entry]> {
    match &node.kind {
        Kind::Map(entries) => Some(entries),
        _ => None,
    }
}

fn entry<'a>(node: &'a Node, key: &str) -> Option<&'a Node> {
    key::find(entries(node)?, key).map(|entry| &entry.value)
}
