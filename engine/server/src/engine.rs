//! An engine: the owner of a data directory. `engine/recovery.rs` is how it goes on with what one before it left.

mod recovery;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use indexmap::IndexMap;
use serde_json::Value;
use yuanli_api_types as api;
use yuanli_docker::Docker;
use yuanli_executor::{
    Error, Executor, Follower, JournalBounds, Journals, Manner, Options, Ports, Position, Recorded, Started,
    Submission, Summary, WorkspaceBounds,
};
use yuanli_lang::{Configuration, KeepJournals, KeptJournals, KeptWorkspaces};
use yuanli_model::run::Cause;
use yuanli_model::{AttemptId, InputName, RunId, SecretHandle, StageName, WorkflowName};
use yuanli_ports::announcements::NoAnnouncements;
use yuanli_ports::secrets::SecretError;
use yuanli_ports::{Announcements, Http, Logs, Secrets};
use yuanli_store::{DataDirectory, Embedded, FileArchive, FileBlobs, FileLogs, disk};
use yuanli_wasm::Outside;
use yuanli_workspace::FileWorkspaces;

use crate::body;
use crate::clock::SystemClock;
use crate::containers::NotedContainers;
use crate::document::{Document, Given, Refused, Runnable};
use crate::library::{Library, NO_APPS, outside};
use crate::manner::RunFilter;
use crate::restored::Restored;
use crate::secret::{GivenOrKept, GivenSecrets};
use crate::settings;

/// Where an engine keeps what.
#[derive(Debug, Clone)]
pub struct Locations {
    /// The data directory.
    pub data: PathBuf,
    /// The file of the engine's configuration; `config.yaml` in the data directory when absent.
    pub configuration: Option<PathBuf>,
}

impl Locations {
    /// A data directory with the configuration that lies in it.
    pub fn new(data: impl Into<PathBuf>) -> Self {
        Self { data: data.into(), configuration: None }
    }
}

/// Where it is noted which names of images are lent to others while they are pushed.
const LENT_NAMES: &str = "lent";
/// Bytes of a log that are read at once.
const LOG_PAGE_BYTES: usize = 256 * 1024;
/// Runs that are read at once, and how many are looked at for one page of those that are meant.
const RUNS_PAGE: usize = 100;
const MAX_LOOKED_AT: usize = 20_000;

/// An engine. Owns its data directory until it is closed.
#[derive(Debug)]
pub struct Engine {
    executor: Executor,
    library: Library,
    logs: Arc<FileLogs>,
    docker: Arc<Docker>,
    secrets: Arc<dyn Secrets>,
    store: Arc<Embedded>,
    directory: DataDirectory,
    restored: Restored,
    clock: Arc<SystemClock>,
    http: Arc<dyn Http>,
    /// Whether it goes on by itself with what was left; else people decide on each run.
    goes_on: bool,
}

/// What an engine stands on: its data directory and what is opened of it, before anything is built on that.
pub(crate) struct Ground {
    pub(crate) directory: DataDirectory,
    pub(crate) store: Arc<Embedded>,
    pub(crate) docker: Arc<Docker>,
    pub(crate) clock: Arc<SystemClock>,
    pub(crate) configuration: Configuration,
}

impl Ground {
    pub(crate) fn open(locations: &Locations) -> anyhow::Result<Self> {
        // Before anything is made: a mistake in it leaves everything as it was.
        let configuration = settings::configuration(locations)?;
        let clock = Arc::new(SystemClock::default());
        let mut directory = DataDirectory::open(&locations.data, || clock.new_engine_id())?;
        let store = Arc::new(Embedded::open(&directory.store(), yuanli_store::Options::default())?);
        directory.note_store()?;
        let notes = Some(directory.path().join(LENT_NAMES));
        let options = yuanli_docker::Options { notes, ..yuanli_docker::Options::from_environment() };
        let docker = Arc::new(Docker::lazy(options));
        Ok(Self { directory, store, docker, clock, configuration })
    }

    /// What plugins reach, with these secrets and apps.
    pub(crate) fn outside(
        &self,
        secrets: Arc<dyn Secrets>,
        apps: Arc<dyn yuanli_ports::Apps>,
    ) -> anyhow::Result<Outside> {
        let outside = outside(
            self.directory.engine(),
            Arc::clone(&self.clock),
            Arc::clone(&self.docker),
            secrets,
            apps,
        )?;
        let noted = Arc::new(NotedContainers::new(Arc::clone(&self.docker), self.directory.containers()));
        Ok(Outside { containers: Arc::clone(&noted) as _, images: noted, ..outside })
    }
}

