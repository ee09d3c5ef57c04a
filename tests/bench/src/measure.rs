//! Time, and what many measurements of it come to.

use std::fs::File;
use std::io::Write;
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

/// Bytes of one append.
const APPEND_BYTES: usize = 512;
/// Appends on each side of what is measured.
const APPENDS: usize = 100;

/// Times of appending to a file of its own in `folder` with `fdatasync`.
fn appends(folder: &Path) -> anyhow::Result<Vec<Duration>> {
    let path = folder.join("fdatasync");
    let mut file = File::options().append(true).create(true).open(&path)?;
    let mut times = Vec::with_capacity(APPENDS);
    for _ in 0..APPENDS {
        let begun = now();
        file.write_all(&[b'x'; APPEND_BYTES])?;
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
) -> anyhow::Result<(R, Samples)> {
    let mut times = appends(folder)?;
    let result = work.await?;
    times.extend(appends(folder)?);
    Ok((result, Samples::new(times)))
}
