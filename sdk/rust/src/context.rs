//! Which attempt this is.

use crate::host::context as host;

pub use host::Attempt;

/// The attempt that this instance serves.
#[must_use]
pub fn current() -> Attempt {
    host::current()
}

/// When the attempt will be ended, in milliseconds since the Unix epoch.
#[must_use]
pub fn deadline() -> u64 {
    host::deadline()
}

/// Whether the run was cancelled.
#[must_use]
pub fn is_cancelled() -> bool {
    host::is_cancelled()
}

/// A key for the next effect: the same in a replay, never the same for two effects.
#[must_use]
pub fn effect_key() -> String {
    host::effect_key()
}
