//! A fresh instance and `run` of guests that do nothing, through the host and with bare wasmtime, in turns; what comes before
//! the first of them, how many there are in a second, and what memory a live one takes.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, ensure};
use tokio::task::JoinSet;
use yuanli_model::{Digest, PluginReference};
use yuanli_ports::plugins::{Attempt, Origin};
use yuanli_ports::{Cancellation, Plugins};
use yuanli_server::{Library, Locations};
use yuanli_test_guests::NOOP;
use yuanli_wasm::Host;

use crate::bare::Bare;
use crate::engine;
use crate::errand::{self, How};
use crate::guest::{self, Guest};
use crate::measure::{Samples, millis, now};
use crate::report::{Figure, Row};
use crate::{Bench, WORKERS, attempt};

/// Blocks of each kind; they take turns, so that a change of the machine's speed meets both.
const BLOCKS: usize = 60;
const BLOCK: usize = 50;
/// The same for guests with an interpreter in them, which take a hundred times as long.
const SLOW_BLOCKS: usize = 10;
const SLOW_BLOCK: usize = 10;
/// Blocks that only warm up.
const WARM_UP: usize = 4;
/// How often code is loaded from the cache.
const LOADS: usize = 15;
/// Attempts that are on their way at once, for the rate.
const AT_ONCE: usize = 8 * WORKERS;
/// What the issue asks for.
const RATIO: f64 = 2.0;
const LOAD_MS: f64 = 1.0;
const COLD_MS: f64 = 2_000.0;
const RATE: f64 = 10_000.0;
const MEMORY_RATIO: f64 = 1.2;

pub(crate) async fn measure(bench: &Bench) -> anyhow::Result<Figure> {
    let mut rows = Vec::new();
    for guest in guest::all(bench)? {
        rows.extend(beside_bare(bench, &guest).await?);
    }
    rows.push(rate(bench).await?);
    rows.extend(live()?);
    rows.push(embedded(bench).await?);
    Ok(Figure {
        name: "instance",
        conditions: format!(
            "new store, instance, `run`, end of a guest that does nothing, one after the other, in turns of {BLOCK} \
             (Python, JavaScript: {SLOW_BLOCK}); same settings of wasmtime; code: a host of its own each time, which \
             finds it in the cache of the system; rate: {AT_ONCE} at once on {WORKERS} workers, nothing committed; memory: \
             VmRSS of {} that wait in a call of the host, in a process of its own",
            errand::LIVE
        ),
        rows,
    })
}

/// One guest: through the host, alone, and its code.
async fn beside_bare(bench: &Bench, guest: &Guest) -> anyhow::Result<Vec<Row>> {
    let folder = bench.fresh("instance")?;
    let Guest { language, component } = guest;
    std::fs::write(folder.join("guest.wasm"), component)?;
    let host = engine::host(&folder)?;
    let begun = now();
    let template = Attempt { component: resolve(&host, &folder).await?, ..attempt::template()? };
    let cold = millis(begun.elapsed());
    let bare = Bare::new(component).map_err(|e| anyhow!("{e:#}")).context("bare wasmtime")?;
    let is_slow = *language != "Rust";
    let (blocks, block_size) = if is_slow { (SLOW_BLOCKS, SLOW_BLOCK) } else { (BLOCKS, BLOCK) };
    let (mut through_host, mut alone) = (Vec::new(), Vec::new());
    for block in 0..WARM_UP + blocks {
        let is_warm = block >= WARM_UP;
        for _ in 0..block_size {
            let time = once(&host, &template).await?;
            through_host.extend(is_warm.then_some(time));
        }
        for _ in 0..block_size {
            let begun = now();
            let outputs = bare.run("{}").await;
            let time = begun.elapsed();
            outputs.map_err(|e| anyhow!("{e:#}")).context("bare wasmtime")?;
            alone.extend(is_warm.then_some(time));
        }
    }
    drop(host);
    let (through_host, alone) = (Samples::new(through_host), Samples::new(alone));
    let ratio = through_host.median().as_secs_f64() / alone.median().as_secs_f64();
    let ratio = Row::plain(format!("{language}: host / bare"), ratio, "×");
    let loaded =
        Row::millis(format!("{language}: code from the cache"), &loads(&folder, template.component).await?);
    Ok(vec![
        Row::micros(format!("{language}: bare wasmtime"), &alone),
        Row::micros(format!("{language}: through the host"), &through_host),
        if is_slow { ratio } else { ratio.at_most(RATIO, "") },
        Row::plain(format!("{language}: compiled and described, never seen before"), cold, "ms"),
        if is_slow { loaded } else { loaded.at_most(LOAD_MS, "") },
    ])
}

