//! The handle: start runs, cancel them, watch them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{RwLock, mpsc, oneshot, watch};
use yuanli_flow::{Command, Creation, Illegal, NotReusable, Run, create, step};
use yuanli_model::run::{Answer, Cause};
use yuanli_model::trigger::Happened;
use yuanli_model::{AttemptId, Digest, RunEvent, RunId, StageName, Timestamp};
use yuanli_ports::store::{Batch, StoreError};
use yuanli_ports::{Announcements, Archive, AttemptLog, Blobs, Clock, Logs, Plugins, Store, Workspaces};

use crate::admission::{Entrance, Groups};
use crate::check::{self, Check};
use crate::child::{self, Awaited};
use crate::figures::{Figures, Measured};
use crate::follower::Follower;
use crate::history::{History, Summary};
use crate::keeper::{Doorbell, Keeper, Retention, WorkspaceBounds};
use crate::owner::{Family, Message, Owner};
use crate::position::{InvalidPosition, Position};
use crate::record::long::Long;
use crate::record::{Broken, envelope, key, v2, v3, v6, v8};
use crate::records::{JournalBounds, Records};
use crate::retry::Beginning;
use crate::submission::{Started, Submission};
use crate::task::Tasks;

/// What the executor reaches.
#[derive(Debug, Clone)]
pub struct Ports {
    /// Where runs are kept.
    pub store: Arc<dyn Store>,
    /// Where finished runs are kept.
    pub archive: Arc<dyn Archive>,
    /// Where large values are kept.
    pub blobs: Arc<dyn Blobs>,
    /// Where logs are kept.
    pub logs: Arc<dyn Logs>,
    /// Where workspaces are made.
    pub workspaces: Arc<dyn Workspaces>,
    /// What runs plugins.
    pub plugins: Arc<dyn Plugins>,
    /// The one clock.
    pub clock: Arc<dyn Clock>,
    /// Who is told of runs that end.
    pub announcements: Arc<dyn Announcements>,
}

/// What holds for every run.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// How long an attempt may take whose stage does not say so. Default one hour.
    pub timeout: Duration,
    /// How long runs are kept.
    pub retention: Retention,
    /// How long what their stages left of their workspaces is.
    pub workspaces: WorkspaceBounds,
    /// Of which attempts the calls are kept that have ended, and how long.
    pub journals: JournalBounds,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(60 * 60),
            retention: Retention::default(),
            workspaces: WorkspaceBounds::default(),
            journals: JournalBounds::default(),
        }
    }
}

/// Why something about a run was not done.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// The store failed.
    #[error(transparent)]
    Store(StoreError),
    /// What is stored cannot be read.
    #[error(transparent)]
    Broken(#[from] Broken),
    /// It does not fit the state of the run.
    #[error(transparent)]
    Illegal(#[from] Illegal),
    /// No such run is active.
    #[error("run {0} is not active")]
    NotActive(RunId),
    /// The run has no such position.
    #[error(transparent)]
    Position(#[from] InvalidPosition),
    /// A log cannot be read.
    #[error(transparent)]
    Log(#[from] yuanli_ports::logs::LogError),
    /// The text that names its concurrency group cannot be had.
    #[error("the concurrency group of the run: {0}")]
    Group(String),
    /// The run is driven already, or somebody is about to.
    #[error("run {0} goes on already")]
    Driven(RunId),
    /// No such run is stored.
    #[error("run {0} is not stored any more")]
    NotStored(RunId),
    /// The run cannot take over from the other one.
    #[error(transparent)]
    NotReusable(#[from] NotReusable),
    /// What a stage left of its files is not kept any more.
    #[error(
        "the files that stage `{stage}` left in run {run} are not kept any more: begin there, with `--from {stage}`"
    )]
    Unkept {
        /// The run.
        run: RunId,
        /// The stage.
        stage: StageName,
    },
    /// The workspaces cannot be had.
    #[error(transparent)]
    Workspace(#[from] yuanli_ports::workspaces::WorkspaceError),
    /// The workflow's text, with those of the workflows that it runs, is too long for the store.
    #[error(
        "the text of the workflow has {0} bytes, with those of the workflows that it runs, which is too much"
    )]
    TooLong(usize),
}

/// Drives runs. Clones share everything.
#[derive(Debug, Clone)]
pub struct Executor {
    pub(crate) shared: Arc<Shared>,
}

/// What the owners of runs, their attempts and their followers share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) ports: Ports,
    pub(crate) options: Options,
    pub(crate) history: History,
    pub(crate) records: Records,
    pub(crate) tasks: Tasks,
    pub(crate) doorbell: Doorbell,
    pub(crate) figures: Figures,
    active: Mutex<HashMap<RunId, Active>>,
    /// Runs that were left and that somebody goes on with, or ends, just now.
    claimed: Mutex<HashSet<RunId>>,
    /// Runs of which it cannot be known before the next start whether they were begun: what is kept for them stays.
    pub(crate) in_doubt: Mutex<HashSet<RunId>>,
    /// Workflow versions whose text is known to be stored. Who relies on one holds it until the run is durable.
    pub(crate) stored: RwLock<HashSet<Digest>>,
    /// Which runs of concurrency groups go on.
    pub(crate) groups: Mutex<Groups>,
    /// Runs that stages of other runs wait for.
    pub(crate) awaited: Awaited,
}

