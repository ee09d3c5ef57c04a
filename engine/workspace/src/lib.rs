//! Workspaces as plain folders: what each stage of a run left, kept by content, also after the run, until it is asked to go.
//!
//! A run has a folder of its own: `depot` holds contents and manifests in it, `attempt` is the workspace of one
//! attempt, `materialise` makes its folder and `survey` finds out what became of it. No file that anybody may
//! write is ever shared between two attempts: content is cloned or copied, never hard-linked. Runs that take over from each
//! other share what is kept (`share`), which nobody writes.
//!
//! A folder appears under its name when it is whole, and stays until the end of its attempt is durable: an attempt that an
//! engine has left is gone on with in it. What an attempt leaves is on the device before anybody hears of it.

mod attempt;
mod depot;
mod fault;
mod materialise;
mod record;
mod removal;
mod share;
mod survey;
mod sync;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use yuanli_model::workspace::{Conflict, Manifest, Node};
use yuanli_model::{AttemptId, Digest, RunId, Workflow};
use yuanli_ports::workspaces::WorkspaceError;
use yuanli_ports::{AttemptWorkspace, Workspaces};

use crate::attempt::FolderWorkspace;
use crate::depot::Depot;

/// Keeps workspaces below one folder, which is made when the first file needs it.
#[derive(Debug)]
pub struct FileWorkspaces {
    root: PathBuf,
    manifests: Arc<Manifests>,
    /// Bytes that are kept for runs that have ended, of those that were asked for: they do not change any more.
    sizes: Mutex<HashMap<RunId, u64>>,
}

/// The manifests of open runs, so that a stage need not read what the stage before it has just written.
#[derive(Debug, Default)]
struct Manifests(Mutex<HashMap<RunId, HashMap<Digest, Arc<Manifest>>>>);

/// What an attempt begins with.
#[derive(Debug, Clone, Default)]
struct Beginning {
    manifest: Arc<Manifest>,
    /// Under which digest the manifest is kept; absent when it is empty or a merge that nobody has published.
    digest: Option<Digest>,
}

impl FileWorkspaces {
    /// Workspaces below `root`.
    #[must_use]
    pub fn new(root: PathBuf) -> Self {
        Self { root, manifests: Arc::default(), sizes: Mutex::default() }
    }

    fn depot(&self, run: RunId) -> Depot {
        Depot::new(self.root.join(run.to_string()))
    }

    fn sizes(&self) -> MutexGuard<'_, HashMap<RunId, u64>> {
        // As with the manifests.
        self.sizes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads those manifests that are not in memory; the order is that of `needs`.
    async fn load(
        &self,
        run: RunId,
        needs: &[Digest],
    ) -> Result<Vec<(Digest, Arc<Manifest>)>, WorkspaceError> {
        let mut parts = Vec::with_capacity(needs.len());
        for need in needs {
            let manifest = if let Some(manifest) = self.manifests.get(run, need) {
                manifest
            } else {
                let (depot, digest) = (self.depot(run), *need);
                let manifest = Arc::new(blocking(move || depot.manifest(&digest)).await?);
                self.manifests.insert(run, digest, Arc::clone(&manifest));
                manifest
            };
            parts.push((*need, manifest));
        }
        Ok(parts)
    }
}

#[async_trait]
impl Workspaces for FileWorkspaces {
    async fn begin(
        &self,
        attempt: &AttemptId,
        needs: &[Digest],
        workflow: &Workflow,
        is_adopted: bool,
    ) -> Result<Arc<dyn AttemptWorkspace>, WorkspaceError> {
        let parts = self.load(attempt.run, &distinct(needs)).await?;
        let beginning = merge(&parts, workflow)?;
        let depot = self.depot(attempt.run);
        let workspace = FolderWorkspace::new(attempt.clone(), beginning, depot, Arc::clone(&self.manifests));
        if is_adopted {
            workspace.adopt().await?;
        }
        Ok(Arc::new(workspace))
    }

    async fn retire(&self, run: RunId) -> Result<(), WorkspaceError> {
        self.manifests.forget(run);
        let depot = self.depot(run);
        let retired = blocking(move || depot.retire()).await;
        // It may have been looked at while the folders of its attempts were there.
        self.sizes().remove(&run);
        retired
    }

