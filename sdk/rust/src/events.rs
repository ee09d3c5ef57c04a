//! Tells that something happened: a part of the run's story, which others can follow.

use serde::Serialize;

use crate::failure::Failure;
use crate::host::events as host;

pub use host::Error;

/// Tells it: what happened, such as `shop.tested`, and data of at most 8 KiB as JSON. Returns the event's id.
///
/// # Errors
/// See [`Error`].
pub fn emit(kind: &str, data: &impl Serialize) -> Result<String, Error> {
    send(kind, data, None)
}

/// The same about something, such as an image.
///
/// # Errors
/// See [`Error`].
pub fn emit_about(subject: &str, kind: &str, data: &impl Serialize) -> Result<String, Error> {
    send(kind, data, Some(subject))
}

fn send(kind: &str, data: &impl Serialize, subject: Option<&str>) -> Result<String, Error> {
    let data = serde_json::to_string(data).map_err(|e| Error::Invalid(e.to_string()))?;
    host::emit(kind, &data, subject)
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Invalid(message) => Self::permanent("invalid-event", message),
            Error::TooLarge(message) => Self::permanent("too-large", message),
            Error::TooMany(message) => Self::permanent("too-many", message),
            Error::Unavailable(message) => Self::transient("unavailable", message),
            Error::Other(message) => Self::permanent("events", message),
        }
    }
}
