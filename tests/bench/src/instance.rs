//! A fresh instance and `run` of the no-op guest, through the host and with bare wasmtime, in turns.

use anyhow::{Context, anyhow, ensure};
use yuanli_ports::{Cancellation, Plugins};

use crate::bare::Bare;
use crate::engine;
use crate::measure::{Samples, now};
use crate::report::{Figure, Row};
use crate::{Bench, attempt};

/// Blocks of each kind; they take turns, so that a change of the machine's speed meets both.
const BLOCKS: usize = 60;
const BLOCK: usize = 50;
/// Blocks that only warm up.
const WARM_UP: usize = 4;
/// What the issue asks for.
const RATIO: f64 = 2.0;

pub(crate) async fn measure(bench: &Bench) -> anyhow::Result<Figure> {
    let host = engine::host(&bench.fresh("instance")?)?;
    let bare = Bare::new().map_err(|e| anyhow!("{e:#}")).context("bare wasmtime")?;
    let template = attempt::template()?;
    let (mut through_host, mut alone) = (Vec::new(), Vec::new());
    for block in 0..WARM_UP + BLOCKS {
        let is_warm = block >= WARM_UP;
        for _ in 0..BLOCK {
            let mut attempt = template.clone();
            attempt.cancel = Cancellation::new();
            let begun = now();
            let outcome = host.run(attempt).await;
            let time = begun.elapsed();
            ensure!(outcome.is_ok(), "the attempt failed: {outcome:?}");
            through_host.extend(is_warm.then_some(time));
        }
        for _ in 0..BLOCK {
            let begun = now();
            let outputs = bare.run("{}").await;
            let time = begun.elapsed();
            outputs.map_err(|e| anyhow!("{e:#}")).context("bare wasmtime")?;
            alone.extend(is_warm.then_some(time));
        }
    }
    let (through_host, alone) = (Samples::new(through_host), Samples::new(alone));
    let ratio = through_host.median().as_secs_f64() / alone.median().as_secs_f64();
    Ok(Figure {
        name: "instance",
        conditions: format!(
            "new store, instance, `run`, end of the no-op guest, one after the other, in turns of {BLOCK}; same \
             settings of wasmtime"
        ),
        rows: vec![
            Row::micros("bare wasmtime", &alone),
            Row::micros("through the host", &through_host),
            Row::plain("host / bare", ratio, "×").at_most(RATIO, ""),
        ],
    })
}
