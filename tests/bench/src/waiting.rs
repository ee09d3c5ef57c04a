//! Runs that only wait: the memory that each takes, and how an engine goes on with them after it was killed.
//!
//! Each is measured in a process of its own, which starts so many runs, looks at its memory, and ends as if it was killed;
//! another one then opens what it has left.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};
use bytes::Bytes;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use yuanli_executor::{Definition, Executor, Manner, Submission};
use yuanli_model::stage::{Approval, Expiry};
use yuanli_model::{Digest, PluginReference, Stage, Template, Work, Workflow};
use yuanli_ports::plugins::Origin;
use yuanli_test_guests::{NOOP, PROBE};

use crate::Bench;
use crate::engine::{self, Shape};
use crate::errand::{self, What};
use crate::measure::{micros, now};
use crate::report::{Figure, Row};
use crate::usage::{self, Used};

/// How many runs there are at most; the figures are of these, a tenth and a hundredth.
pub(crate) const MOST: u64 = 100_000;
/// Runs that are started at once: as many as fill the commits of a store.
const AT_ONCE: u64 = 64;
/// What the issue asks for, in bytes: 1 GiB for 100,000.
const RUN_BYTES: f64 = 1024.0 * 1024.0 * 1024.0 / 100_000.0;
/// Runs with attempts that wait: each attempt goes through an instance first.
const MOST_ATTEMPTS: u64 = 10_000;
/// More than there are instances.
const POOL: u64 = 100;
/// How long the memory may take to settle.
const SETTLED: Duration = Duration::from_secs(2);
/// How long attempts may take to be where they wait.
const PATIENCE: Duration = Duration::from_mins(10);

/// What a child tells.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Waits {
    /// Bytes of memory that each run takes.
    pub(crate) each: f64,
    /// Bytes of memory of the whole process.
    pub(crate) all: u64,
}

/// What another child tells that goes on with them.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Resumed {
    /// Microseconds from the open store to the first run that goes on.
    pub(crate) first_us: f64,
    /// Microseconds until all of them do.
    pub(crate) all_us: f64,
    /// The longest that a new run took meanwhile, from its start to its durable end.
    pub(crate) new_us: f64,
    /// How many of these there were.
    pub(crate) new: u64,
    /// Bytes of memory that each run takes then.
    pub(crate) each: f64,
}

pub(crate) async fn measure(bench: &Bench) -> anyhow::Result<Figure> {
    let mut rows = Vec::new();
    for what in [What::Approval, What::Sleep] {
        let most = if what == What::Sleep { bench.waiting.min(MOST_ATTEMPTS) } else { bench.waiting };
        let name = if what == What::Sleep { "an attempt without its instance" } else { "an approval" };
        for runs in [most / 100, most / 10, most] {
            let folder = bench.fresh("waiting")?;
            let waits = errand::waiting(what, runs, &folder)?;
            let spread = format!("{} MiB in all", waits.all >> 20);
            let row = Row::plain(format!("{name}: each of {runs}"), waits.each / 1024.0, "KiB");
            rows.push(Row { spread, ..row }.at_most(RUN_BYTES / 1024.0, ""));
            rows.extend(resumed(runs, &errand::resumed(what, runs, &folder)?));
            std::fs::remove_dir_all(&folder)?;
        }
    }
    let conditions = "VmRSS of a process of its own, beside one that has started and ended one run; runs of one workflow; then \
                      it is killed, and what it left opened by another one"
        .to_owned();
    Ok(Figure { name: "waiting", conditions, rows })
}

fn resumed(runs: u64, resumed: &Resumed) -> Vec<Row> {
    let ms = |us: f64| us / 1_000.0;
    let new = format!("{} of them", resumed.new);
    vec![
        Row::plain(format!("{runs} gone on with after a kill: the first"), ms(resumed.first_us), "ms")
            .at_most(100.0, ""),
        Row::plain("  all of them", ms(resumed.all_us), "ms"),
        Row { spread: new, ..Row::plain("  a new run meanwhile, at most", ms(resumed.new_us), "ms") },
        Row::plain("  memory of each", resumed.each / 1024.0, "KiB").at_most(RUN_BYTES / 1024.0, ""),
    ]
}

