//! The way from a text to a workflow.

use std::collections::HashSet;

use yuanli_model::stage::WorkflowReference;
use yuanli_model::{Ceiling, PluginReference, Section, Workflow};

use crate::capability::{self, Granted};
use crate::catalog::Catalog;
use crate::diagnostic::{Code, Diagnostic, Diagnostics, Span};
use crate::document::{self, Document};
use crate::expression::Names;
use crate::habit;
use crate::into_model;
use crate::needs;
use crate::node::{Kind, Node};
use crate::plugin::Plugins;
use crate::run;
use crate::schema;
use crate::stage::{self, Uses};
use crate::target::{self, Target};
use crate::template;
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
    let root = tree(diagnostics)?;
    let document = document::read(&root, diagnostics)?;
    let targets = check(&document, catalog, diagnostics);
    if diagnostics.has_errors() { None } else { into_model::workflow(document, &targets, diagnostics) }
}

/// The tree of a text, its short forms written out.
fn tree(diagnostics: &mut Diagnostics<'_>) -> Option<Node> {
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
    template::expand(&mut root, diagnostics);
    run::expand(&mut root, diagnostics);
    Some(root)
}

/// Everything that takes more than one place of the document, or a plugin; gives what each stage runs.
fn check(document: &Document<'_>, catalog: &dyn Catalog, diagnostics: &mut Diagnostics<'_>) -> Vec<Target> {
    let needs = needs::resolve(&document.stages, diagnostics);
    let targets = find_targets(document, catalog, diagnostics);
    document.triggers.check(&document.inputs, diagnostics);
    into_model::check_size(document, diagnostics);
    let names = Names::new(document, &needs, &targets);
    names.check(diagnostics);
    habit::check(document, names.used(), diagnostics);
    targets
}

fn find_targets(
    document: &Document<'_>,
    catalog: &dyn Catalog,
    diagnostics: &mut Diagnostics<'_>,
) -> Vec<Target> {
    let mut plugins = Plugins::new(catalog);
    let default = Ceiling::default();
    let ceiling = catalog.ceiling().unwrap_or(&default);
    let mut targets = Vec::with_capacity(document.stages.len());
    for stage in &document.stages {
        targets.push(match &stage.uses {
            None if stage.is_gate => Target::Gate,
            None => Target::Unknown,
            Some((Uses::Plugin(reference), span)) => match plugins.find(reference, *span, diagnostics) {
                Some(plugin) => {
                    let granted = Granted {
                        stage,
                        defaults: &document.defaults.grants,
                        plugin: &plugin.description,
                        uses: *span,
                        name: catalog.name_of(reference),
                    };
                    granted.check(ceiling, diagnostics);
                    schema::check(stage, &plugin, diagnostics);
                    Target::Plugin(plugin)
                }
                None => Target::Unknown,
            },
            Some((Uses::Workflow(reference), span)) => {
                capability::check_none(stage, diagnostics);
                let target = target::workflow(reference, *span, catalog, diagnostics);
                if let Target::Workflow(workflow) = &target {
                    target::check_inputs(stage, workflow, diagnostics);
                }
                target
            }
        });
    }
    targets
}

/// The plugins that a text uses, each once, in the order of the text; none when it cannot be read.
#[must_use]
pub fn references(text: &str) -> Vec<PluginReference> {
    let plugin = |uses| match uses {
        Uses::Plugin(reference) => Some(reference),
        Uses::Workflow(_) => None,
    };
    used(text, plugin)
}

/// The workflows that the stages of a text run, each once, in the order of the text; none when it cannot be read.
#[must_use]
pub fn workflow_references(text: &str) -> Vec<WorkflowReference> {
    let workflow = |uses| match uses {
        Uses::Workflow(reference) => Some(reference),
        Uses::Plugin(_) => None,
    };
    used(text, workflow)
}

fn used<T: Clone + Eq + std::hash::Hash>(text: &str, choose: impl Fn(Uses) -> Option<T>) -> Vec<T> {
    let mut diagnostics = Diagnostics::new(text);
    let Some(root) = tree(&mut diagnostics) else { return Vec::new() };
    let Kind::Map(entries) = &root.kind else { return Vec::new() };
    let mut seen = HashSet::new();
    Section::ALL
        .iter()
        .filter_map(|section| crate::key::find(entries, section.name()))
        .filter_map(|entry| match &entry.value.kind {
            Kind::Map(stages) => Some(stages),
            _ => None,
        })
        .flatten()
        .filter_map(|stage| choose(stage::uses_of(stage)?))
        .filter(|reference| seen.insert(reference.clone()))
        .collect()
}
