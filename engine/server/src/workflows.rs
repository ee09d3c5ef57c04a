//! The workflows that stages of a document run: where they are found, and how they are compiled before it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use yuanli_executor::{Definition, LeftWorkflow};
use yuanli_lang::{Lock, LockedPlugin, Refusal};
use yuanli_model::stage::WorkflowReference;
use yuanli_model::{PluginDescription, PluginReference};
use yuanli_ports::Plugins as _;
use yuanli_ports::plugins::{Origin, PluginError};

use crate::document::{Document, FoundWorkflows, Unread, Used};
use crate::file::{self, File, Pins};
use crate::identity::Caller;
use crate::kept::{Kept, Registry};
use crate::library::Library;
use crate::lock;

/// How deep workflows may be nested that run each other.
const MAX_DEPTH: usize = 16;
/// Most workflows that one may run, those included that these run.
const MAX_WORKFLOWS: usize = 100;

/// Where workflows are looked for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Source<'a> {
    /// In files beside the document: `workflow/NAME` is `NAME.yaml` there.
    Beside,
    /// There too, but nothing is said of one that is not there: the engine that it is meant for may keep it.
    BesideIfThere,
    /// Among those that the engine keeps, and of these among those that somebody may see.
    Kept(&'a Registry, Option<&'a Caller>),
    /// What was found when the run was started.
    Left(&'a [LeftWorkflow]),
}

/// Compiles a document, and before it the workflows that it runs.
pub(crate) struct Compiler<'a> {
    library: &'a Library,
    source: Source<'a>,
    /// Whether lock files count.
    heeds_locks: bool,
    /// Those that were looked at.
    found: FoundWorkflows,
    /// How deep those that were compiled are nested: 1 for one that runs no other.
    depths: BTreeMap<WorkflowReference, usize>,
    /// Those that are being compiled, each run by the one before.
    path: Vec<WorkflowReference>,
}

impl<'a> Compiler<'a> {
    pub(crate) fn new(library: &'a Library, source: Source<'a>) -> Self {
        Self {
            library,
            source,
            heeds_locks: true,
            found: FoundWorkflows::new(),
            depths: BTreeMap::new(),
            path: Vec::new(),
        }
    }

    /// The same, as if no plugin was locked.
    pub(crate) fn without_locks(self) -> Self {
        Self { heeds_locks: false, ..self }
    }

    /// Finds everything that is wrong with a text.
    ///
    /// # Errors
    /// When this machine fails; what is wrong *in* the text is no error here.
    pub(crate) async fn compile(mut self, file: File) -> anyhow::Result<Document> {
        Ok(self.document(file).await?.0)
    }

    /// The document, and how deep the workflows are nested that it runs.
    async fn document(&mut self, file: File) -> anyhow::Result<(Document, usize)> {
        let workflows = yuanli_lang::workflow_references(&file.text);
        for uses in &workflows {
            // In a box, as it comes back here.
            Box::pin(self.find(uses, &file.origin)).await?;
        }
        let plugins = &self.library.plugins;
        let ceiling = Arc::clone(&self.library.ceiling);
        let mut used = Used { plugin_names: plugins.names(), ceiling, ..Used::default() };
        let locked = self.lock_of(&file).await;
        for reference in yuanli_lang::references(&file.text) {
            let resolved = match self.plugin(&reference, &file, &locked).await {
                Err(PluginError::Local(why)) => anyhow::bail!("plugin `{reference}`: {why}"),
                Err(PluginError::Unfit(why)) => Err(Refusal::Unfit(why)),
                Err(error) => Err(Refusal::Unknown(error.to_string())),
                Ok(description) => Ok(description),
            };
            if self.library.tried(&reference).is_some() {
                used.tried.insert(reference.clone());
            }
            used.plugins.insert(reference, resolved);
        }
        used.workflows = self.found.clone();
        if !workflows.is_empty() {
            used.workflow_names = self.names(&file.origin.folder);
        }
        let depth = workflows.iter().filter_map(|uses| self.depths.get(uses)).max().copied();
        Ok((Document::compile(file, used), depth.unwrap_or_default()))
    }

    /// The lock that a file is read with: the one in its folder, when that is where it was read from.
    async fn lock_of(&self, file: &File) -> Result<Lock, String> {
        match self.source {
            Source::Beside | Source::BesideIfThere if self.heeds_locks && !file.is_stdin() => {
                Ok(lock::beside(&file.origin.folder).await?.unwrap_or_default())
            }
            _ => Ok(Lock::default()),
        }
    }

    /// The plugin of a reference: the one that it is pinned to, else that it is locked to, else what it stands for now.
    async fn plugin(
        &self,
        reference: &PluginReference,
        file: &File,
        locked: &Result<Lock, String>,
    ) -> Result<Arc<PluginDescription>, PluginError> {
        if let Some(tried) = self.library.tried(reference) {
            return Ok(Arc::clone(tried));
        }
        let plugins = &self.library.plugins;
        if let Some(component) = file.pins.get(reference) {
            match plugins.description(component).await {
                // The copy is gone. The file may still be what it was, of a name another version is another plugin.
                Err(PluginError::Local(_)) if reference.name().is_none() => {}
                pinned => return pinned,
            }
        }
        let found = plugins.resolve(reference, &file.origin).await;
        if reference.name().is_none() || found.as_ref().is_ok_and(|found| found.is_builtin) {
            return found;
        }
        let lock = locked.as_ref().map_err(|why| PluginError::Unfit(why.clone()))?;
        match lock.find(reference) {
            Ok(None) => found,
            Ok(Some(LockedPlugin { digest, .. }))
                if found.as_ref().is_ok_and(|found| found.digest == digest) =>
            {
                found
            }
            Ok(Some(LockedPlugin { key, digest })) => {
                let pinned = PluginReference::Pinned(key.name.to_string(), digest);
                match plugins.resolve(&pinned, &file.origin).await {
                    Err(PluginError::Unknown(_) | PluginError::Unfit(_)) => Err(PluginError::Unfit(format!(
                        "`{}` locks `{}` to {} ({digest}), which is not here: add it with `yuanli plugin add FILE`, or lock \
                         again with `yuanli plugin lock`",
                        Lock::FILE,
                        key.name,
                        key.version,
                    ))),
                    found => found,
                }
            }
            Err(unlocked) => Err(PluginError::Unfit(unlocked.to_string())),
        }
    }

