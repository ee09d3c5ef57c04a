//! What an instance may use, who says so, and the error that says which bound was hit.

use std::sync::Arc;
use std::time::Duration;

use wasmtime::ResourceLimiter;
use yuanli_model::stage::{
    Limits as Asked, MAX_ARTIFACTS_BYTES, MAX_CPU, MAX_HANDLES, MAX_LOG_BYTES, MAX_MEMORY_BYTES,
    MAX_OUTPUT_BYTES,
};
use yuanli_model::{Bounds, Ceiling};

const MIB: usize = 1024 * 1024;

/// What an instance may use where nobody says otherwise. Wall-clock time is the attempt's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// All linear memories and tables together, in bytes. Default 256 MiB: a Python guest needs about 60.
    pub memory_bytes: usize,
    /// Time in which guest code runs; time in host calls does not count. Default 60 s; checked every 10 ms.
    pub cpu: Duration,
    /// What the guest itself may write to its log, in bytes; containers and builds do not count. Default 64 MiB.
    pub log_bytes: u64,
    /// The longest output of `run`, in bytes. Default 1 MiB, as the contract says.
    pub output_bytes: usize,
    /// Handles that it has open at the same time. Default 1024.
    pub handles: u32,
    /// The artifacts that it puts, replaced ones counted, in bytes. Default 1 GiB: all that its run may.
    pub artifact_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: 256 * MIB,
            cpu: Duration::from_secs(60),
            log_bytes: 64 * MIB as u64,
            output_bytes: MAX_OUTPUT_BYTES as usize,
            handles: MAX_HANDLES,
            artifact_bytes: MAX_ARTIFACTS_BYTES,
        }
    }
}

impl Limits {
    /// What `describe` may use, as the contract says.
    pub(crate) const DESCRIBE: Self = Self {
        memory_bytes: 64 * MIB,
        cpu: Duration::from_secs(1),
        log_bytes: 0,
        output_bytes: MIB,
        handles: 0,
        artifact_bytes: 0,
    };
}

/// Who says how much there is of something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum By {
    /// Nobody.
    Default,
    /// The stage, or the defaults of its workflow.
    Stage,
    /// The plugin, of itself.
    Plugin,
    /// The configuration of the engine, in this file.
    Engine(Arc<str>),
}

/// How much there is of something, and who says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bound<T> {
    pub(crate) most: T,
    pub(crate) by: By,
}

/// All bounds of one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bounded {
    pub(crate) memory_bytes: Bound<usize>,
    pub(crate) cpu: Bound<Duration>,
    pub(crate) log_bytes: Bound<u64>,
    pub(crate) output_bytes: Bound<usize>,
    pub(crate) handles: Bound<u32>,
    pub(crate) artifact_bytes: Bound<u64>,
    pub(crate) timeout: Bound<Duration>,
}

impl<T: Ord + Copy> Bound<T> {
    /// What the stage says, as far as there is so much to be had, else what it is by default; the plugin and the engine can
    /// only make that less.
    fn new(
        default: T,
        asked: Option<T>,
        most: T,
        plugin: Option<T>,
        engine: Option<T>,
        file: &Arc<str>,
    ) -> Self {
        let mut bound = match asked {
            Some(asked) => Self { most: asked.min(most), by: By::Stage },
            None => Self { most: default, by: By::Default },
        };
        for (limit, by) in [(plugin, By::Plugin), (engine, By::Engine(Arc::clone(file)))] {
            if let Some(limit) = limit.filter(|limit| *limit < bound.most) {
                bound = Self { most: limit, by };
            }
        }
        bound
    }
}

