//! What a long history costs at the start of an engine: time and memory.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use anyhow::ensure;
use rustix::fs::Advice;
use yuanli_executor::{Options, Retention};
use yuanli_store::disk;

use crate::Bench;
use crate::errand::{self, Opened};
use crate::finished::{Look, Maker};
use crate::measure::{Samples, millis, now};
use crate::report::{Figure, Row};

/// Runs of the long history, unless another number is asked for.
pub(crate) const RUNS: u64 = 1_000_000;
const JOURNAL_BYTES: u64 = 100 * 1024 * 1024;
/// How often each start is measured.
const REPETITIONS: usize = 5;
/// What the issue asks for: milliseconds of a start with the history, and with the journal.
const HISTORY_MS: f64 = 1000.0;
const JOURNAL_MS: f64 = 2000.0;
/// What the issue allows beside the configured cache, in MiB.
const MEMORY_MIB: f64 = 64.0;
const MIB: f64 = 1024.0 * 1024.0;

/// What happened to the data directory before a start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    /// The engine was closed.
    Closed,
    /// The same, and nothing of its files is in memory.
    Cold,
    /// The engine was killed.
    Killed,
    /// The power went: the index cannot be believed.
    Power,
}

pub(crate) async fn measure(bench: &Bench, build: &Path) -> anyhow::Result<Figure> {
    let runs = bench.runs;
    let data = bench.fresh("history")?;
    let begun = now();
    make(&data, runs).await?;
    let seconds = begun.elapsed().as_secs_f64();
    let mut rows = vec![
        Row::plain(format!("{runs} runs admitted, done and archived"), runs as f64 / seconds, "runs/s"),
        Row::plain(
            "the store of these, without the archive",
            disk::size(&data.join("store"))? as f64 / MIB,
            "MiB",
        ),
    ];
    let empty = bench.fresh("empty")?;
    let base = starts(&empty, Before::Closed, 0)?;
    rows.push(ready("no runs: ready after a proper end", &base));
    for (before, what) in [
        (Before::Closed, "after a proper end"),
        (Before::Cold, "the same, nothing of it cached by the system"),
        (Before::Killed, "after kill -9"),
        (Before::Power, "after a power cut: the index is not believed"),
    ] {
        let opened = starts(&data, before, runs)?;
        rows.push(ready(format!("{runs} runs: ready {what}"), &opened).at_most(HISTORY_MS, ""));
        rows.extend(memory(what, &base, &opened));
    }
    rows.extend(listed(&data, build)?);
    rows.push(journal(bench)?);
    let conditions = format!(
        "a process of its own; ready: directory locked, store open, what an engine before it left looked for, the \
         newest 100 runs listed; processor: what the process had used of both cores by then; memory: VmRSS beyond that \
         of an engine without runs, when it is ready and when all runs were listed, largest of {REPETITIONS}; the \
         history: runs of one stage, half of them with a cause"
    );
    Ok(Figure { name: "start", conditions, rows })
}

async fn make(data: &Path, runs: u64) -> anyhow::Result<()> {
    let look = Look { stages: 1, lines: 2, long_every: 0, workflows: 1 };
    let options = Options { retention: Retention::forever(), ..Options::default() };
    let maker = Maker::open(data, look, options)?;
    maker.executor.keep_history();
    maker.make(0, runs).await?;
    maker.executor.tidy_history().await?;
    maker.close().await
}

fn starts(data: &Path, before: Before, runs: u64) -> anyhow::Result<Vec<Opened>> {
    let repetitions = if before == Before::Power { 1 } else { REPETITIONS };
    // Leaves it as the first repetition is to find it.
    errand::opened(data, before == Before::Killed)?;
    let mut all = Vec::new();
    for _ in 0..repetitions {
        match before {
            Before::Cold => forget(data)?,
            Before::Power => fs::remove_file(data.join("store/index.json"))?,
            Before::Closed | Before::Killed => {}
        }
        let opened = errand::opened(data, before == Before::Killed)?;
        ensure!(opened.runs == runs, "{} of {runs} runs are listed", opened.runs);
        all.push(opened);
    }
    Ok(all)
}

/// Makes the system forget what it has cached of the files below a folder.
fn forget(folder: &Path) -> anyhow::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            forget(&entry.path())?;
        } else {
            let file = File::open(entry.path())?;
            // Only what is written can be forgotten.
            file.sync_all()?;
            rustix::fs::fadvise(&file, 0, None, Advice::DontNeed)?;
        }
    }
    Ok(())
}

fn ready(what: impl Into<String>, opened: &[Opened]) -> Row {
    let time = |us: f64| std::time::Duration::from_secs_f64(us / 1e6);
    let store = Samples::new(opened.iter().map(|opened| time(opened.store_us)).collect());
    let ready = Samples::new(opened.iter().map(|opened| time(opened.ready_us)).collect());
    let processor = Samples::new(opened.iter().map(|opened| time(opened.processor_us)).collect());
    let row = Row::millis(what, &ready);
    let [store, processor] = [store, processor].map(|times| millis(times.median()));
    Row { spread: format!("{}; the store alone {store:.0}, processor {processor:.0}", row.spread), ..row }
}

fn memory(what: &str, base: &[Opened], opened: &[Opened]) -> [Row; 2] {
    let most = |of: fn(&Opened) -> u64, all: &[Opened]| all.iter().map(of).max().unwrap_or_default() as f64;
    let cache = yuanli_store::Options::default().cache_bytes as f64 / MIB;
    let row = |when: &str, of: fn(&Opened) -> u64| {
        let grown = (most(of, opened) - most(of, base)) / MIB;
        Row::plain(format!("memory {what}, {when}"), grown, "MiB")
            .at_most(cache + MEMORY_MIB, "cache + 64 MiB")
    };
    [row("ready", |opened| opened.resident_ready), row("all listed", |opened| opened.resident_listed)]
}

/// The whole command that lists runs, where it was built.
fn listed(data: &Path, build: &Path) -> anyhow::Result<Option<Row>> {
    let binary = build.join("yuanli");
    if !binary.exists() {
        return Ok(None);
    }
    let mut times = Vec::new();
    for _ in 0..REPETITIONS {
        let mut command = Command::new(&binary);
        command.args(["runs", "list", "--limit", "20", "--data"]).arg(data);
        let begun = now();
        let output = command.output()?;
        times.push(begun.elapsed());
        ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(Some(Row::millis("`yuanli runs list --limit 20` on it", &Samples::new(times)).at_most(HISTORY_MS, "")))
}

fn journal(bench: &Bench) -> anyhow::Result<Row> {
    let mut all = Vec::new();
    for _ in 0..REPETITIONS {
        let data = bench.fresh("journal")?;
        // With an engine's name, and no more: what is opened then is a data directory.
        errand::opened(&data, false)?;
        errand::filled(&data.join("store"), JOURNAL_BYTES)?;
        all.push(errand::opened(&data, true)?);
        fs::remove_dir_all(&data)?;
    }
    let most = all.iter().map(|opened| opened.resident_ready).max().unwrap_or_default() as f64 / MIB;
    let row = ready("100 MiB of journal to replay: ready", &all);
    let spread = format!("{}, {most:.0} MiB of memory in all", row.spread);
    Ok(Row { spread, ..row }.at_most(JOURNAL_MS, ""))
}
