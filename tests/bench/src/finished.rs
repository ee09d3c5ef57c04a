//! Long histories: made by a whole engine, but for its plugins, which answer at once.
//!
//! Everything goes the way that runs go: admitted, committed, archived, removed. So a history of a million runs is
//! what it would be after a year, and takes some minutes.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use yuanli_executor::{Executor, Options, Submission};
use yuanli_model::{EngineId, Failure, Level, LogLine, PluginDescription, PluginReference, Stream};
use yuanli_ports::Plugins;
use yuanli_ports::containers::ContainerError;
use yuanli_ports::plugins::{Attempt, Origin, PluginError};
use yuanli_store::{DataDirectory, Embedded};

use crate::engine::{self, Shape};

/// Starts that wait for their commit at once.
const STARTING: u64 = 256;
/// Runs that are active at once; more wait to be started.
const ACTIVE: usize = 512;
/// How long who waits for runs to end looks away.
const LOOK_AWAY: Duration = Duration::from_millis(1);
/// One run in this many has a cause of its own, as those of schedules and webhooks have.
const CAUSED: u64 = 2;

/// What a run of a history looks like.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Look {
    pub(crate) stages: usize,
    /// Lines that each attempt logs.
    pub(crate) lines: usize,
    /// One attempt in this many logs [`LONG_LINES`] instead, which takes a file; 0 for none.
    pub(crate) long_every: u64,
    /// Workflows that they are of, in turns: of each, retention keeps so many.
    pub(crate) workflows: u64,
}

/// Lines of a long log, of about 100 bytes each.
const LONG_LINES: usize = 400;

/// An engine whose plugins answer at once, in a data directory.
pub(crate) struct Maker {
    pub(crate) executor: Executor,
    pub(crate) store: Arc<Embedded>,
    look: Look,
    _directory: DataDirectory,
}

impl Maker {
    pub(crate) fn open(data: &Path, look: Look, options: Options) -> anyhow::Result<Self> {
        let mut directory = DataDirectory::open(data, || EngineId::from_u128(1))?;
        let plugins = Arc::new(Instant { look });
        let (ports, store) = engine::ports(data, plugins)?;
        directory.note_store()?;
        let executor = Executor::new(ports, options);
        Ok(Self { executor, store, look, _directory: directory })
    }

    /// Does so many runs, from number `first` on, and returns when the last has ended.
    pub(crate) async fn make(&self, first: u64, runs: u64) -> anyhow::Result<()> {
        let of = |workflow: u64| match self.look.workflows {
            0 | 1 => engine::submission(self.look.stages, Shape::Parallel),
            _ => engine::submission_of(&format!("bench-{workflow}"), self.look.stages, Shape::Parallel),
        };
        let submissions: Arc<[Submission]> =
            (0..self.look.workflows.max(1)).map(of).collect::<anyhow::Result<_>>()?;
        let mut tasks = JoinSet::new();
        for starter in 0..STARTING {
            let (executor, submissions) = (self.executor.clone(), Arc::clone(&submissions));
            let numbers = (first + starter..first + runs).step_by(STARTING as usize);
            tasks.spawn(start(executor, submissions, numbers));
        }
        while let Some(joined) = tasks.join_next().await {
            joined??;
        }
        while self.executor.active() > 0 {
            tokio::time::sleep(LOOK_AWAY).await;
        }
        Ok(())
    }

    /// Waits for all that was begun, and closes store and directory.
    pub(crate) async fn close(self) -> anyhow::Result<()> {
        engine::close(self.executor, self.store).await
    }
}

async fn start(
    executor: Executor,
    submissions: Arc<[Submission]>,
    numbers: impl Iterator<Item = u64>,
) -> anyhow::Result<()> {
    for number in numbers {
        while executor.active() >= ACTIVE {
            tokio::time::sleep(LOOK_AWAY).await;
        }
        let cause = number.is_multiple_of(CAUSED).then(|| format!("schedule/bench/{number:012}"));
        let submission = &submissions[number as usize % submissions.len()];
        executor.start(Submission { cause, ..submission.clone() }).await?;
    }
    Ok(())
}

/// Plugins that log some lines and are done.
#[derive(Debug)]
struct Instant {
    look: Look,
}

#[async_trait]
impl Plugins for Instant {
    async fn list(&self) -> Result<Vec<Arc<PluginDescription>>, PluginError> {
        Ok(Vec::new())
    }

    fn names(&self) -> Vec<String> {
        Vec::new()
    }

    async fn resolve(&self, _: &PluginReference, _: &Origin) -> Result<Arc<PluginDescription>, PluginError> {
        Err(PluginError::Unknown("these plugins are only run".to_owned()))
    }

    async fn run(&self, attempt: Attempt) -> Result<Value, Failure> {
        // The low bits of an id are random.
        let is_long = (attempt.id.run.as_u128() as u64).is_multiple_of(self.look.long_every);
        for number in 0..if is_long { LONG_LINES } else { self.look.lines } {
            let text = format!("step {number} of {}: {:032x}", attempt.id.stage, attempt.id.run.as_u128());
            let (at, fields) = (attempt.started, Vec::new());
            attempt.log.append(LogLine { at, stream: Stream::Plugin, level: Level::Info, text, fields });
        }
        Ok(json!({ "image": "registry.example/shop:1.4.2", "took_ms": 12 }))
    }

    async fn image(&self, _: &str) -> Result<Option<String>, ContainerError> {
        Ok(None)
    }
}
