//! A workflow's file, compiled. `file.rs` reads it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use indexmap::IndexMap;
use serde_json::Value;
use yuanli_api_types as api;
use yuanli_executor::{Definition, Definitions};
use yuanli_lang::{Catalog, Compilation, Lines, Refusal, RenderOptions, Severity};
use yuanli_model::input::InvalidInput;
use yuanli_model::stage::WorkflowReference;
use yuanli_model::{
    Ceiling, Digest, InputName, PluginDescription, PluginReference, Work, Workflow, WorkflowName,
};
use yuanli_ports::Plugins as _;
use yuanli_ports::plugins::Origin;

use crate::file::File;
use crate::library::Library;
use crate::plugins::unread;
use crate::workflows::{Compiler, Source};

/// Columns of excerpts for a reader whose terminal is not known.
pub(crate) const WIDTH: usize = 100;

/// A workflow's file with what was found in it.
#[derive(Debug)]
pub struct Document {
    name: String,
    text: String,
    pub(crate) origin: Origin,
    compilation: Compilation,
    used: Used,
}

/// Why there is no document.
#[derive(Debug)]
pub enum Unread {
    /// The file cannot be read, or is none: a sentence for whoever named it.
    File(String),
    /// This machine failed.
    Machine(anyhow::Error),
}

/// Why a document cannot be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// It has errors; see [`Document::render`].
    Invalid,
    /// These inputs are missing or wrong.
    Inputs(Vec<InvalidInput>),
    /// These secrets cannot be had: a sentence for each.
    Secrets(Vec<String>),
    /// A run of it cannot be created: a sentence.
    Uncreatable(String),
}

/// Inputs as they are given.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Given {
    /// As text, each to be read as the type that the workflow declares.
    Texts(Vec<(String, String)>),
    /// As values.
    Values(serde_json::Map<String, Value>),
}

/// A document that can be run, with its inputs.
pub(crate) struct Runnable {
    pub(crate) definition: Definition,
    pub(crate) inputs: IndexMap<InputName, Value>,
    pub(crate) workflows: Definitions,
}

/// Plugins and workflows that a document uses, as they were found.
#[derive(Debug, Default)]
pub(crate) struct Used {
    pub(crate) plugin_names: Vec<String>,
    pub(crate) plugins: HashMap<PluginReference, Result<Arc<PluginDescription>, Refusal>>,
    /// Those in whose place a component from a file is tried: it has no rights of their names.
    pub(crate) tried: BTreeSet<PluginReference>,
    pub(crate) workflow_names: Vec<String>,
    /// What may be granted on the engine.
    pub(crate) ceiling: Arc<Ceiling>,
    /// Those included that these run.
    pub(crate) workflows: FoundWorkflows,
}

/// Workflows by what stages call them. One that cannot be known here is `None`; an error is for who wrote the document.
pub(crate) type FoundWorkflows = BTreeMap<WorkflowReference, Result<Option<Definition>, String>>;

impl Given {
    /// The values; a text that is no value of its input's type stays text, and binding it then says what is wrong.
    pub(crate) fn into_values(self, workflow: &Workflow) -> IndexMap<String, Value> {
        let typed = |(name, text): (String, String)| {
            let input = workflow.inputs().iter().find(|(input, _)| input.as_str() == name);
            let value = input.and_then(|(_, input)| input.kind.parse(&text)).unwrap_or(Value::String(text));
            (name, value)
        };
        match self {
            Self::Texts(texts) => texts.into_iter().map(typed).collect(),
            Self::Values(values) => values.into_iter().collect(),
        }
    }
}

impl Used {
    /// The plugin of a reference; `lang` gives no workflow with one that was not found.
    fn plugin(&self, reference: &PluginReference) -> Option<&Arc<PluginDescription>> {
        self.plugins.get(reference)?.as_ref().ok()
    }

    /// The version of a workflow, when it is known.
    fn version_of(&self, reference: &WorkflowReference) -> Option<Digest> {
        match self.workflows.get(reference) {
            Some(Ok(Some(definition))) => Some(definition.version()),
            _ => None,
        }
    }

