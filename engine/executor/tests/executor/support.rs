//! An engine whose store and plugins are in the test's hands.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use indexmap::IndexMap;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::watch;
use yuanli_executor::{
    Definition, Error, Executor, Follower, Manner, Options, Ports, Retention, Submission, Update,
};
use yuanli_model::workflow::Settings;
use yuanli_model::{
    AttemptOutcome, Digest, Expression, Failure, FailureClass, Level, LogLine, Outcome, PluginDescription,
    PluginReference, RunEvent, RunId, Stage, Stream, Template, Timestamp, Workflow,
};
use yuanli_ports::announcements::NoAnnouncements;
use yuanli_ports::containers::ContainerError;
use yuanli_ports::plugins::{Attempt, Origin, PluginError};
use yuanli_ports::store::{Batch, Entry, Key, Range, Revision, StoreError};
use yuanli_ports::used::ImageNames;
use yuanli_ports::{Clock, Plugins, Store, Watch};
use yuanli_store::{FileArchive, FileBlobs, FileLogs, Memory, disk};
use yuanli_workspace::FileWorkspaces;

/// How long anything may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("it does not take this long")
}

/// What the plugin of a stage does.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    Give(Value),
    Fail,
    /// Fails so many times, then succeeds.
    FailFirst(u32),
    /// Fails with a message.
    Refuse(String),
    Panic,
    /// Waits until the test opens the gate, or the run is cancelled.
    Wait,
    /// Waits for ever, whoever cancels it.
    Hang,
    /// Writes lines.
    Say(usize),
    /// Counts up a state key, puts an artifact and emits an event, each once.
    Keep(Then),
    /// Records a call that was told something long, and puts an artifact.
    Read(Then),
    /// Is told something long, and keeps nothing.
    Hear,
    /// Gives the stages and names of the artifacts that it sees.
    Collect,
    /// Writes a file and gives the names of all files that are there.
    Write(&'static str, &'static str),
    /// Records a call, writes a file, and waits for ever; begun again, gives what is there, and since when it runs.
    Leave {
        records: bool,
    },
}

/// What a plugin does once it has kept something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    End,
    Fail,
    Hang,
    /// Fails the first time.
    FailFirst,
}

/// A store in memory that counts, and can be held up or broken.
#[derive(Debug, Default)]
pub(crate) struct TestStore {
    inner: Memory,
    pub(crate) commits: AtomicU64,
    /// When there were so many commits, all others fail; 0 is never.
    pub(crate) most: AtomicU64,
    /// While `true`, commits wait.
    pub(crate) is_held: watch::Sender<bool>,
    pub(crate) failure: Mutex<Option<StoreError>>,
    /// What the next commit alone fails with.
    pub(crate) next_failure: Mutex<Option<StoreError>>,
    /// What every other commit fails with.
    pub(crate) flaw: Mutex<Option<StoreError>>,
    pub(crate) failed: AtomicU64,
}

impl TestStore {
    /// Why the next commit fails, if it does.
    fn fault(&self) -> Option<StoreError> {
        if let Some(failure) = self.failure.lock().unwrap().clone() {
            return Some(failure);
        }
        let is_turn = self.failed.load(Ordering::SeqCst) == self.commits.load(Ordering::SeqCst);
        let flaw = self.flaw.lock().unwrap().clone().filter(|_| is_turn);
        flaw.or_else(|| self.next_failure.lock().unwrap().take())
    }

    /// From now on every other commit fails.
    pub(crate) fn is_flawed_by(&self, flaw: StoreError) {
        self.failed.store(self.commits.load(Ordering::SeqCst), Ordering::SeqCst);
        *self.flaw.lock().unwrap() = Some(flaw);
    }
}

