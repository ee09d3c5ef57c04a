//! Whole commands, as a person waits for them.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};

use crate::Bench;
use crate::measure::{Samples, now};
use crate::report::{Figure, Row};

/// How often each command is run.
const REPETITIONS: usize = 30;
/// What the issue asks for.
const VERSION_MS: f64 = 20.0;
const RUN_MS: f64 = 50.0;
const BINARY_MB: f64 = 60.0;

pub(crate) fn measure(bench: &Bench, build: &Path) -> anyhow::Result<Figure> {
    let binary = build.join("yuanli");
    let size = std::fs::metadata(&binary)
        .with_context(|| {
            format!("{}: run `cargo build --release --package yuanli-cli` first", binary.display())
        })?
        .len();
    let data = bench.fresh("data")?;
    let nothing = repeat(REPETITIONS, || Command::new("true"))?;
    let version = repeat(REPETITIONS, || {
        let mut command = Command::new(&binary);
        command.arg("--version");
        command
    })?;
    let runs = hello(&binary, &data, REPETITIONS)?;
    Ok(Figure {
        name: "process",
        conditions: "from spawn to exit, output to /dev/null, warm cache, a data directory of their own"
            .to_owned(),
        rows: vec![
            Row::millis("`true`, for comparison", &nothing),
            Row::millis("`yuanli --version`", &version).at_most(VERSION_MS, ""),
            Row::millis("`yuanli run examples/hello/hello.yaml`", &runs).at_most(RUN_MS, ""),
            Row::plain("size of the binary", size as f64 / 1e6, "MB").at_most(BINARY_MB, ""),
        ],
    })
}

/// The times of so many runs of `examples/hello`, each a command of its own.
pub(crate) fn hello(binary: &Path, data: &Path, repetitions: usize) -> anyhow::Result<Samples> {
    let file =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/hello/hello.yaml").canonicalize()?;
    let run = || {
        let mut command = Command::new(binary);
        command.arg("run").arg(&file).arg("--data").arg(data);
        command
    };
    // Fills the compile cache and makes the store.
    once(run())?;
    repeat(repetitions, run)
}

fn repeat(repetitions: usize, command: impl Fn() -> Command) -> anyhow::Result<Samples> {
    let times = (0..repetitions).map(|_| once(command())).collect::<anyhow::Result<_>>()?;
    Ok(Samples::new(times))
}

fn once(mut command: Command) -> anyhow::Result<Duration> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let begun = now();
    let status = command.status()?;
    let time = begun.elapsed();
    ensure!(status.success(), "{command:?} ended with {status}");
    Ok(time)
}