    async fn share(
        &self,
        from: RunId,
        to: RunId,
        workspaces: &[Digest],
    ) -> Result<Vec<Digest>, WorkspaceError> {
        let (from, to, workspaces) = (self.depot(from), self.depot(to), distinct(workspaces));
        blocking(move || share::share(&from, &to, &workspaces)).await
    }

    async fn size(&self, run: RunId) -> Result<u64, WorkspaceError> {
        if let Some(size) = self.sizes().get(&run) {
            return Ok(*size);
        }
        let depot = self.depot(run);
        let size = blocking(move || depot.size()).await?;
        self.sizes().insert(run, size);
        Ok(size)
    }

    async fn remove(&self, run: RunId) -> Result<(), WorkspaceError> {
        self.manifests.forget(run);
        self.sizes().remove(&run);
        let depot = self.depot(run);
        blocking(move || removal::remove(depot.path())).await
    }

    async fn runs(&self) -> Result<Vec<RunId>, WorkspaceError> {
        let root = self.root.clone();
        blocking(move || {
            let entries = match std::fs::read_dir(&root) {
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
                entries => entries.map_err(fault::left("read", ""))?,
            };
            let run =
                |entry: std::io::Result<std::fs::DirEntry>| entry.ok()?.file_name().to_str()?.parse().ok();
            Ok(entries.filter_map(run).collect())
        })
        .await
    }
}

impl Manifests {
    fn get(&self, run: RunId, digest: &Digest) -> Option<Arc<Manifest>> {
        self.lock().get(&run)?.get(digest).cloned()
    }

    fn insert(&self, run: RunId, digest: Digest, manifest: Arc<Manifest>) {
        self.lock().entry(run).or_default().insert(digest, manifest);
    }

    fn forget(&self, run: RunId) {
        self.lock().remove(&run);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<RunId, HashMap<Digest, Arc<Manifest>>>> {
        // No code that can panic runs under the lock, so a poisoned map is a whole one.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Stages that left the same count once: the usual case is a diamond of which one side wrote nothing.
fn distinct(needs: &[Digest]) -> Vec<Digest> {
    let mut distinct = Vec::with_capacity(needs.len());
    for need in needs {
        if !distinct.contains(need) {
            distinct.push(*need);
        }
    }
    distinct
}

fn merge(parts: &[(Digest, Arc<Manifest>)], workflow: &Workflow) -> Result<Beginning, Conflict> {
    match parts {
        [] => Ok(Beginning::default()),
        [(digest, manifest)] => Ok(Beginning { manifest: Arc::clone(manifest), digest: Some(*digest) }),
        _ => {
            let merged = Manifest::merge(parts.iter().map(|(_, part)| &**part), workflow)?;
            check_parents(&merged)?;
            // One need often contains all of the others; then nothing new has to be kept.
            let known = parts.iter().find(|(_, part)| **part == merged);
            Ok(Beginning { digest: known.map(|(digest, _)| *digest), manifest: Arc::new(merged) })
        }
    }
}

/// What lies in a folder needs the folder: a merge compares path by path and does not see that one stage made `a` a
/// file (or a link to anywhere, through which the other's files would be written) and another one wrote `a/b`.
fn check_parents(manifest: &Manifest) -> Result<(), Conflict> {
    let mut checked = "";
    for (path, entry) in &manifest.entries {
        let Some((parent, _)) = path.rsplit_once('/') else { continue };
        if parent == checked || entry.node == Node::Removed {
            continue;
        }
        checked = parent;
        let ends = path.match_indices('/').map(|(end, _)| end);
        for above in ends.map(|end| &path[..end]) {
            match manifest.entries.get(above) {
                Some(obstacle) if matches!(obstacle.node, Node::File { .. } | Node::Link { .. }) => {
                    let writers = (obstacle.writer.clone(), entry.writer.clone());
                    return Err(Conflict { path: above.to_owned(), writers });
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// Does `work` on a thread where waiting for a disk disturbs nobody. It goes on when the caller is dropped.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, WorkspaceError> + Send + 'static,
) -> Result<T, WorkspaceError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(fault::other("used", "", "the engine is shutting down")),
    }
}
