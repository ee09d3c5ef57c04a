//! What it costs that stages are durable: commits and syncs of a stage by how many runs go on at once, and what is written
//! and kept of one.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use tokio::task::JoinSet;
use yuanli_executor::{Executor, Options, Ports};
use yuanli_ports::store::{Batch, Entry, Key, Range, Revision, StoreError, Write};
use yuanli_ports::{Archive, Store, Watch};
use yuanli_store::Embedded;
use yuanli_store::disk::{Disk, DiskFile, Local};

use crate::Bench;
use crate::engine::{self, Shape};
use crate::report::{Figure, Row};

/// Runs that go on at once.
const AT_ONCE: [usize; 3] = [1, 16, 256];
/// Stages of each, one after the other.
const STAGES: usize = 10;
/// Runs that are archived, and the stages of each.
const KEPT: usize = 256;
/// What the issue asks for: bytes of a no-op stage in journal and history.
const STAGE_BYTES: f64 = 500.0;
/// Its commits: one begins it, with the end of the one before; the run's first and last are beside that.
const STAGE_COMMITS: f64 = 2.0;

/// What was counted.
#[derive(Debug, Default)]
struct Counts {
    commits: AtomicU64,
    /// Of keys and values.
    bytes: AtomicU64,
    syncs: AtomicU64,
}

impl Counts {
    fn read(&self) -> [f64; 3] {
        [&self.commits, &self.bytes, &self.syncs].map(|count| count.load(Ordering::SeqCst) as f64)
    }
}

pub(crate) async fn measure(bench: &Bench) -> anyhow::Result<Figure> {
    let mut rows = Vec::new();
    for runs in AT_ONCE {
        let (executor, counts, _) = open(&bench.fresh("durable")?)?;
        engine::run(&executor, engine::submission(1, Shape::Sequence)?).await?;
        let [commits, _, syncs] = counted(&counts, run_all(&executor, runs, STAGES)).await?;
        let stages = (runs * STAGES) as f64;
        rows.push(
            Row::plain(format!("{runs} runs at once: commits of a stage"), commits / stages, "commits")
                .at_most(STAGE_COMMITS, ""),
        );
        rows.push(Row::plain("  syncs of a stage", syncs / stages, "fdatasync"));
    }
    rows.extend(sizes(&bench.fresh("durable")?).await?);
    let conditions = format!(
        "runs of {STAGES} no-op stages one after the other, in process; syncs are those of the store's files; bytes are those \
         of {KEPT} such runs without what runs of one stage take"
    );
    Ok(Figure { name: "durable", conditions, rows })
}

/// What a stage has of the journal, and of the history once its run is archived.
async fn sizes(folder: &Path) -> anyhow::Result<Vec<Row>> {
    let mut found = Vec::new();
    for (name, stages) in [("one", 1), ("many", STAGES)] {
        let (executor, counts, archive) = open(&folder.join(name))?;
        let [_, bytes, _] = counted(&counts, run_all(&executor, KEPT, stages)).await?;
        executor.tidy_history().await?;
        let kept: u64 = archive.segments().await?.iter().map(|segment| segment.bytes).sum();
        found.push([bytes, kept as f64]);
    }
    let more = (KEPT * (STAGES - 1)) as f64;
    let [journal, history] = [0, 1].map(|which| (found[1][which] - found[0][which]) / more);
    Ok(vec![
        Row::plain("bytes of a stage in the journal", journal, "bytes"),
        Row::plain("  in the history", history, "bytes"),
        Row::plain("  both", journal + history, "bytes").at_most(STAGE_BYTES, ""),
    ])
}