    /// What a stage runs.
    fn component(&self, stage: &yuanli_model::Stage) -> Option<Digest> {
        match &stage.work {
            Work::Plugin { uses, .. } => self.plugin(uses).map(|plugin| plugin.digest),
            Work::Workflow { uses, .. } => self.version_of(uses),
            // It runs nothing.
            Work::Gate => Some(Digest::from_bytes([0; 32])),
        }
    }
}

impl Catalog for Used {
    fn plugin(&self, reference: &PluginReference) -> Result<Arc<PluginDescription>, Refusal> {
        let unknown = || Err(Refusal::Unknown(format!("there is no plugin `{reference}`")));
        self.plugins.get(reference).cloned().unwrap_or_else(unknown)
    }

    fn name_of<'r>(&self, reference: &'r PluginReference) -> Option<&'r str> {
        if self.tried.contains(reference) { None } else { reference.name() }
    }

    fn names(&self) -> Vec<String> {
        self.plugin_names.clone()
    }

    fn workflow(&self, reference: &WorkflowReference) -> Result<Option<Arc<Workflow>>, String> {
        let found = self.workflows.get(reference).cloned().unwrap_or(Ok(None));
        Ok(found?.map(|definition| definition.workflow))
    }

    fn workflow_names(&self) -> Vec<String> {
        self.workflow_names.clone()
    }

    fn ceiling(&self) -> Option<&Ceiling> {
        Some(&self.ceiling)
    }
}

impl Library {
    /// Reads a file (`-`: standard input; a folder: the one workflow in it) and finds everything that is wrong with it.
    /// Workflows that it runs are looked for beside it.
    ///
    /// # Errors
    /// When the file cannot be read, or this machine fails; what is wrong *in* the file is no error here.
    pub async fn read(&self, file: &str) -> Result<Document, Unread> {
        let file = File::read(file).await?;
        self.compile(file, Source::Beside).await.map_err(Unread::Machine)
    }

    /// The same with components of files in the place of plugins: of the one that is named, or that has the component's own
    /// name. What a stage asks of the version still counts.
    ///
    /// # Errors
    /// As [`Self::read`], and when one of them is no component that can be used, or no stage uses the plugin.
    pub async fn read_trying(
        &self,
        file: &str,
        tried: &[(Option<String>, PathBuf)],
    ) -> Result<Document, Unread> {
        if tried.is_empty() {
            return self.read(file).await;
        }
        let library = self.trying(tried).await?;
        let document = library.read(file).await?;
        for name in library.tried.keys() {
            let uses_it = |reference: &PluginReference| called(reference) == Some(name.as_str());
            if document.is_valid() && !document.used.plugins.keys().any(uses_it) {
                let file = document.name();
                return Err(Unread::File(format!("no stage of `{file}` uses the plugin `{name}`")));
            }
        }
        Ok(document)
    }

    async fn trying(&self, tried: &[(Option<String>, PathBuf)]) -> Result<Self, Unread> {
        let mut library = self.clone();
        for (name, path) in tried {
            let path = std::path::absolute(path).map_err(|e| Unread::Machine(e.into()))?;
            let folder = path.parent().unwrap_or(&path).to_owned();
            let origin = Origin { root: folder.clone(), folder };
            let reference = PluginReference::File(path.display().to_string());
            let found = self.plugins.resolve(&reference, &origin).await.map_err(unread)?;
            let name = name.clone().unwrap_or_else(|| found.name.clone());
            library.tried.insert(name, found);
        }
        Ok(library)
    }

    /// The component that is tried in the place of the plugin of a reference.
    pub(crate) fn tried(&self, reference: &PluginReference) -> Option<&Arc<PluginDescription>> {
        self.tried.get(called(reference)?)
    }

