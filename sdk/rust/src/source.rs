//! Source trees: from git, or from the workflow's folder.

use crate::failure::Failure;
use crate::host::source as host;

pub use host::{Checkout, Error, GitRequest};

/// Fetches a revision of a git repository into the folder `into` of the workspace.
///
/// # Errors
/// See [`Error`].
pub fn git(request: &GitRequest, into: &str) -> Result<Checkout, Error> {
    host::git(request, into)
}

/// Copies a folder, relative to the workflow's file, into the folder `into` of the workspace.
///
/// # Errors
/// See [`Error`].
pub fn folder(path: &str, into: &str) -> Result<Checkout, Error> {
    host::folder(path, into)
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Invalid(message) => Self::permanent("invalid-source", message),
            Error::Unreachable(message) => Self::transient("unreachable", message),
            Error::Unauthorized(message) => Self::permanent("unauthorized", message),
            Error::Local(message) => Self::transient("engine", message),
            Error::Other(message) => Self::permanent("source", message),
        }
    }
}