/// What others know of an active run.
#[derive(Debug, Clone)]
struct Active {
    mailbox: mpsc::UnboundedSender<Box<Message>>,
    /// How many of its events are durable.
    durable: watch::Receiver<u32>,
    /// The logs of the attempts that run.
    logs: OpenLogs,
}

/// The logs of the attempts of a run that have not ended.
pub(crate) type OpenLogs = Arc<Mutex<HashMap<AttemptId, Arc<dyn AttemptLog>>>>;

/// Parts that a workflow's text is stored in: small values are what stores are good at.
const TEXT_PART_BYTES: usize = 64 * 1024;
/// Longest texts of a workflow and those that it runs, so that they fit one commit; `lang` refuses longer documents
/// before.
const MAX_TEXT_BYTES: usize = 4 * 1024 * 1024;

impl Executor {
    /// An executor over these ports.
    #[must_use]
    pub fn new(ports: Ports, options: Options) -> Self {
        let history =
            History::new(Arc::clone(&ports.store), Arc::clone(&ports.archive), Arc::clone(&ports.blobs));
        let (store, blobs) = (Arc::clone(&ports.store), Arc::clone(&ports.blobs));
        let records = Records::new(store, blobs, Arc::clone(&ports.clock), history.clone());
        let shared = Shared {
            ports,
            options,
            history,
            records,
            tasks: Tasks::default(),
            doorbell: Doorbell::default(),
            figures: Figures::default(),
            active: Mutex::default(),
            claimed: Mutex::default(),
            in_doubt: Mutex::default(),
            stored: RwLock::default(),
            groups: Mutex::default(),
            awaited: Awaited::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// What is stored of runs.
    #[must_use]
    pub fn history(&self) -> &History {
        &self.shared.history
    }

    /// What plugins keep.
    #[must_use]
    pub fn records(&self) -> &Records {
        &self.shared.records
    }

    /// Begins to keep the history small: moves ended runs to the archive, removes old ones. Once per executor.
    pub fn keep_history(&self) {
        let keeper = Keeper::new(Arc::clone(&self.shared));
        self.shared.tasks.spawn("keeper", keeper.work());
    }

    /// Makes the history as small as it can be, and returns when it is.
    ///
    /// # Errors
    /// See [`Error`]; what was done stays.
    pub async fn tidy_history(&self) -> Result<(), Error> {
        Keeper::new(Arc::clone(&self.shared)).tidy().await
    }

    /// The bytes of the workspaces that are kept of runs which have ended.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn kept_workspaces(&self) -> Result<Vec<(RunId, u64)>, Error> {
        Keeper::new(Arc::clone(&self.shared)).kept_workspaces().await
    }

    /// Checks that everything that is stored of runs belongs together; with `is_repair`, mends what can be mended without
    /// losing anything: counts, and files that nobody names.
    ///
    /// # Errors
    /// See [`Error`]: what cannot be read at all.
    pub async fn check(&self, is_repair: bool) -> Result<Check, Error> {
        check::check(&self.shared, is_repair).await
    }

    /// What was done since this was made, in numbers, and what waits now.
    #[must_use]
    pub fn measured(&self) -> Measured {
        self.shared.figures.measured(self.shared.waiting())
    }

    /// How many runs are active.
    #[must_use]
    pub fn active(&self) -> usize {
        self.shared.active.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether a run is active here.
    #[must_use]
    pub fn is_driving(&self, run: RunId) -> bool {
        self.shared.is_active(run)
    }

    /// Lets everything go where it is: what is durable stays, attempts are dropped without being asked to end. The next
    /// engine goes on with the runs; see [`Self::resume`].
    pub async fn suspend(&self) {
        self.shared.tasks.abort();
        self.shared.tasks.join().await;
    }

    /// Waits for the end of all that was begun; runs go on to their ends.
    pub async fn close(&self) {
        self.shared.doorbell.close();
        self.shared.tasks.join().await;
    }

    /// Starts a run that nobody knows the cause of. It is durable, with its first attempts decided on, when this returns.
    ///
    /// # Errors
    /// See [`Error`]; nothing was started.
    pub async fn start(&self, submission: Submission) -> Result<Started, Error> {
        self.start_by(submission, Cause::Unknown).await
    }

    /// Starts a run, as [`Self::start`] does, and says what for.
    ///
    /// # Errors
    /// See [`Error`]; nothing was started.
    pub async fn start_by(&self, submission: Submission, by: Cause) -> Result<Started, Error> {
        if let Some(run) = self.started(submission.cause.as_deref()).await? {
            return Ok(Started { run, is_new: false });
        }
        let cause = submission.cause.clone();
        let beginning = Beginning::new(self.shared.ports.clock.new_run_id(), by);
        match self.begin(submission, beginning).await {
            Ok(run) => Ok(Started { run, is_new: true }),
            Err(error) => match self.started(cause.as_deref()).await? {
                // Somebody else was quicker.
                Some(run) => Ok(Started { run, is_new: false }),
                None => Err(error),
            },
        }
    }

    /// The run that a cause has started.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn started(&self, cause: Option<&str>) -> Result<Option<RunId>, Error> {
        let Some(cause) = cause else { return Ok(None) };
        let entry = self.shared.ports.store.get(&key::start(cause)).await?;
        Ok(entry.map(|entry| envelope::open::<v2::Start>(&entry.value)).transpose()?.map(|start| start.run()))
    }

    /// The run that an attempt of a stage with `uses: workflow/NAME` has started, if it has.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn run_of(&self, attempt: &AttemptId) -> Result<Option<RunId>, Error> {
        self.started(Some(&child::cause(attempt))).await
    }

