//! Source trees: from git, or from the workflow's folder.

use crate::failure::Failure;
use crate::host::source as host;

pub use host::{Checkout, Error, Fetched, GitRequest};

use crate::registries::Login;

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

/// What more is asked of git.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extras {
    /// Submodules too, and theirs.
    pub submodules: bool,
    /// The files and folders that are written; all of them when there are none.
    pub sparse: Vec<String>,
    /// Whether pointers of Git LFS are an error, as their content is not fetched.
    pub refuses_pointers: bool,
}

/// As [`git`], as somebody, with more asked for, and told more of the commit.
///
/// # Errors
/// See [`Error`].
pub fn fetch(
    request: &GitRequest,
    into: &str,
    login: Option<&Login>,
    extras: &Extras,
) -> Result<Fetched, Error> {
    let option = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let mut options: Vec<_> = extras.sparse.iter().map(|path| option("sparse", path)).collect();
    options.extend(extras.submodules.then(|| option("submodules", "true")));
    options.extend(extras.refuses_pointers.then(|| option("lfs", "refuse")));
    let (username, password) = login.map(Login::parts).unzip();
    host::fetch(request, into, username, password, &options)
}

/// As [`folder`], and told more of the commit.
///
/// # Errors
/// See [`Error`].
pub fn copy(path: &str, into: &str) -> Result<Fetched, Error> {
    host::copy(path, into)
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
