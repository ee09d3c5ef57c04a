//! A host over ports that live in memory or in a temporary folder.

#![allow(dead_code, reason = "each test uses a part of it")]

mod apps;
pub(crate) mod raw;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;
use tempfile::TempDir;
use yuanli_docker::fake::FakeDocker;
use yuanli_executor::{History, Records};
use yuanli_model::workspace::Manifest;
use yuanli_model::{
    AttemptId, Ceiling, Digest, EngineId, Failure, Grant, LogLine, PluginReference, RunId, SecretName, Stage,
    Timestamp, Workflow, WorkflowName,
};
use yuanli_outgoing::HttpClient;
use yuanli_ports::announcements::NoAnnouncements;
use yuanli_ports::journal::{JournalError, Recorded, Staged};
use yuanli_ports::logs::{LogError, StoredLog};
use yuanli_ports::plugins::{Afterwards, Attempt, Origin};
use yuanli_ports::secrets::{SecretError, SecretValue};
use yuanli_ports::store::{Batch, Entry, Key, Range, Revision, StoreError};
use yuanli_ports::workspaces::WorkspaceError;
use yuanli_ports::{
    AttemptJournal, AttemptLog, AttemptWorkspace, Cancellation, Clock, Plugins, Secrets, Store, Watch,
};
use yuanli_source::SourceTrees;
use yuanli_store::{FileArchive, FileBlobs, Memory, disk};
use yuanli_test_guests::{Embedded, NOOP, PROBE};
use yuanli_wasm::{Builtin, Host, Limits, Options, Outside};

pub(crate) use apps::FakeApps;

/// The guests, as if they came with the engine.
pub(crate) static BUILTINS: LazyLock<Vec<Builtin>> = LazyLock::new(|| vec![builtin(NOOP), builtin(PROBE)]);

pub(crate) fn digest(guest: Embedded) -> Digest {
    Digest::from_bytes(guest.digest)
}

fn builtin(guest: Embedded) -> Builtin {
    Builtin { name: guest.name, digest: digest(guest), component: guest.component }
}

/// A host with what it reaches.
pub(crate) struct Bench {
    pub(crate) host: Arc<Host>,
    pub(crate) docker: Arc<FakeDocker>,
    pub(crate) apps: Arc<FakeApps>,
    pub(crate) records: Records,
    pub(crate) store: Arc<MortalStore>,
    pub(crate) folder: TempDir,
    pub(crate) origin: Arc<Origin>,
    /// What nothing had to be recorded of when the last attempt ended, and whether its plugin came to its end.
    pub(crate) rest: Arc<Mutex<(Vec<Recorded>, bool)>>,
}

/// A journal, and what is told it in the end.
#[derive(Debug)]
struct ToTheEnd(Arc<dyn AttemptJournal>, Arc<Mutex<(Vec<Recorded>, bool)>>);

#[async_trait]
impl AttemptJournal for ToTheEnd {
    async fn recorded(&self) -> Result<Vec<Recorded>, JournalError> {
        self.0.recorded().await
    }

    async fn record(&self, calls: Vec<Recorded>, staged: Staged) -> Result<(), JournalError> {
        self.0.record(calls, staged).await
    }

    fn end(&self, rest: Vec<Recorded>, is_whole: bool) {
        *self.1.lock().unwrap_or_else(PoisonError::into_inner) = (rest, is_whole);
    }
}

/// What can be different about an attempt.
pub(crate) struct Case {
    pub(crate) component: Digest,
    pub(crate) grants: Vec<Grant>,
    pub(crate) timeout: Duration,
    pub(crate) limits: yuanli_model::stage::Limits,
    pub(crate) cancel: Cancellation,
    /// Secrets that the run names, whether the attempt has them or not.
    pub(crate) secrets: Vec<&'static str>,
    /// Whether an attempt before was the same one.
    pub(crate) is_again: bool,
    /// Whether the engine dies before the end of the attempt is durable.
    pub(crate) dies_before_its_end: bool,
    /// The workspace that an attempt before has left.
    pub(crate) workspace: Option<PathBuf>,
    /// Where a link named `planted` in the workspace leads.
    pub(crate) link: Option<PathBuf>,
    /// Which instance of the stage it is.
    pub(crate) instance: u32,
}

