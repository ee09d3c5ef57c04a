//! What can be chosen about an embedded store.

use std::sync::Arc;
use std::time::Duration;

use crate::disk::{Disk, Local};

/// What can be chosen about an embedded store.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where journal and exports are. Default: the operating system's files.
    pub disk: Arc<dyn Disk>,
    /// Segments of the journal grow up to this size, in bytes. Larger ones are begun less often and given back later.
    /// Default 4 MiB: the last one is read whole at each start.
    pub segment_bytes: u64,
    /// Memory that new commits may take before they are written to the index, in bytes. Default 16 MiB.
    pub memory_bytes: usize,
    /// The journal may take this much before an export takes its place, in bytes, or twice the last export if that is
    /// more; four times as much while commits come faster than they can be written to the index. Default 64 MiB: a start
    /// after a crash reads it in about a quarter of a second.
    pub journal_bytes: u64,
    /// Memory that sled may use for pages, in bytes. Hot state is above it; the rest is read rarely. Default 64 MiB.
    pub cache_bytes: u64,
    /// How long to wait before what failed is tried again. Default 1 s.
    pub retry: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            disk: Arc::new(Local),
            segment_bytes: 4 * 1024 * 1024,
            memory_bytes: 16 * 1024 * 1024,
            journal_bytes: 64 * 1024 * 1024,
            cache_bytes: 64 * 1024 * 1024,
            retry: Duration::from_secs(1),
        }
    }
}
