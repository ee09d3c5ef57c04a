//! What the stage leaves for people and later stages, and what those before it have left.

use crate::failure::Failure;
use crate::host::artifacts as host;

pub use host::{Artifact, Error};

/// Most bytes that [`read`] gives at once, as the contract says.
const RANGE_BYTES: u32 = 4 * 1024 * 1024;

/// Keeps bytes, at most 16 MiB; `media_type` is `text/plain`, `application/xml`, and so on.
///
/// # Errors
/// See [`Error`].
pub fn put(name: &str, media_type: &str, content: impl AsRef<[u8]>) -> Result<Artifact, Error> {
    host::put(name, media_type, content.as_ref())
}

/// Keeps a file of the workspace, at most 256 MiB.
///
/// # Errors
/// See [`Error`].
pub fn put_file(name: &str, media_type: &str, path: &str) -> Result<Artifact, Error> {
    host::put_file(name, media_type, path)
}

/// The artifacts of the stages that this one comes after, sorted by stage, instance and name.
///
/// # Errors
/// See [`Error`].
pub fn list() -> Result<Vec<Artifact>, Error> {
    host::list()
}

/// A part of an artifact that [`list`] tells: at most 4 MiB from `offset` on.
///
/// # Errors
/// See [`Error`].
pub fn read(artifact: &Artifact, offset: u64, length: u32) -> Result<Vec<u8>, Error> {
    host::read(&artifact.stage, artifact.instance, &artifact.name, offset, length)
}

/// All of an artifact. It has to fit into the plugin's memory.
///
/// # Errors
/// See [`Error`].
pub fn read_all(artifact: &Artifact) -> Result<Vec<u8>, Error> {
    let mut content = Vec::new();
    while (content.len() as u64) < artifact.size {
        let part = read(artifact, content.len() as u64, RANGE_BYTES)?;
        if part.is_empty() {
            break;
        }
        content.extend(part);
    }
    Ok(content)
}

/// Writes an artifact into a file of the workspace. Returns its size.
///
/// # Errors
/// See [`Error`].
pub fn read_to_file(artifact: &Artifact, path: &str) -> Result<u64, Error> {
    host::read_to_file(&artifact.stage, artifact.instance, &artifact.name, path)
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::NotFound(message) => Self::permanent("not-found", message),
            Error::Invalid(message) => Self::permanent("invalid-artifact", message),
            Error::TooLarge(message) => Self::permanent("too-large", message),
            Error::TooMany(message) => Self::permanent("too-many", message),
            Error::Denied(message) => Self::permanent("not-granted", message),
            Error::Unavailable(message) => Self::transient("unavailable", message),
            Error::Other(message) => Self::permanent("artifacts", message),
        }
    }
}