#[async_trait]
impl Store for TestStore {
    async fn commit(&self, batch: Batch) -> Result<Revision, StoreError> {
        let _ = self.is_held.subscribe().wait_for(|is_held| !is_held).await;
        if let Some(fault) = self.fault() {
            self.failed.fetch_add(1, Ordering::SeqCst);
            return Err(fault);
        }
        let most = self.most.load(Ordering::SeqCst);
        if most != 0 && self.commits.load(Ordering::SeqCst) >= most {
            return Err(StoreError::Closed);
        }
        self.commits.fetch_add(1, Ordering::SeqCst);
        self.inner.commit(batch).await
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

#[derive(Debug, Default)]
pub(crate) struct TestPlugins {
    acts: Mutex<HashMap<String, Act>>,
    /// The stages whose plugin was called, in order.
    pub(crate) called: watch::Sender<Vec<String>>,
    pub(crate) is_gate_open: watch::Sender<bool>,
    /// What names of images stand for, all of which are used by whoever writes a file.
    pub(crate) images: Mutex<ImageNames>,
}

impl TestPlugins {
    /// What the plugin of a stage does from now on.
    pub(crate) fn does(&self, stage: &str, act: Act) {
        self.acts.lock().unwrap().insert(stage.to_owned(), act);
    }
}

#[async_trait]
impl Plugins for TestPlugins {
    async fn list(&self) -> Result<Vec<Arc<PluginDescription>>, PluginError> {
        Ok(Vec::new())
    }

    fn names(&self) -> Vec<String> {
        Vec::new()
    }

    async fn resolve(&self, _: &PluginReference, _: &Origin) -> Result<Arc<PluginDescription>, PluginError> {
        Err(PluginError::Unknown("tests submit digests".to_owned()))
    }

    async fn run(&self, attempt: Attempt) -> Result<Value, Failure> {
        let stage = attempt.id.stage.to_string();
        self.called.send_modify(|called| called.push(stage.clone()));
        let act = self.acts.lock().unwrap().get(&stage).cloned().unwrap_or(Act::Give(json!({})));
        match act {
            Act::Give(outputs) => Ok(outputs),
            Act::Fail => Err(Failure::permanent("told", "to fail")),
            Act::FailFirst(times) if attempt.id.attempt > times => Ok(json!({})),
            Act::FailFirst(_) => Err(Failure::permanent("told", "to fail first")),
            Act::Refuse(message) => Err(Failure::permanent("told", &message)),
            Act::Panic => panic!("a plugin host with a defect"),
            Act::Wait => {
                let mut gate = self.is_gate_open.subscribe();
                tokio::select! {
                    _ = gate.wait_for(|is_open| *is_open) => Ok(json!({})),
                    () = attempt.cancel.cancelled() => Err(Failure::new(FailureClass::Cancelled, "cancelled", "")),
                }
            }
            Act::Hang => std::future::pending().await,
            Act::Say(lines) => {
                for number in 0..lines {
                    let (at, fields) = (attempt.started, Vec::new());
                    let (stream, level, text) = (Stream::Plugin, Level::Info, format!("{stage} {number}"));
                    attempt.log.append(LogLine { at, stream, level, text, fields });
                    tokio::task::yield_now().await;
                }
                Ok(json!({}))
            }
            Act::Keep(then) => {
                crate::records::keep(&attempt).await;
                crate::journals::end(&attempt, 4);
                match then {
                    Then::Hang => {
                        self.called.send_modify(|called| called.push("kept".to_owned()));
                        std::future::pending().await
                    }
                    Then::Fail => Err(Failure::permanent("told", "to fail")),
                    Then::FailFirst if attempt.id.attempt == 1 => Err(Failure::transient("told", "to fail")),
                    Then::End | Then::FailFirst => Ok(json!({})),
                }
            }
            Act::Read(then) => {
                if !attempt.is_again {
                    crate::journal_blobs::read(&attempt).await;
                }
                match then {
                    Then::Hang => {
                        self.called.send_modify(|called| called.push("read".to_owned()));
                        std::future::pending().await
                    }
                    Then::Fail => Err(Failure::permanent("told", "to fail")),
                    Then::FailFirst if attempt.id.attempt == 1 => Err(Failure::transient("told", "to fail")),
                    Then::End | Then::FailFirst => Ok(json!({})),
                }
            }
            Act::Hear => {
                crate::journal_blobs::hear(&attempt, 1).await;
                Ok(json!({}))
            }
            Act::Collect => {
                let seen = attempt.records.artifacts().await.unwrap();
                let name = |seen: &yuanli_ports::records::Artifact| {
                    format!("{}.{}/{}", seen.stage, seen.attempt, seen.content.name)
                };
                Ok(json!({ "seen": seen.iter().map(name).collect::<Vec<_>>() }))
            }
            Act::Leave { records } => {
                let folder = attempt.workspace.folder().await.unwrap();
                if !attempt.is_again {
                    if records {
                        crate::records::record(&attempt, 1, yuanli_ports::journal::Staged::default()).await;
                    }
                    std::fs::write(folder.join("left"), attempt.started.as_millis().to_string()).unwrap();
                    self.called.send_modify(|called| called.push("left".to_owned()));
                    return std::future::pending().await;
                }
                let left = std::fs::read_to_string(folder.join("left")).ok();
                Ok(json!({ "left": left, "started": attempt.started.as_millis().to_string() }))
            }
            Act::Write(name, text) => {
                let folder = attempt.workspace.folder().await.unwrap();
                std::fs::write(folder.join(name), text).unwrap();
                if let Some(used) = &attempt.images {
                    let images = self.images.lock().unwrap();
                    images.iter().for_each(|(name, id)| used.used(name, id.clone()));
                }
                let mut names: Vec<String> = std::fs::read_dir(&folder)
                    .unwrap()
                    .map(|file| file.unwrap().file_name().into_string().unwrap())
                    .collect();
                names.sort();
                Ok(json!({ "files": names }))
            }
        }
    }

    async fn image(&self, name: &str) -> Result<Option<String>, ContainerError> {
        Ok(self.images.lock().unwrap().get(name).cloned().flatten())
    }
}

/// A clock that goes on by a millisecond with each look, and by as much as a test says.
#[derive(Debug, Default)]
pub(crate) struct TestClock(watch::Sender<u64>);

impl TestClock {
    pub(crate) fn pass(&self, time: Duration) {
        self.0.send_modify(|now| *now += time.as_millis() as u64);
    }

    fn tick(&self) -> u64 {
        let mut before = 0;
        self.0.send_modify(|now| {
            before = *now;
            *now += 1;
        });
        before
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.tick())
    }

    fn new_run_id(&self) -> RunId {
        RunId::from_u128(u128::from(self.tick()) << 80)
    }

    fn wait_until(&self, at: Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        let mut now = self.0.subscribe();
        Box::pin(async move {
            let _ = now.wait_for(|now| *now >= at.as_millis()).await;
        })
    }
}

/// So small that a few runs fill a segment of the archive.
const SEGMENT_BYTES: u64 = 256;

pub(crate) struct Bench {
    pub(crate) executor: Executor,
    pub(crate) store: Arc<TestStore>,
    pub(crate) archive: Arc<FileArchive>,
    pub(crate) plugins: Arc<TestPlugins>,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) folder: Arc<TempDir>,
}

