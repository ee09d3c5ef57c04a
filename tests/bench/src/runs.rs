//! Durable runs of one stage per second, by how many callers there are at once.

use std::time::Duration;

use tokio::task::JoinSet;
use yuanli_executor::{Executor, Submission};

use crate::Bench;
use crate::engine::{self, Shape};
use crate::measure::{Samples, beside_sync, millis, now};
use crate::report::{Figure, Row};

/// Callers at once, with what the issue asks for.
const CALLERS: [(usize, Option<f64>); 3] = [(1, None), (16, None), (256, Some(5_000.0))];
/// Time before measuring begins.
const WARM_UP: Duration = Duration::from_secs(1);

pub(crate) async fn measure(bench: &Bench) -> anyhow::Result<Figure> {
    let mut rows = Vec::new();
    for (callers, aim) in CALLERS {
        let folder = bench.fresh("runs")?;
        let executor = engine::open(&folder)?;
        let submission = engine::submission(1, Shape::Sequence)?;
        engine::run(&executor, submission.clone()).await?;
        let (times, sync) =
            beside_sync(&folder, throughput(&executor, &submission, callers, bench.window)).await?;
        let rate = times.count() as f64 / bench.window.as_secs_f64();
        let [median, p99] = [times.median(), times.percentile(99)].map(millis);
        let row = Row {
            count: Some(times.count()),
            spread: format!("each {median:.2} ms, p99 {p99:.2} ms"),
            ..Row::plain(format!("{callers} in flight"), rate, "runs/s")
        };
        let row = row.beside(&sync);
        rows.push(match aim {
            Some(aim) => row.at_least(aim, ""),
            None => row,
        });
    }
    let conditions = format!(
        "runs of one no-op stage in process; each caller starts one and follows it to its durable end; {} s after {} s \
         of warming up",
        bench.window.as_secs_f64(),
        WARM_UP.as_secs_f64()
    );
    Ok(Figure { name: "runs", conditions, rows })
}

/// The times of the runs that ended within the window.
pub(crate) async fn throughput(
    executor: &Executor,
    submission: &Submission,
    callers: usize,
    window: Duration,
) -> anyhow::Result<Samples> {
    let begin = now() + WARM_UP;
    let end = begin + window;
    let mut tasks = JoinSet::new();
    for _ in 0..callers {
        let (executor, submission) = (executor.clone(), submission.clone());
        tasks.spawn(async move {
            let mut times = Vec::new();
            loop {
                let begun = now();
                engine::run(&executor, submission.clone()).await?;
                let ended = now();
                if ended >= end {
                    return anyhow::Ok(times);
                }
                times.extend((ended >= begin).then(|| ended - begun));
            }
        });
    }
    let mut times = Vec::new();
    while let Some(joined) = tasks.join_next().await {
        times.extend(joined??);
    }
    Ok(Samples::new(times))
}
