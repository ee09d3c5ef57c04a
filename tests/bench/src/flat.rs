//! Whether work takes as long beside a long history as without one: what `process`, `runs` and `stages` measure, on stores
//! with many finished runs and on one that has none, in turns.

use std::path::{Path, PathBuf};
use std::time::Duration;

use yuanli_executor::{Options, Retention};

use crate::Bench;
use crate::engine::{self, Shape};
use crate::finished::{Look, Maker};
use crate::measure::millis;
use crate::report::{Figure, Row};
use crate::{idle, process, runs, stages};

/// Each is measured so often on each store.
const TURNS: usize = 5;
/// The histories: this part of the longest one, and that.
const PARTS: [u64; 2] = [10, 1];
/// Callers at once.
const CALLERS: [usize; 2] = [1, 256];
/// Runs of 40 stages, and commands, of each turn.
const REPETITIONS: usize = 8;
/// What the issue asks for: at most a tenth slower.
const SLOWER: f64 = 1.1;
/// Runs of each workflow of a history: fewer than retention keeps.
const OF_WORKFLOW: u64 = 5_000;

/// A data directory with so many finished runs, in a folder of its own.
struct History {
    runs: u64,
    folder: PathBuf,
}

/// What is measured.
#[derive(Debug, Clone, Copy)]
enum Work<'a> {
    /// Whole commands of this binary.
    Command(&'a Path),
    /// Runs of an engine in process.
    InProcess,
}

/// What one unit of each kind of work took in each turn, in milliseconds.
type Turns = Vec<Vec<f64>>;

pub(crate) async fn measure(bench: &Bench, build: &Path) -> anyhow::Result<Figure> {
    let mut histories = Vec::new();
    for part in PARTS {
        histories.push(make(bench, bench.runs / part).await?);
    }
    let binary = build.join("yuanli");
    let mut rows = Vec::new();
    // First: `yuanli run` has the default retention, and what is measured in process makes more runs than that keeps.
    if binary.exists() {
        let turns = turns(bench, &histories, Work::Command(&binary)).await?;
        rows.extend(compared(&["`yuanli run examples/hello/hello.yaml`".to_owned()], &histories, &turns));
    }
    let turns = turns(bench, &histories, Work::InProcess).await?;
    let callers = CALLERS.map(|callers| format!("a run of one stage, {callers} in flight"));
    let shapes =
        ["in sequence", "in parallel"].map(|shape| format!("a run of {} stages {shape}", stages::STAGES));
    rows.extend(compared(&[callers, shapes].concat(), &histories, &turns));
    if let (true, Some(longest)) = (binary.exists(), histories.last()) {
        let what = format!("`yuanli serve` with nothing to do on {} runs: processor time", longest.runs);
        rows.push(idle::served(&what, &binary, &longest.folder).await?);
    }
    let conditions = format!(
        "so many finished runs of one stage, of workflows with {OF_WORKFLOW} each, beside a store without runs: how many \
         times as long a run takes, median of {TURNS} turns in each of which all stores are measured; with what it took \
         there, and the lowest and the highest ratio; no-op stages in process, but for the command"
    );
    Ok(Figure { name: "flat", conditions, rows })
}

async fn make(bench: &Bench, runs: u64) -> anyhow::Result<History> {
    let folder = bench.fresh("flat")?;
    let look = Look { stages: 1, lines: 2, long_every: 0, workflows: runs.div_ceil(OF_WORKFLOW) };
    let maker = Maker::open(&folder.join("data"), look, Options::default())?;
    maker.executor.keep_history();
    maker.make(0, runs).await?;
    maker.executor.tidy_history().await?;
    maker.close().await?;
    Ok(History { runs, folder })
}

/// Measures on a store without runs and on each with a history; the order is another one in each turn.
async fn turns(bench: &Bench, histories: &[History], work: Work<'_>) -> anyhow::Result<Turns> {
    let mut turns = Turns::new();
    for turn in 0..TURNS {
        let none = make(bench, 0).await?;
        let stores: Vec<&History> = [&none].into_iter().chain(histories).collect();
        let mut times = vec![Vec::new(); stores.len()];
        for position in 0..stores.len() {
            let which = (position + turn) % stores.len();
            let data = stores[which].folder.join("data");
            times[which] = match work {
                Work::Command(binary) => vec![millis(process::hello(binary, &data, REPETITIONS)?.median())],
                Work::InProcess => in_process(bench, &data, turn).await?,
            };
        }
        std::fs::remove_dir_all(&none.folder)?;
        turns.push(times.concat());
    }
    Ok(turns)
}

/// Milliseconds of a run by callers, and of those of many stages.
async fn in_process(bench: &Bench, data: &Path, turn: usize) -> anyhow::Result<Vec<f64>> {
    let options = Options { retention: Retention::forever(), ..Options::default() };
    let (executor, store) = engine::open_with(data, options)?;
    let submission = engine::submission_of(&format!("turn-{turn}"), 1, Shape::Sequence)?;
    engine::run(&executor, submission.clone()).await?;
    let mut times = Vec::new();
    let window: Duration = bench.window / 2;
    for callers in CALLERS {
        let ended = runs::throughput(&executor, &submission, callers, window).await?;
        times.push(millis(window) / ended.count() as f64);
    }
    for shape in [Shape::Sequence, Shape::Parallel] {
        let submission = engine::submission_of(&format!("turn-{turn}"), stages::STAGES, shape)?;
        times.push(millis(stages::times(&executor, &submission, REPETITIONS).await?.median()));
    }
    engine::close(executor, store).await?;
    Ok(times)
}

/// One row for each kind of work and history. A turn has the times of the store without runs first, then those of each
/// history.
fn compared(kinds: &[String], histories: &[History], turns: &Turns) -> Vec<Row> {
    let mut rows = Vec::new();
    for (kind, what) in kinds.iter().enumerate() {
        for (position, History { runs, .. }) in histories.iter().enumerate() {
            let at = |turn: &Vec<f64>| turn[(position + 1) * kinds.len() + kind];
            let ratios = sorted(turns.iter().map(|turn| at(turn) / turn[kind]));
            let [without, with] = [sorted(turns.iter().map(|turn| turn[kind])), sorted(turns.iter().map(at))]
                .map(|times| times[times.len() / 2]);
            let (low, high) = (ratios[0], ratios[ratios.len() - 1]);
            let row = Row::plain(format!("{what}, with {runs} runs"), ratios[ratios.len() / 2], "×");
            let spread = format!("{with:.3} ms, without {without:.3}; {low:.2} to {high:.2}");
            rows.push(Row { count: Some(turns.len()), spread, ..row }.at_most(SLOWER, "10 % slower"));
        }
    }
    rows
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    values
}