    /// Finds everything that is wrong with a text.
    ///
    /// # Errors
    /// When this machine fails; what is wrong *in* the text is no error here.
    pub(crate) async fn compile(&self, file: File, workflows: Source<'_>) -> anyhow::Result<Document> {
        Compiler::new(self, workflows).compile(file).await
    }
}

/// The name of the plugin that a reference stands for; that of a file is the file's, as `plugin build` calls it.
fn called(reference: &PluginReference) -> Option<&str> {
    match reference {
        PluginReference::File(path) => Path::new(path).file_stem()?.to_str(),
        other => other.name(),
    }
}

impl Document {
    pub(crate) fn compile(file: File, used: Used) -> Self {
        let File { name, text, origin, .. } = file;
        let compilation = yuanli_lang::compile(&name, &text, &used);
        Self { name, text, origin, compilation, used }
    }

    /// The name of its file.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The files that it comes from: its own, and those of components that it names, with the digest of what was read where
    /// one could be used.
    #[must_use]
    pub fn files(&self) -> Vec<(PathBuf, Option<Digest>)> {
        let named = self.used.plugins.iter().filter_map(|(reference, found)| match reference {
            PluginReference::File(path) if !self.used.tried.contains(reference) => {
                Some((self.origin.folder.join(path), found.as_ref().ok().map(|found| found.digest)))
            }
            _ => None,
        });
        named.chain([(PathBuf::from(&self.name), None)]).collect()
    }

