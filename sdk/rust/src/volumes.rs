//! Volumes: folders that outlive containers and runs, one by its name for all workflows and apps of an engine.
//!
//! [`crate::containers::Extras::volume`] mounts one in a container.

use crate::failure::Failure;
use crate::host::volumes as host;

pub use host::{Error, Usage, Volume};

/// Makes sure that a volume is there; says whether it was made now.
///
/// # Errors
/// See [`Error`].
pub fn create(name: &str) -> Result<bool, Error> {
    host::create(name)
}

/// What is known of a volume; `None` when there is none.
///
/// # Errors
/// See [`Error`].
pub fn inspect(name: &str) -> Result<Option<Volume>, Error> {
    host::inspect(name)
}

/// The volumes that the stage may use, sorted by name.
///
/// # Errors
/// See [`Error`].
pub fn list() -> Result<Vec<Volume>, Error> {
    host::list()
}

/// How much a volume takes. Its files are counted for that, which takes as long as there are many.
///
/// # Errors
/// See [`Error`].
pub fn measure(name: &str) -> Result<Usage, Error> {
    host::measure(name)
}

/// Removes a volume that a stage made, with all that is in it. No error when there is none.
///
/// # Errors
/// See [`Error`].
pub fn remove(name: &str) -> Result<(), Error> {
    host::remove(name)
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Unreachable(message) => Self::transient("unreachable", message),
            Error::Denied(message) => Self::permanent("denied", message),
            Error::NotFound(message) => Self::permanent("not-found", message),
            Error::Invalid(message) => Self::permanent("invalid-volume", message),
            Error::InUse(message) => Self::permanent("volume-in-use", message),
            Error::Engine(message) => Self::transient("engine", message),
            Error::Other(message) => Self::permanent("volumes", message),
        }
    }
}