impl Default for Case {
    fn default() -> Self {
        Self {
            component: digest(PROBE),
            grants: Vec::new(),
            timeout: Duration::from_secs(30),
            limits: yuanli_model::stage::Limits::default(),
            cancel: Cancellation::new(),
            secrets: Vec::new(),
            is_again: false,
            dies_before_its_end: false,
            workspace: None,
            link: None,
            instance: 0,
        }
    }
}

/// How an attempt ended and what it wrote.
pub(crate) struct Ended {
    pub(crate) outcome: Result<Value, Failure>,
    pub(crate) lines: Vec<LogLine>,
    pub(crate) workspace: PathBuf,
}

impl Ended {
    pub(crate) fn failure(&self) -> &Failure {
        self.outcome.as_ref().expect_err("the attempt was to fail")
    }

    pub(crate) fn outputs(&self) -> &Value {
        match &self.outcome {
            Ok(outputs) => outputs,
            Err(failure) => panic!("the attempt was to succeed: {failure:?}"),
        }
    }

    pub(crate) fn texts(&self) -> Vec<&str> {
        self.lines.iter().map(|line| line.text.as_str()).collect()
    }
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::with(Limits::default(), &BUILTINS)
    }

    pub(crate) fn with(limits: Limits, builtins: &'static [Builtin]) -> Self {
        // One cache for all tests: compiling the guests once is enough.
        Self::with_cache(limits, builtins, std::env::temp_dir().join("yuanli-wasm-tests-cache"))
    }

    pub(crate) fn with_cache(limits: Limits, builtins: &'static [Builtin], cache: PathBuf) -> Self {
        Self::with_ceiling(limits, builtins, cache, Ceiling::default())
    }

    /// One that gives no more than this.
    pub(crate) fn under(ceiling: Ceiling) -> Self {
        let cache = std::env::temp_dir().join("yuanli-wasm-tests-cache");
        Self::with_ceiling(Limits::default(), &BUILTINS, cache, ceiling)
    }

    /// One with so many instances, which those that wait lose after so long.
    pub(crate) fn crowded(instances: u32, evict_after: Duration) -> Self {
        let cache = std::env::temp_dir().join("yuanli-wasm-tests-cache");
        Self::with_options(|folder| Options {
            instances,
            evict_after,
            ..Options::new(folder.join("plugins"), cache, &BUILTINS)
        })
    }

    fn with_ceiling(limits: Limits, builtins: &'static [Builtin], cache: PathBuf, ceiling: Ceiling) -> Self {
        Self::with_options(|folder| Options {
            limits,
            ceiling,
            ..Options::new(folder.join("plugins"), cache, builtins)
        })
    }

    fn with_options(options: impl FnOnce(&std::path::Path) -> Options) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let docker = Arc::new(FakeDocker::default());
        let apps = Arc::new(FakeApps::default());
        let outside = Outside {
            engine: EngineId::from_u128(7),
            clock: Arc::new(FixedClock::default()),
            containers: docker.clone(),
            volumes: docker.clone(),
            images: docker.clone(),
            registries: docker.clone(),
            sources: Arc::new(SourceTrees::default()),
            secrets: Arc::new(FixedSecrets::default()),
            http: Arc::new(HttpClient::new(yuanli_outgoing::Options::default()).expect("a client")),
            apps: apps.clone(),
            announcements: Arc::new(NoAnnouncements),
        };
        let host = Arc::new(Host::new(options(folder.path()), outside).expect("a host"));
        let origin = Origin { folder: folder.path().to_owned(), root: folder.path().to_owned() };
        let store = Arc::new(MortalStore::default());
        let records = records(folder.path(), store.clone());
        Self { host, docker, apps, records, store, folder, origin: Arc::new(origin), rest: Arc::default() }
    }

    pub(crate) async fn run(&self, config: Value) -> Ended {
        self.run_case(config, Case::default()).await
    }

    pub(crate) async fn run_case(&self, config: Value, case: Case) -> Ended {
        let workspace = match case.workspace {
            Some(workspace) => workspace,
            None => tempfile::tempdir_in(self.folder.path()).expect("a folder").keep(),
        };
        if let Some(target) = case.link {
            std::os::unix::fs::symlink(target, workspace.join("planted")).expect("a link");
        }
        let log = Arc::new(MemoryLog::default());
        let id = AttemptId { instance: case.instance, ..attempt() };
        let (journal, records) = self.records.of_attempt(&id, &workflow(), case.is_again);
        let journal = Arc::new(ToTheEnd(journal, Arc::clone(&self.rest)));
        let afterwards = Afterwards::default();
        let attempt = Attempt {
            id,
            workflow: "w".parse().expect("a name"),
            component: case.component,
            grants: case.grants,
            config,
            secrets: case.secrets.iter().map(|name| name.parse().expect("a name")).collect(),
            timeout: case.timeout,
            limits: case.limits,
            started: BEGINNING,
            is_again: case.is_again,
            origin: Arc::clone(&self.origin),
            workspace: Arc::new(Folder(workspace.clone())),
            log: log.clone(),
            journal,
            records,
            cancel: case.cancel,
            afterwards: afterwards.clone(),
            images: None,
        };
        let outcome = self.host.run(attempt).await;
        if !case.dies_before_its_end {
            afterwards.perform().await;
        }
        let lines = log.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Ended { outcome, lines, workspace }
    }
}