/// What a copy holds may be going on elsewhere: it is only read.
pub(crate) fn refuse_copy(directory: &DataDirectory) -> anyhow::Result<()> {
    if directory.is_copy() {
        anyhow::bail!(
            "the data directory {} was copied or moved; if the one it came from is not used any more, \
             `yuanli admin adopt` makes it an engine of its own",
            directory.path().display()
        );
    }
    Ok(())
}

/// How much is kept of the workspaces of runs that have ended: what the configuration says, else the default.
fn bounds(said: KeptWorkspaces) -> WorkspaceBounds {
    let default = WorkspaceBounds::default();
    WorkspaceBounds { age: said.age.or(default.age), bytes: said.bytes.or(default.bytes) }
}

/// Which journals are kept of attempts that have ended: what the configuration says, else those of attempts that failed.
fn journals(said: KeptJournals) -> JournalBounds {
    let default = JournalBounds::default();
    JournalBounds {
        which: match said.keep {
            Some(KeepJournals::None) => Journals::None,
            Some(KeepJournals::Failed) | None => Journals::Failed,
            Some(KeepJournals::All) => Journals::All,
        },
        age: said.age.unwrap_or(default.age),
        bytes: said.bytes.unwrap_or(default.bytes),
    }
}

/// What a text that was to name a run stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selected {
    /// This run.
    One(RunId),
    /// No run.
    None,
    /// More than one.
    Several,
}

/// What happens in a run, as bodies.
#[derive(Debug)]
pub struct Updates(Follower);

impl Engine {
    /// Opens a data directory, which is made when it is not there, and becomes its only engine. It keeps no apps.
    ///
    /// # Errors
    /// When another engine owns it, or it cannot be read or written; the message says which.
    pub async fn open(locations: &Locations) -> anyhow::Result<Self> {
        Self::open_with(locations, GivenSecrets::default()).await
    }

