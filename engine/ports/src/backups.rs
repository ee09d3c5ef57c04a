//! Backups: snapshots of folders in repositories.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use yuanli_model::Timestamp;

use crate::Cancellation;

/// Where snapshots go: an encrypted, deduplicated repository in restic's format.
#[derive(Clone, PartialEq, Eq)]
pub struct Repository {
    /// A folder of this machine; absolute.
    pub path: PathBuf,
    /// What it is encrypted with.
    pub password: String,
}

impl std::fmt::Debug for Repository {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Repository").field("path", &self.path).finish_non_exhaustive()
    }
}

/// What to keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupRequest {
    /// The folder whose content is kept.
    pub folder: PathBuf,
    /// The path under which the snapshot shows it, such as `/volumes/shop-data`: the same in every snapshot of it.
    pub shown_as: String,
    /// Marks of the snapshot, such as `volume=shop-data` and the operation's id.
    pub tags: Vec<String>,
    /// The time that the snapshot carries.
    pub time: Timestamp,
}

/// One backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Its id, 64 hexadecimal digits; restic's.
    pub id: String,
    /// When it was taken.
    pub time: Timestamp,
    /// Its marks, sorted.
    pub tags: Vec<String>,
    /// How many files it holds.
    pub files: u64,
    /// How many bytes they have.
    pub bytes: u64,
    /// How many bytes of the repository are new because of it.
    pub added_bytes: u64,
}

/// What a restore has written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restored {
    /// How many files.
    pub files: u64,
    /// How many bytes they have.
    pub bytes: u64,
}

/// Why a backup or a restore was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BackupError {
    /// The request is wrong and will stay so: no such folder, no such snapshot.
    #[error("{0}")]
    Invalid(String),
    /// The password is not the repository's.
    #[error("{0}")]
    WrongPassword(String),
    /// Somebody else works on the repository; trying again may help.
    #[error("{0}")]
    Busy(String),
    /// What is in the repository cannot be read.
    #[error("{0}")]
    Damaged(String),
    /// The file system failed: no room, no permission.
    #[error("{0}")]
    Local(String),
    /// It was asked to stop.
    #[error("cancelled")]
    Cancelled,
}

/// Keeps snapshots. One writer to a repository at a time; a second one gets [`BackupError::Busy`].
#[async_trait]
pub trait Backups: Send + Sync + std::fmt::Debug {
    /// Takes a snapshot of a folder; the repository is made when it is not there. A file that cannot be read fails the
    /// whole: there is no snapshot that holds a part.
    ///
    /// # Errors
    /// See [`BackupError`].
    async fn back_up(
        &self,
        repository: &Repository,
        request: &BackupRequest,
        cancel: &Cancellation,
    ) -> Result<Snapshot, BackupError>;

    /// The snapshots that carry all of these tags, oldest first. A repository that is not there has none.
    ///
    /// # Errors
    /// See [`BackupError`].
    async fn list(&self, repository: &Repository, tags: &[String]) -> Result<Vec<Snapshot>, BackupError>;

    /// Reads a snapshot back from the repository, every byte, and compares it with its checksums.
    ///
    /// # Errors
    /// [`BackupError::Damaged`] with what is wrong; see [`BackupError`].
    async fn verify(
        &self,
        repository: &Repository,
        snapshot: &str,
        cancel: &Cancellation,
    ) -> Result<Restored, BackupError>;

    /// Writes a snapshot's files with their owners, modes and times into a folder, which has to be empty, and reads
    /// them once more to compare them.
    ///
    /// # Errors
    /// See [`BackupError`]; the folder may then hold a part.
    async fn restore(
        &self,
        repository: &Repository,
        snapshot: &str,
        into: &Path,
        cancel: &Cancellation,
    ) -> Result<Restored, BackupError>;
}
