//! The store alone: commits of one small value, by how many callers there are at once.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinSet;
use yuanli_ports::Store;
use yuanli_ports::store::{Batch, Key};
use yuanli_store::{Embedded, Options};

use crate::Bench;
use crate::measure::{Samples, beside_sync, millis, now};
use crate::report::{Figure, Row};

const CALLERS: [u64; 4] = [1, 16, 64, 256];
const VALUE_BYTES: usize = 300;
/// Time before measuring begins.
const WARM_UP: Duration = Duration::from_millis(500);

pub(crate) async fn measure(bench: &Bench) -> anyhow::Result<Figure> {
    let mut rows = Vec::new();
    for callers in CALLERS {
        let folder = bench.fresh("commits")?;
        let store = Arc::new(Embedded::open(&folder.join("store"), Options::default())?);
        let (times, sync) = beside_sync(&folder, throughput(&store, callers, bench.window)).await?;
        if rows.is_empty() {
            for (what, times) in [("overwrite", &sync.overwrite), ("append", &sync.append)] {
                let rate = times.median().as_secs_f64().recip();
                let bare = Row::plain(format!("bare {what} + fdatasync"), rate, "syncs/s");
                rows.push(Row { count: Some(times.count()), ..bare });
            }
        }
        let rate = times.count() as f64 / bench.window.as_secs_f64();
        let [median, p99] = [times.median(), times.percentile(99)].map(millis);
        let row = Row {
            count: Some(times.count()),
            spread: format!("each {median:.3} ms, p99 {p99:.3} ms"),
            ..Row::plain(format!("{callers} callers"), rate, "commits/s")
        };
        rows.push(row.beside(&sync));
    }
    let conditions = format!(
        "the embedded store alone, one value of {VALUE_BYTES} bytes under a new key; {} s after {} s of warming up",
        bench.window.as_secs_f64(),
        WARM_UP.as_secs_f64()
    );
    Ok(Figure { name: "commits", conditions, rows })
}

/// The times of the commits that were answered within the window.
async fn throughput(store: &Arc<Embedded>, callers: u64, window: Duration) -> anyhow::Result<Samples> {
    let begin = now() + WARM_UP;
    let end = begin + window;
    let mut tasks = JoinSet::new();
    for caller in 0..callers {
        let store = Arc::clone(store);
        tasks.spawn(async move {
            let mut times = Vec::new();
            for number in 0_u64.. {
                let mut batch = Batch::default();
                // In the order of time, as keys of runs are.
                let key = [number.to_be_bytes(), caller.to_be_bytes()].concat();
                batch.put(Key::new(key), Bytes::from_static(&[b'v'; VALUE_BYTES]));
                let begun = now();
                store.commit(batch).await?;
                let ended = now();
                if ended >= end {
                    break;
                }
                times.extend((ended >= begin).then(|| ended - begun));
            }
            anyhow::Ok(times)
        });
    }
    let mut times = Vec::new();
    while let Some(joined) = tasks.join_next().await {
        times.extend(joined??);
    }
    Ok(Samples::new(times))
}
