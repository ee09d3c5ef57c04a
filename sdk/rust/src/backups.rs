//! Backups of volumes, in encrypted and deduplicated repositories that restic can read.

use crate::failure::Failure;
use crate::host::backups as host;

pub use host::{Error, Extent, Snapshot};

/// Takes a snapshot of a volume; replicas that use it are paused for at most `pause_ms` milliseconds (zero: not at all).
///
/// # Errors
/// See [`Error`].
pub fn create(volume: &str, repository: &str, pause_ms: u64) -> Result<Snapshot, Error> {
    host::create(volume, repository, pause_ms)
}

/// The snapshots of a volume, oldest first.
///
/// # Errors
/// See [`Error`].
pub fn snapshots(repository: &str, volume: &str) -> Result<Vec<Snapshot>, Error> {
    host::snapshots(repository, volume)
}

/// Reads a snapshot back, every byte, and compares it with its checksums.
///
/// # Errors
/// See [`Error`].
pub fn verify(repository: &str, snapshot: &str) -> Result<Extent, Error> {
    host::verify(repository, snapshot)
}

/// Writes a snapshot into a volume that does not exist yet, and compares it afterwards.
///
/// # Errors
/// See [`Error`].
pub fn restore(repository: &str, snapshot: &str, volume: &str) -> Result<Extent, Error> {
    host::restore(repository, snapshot, volume)
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::NotFound(message) => Self::permanent("not-found", message),
            Error::Invalid(message) => Self::permanent("invalid-backup", message),
            Error::Busy(message) => Self::transient("busy", message),
            Error::Damaged(message) => Self::permanent("damaged", message),
            Error::Unavailable(message) => Self::transient("unavailable", message),
            Error::Other(message) => Self::permanent("backups", message),
        }
    }
}
