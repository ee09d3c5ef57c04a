//! Running a plugin, and knowing what it is.

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;
use yuanli_model::stage::Limits;
use yuanli_model::{
    AttemptId, Digest, Failure, Grant, PluginDescription, PluginReference, SecretName, Timestamp,
    WorkflowName,
};

use crate::containers::ContainerError;
use crate::used::UsedImages;
use crate::{AttemptJournal, AttemptLog, AttemptRecords, AttemptWorkspace, Cancellation};

/// Everything that one attempt of a plugin has to do with.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// Which attempt it is.
    pub id: AttemptId,
    /// The workflow it is part of.
    pub workflow: WorkflowName,
    /// The component to run.
    pub component: Digest,
    /// What the component may import beyond the free capabilities. Ignored for one that came with the engine.
    pub grants: Vec<Grant>,
    /// The config, as the stage's `with` came out.
    pub config: Value,
    /// The secrets that the run names, in its inputs and in the configs of its stages. What it writes is shown without them, whether it has them or not.
    pub secrets: Arc<[SecretName]>,
    /// How long it may take, wall clock, time in host calls included.
    pub timeout: Duration,
    /// What else it may use.
    pub limits: Limits,
    /// When it began.
    pub started: Timestamp,
    /// Whether an engine before this one has begun it, so that its journal says what it has called.
    pub is_again: bool,
    /// Where the workflow's file lies, and what around it may be read.
    pub origin: Arc<Origin>,
    /// Its files.
    pub workspace: Arc<dyn AttemptWorkspace>,
    /// Its log.
    pub log: Arc<dyn AttemptLog>,
    /// What it has called, for when it is begun again.
    pub journal: Arc<dyn AttemptJournal>,
    /// What it keeps with the engine.
    pub records: Arc<dyn AttemptRecords>,
    /// Fires when the run is cancelled.
    pub cancel: Cancellation,
    /// What is to be done once its end is durable: until then an engine may have to look again at what it has left.
    pub afterwards: Afterwards,
    /// Where it is noted which images it has to do with, if somebody wants to know.
    pub images: Option<UsedImages>,
}

/// Work that is done later by somebody else. Clones share it.
#[derive(Clone, Default)]
pub struct Afterwards(Arc<Mutex<Vec<Later>>>);

type Later = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Afterwards {
    /// Adds work.
    pub fn add(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Box::pin(work));
    }

    /// Does all of it, in order.
    pub async fn perform(&self) {
        let all = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        for work in all {
            work.await;
        }
    }
}

impl std::fmt::Debug for Afterwards {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Afterwards").finish_non_exhaustive()
    }
}

/// Where a workflow came from on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The folder of its file; relative paths in it begin here.
    pub folder: PathBuf,
    /// The folder that holds all it may refer to: its git work tree, or `folder`.
    pub root: PathBuf,
}

/// Why a plugin cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PluginError {
    /// No plugin of that name, or no such file.
    #[error("{0}")]
    Unknown(String),
    /// There is a plugin of that name, and not the one that is asked for.
    #[error("{0}")]
    Unfit(String),
    /// The file is no component, or none that this engine can run.
    #[error("{0}")]
    Invalid(String),
    /// It imports what it was not granted.
    #[error("{0}")]
    NotGranted(String),
    /// This machine failed: the file cannot be read, no room for the cache.
    #[error("{0}")]
    Local(String),
}

/// Finds plugins and runs attempts of them.
#[async_trait]
pub trait Plugins: Send + Sync + std::fmt::Debug {
    /// What the plugins say of themselves that came with the engine or were added, sorted by name and version.
    ///
    /// # Errors
    /// See [`PluginError`].
    async fn list(&self) -> Result<Vec<Arc<PluginDescription>>, PluginError>;

    /// The names of these plugins, sorted, each once; asks none of them.
    fn names(&self) -> Vec<String>;

    /// The plugin that a reference stands for now: of those with its name the highest version that fits. Files are relative to `origin`. Its component is kept, so that it
    /// can be run by digest whatever happens to the file.
    ///
    /// # Errors
    /// See [`PluginError`].
    async fn resolve(
        &self,
        reference: &PluginReference,
        origin: &Origin,
    ) -> Result<Arc<PluginDescription>, PluginError>;

    /// Runs an attempt to its end and returns the outputs, checked against the plugin's schema. Ends soon after
    /// `cancel` fires. Nothing that the attempt made outside (containers) runs when it returns, and nothing is left of it once
    /// [`Attempt::afterwards`] is done.
    ///
    /// # Errors
    /// The failure of the attempt, whoever's fault it is.
    async fn run(&self, attempt: Attempt) -> Result<Value, Failure>;

    /// The id of the image that a name stands for now, where attempts look for images; `None` when it stands for nothing.
    ///
    /// # Errors
    /// See [`ContainerError`].
    async fn image(&self, name: &str) -> Result<Option<String>, ContainerError>;
}