    pub(crate) async fn begin(&self, submission: Submission, beginning: Beginning) -> Result<RunId, Error> {
        let Beginning { id, by, again, taken, mut batch } = beginning;
        let now = self.shared.ports.clock.now();
        let definition = &submission.definition;
        let version = definition.version();
        let creation = Creation {
            workflow: &definition.workflow,
            version,
            inputs: submission.inputs.clone(),
            components: &definition.components,
            priority: submission.manner.priority,
            provenance: submission.provenance(by, again),
        };
        let labels = creation.provenance.labels.clone();
        let created = create(id, creation, now).map_err(|error| Error::Group(error.to_string()))?;
        let mut run = Run::new(id, Arc::clone(&definition.workflow), &created)?;
        let mut events = vec![created];
        let bypassed = submission.manner.bypasses_cache.then_some(RunEvent::CacheBypassed);
        for event in bypassed.into_iter().chain(taken) {
            run.apply(&event)?;
            events.push(event);
        }
        events.extend(step(&mut run, Command::Advance, now)?);

        let workflow = definition.workflow.name().clone();
        let summary = Summary { id, workflow, version, created: now, ended: None, labels };
        batch.require_absent(key::run(id));
        batch.put(key::run(id), envelope::seal(&v8::Run::of(&summary, None)));
        let mark = v3::Open::of(&definition.origin, &submission.workflows, submission.is_kept);
        batch.put(key::open(id), envelope::seal(&mark));
        let pinned: Vec<[u8; 32]> =
            submission.workflows.values().map(|of| *of.version().as_bytes()).collect();
        if !pinned.is_empty() {
            batch.put(key::pinned(id), envelope::seal(&v6::PinnedVersions(pinned)));
        }
        if let Some(cause) = &submission.cause {
            batch.require_absent(key::start(cause));
            batch.put(key::start(cause), envelope::seal(&v2::Start::of(id)));
        }
        let stored = self.shared.stored.read().await;
        let new: BTreeMap<Digest, &Bytes> =
            submission.texts().filter(|(version, _)| !stored.contains(version)).collect();
        let bytes = submission.texts().map(|(_, text)| text.len()).sum();
        if bytes > MAX_TEXT_BYTES {
            return Err(Error::TooLong(bytes));
        }
        put_texts(&mut batch, &new);
        let new: Vec<Digest> = new.into_keys().collect();
        // A run can end where it begins: when the config of no stage can be evaluated.
        self.shared.put_end(&mut batch, &summary, now, &run);
        let entrance = Entrance::of(&run);
        let Submission { definition, workflows, is_kept, .. } = submission;
        let family = Family { workflows, is_kept };
        let owner = Owner::new(Arc::clone(&self.shared), run, summary, definition.origin, family);
        owner.begin(batch, now, events).await?;
        drop(stored);
        if let Some(entrance) = entrance {
            self.shared.enter(id, entrance);
        }
        for version in new {
            self.shared.note_stored(version).await?;
        }
        Ok(id)
    }

