//! The stores whose commits are measured: ours, and two others behind a queue and a writer like ours.
//!
//! All are asked the same way and answer when the commit is on the device. The others get what ours gets: a bounded
//! queue, one thread that drains it, one durable write for all that waited.

use std::path::Path;
use std::thread::JoinHandle;

use anyhow::{Context, anyhow};
use bytes::Bytes;
use fjall::{Keyspace, KeyspaceCreateOptions, PersistMode};
use redb::TableDefinition;
use tokio::sync::{mpsc, oneshot};
use yuanli_ports::Store;
use yuanli_ports::store::{Batch, Key};
use yuanli_store::{Embedded, Options};

/// Commits that wait for the writer, as many as in our store.
const QUEUE: usize = 4096;
/// Most commits of one group, as in our store.
const GROUP_COMMITS: usize = 1024;

/// Takes commits of one value. Closed when it is dropped.
pub(crate) trait Contender: Sized + Send + Sync + 'static {
    /// A new one in a folder that is there.
    fn open(folder: &Path) -> anyhow::Result<Self>;

    /// Returns once the value is on the device.
    fn commit(&self, key: Bytes, value: Bytes) -> impl Future<Output = anyhow::Result<()>> + Send;
}

impl Contender for Embedded {
    fn open(folder: &Path) -> anyhow::Result<Self> {
        Ok(Self::open(&folder.join("store"), Options::default())?)
    }

    async fn commit(&self, key: Bytes, value: Bytes) -> anyhow::Result<()> {
        let mut batch = Batch::default();
        batch.put(Key::new(key), value);
        Store::commit(self, batch).await?;
        Ok(())
    }
}

/// A library that writes several values as one durable transaction.
trait Library: Sized + Send + 'static {
    fn open(folder: &Path) -> anyhow::Result<Self>;

    /// Returns once all of them are on the device.
    fn write(&self, values: &[(Bytes, Bytes)]) -> anyhow::Result<()>;
}

struct Commit {
    value: (Bytes, Bytes),
    answer: oneshot::Sender<()>,
}

/// A library behind a queue and a writer.
struct Queued {
    /// `None` once it is being closed.
    commits: Option<mpsc::Sender<Commit>>,
    writer: Option<JoinHandle<anyhow::Result<()>>>,
}

impl Queued {
    fn open<L: Library>(folder: &Path) -> anyhow::Result<Self> {
        let library = L::open(folder)?;
        let (commits, queue) = mpsc::channel(QUEUE);
        let writer =
            std::thread::Builder::new().name("writer".to_owned()).spawn(move || work(&library, queue))?;
        Ok(Self { commits: Some(commits), writer: Some(writer) })
    }

    async fn commit(&self, key: Bytes, value: Bytes) -> anyhow::Result<()> {
        let (answer, answered) = oneshot::channel();
        let commits = self.commits.as_ref().context("it is closed")?;
        commits
            .send(Commit { value: (key, value), answer })
            .await
            .map_err(|_| anyhow!("the writer has ended"))?;
        Ok(answered.await?)
    }
}

fn work<L: Library>(library: &L, mut queue: mpsc::Receiver<Commit>) -> anyhow::Result<()> {
    let (mut values, mut answers) = (Vec::new(), Vec::new());
    while let Some(first) = queue.blocking_recv() {
        let mut next = Some(first);
        while let Some(Commit { value, answer }) = next {
            values.push(value);
            answers.push(answer);
            next = if values.len() < GROUP_COMMITS { queue.try_recv().ok() } else { None };
        }
        library.write(&values)?;
        values.clear();
        answers.drain(..).for_each(|answer| {
            let _ = answer.send(());
        });
    }
    Ok(())
}

impl Drop for Queued {
    fn drop(&mut self) {
        self.commits.take();
        // Whoever waited for an answer has been told of a failure by then.
        let _ = self.writer.take().map(JoinHandle::join);
    }
}

/// redb as it comes: a transaction is durable once it is committed.
pub(crate) struct Redb(Queued);

const TABLE: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("values");

impl Library for redb::Database {
    fn open(folder: &Path) -> anyhow::Result<Self> {
        Ok(Self::create(folder.join("redb"))?)
    }

    fn write(&self, values: &[(Bytes, Bytes)]) -> anyhow::Result<()> {
        let transaction = self.begin_write()?;
        {
            let mut table = transaction.open_table(TABLE)?;
            for (key, value) in values {
                table.insert(&key[..], &value[..])?;
            }
        }
        transaction.commit()?;
        Ok(())
    }
}

impl Contender for Redb {
    fn open(folder: &Path) -> anyhow::Result<Self> {
        Queued::open::<redb::Database>(folder).map(Self)
    }

    async fn commit(&self, key: Bytes, value: Bytes) -> anyhow::Result<()> {
        self.0.commit(key, value).await
    }
}

/// fjall as it comes, with its journal synced by `fdatasync` after each batch.
pub(crate) struct Fjall(Queued);

struct FjallTree {
    database: fjall::Database,
    values: Keyspace,
}

impl Library for FjallTree {
    fn open(folder: &Path) -> anyhow::Result<Self> {
        let database = fjall::Database::builder(folder.join("fjall")).open()?;
        let values = database.keyspace("values", KeyspaceCreateOptions::default)?;
        Ok(Self { database, values })
    }

    fn write(&self, values: &[(Bytes, Bytes)]) -> anyhow::Result<()> {
        let mut batch = self.database.batch().durability(Some(PersistMode::SyncData));
        for (key, value) in values {
            batch.insert(&self.values, &key[..], &value[..]);
        }
        batch.commit()?;
        Ok(())
    }
}

impl Contender for Fjall {
    fn open(folder: &Path) -> anyhow::Result<Self> {
        Queued::open::<FjallTree>(folder).map(Self)
    }

    async fn commit(&self, key: Bytes, value: Bytes) -> anyhow::Result<()> {
        self.0.commit(key, value).await
    }
}
