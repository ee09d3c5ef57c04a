//! What apps are measured to do.

use crate::failure::Failure;
use crate::host::metrics as host;

pub use host::{AppMetrics, Error, ReleaseCounts};

/// What an app does now.
///
/// # Errors
/// See [`Error`].
pub fn query(app: &str) -> Result<AppMetrics, Error> {
    host::query(app)
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::NotFound(message) => Self::permanent("not-found", message),
            Error::Unavailable(message) => Self::transient("unavailable", message),
            Error::Other(message) => Self::permanent("metrics", message),
        }
    }
}
