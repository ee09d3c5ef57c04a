//! What an instance may use, and the error that says which bound was hit.

use std::time::Duration;

use wasmtime::ResourceLimiter;
use yuanli_model::stage::{MAX_CPU, MAX_LOG_BYTES, MAX_MEMORY_BYTES};

const MIB: usize = 1024 * 1024;

/// Bounds of one instance. Wall-clock time is the attempt's own.
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
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: 256 * MIB,
            cpu: Duration::from_secs(60),
            log_bytes: 64 * MIB as u64,
            output_bytes: MIB,
        }
    }
}

impl Limits {
    /// These, or what an attempt asks for, as far as there is so much to be had.
    pub(crate) fn with(self, asked: yuanli_model::stage::Limits) -> Self {
        let bytes = |bytes: u64| usize::try_from(bytes.min(MAX_MEMORY_BYTES)).unwrap_or(usize::MAX);
        Self {
            memory_bytes: asked.memory_bytes.map_or(self.memory_bytes, bytes),
            cpu: asked.cpu.map_or(self.cpu, |cpu| cpu.min(MAX_CPU)),
            log_bytes: asked.log_bytes.map_or(self.log_bytes, |bytes| bytes.min(MAX_LOG_BYTES)),
            ..self
        }
    }

    /// What `describe` may use, as the contract says.
    pub(crate) const DESCRIBE: Self =
        Self { memory_bytes: 64 * MIB, cpu: Duration::from_secs(1), log_bytes: 0, output_bytes: MIB };
}

/// A bound that an instance ran into. Travels through wasmtime as the error that ended the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Exceeded {
    #[error(
        "it asked for {wanted} bytes of memory and may have {limit}; give it more with `limits: {{ memory: … }}`"
    )]
    Memory { wanted: usize, limit: usize },
    #[error(
        "it ran for {limit:?} of processor time, which is all it may have; give it more with `limits: {{ cpu: … }}`"
    )]
    Cpu { limit: Duration },
    #[error(
        "it wrote more than {limit} bytes to its log, which is all it may; give it more with `limits: {{ log: … }}`"
    )]
    Log { limit: u64 },
}

/// Size of a table element on the host, for counting tables together with memories.
const TABLE_ELEMENT_BYTES: usize = size_of::<usize>();

/// Counts the memory of an instance. A refused growth ends the guest: what a guest does with a failed growth depends
/// on its allocator, and a replay has to do the same again.
#[derive(Debug)]
pub(crate) struct Memory {
    limit: usize,
    used: usize,
}

impl Memory {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self { limit: limits.memory_bytes, used: 0 }
    }

    fn grow(&mut self, current: usize, desired: usize) -> wasmtime::Result<bool> {
        let wanted = self.used.saturating_add(desired.saturating_sub(current));
        if wanted > self.limit {
            return Err(wasmtime::Error::new(Exceeded::Memory { wanted, limit: self.limit }));
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
