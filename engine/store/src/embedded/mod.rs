//! A store in a folder: a journal that keeps its word, memory for what is new, sled behind both.
//!
//! A commit goes to the one *writer*, which judges what waits in order, writes it to the journal as one frame, syncs,
//! makes it readable in the *table*, and answers; it has a thread, which a caller who is alone does not wait for.
//! *Upkeep* moves what is in memory to the *index* (sled), makes exports of it and gives the journal's old segments
//! back. Opening reads the index, if it can be believed, else the newest export, and then the journal.
//!
//! Invariants: the truth is the newest export and all of the journal after it; the index can be thrown away at any
//! time; what can be read is durable; a read waits for no sync and no flush.

mod checkpoint;
mod flusher;
mod index;
mod layout;
mod open;
mod options;
mod pressure;
mod table;
mod upkeep;
mod writer;

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot};
use yuanli_ports::figure::{Counted, Durations, OF_DISKS};
use yuanli_ports::store::{Batch, Change, Entry, Key, Range, Revision, StoreError};
use yuanli_ports::{Store, Watch};

use crate::feed::{Feed, Past};
use crate::journal::{self, Files};
use crate::rules;
pub(crate) use index::open_sled;
pub(crate) use layout::Layout;
pub(crate) use open::{forget_index, look};
pub use options::Options;
use pressure::Pressure;
use table::Table;
pub(crate) use table::{Layer, merge};
use upkeep::Upkeep;
use writer::{Commit, Request, Waiting, Writer};

/// Commits that wait for the writer. More callers than this wait for a place: beyond it, waiting longer is all that a
/// longer queue would give.
const QUEUE: usize = 4096;

/// A store in a folder.
#[derive(Debug)]
pub struct Embedded {
    table: Arc<Table>,
    feed: Arc<Feed>,
    pressure: Arc<Pressure>,
    /// `None` once it is being closed.
    requests: Option<mpsc::Sender<Request>>,
    waiting: Waiting,
    writer: Arc<Mutex<Writer>>,
    thread: Option<JoinHandle<()>>,
    upkeep: Option<JoinHandle<()>>,
    files: Arc<Files>,
    commits: Durations,
}

/// What a store has taken since it was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measured {
    /// Each commit, from when it was handed over until it was answered.
    pub commits: Counted,
    /// Each sync of the journal, several commits together where they come together.
    pub syncs: Counted,
}

impl Embedded {
    /// Opens the store in a folder, which is made when it is not there. The folder must have one owner: see
    /// [`crate::DataDirectory`].
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when what was acknowledged cannot be read any more, with file and offset;
    /// [`StoreError::Unavailable`] when the folder cannot be used.
    pub fn open(folder: &Path, options: Options) -> Result<Self, StoreError> {
        let layout = Layout::new(folder);
        let open::Opened { flusher, journal, files, export } = open::open(&layout, &options)?;
        let table = Arc::clone(&flusher.table);
        let past = JournalPast { files: Arc::clone(&files), options: options.clone() };
        let feed = Arc::new(Feed::new(table.revision(), Box::new(past)));
        let pressure = Arc::new(Pressure::new(options.memory_bytes));
        let (requests, queue) = mpsc::channel(QUEUE);
        let writer = Writer {
            table: Arc::clone(&table),
            journal,
            feed: Arc::clone(&feed),
            pressure: Arc::clone(&pressure),
            buffer: Vec::new(),
            is_alone: false,
        };
        let upkeep = Upkeep { flusher, files: Arc::clone(&files), pressure: Arc::clone(&pressure), export };
        let upkeep = spawn("yuanli-upkeep", move || upkeep.work())?;
        let (requests, upkeep) = (Some(requests), Some(upkeep));
        let writer = Arc::new(Mutex::new(writer));
        let waiting = Waiting::default();
        let commits = Durations::up_to(OF_DISKS);
        let mut store =
            Self { table, feed, pressure, requests, waiting, writer, thread: None, upkeep, files, commits };
        let writer = Arc::clone(&store.writer);
        store.thread = Some(spawn("yuanli-store", move || writer::work(&writer, queue))?);
        // What a crash has left in memory may be much.
        store.pressure.look(&store.table, false);
        Ok(store)
    }

    /// What it has taken since it was opened.
    #[must_use]
    pub fn measured(&self) -> Measured {
        Measured { commits: self.commits.counted(), syncs: self.files.syncs() }
    }

