//! How soon an engine goes on with what was under way when the one before it was killed.
//!
//! A child begins it and ends as if it was killed; another child opens what it has left, and goes on.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};
use yuanli_api_types as api;
use yuanli_executor::{Submission, Update};
use yuanli_model::{Outcome, RunEvent};
use yuanli_server::{Engine, Locations};

use crate::Bench;
use crate::container;
use crate::engine::{self, Shape};
use crate::errand::{self, Under};
use crate::measure::{Samples, micros, now};
use crate::report::{Figure, Row};

/// How often each is killed.
const KILLS: usize = 10;
/// Stages of the run, one after the other, and the event after which it is killed.
const STAGES: usize = 400;
const KILLED_AT: u32 = 100;
/// The line of the container after which it is.
const TICKS: u64 = 10;
/// What the container does: a line in some ten milliseconds, until it is told to end.
const COMMAND: &str = "trap 'exit 0' TERM; i=0; while true; do i=$((i+1)); echo tick $i; usleep 10000; done";
/// What the issue asks for.
const GOES_ON_MS: f64 = 100.0;
const ATTACHED_MS: f64 = 300.0;

/// What was under way.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Begun {
    /// The run.
    pub(crate) run: String,
}

/// How it went on.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct GoneOn {
    /// Microseconds until the store was open.
    pub(crate) opened_us: f64,
    /// Microseconds from then until there was something new of the run.
    pub(crate) first_us: f64,
}

pub(crate) async fn measure(bench: &Bench) -> anyhow::Result<Figure> {
    let mut rows = vec![row(
        "a run of no-op stages: from the open store to the next durable event",
        &killed(bench, Under::Stages)?,
        GOES_ON_MS,
    )];
    container::make_image(&bench.fresh("image")?)?;
    rows.push(row(
        "a container that runs: from the open store to a line that it wrote since",
        &killed(bench, Under::Container)?,
        ATTACHED_MS,
    ));
    let conditions = format!(
        "killed {KILLS} times, each time a process and a data directory of its own; a run of {STAGES} stages in process, \
         which then ends with one attempt of each stage; a stage with a container on Docker, as `yuanli runs resume` goes \
         on with it, in the attempt that it was in; what opening took before is in brackets"
    );
    Ok(Figure { name: "killed", conditions, rows })
}

fn killed(bench: &Bench, under: Under) -> anyhow::Result<Vec<GoneOn>> {
    let mut all = Vec::new();
    // What the first one compiles is there for the others.
    let folder = bench.fresh("killed")?;
    for _ in 0..KILLS {
        let begun = errand::begun(under, &folder)?;
        let last = match under {
            Under::Stages => 0,
            // Nobody can have told what it writes after this.
            Under::Container => last_tick(&begun.run)?,
        };
        all.push(errand::gone_on(under, &begun.run, last, &folder)?);
    }
    Ok(all)
}

fn row(what: &str, all: &[GoneOn], aim: f64) -> Row {
    let time = |us: f64| Duration::from_secs_f64(us / 1e6);
    let first = Samples::new(all.iter().map(|gone_on| time(gone_on.first_us)).collect());
    let opened = Samples::new(all.iter().map(|gone_on| time(gone_on.opened_us)).collect());
    let row = Row::millis(what, &first).at_most(aim, "");
    Row { spread: format!("{} (opening {:.1})", row.spread, micros(opened.median()) / 1e3), ..row }
}

/// The number of the last line that the container of a run has written.
fn last_tick(run: &str) -> anyhow::Result<u64> {
    let filter = format!("label=yuanli.run={run}");
    let id = String::from_utf8(container::docker(&["ps", "-q", "--filter", &filter])?.stdout)?;
    let line = String::from_utf8(container::docker(&["logs", "--tail", "1", id.trim()])?.stdout)?;
    tick(line.trim()).with_context(|| format!("the container of run {run} wrote `{line}`"))
}

fn tick(line: &str) -> Option<u64> {
    line.strip_prefix("tick ")?.parse().ok()
}

/// Begins a run and returns when it is in the middle. Called in a child, which is killed then.
pub(crate) async fn begin(under: Under, folder: &Path) -> anyhow::Result<Begun> {
    match under {
        Under::Stages => begin_stages(folder).await,
        Under::Container => begin_container(folder).await,
    }
}

