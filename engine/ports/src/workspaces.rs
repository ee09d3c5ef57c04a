//! Workspaces: the files that an attempt begins with, changes and leaves.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use yuanli_model::workspace::{Conflict, Manifest};
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

/// Makes workspaces and keeps what attempts left in them, also after the end of their run, until that is asked to go.
#[async_trait]
pub trait Workspaces: Send + Sync + std::fmt::Debug {
    /// The workspace of an attempt: what `needs` left, merged. No file is made before [`AttemptWorkspace::folder`]
    /// is first asked for. With `is_adopted`, the folder that an engine before this one has made for the attempt is taken as
    /// it is, where there is one.
    ///
    /// # Errors
    /// [`WorkspaceError::Conflict`] when two needs disagree.
    async fn begin(
        &self,
        attempt: &AttemptId,
        needs: &[Digest],
        workflow: &Workflow,
        is_adopted: bool,
    ) -> Result<Arc<dyn AttemptWorkspace>, WorkspaceError>;

    /// Removes what only a run that goes on needs: the folders of its attempts. What they have left stays.
    ///
    /// # Errors
    /// [`WorkspaceError::Io`].
    async fn retire(&self, run: RunId) -> Result<(), WorkspaceError>;

    /// Makes what attempts of one run have left be kept for another one as well, so that it survives a power cut. Returns
    /// those of `workspaces` that are not there any more.
    ///
    /// # Errors
    /// [`WorkspaceError::Io`].
    async fn share(
        &self,
        from: RunId,
        to: RunId,
        workspaces: &[Digest],
    ) -> Result<Vec<Digest>, WorkspaceError>;

    /// How many bytes are kept for a run that has ended. What several runs share counts for each.
    ///
    /// # Errors
    /// [`WorkspaceError::Io`].
    async fn size(&self, run: RunId) -> Result<u64, WorkspaceError>;

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

    /// Makes what was written to it so far survive a power cut.
    ///
    /// # Errors
    /// [`WorkspaceError::Io`].
    async fn sync(&self) -> Result<(), WorkspaceError>;

    /// A folder beside it, made at the first call, for what the attempt needs and nobody is to find: it is empty when the
    /// attempt begins for the first time, no part of the workspace, and goes with it. Links in it may point anywhere as well.
    ///
    /// # Errors
    /// [`WorkspaceError::Io`].
    async fn aside(&self) -> Result<PathBuf, WorkspaceError>;

    /// Keeps what is in it now for the stages that need this one, so that it survives a power cut. `None` when it is empty
    /// and always was. The folder stays until it is discarded.
    ///
    /// # Errors
    /// [`WorkspaceError`].
    async fn publish(&self) -> Result<Option<Digest>, WorkspaceError>;

    /// What it began with.
    fn beginning(&self) -> Arc<Manifest>;

    /// Instead of working in it: what an attempt of the same stage in another run has changed is changed here as well, and
    /// kept, so that it survives a power cut; [`Self::publish`] gives it. `left` is what was published there. Says whether
    /// that is still there; nothing has happened where it is not.
    ///
    /// # Errors
    /// [`WorkspaceError::Io`]; [`WorkspaceError::Conflict`] when it does not fit what this one began with.
    async fn take_over(&self, from: RunId, left: Digest) -> Result<bool, WorkspaceError>;

    /// Removes the folder; what was in it and not published is lost.
    ///
    /// # Errors
    /// [`WorkspaceError::Io`].
    async fn discard(&self) -> Result<(), WorkspaceError>;
}