    async fn commit_now(&self, batch: Batch) -> Result<Revision, StoreError> {
        let requests = self.requests.as_ref().ok_or(StoreError::Closed)?;
        // One that commits in place never waits: it has to let others have the thread now and then.
        tokio::task::coop::consume_budget().await;
        let batch = match Writer::alone(&self.writer, batch, &self.waiting) {
            Ok(outcome) => return outcome,
            Err(batch) => batch,
        };
        let (commit, answered) = Commit::new(batch, &self.waiting);
        requests.send(Request::Commit(commit)).await.map_err(|_| StoreError::Closed)?;
        answered.await.map_err(|_| StoreError::Closed)?
    }

    /// Makes the store as small as it can be and returns when that is done. Readers and commits go on meanwhile.
    ///
    /// # Errors
    /// [`StoreError::Exhausted`] when there is no room for it; nothing is lost.
    pub async fn compact(&self) -> Result<(), StoreError> {
        let requests = self.requests.as_ref().ok_or(StoreError::Closed)?;
        let (answer, answered) = oneshot::channel();
        requests.send(Request::Renew(answer)).await.map_err(|_| StoreError::Closed)?;
        answered.await.map_err(|_| StoreError::Closed)??;
        let pressure = Arc::clone(&self.pressure);
        tokio::task::spawn_blocking(move || pressure.compact()).await.map_err(|_| StoreError::Closed)?
    }
}

/// Bytes that the index of a store takes on the disk.
///
/// # Errors
/// What the system says.
pub fn index_size(folder: &Path) -> std::io::Result<u64> {
    let layout = Layout::new(folder);
    let numbers = if folder.exists() { layout.indexes()? } else { Vec::new() };
    numbers.into_iter().map(|number| crate::disk::size(&layout.index(number))).sum()
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, StoreError> {
    let thread = std::thread::Builder::new().name(name.to_owned()).spawn(work);
    thread.map_err(|e| StoreError::Unavailable(format!("no thread for {name}: {e}")))
}

/// Commits that are still in the journal.
#[derive(Debug)]
struct JournalPast {
    files: Arc<Files>,
    options: Options,
}

impl Past for JournalPast {
    fn read(&self, after: u64, last: u64) -> Result<Vec<Change>, StoreError> {
        let forgotten = |oldest: u64| StoreError::Forgotten(Revision(oldest));
        let oldest = self.files.oldest().unwrap_or(last + 1);
        if after + 1 < oldest {
            return Err(forgotten(oldest));
        }
        let mut changes = Vec::new();
        let read =
            journal::replay(&*self.options.disk, self.files.folder(), after, &mut |revision, writes| {
                if revision <= last {
                    changes.push(Change { revision: Revision(revision), writes });
                }
            });
        match read {
            // After the last commit that is known, a frame may be there by halves.
            _ if changes.last().is_some_and(|change| change.revision.0 == last) => Ok(changes),
            Ok(_) => Ok(changes),
            // Segments were given back meanwhile.
            Err(_) if self.files.oldest().is_some_and(|oldest| after + 1 < oldest) => {
                Err(forgotten(self.files.oldest().unwrap_or(oldest)))
            }
            Err(fault) => Err(fault.into()),
        }
    }
}

#[async_trait]
impl Store for Embedded {
    async fn commit(&self, batch: Batch) -> Result<Revision, StoreError> {
        rules::check(&batch)?;
        let begun = journal::now();
        let committed = self.commit_now(batch).await;
        self.commits.add(begun.elapsed());
        committed
    }

    // Reads go to memory, or to one page of a file: short enough to be done in place.
    async fn get(&self, key: &Key) -> Result<Option<Entry>, StoreError> {
        self.table.get(key)
    }

    async fn scan(&self, range: Range) -> Result<Vec<(Key, Entry)>, StoreError> {
        self.table.scan(range)
    }

    async fn revision(&self) -> Result<Revision, StoreError> {
        Ok(Revision(self.feed.latest()))
    }

    async fn watch(&self, prefix: &[u8], after: Revision) -> Result<Box<dyn Watch>, StoreError> {
        Ok(self.feed.watch(prefix, after))
    }
}

impl Drop for Embedded {
    /// Waits for the commits that were handed over, and leaves the files so that the next start is quick.
    fn drop(&mut self) {
        self.requests.take();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the store's writer panicked");
        }
        self.pressure.close();
        if let Some(upkeep) = self.upkeep.take()
            && upkeep.join().is_err()
        {
            tracing::error!("the store's upkeep panicked");
        }
    }
}
