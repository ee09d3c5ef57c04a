//! Logs of attempts: written once, in order, followed while they grow.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use yuanli_model::{AttemptId, LogLine, RunId};

/// Longest log that is kept with the attempt's end in the store; a longer one has a file of its own.
pub const MAX_INLINE_BYTES: usize = 8 * 1024;

/// Why a log cannot be written or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// The file under it failed.
    #[error("the log of {attempt} cannot be {action}: {reason}")]
    Io {
        /// Whose log.
        attempt: Box<AttemptId>,
        /// `written` or `read`.
        action: &'static str,
        /// What the system said.
        reason: String,
    },
    /// What is stored is no log.
    #[error("the log of {attempt} is damaged at byte {offset}")]
    Damaged {
        /// Whose log.
        attempt: Box<AttemptId>,
        /// Where the first unreadable line begins.
        offset: u64,
    },
}

/// Where the log of an ended attempt is kept. Goes into the commit that ends the attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoredLog {
    /// These bytes, at most [`MAX_INLINE_BYTES`].
    Inline(Bytes),
    /// A file of this many bytes, synced to the device.
    File {
        /// Its size.
        bytes: u64,
    },
}

/// Lines of a log and where to go on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogPage {
    /// The lines, in order.
    pub lines: Vec<LogLine>,
    /// The offset in bytes of the line after the last one.
    pub next: u64,
}

/// The logs of all attempts.
#[async_trait]
pub trait Logs: Send + Sync + std::fmt::Debug {
    /// The log of an attempt that begins now. Until it is finished it can be read by [`Self::read`] with `None`.
    fn open(&self, attempt: &AttemptId) -> Arc<dyn AttemptLog>;

    /// Lines from `offset` (0 or a [`LogPage::next`]), about `max_bytes` of them; no lines at the end.
    /// `stored` says where the log of an ended attempt is; `None` reads one that is still open here.
    ///
    /// # Errors
    /// See [`LogError`].
    async fn read(
        &self,
        attempt: &AttemptId,
        stored: Option<&StoredLog>,
        offset: u64,
        max_bytes: usize,
    ) -> Result<LogPage, LogError>;

    /// Makes durable what an engine before this one has left of the long log of an attempt that nobody ends any more.
    /// `None` when it left none.
    ///
    /// # Errors
    /// See [`LogError`].
    async fn adopt(&self, attempt: &AttemptId) -> Result<Option<StoredLog>, LogError>;

    /// That an ended log is there to its last byte, which has this offset. Cheap; what lies before is not read.
    ///
    /// # Errors
    /// See [`LogError`].
    async fn check(&self, attempt: &AttemptId, stored: &StoredLog, last: u64) -> Result<(), LogError>;

    /// Where a line of an ended log begins, counted from 0, as an offset for [`Self::read`]; the end of the log where it
    /// has not so many.
    ///
    /// # Errors
    /// See [`LogError`].
    async fn line(&self, attempt: &AttemptId, stored: &StoredLog, line: u64) -> Result<u64, LogError>;

    /// Makes the long logs of a run small, once all of them have ended. Offsets go on meaning the same.
    ///
    /// # Errors
    /// What the file system says; what could not be packed can still be read.
    async fn pack(&self, run: RunId) -> std::io::Result<()>;

    /// Removes the long logs of a run that nobody needs any more. Nothing happens when there are none.
    ///
    /// # Errors
    /// What the file system says.
    async fn remove(&self, run: RunId) -> std::io::Result<()>;

    /// The runs that have long logs, whoever knows of them.
    ///
    /// # Errors
    /// What the file system says.
    async fn runs(&self) -> std::io::Result<Vec<RunId>>;
}

/// The log of one attempt while it runs.
#[async_trait]
pub trait AttemptLog: Send + Sync + std::fmt::Debug {
    /// Adds a line. Cheap; an error of the file under it is kept for [`Self::finish`]. Lines over the cap of the
    /// implementation are counted and left out, and the last line says so.
    fn append(&self, line: LogLine);

    /// Waits until there is more than `offset` bytes, or the log is finished. Returns the length in bytes.
    async fn grown(&self, offset: u64) -> u64;

    /// Makes the log durable and says where it is kept. Lines added later are dropped. Where the disk fails, what
    /// is in memory is kept, behind a line that says what is missing and why.
    ///
    /// # Errors
    /// See [`LogError`].
    async fn finish(&self) -> Result<StoredLog, LogError>;
}
