//! The disk that a long history takes under retention, by parts.

use std::path::Path;

use yuanli_executor::{Options, Retention};
use yuanli_ports::Store;
use yuanli_ports::store::Range;
use yuanli_store::disk;

use crate::Bench;
use crate::finished::{Look, Maker};
use crate::report::{Figure, Row};

/// Runs that retention keeps, the default.
const KEPT: u64 = 10_000;
/// How many times as many are done.
const TIMES: u64 = 10;
/// How often the disk is looked at, while runs go on.
const LOOKS: u64 = 40;
/// The runs: as those of a small pipeline, some with a long log.
const LOOK: Look = Look { stages: 3, lines: 8, long_every: 200, workflows: 1 };
/// What the issue asks for, as multiples of what is live.
const WHILE_USED: f64 = 4.0;
const COMPACTED: f64 = 1.5;
const MIB: f64 = 1024.0 * 1024.0;
/// Entries of the store that are read at once.
const PAGE: usize = 1024;

/// The parts of a data directory that hold its data.
const PARTS: [(&str, &str); 5] = [
    ("journal", "store/journal"),
    ("exports", "store/exports"),
    ("history", "history"),
    ("logs", "logs"),
    ("blobs", "blobs"),
];

/// What there is at a moment, in bytes.
struct Moment {
    /// Keys and values of the store.
    entries: u64,
    /// Records and long logs of kept runs, before they are packed.
    records: u64,
    parts: Vec<(&'static str, u64)>,
}

impl Moment {
    async fn look(data: &Path, maker: &Maker) -> anyhow::Result<Self> {
        let mut entries = 0;
        let mut range = Range::prefix(&[], PAGE);
        loop {
            let page = maker.store.scan(range.clone()).await?;
            let bytes = page.iter().map(|(key, entry)| key.as_bytes().len() + entry.value.len());
            entries += bytes.sum::<usize>() as u64;
            match page.last() {
                Some((last, _)) if page.len() == PAGE => range = range.after(last.clone()),
                _ => break,
            }
        }
        let workflows = maker.executor.history().workflows().await?;
        let mut parts = Vec::new();
        for (name, folder) in PARTS {
            parts.push((name, disk::size(&data.join(folder))?));
        }
        parts.push(("index", yuanli_store::index_size(&data.join("store"))?));
        Ok(Self { entries, records: workflows.iter().map(|(_, _, bytes)| bytes).sum(), parts })
    }

    fn live(&self) -> u64 {
        self.entries + self.records
    }

    fn disk(&self) -> u64 {
        self.parts.iter().map(|(_, bytes)| bytes).sum()
    }

    fn parts_text(&self) -> String {
        let part = |(name, bytes): &(&str, u64)| format!("{name} {:.1}", *bytes as f64 / MIB);
        self.parts.iter().map(part).collect::<Vec<_>>().join(", ")
    }

    /// Beside what is live when all that is not to be kept has gone.
    fn row(&self, what: &str, live: u64, aim: f64) -> Row {
        let spread = format!("{:.1} MiB: {}", self.disk() as f64 / MIB, self.parts_text());
        Row { spread, ..Row::plain(what, self.disk() as f64 / live as f64, "× live") }.at_most(aim, "")
    }
}

pub(crate) async fn measure(bench: &Bench) -> anyhow::Result<Figure> {
    let data = bench.fresh("space")?;
    let retention = Retention { runs: Some(KEPT), ..Retention::default() };
    let maker = Maker::open(&data, LOOK, Options { retention, ..Options::default() })?;
    maker.executor.keep_history();
    let step = KEPT * TIMES / LOOKS;
    let mut moments = Vec::new();
    for look in 0..LOOKS {
        maker.make(look * step, step).await?;
        // Until as many runs are there as are kept, there is nothing to give back.
        if (look + 1) * step > KEPT {
            moments.push(Moment::look(&data, &maker).await?);
        }
    }
    maker.executor.tidy_history().await?;
    let tidy = Moment::look(&data, &maker).await?;
    maker.store.compact().await?;
    let compacted = Moment::look(&data, &maker).await?;
    maker.close().await?;
    let live = compacted.live();
    let row = Row::plain("live, when all is gone that is not kept", live as f64 / MIB, "MiB");
    let spread = format!(
        "entries of the store {:.1}, records and long logs before packing {:.1}",
        compacted.entries as f64 / MIB,
        compacted.records as f64 / MIB
    );
    let mut rows = vec![Row { spread, ..row }];
    let worst = moments.iter().max_by_key(|moment| moment.disk());
    rows.extend(worst.map(|worst| worst.row("while runs go on, at worst", live, WHILE_USED)));
    rows.push(tidy.row("when all is archived, without `compact`", live, WHILE_USED));
    rows.push(compacted.row("after `compact`", live, COMPACTED));
    let conditions = format!(
        "{} runs of {} stages with {} log lines each, one attempt in {} with a long log; {KEPT} runs are kept; disk: \
         blocks that the files take, in MiB, looked at {LOOKS} times",
        KEPT * TIMES,
        LOOK.stages,
        LOOK.lines,
        LOOK.long_every
    );
    Ok(Figure { name: "space", conditions, rows })
}
