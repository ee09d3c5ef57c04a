//! What an engine costs that has nothing to do.

use std::path::Path;
use std::time::Duration;

use crate::Bench;
use crate::apps::Served;
use crate::engine::{self, Shape};
use crate::measure::millis;
use crate::report::{Figure, Row};
use crate::usage::{Threads, Used};

/// How long nothing is done.
const IDLE: Duration = Duration::from_secs(5);
/// The same of a whole engine, some of whose parts look around every few seconds; and how long it may take to come to rest:
/// it makes the code of its plugins ready.
const IDLE_SERVED: Duration = Duration::from_secs(20);
const SETTLED: Duration = Duration::from_secs(3);
/// What the issue asks for, in milliseconds of a second.
const PROCESSOR_MS: f64 = 10.0;

pub(crate) async fn measure(bench: &Bench, build: &Path) -> anyhow::Result<Figure> {
    let executor = engine::open(&bench.fresh("idle")?)?;
    // Idle is what comes after work, not before it.
    engine::run(&executor, engine::submission(1, Shape::Sequence)?).await?;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let used = used(std::process::id(), IDLE).await?;
    let seconds = IDLE.as_secs_f64();
    let mut rows = vec![
        Row::plain("processor time", millis(used.time) / seconds, "ms/s")
            .at_most(PROCESSOR_MS, "1 % of a core"),
        Row::plain("times that a thread woke up", used.waits as f64 / seconds, "1/s"),
    ];
    let binary = build.join("yuanli");
    if binary.exists() {
        rows.push(served("`yuanli serve`: processor time", &binary, &bench.fresh("idle")?).await?);
    }
    Ok(Figure {
        name: "idle",
        conditions: format!(
            "an engine in process after one run, {seconds} s; a whole one without its gateway, {} s",
            IDLE_SERVED.as_secs_f64()
        ),
        rows,
    })
}

/// What a whole engine uses that has nothing to do, with the data directory in a folder.
pub(crate) async fn served(what: &str, binary: &Path, folder: &Path) -> anyhow::Result<Row> {
    let served = Served::start(binary, folder)?;
    tokio::time::sleep(SETTLED).await;
    let used = used(served.id(), IDLE_SERVED).await;
    served.end();
    let used = used?;
    let spread = format!("{:.0} wake-ups/s", used.waits as f64 / IDLE_SERVED.as_secs_f64());
    let row = Row::plain(what, millis(used.time) / IDLE_SERVED.as_secs_f64(), "ms/s");
    Ok(Row { spread, ..row }.at_most(PROCESSOR_MS, "1 % of a core"))
}

/// What the threads of a process use in this time.
async fn used(process: u32, time: Duration) -> anyhow::Result<Used> {
    let before = Threads::of(process)?;
    tokio::time::sleep(time).await;
    Ok(Threads::of(process)?.since(&before))
}
