//! What the executor of a case reaches beside its plugins: everything in memory, and nothing that takes real time.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use tempfile::TempDir;
use yuanli_executor::{Executor, Options, Ports};
use yuanli_model::workspace::Manifest;
use yuanli_model::{AttemptId, Digest, RunId, Workflow};
use yuanli_ports::announcements::NoAnnouncements;
use yuanli_ports::archive::{Block, Place, Segment};
use yuanli_ports::blobs::{Blob, Held, Hold};
use yuanli_ports::store::StoreError;
use yuanli_ports::workspaces::WorkspaceError;
use yuanli_ports::{Archive, AttemptWorkspace, Blobs, Plugins, Store, Workspaces};
use yuanli_store::{FileLogs, Memory};

use crate::clock::CaseClock;

/// An executor of its own, and what it keeps everything in.
pub(crate) fn executor(clock: Arc<CaseClock>, plugins: Arc<dyn Plugins>) -> (Executor, Arc<dyn Store>) {
    let store = Arc::new(Memory::default());
    let ports = Ports {
        store: store.clone(),
        archive: Arc::new(NoArchive),
        blobs: Arc::new(MemoryBlobs::default()),
        // Short logs are in memory until their attempt ends, and go into the store; longer ones are lost here, which nobody sees.
        logs: Arc::new(FileLogs::new(PathBuf::from("/nonexistent/logs"))),
        workspaces: Arc::new(EmptyWorkspaces),
        plugins,
        clock,
        announcements: Arc::new(NoAnnouncements),
    };
    (Executor::new(ports, Options::default()), store)
}

/// Nobody moves runs to the archive.
#[derive(Debug)]
struct NoArchive;

#[async_trait]
impl Archive for NoArchive {
    async fn append(&self, _: Vec<Bytes>) -> Result<Vec<Place>, StoreError> {
        Err(StoreError::Refused("a test keeps no archive".to_owned()))
    }

    async fn read(&self, place: Place) -> Result<Bytes, StoreError> {
        Err(StoreError::Damaged(format!("no record at {place:?}")))
    }

    async fn block(&self, _: u64, _: Option<u64>) -> Result<Option<Block>, StoreError> {
        Ok(None)
    }

    async fn segments(&self) -> Result<Vec<Segment>, StoreError> {
        Ok(Vec::new())
    }

    async fn remove(&self, _: u64) -> Result<(), StoreError> {
        Ok(())
    }
}

/// Blobs in memory, which stay for as long as the case lasts.
#[derive(Debug, Default)]
struct MemoryBlobs(Mutex<HashMap<Digest, Bytes>>);

#[derive(Debug)]
struct Kept;

impl Held for Kept {}

#[async_trait]
impl Blobs for MemoryBlobs {
    async fn keep(&self, bytes: Bytes) -> Result<(Digest, Hold), StoreError> {
        let digest = Digest::of(&bytes);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(digest, bytes);
        Ok((digest, Box::new(Kept)))
    }

    async fn read(&self, digest: Digest) -> Result<Bytes, StoreError> {
        let blobs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        blobs.get(&digest).cloned().ok_or_else(|| StoreError::Damaged(format!("no blob {digest}")))
    }

    async fn list(&self) -> Result<Vec<Blob>, StoreError> {
        Ok(Vec::new())
    }

    fn condemn(&self, _: Digest) -> bool {
        false
    }

    async fn remove(&self, _: Digest) -> Result<bool, StoreError> {
        Ok(false)
    }
}

/// Each attempt begins in an empty folder, and leaves nothing: what stages do is said by the case, files are not.
#[derive(Debug)]
struct EmptyWorkspaces;

#[derive(Debug, Default)]
struct EmptyWorkspace(OnceLock<TempDir>);

#[async_trait]
impl Workspaces for EmptyWorkspaces {
    async fn begin(
        &self,
        _: &AttemptId,
        _: &[Digest],
        _: &Workflow,
        _: bool,
    ) -> Result<Arc<dyn AttemptWorkspace>, WorkspaceError> {
        Ok(Arc::new(EmptyWorkspace::default()))
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
impl AttemptWorkspace for EmptyWorkspace {
    async fn folder(&self) -> Result<PathBuf, WorkspaceError> {
        if let Some(folder) = self.0.get() {
            return Ok(folder.path().to_owned());
        }
        let made = tempfile::tempdir();
        let made = made.map_err(|error| WorkspaceError::Io {
            action: "made",
            path: ".".to_owned(),
            reason: error.to_string(),
        })?;
        Ok(self.0.get_or_init(|| made).path().to_owned())
    }

    async fn sync(&self) -> Result<(), WorkspaceError> {
        Ok(())
    }

    async fn aside(&self) -> Result<PathBuf, WorkspaceError> {
        self.folder().await
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
