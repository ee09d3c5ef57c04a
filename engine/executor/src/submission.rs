//! What a run is started with.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use indexmap::IndexMap;
use serde_json::Value;
use yuanli_model::run::{Again, Cause, PinnedWorkflow, Provenance};
use yuanli_model::stage::WorkflowReference;
use yuanli_model::workflow::Priority;
use yuanli_model::{Digest, InputName, RunId, Workflow};
use yuanli_ports::plugins::Origin;

/// A run to be started.
#[derive(Debug, Clone)]
pub struct Submission {
    /// What it runs.
    pub definition: Definition,
    /// The checked inputs, with defaults.
    pub inputs: IndexMap<InputName, Value>,
    /// The workflows that its stages run, and those that stages of these run.
    pub workflows: Arc<Definitions>,
    /// Names its cause: of one cause there is one run, however often it is submitted. `None` for a run of its own.
    pub cause: Option<String>,
    /// Whether the next engine goes on with it when this one is killed; else it ends it as interrupted.
    pub is_kept: bool,
    /// What else was said of it when it was asked for.
    pub manner: Manner,
}

/// What may be said of a run when it is asked for, whatever it runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Manner {
    /// Whether nothing of earlier runs stands for its stages, however they are cached.
    pub bypasses_cache: bool,
    /// Words to find it by, over those of its workflow.
    pub labels: BTreeMap<String, String>,
    /// How early it begins among those of its concurrency group that wait; `None` for what its workflow says.
    pub priority: Option<Priority>,
}

/// A workflow with what it was made from.
#[derive(Debug, Clone)]
pub struct Definition {
    /// The workflow.
    pub workflow: Arc<Workflow>,
    /// The text that it came from; its digest is the workflow's version.
    pub text: Bytes,
    /// The component of each stage, in the order of the document; of one that runs a workflow, the version of that.
    pub components: Vec<Digest>,
    /// Where its file lies.
    pub origin: Origin,
}

/// Workflows by what stages call them.
pub type Definitions = BTreeMap<WorkflowReference, Definition>;

/// What became of a submission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Started {
    /// The run.
    pub run: RunId,
    /// Whether it was started now; else the same cause had started it before.
    pub is_new: bool,
}

impl Submission {
    /// Where a run of it comes from.
    pub(crate) fn provenance(&self, cause: Cause, again: Option<Again>) -> Provenance {
        let pinned = |(uses, definition): (&WorkflowReference, &Definition)| {
            let (uses, version) = (uses.clone(), definition.version());
            PinnedWorkflow { uses, version, origin: texts(&definition.origin)? }.into()
        };
        let workflows = self.workflows.iter().filter_map(pinned).collect();
        let of_workflow = &self.definition.workflow.settings().labels;
        let mut labels: BTreeMap<String, String> =
            of_workflow.iter().map(|(name, text)| (name.clone(), text.clone())).collect();
        labels.extend(self.manner.labels.clone());
        Provenance { cause, origin: texts(&self.definition.origin), workflows, again, labels }
    }

    /// The texts that have to be stored for it, with their versions.
    pub(crate) fn texts(&self) -> impl Iterator<Item = (Digest, &Bytes)> {
        let definitions = std::iter::once(&self.definition).chain(self.workflows.values());
        definitions.map(|definition| (definition.version(), &definition.text))
    }
}

/// A place as texts; one whose name is none cannot be named.
fn texts(origin: &Origin) -> Option<(String, String)> {
    Some((origin.folder.to_str()?.to_owned(), origin.root.to_str()?.to_owned()))
}

impl Definition {
    /// The digest of its text.
    #[must_use]
    pub fn version(&self) -> Digest {
        Digest::of(&self.text)
    }
}
