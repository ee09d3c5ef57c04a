//! Apps: long-running services that the engine keeps as they are declared.

use crate::failure::Failure;
use crate::host::apps as host;

pub use host::{Error, Outcome, Rollout, Settled, Status, Wish};

/// Declares an app, or a change of one; `document` is the JSON of an app document. When this returns it is kept, and the
/// replicas follow.
///
/// # Errors
/// See [`Error`].
pub fn deploy(document: &serde_json::Value) -> Result<Rollout, Error> {
    host::deploy(&document.to_string())
}

/// Says how many replicas are wanted; returns how many there will be.
///
/// # Errors
/// See [`Error`].
pub fn scale(app: &str, wish: Wish) -> Result<u32, Error> {
    host::scale(app, wish)
}

/// Waits until as many replicas serve as are to be, at most so many milliseconds; returns how many serve.
///
/// # Errors
/// See [`Error`].
pub fn wait_scaled(app: &str, timeout_ms: u64) -> Result<u32, Error> {
    host::wait_scaled(app, timeout_ms)
}

/// An app as it stands.
///
/// # Errors
/// See [`Error`].
pub fn inspect(app: &str) -> Result<Status, Error> {
    host::inspect(app)
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::NotFound(message) => Self::permanent("not-found", message),
            Error::Invalid(message) => Self::permanent("invalid-app", message),
            Error::Busy(message) => Self::transient("busy", message),
            Error::Unavailable(message) => Self::transient("unavailable", message),
            Error::Other(message) => Self::permanent("apps", message),
        }
    }
}