/// The attempt that a bench runs, always the same one.
pub(crate) fn attempt() -> AttemptId {
    AttemptId { run: RunId::from_u128(1), stage: "probe".parse().expect("a name"), instance: 0, attempt: 1 }
}

/// The workflow `w` with its only stage.
fn workflow() -> Arc<Workflow> {
    let stage = Stage::new("probe".parse().expect("a name"), PluginReference::Named("probe".to_owned()));
    let inputs = indexmap::IndexMap::new();
    Arc::new(Workflow::new("w".parse().expect("a name"), None, inputs, vec![stage]).expect("a workflow"))
}

/// What plugins keep, as an engine keeps it, but in memory.
fn records(folder: &std::path::Path, store: Arc<MortalStore>) -> Records {
    let disk = Arc::new(disk::Local);
    let archive = FileArchive::open(&folder.join("history"), disk.clone(), 1024).expect("an archive");
    let blobs = Arc::new(FileBlobs::open(&folder.join("blobs"), disk).expect("blobs"));
    let history = History::new(store.clone(), Arc::new(archive), blobs.clone());
    Records::new(store, blobs, Arc::new(FixedClock::default()), history)
}

/// A store in memory whose engine dies at a commit: whoever asks for it never hears of it again.
#[derive(Debug, Default)]
pub(crate) struct MortalStore {
    inner: Memory,
    commits: AtomicU64,
    /// The number of the commit that it dies at, and whether that is done all the same.
    last: Mutex<Option<(u64, bool)>>,
    died: tokio::sync::Notify,
}

impl MortalStore {
    /// Dies at a commit, counted from here, 1 is the next one.
    pub(crate) fn die_at(&self, commit: u64, is_done: bool) {
        self.commits.store(0, Ordering::SeqCst);
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((commit, is_done));
    }

    pub(crate) fn revive(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.commits.store(0, Ordering::SeqCst);
    }

    /// The values of all entries.
    pub(crate) async fn everything(&self) -> Vec<u8> {
        let entries = self.inner.scan(Range::prefix(&[], 10_000)).await.expect("a store in memory");
        entries.into_iter().flat_map(|(_, entry)| entry.value.to_vec()).collect()
    }

    pub(crate) async fn death(&self) {
        self.died.notified().await;
    }

