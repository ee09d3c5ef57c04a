//! Runs of 40 no-op stages: what a stage costs, and what a commit.

use std::path::Path;

use yuanli_executor::{Executor, Submission};

use crate::Bench;
use crate::engine::{self, Shape};
use crate::measure::{Samples, beside_sync, millis, now};
use crate::report::{Figure, Row};

pub(crate) const STAGES: usize = 40;
const REPETITIONS: usize = 20;
/// Runs that only warm up.
const WARM_UP: usize = 3;
/// What the issue allows beside syncs, in milliseconds.
const WORK_MS: f64 = 6.0;

pub(crate) async fn measure(bench: &Bench) -> anyhow::Result<Figure> {
    let shapes = [
        (Shape::Sequence, "in sequence", 40.0, "40 f + 6 ms"),
        (Shape::Parallel, "in parallel", 3.0, "3 f + 6 ms"),
    ];
    let mut rows = Vec::new();
    for (shape, what, syncs, formula) in shapes {
        let folder = bench.fresh("stages")?;
        let (times, sync) = beside_sync(&folder, repeat(&folder, shape)).await?;
        let aim = syncs * millis(sync.overwrite.median()) + WORK_MS;
        rows.push(Row::millis(format!("{STAGES} stages {what}"), &times).beside(&sync).at_most(aim, formula));
    }
    let conditions =
        "one run at a time, in process, no-op stages; from its start to its durable end".to_owned();
    Ok(Figure { name: "stages", conditions, rows })
}

async fn repeat(folder: &Path, shape: Shape) -> anyhow::Result<Samples> {
    let executor = engine::open(folder)?;
    times(&executor, &engine::submission(STAGES, shape)?, REPETITIONS).await
}

/// The times of so many runs, one after the other, once it is warm.
pub(crate) async fn times(
    executor: &Executor,
    submission: &Submission,
    repetitions: usize,
) -> anyhow::Result<Samples> {
    let mut times = Vec::new();
    for repetition in 0..WARM_UP + repetitions {
        let submission = submission.clone();
        let begun = now();
        engine::run(executor, submission).await?;
        let time = begun.elapsed();
        times.extend((repetition >= WARM_UP).then_some(time));
    }
    Ok(Samples::new(times))
}
