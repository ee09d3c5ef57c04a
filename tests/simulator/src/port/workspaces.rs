//! Workspaces: one folder for all, which nobody writes to and which has something in it to build. What attempts leave in theirs
//! are names only, kept by run as the product keeps contents.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tempfile::TempDir;
use yuanli_model::workspace::Manifest;
use yuanli_model::{AttemptId, Digest, RunId, Workflow};
use yuanli_ports::workspaces::WorkspaceError;
use yuanli_ports::{AttemptWorkspace, Workspaces};

use crate::world::World;

static FOLDER: LazyLock<TempDir> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("Dockerfile"), "FROM scratch\n").expect("a file in it");
    folder
});

/// What attempts have left, by run. Outlives the engine.
#[derive(Debug, Default)]
pub(crate) struct Shelves(Mutex<BTreeMap<RunId, BTreeSet<Digest>>>);

impl Shelves {
    fn all(&self) -> MutexGuard<'_, BTreeMap<RunId, BTreeSet<Digest>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn has(&self, run: RunId, left: Digest) -> bool {
        self.all().get(&run).is_some_and(|kept| kept.contains(&left))
    }

    pub(crate) fn runs(&self) -> Vec<RunId> {
        self.all().keys().copied().collect()
    }

    fn put(&self, run: RunId, left: Digest) {
        self.all().entry(run).or_default().insert(left);
    }
}

#[derive(Debug)]
pub(crate) struct OneFolder(pub(crate) Arc<World>);

/// The workspace of an attempt.
#[derive(Debug)]
struct OfAttempt {
    world: Arc<World>,
    attempt: AttemptId,
    /// What it has taken over instead of working.
    taken: Mutex<Option<Digest>>,
}

#[async_trait]
impl Workspaces for OneFolder {
    async fn begin(
        &self,
        attempt: &AttemptId,
        needs: &[Digest],
        _: &Workflow,
        _: bool,
    ) -> Result<Arc<dyn AttemptWorkspace>, WorkspaceError> {
        for need in needs {
            if !self.0.workspaces.has(attempt.run, *need) {
                self.0.accuse(format!("{attempt} begins with {need}, which is not kept for its run"));
            }
        }
        let (world, attempt) = (Arc::clone(&self.0), attempt.clone());
        Ok(Arc::new(OfAttempt { world, attempt, taken: Mutex::default() }))
    }

    async fn retire(&self, _: RunId) -> Result<(), WorkspaceError> {
        Ok(())
    }

    async fn share(
        &self,
        from: RunId,
        to: RunId,
        workspaces: &[Digest],
    ) -> Result<Vec<Digest>, WorkspaceError> {
        let shelves = &self.0.workspaces;
        let (here, gone): (Vec<Digest>, Vec<Digest>) =
            workspaces.iter().partition(|left| shelves.has(from, **left));
        here.into_iter().for_each(|left| shelves.put(to, left));
        Ok(gone)
    }

    async fn size(&self, run: RunId) -> Result<u64, WorkspaceError> {
        Ok(self.0.workspaces.all().get(&run).map_or(0, |kept| kept.len() as u64))
    }

    async fn remove(&self, run: RunId) -> Result<(), WorkspaceError> {
        self.0.note(&format!("what {run} has left is removed"));
        self.0.workspaces.all().remove(&run);
        Ok(())
    }

    async fn runs(&self) -> Result<Vec<RunId>, WorkspaceError> {
        Ok(self.0.workspaces.runs())
    }
}

#[async_trait]
impl AttemptWorkspace for OfAttempt {
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
        let taken = *self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let left = taken.unwrap_or_else(|| Digest::of(self.attempt.to_string().as_bytes()));
        self.world.workspaces.put(self.attempt.run, left);
        Ok(Some(left))
    }

    fn beginning(&self) -> Arc<Manifest> {
        Arc::default()
    }

    async fn take_over(&self, from: RunId, left: Digest) -> Result<bool, WorkspaceError> {
        let is_there = self.world.workspaces.has(from, left);
        *self.taken.lock().unwrap_or_else(PoisonError::into_inner) = is_there.then_some(left);
        Ok(is_there)
    }

    async fn discard(&self) -> Result<(), WorkspaceError> {
        Ok(())
    }
}