impl Bounded {
    /// The bounds of an attempt of which the stage and the plugin say this.
    pub(crate) fn new(
        default: &Limits,
        (timeout, asked): (Duration, &Asked),
        plugin: &Bounds,
        ceiling: &Ceiling,
    ) -> Self {
        let file: Arc<str> = ceiling.file.as_str().into();
        let (own, engine) = (&plugin.limits, &ceiling.bounds.limits);
        let size = |bytes: Option<u64>| bytes.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        let sizes = |default, asked, most: u64, own, engine| {
            let most = usize::try_from(most).unwrap_or(usize::MAX);
            Bound::new(default, size(asked), most, size(own), size(engine), &file)
        };
        let cpu = Bound::new(default.cpu, asked.cpu, MAX_CPU, own.cpu, engine.cpu, &file);
        let handles =
            Bound::new(default.handles, asked.handles, MAX_HANDLES, own.handles, engine.handles, &file);
        let log_bytes = Bound::new(
            default.log_bytes,
            asked.log_bytes,
            MAX_LOG_BYTES,
            own.log_bytes,
            engine.log_bytes,
            &file,
        );
        let artifact_bytes = Bound::new(
            default.artifact_bytes,
            asked.artifact_bytes,
            MAX_ARTIFACTS_BYTES,
            own.artifact_bytes,
            engine.artifact_bytes,
            &file,
        );
        let memory = (asked.memory_bytes, own.memory_bytes, engine.memory_bytes);
        let outputs = (asked.output_bytes, own.output_bytes, engine.output_bytes);
        Self {
            memory_bytes: sizes(default.memory_bytes, memory.0, MAX_MEMORY_BYTES, memory.1, memory.2),
            cpu,
            log_bytes,
            output_bytes: sizes(default.output_bytes, outputs.0, MAX_OUTPUT_BYTES, outputs.1, outputs.2),
            handles,
            artifact_bytes,
            timeout: Bound::new(timeout, None, timeout, plugin.timeout, ceiling.bounds.timeout, &file),
        }
    }

    /// What `describe` may use.
    pub(crate) fn describe() -> Self {
        let nobody = Ceiling::default();
        let Limits { cpu, .. } = Limits::DESCRIBE;
        Self::new(&Limits::DESCRIBE, (cpu, &Asked::default()), &Bounds::default(), &nobody)
    }
}

impl By {
    /// Who says it, and how there is more: by `key` of the stage, or of the configuration's `limits`.
    pub(crate) fn in_words(&self, key: &str) -> String {
        let stage = match key {
            "timeout" => "`timeout: …`".to_owned(),
            key => format!("`limits: {{ {key}: … }}`"),
        };
        match self {
            Self::Default => format!("which is what there is by default; give it more with {stage}"),
            Self::Stage => format!("as its stage says; give it more with {stage}"),
            Self::Plugin => {
                "as the plugin says of itself; only another version of it can have more".to_owned()
            }
            Self::Engine(file) => format!(
                "which is the most that the engine gives; whoever keeps it can change `limits: {{ {key}: … }}` in `{file}`"
            ),
        }
    }
}

/// A bound that an instance ran into. Travels through wasmtime as the error that ended the guest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Exceeded {
    #[error("it asked for {wanted} bytes of memory and may have {}, {}", .limit.most, .limit.by.in_words("memory"))]
    Memory { wanted: usize, limit: Bound<usize> },
    #[error("it ran for {:?} of processor time, {}", .limit.most, .limit.by.in_words("cpu"))]
    Cpu { limit: Bound<Duration> },
    #[error("it wrote more than {} bytes to its log, {}", .limit.most, .limit.by.in_words("log"))]
    Log { limit: Bound<u64> },
    #[error(
        "it wanted to have more than {} handles at the same time, of containers, builds, secrets and the like, {}",
        .limit.most, .limit.by.in_words("handles")
    )]
    Handles { limit: Bound<u32> },
    #[error("its outputs have {found} bytes and may have at most {}, {}", .limit.most, .limit.by.in_words("outputs"))]
    Outputs { found: usize, limit: Bound<usize> },
    #[error("it took longer than {:?}, {}", .limit.most, .limit.by.in_words("timeout"))]
    Time { limit: Bound<Duration> },
}

impl Exceeded {
    /// The kind of the failure that comes of it.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Memory { .. } => "memory-limit",
            Self::Cpu { .. } => "cpu-limit",
            Self::Log { .. } => "log-limit",
            Self::Handles { .. } => "handle-limit",
            Self::Outputs { .. } => "output-limit",
            Self::Time { .. } => "timeout",
        }
    }
}