    /// Asks for the end of a run. Returns at once; the run ends when its attempts have.
    ///
    /// # Errors
    /// [`Error::NotActive`].
    pub fn cancel(&self, run: RunId, reason: &str) -> Result<(), Error> {
        let command = Command::Cancel { reason: reason.to_owned() };
        self.shared.send(run, Message::Command(command))
    }

    /// Asks for the end of a run, as [`Self::cancel`] does. That it was asked is durable when this returns.
    ///
    /// # Errors
    /// [`Error::NotActive`]; [`Error::Illegal`] when the run has ended meanwhile; what the store says.
    pub async fn cancel_durably(&self, run: RunId, reason: &str) -> Result<(), Error> {
        self.request(run, Command::Cancel { reason: reason.to_owned() }).await
    }

    /// Answers what a stage of a run asks. The answer is durable when this returns.
    ///
    /// # Errors
    /// [`Error::NotActive`]; [`Error::Illegal`] when the stage does not wait for this answer; what the store says.
    pub async fn answer(&self, run: RunId, stage: StageName, answer: Answer) -> Result<(), Error> {
        self.request(run, Command::Answer { stage, answer }).await
    }

    async fn request(&self, run: RunId, command: Command) -> Result<(), Error> {
        let (reply, replied) = oneshot::channel();
        self.shared.send(run, Message::Request { command, reply })?;
        replied.await.map_err(|_| Error::NotActive(run))??;
        Ok(())
    }

    /// What happened in a run and what happens, from its first event to its end.
    #[must_use]
    pub fn follow(&self, run: RunId) -> Follower {
        self.follow_from(run, Position::default(), true)
    }

    /// The same from a position on, with the lines of logs or without.
    #[must_use]
    pub fn follow_from(&self, run: RunId, position: Position, has_lines: bool) -> Follower {
        Follower::new(Arc::clone(&self.shared), run, position, has_lines)
    }
}

/// Adds texts of workflow versions.
fn put_texts(batch: &mut Batch, texts: &BTreeMap<Digest, &Bytes>) {
    for (version, text) in texts {
        for (number, part) in (0..).zip(text.chunks(TEXT_PART_BYTES)) {
            batch.put(key::workflow(version, number), text.slice_ref(part));
        }
    }
}

