//! What this program does as a child of itself: in a process of its own, whose memory nobody else has used, and which
//! can end as if it was killed.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use anyhow::{Context, ensure};
use bytes::Bytes;
use clap::{Subcommand, ValueEnum};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use yuanli_executor::{Options, Retention};
use yuanli_ports::Store;
use yuanli_ports::store::{Batch, Key};
use yuanli_store::Embedded;

use crate::finished::{Look, Maker};
use crate::killed::{self, Begun, GoneOn};
use crate::measure::{micros, now};
use crate::usage::{self, Used};
use crate::waiting::{self, Resumed, Waits};

/// What a child is to do. It tells the outcome as JSON on standard output.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum Errand {
    /// Opens a data directory and lists its runs
    #[command(hide = true)]
    Open {
        folder: PathBuf,
        /// End as if it was killed
        #[arg(long)]
        abort: bool,
    },
    /// Fills the journal of a store with so many bytes, and ends as if it was killed
    #[command(hide = true)]
    Fill { folder: PathBuf, bytes: u64 },
    /// Tells the memory of instances that wait
    #[command(hide = true)]
    Live { how: How, folder: PathBuf },
    /// Starts runs that wait, tells their memory, and ends as if it was killed
    #[command(hide = true)]
    Wait { what: What, runs: u64, folder: PathBuf },
    /// Goes on with those that were left
    #[command(hide = true)]
    Resume { what: What, runs: u64, folder: PathBuf },
    /// Begins a run, and ends as if it was killed when that is in the middle
    #[command(hide = true)]
    Begin { under: Under, folder: PathBuf },
    /// Goes on with it
    #[command(hide = true)]
    GoOn { under: Under, run: String, last: u64, folder: PathBuf },
    /// Builds an image from a folder, and tells the most memory that it took
    #[command(hide = true)]
    Build { folder: PathBuf },
    /// Runs a stage that writes so many MiB of log, and tells the most memory that the engine took
    #[command(hide = true)]
    Log { folder: PathBuf, mib: u64 },
}

/// What runs wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum What {
    /// An answer of somebody.
    Approval,
    /// A time, in an attempt whose instance is gone.
    Sleep,
}

/// What is under way when an engine is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Under {
    /// Many stages that do nothing, one after the other.
    Stages,
    /// A container.
    Container,
}

/// What instances are in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum How {
    /// The component host.
    Host,
    /// wasmtime and nothing else.
    Bare,
}

/// What opening a data directory came to.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Opened {
    /// Microseconds until the engine could begin: store open, what an engine before it left looked at, the newest runs
    /// listed.
    pub(crate) ready_us: f64,
    /// Microseconds of that for the store alone.
    pub(crate) store_us: f64,
    /// Microseconds of processors that the process had used by then: less depends on what else the machine does.
    pub(crate) processor_us: f64,
    /// Bytes of memory in use when it was ready.
    pub(crate) resident_ready: u64,
    /// The same after all runs were listed, a page after the other.
    pub(crate) resident_listed: u64,
    /// How many those were.
    pub(crate) runs: u64,
}

/// Runs of a page of the list.
const PAGE: usize = 100;
/// Callers whose commits fill a journal, and bytes of their values: frames as large as those of a busy engine.
const CALLERS: u64 = 64;
const VALUE_BYTES: usize = 300;

impl Errand {
    /// Does it. Called in a child.
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Open { folder, abort } => open(&folder, abort).await,
            Self::Fill { folder, bytes } => fill(&folder, bytes).await,
            Self::Live { how, folder } => {
                println!("{}", crate::live::bytes(how, &folder).await?);
                Ok(())
            }
            Self::Wait { what, runs, folder } => {
                println!("{}", serde_json::to_string(&waiting::wait(what, runs, &folder).await?)?);
                std::process::abort()
            }
            Self::Resume { what, runs, folder } => {
                println!("{}", serde_json::to_string(&waiting::resume(what, runs, &folder).await?)?);
                std::process::abort()
            }
            Self::Begin { under, folder } => {
                println!("{}", serde_json::to_string(&killed::begin(under, &folder).await?)?);
                std::process::abort()
            }
            Self::GoOn { under, run, last, folder } => {
                let gone_on = killed::go_on(under, &run, last, &folder).await?;
                println!("{}", serde_json::to_string(&gone_on)?);
                Ok(())
            }
            Self::Build { folder } => {
                println!("{}", crate::container::most_memory(&folder).await?);
                Ok(())
            }
            Self::Log { folder, mib } => {
                println!("{}", crate::container::most_memory_of_log(&folder, mib).await?);
                Ok(())
            }
        }
    }
}

/// Instances that live at once when their memory is looked at.
pub(crate) const LIVE: usize = 48;

/// Bytes of memory of one instance that waits, looked at in a child.
pub(crate) fn live(how: How) -> anyhow::Result<f64> {
    let folder = tempfile::tempdir()?;
    let name = how.to_possible_value().context("a name")?;
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("live").arg(name.get_name()).arg(folder.path());
    told(command)
}

/// The most bytes of memory that building an image from a folder took, in a child.
pub(crate) fn built(folder: &Path) -> anyhow::Result<f64> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("build").arg(folder);
    told(command)
}

