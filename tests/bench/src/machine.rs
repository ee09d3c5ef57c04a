//! Where it was measured.

use std::fs;
use std::path::Path;

use serde::Serialize;

/// The conditions that hold for every figure.
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    /// The processor's name.
    processor: String,
    cores: usize,
    memory_gib: f64,
    kernel: String,
    /// Type and device of the file system that durable figures wrote to.
    file_system: String,
    /// Processes that wanted a processor in the last minute; more than a few of them disturb what is measured.
    load: String,
    /// Worker threads of the measured engine.
    workers: usize,
    profile: &'static str,
}

impl Machine {
    pub(crate) fn look(folder: &Path, workers: usize) -> anyhow::Result<Self> {
        let field = |file: &str, key: &str| {
            let text = fs::read_to_string(file).unwrap_or_default();
            let line = text.lines().find(|line| line.starts_with(key));
            line.and_then(|line| line.split_once(':'))
                .map_or_else(String::new, |(_, value)| value.trim().to_owned())
        };
        let kib: f64 = field("/proc/meminfo", "MemTotal").trim_end_matches(" kB").parse().unwrap_or_default();
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        Ok(Self {
            processor: field("/proc/cpuinfo", "model name"),
            cores: std::thread::available_parallelism()?.get(),
            memory_gib: (kib / 1024.0 / 1024.0 * 10.0).round() / 10.0,
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
            file_system: file_system(&folder.canonicalize()?),
            load: load.split(' ').next().unwrap_or_default().to_owned(),
            workers,
            profile: if cfg!(debug_assertions) { "dev: these figures say nothing" } else { "release" },
        })
    }

    /// The same, in lines for a person.
    pub(crate) fn lines(&self) -> Vec<String> {
        let Self { processor, cores, memory_gib, kernel, file_system, load, workers, profile } = self;
        vec![
            format!("{cores} cores ({processor}), {memory_gib} GiB, Linux {kernel}, load {load}"),
            format!("disk: {file_system}; {workers} worker threads; profile: {profile}"),
            "f: median of 200 times (write 512 bytes over others, fdatasync) on that disk, half of them just before and \
             half just after the figure; in brackets the same with appends"
                .to_owned(),
        ]
    }
}

/// Type and device of the file system that holds a folder: the mount with the longest path above it.
fn file_system(folder: &Path) -> String {
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    let mount = |line: &str| {
        let mut words = line.split(' ');
        let (device, point, kind) = (words.next()?, words.next()?, words.next()?);
        folder.starts_with(point).then(|| (point.len(), format!("{kind} on {device}")))
    };
    mounts
        .lines()
        .filter_map(mount)
        .max_by_key(|(length, _)| *length)
        .map_or_else(String::new, |(_, name)| name)
}