impl Shared {
    /// Remembers that the text of a version is stored, if it still is.
    async fn note_stored(&self, version: Digest) -> Result<(), Error> {
        let mut stored = self.stored.write().await;
        if self.ports.store.get(&key::workflow(&version, 0)).await?.is_some() {
            stored.insert(version);
        }
        Ok(())
    }

    pub(crate) fn register(
        &self,
        run: RunId,
        mailbox: mpsc::UnboundedSender<Box<Message>>,
        durable: watch::Receiver<u32>,
        logs: OpenLogs,
    ) {
        let active = Active { mailbox, durable, logs };
        self.active.lock().unwrap_or_else(PoisonError::into_inner).insert(run, active);
        self.awaited.tell(run);
    }

    pub(crate) fn unregister(&self, run: RunId) {
        self.active.lock().unwrap_or_else(PoisonError::into_inner).remove(&run);
        self.awaited.tell(run);
    }

    pub(crate) fn send(&self, run: RunId, message: Message) -> Result<(), Error> {
        let mailbox = self.active(run).ok_or(Error::NotActive(run))?.mailbox;
        mailbox.send(Box::new(message)).map_err(|_| Error::NotActive(run))
    }

    /// Waits until a time, for ever without one.
    pub(crate) async fn wait_until(&self, at: Option<Timestamp>) {
        match at {
            Some(at) => self.ports.clock.wait_until(at).await,
            None => std::future::pending().await,
        }
    }

    /// Takes a run that was left for whoever asks, until what is returned is dropped: of two that would go on with it, or end
    /// it, one does.
    pub(crate) fn claim(&self, run: RunId) -> Result<Claim<'_>, Error> {
        let mut claimed = self.claimed.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_active(run) || !claimed.insert(run) {
            return Err(Error::Driven(run));
        }
        Ok(Claim { shared: self, run })
    }

    pub(crate) fn is_active(&self, run: RunId) -> bool {
        self.active(run).is_some()
    }

    fn active(&self, run: RunId) -> Option<Active> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner).get(&run).cloned()
    }

    /// The progress of an active run, for its followers.
    pub(crate) fn progress(&self, run: RunId) -> Option<(watch::Receiver<u32>, OpenLogs)> {
        self.active(run).map(|active| (active.durable, active.logs))
    }
}

/// See [`Shared::claim`].
pub(crate) struct Claim<'a> {
    shared: &'a Shared,
    run: RunId,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.shared.claimed.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.run);
    }
}

/// Most events of one stored value; more become several values of one commit.
const EVENTS_PER_VALUE: usize = 16;

/// Adds the events of a transition, the first of which has number `next`. Their long texts, which are returned, have to
/// be kept before the batch is committed.
pub(crate) fn put_events(
    batch: &mut Batch,
    run: RunId,
    next: u32,
    now: Timestamp,
    events: &[RunEvent],
) -> Long {
    let mut long = Long::default();
    let mut number = next;
    for part in events.chunks(EVENTS_PER_VALUE) {
        batch.put(key::event(run, number), envelope::seal(&v8::Transition::of(now, part, &mut long)));
        number += part.len() as u32;
    }
    long
}

impl Shared {
    /// Adds what the end of a run changes, if it has ended.
    pub(crate) fn put_end(&self, batch: &mut Batch, summary: &Summary, now: Timestamp, run: &Run) {
        let Some(outcome) = run.outcome() else { return };
        let ended = Summary { ended: Some((now, outcome)), ..summary.clone() };
        batch.put(key::run(summary.id), envelope::seal(&v8::Run::of(&ended, None)));
        batch.delete(key::open(summary.id));
        batch.put(key::ended(summary.id), Bytes::new());
        let happened = Happened::RunEnded { workflow: summary.workflow.clone(), run: summary.id, outcome };
        self.ports.announcements.add(&happened, batch);
    }
}