impl Bench {
    pub(crate) fn new(acts: &[(&str, Act)]) -> Self {
        Self::with(Arc::default(), Arc::new(tempfile::tempdir().unwrap()), acts, Options::default())
    }

    /// One that keeps its history so.
    pub(crate) fn keeping(acts: &[(&str, Act)], retention: Retention) -> Self {
        let options = Options { retention, ..Options::default() };
        Self::with(Arc::default(), Arc::new(tempfile::tempdir().unwrap()), acts, options)
    }

    /// Another engine on the same store and files that keeps its history so.
    pub(crate) fn keeping_beside(other: &Self, retention: Retention) -> Self {
        let options = Options { retention, ..Options::default() };
        Self::with(Arc::clone(&other.store), Arc::clone(&other.folder), &[], options)
    }

    /// One with these options, on the store and files of another.
    pub(crate) fn optioned(other: Option<&Self>, acts: &[(&str, Act)], options: Options) -> Self {
        let fresh = || (Arc::default(), Arc::new(tempfile::tempdir().unwrap()));
        let (store, folder) =
            other.map_or_else(fresh, |other| (Arc::clone(&other.store), Arc::clone(&other.folder)));
        Self::with(store, folder, acts, options)
    }

    /// Another engine on the same store.
    pub(crate) fn on(store: Arc<TestStore>, acts: &[(&str, Act)]) -> Self {
        Self::with(store, Arc::new(tempfile::tempdir().unwrap()), acts, Options::default())
    }

    /// Another engine on the same store and files.
    pub(crate) fn beside(other: &Self, acts: &[(&str, Act)]) -> Self {
        Self::with(Arc::clone(&other.store), Arc::clone(&other.folder), acts, Options::default())
    }

    fn with(store: Arc<TestStore>, folder: Arc<TempDir>, acts: &[(&str, Act)], options: Options) -> Self {
        let (plugins, clock) = (Arc::new(TestPlugins::default()), Arc::new(TestClock::default()));
        *plugins.acts.lock().unwrap() =
            acts.iter().map(|(stage, act)| ((*stage).to_owned(), act.clone())).collect();
        let history = folder.path().join("history");
        let archive = Arc::new(FileArchive::open(&history, Arc::new(disk::Local), SEGMENT_BYTES).unwrap());
        let ports = Ports {
            store: store.clone(),
            archive: archive.clone(),
            blobs: Arc::new(FileBlobs::open(&folder.path().join("blobs"), Arc::new(disk::Local)).unwrap()),
            logs: Arc::new(FileLogs::new(folder.path().join("logs"))),
            workspaces: Arc::new(FileWorkspaces::new(folder.path().join("work"))),
            plugins: plugins.clone(),
            clock: clock.clone(),
            announcements: Arc::new(NoAnnouncements),
        };
        Self { executor: Executor::new(ports, options), store, archive, plugins, clock, folder }
    }