    pub(crate) fn commits(&self) -> u64 {
        self.commits.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Store for MortalStore {
    async fn commit(&self, batch: Batch) -> Result<Revision, StoreError> {
        let number = self.commits.fetch_add(1, Ordering::SeqCst) + 1;
        let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match last {
            Some((last, is_done)) if number >= last => {
                if is_done && number == last {
                    self.inner.commit(batch).await?;
                }
                self.died.notify_one();
                std::future::pending().await
            }
            _ => self.inner.commit(batch).await,
        }
    }

    async fn get(&self, key: &Key) -> Result<Option<Entry>, StoreError> {
        self.inner.get(key).await
    }

    async fn scan(&self, range: Range) -> Result<Vec<(Key, Entry)>, StoreError> {
        self.inner.scan(range).await
    }

    async fn revision(&self) -> Result<Revision, StoreError> {
        self.inner.revision().await
    }

    async fn watch(&self, prefix: &[u8], after: Revision) -> Result<Box<dyn Watch>, StoreError> {
        self.inner.watch(prefix, after).await
    }
}

/// A clock that stands still until somebody waits: then it is as late as was waited for. Further than a day nobody waits
/// to the end.
#[derive(Debug)]
struct FixedClock(AtomicU64);

/// What the clock shows at first.
const BEGINNING: Timestamp = Timestamp::from_millis(1_000);

impl Default for FixedClock {
    fn default() -> Self {
        Self(AtomicU64::new(BEGINNING.as_millis()))
    }
}

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::Acquire))
    }

    fn new_run_id(&self) -> RunId {
        RunId::from_u128(1)
    }

    fn wait_until(&self, at: Timestamp) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        if at.since(self.now()) > Duration::from_hours(24) {
            return Box::pin(std::future::pending());
        }
        self.0.fetch_max(at.as_millis(), Ordering::AcqRel);
        Box::pin(std::future::ready(()))
    }
}

/// The secrets that there are.
pub(crate) const SECRETS: [(&str, &str); 4] = [
    ("token", "s3cret-t0ken"),
    ("other", "an-other-secret"),
    ("lines", "first line\nsecond line\n"),
    // The name of the stage, and so a part of the names of its containers.
    ("stage", "probe"),
];

/// The same each time, but `growing`, which is longer each time.
#[derive(Debug, Default)]
struct FixedSecrets {
    asked: AtomicU64,
}

#[async_trait]
impl Secrets for FixedSecrets {
    async fn resolve(&self, name: &SecretName, _: &WorkflowName) -> Result<SecretValue, SecretError> {
        if name.as_str() == "broken" {
            return Err(SecretError::Local("the secrets cannot be read".to_owned()));
        }
        if name.as_str() == "long" {
            return SecretValue::new(name, long_secret().into_bytes());
        }
        if name.as_str() == "growing" {
            let more = self.asked.fetch_add(1, Ordering::SeqCst) as usize;
            return SecretValue::new(name, vec![b'g'; 16 + more]);
        }
        let found = SECRETS.iter().find(|(known, _)| *known == name.as_str());
        let (_, value) = found.ok_or_else(|| SecretError::Unknown(format!("nobody keeps `{name}`")))?;
        SecretValue::new(name, value.as_bytes().to_vec())
    }
}

/// The value of the secret `long`: as long as one may be, and nowhere the same.
fn long_secret() -> String {
    (0..2048).map(|number| format!("{number:08}")).collect()
}

#[derive(Debug)]
struct Folder(PathBuf);

#[async_trait]
impl AttemptWorkspace for Folder {
    async fn folder(&self) -> Result<PathBuf, WorkspaceError> {
        Ok(self.0.clone())
    }

    async fn sync(&self) -> Result<(), WorkspaceError> {
        Ok(())
    }

    async fn aside(&self) -> Result<PathBuf, WorkspaceError> {
        let path = self.0.with_extension("aside");
        std::fs::create_dir_all(&path).map(|()| path).map_err(|error| WorkspaceError::Io {
            action: "made",
            path: ".".to_owned(),
            reason: error.to_string(),
        })
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

#[derive(Debug, Default)]
struct MemoryLog(Mutex<Vec<LogLine>>);

#[async_trait]
impl AttemptLog for MemoryLog {
    fn append(&self, line: LogLine) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }

    async fn grown(&self, _: u64) -> u64 {
        0
    }

    async fn finish(&self) -> Result<StoredLog, LogError> {
        Ok(StoredLog::Inline(bytes::Bytes::new()))
    }
}
