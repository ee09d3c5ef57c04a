//! Runs attempts of one component, one after the other, each in a world that was prepared for it.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::Value;
use tempfile::TempDir;
use yuanli_model::stage::Limits as StageLimits;
use yuanli_model::workspace::Manifest;
use yuanli_model::{AttemptId, Capability, Digest, EngineId, Failure, Grant, LogLine, RunId, SecretName};
use yuanli_ports::announcements::NoAnnouncements;
use yuanli_ports::logs::{LogError, StoredLog};
use yuanli_ports::plugins::{Afterwards, Attempt, Origin, PluginError};
use yuanli_ports::workspaces::WorkspaceError;
use yuanli_ports::{AttemptLog, AttemptWorkspace, Cancellation, Plugins};
use yuanli_wasm::{Host, Options, Outside, Rehearsal};

use crate::case::Case;
use crate::kept::{Kept, Left};
use crate::world::{BEGINNING, Seen, World};

/// What all random numbers follow from.
const SEED: u64 = 0x7975_616e_6c69;
/// How long an attempt may take beyond its own time, until it counts as one that does not end: it stops containers that do
/// not listen, which takes its time on a machine with much to do.
const GRACE: Duration = Duration::from_secs(60);
/// How often a folder is emptied, and how long is waited in between: what an attempt that was cut off had begun in a thread
/// may still write into it.
const FRESH_TRIES: u32 = 100;
const BETWEEN_FRESH_TRIES: Duration = Duration::from_millis(50);
/// Lines of the log that are shown with a failure.
const LAST_LINES: usize = 20;

/// A component host with a world around it.
#[derive(Debug)]
pub(crate) struct Bench {
    pub(crate) host: Host,
    world: Arc<World>,
    folder: TempDir,
}

/// How an attempt is to differ from what its case says.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Variation {
    /// Cancelled at this call.
    pub(crate) cancel_at: Option<usize>,
    /// With this time.
    pub(crate) timeout: Option<Duration>,
    /// No container ends by itself.
    pub(crate) is_endless: bool,
}

/// How an attempt ended, and what was seen of it.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) outcome: Result<Value, Failure>,
    pub(crate) lines: Vec<LogLine>,
    pub(crate) seen: Seen,
    /// The workspace, until the next attempt begins.
    pub(crate) workspace: PathBuf,
    /// The artifacts that it has put, as files of this folder, as long.
    pub(crate) artifacts: PathBuf,
    /// What else it has kept.
    pub(crate) left: Left,
}

impl Ended {
    /// The last lines of its log.
    pub(crate) fn last_lines(&self) -> Vec<String> {
        let skipped = self.lines.len().saturating_sub(LAST_LINES);
        self.lines[skipped..].iter().map(|line| line.text.clone()).collect()
    }
}

impl Bench {
    /// One that keeps compiled code in the folder `cache`.
    ///
    /// # Errors
    /// When this machine does not let the component host start.
    pub(crate) fn new(cache: PathBuf) -> Result<Self, PluginError> {
        let local =
            |e: std::io::Error| PluginError::Local(format!("there is no folder for temporary files: {e}"));
        let folder = TempDir::new().map_err(local)?;
        let world = Arc::new(World::new());
        let outside = Outside {
            engine: EngineId::from_u128(1),
            clock: world.clone(),
            containers: world.docker.clone(),
            volumes: world.docker.clone(),
            images: world.docker.clone(),
            registries: world.docker.clone(),
            sources: world.sources.clone(),
            secrets: world.clone(),
            http: world.clone(),
            apps: world.apps.clone(),
            announcements: Arc::new(NoAnnouncements),
        };
        let rehearsal =
            Some(Rehearsal { seed: SEED, observer: world.clone(), is_timed: true, evicts: false });
        let options =
            Options { instances: 1, rehearsal, ..Options::new(folder.path().join("plugins"), cache, &[]) };
        Ok(Self { host: Host::new(options, outside)?, world, folder })
    }