    /// Whether it can be run.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.compilation.workflow.is_some()
    }

    /// Whether anything is to be said about it.
    #[must_use]
    pub fn has_diagnostics(&self) -> bool {
        !self.compilation.diagnostics.is_empty()
    }

    /// The stages that ask for an approval which the yes of one person gives, without inputs; none when it has errors.
    pub fn approvals(&self) -> impl Iterator<Item = &str> {
        let stages = self.compilation.workflow.iter().flat_map(|workflow| workflow.stages());
        let asks = |stage: &&yuanli_model::Stage| {
            stage.approval.as_ref().is_some_and(|approval| {
                let needs_input = |input: &yuanli_model::Input| input.default.is_none() && !input.is_optional;
                approval.count.get() == 1 && !approval.inputs.values().any(needs_input)
            })
        };
        stages.filter(asks).map(|stage| stage.name.as_str())
    }

    /// What is to be said about it, for a person, with excerpts.
    #[must_use]
    pub fn render(&self, has_color: bool, width: usize) -> String {
        render(&self.name, &self.text, &self.compilation.diagnostics, has_color, width)
    }

    /// What is to be said about it, as data.
    #[must_use]
    pub fn validation(&self) -> api::Validation {
        api::Validation {
            file: self.name.clone(),
            kind: Some(api::DocumentKind::Workflow),
            valid: self.is_valid(),
            error: None,
            diagnostics: diagnostics(&self.text, &self.compilation.diagnostics),
        }
    }

    /// Its name, its text, and what was found in it.
    pub(crate) fn into_findings(self) -> (String, String, Vec<yuanli_lang::Diagnostic>) {
        (self.name, self.text, self.compilation.diagnostics)
    }

    /// What it declares; `None` when it has errors.
    pub(crate) fn workflow(&self) -> Option<&Workflow> {
        self.compilation.workflow.as_ref()
    }

    /// The plugin that a reference in it stands for.
    pub(crate) fn plugin(&self, reference: &PluginReference) -> Option<Arc<PluginDescription>> {
        self.used.plugin(reference).cloned()
    }

    /// The plugins of its that were added by name: another version of them may be meant tomorrow.
    pub(crate) fn added(&self) -> impl Iterator<Item = (&PluginReference, &PluginDescription)> {
        let known = self.used.plugins.iter().filter_map(|(uses, found)| Some((uses, found.as_deref().ok()?)));
        known.filter(|(uses, found)| uses.name().is_some() && !found.is_builtin)
    }

    /// The components of all plugins that it uses, and of those that the workflows use that it runs.
    pub(crate) fn components(&self) -> BTreeSet<Digest> {
        let own = self.used.plugins.values().filter_map(|found| Some(found.as_ref().ok()?.digest));
        let of_workflows = self.used.workflows.values().filter_map(|found| found.as_ref().ok()?.as_ref());
        let theirs = of_workflows.flat_map(|definition| {
            let stages = definition.workflow.stages().iter().zip(&definition.components);
            stages
                .filter(|(stage, _)| matches!(stage.work, Work::Plugin { .. }))
                .map(|(_, component)| *component)
        });
        own.chain(theirs).collect()
    }

    /// The version of a workflow that it runs, when it is known.
    pub(crate) fn version_of(&self, reference: &WorkflowReference) -> Option<Digest> {
        self.used.version_of(reference)
    }

    /// Its text.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The first of its errors.
    pub(crate) fn first_error(&self) -> Option<&yuanli_lang::Diagnostic> {
        self.compilation.diagnostics.iter().find(|found| found.severity == Severity::Error)
    }

    /// What runs of it are made from; `None` when it has errors, or runs what is not known here.
    pub(crate) fn into_definition(self) -> Option<Definition> {
        let workflow = self.compilation.workflow?;
        let components = workflow.stages().iter().map(|stage| self.used.component(stage));
        Some(Definition {
            components: components.collect::<Option<_>>()?,
            workflow: Arc::new(workflow),
            text: self.text.into(),
            origin: self.origin,
        })
    }

    /// The names of the workflows that stages of it run.
    pub(crate) fn uses(&self) -> impl Iterator<Item = WorkflowName> {
        self.used.workflows.keys().map(|reference| reference.name.clone())
    }

    /// The names of the workflows whose ends start it.
    pub(crate) fn follows(&self) -> impl Iterator<Item = WorkflowName> {
        let events = self.workflow().into_iter().flat_map(|workflow| &workflow.triggers().events);
        events.filter_map(|trigger| trigger.event.ends().cloned())
    }

    /// The workflows that it runs, those included that these run.
    pub(crate) fn workflows(&self) -> Definitions {
        let known = |(uses, found): (&WorkflowReference, &Result<Option<Definition>, String>)| {
            Some((uses.clone(), found.as_ref().ok()?.clone()?))
        };
        self.used.workflows.iter().filter_map(known).collect()
    }

    /// The document with its inputs.
    pub(crate) fn into_runnable(self, given: Given) -> Result<Runnable, Refused> {
        let workflow = self.compilation.workflow.as_ref().ok_or(Refused::Invalid)?;
        let inputs = workflow.bind(given.into_values(workflow)).map_err(Refused::Inputs)?;
        let workflows = self.workflows();
        let definition = self.into_definition().ok_or(Refused::Invalid)?;
        Ok(Runnable { definition, inputs, workflows })
    }
}

/// What is to be said about a text, for a person, with excerpts.
pub(crate) fn render(
    name: &str,
    text: &str,
    diagnostics: &[yuanli_lang::Diagnostic],
    has_color: bool,
    width: usize,
) -> String {
    yuanli_lang::render(name, text, diagnostics, RenderOptions { color: has_color, unicode: true, width })
}

/// What is to be said about a text, as data.
pub(crate) fn diagnostics(text: &str, found: &[yuanli_lang::Diagnostic]) -> Vec<api::Diagnostic> {
    let lines = Lines::new(text);
    found.iter().map(|found| diagnostic(found, &lines)).collect()
}

fn diagnostic(found: &yuanli_lang::Diagnostic, lines: &Lines<'_>) -> api::Diagnostic {
    let end = lines.position(found.span.offset + found.span.length);
    api::Diagnostic {
        code: found.code.to_string(),
        severity: match found.severity {
            Severity::Error => api::Severity::Error,
            Severity::Warning => api::Severity::Warning,
        },
        message: found.message.clone(),
        line: found.line,
        column: found.column,
        end: api::Position { line: end.line, column: end.column },
        span: api::Span { offset_bytes: found.span.offset, length_bytes: found.span.length },
        help: found.help.clone(),
    }
}
