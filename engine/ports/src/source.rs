//! Source trees: from git, or from the folder that the workflow's file lies in.

use std::path::{Path, PathBuf};

use async_trait::async_trait;

use crate::Cancellation;
use crate::registries::Login;

/// A git repository at one revision.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GitRequest {
    /// `https://…`, `ssh://…`, `git@host:path`, `file://…`; other schemes are refused.
    pub url: String,
    /// Branch, tag or commit; the default branch when absent.
    pub reference: Option<String>,
    /// The folder of the repository to take; all of it when absent.
    pub subfolder: Option<String>,
    /// Who to be at the server, by https only; whoever git's own credentials say when absent.
    pub login: Option<Login>,
    /// Whether submodules are fetched too, and theirs.
    pub has_submodules: bool,
    /// The files and folders below the subfolder that are written; all of them when there are none.
    pub sparse: Vec<String>,
    /// Whether a file that is a pointer of Git LFS is an error.
    pub refuses_pointers: bool,
}

/// A folder on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FolderRequest {
    /// Where relative paths begin: the folder of the workflow's file.
    pub base: PathBuf,
    /// Nothing outside of this folder is taken, links included.
    pub root: PathBuf,
    /// The folder, relative to `base` or absolute.
    pub path: String,
}

/// What was fetched.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checkout {
    /// The commit, 40 or 64 hexadecimal digits; `None` for a folder that is in no git repository.
    pub commit: Option<String>,
    /// The branch or tag that it was, when known.
    pub reference: Option<String>,
    /// Whether the folder differs from its commit.
    pub is_dirty: bool,
    /// How many files were written.
    pub files: u64,
    /// How many bytes they hold.
    pub bytes: u64,
    /// What its commit says of itself.
    pub about: Option<About>,
}

/// What a commit says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// `Name <address>`.
    pub author: String,
    /// When it was committed, by RFC 3339.
    pub committed: String,
    /// Its message, cut where it is long.
    pub message: String,
}

/// Why a source cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// The request is wrong: a path outside, a scheme that is not allowed, a revision that does not exist.
    #[error("{0}")]
    Invalid(String),
    /// The other side cannot be reached, or broke off.
    #[error("{0}")]
    Unreachable(String),
    /// The other side wants other credentials.
    #[error("{0}")]
    Unauthorized(String),
    /// This machine failed: no git, no room, no permission.
    #[error("{0}")]
    Local(String),
    /// It was asked to stop.
    #[error("cancelled")]
    Cancelled,
}

/// Fetches source trees into a folder.
#[async_trait]
pub trait Sources: Send + Sync + std::fmt::Debug {
    /// Fetches a revision of a git repository into `into`, without its history and `.git`. Lines of progress go to
    /// `progress`. Never asks a person anything.
    ///
    /// # Errors
    /// See [`SourceError`]; `into` may then hold a part.
    async fn git(
        &self,
        request: &GitRequest,
        into: &Path,
        progress: &(dyn Fn(String) + Send + Sync),
        cancel: &Cancellation,
    ) -> Result<Checkout, SourceError>;

    /// Copies a folder into `into`, without `.git` and without what its ignore files exclude.
    ///
    /// # Errors
    /// See [`SourceError`]; `into` may then hold a part.
    async fn folder(
        &self,
        request: &FolderRequest,
        into: &Path,
        cancel: &Cancellation,
    ) -> Result<Checkout, SourceError>;
}