async fn resolve(host: &Host, folder: &Path) -> anyhow::Result<Digest> {
    let origin = Origin { folder: folder.to_owned(), root: folder.to_owned() };
    Ok(host.resolve(&PluginReference::File("./guest.wasm".to_owned()), &origin).await?.digest)
}

async fn once(host: &Host, template: &Attempt) -> anyhow::Result<Duration> {
    let attempt = Attempt { cancel: Cancellation::new(), ..template.clone() };
    let begun = now();
    let outcome = host.run(attempt).await;
    let time = begun.elapsed();
    ensure!(outcome.is_ok(), "the attempt failed: {outcome:?}");
    Ok(time)
}

/// How long code takes from the cache to where it can be instantiated, in hosts that have not seen it.
async fn loads(folder: &Path, component: Digest) -> anyhow::Result<Samples> {
    let mut times = Vec::new();
    for _ in 0..LOADS {
        let host = engine::host(folder)?;
        let begun = now();
        host.warm(&component).await?;
        times.push(begun.elapsed());
    }
    Ok(Samples::new(times))
}

/// How many attempts of the Rust guest come to their end in a second.
async fn rate(bench: &Bench) -> anyhow::Result<Row> {
    let host = Arc::new(engine::host(&bench.fresh("rate")?)?);
    let template = Attempt { component: Digest::from_bytes(NOOP.digest), ..attempt::template()? };
    once(&host, &template).await?;
    let (begun, window) = (now(), bench.window);
    let mut tasks = JoinSet::new();
    for _ in 0..AT_ONCE {
        let (host, template) = (Arc::clone(&host), template.clone());
        tasks.spawn(async move {
            let mut done = 0_u64;
            while begun.elapsed() < window {
                once(&host, &template).await?;
                done += 1;
            }
            anyhow::Ok(done)
        });
    }
    let mut done = 0;
    while let Some(ended) = tasks.join_next().await {
        done += ended??;
    }
    let rate = done as f64 / begun.elapsed().as_secs_f64();
    Ok(Row::plain("no-op attempts", rate, "attempts/s").at_least(RATE, ""))
}

/// The memory of live instances of the Rust guest, each kind in a process of its own.
fn live() -> anyhow::Result<[Row; 3]> {
    let [host, bare] = [How::Host, How::Bare].map(errand::live);
    let (host, bare) = (host? / 1024.0, bare? / 1024.0);
    Ok([
        Row::plain("memory of a live instance: bare wasmtime", bare, "KiB"),
        Row::plain("memory of a live instance: through the host", host, "KiB"),
        Row::plain("memory: host / bare", host / bare, "×").at_most(MEMORY_RATIO, ""),
    ])
}

/// The first start of an engine: everything that comes with it is compiled.
async fn embedded(bench: &Bench) -> anyhow::Result<Row> {
    let library = Library::open(&Locations::new(bench.fresh("first")?))?;
    let begun = now();
    let plugins = library.list().await?.plugins.len();
    let time = millis(begun.elapsed());
    Ok(Row::plain(format!("{plugins} embedded plugins compiled and described"), time, "ms")
        .at_most(COLD_MS, ""))
}
