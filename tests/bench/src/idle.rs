//! What an engine costs that has nothing to do.

use std::time::Duration;

use crate::Bench;
use crate::engine::{self, Shape};
use crate::measure::millis;
use crate::report::{Figure, Row};

/// How long nothing is done.
const IDLE: Duration = Duration::from_secs(5);

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
            Row::plain("processor time", millis(after.time.saturating_sub(before.time)) / seconds, "ms/s"),
            Row::plain(
                "times that a thread woke up",
                after.waits.saturating_sub(before.waits) as f64 / seconds,
                "1/s",
            ),
        ],
    })
}

/// What the threads of this process have used so far.
struct Used {
    time: Duration,
    /// How often one of them waited for something.
    waits: u64,
}

impl Used {
    fn look() -> anyhow::Result<Self> {
        let mut used = Self { time: Duration::ZERO, waits: 0 };
        for thread in std::fs::read_dir("/proc/self/task")? {
            let thread = thread?.path();
            // One that has ended meanwhile counts for nothing.
            let read = |file: &str| std::fs::read_to_string(thread.join(file)).unwrap_or_default();
            let schedule = read("schedstat");
            let nanos = schedule.split(' ').next().and_then(|nanos| nanos.parse().ok());
            used.time += Duration::from_nanos(nanos.unwrap_or_default());
            let status = read("status");
            let waits = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
            used.waits += waits.and_then(|count| count.trim().parse::<u64>().ok()).unwrap_or_default();
        }
        Ok(used)
    }
}
