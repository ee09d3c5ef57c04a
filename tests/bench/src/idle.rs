//! What an engine costs that has nothing to do.

use std::time::Duration;

use crate::Bench;
use crate::engine::{self, Shape};
use crate::measure::millis;
use crate::report::{Figure, Row};
use crate::usage::Used;

/// How long nothing is done.
const IDLE: Duration = Duration::from_secs(5);
/// What the issue asks for, in milliseconds of a second.
const PROCESSOR_MS: f64 = 10.0;

pub(crate) async fn measure(bench: &Bench) -> anyhow::Result<Figure> {
    let executor = engine::open(&bench.fresh("idle")?)?;
    // Idle is what comes after work, not before it.
    engine::run(&executor, engine::submission(1, Shape::Sequence)?).await?;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let before = Used::look()?;
    tokio::time::sleep(IDLE).await;
    let after = Used::look()?;
    let seconds = IDLE.as_secs_f64();
    Ok(Figure {
        name: "idle",
        conditions: format!("an engine in process after one run, {seconds} s"),
        rows: vec![
            Row::plain("processor time", millis(after.time.saturating_sub(before.time)) / seconds, "ms/s")
                .at_most(PROCESSOR_MS, "1 % of a core"),
            Row::plain(
                "times that a thread woke up",
                after.waits.saturating_sub(before.waits) as f64 / seconds,
                "1/s",
            ),
        ],
    })
}