    /// Looks at a workflow that a document runs whose file lies there.
    async fn find(&mut self, uses: &WorkflowReference, origin: &Origin) -> anyhow::Result<()> {
        if self.found.contains_key(uses) {
            return Ok(());
        }
        if self.path.contains(uses) {
            let path: Vec<String> = self
                .path
                .iter()
                .skip_while(|before| *before != uses)
                .chain([uses])
                .map(|w| w.name.to_string())
                .collect();
            // Until the one that is being compiled is.
            self.found.insert(uses.clone(), Err(format!("the workflow runs itself: {}", path.join(" → "))));
            return Ok(());
        }
        let too_deep = || Err(format!("workflows that run each other are nested more than {MAX_DEPTH} deep"));
        let found = if self.path.len() >= MAX_DEPTH {
            too_deep()
        } else if self.found.len() + self.path.len() >= MAX_WORKFLOWS {
            Err(format!("more than {MAX_WORKFLOWS} workflows are run, those included that these run"))
        } else {
            match self.read(uses, origin).await? {
                Ok(Some(file)) => {
                    self.path.push(uses.clone());
                    let (document, depth) = self.document(file).await?;
                    self.path.pop();
                    // Of all that it runs, whichever way they were come to.
                    let depth = depth + 1;
                    self.depths.insert(uses.clone(), depth);
                    if depth > MAX_DEPTH { too_deep() } else { definition(uses, document) }
                }
                Ok(None) => Ok(None),
                Err(why) => Err(why),
            }
        };
        self.found.insert(uses.clone(), found);
        Ok(())
    }

    /// The file of a workflow; `None` when that cannot be known here. The inner error is for who wrote the document.
    async fn read(
        &self,
        uses: &WorkflowReference,
        origin: &Origin,
    ) -> anyhow::Result<Result<Option<File>, String>> {
        let name = &uses.name;
        match self.source {
            Source::Beside | Source::BesideIfThere => {
                let candidates = file::ENDINGS.map(|ending| origin.folder.join(format!("{name}.{ending}")));
                let Some(path) = candidates.iter().find(|path| path.exists()) else {
                    return Ok(match self.source {
                        Source::BesideIfThere => Ok(None),
                        _ => Err(format!(
                            "there is no workflow `{name}`: no file `{name}.yaml` beside this one"
                        )),
                    });
                };
                match File::read(&path.display().to_string()).await {
                    Ok(file) => Ok(Ok(Some(file))),
                    Err(Unread::File(why)) => Ok(Err(why)),
                    Err(Unread::Machine(error)) => Err(error),
                }
            }
            Source::Kept(registry, caller) => {
                Ok(match registry.get(name).filter(|kept| may_see(caller, kept)) {
                    Some(kept) => Ok(Some(kept.as_file())),
                    None => Err(format!(
                        "the engine keeps no workflow `{name}`: `yuanli workflow apply` it first"
                    )),
                })
            }
            Source::Left(left) => Ok(match left.iter().find(|left| left.uses == *uses) {
                Some(LeftWorkflow { text: Some(text), origin, .. }) => {
                    let name = format!("{name}.yaml");
                    Ok(Some(File { name, text: text.clone(), origin: origin.clone(), pins: Pins::new() }))
                }
                Some(_) => Err(format!("the text of workflow `{name}` is not stored any more")),
                None => Err(format!("workflow `{name}` was not found when the run was started")),
            }),
        }
    }

    /// The names of the workflows that there are, for one that is misspelled.
    fn names(&self, folder: &Path) -> Vec<String> {
        match self.source {
            Source::Beside | Source::BesideIfThere => file::names_in(folder),
            Source::Kept(registry, caller) => {
                let all = registry.list();
                let theirs = all.iter().filter(|kept| may_see(caller, kept));
                theirs.map(|kept| kept.name.to_string()).collect()
            }
            Source::Left(_) => Vec::new(),
        }
    }
}

/// Whether a workflow is one of those that somebody may see; nobody is asked where the engine itself looks.
fn may_see(caller: Option<&Caller>, kept: &Kept) -> bool {
    caller.is_none_or(|caller| caller.has(&kept.name))
}

/// What runs of a workflow are made from. The error is for who wrote the document that runs it.
fn definition(uses: &WorkflowReference, document: Document) -> Result<Option<Definition>, String> {
    let name = &uses.name;
    let file =
        Path::new(document.name()).file_name().map_or_else(String::new, |file| file.display().to_string());
    if let Some(first) = document.first_error() {
        return Err(format!(
            "workflow `{name}` has errors, the first in line {}: {}",
            first.line, first.message
        ));
    }
    // One that runs what is not known here is not known either.
    let Some(definition) = document.into_definition() else { return Ok(None) };
    let found = definition.workflow.name();
    if found != name {
        return Err(format!("the workflow in `{file}` is called `{found}`, not `{name}`"));
    }
    let version = definition.version();
    match &uses.version {
        Some(asked) if !version.hex().starts_with(asked) => {
            Err(format!("workflow `{name}` is of version `{}`, not `{asked}`", version.short()))
        }
        _ => Ok(Some(definition)),
    }
}
