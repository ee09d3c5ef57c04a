//! The workspace of one attempt: untouched until somebody asks for its folder, over when published, gone when discarded.
//!
//! Futures may be dropped at any `.await` while the work they began goes on in its thread. The lock on [`Phase`] is
//! held in those threads for as long as they work, so that what comes next finds a whole folder or none.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio::sync::OnceCell;
use yuanli_model::workspace::Manifest;
use yuanli_model::{AttemptId, Digest, RunId};
use yuanli_ports::AttemptWorkspace;
use yuanli_ports::workspaces::WorkspaceError;

use crate::depot::Depot;
use crate::materialise::{Made, materialise};
use crate::survey::Survey;
use crate::sync::{self, Moment};
use crate::{Beginning, Manifests, blocking, check_parents, fault, removal, share};

/// A workspace whose folder is a plain one.
#[derive(Debug)]
pub(crate) struct FolderWorkspace {
    inner: Arc<Inner>,
    /// Callers that come while the folder is made wait for it here, not each in a thread.
    folder: OnceCell<PathBuf>,
    /// Set before the folder is made: a stage that never asks for it costs no thread and no lock.
    is_asked_for: AtomicBool,
    /// Set before there is anything aside.
    has_aside: AtomicBool,
}

/// What the threads that work on it share.
#[derive(Debug)]
struct Inner {
    attempt: AttemptId,
    beginning: Beginning,
    depot: Depot,
    manifests: Arc<Manifests>,
    phase: Mutex<Phase>,
    /// Up to when what was written to the folder is known to be on the device; the beginning of time at first.
    synced: Mutex<Moment>,
}

#[derive(Debug)]
enum Phase {
    /// There is no folder.
    Untouched,
    /// The folder is there.
    Open(Made),
    /// What was in it is kept under this digest.
    Published(Option<Digest>),
    /// The folder is gone.
    Discarded,
}

impl FolderWorkspace {
    pub(crate) fn new(
        attempt: AttemptId,
        beginning: Beginning,
        depot: Depot,
        manifests: Arc<Manifests>,
    ) -> Self {
        let phase = Mutex::new(Phase::Untouched);
        let inner = Arc::new(Inner { attempt, beginning, depot, manifests, phase, synced: Mutex::default() });
        let (is_asked_for, has_aside) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { inner, folder: OnceCell::new(), is_asked_for, has_aside }
    }

    /// Takes the folder that an engine before this one has made.
    pub(crate) async fn adopt(&self) -> Result<(), WorkspaceError> {
        let inner = Arc::clone(&self.inner);
        if blocking(move || inner.adopt()).await? {
            self.is_asked_for.store(true, Ordering::SeqCst);
        }
        Ok(())
    }

    fn is_asked_for(&self) -> bool {
        self.is_asked_for.load(Ordering::SeqCst)
    }
}

impl FolderWorkspace {
    /// What cannot be removed goes with the run.
    async fn clear_aside(&self) {
        if self.has_aside.load(Ordering::SeqCst) {
            let path = self.inner.depot.aside(&self.inner.attempt);
            let _ = blocking(move || removal::remove(&path)).await;
        }
    }
}

#[async_trait]
impl AttemptWorkspace for FolderWorkspace {
    async fn folder(&self) -> Result<PathBuf, WorkspaceError> {
        self.is_asked_for.store(true, Ordering::SeqCst);
        let make = || {
            let inner = Arc::clone(&self.inner);
            blocking(move || inner.make())
        };
        self.folder.get_or_try_init(make).await.cloned()
    }

    async fn sync(&self) -> Result<(), WorkspaceError> {
        let has_aside = self.has_aside.load(Ordering::SeqCst);
        if !self.is_asked_for() && !has_aside {
            return Ok(());
        }
        let inner = Arc::clone(&self.inner);
        blocking(move || inner.sync(has_aside)).await
    }

    async fn aside(&self) -> Result<PathBuf, WorkspaceError> {
        self.has_aside.store(true, Ordering::SeqCst);
        let path = self.inner.depot.aside(&self.inner.attempt);
        blocking(move || std::fs::create_dir_all(&path).map(|()| path).map_err(fault::at("made", ""))).await
    }

    async fn publish(&self) -> Result<Option<Digest>, WorkspaceError> {
        let beginning = &self.inner.beginning;
        if !self.is_asked_for() && (beginning.digest.is_some() || beginning.manifest.is_empty()) {
            return Ok(beginning.digest);
        }
        let inner = Arc::clone(&self.inner);
        blocking(move || inner.publish()).await
    }

    fn beginning(&self) -> Arc<Manifest> {
        Arc::clone(&self.inner.beginning.manifest)
    }

    async fn take_over(&self, from: RunId, left: Digest) -> Result<bool, WorkspaceError> {
        // What is published from now on is read from the phase.
        self.is_asked_for.store(true, Ordering::SeqCst);
        let inner = Arc::clone(&self.inner);
        blocking(move || inner.take_over(from, left)).await
    }

    async fn discard(&self) -> Result<(), WorkspaceError> {
        self.clear_aside().await;
        if !self.is_asked_for() {
            return Ok(());
        }
        let inner = Arc::clone(&self.inner);
        blocking(move || inner.discard()).await
    }
}