    /// Starts a run of stages such as `d: b c`; what stands after `=` is an expression in the stage's config.
    pub(crate) async fn start(&self, lines: &[&str]) -> Result<RunId, Error> {
        self.start_of("w", lines).await
    }

    /// The same of a workflow with another name.
    pub(crate) async fn start_of(&self, workflow: &str, lines: &[&str]) -> Result<RunId, Error> {
        Ok(self.executor.start(self.submission(workflow, lines)).await?.run)
    }

    /// What starts a run of such a workflow.
    pub(crate) fn submission(&self, workflow: &str, lines: &[&str]) -> Submission {
        let stage = |line: &&str| {
            let (line, expression) = line.split_once('=').unwrap_or((line, ""));
            let (name, needs) = line.split_once(':').unwrap_or((line, ""));
            let value = Template::Expression(Expression::new(expression.trim()));
            let config = (!expression.is_empty()).then(|| ("value".to_owned(), value));
            Stage::new(name.trim().parse().unwrap(), PluginReference::Named("p".to_owned()))
                .with(Template::Map(config.into_iter().collect()))
                .after(needs.split_whitespace().map(|need| need.parse().unwrap()).collect())
        };
        let stages = lines.iter().map(stage).collect();
        self.submission_of(workflow, stages, Settings::default(), &lines.join("\n"))
    }

    /// What starts a run of these stages.
    pub(crate) fn submission_of(
        &self,
        workflow: &str,
        stages: Vec<Stage>,
        settings: Settings,
        text: &str,
    ) -> Submission {
        let components = vec![Digest::of(b"component"); stages.len()];
        let folder = self.folder.path().to_owned();
        let workflow = Workflow::new(workflow.parse().unwrap(), None, IndexMap::new(), stages).unwrap();
        let definition = Definition {
            workflow: Arc::new(workflow.with_settings(settings)),
            text: Bytes::from(text.to_owned()),
            components,
            origin: Origin { folder: folder.clone(), root: folder },
        };
        Submission {
            definition,
            inputs: IndexMap::new(),
            workflows: Arc::default(),
            cause: None,
            is_kept: false,
            manner: Manner::default(),
        }
    }

    /// Starts a run and follows it to its end.
    pub(crate) async fn run(&self, lines: &[&str]) -> (RunId, Vec<Update>) {
        let run = self.start(lines).await.unwrap();
        (run, soon(to_the_end(self.executor.follow(run))).await.unwrap())
    }

    /// Waits until the plugins of that many stages were called.
    pub(crate) async fn called(&self, count: usize) -> Vec<String> {
        let mut called = self.plugins.called.subscribe();
        soon(called.wait_for(|called| called.len() >= count)).await.unwrap().clone()
    }
}

pub(crate) async fn to_the_end(mut follower: Follower) -> Result<Vec<Update>, Error> {
    let mut updates = Vec::new();
    while let Some(update) = follower.next().await? {
        updates.push(update);
    }
    Ok(updates)
}

pub(crate) fn outcome(updates: &[Update]) -> Outcome {
    match updates.last() {
        Some(Update::Event(recorded)) => match recorded.event {
            RunEvent::Finished { outcome, .. } => outcome,
            ref other => panic!("{other:?} comes last"),
        },
        other => panic!("{other:?} comes last"),
    }
}

/// How the attempt of a stage ended.
pub(crate) fn end<'a>(updates: &'a [Update], stage: &str) -> &'a AttemptOutcome {
    let end = |update: &'a Update| match update {
        Update::Event(recorded) => match &recorded.event {
            RunEvent::AttemptEnded { attempt, outcome, .. } if attempt.stage.as_str() == stage => {
                Some(outcome)
            }
            _ => None,
        },
        Update::Line { .. } => None,
    };
    updates.iter().find_map(end).unwrap_or_else(|| panic!("{stage} did not end"))
}

pub(crate) fn failure<'a>(updates: &'a [Update], stage: &str) -> &'a Failure {
    match end(updates, stage) {
        AttemptOutcome::Failed(failure) => failure,
        other => panic!("{stage} was to fail: {other:?}"),
    }
}