/// A run that waits.
fn submission(what: What) -> anyhow::Result<Submission> {
    let name = "ask".parse().context("a name")?;
    let (stage, component, text) = match what {
        What::Approval => {
            let approval = Approval {
                message: None,
                by: Vec::new(),
                count: NonZeroU32::MIN,
                deadline: None,
                on_expiry: Expiry::Reject,
                inputs: IndexMap::new(),
            };
            let stage = Stage::new(name, PluginReference::Named(NOOP.name.to_owned()));
            (Stage { work: Work::Gate, approval: Some(approval), ..stage }, NOOP.digest, "approval: {}")
        }
        What::Sleep => {
            let day = Template::Number(86_400_000.into());
            let config = Template::Map(IndexMap::from_iter([
                ("do".to_owned(), Template::Text("clock".to_owned())),
                ("sleep_ms".to_owned(), day),
            ]));
            let stage = Stage::new(name, PluginReference::Named(PROBE.name.to_owned()));
            let stage = Stage { timeout: Some(Duration::from_hours(48)), ..stage.with(config) };
            (stage, PROBE.digest, "uses: probe")
        }
    };
    let workflow = Workflow::new("waits".parse().context("a name")?, None, IndexMap::new(), vec![stage])?;
    let definition = Definition {
        workflow: Arc::new(workflow),
        text: Bytes::from(format!("name: waits\nstages:\n  ask: {{ {text} }}\n")),
        components: vec![Digest::from_bytes(component)],
        origin: Origin { folder: ".".into(), root: ".".into() },
    };
    let (inputs, workflows) = (IndexMap::new(), Arc::new(BTreeMap::new()));
    Ok(Submission { definition, inputs, workflows, cause: None, is_kept: true, manner: Manner::default() })
}

/// Starts so many runs that wait.
pub(crate) async fn wait(what: What, runs: u64, folder: &Path) -> anyhow::Result<Waits> {
    let executor = engine::open(folder)?;
    engine::run(&executor, engine::submission(1, Shape::Sequence)?).await?;
    let submission = submission(what)?;
    // What the first ones need for all of them is not counted: each instance of the pool was used by then.
    let first = first_ones(what);
    for _ in 0..first {
        executor.start(submission.clone()).await?;
    }
    settle().await?;
    let before = usage::resident_bytes()?;
    let mut tasks = JoinSet::new();
    for first in 0..AT_ONCE {
        let (executor, submission) = (executor.clone(), submission.clone());
        tasks.spawn(async move {
            for _ in (first..runs).step_by(AT_ONCE as usize) {
                executor.start(submission.clone()).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(joined) = tasks.join_next().await {
        joined??;
    }
    settle().await?;
    ensure!(executor.active() as u64 == runs + first, "a run ended that was to wait");
    let all = usage::resident_bytes()?;
    Ok(Waits { each: all.saturating_sub(before) as f64 / runs as f64, all })
}

/// How many are started before those that are counted.
const fn first_ones(what: What) -> u64 {
    match what {
        What::Sleep => POOL,
        What::Approval => 1,
    }
}

/// Returns when nothing is done any more.
async fn settle() -> anyhow::Result<()> {
    let begun = now();
    while begun.elapsed() < PATIENCE {
        let before = Used::look()?.time;
        tokio::time::sleep(SETTLED).await;
        if Used::look()?.time.saturating_sub(before) < SETTLED / 20 {
            return Ok(());
        }
    }
    anyhow::bail!("it does not come to rest")
}

/// Goes on with so many runs that wait and were left, while new ones are started.
pub(crate) async fn resume(what: What, runs: u64, folder: &Path) -> anyhow::Result<Resumed> {
    let executor = engine::open(folder)?;
    let opened = now();
    let base = usage::resident_bytes()?;
    let is_over = Arc::new(AtomicBool::new(false));
    let mut tasks = JoinSet::new();
    tasks.spawn(new_runs(executor.clone(), Arc::clone(&is_over)));
    let Submission { definition, workflows, .. } = submission(what)?;
    let (mut first, mut count) = (None, 0);
    let groups = executor.hold_groups();
    for run in executor.left_open().await? {
        let left = executor.left_run(run).await?.context("nobody else drives it")?;
        executor.resume(left.run, definition.clone(), Arc::clone(&workflows)).await?;
        first.get_or_insert_with(|| opened.elapsed());
        count += 1;
    }
    groups.release();
    let all = opened.elapsed();
    let left = runs + first_ones(what);
    ensure!(count == left, "{count} of {left} runs were left");
    is_over.store(true, Ordering::Relaxed);
    let (new, longest) = tasks.join_next().await.context("it was begun")???;
    settle().await?;
    let each = usage::resident_bytes()?.saturating_sub(base) as f64 / runs as f64;
    let first = first.context("no run was left")?;
    Ok(Resumed { first_us: micros(first), all_us: micros(all), new_us: micros(longest), new, each })
}

/// Starts runs one after the other until it is over. Returns how many, and the longest that one took.
async fn new_runs(executor: Executor, is_over: Arc<AtomicBool>) -> anyhow::Result<(u64, Duration)> {
    let submission = engine::submission(1, Shape::Sequence)?;
    let (mut count, mut longest) = (0, Duration::ZERO);
    while !is_over.load(Ordering::Relaxed) {
        let begun = now();
        engine::run(&executor, submission.clone()).await?;
        (count, longest) = (count + 1, longest.max(begun.elapsed()));
    }
    Ok((count, longest))
}
