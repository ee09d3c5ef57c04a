//! The files of the attempt.

use crate::failure::Failure;
use crate::host::workspace as host;

pub use host::{Entry, Error, Kind};

/// The whole content of a file, at most 16 MiB.
///
/// # Errors
/// See [`Error`].
pub fn read(path: &str) -> Result<Vec<u8>, Error> {
    host::read(path)
}

/// The whole content of a text file, at most 16 MiB; invalid UTF-8 is replaced.
///
/// # Errors
/// See [`Error`].
pub fn read_text(path: &str) -> Result<String, Error> {
    Ok(String::from_utf8_lossy(&host::read(path)?).into_owned())
}

/// Writes a file, whole; makes the folders on the way.
///
/// # Errors
/// See [`Error`].
pub fn write(path: &str, content: impl AsRef<[u8]>) -> Result<(), Error> {
    host::write(path, content.as_ref())
}

/// Removes a file, a link, or a folder with all that is in it.
///
/// # Errors
/// See [`Error`].
pub fn remove(path: &str) -> Result<(), Error> {
    host::remove(path)
}

/// What lies at a path.
///
/// # Errors
/// See [`Error`].
pub fn inspect(path: &str) -> Result<Option<Entry>, Error> {
    host::inspect(path)
}

/// What lies directly in a folder, sorted by path.
///
/// # Errors
/// See [`Error`].
pub fn list(folder: &str) -> Result<Vec<Entry>, Error> {
    host::list(folder)
}

/// The files and links whose path matches, sorted.
///
/// # Errors
/// See [`Error`].
pub fn glob(pattern: &str) -> Result<Vec<Entry>, Error> {
    host::glob(pattern)
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let (kind, message) = match error {
            Error::NotFound(message) => ("not-found", message),
            Error::Outside(message) => ("outside", message),
            Error::WrongKind(message) => ("wrong-kind", message),
            Error::TooLarge(message) => ("too-large", message),
            Error::Io(message) => ("io", message),
            Error::Other(message) => ("workspace", message),
        };
        Self::permanent(kind, message)
    }
}