async fn begin_stages(folder: &Path) -> anyhow::Result<Begun> {
    let executor = engine::open(folder)?;
    let submission = Submission { is_kept: true, ..engine::submission(STAGES, Shape::Sequence)? };
    let run = executor.start(submission).await?.run;
    let mut follower = executor.follow(run);
    while let Some(update) = follower.next().await? {
        if let Update::Event(recorded) = update
            && recorded.number >= KILLED_AT
        {
            // Dropped with the process only: it goes on meanwhile.
            std::mem::forget(executor);
            return Ok(Begun { run: run.to_string() });
        }
    }
    anyhow::bail!("the run ended before it was killed")
}

async fn begin_container(folder: &Path) -> anyhow::Result<Begun> {
    let file = container::workflow(folder, COMMAND)?;
    let engine = Engine::open(&Locations::new(folder.join("data"))).await?;
    engine.recover().await?;
    let run = container::start(&engine, &file).await?;
    let mut updates = engine.follow(run);
    while let Some(update) = updates.next().await? {
        if let api::Update::Log(line) = update
            && tick(&line.text).is_some_and(|number| number >= TICKS)
        {
            std::mem::forget(engine);
            return Ok(Begun { run: run.to_string() });
        }
    }
    anyhow::bail!("the run ended before it was killed")
}

/// Goes on with a run, whose container had written so many lines by now. Called in a child.
pub(crate) async fn go_on(under: Under, run: &str, last: u64, folder: &Path) -> anyhow::Result<GoneOn> {
    match under {
        Under::Stages => go_on_with_stages(run, folder).await,
        Under::Container => go_on_with_container(run, last, folder).await,
    }
}

async fn go_on_with_stages(run: &str, folder: &Path) -> anyhow::Result<GoneOn> {
    let run = run.parse().context("a run")?;
    let begun = now();
    let executor = engine::open(folder)?;
    let opened = now();
    let last = executor.history().events(run, 0).await?.last().map(|last| last.number);
    ensure!(executor.left_open().await? == [run], "the run was left");
    let Submission { definition, .. } = engine::submission(STAGES, Shape::Sequence)?;
    executor.resume(run, definition, Arc::default()).await?;
    let mut follower = executor.follow(run);
    let (mut first, mut attempts, mut outcome) = (None, 0, None);
    while let Some(update) = follower.next().await? {
        let Update::Event(recorded) = update else { continue };
        if first.is_none() && Some(recorded.number) > last {
            first = Some(opened.elapsed());
        }
        attempts += usize::from(matches!(recorded.event, RunEvent::AttemptStarted { .. }));
        if let RunEvent::Finished { outcome: ended, .. } = recorded.event {
            outcome = Some(ended);
        }
    }
    ensure!(outcome == Some(Outcome::Succeeded), "the run ended as {outcome:?}");
    ensure!(attempts == STAGES, "{attempts} attempts of {STAGES} stages");
    let first = first.context("nothing happened")?;
    Ok(GoneOn { opened_us: micros(opened - begun), first_us: micros(first) })
}

async fn go_on_with_container(run: &str, last: u64, folder: &Path) -> anyhow::Result<GoneOn> {
    let run = run.parse().context("a run")?;
    let begun = now();
    let engine = Engine::open(&Locations::new(folder.join("data"))).await?;
    let opened = now();
    ensure!(engine.recover().await? == [run], "the run was left");
    engine.resume_run(run).await?;
    let mut updates = engine.follow(run);
    let mut first = None;
    while let Some(update) = updates.next().await? {
        if let api::Update::Log(line) = update
            && tick(&line.text).is_some_and(|number| number > last)
        {
            ensure!(line.attempt == 1, "it is attempt {}", line.attempt);
            first.get_or_insert_with(|| {
                engine.cancel(run, "it is measured");
                opened.elapsed()
            });
        }
    }
    engine.close().await;
    let first = first.context("the container wrote nothing more")?;
    Ok(GoneOn { opened_us: micros(opened - begun), first_us: micros(first) })
}