    /// Where components are looked for.
    pub(crate) fn origin(&self) -> Origin {
        Origin { folder: self.folder.path().to_owned(), root: self.folder.path().to_owned() }
    }

    /// A folder for the next attempt, empty. It is always the same one: errors of the host name it, and two attempts with
    /// the same input are to be told the same.
    async fn fresh(&self, name: &str) -> Result<PathBuf, String> {
        let folder = self.folder.path().join(name);
        let mut last = None;
        for _ in 0..FRESH_TRIES {
            match emptied(&folder) {
                Ok(()) => return Ok(folder),
                Err(error) => last = Some(error),
            }
            tokio::time::sleep(BETWEEN_FRESH_TRIES).await;
        }
        let why = last.map(|error| error.to_string()).unwrap_or_default();
        Err(format!("there is no folder for the {name}: {why}"))
    }

    /// Runs an attempt.
    ///
    /// # Errors
    /// When the world cannot be as the case says, or the attempt does not end, for a person.
    pub(crate) async fn run(
        &self,
        component: Digest,
        case: &Case,
        beside: &std::path::Path,
        variation: Variation,
    ) -> Result<Ended, String> {
        let cancel = Cancellation::new();
        let cancel_at = variation.cancel_at.or(case.cancel_at_call);
        let cancel_at = cancel_at.map(|at| (at, cancel.clone()));
        self.world.prepare((case, beside), variation.is_endless, cancel_at)?;
        let (workspace, artifacts) = (self.fresh("workspace").await?, self.fresh("artifacts").await?);
        for (path, content) in &case.workspace {
            content.put(&workspace, path, beside)?;
        }
        let log = Arc::new(Lines::default());
        let timeout = variation.timeout.unwrap_or(Duration::from_millis(case.timeout_ms));
        let names = case.secrets.keys().filter_map(|name| name.parse::<SecretName>().ok());
        let id = AttemptId { run: RunId::from_u128(1), stage: name("stage"), instance: 0, attempt: 1 };
        let described = self.host.description(&component).await.map_err(|e| e.to_string())?;
        let folders = (&*self.fresh("records").await?, beside);
        let kept = Kept::new((&id, &described.name), case, self.world.clone(), folders).await?;
        let afterwards = Afterwards::default();
        let attempt = Attempt {
            id,
            workflow: name("conformance"),
            component,
            grants: Capability::ALL.map(Grant::Whole).to_vec(),
            config: case.config.clone(),
            secrets: names.collect(),
            timeout,
            limits: StageLimits::default(),
            started: BEGINNING,
            is_again: false,
            origin: Arc::new(self.origin()),
            workspace: Arc::new(Folder(workspace.clone())),
            log: log.clone(),
            journal: Arc::clone(&kept.journal),
            records: Arc::clone(&kept.of_attempt),
            cancel,
            afterwards: afterwards.clone(),
            images: None,
        };
        let run = tokio::time::timeout(timeout.saturating_add(GRACE), self.host.run(attempt));
        let outcome =
            run.await.map_err(|_| format!("it did not end within {timeout:?} and {GRACE:?} more"))?;
        afterwards.perform().await;
        let lines = std::mem::take(&mut *log.0.lock().unwrap_or_else(PoisonError::into_inner));
        let left = kept.left(&artifacts).await?;
        Ok(Ended { outcome, lines, seen: self.world.take(), workspace, artifacts, left })
    }
}

/// Removes what is in a folder, and makes it.
fn emptied(folder: &std::path::Path) -> std::io::Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    std::fs::create_dir(folder)
}

fn name<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().expect("it is written above")
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
struct Lines(Mutex<Vec<LogLine>>);

#[async_trait]
impl AttemptLog for Lines {
    fn append(&self, line: LogLine) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }

    async fn grown(&self, _: u64) -> u64 {
        0
    }

    async fn finish(&self) -> Result<StoredLog, LogError> {
        Ok(StoredLog::Inline(Bytes::new()))
    }
}
