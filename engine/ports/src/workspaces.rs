//! Workspaces: the files that an attempt begins with, changes and leaves.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use yuanli_model::workspace::Conflict;
use yuanli_model::{AttemptId, Digest, RunId, Workflow};

/// Why a workspace cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WorkspaceError {
    /// Two stages that do not need each other left different things at one path.
    #[error(transparent)]
    Conflict(#[from] Conflict),
    /// The file system failed.
    #[error("the workspace cannot be {action}: {path}: {reason}")]
    Io {
        /// `read`, `written`, `made`.
        action: &'static str,
        /// The path, relative to the workspace where it lies in one.
        path: String,
        /// What the system said.
        reason: String,
    },
    /// What a need left is not there any more.
    #[error("the workspace {0} is gone")]
    Missing(Digest),
}

/// Makes workspaces and keeps what attempts left in them while their run lasts.
#[async_trait]
pub trait Workspaces: Send + Sync + std::fmt::Debug {
    /// The workspace of an attempt: what `needs` left, merged. No file is made before [`AttemptWorkspace::folder`]
    /// is first asked for.
    ///
    /// # Errors
    /// [`WorkspaceError::Conflict`] when two needs disagree.
    async fn begin(
        &self,
        attempt: &AttemptId,
        needs: &[Digest],
        workflow: &Workflow,
    ) -> Result<Arc<dyn AttemptWorkspace>, WorkspaceError>;

    /// Removes everything that is kept for a run; nothing happens when there is nothing.
    ///
    /// # Errors
    /// [`WorkspaceError::Io`].
    async fn remove(&self, run: RunId) -> Result<(), WorkspaceError>;

    /// The runs that something is kept for, whoever knows of them.
    ///
    /// # Errors
    /// [`WorkspaceError::Io`].
    async fn runs(&self) -> Result<Vec<RunId>, WorkspaceError>;
}

/// The workspace of one attempt: its own, nobody else sees what it writes.
#[async_trait]
pub trait AttemptWorkspace: Send + Sync + std::fmt::Debug {
    /// The folder with its files, made at the first call. Links in it may point anywhere: whoever reads or writes on
    /// behalf of a guest must not follow them outside.
    ///
    /// # Errors
    /// [`WorkspaceError`].
    async fn folder(&self) -> Result<PathBuf, WorkspaceError>;

    /// Keeps what is in it now for the stages that need this one, and removes the folder. `None` when it is empty
    /// and always was.
    ///
    /// # Errors
    /// [`WorkspaceError`].
    async fn publish(&self) -> Result<Option<Digest>, WorkspaceError>;

    /// Removes the folder; what was in it is lost.
    ///
    /// # Errors
    /// [`WorkspaceError::Io`].
    async fn discard(&self) -> Result<(), WorkspaceError>;
}
