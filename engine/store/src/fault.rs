//! What can be wrong with the files of a store.

use std::io;
use std::path::{Path, PathBuf};

use yuanli_ports::store::StoreError;

/// A place where a file is not what was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} is damaged at byte {offset}: {reason}", path.display())]
pub struct Damage {
    /// The file, or the folder where a file is missing.
    pub path: PathBuf,
    /// Where in it.
    pub offset: u64,
    /// What is wrong, and what it means.
    pub reason: String,
}

impl Damage {
    pub(crate) fn new(path: &Path, offset: usize, reason: String) -> Self {
        Self { path: path.to_owned(), offset: offset as u64, reason }
    }
}

/// Why a store cannot be opened or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The truth is damaged.
    #[error("{0}; `yuanli admin check` says more")]
    Damaged(#[from] Damage),
    /// A newer engine wrote it.
    #[error("{} was written by a newer engine (version {found} of its format); use that one", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// The version it has.
        found: u32,
    },
    /// The system failed.
    #[error("{} cannot be {action}: {reason}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// `opened`, `read` or `written`.
        action: &'static str,
        /// What the system said.
        reason: String,
    },
}

impl Fault {
    pub(crate) fn io(path: &Path, action: &'static str, error: &io::Error) -> Self {
        Self::Io { path: path.to_owned(), action, reason: error.to_string() }
    }
}

impl From<Fault> for StoreError {
    fn from(fault: Fault) -> Self {
        match &fault {
            Fault::Damaged(_) | Fault::Newer { .. } => Self::Damaged(fault.to_string()),
            Fault::Io { .. } => Self::Unavailable(fault.to_string()),
        }
    }
}