/// Size of a table element on the host, for counting tables together with memories.
const TABLE_ELEMENT_BYTES: usize = size_of::<usize>();

/// Counts the memory of an instance. A refused growth ends the guest: what a guest does with a failed growth depends
/// on its allocator, and a replay has to do the same again.
#[derive(Debug)]
pub(crate) struct Memory {
    limit: Bound<usize>,
    used: usize,
}

impl Memory {
    pub(crate) fn new(limit: Bound<usize>) -> Self {
        Self { limit, used: 0 }
    }

    fn grow(&mut self, current: usize, desired: usize) -> wasmtime::Result<bool> {
        let wanted = self.used.saturating_add(desired.saturating_sub(current));
        if wanted > self.limit.most {
            return Err(wasmtime::Error::new(Exceeded::Memory { wanted, limit: self.limit.clone() }));
        }
        self.used = wanted;
        Ok(true)
    }
}

impl ResourceLimiter for Memory {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        self.grow(current, desired)
    }

    fn table_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        self.grow(current.saturating_mul(TABLE_ELEMENT_BYTES), desired.saturating_mul(TABLE_ELEMENT_BYTES))
    }
}

#[cfg(test)]
impl std::fmt::Display for By {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Default => "default",
            Self::Stage => "stage",
            Self::Plugin => "plugin",
            Self::Engine(_) => "engine",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smaller_one_counts_and_is_told_by_whom_it_is() {
        let check = |asked: Option<u64>, plugin: Option<u64>, engine: Option<u64>, expect: (usize, &str)| {
            let of = |memory_bytes| Asked { memory_bytes, ..Asked::default() };
            let ceiling = Ceiling {
                file: "/d/config.yaml".to_owned(),
                bounds: Bounds { timeout: None, limits: of(engine) },
                ..Ceiling::default()
            };
            let plugin = Bounds { timeout: None, limits: of(plugin) };
            let bounded =
                Bounded::new(&Limits::default(), (Duration::from_secs(1), &of(asked)), &plugin, &ceiling);
            let Bound { most, by } = bounded.memory_bytes;
            assert_eq!((most / MIB, by.to_string().as_str()), expect, "{asked:?} {plugin:?} {engine:?}");
        };
        let mib = |count: u64| Some(count << 20);
        check(None, None, None, (256, "default"));
        check(mib(512), None, None, (512, "stage"));
        check(mib(1 << 20), None, None, (2048, "stage"));
        check(mib(512), mib(128), None, (128, "plugin"));
        check(None, mib(512), None, (256, "default"));
        check(mib(512), mib(128), mib(64), (64, "engine"));
        check(mib(512), mib(64), mib(128), (64, "plugin"));
        check(mib(32), mib(64), mib(128), (32, "stage"));
        check(None, None, mib(64), (64, "engine"));
        // As much is nobody's doing but the first one's.
        check(mib(64), mib(64), mib(64), (64, "stage"));
    }

    #[test]
    fn time_is_bounded_as_the_rest() {
        let second = Duration::from_secs(1);
        let check = |plugin: Option<Duration>, engine: Option<Duration>, expect: (u64, &str)| {
            let (plugin, engine) = (
                Bounds { timeout: plugin, ..Bounds::default() },
                Bounds { timeout: engine, ..Bounds::default() },
            );
            let ceiling = Ceiling { bounds: engine, ..Ceiling::default() };
            let bounded =
                Bounded::new(&Limits::default(), (10 * second, &Asked::default()), &plugin, &ceiling);
            assert_eq!((bounded.timeout.most.as_secs(), bounded.timeout.by.to_string().as_str()), expect);
        };
        check(None, None, (10, "default"));
        check(Some(5 * second), None, (5, "plugin"));
        check(Some(5 * second), Some(2 * second), (2, "engine"));
        check(None, Some(60 * second), (10, "default"));
    }
}