    /// The same with secrets for the runs that it starts, beside those that the data directory keeps.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn open_with(locations: &Locations, secrets: GivenSecrets) -> anyhow::Result<Self> {
        let ground = Ground::open(locations)?;
        let secrets = GivenOrKept::new(secrets, ground.directory.path());
        let outside = ground.outside(Arc::new(secrets), Arc::new(NO_APPS))?;
        Ok(Self { goes_on: false, ..Self::on(ground, outside, Arc::new(NoAnnouncements))? })
    }

    /// An engine on this ground that reaches these outsides and tells these of what happens.
    pub(crate) fn on(
        ground: Ground,
        outside: Outside,
        announcements: Arc<dyn Announcements>,
    ) -> anyhow::Result<Self> {
        let Ground { directory, store, docker, clock, configuration } = ground;
        let restored = Restored::open(directory.path()).context("which runs are restored")?;
        let (secrets, http) = (Arc::clone(&outside.secrets), Arc::clone(&outside.http));
        let (workspaces, journals) = (bounds(configuration.workspaces), journals(configuration.journals));
        let library = Library::with(directory.path(), outside, configuration)?;
        let logs = Arc::new(FileLogs::new(directory.logs()));
        let archive =
            FileArchive::open(&directory.history(), Arc::new(disk::Local), FileArchive::SEGMENT_BYTES)?;
        let ports = Ports {
            store: store.clone(),
            archive: Arc::new(archive),
            blobs: Arc::new(FileBlobs::open(&directory.blobs(), Arc::new(disk::Local))?),
            logs: logs.clone(),
            workspaces: Arc::new(FileWorkspaces::new(directory.work())),
            plugins: library.plugins.clone(),
            clock: clock.clone(),
            announcements,
        };
        let executor = Executor::new(ports, Options { workspaces, journals, ..Options::default() });
        let goes_on = true;
        Ok(Self {
            executor,
            library,
            logs,
            docker,
            secrets,
            store,
            directory,
            restored,
            clock,
            http,
            goes_on,
        })
    }

    /// Containers and images.
    pub(crate) fn docker(&self) -> &Docker {
        &self.docker
    }

    /// Refuses what would change something that may be going on elsewhere.
    pub(crate) fn refuse_to_change(&self) -> anyhow::Result<()> {
        refuse_copy(&self.directory)
    }

    /// Notes that there may be containers, for whoever opens the data directory after a crash.
    pub(crate) fn note_containers(&self) -> anyhow::Result<()> {
        Ok(self.directory.containers().set(true)?)
    }

    /// Notes that one is left.
    pub(crate) fn keep_note_of_containers(&self) -> anyhow::Result<()> {
        Ok(self.directory.containers().keep()?)
    }

    /// Plugins and documents.
    #[must_use]
    pub fn library(&self) -> &Library {
        &self.library
    }

    /// Where everything is kept.
    pub(crate) fn store(&self) -> &Arc<Embedded> {
        &self.store
    }

    /// The one clock.
    pub(crate) fn clock(&self) -> &Arc<SystemClock> {
        &self.clock
    }

    /// Asks others over HTTP.
    pub(crate) fn http(&self) -> &Arc<dyn Http> {
        &self.http
    }

    /// What drives runs.
    pub(crate) fn executor(&self) -> &Executor {
        &self.executor
    }

    /// Makes history and store as small as they can be.
    ///
    /// # Errors
    /// When there is no room for making them smaller; nothing is lost.
    pub(crate) async fn compact(&self) -> anyhow::Result<()> {
        self.executor.tidy_history().await?;
        self.store.compact().await?;
        Ok(())
    }

    /// Starts a run; it is durable when this returns.
    ///
    /// # Errors
    /// The outer one when the store fails, the inner one when the document or the inputs are wrong.
    pub async fn start(
        &self,
        document: Document,
        inputs: Vec<(String, String)>,
        manner: Manner,
    ) -> anyhow::Result<Result<RunId, Refused>> {
        let inputs = Given::Texts(inputs);
        let started = self.submit_with(document, inputs, None, Cause::Command, manner).await?;
        Ok(started.map(|started| started.run))
    }

    /// Starts a run, one for each cause; it is durable when this returns.
    ///
    /// # Errors
    /// The outer one when the store fails, the inner one when the document or the inputs are wrong.
    pub(crate) async fn submit_with(
        &self,
        document: Document,
        inputs: Given,
        cause: Option<String>,
        by: Cause,
        manner: Manner,
    ) -> anyhow::Result<Result<Started, Refused>> {
        let runnable = match document.into_runnable(inputs) {
            Ok(runnable) => runnable,
            Err(refused) => return Ok(Err(refused)),
        };
        let Runnable { definition, inputs, workflows } = runnable;
        if let Some(refused) = self.refuse_secrets(definition.workflow.name(), &inputs).await? {
            return Ok(Err(refused));
        }
        let workflows = Arc::new(workflows);
        let submission = Submission { definition, inputs, workflows, cause, is_kept: true, manner };
        match self.executor.start_by(submission, by).await {
            Ok(started) => Ok(Ok(started)),
            // What the workflow says, or what it was given, not what this machine can do.
            Err(error @ (Error::Group(_) | Error::TooLong(_))) => {
                Ok(Err(Refused::Uncreatable(error.to_string())))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Why a run with these inputs cannot begin: nobody has a secret that they name.
    pub(crate) async fn refuse_secrets(
        &self,
        workflow: &WorkflowName,
        inputs: &IndexMap<InputName, Value>,
    ) -> anyhow::Result<Option<Refused>> {
        let mut missing = Vec::new();
        for name in inputs.values().flat_map(SecretHandle::names_in).collect::<BTreeSet<_>>() {
            match self.secrets.resolve(&name, workflow).await {
                Ok(_) => {}
                Err(SecretError::Local(why)) => anyhow::bail!(why),
                Err(SecretError::Unknown(why) | SecretError::Invalid(why)) => missing.push(why),
            }
        }
        Ok((!missing.is_empty()).then_some(Refused::Secrets(missing)))
    }

    /// Asks for the end of a run; nothing follows when it has ended.
    pub fn cancel(&self, run: RunId, reason: &str) {
        if let Err(error) = self.executor.cancel(run, reason) {
            tracing::debug!(%run, %error, "nothing to cancel");
        }
    }

    /// Asks for the end of a run; that it was asked is durable when this returns.
    ///
    /// # Errors
    /// Why there is nothing to end.
    pub async fn cancel_durably(&self, run: RunId, reason: &str) -> Result<(), yuanli_executor::Error> {
        self.executor.cancel_durably(run, reason).await
    }

    /// Answers what a stage of a run asks; the answer is durable when this returns.
    ///
    /// # Errors
    /// Why it is not taken, for a person.
    pub async fn answer(
        &self,
        run: RunId,
        stage: StageName,
        answer: api::ApprovalAnswer,
    ) -> Result<(), yuanli_executor::Error> {
        let api::ApprovalAnswer { approved, by, comment, inputs } = answer;
        let inputs = serde_json::Value::Object(inputs);
        let answer = yuanli_model::run::Answer { by, is_approved: approved, comment, inputs };
        self.executor.answer(run, stage, answer).await
    }

    /// What happens in a run, from its beginning to its end.
    #[must_use]
    pub fn follow(&self, run: RunId) -> Updates {
        Updates(self.executor.follow(run))
    }

    /// The same from a position on, with the lines of logs or without.
    pub(crate) fn follow_from(&self, run: RunId, position: Position, has_lines: bool) -> Updates {
        Updates(self.executor.follow_from(run, position, has_lines))
    }

    /// All events of a run as they are stored; none where it is not.
    pub(crate) async fn recorded(&self, run: RunId) -> anyhow::Result<Vec<Recorded>> {
        Ok(self.executor.history().events(run, 0).await?)
    }

    /// The events of a run from a number on, at most `limit`, and whether that is all that there are now.
    pub(crate) async fn events(
        &self,
        run: RunId,
        first: u32,
        limit: usize,
    ) -> anyhow::Result<(Vec<api::Event>, bool)> {
        // They are stored by transitions, of which one may begin before it.
        let mut events = self.executor.history().events(run, 0).await?;
        events.retain(|event| event.number >= first);
        let is_last = events.len() <= limit;
        events.truncate(limit);
        Ok((events.iter().map(body::recorded).collect(), is_last))
    }

    /// The run that an id, or the beginning of one, names; `last` is the newest.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn select(&self, text: &str) -> anyhow::Result<Selected> {
        self.select_among(text, |_| true).await
    }

    /// The same among the runs of workflows that are meant.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) async fn select_among(
        &self,
        text: &str,
        is_meant: impl Fn(&WorkflowName) -> bool,
    ) -> anyhow::Result<Selected> {
        let history = self.executor.history();
        let found = match text {
            "last" => {
                let newest = self.list_among(None, 1, |run| is_meant(&run.workflow)).await?;
                newest.items.iter().map(|run| run.id.parse()).collect::<Result<_, _>>()?
            }
            prefix => history.find(prefix).await?,
        };
        let &[run] = &found[..] else {
            return Ok(if found.is_empty() { Selected::None } else { Selected::Several });
        };
        let summary = history.summary(run).await?;
        Ok(match summary.is_some_and(|summary| is_meant(&summary.workflow)) {
            true => Selected::One(run),
            false => Selected::None,
        })
    }

    /// Runs that are meant, newest first, at most `limit`, from a cursor on. Where few are meant, a page may have less than
    /// `limit` of them, or none, and go on.
    ///
    /// # Errors
    /// When the store cannot be read, or the cursor is none.
    pub async fn list(
        &self,
        filter: &RunFilter,
        cursor: Option<&str>,
        limit: usize,
    ) -> anyhow::Result<api::List<api::RunSummary>> {
        self.list_among(cursor, limit, |run| filter.has(run)).await
    }

    /// The same among those that are meant. Where few are, a page may have less than `limit` of them, or none, and go on.
    ///
    /// # Errors
    /// When the store cannot be read, or the cursor is none.
    pub(crate) async fn list_among(
        &self,
        cursor: Option<&str>,
        limit: usize,
        is_meant: impl Fn(&Summary) -> bool,
    ) -> anyhow::Result<api::List<api::RunSummary>> {
        let mut before: Option<RunId> = cursor.map(str::parse).transpose().context("the cursor")?;
        let (mut items, mut looked_at) = (Vec::new(), 0);
        loop {
            let size = RUNS_PAGE.max(limit.saturating_add(1));
            let rows = self.executor.history().list(before, size).await?;
            let is_last = rows.len() < size;
            for row in &rows {
                if is_meant(row) {
                    if items.len() == limit {
                        return Ok(api::List { items, next: before.map(|before| before.to_string()) });
                    }
                    items.push(self.summary(row));
                }
                before = Some(row.id);
            }
            looked_at += rows.len();
            if is_last {
                return Ok(api::List { items, next: None });
            }
            if looked_at >= MAX_LOOKED_AT {
                return Ok(api::List { items, next: before.map(|before| before.to_string()) });
            }
        }
    }

    /// A row, and whether it waits for a person to go on with it.
    fn summary(&self, row: &Summary) -> api::RunSummary {
        let summary = body::summary(row);
        let is_left = row.ended.is_none() && !self.executor.is_driving(row.id);
        let restored = is_left && self.restored.contains(&summary.id);
        api::RunSummary { restored, resumable: restored || (is_left && !self.goes_on), ..summary }
    }

    /// A run with its stages.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn show(&self, run: RunId) -> anyhow::Result<Option<api::Run>> {
        let history = self.executor.history();
        let (Some(summary), Some((run, events))) = (history.summary(run).await?, history.run(run).await?)
        else {
            return Ok(None);
        };
        let mut shown = body::run(&summary, &run, &events);
        shown.summary = self.summary(&summary);
        self.tell_what_differs(&mut shown).await?;
        shown.artifacts = self.artifacts(summary.id).await?;
        shown.summaries = self.summaries(summary.id, &shown.artifacts).await?;
        shown.emitted = self.emitted(summary.id).await?;
        Ok(Some(shown))
    }

    /// The lines that the attempts of a run (or of one stage) wrote, attempt by attempt, in the order in which they
    /// began.
    ///
    /// # Errors
    /// When the store or a log cannot be read; what `tell` gives.
    pub async fn logs(
        &self,
        run: RunId,
        stage: Option<&str>,
        mut tell: impl FnMut(api::LogLine) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        for attempt in self.attempts(run, stage).await? {
            let Some(stored) = self.executor.history().log(&attempt).await? else { continue };
            let mut offset = 0;
            loop {
                let page = self.logs.read(&attempt, Some(&stored), offset, LOG_PAGE_BYTES).await?;
                if page.lines.is_empty() {
                    break;
                }
                offset = page.next;
                page.lines.iter().try_for_each(|line| tell(body::line(&attempt, line)))?;
            }
        }
        Ok(())
    }

    async fn attempts(&self, run: RunId, stage: Option<&str>) -> anyhow::Result<Vec<AttemptId>> {
        let events = self.executor.history().events(run, 0).await?;
        let started = |recorded: yuanli_executor::Recorded| match recorded.event {
            yuanli_model::RunEvent::AttemptStarted { attempt, .. } => Some(attempt),
            _ => None,
        };
        let is_wanted = |attempt: &AttemptId| stage.is_none_or(|stage| attempt.stage.as_str() == stage);
        Ok(events.into_iter().filter_map(started).filter(is_wanted).collect())
    }

    /// Waits for everything that was begun, and says how a run stands then.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn settle(&self, run: RunId) -> anyhow::Result<Option<api::RunStatus>> {
        self.executor.close().await;
        Ok(self.executor.history().summary(run).await?.map(|row| body::summary(&row).status))
    }

    /// Waits for everything that was begun. The data directory is given back when this is dropped.
    pub async fn close(&self) {
        self.executor.close().await;
        let mark = self.directory.containers();
        if !mark.is_set() || mark.is_kept() {
            return;
        }
        let open = self.executor.history().open().await;
        if open.is_ok_and(|open| open.is_empty())
            && let Err(error) = mark.set(false)
        {
            tracing::warn!(%error, "the next start asks Docker for containers that are not there");
        }
    }

    /// Lets everything go where it is; the next engine goes on with the runs.
    pub(crate) async fn suspend(&self) {
        self.executor.suspend().await;
    }

    /// The data directory.
    #[must_use]
    pub fn data(&self) -> &Path {
        self.directory.path()
    }
}

impl Updates {
    /// Finds out whether all was told before the position that it begins at.
    pub(crate) async fn restore(&mut self) -> Result<bool, yuanli_executor::Error> {
        self.0.restore().await
    }

    /// What was told.
    pub(crate) fn position(&self) -> &Position {
        self.0.position()
    }

    /// The next thing that happened; `None` after the end of the run.
    ///
    /// # Errors
    /// When the store or a log cannot be read, or nobody drives the run any more.
    pub async fn next(&mut self) -> anyhow::Result<Option<api::Update>> {
        Ok(self.0.next().await?.as_ref().map(body::update))
    }
}
