//! A store in a folder: sled, written by one thread, synced before it answers.
//!
//! sled alone does not keep the promise of the port: its `flush` does not reach the device. So the one writer applies
//! what waits as one batch, flushes, syncs sled's file, and only then answers. A killed process loses nothing that was
//! acknowledged; what damage and power cuts do to sled is for the journal that comes before it.
//!
//! Readers may see a batch that is applied and not yet synced. Nothing is done because of such a read: effects follow
//! from a commit's answer, which comes after the sync.

mod index;
mod writer;

use std::path::Path;
use std::thread::JoinHandle;

use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot};
use yuanli_ports::Store;
use yuanli_ports::store::{Batch, Entry, Key, Range, Revision, StoreError};

use crate::rules;
use index::Index;
use writer::{Commit, Writer};

/// Commits that wait for the writer. More callers than this wait for a place: beyond it, waiting longer is all that a
/// longer queue would give.
const QUEUE: usize = 4096;

/// A store in a folder.
#[derive(Debug)]
pub struct Embedded {
    index: Index,
    /// `None` once it is being closed.
    commits: Option<mpsc::Sender<Commit>>,
    writer: Option<JoinHandle<()>>,
}

impl Embedded {
    /// Opens the store in a folder, which is made when it is not there. The folder must have one owner: see
    /// [`crate::DataDirectory`].
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when sled cannot read what is there, [`StoreError::Unavailable`] when the folder cannot
    /// be used.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        let index = Index::open(folder)?;
        let revision = index.revision()?;
        let (commits, queue) = mpsc::channel(QUEUE);
        let writer = Writer::new(index.clone(), revision, queue);
        let writer = std::thread::Builder::new().name("yuanli-store".to_owned()).spawn(move || writer.work());
        let writer = writer.map_err(|e| StoreError::Unavailable(format!("no thread for the writer: {e}")))?;
        Ok(Self { index, commits: Some(commits), writer: Some(writer) })
    }
}

#[async_trait]
impl Store for Embedded {
    async fn commit(&self, batch: Batch) -> Result<Revision, StoreError> {
        rules::check(&batch)?;
        let commits = self.commits.as_ref().ok_or(StoreError::Closed)?;
        let (answer, answered) = oneshot::channel();
        commits.send(Commit { batch, answer }).await.map_err(|_| StoreError::Closed)?;
        answered.await.map_err(|_| StoreError::Closed)?
    }

    // Reads go to sled's memory, or to one page of its file: short enough to be done in place.
    async fn get(&self, key: &Key) -> Result<Option<Entry>, StoreError> {
        self.index.get(key)
    }

    async fn scan(&self, range: Range) -> Result<Vec<(Key, Entry)>, StoreError> {
        self.index.scan(range)
    }
}

impl Drop for Embedded {
    /// Waits for the commits that were handed over.
    fn drop(&mut self) {
        self.commits.take();
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!("the store's writer panicked");
        }
    }
}