impl Inner {
    fn make(&self) -> Result<PathBuf, WorkspaceError> {
        let folder = self.folder();
        let mut phase = self.phase();
        match &*phase {
            // Untouched -> Open: the first call for the folder.
            Phase::Untouched => {
                *phase = Phase::Open(materialise(&self.beginning.manifest, &self.depot, &folder)?);
                Ok(folder)
            }
            // Open -> Open: an earlier call was dropped while its thread worked.
            Phase::Open(_) => Ok(folder),
            Phase::Published(_) | Phase::Discarded => {
                Err(fault::other("made", "", "the attempt it belongs to is over"))
            }
        }
    }

    /// Whether there is a folder of an engine before this one.
    fn adopt(&self) -> Result<bool, WorkspaceError> {
        let folder = self.folder();
        let mut phase = self.phase();
        let is_there = folder.try_exists().map_err(fault::at("read", ""))?;
        if is_there {
            // Untouched -> Open: which files are as they were made is not known any more, so all are read at the end.
            *phase = Phase::Open(Made::default());
        }
        Ok(is_there)
    }

    fn sync(&self, has_aside: bool) -> Result<(), WorkspaceError> {
        let _phase = self.phase();
        let mut synced = self.synced.lock().unwrap_or_else(PoisonError::into_inner);
        let now = sync::now(&self.depot.attempts()).map_err(fault::at("synced", ""))?;
        let folders: Vec<PathBuf> = std::iter::once(self.folder())
            .chain(has_aside.then(|| self.depot.aside(&self.attempt)))
            .collect();
        sync::changed_below(&folders, *synced).map_err(fault::left("synced", ""))?;
        *synced = now;
        Ok(())
    }

    fn publish(&self) -> Result<Option<Digest>, WorkspaceError> {
        let mut phase = self.phase();
        let published = match &*phase {
            // Untouched -> Published: what was merged is what is left.
            Phase::Untouched => self.keep_manifest(Arc::clone(&self.beginning.manifest))?,
            // Open -> Published: the folder may hold anything now.
            Phase::Open(made) => {
                let begin = sync::now(&self.depot.attempts()).map_err(fault::at("kept", ""))?;
                let left = self.survey(made)?;
                let published = self.keep(Arc::new(left))?;
                self.depot.sync(begin)?;
                published
            }
            Phase::Published(published) => return Ok(*published),
            Phase::Discarded => return Err(fault::other("read", "", "it was discarded")),
        };
        *phase = Phase::Published(published);
        Ok(published)
    }

    fn take_over(&self, from: RunId, left: Digest) -> Result<bool, WorkspaceError> {
        let mut phase = self.phase();
        if !matches!(*phase, Phase::Untouched) {
            return Err(fault::other("made", "", "the attempt has begun to work in it"));
        }
        let Some(left) = share::whole(&self.depot.beside(from), &left)? else { return Ok(false) };
        let carried = self.beginning.manifest.carry(&self.attempt.stage, &left);
        check_parents(&carried)?;
        share::contents(&self.depot.beside(from), &self.depot, &left, &self.attempt.stage)?;
        // Untouched -> Published: as if it had been changed here.
        *phase = Phase::Published(self.keep_manifest(Arc::new(carried))?);
        Ok(true)
    }

    fn discard(&self) -> Result<(), WorkspaceError> {
        let mut phase = self.phase();
        match &*phase {
            // Untouched -> Discarded: making the folder may have failed half-way.
            // Open -> Discarded: what was written is of no use.
            // Published -> Discarded: it is kept elsewhere.
            Phase::Untouched | Phase::Open(_) | Phase::Published(_) => {
                removal::remove(&self.folder())?;
                *phase = Phase::Discarded;
            }
            Phase::Discarded => {}
        }
        Ok(())
    }

    fn survey(&self, made: &Made) -> Result<Manifest, WorkspaceError> {
        let survey = Survey {
            folder: &self.folder(),
            depot: &self.depot,
            before: &self.beginning.manifest,
            made,
            stage: &self.attempt.stage,
        };
        survey.take()
    }

    fn keep(&self, manifest: Arc<Manifest>) -> Result<Option<Digest>, WorkspaceError> {
        if manifest.is_empty() {
            return Ok(None);
        }
        if self.beginning.digest.is_some() && manifest == self.beginning.manifest {
            return Ok(self.beginning.digest);
        }
        let digest = self.depot.keep_manifest(&manifest)?;
        self.manifests.insert(self.attempt.run, digest, manifest);
        Ok(Some(digest))
    }

    /// Keeps a manifest whose contents are on the device, and brings it there too.
    fn keep_manifest(&self, manifest: Arc<Manifest>) -> Result<Option<Digest>, WorkspaceError> {
        let kept = self.keep(manifest)?;
        if let Some(digest) = kept.filter(|digest| self.beginning.digest != Some(*digest)) {
            self.depot.sync_manifest(&digest)?;
        }
        Ok(kept)
    }

    fn folder(&self) -> PathBuf {
        self.depot.attempt(&self.attempt)
    }

    fn phase(&self) -> MutexGuard<'_, Phase> {
        // A phase is set after its work is done: after a panic it still says what is there, and `materialise`
        // begins by clearing what a broken one left.
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
