//! The calls of attempts that have ended, kept for who wants to look at one of them again.
//!
//! They are the entries that the attempt has made, which do not go with its end; a mark says so. They go when there are too
//! many, when they are too old, and with their run.

use std::time::Duration;

use yuanli_model::{AttemptId, RunId, Timestamp};
use yuanli_ports::AttemptJournal as _;
use yuanli_ports::journal::Recorded;
use yuanli_ports::store::Batch;

use super::{Journal, Records};
use crate::executor::Error;
use crate::record::v9::KeptJournal;
use crate::record::{envelope, key};

/// Most attempts whose calls are kept: all of them are looked at to find out which go.
const MOST: usize = 10_000;
/// Attempts whose calls one commit removes.
const STEP: usize = 64;

/// Of which attempts the calls are kept once they have ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Journals {
    /// Of none.
    #[default]
    None,
    /// Of those that failed.
    Failed,
    /// Of all of them. Each one that calls anything is a little slower for it.
    All,
}

/// How many calls are kept, and how long. What is exceeded removes those of the oldest attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JournalBounds {
    /// Of which attempts. Default: none.
    pub which: Journals,
    /// Counted from the end of an attempt. Default 7 days.
    pub age: Duration,
    /// The most bytes of all of them together. Default 256 MiB.
    pub bytes: u64,
}

impl Default for JournalBounds {
    fn default() -> Self {
        Self { which: Journals::None, age: Duration::from_secs(7 * 24 * 60 * 60), bytes: 256 * 1024 * 1024 }
    }
}

/// That the calls of an attempt are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptCalls {
    /// The attempt.
    pub attempt: AttemptId,
    /// When it ended.
    pub ended: Timestamp,
    /// About how many bytes they have.
    pub bytes: u64,
    /// Whether the plugin itself came to its end, so that the same calls lead to the same end.
    pub is_whole: bool,
}

impl Records {
    /// The attempts of a run whose calls are kept, in the order of their stages.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn kept_calls(&self, run: RunId) -> Result<Vec<KeptCalls>, Error> {
        self.kept_among(key::kept_journals(run).as_bytes()).await
    }

    /// The same of all runs.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn all_kept_calls(&self) -> Result<Vec<KeptCalls>, Error> {
        self.kept_among(&key::KEPT_JOURNALS).await
    }

    async fn kept_among(&self, prefix: &[u8]) -> Result<Vec<KeptCalls>, Error> {
        let mut kept = Vec::new();
        for (key, entry) in self.all(prefix).await? {
            let attempt = key::parse_kept_journal(&key)?;
            let mark: KeptJournal = envelope::open(&entry.value)?;
            let (ended, bytes, is_whole) = (mark.ended(), mark.bytes, mark.is_whole);
            kept.push(KeptCalls { attempt, ended, bytes, is_whole });
        }
        Ok(kept)
    }

    /// The calls of an attempt, in order.
    ///
    /// # Errors
    /// What cannot be read.
    pub async fn calls(
        &self,
        attempt: &AttemptId,
    ) -> Result<Vec<Recorded>, yuanli_ports::journal::JournalError> {
        Journal::new(self.clone(), attempt.clone(), true).recorded().await
    }

    /// Removes calls until the rest is within bounds.
    pub(crate) async fn bound_kept(&self, bounds: JournalBounds) -> Result<(), Error> {
        let now = self.clock.now();
        let mut kept = self.all_kept_calls().await?;
        kept.sort_by_key(|kept| kept.ended);
        let (mut count, mut bytes) = (kept.len(), kept.iter().map(|kept| kept.bytes).sum::<u64>());
        let mut over = Vec::new();
        for KeptCalls { attempt, ended, bytes: own, .. } in kept {
            if ended.after(bounds.age) > now && bytes <= bounds.bytes && count <= MOST {
                break;
            }
            (count, bytes) = (count - 1, bytes - own);
            over.push(attempt);
        }
        for some in over.chunks(STEP) {
            let (mut batch, mut blobs) = (Batch::default(), Vec::new());
            for attempt in some {
                blobs.extend(self.forget_left(attempt, &mut batch).await?);
                batch.delete(key::kept_journal(attempt));
            }
            self.store.commit(batch).await?;
            self.release(&blobs).await;
        }
        Ok(())
    }
}
