//! Time, and what many measurements of it come to.

use std::fs::File;
use std::io::{Seek, Write};
use std::path::Path;
use std::time::{Duration, Instant};

/// Now, for measuring how long something takes.
#[allow(
    clippy::disallowed_methods,
    reason = "measuring is what this program is for; nothing is decided by it"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Milliseconds.
pub(crate) fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// Microseconds.
pub(crate) fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

/// Measurements of one thing, sorted; never empty.
#[derive(Debug, Clone)]
pub(crate) struct Samples(Vec<Duration>);

impl Samples {
    pub(crate) fn new(mut times: Vec<Duration>) -> Self {
        assert!(!times.is_empty(), "nothing was measured");
        times.sort_unstable();
        Self(times)
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn median(&self) -> Duration {
        self.percentile(50)
    }

    /// The time that this share of the measurements, in percent, did not exceed.
    pub(crate) fn percentile(&self, percent: usize) -> Duration {
        self.0[(self.0.len() - 1) * percent / 100]
    }

    pub(crate) fn min(&self) -> Duration {
        self.0[0]
    }

    pub(crate) fn max(&self) -> Duration {
        self.0[self.0.len() - 1]
    }
}

/// Bytes of one write that is synced.
const SYNCED_BYTES: usize = 512;
/// Writes of each kind on each side of what is measured.
const WRITES: usize = 100;

/// What one `fdatasync` costs on a disk, after two kinds of write. File systems with a journal differ by an order of
/// magnitude between them.
#[derive(Debug, Clone)]
pub(crate) struct Syncs {
    /// After writing over what the file had: nothing but data goes to the disk. The `f` of the formulas.
    pub(crate) overwrite: Samples,
    /// After appending: the file's new length goes to the disk with it.
    pub(crate) append: Samples,
}

/// Times of writing to a file in `folder` with `fdatasync`; the file has its full length before when `is_whole`.
fn synced_writes(folder: &Path, is_whole: bool) -> anyhow::Result<Vec<Duration>> {
    let path = folder.join("fdatasync");
    let mut file = File::create(&path)?;
    if is_whole {
        file.write_all(&[b'-'; SYNCED_BYTES * WRITES])?;
        file.sync_all()?;
        file.rewind()?;
    }
    let mut times = Vec::with_capacity(WRITES);
    for _ in 0..WRITES {
        let begun = now();
        file.write_all(&[b'x'; SYNCED_BYTES])?;
        file.sync_data()?;
        times.push(begun.elapsed());
    }
    std::fs::remove_file(&path)?;
    Ok(times)
}

/// What `work` comes to, with the times of an `fdatasync` in `folder` just before and just after it.
pub(crate) async fn beside_sync<R>(
    folder: &Path,
    work: impl Future<Output = anyhow::Result<R>>,
) -> anyhow::Result<(R, Syncs)> {
    let (mut overwrite, mut append) = (synced_writes(folder, true)?, synced_writes(folder, false)?);
    let result = work.await?;
    overwrite.extend(synced_writes(folder, true)?);
    append.extend(synced_writes(folder, false)?);
    Ok((result, Syncs { overwrite: Samples::new(overwrite), append: Samples::new(append) }))
}