async fn counted(
    counts: &Counts,
    work: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<[f64; 3]> {
    let before = counts.read();
    work.await?;
    let after = counts.read();
    Ok([0, 1, 2].map(|which| after[which] - before[which]))
}

/// So many runs at once, to their ends.
async fn run_all(executor: &Executor, runs: usize, stages: usize) -> anyhow::Result<()> {
    let mut tasks = JoinSet::new();
    for _ in 0..runs {
        let (executor, submission) = (executor.clone(), engine::submission(stages, Shape::Sequence)?);
        tasks.spawn(async move { engine::run(&executor, submission).await });
    }
    while let Some(joined) = tasks.join_next().await {
        joined??;
    }
    Ok(())
}

/// An engine whose store is counted.
fn open(folder: &Path) -> anyhow::Result<(Executor, Arc<Counts>, Arc<dyn Archive>)> {
    let counts = Arc::new(Counts::default());
    let disk: Arc<dyn Disk> = Arc::new(CountedDisk(Arc::clone(&counts)));
    let options = yuanli_store::Options { disk, ..yuanli_store::Options::default() };
    let (ports, store) = engine::ports_on(folder, Arc::new(engine::host(folder)?), options)?;
    let archive = Arc::clone(&ports.archive);
    let store = Arc::new(CountedStore { store, counts: Arc::clone(&counts) });
    let executor = Executor::new(Ports { store, ..ports }, Options::default());
    Ok((executor, counts, archive))
}

#[derive(Debug)]
struct CountedStore {
    store: Arc<Embedded>,
    counts: Arc<Counts>,
}

#[async_trait]
impl Store for CountedStore {
    async fn commit(&self, batch: Batch) -> Result<Revision, StoreError> {
        let bytes: usize = batch
            .writes
            .iter()
            .map(|write| match write {
                Write::Put(key, value) => key.as_bytes().len() + value.len(),
                Write::Delete(key) => key.as_bytes().len(),
            })
            .sum();
        self.counts.commits.fetch_add(1, Ordering::SeqCst);
        self.counts.bytes.fetch_add(bytes as u64, Ordering::SeqCst);
        self.store.commit(batch).await
    }

    async fn get(&self, key: &Key) -> Result<Option<Entry>, StoreError> {
        self.store.get(key).await
    }

    async fn scan(&self, range: Range) -> Result<Vec<(Key, Entry)>, StoreError> {
        self.store.scan(range).await
    }

    async fn revision(&self) -> Result<Revision, StoreError> {
        self.store.revision().await
    }

    async fn watch(&self, prefix: &[u8], after: Revision) -> Result<Box<dyn Watch>, StoreError> {
        self.store.watch(prefix, after).await
    }
}

#[derive(Debug)]
struct CountedDisk(Arc<Counts>);

#[derive(Debug)]
struct CountedFile(Arc<dyn DiskFile>, Arc<Counts>);

impl Disk for CountedDisk {
    fn create(&self, path: &Path) -> std::io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(CountedFile(Local.create(path)?, Arc::clone(&self.0))))
    }

    fn open(&self, path: &Path) -> std::io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(CountedFile(Local.open(path)?, Arc::clone(&self.0))))
    }

    fn make_folder(&self, path: &Path) -> std::io::Result<()> {
        Local.make_folder(path)
    }

    fn list(&self, folder: &Path) -> std::io::Result<Vec<(String, u64)>> {
        Local.list(folder)
    }

    fn rename(&self, from: &Path, to: &Path) -> std::io::Result<()> {
        Local.rename(from, to)
    }

    fn remove(&self, path: &Path) -> std::io::Result<()> {
        Local.remove(path)
    }

    fn sync_folder(&self, path: &Path) -> std::io::Result<()> {
        Local.sync_folder(path)
    }
}

impl DiskFile for CountedFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> std::io::Result<()> {
        self.0.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> std::io::Result<()> {
        self.0.write_at(bytes, offset)
    }

    fn size(&self) -> std::io::Result<u64> {
        self.0.size()
    }

    fn truncate(&self, size: u64) -> std::io::Result<()> {
        self.0.truncate(size)
    }

    fn sync(&self) -> std::io::Result<()> {
        self.1.syncs.fetch_add(1, Ordering::SeqCst);
        self.0.sync()
    }
}