/// The most bytes of memory that an engine took whose stage wrote so many MiB of log, in a child.
pub(crate) fn logged(folder: &Path, mib: u64) -> anyhow::Result<f64> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("log").arg(folder).arg(mib.to_string());
    told(command)
}

/// The number that a child tells.
fn told(mut command: Command) -> anyhow::Result<f64> {
    let output = command.stderr(Stdio::inherit()).output()?;
    ensure!(output.status.success(), "{command:?} ended with {}", output.status);
    let bytes = String::from_utf8_lossy(&output.stdout);
    bytes.trim().parse().with_context(|| format!("{command:?} told `{}`", bytes.trim()))
}

/// Opens a data directory in a child.
pub(crate) fn opened(folder: &Path, is_killed: bool) -> anyhow::Result<Opened> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("open").arg(folder).args(is_killed.then_some("--abort"));
    let output = command.stderr(Stdio::inherit()).output()?;
    ensure!(is_killed || output.status.success(), "{command:?} ended with {}", output.status);
    serde_json::from_slice(&output.stdout)
        .with_context(|| format!("{command:?} ended with {}", output.status))
}

/// Has so many runs wait in a child that is killed then.
pub(crate) fn waiting(what: What, runs: u64, folder: &Path) -> anyhow::Result<Waits> {
    let name = what.to_possible_value().context("a name")?;
    last_words(&["wait", name.get_name(), &runs.to_string()], folder)
}

/// Has a child go on with them.
pub(crate) fn resumed(what: What, runs: u64, folder: &Path) -> anyhow::Result<Resumed> {
    let name = what.to_possible_value().context("a name")?;
    last_words(&["resume", name.get_name(), &runs.to_string()], folder)
}

/// Has a child begin a run, which is killed then.
pub(crate) fn begun(under: Under, folder: &Path) -> anyhow::Result<Begun> {
    let name = under.to_possible_value().context("a name")?;
    last_words(&["begin", name.get_name()], folder)
}

/// Has another child go on with it.
pub(crate) fn gone_on(under: Under, run: &str, last: u64, folder: &Path) -> anyhow::Result<GoneOn> {
    let name = under.to_possible_value().context("a name")?;
    last_words(&["go-on", name.get_name(), run, &last.to_string()], folder)
}

/// What a child tells that is killed then.
fn last_words<T: DeserializeOwned>(errand: &[&str], folder: &Path) -> anyhow::Result<T> {
    let mut command = Command::new(std::env::current_exe()?);
    let output = command.args(errand).arg(folder).stderr(Stdio::inherit()).output()?;
    serde_json::from_slice(&output.stdout)
        .with_context(|| format!("{command:?} ended with {}", output.status))
}

/// Fills the journal of the store in a folder with so many bytes, in a child that is killed then.
pub(crate) fn filled(folder: &Path, bytes: u64) -> anyhow::Result<()> {
    let mut command = Command::new(std::env::current_exe()?);
    let output = command.arg("fill").arg(folder).arg(bytes.to_string()).stderr(Stdio::inherit()).output()?;
    ensure!(output.stdout.starts_with(b"filled"), "{command:?} ended with {}", output.status);
    Ok(())
}

async fn open(folder: &Path, is_killed: bool) -> anyhow::Result<()> {
    let look = Look { stages: 1, lines: 0, long_every: 0, workflows: 1 };
    let options = Options { retention: Retention::forever(), ..Options::default() };
    let begun = now();
    let engine = Maker::open(folder, look, options)?;
    let store_us = micros(begun.elapsed());
    engine.executor.end_left().await?;
    let history = engine.executor.history().clone();
    let mut page = history.list(None, PAGE).await?;
    let ready_us = micros(begun.elapsed());
    let processor_us = micros(Used::look()?.time);
    let resident_ready = usage::resident_bytes()?;
    let mut runs = 0;
    while let Some(last) = page.last() {
        runs += page.len() as u64;
        page = history.list(Some(last.id), PAGE).await?;
    }
    let resident_listed = usage::resident_bytes()?;
    let opened = Opened { ready_us, store_us, processor_us, resident_ready, resident_listed, runs };
    println!("{}", serde_json::to_string(&opened)?);
    if is_killed {
        std::process::abort();
    }
    drop(history);
    engine.close().await
}

async fn fill(folder: &Path, bytes: u64) -> anyhow::Result<()> {
    // Nothing leaves the journal.
    let options = yuanli_store::Options {
        memory_bytes: usize::MAX / 8,
        journal_bytes: u64::MAX,
        ..yuanli_store::Options::default()
    };
    let store = Arc::new(Embedded::open(folder, options)?);
    let each = bytes / CALLERS / VALUE_BYTES as u64;
    let mut tasks = JoinSet::new();
    for caller in 0..CALLERS {
        let store = Arc::clone(&store);
        tasks.spawn(async move {
            for number in 0..each {
                let mut batch = Batch::default();
                let key = [number.to_be_bytes(), caller.to_be_bytes()].concat();
                batch.put(Key::new(key), Bytes::from_static(&[b'v'; VALUE_BYTES]));
                store.commit(batch).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(joined) = tasks.join_next().await {
        joined??;
    }
    println!("filled");
    std::process::abort()
}
