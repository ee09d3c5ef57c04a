//! Workspaces: one folder for all, which nobody writes to and which has something in it to build.

use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use async_trait::async_trait;
use tempfile::TempDir;
use yuanli_model::workspace::Manifest;
use yuanli_model::{AttemptId, Digest, RunId, Workflow};
use yuanli_ports::workspaces::WorkspaceError;
use yuanli_ports::{AttemptWorkspace, Workspaces};

static FOLDER: LazyLock<TempDir> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("Dockerfile"), "FROM scratch\n").expect("a file in it");
    folder
});

#[derive(Debug)]
pub(crate) struct OneFolder;

#[async_trait]
impl Workspaces for OneFolder {
    async fn begin(
        &self,
        _: &AttemptId,
        _: &[Digest],
        _: &Workflow,
        _: bool,
    ) -> Result<Arc<dyn AttemptWorkspace>, WorkspaceError> {
        Ok(Arc::new(Self))
    }

    async fn retire(&self, _: RunId) -> Result<(), WorkspaceError> {
        Ok(())
    }

    async fn share(&self, _: RunId, _: RunId, _: &[Digest]) -> Result<Vec<Digest>, WorkspaceError> {
        Ok(Vec::new())
    }

    async fn size(&self, _: RunId) -> Result<u64, WorkspaceError> {
        Ok(0)
    }

    async fn remove(&self, _: RunId) -> Result<(), WorkspaceError> {
        Ok(())
    }

    async fn runs(&self) -> Result<Vec<RunId>, WorkspaceError> {
        Ok(Vec::new())
    }
}

#[async_trait]
impl AttemptWorkspace for OneFolder {
    async fn folder(&self) -> Result<PathBuf, WorkspaceError> {
        Ok(FOLDER.path().to_owned())
    }

    async fn sync(&self) -> Result<(), WorkspaceError> {
        Ok(())
    }

    async fn aside(&self) -> Result<PathBuf, WorkspaceError> {
        Ok(FOLDER.path().to_owned())
    }

    async fn publish(&self) -> Result<Option<Digest>, WorkspaceError> {
        Ok(None)
    }

    fn beginning(&self) -> Arc<Manifest> {
        Arc::default()
    }

    async fn take_over(&self, _: RunId, _: Digest) -> Result<bool, WorkspaceError> {
        Ok(false)
    }

    async fn discard(&self) -> Result<(), WorkspaceError> {
        Ok(())
    }
}
