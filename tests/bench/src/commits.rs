//! The store alone: commits of one small value, by how many callers there are at once, beside a bare loop and beside
//! other stores.

use std::fs::File;
use std::io::{Seek, Write};
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinSet;
use yuanli_store::Embedded;

use crate::Bench;
use crate::contender::{Contender, Fjall, Redb};
use crate::measure::{Samples, beside_sync, millis, now};
use crate::report::{Figure, Row};
use crate::usage;

const CALLERS: [u64; 5] = [1, 16, 64, 256, 1024];
/// From how many callers on ours is to be as quick as the others.
const GROUPS: u64 = 64;
/// What part of a bare loop's rate one caller is to get.
const BARE_PART: f64 = 0.7;
const KEY_BYTES: usize = 16;
const VALUE_BYTES: usize = 300;
const PAYLOAD_BYTES: usize = KEY_BYTES + VALUE_BYTES;
/// How often each side is measured, in turns: a change of the machine's speed meets all of them.
const ROUNDS: usize = 5;
/// Time before measuring begins.
const WARM_UP: Duration = Duration::from_millis(500);
/// Bytes that the file of the bare overwriting loop has before; it begins again at its end.
const OVERWRITTEN_BYTES: usize = 16 * 1024 * 1024;

/// Bytes that values are cut from.
const NOISE_BYTES: usize = 1024 * 1024;
/// Values that follow each other are this far apart in the noise, which they cover without a pattern.
const NOISE_STEP: usize = 7919;

/// Bytes that get no smaller when they are packed, so that nobody gains by it.
static NOISE: LazyLock<Bytes> = LazyLock::new(|| {
    let mut state = 1_u64;
    let byte = |_| {
        // Knuth's generator, of which the high bits are good.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..NOISE_BYTES + VALUE_BYTES).map(byte).collect::<Vec<u8>>().into()
});

fn value(caller: u64, number: u64) -> Bytes {
    let begin = (caller + number * 1009) as usize * NOISE_STEP % NOISE_BYTES;
    NOISE.slice(begin..begin + VALUE_BYTES)
}

/// What is measured beside each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Append,
    Overwrite,
    Ours,
    Redb,
    Fjall,
}

impl Side {
    const BARE: [Self; 2] = [Self::Append, Self::Overwrite];
    const STORES: [Self; 3] = [Self::Ours, Self::Redb, Self::Fjall];

    const fn name(self) -> &'static str {
        match self {
            Self::Append => "bare append + fdatasync",
            Self::Overwrite => "bare overwrite + fdatasync",
            Self::Ours => "yuanli",
            Self::Redb => "redb",
            Self::Fjall => "fjall",
        }
    }
}

/// One time of measuring one side.
struct Round {
    /// Of the commits that were answered within the window.
    times: Vec<Duration>,
    /// All commits, those of warming up too.
    commits: u64,
    written: Written,
}

/// Bytes that were written for the commits of a round, until everything was closed.
#[derive(Debug, Clone, Copy)]
struct Written {
    /// By this process.
    handed: u64,
    /// To the device, by all processes.
    device: Option<u64>,
}

impl Written {
    fn look(folder: &Path) -> anyhow::Result<Self> {
        // In this order before, and after: the device may count what others write, this process nothing but its own.
        Ok(Self { device: usage::device_bytes(folder)?, handed: usage::written_bytes()? })
    }

    fn since(self, before: Self) -> Self {
        let device = self.device.zip(before.device).map(|(now, before)| now - before);
        Self { handed: self.handed - before.handed, device }
    }
}

pub(crate) async fn measure(bench: &Bench) -> anyhow::Result<Figure> {
    let mut rows = Vec::new();
    for callers in CALLERS {
        let folder = bench.fresh("commits")?;
        let (mut sides, sync) = beside_sync(&folder, rounds(bench, callers)).await?;
        let rate = |sides: &[(Side, Vec<Round>)], wanted| {
            let rounds = sides.iter().find(|(side, _)| *side == wanted).map(|(_, rounds)| rounds);
            rounds.map(|rounds| median_rate(rounds, bench.window))
        };
        let append = rate(&sides, Side::Append);
        let peer = rate(&sides, Side::Redb).into_iter().chain(rate(&sides, Side::Fjall)).reduce(f64::max);
        for (side, rounds) in sides.drain(..) {
            let row = row(callers, side, rounds, bench.window).beside(&sync);
            rows.push(match (side, append, peer) {
                (Side::Ours, Some(append), _) => row.at_least(BARE_PART * append, "0.7 × bare append"),
                (Side::Ours, _, Some(peer)) if callers >= GROUPS => {
                    row.at_least(peer, "the better of the others")
                }
                _ => row,
            });
        }
    }
    let conditions = format!(
        "one value of {VALUE_BYTES} random bytes under a new key of {KEY_BYTES}, durable before the answer; others: one \
         writer thread, the same queue and groups; {ROUNDS} × {} s in turns, each on a new store after {} s of warming \
         up, the rate is the median; written, from open to closed, for each byte of keys and values: `wchar` of \
         /proc/self/io; in brackets what reached the device, of all processes and the file system",
        bench.window.as_secs_f64(),
        WARM_UP.as_secs_f64()
    );
    Ok(Figure { name: "commits", conditions, rows })
}

