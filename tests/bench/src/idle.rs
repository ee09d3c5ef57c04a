//! What an engine costs that has nothing to do.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

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
    let (before, switches) = (processor_time(), switches()?);
    tokio::time::sleep(IDLE).await;
    let (used, woken) = (processor_time() - before, self::switches()? - switches);
    let seconds = IDLE.as_secs_f64();
    Ok(Figure {
        name: "idle",
        conditions: format!("an engine in process after one run, {seconds} s"),
        rows: vec![
            Row::plain("processor time", millis(used) / seconds, "ms/s"),
            Row::plain("times that a thread woke up", woken as f64 / seconds, "1/s"),
        ],
    })
}

fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

/// How often the threads of this process gave up their processor so far.
fn switches() -> anyhow::Result<u64> {
    let mut sum = 0;
    for thread in std::fs::read_dir("/proc/self/task")? {
        let status = std::fs::read_to_string(thread?.path().join("status")).unwrap_or_default();
        let lines = status.lines().filter_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        sum += lines.filter_map(|count| count.trim().parse::<u64>().ok()).sum::<u64>();
    }
    Ok(sum)
}
