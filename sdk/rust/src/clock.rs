//! The time, and waiting.

use std::time::Duration;

use crate::host::clock as host;

/// The time since 1970-01-01T00:00:00Z, to the millisecond; the same in a replay.
#[must_use]
pub fn now() -> Duration {
    Duration::from_millis(host::now())
}

/// Waits, to the millisecond. Counts as time of the attempt, and ends early when that is cancelled.
pub fn sleep(duration: Duration) {
    host::sleep(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
}
