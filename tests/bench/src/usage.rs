//! What this process has used, as the system counts it.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;

/// Which number of a device's `stat` counts the sectors that were written, and what a sector is there.
const SECTORS_WRITTEN: usize = 6;
const SECTOR_BYTES: u64 = 512;

/// Bytes that this process has handed to the system by any kind of write.
///
/// Not `write_bytes`, which counts the whole of what the page cache holds as one piece, up to 2 MiB, for a byte that
/// changes in it.
pub(crate) fn written_bytes() -> anyhow::Result<u64> {
    number("/proc/self/io", "wchar:")
}

/// Bytes that have reached the device under a folder, whoever wrote them, the file system's own journal too; once
/// everything that is not written yet has been. `None` where the file system has no device of its own.
pub(crate) fn device_bytes(folder: &Path) -> anyhow::Result<Option<u64>> {
    rustix::fs::syncfs(File::open(folder)?)?;
    let device = fs::metadata(folder)?.dev();
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let Ok(text) = fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/stat")) else {
        return Ok(None);
    };
    let sectors = text.split_whitespace().nth(SECTORS_WRITTEN).and_then(|number| number.parse::<u64>().ok());
    Ok(Some(sectors.context("the device does not count")? * SECTOR_BYTES))
}

/// Bytes of memory that are in use for this process now.
pub(crate) fn resident_bytes() -> anyhow::Result<u64> {
    Ok(number("/proc/self/status", "VmRSS:")? * 1024)
}

/// The most that was in use for it at any time.
pub(crate) fn most_resident_bytes() -> anyhow::Result<u64> {
    Ok(number("/proc/self/status", "VmHWM:")? * 1024)
}

fn number(file: &str, name: &str) -> anyhow::Result<u64> {
    let text = fs::read_to_string(file)?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse().ok());
    number.with_context(|| format!("{file} has no `{name}`"))
}

/// What threads have used.
pub(crate) struct Used {
    pub(crate) time: Duration,
    /// How often one of them waited for something.
    pub(crate) waits: u64,
}

impl Used {
    /// What those of this process have so far.
    pub(crate) fn look() -> anyhow::Result<Self> {
        Ok(Threads::of(std::process::id())?.since(&Threads::default()))
    }
}

/// The threads of a process, with what each has used so far.
#[derive(Default)]
pub(crate) struct Threads(HashMap<OsString, Used>);

impl Threads {
    pub(crate) fn of(process: u32) -> anyhow::Result<Self> {
        let mut threads = HashMap::new();
        for thread in fs::read_dir(format!("/proc/{process}/task"))? {
            let thread = thread?;
            // One that has ended meanwhile counts for nothing.
            let read = |file: &str| fs::read_to_string(thread.path().join(file)).unwrap_or_default();
            let schedule = read("schedstat");
            let nanos = schedule.split(' ').next().and_then(|nanos| nanos.parse().ok());
            let status = read("status");
            let waits = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
            let used = Used {
                time: Duration::from_nanos(nanos.unwrap_or_default()),
                waits: waits.and_then(|count| count.trim().parse().ok()).unwrap_or_default(),
            };
            threads.insert(thread.file_name(), used);
        }
        Ok(Self(threads))
    }

    /// What those that are there now have used since. Not the difference of two sums: what has ended would count below nothing.
    pub(crate) fn since(&self, before: &Self) -> Used {
        let mut since = Used { time: Duration::ZERO, waits: 0 };
        for (thread, used) in &self.0 {
            let (time, waits) = before.0.get(thread).map_or((Duration::ZERO, 0), |was| (was.time, was.waits));
            since.time += used.time.saturating_sub(time);
            since.waits += used.waits.saturating_sub(waits);
        }
        since
    }
}