async fn rounds(bench: &Bench, callers: u64) -> anyhow::Result<Vec<(Side, Vec<Round>)>> {
    let bare: &[Side] = if callers == 1 { &Side::BARE } else { &[] };
    let mut sides: Vec<(Side, Vec<Round>)> =
        bare.iter().chain(&Side::STORES).map(|side| (*side, Vec::new())).collect();
    for number in 0..ROUNDS {
        let count = sides.len();
        for position in 0..count {
            // Nobody always comes after the same one.
            let (side, rounds) = &mut sides[(number + position) % count];
            let folder = bench.fresh("commits")?;
            rounds.push(match side {
                Side::Append => bare_loop(&folder, bench.window, false)?,
                Side::Overwrite => bare_loop(&folder, bench.window, true)?,
                Side::Ours => of_store::<Embedded>(&folder, callers, bench.window).await?,
                Side::Redb => of_store::<Redb>(&folder, callers, bench.window).await?,
                Side::Fjall => of_store::<Fjall>(&folder, callers, bench.window).await?,
            });
            std::fs::remove_dir_all(&folder)?;
        }
    }
    Ok(sides)
}

fn median_rate(rounds: &[Round], window: Duration) -> f64 {
    let mut counts: Vec<usize> = rounds.iter().map(|round| round.times.len()).collect();
    counts.sort_unstable();
    counts[counts.len() / 2] as f64 / window.as_secs_f64()
}

fn row(callers: u64, side: Side, rounds: Vec<Round>, window: Duration) -> Row {
    let rate = median_rate(&rounds, window);
    let commits: u64 = rounds.iter().map(|round| round.commits).sum();
    let for_one = |bytes: u64| bytes as f64 / (commits * PAYLOAD_BYTES as u64) as f64;
    let handed = for_one(rounds.iter().map(|round| round.written.handed).sum());
    let device: Option<u64> = rounds.iter().map(|round| round.written.device).sum();
    let device = device.map_or_else(String::new, |bytes| format!(" (device {:.1})", for_one(bytes)));
    let times = Samples::new(rounds.into_iter().flat_map(|round| round.times).collect());
    let [median, p99] = [times.median(), times.percentile(99)].map(millis);
    let what = match (side, callers) {
        (Side::Append | Side::Overwrite, _) => side.name().to_owned(),
        (_, 1) => format!("1 caller, {}", side.name()),
        _ => format!("{callers} callers, {}", side.name()),
    };
    Row {
        count: Some(times.count()),
        spread: format!("each {median:.3} ms, p99 {p99:.3} ms, written {handed:.2} ×{device}"),
        ..Row::plain(what, rate, "commits/s")
    }
}

async fn of_store<C: Contender>(folder: &Path, callers: u64, window: Duration) -> anyhow::Result<Round> {
    let before = Written::look(folder)?;
    let store = Arc::new(C::open(folder)?);
    let (times, commits) = throughput(&store, callers, window).await?;
    // What it has put off is part of the price.
    drop(store);
    Ok(Round { times, commits, written: Written::look(folder)?.since(before) })
}

/// The times of the commits that were answered within the window, and how many there were in all.
async fn throughput<C: Contender>(
    store: &Arc<C>,
    callers: u64,
    window: Duration,
) -> anyhow::Result<(Vec<Duration>, u64)> {
    let begin = now() + WARM_UP;
    let end = begin + window;
    let mut tasks = JoinSet::new();
    for caller in 0..callers {
        let store = Arc::clone(store);
        tasks.spawn(async move {
            let mut times = Vec::new();
            for number in 0_u64.. {
                // In the order of time, as keys of runs are.
                let key = [number.to_be_bytes(), caller.to_be_bytes()].concat();
                let begun = now();
                store.commit(Bytes::from(key), value(caller, number)).await?;
                let ended = now();
                if ended >= end {
                    return anyhow::Ok((times, number + 1));
                }
                times.extend((ended >= begin).then(|| ended - begun));
            }
            unreachable!("numbers go on for longer than anybody waits")
        });
    }
    let (mut times, mut commits) = (Vec::new(), 0);
    while let Some(joined) = tasks.join_next().await {
        let (more, count) = joined??;
        times.extend(more);
        commits += count;
    }
    Ok((times, commits))
}

/// What a disk gives one who does nothing but write and sync.
fn bare_loop(folder: &Path, window: Duration, is_whole: bool) -> anyhow::Result<Round> {
    let mut file = File::create(folder.join("bare"))?;
    if is_whole {
        file.write_all(&vec![b'-'; OVERWRITTEN_BYTES])?;
        file.sync_all()?;
        file.rewind()?;
    }
    let before = Written::look(folder)?;
    let begin = now() + WARM_UP;
    let end = begin + window;
    let mut times = Vec::new();
    for number in 1_usize.. {
        if is_whole && number.is_multiple_of(OVERWRITTEN_BYTES / PAYLOAD_BYTES) {
            file.rewind()?;
        }
        let begun = now();
        file.write_all(&[b'v'; PAYLOAD_BYTES])?;
        file.sync_data()?;
        let ended = now();
        if ended >= end {
            let written = Written::look(folder)?.since(before);
            return Ok(Round { times, commits: number as u64, written });
        }
        times.extend((ended >= begin).then(|| ended - begun));
    }
    unreachable!("numbers go on for longer than anybody waits")
}
