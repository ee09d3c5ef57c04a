//! Prints every figure that the project promises, with the conditions under which it was measured.
//!
//! `make bench` runs it. A figure is a function in one module: `process` (whole commands), `instance` (an attempt
//! beside bare wasmtime), `language` (documents and decisions), `runs`, `stages` and `durable` (the engine in process), `commits`
//! (the store alone, beside others), `start`, `space` and `flat` (a long history), `waiting` (runs that only wait), `schedules` (a
//! million of them), `killed`, `idle`, `gateway`
//! (beside nginx), `apps` (on Docker), `container` (beside the docker program). All time is read in `measure`, all tables are made in `report`.
//!
//! Nothing in here fails when an aim is missed: figures depend on the machine, so people judge them.

mod apps;
mod attempt;
mod bare;
mod commits;
mod container;
mod contender;
mod durable;
mod engine;
mod errand;
mod finished;
mod flat;
mod gateway;
mod guest;
mod idle;
mod instance;
mod killed;
mod language;
mod live;
mod machine;
mod measure;
mod process;
mod report;
mod runs;
mod schedules;
mod space;
mod stages;
mod start;
mod usage;
mod waiting;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::{Parser, ValueEnum};
use tempfile::TempDir;

use crate::errand::Errand;
use crate::machine::Machine;
use crate::report::{Figure, Report};

/// What can be typed.
#[derive(Debug, Parser)]
#[command(
    name = "yuanli-bench",
    about = "Prints every figure that the project promises, with its conditions"
)]
struct Arguments {
    /// Print JSON instead of tables
    #[arg(long)]
    json: bool,
    /// Measure only this; may be given several times
    #[arg(long, value_enum, value_name = "NAME")]
    only: Vec<Name>,
    /// How long each throughput is measured
    #[arg(long, value_name = "SECONDS", default_value_t = 4.0)]
    seconds: f64,
    /// Runs of the long history that `start` and `flat` are measured with; `flat` with a tenth of it as well
    #[arg(long, value_name = "NUMBER", default_value_t = start::RUNS)]
    runs: u64,
    /// Most runs that wait at once; they are measured with a tenth and a hundredth of it as well
    #[arg(long, value_name = "NUMBER", default_value_t = waiting::MOST)]
    waiting: u64,
    #[command(flatten)]
    sizes: Sizes,
    /// What a child of this program is to do
    #[command(subcommand)]
    errand: Option<Errand>,
}

/// How much `docker` is measured with.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Sizes {
    /// Lines of the log that `docker` is measured with
    #[arg(long, value_name = "NUMBER", default_value_t = 10_000_000)]
    pub(crate) lines: u64,
    /// Files of its context
    #[arg(long, value_name = "NUMBER", default_value_t = 100_000)]
    pub(crate) files: u64,
    /// MiB of its large context
    #[arg(long, value_name = "NUMBER", default_value_t = 5120)]
    pub(crate) context_mib: u64,
    /// MiB of the log of a stage
    #[arg(long, value_name = "NUMBER", default_value_t = 1024)]
    pub(crate) log_mib: u64,
}

/// The figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Name {
    /// Whole commands and the size of the binary
    Process,
    /// A fresh instance and `run`, beside bare wasmtime
    Instance,
    /// Documents compiled, and decisions of a run
    Language,
    /// Durable runs per second
    Runs,
    /// 40 stages in sequence and in parallel
    Stages,
    /// Commits, syncs and bytes of a stage
    Durable,
    /// The store alone, beside others
    Commits,
    /// Opening a long history
    Start,
    /// The disk that a long history takes
    Space,
    /// Runs beside a long history, and without one
    Flat,
    /// Memory of runs that only wait, and going on with them
    Waiting,
    /// Going on with what was under way when an engine was killed
    Killed,
    /// A million schedules: memory, and asking which are due
    Schedules,
    /// What an engine costs that has nothing to do
    Idle,
    /// The gateway beside nginx
    Gateway,
    /// Roll-outs and scaling on Docker
    Apps,
    /// Containers, logs and contexts, beside the docker program
    Docker,
}

/// What every figure works with.
pub(crate) struct Bench {
    /// A folder on the disk of the build, removed at the end.
    folder: TempDir,
    /// How long each throughput is measured.
    pub(crate) window: Duration,
    /// Runs of a long history.
    pub(crate) runs: u64,
    /// Most runs that wait.
    pub(crate) waiting: u64,
    pub(crate) sizes: Sizes,
}

impl Bench {
    /// A new folder on the measured disk.
    pub(crate) fn fresh(&self, name: &str) -> anyhow::Result<std::path::PathBuf> {
        let folder = tempfile::Builder::new().prefix(name).tempdir_in(self.folder.path())?;
        Ok(folder.keep())
    }
}

/// Worker threads of the engine that is measured.
const WORKERS: usize = 2;

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build()?;
    if let Some(errand) = arguments.errand {
        return runtime.block_on(runtime.spawn(errand.run()))?;
    }
    let program = std::env::current_exe()?;
    let build = program.parent().context("this program lies in no folder")?;
    // Beside the binary, because folders for temporary files are often in memory.
    let folder = tempfile::Builder::new().prefix("yuanli-bench-").tempdir_in(build)?;
    let machine = Machine::look(folder.path(), WORKERS)?;
    let window = Duration::from_secs_f64(arguments.seconds);
    let Arguments { runs, waiting, sizes, .. } = arguments;
    let bench = Arc::new(Bench { folder, window, runs, waiting, sizes });
    let mut report = Report::new(machine, !arguments.json);
    for &name in Name::value_variants() {
        if !arguments.only.is_empty() && !arguments.only.contains(&name) {
            continue;
        }
        eprintln!(
            "measuring: {}",
            name.to_possible_value().map_or_else(String::new, |v| v.get_name().to_owned())
        );
        let figure = if name == Name::Process {
            process::measure(&bench, build)?
        } else {
            // On a worker, as in an engine: the first thread of a program is none.
            let (bench, build) = (Arc::clone(&bench), build.to_owned());
            runtime.block_on(runtime.spawn(async move { in_process(name, &bench, &build).await }))??
        };
        report.add(figure);
    }
    report.end()
}

async fn in_process(name: Name, bench: &Bench, build: &std::path::Path) -> anyhow::Result<Figure> {
    match name {
        Name::Process => anyhow::bail!("commands are not measured in process"),
        Name::Instance => instance::measure(bench).await,
        Name::Language => language::measure(),
        Name::Runs => runs::measure(bench).await,
        Name::Stages => stages::measure(bench).await,
        Name::Durable => durable::measure(bench).await,
        Name::Commits => commits::measure(bench).await,
        Name::Start => start::measure(bench, build).await,
        Name::Space => space::measure(bench).await,
        Name::Waiting => waiting::measure(bench).await,
        Name::Flat => flat::measure(bench, build).await,
        Name::Schedules => schedules::measure(),
        Name::Killed => killed::measure(bench).await,
        Name::Idle => idle::measure(bench, build).await,
        Name::Gateway => gateway::measure(bench, build).await,
        Name::Apps => apps::measure(bench, build).await,
        Name::Docker => container::measure(bench).await,
    }
}
