//! Source trees: a git repository at one revision, or a folder of this machine, as plain files.
//!
//! git is the `git` program, not a library: it brings the user's own credentials, ssh keys, proxies and certificates
//! and speaks to every server that they use. `git` fetches, `folder` copies; start reading in either.
//!
//! Absent on purpose: history (files come without `.git`), and the content of Git LFS, which is named or refused.

mod about;
mod command;
mod failure;
mod folder;
mod git;
mod login;
mod request;
mod submodule;
mod tree;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use yuanli_ports::source::{Checkout, FolderRequest, GitRequest, SourceError};
use yuanli_ports::{Cancellation, Sources};

use crate::command::Git;

/// Where git is and where it may work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The program; looked up in `PATH` when it is a bare name.
    pub git: PathBuf,
    /// Where repositories lie while something is taken out of them; the system's folder for temporary files when
    /// absent.
    pub scratch: Option<PathBuf>,
    /// Variables that git gets beside those of this process.
    pub environment: Vec<(OsString, OsString)>,
}

impl Default for Options {
    fn default() -> Self {
        Self { git: PathBuf::from("git"), scratch: None, environment: Vec::new() }
    }
}

/// Fetches source trees into folders.
#[derive(Debug, Default)]
pub struct SourceTrees {
    options: Options,
}

impl SourceTrees {
    /// Source trees with these options.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self { options }
    }
}

#[async_trait]
impl Sources for SourceTrees {
    async fn git(
        &self,
        request: &GitRequest,
        into: &Path,
        progress: &(dyn Fn(String) + Send + Sync),
        cancel: &Cancellation,
    ) -> Result<Checkout, SourceError> {
        git::fetch(&Git::new(&self.options, cancel), request, into, progress).await
    }

    async fn folder(
        &self,
        request: &FolderRequest,
        into: &Path,
        cancel: &Cancellation,
    ) -> Result<Checkout, SourceError> {
        folder::take(&Git::new(&self.options, cancel), request, into, cancel).await
    }
}
