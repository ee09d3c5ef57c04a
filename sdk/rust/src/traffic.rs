//! Gray releases: a new release gets a growing part of the traffic, is judged, and is promoted or turned back.

use crate::failure::Failure;
use crate::host::traffic as host;

pub use host::{Error, GrayRelease, Happening, Plan, Step, Verdict};

/// Begins to release a change of an app that serves already; `document` is the JSON of the app document.
///
/// # Errors
/// See [`Error`].
pub fn begin(document: &serde_json::Value, plan: &Plan) -> Result<GrayRelease, Error> {
    host::begin(&document.to_string(), plan)
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::NotFound(message) => Self::permanent("not-found", message),
            Error::Invalid(message) => Self::permanent("invalid-release", message),
            Error::Busy(message) => Self::transient("busy", message),
            Error::Unavailable(message) => Self::transient("unavailable", message),
            Error::Other(message) => Self::permanent("traffic", message),
        }
    }
}
