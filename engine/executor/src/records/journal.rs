//! The journal of an attempt, as entries of the store: what was recorded together is one, in the commit that does what the
//! calls change.
//!
//! Entries go with the commit that ends the attempt. They are read only by an attempt that is begun again. What a call gave
//! is a blob when it is long, which the run needs until it is removed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::OnceCell;
use yuanli_model::{AttemptId, Digest};
use yuanli_ports::journal::{AttemptJournal, JournalError, Outcome, Recorded, Staged, Value};
use yuanli_ports::store::{Batch, StoreError};

use super::Records;
use crate::blobs::commit_held;
use crate::executor::Error;
use crate::record::v2::Need;
use crate::record::v5::{Call, Calls};
use crate::record::{envelope, key};

/// Longest value that stands in an entry, in bytes: small values are what stores are good at.
const MAX_INLINE_BYTES: usize = 8 * 1024;

/// Calls that are recorded together are several entries when they are longer than this, in bytes.
const MAX_ENTRY_BYTES: usize = 64 * 1024;
/// What an entry has of a call beside its texts: digests, times, lengths.
const CALL_BYTES: usize = 80;

/// See [`AttemptJournal`].
#[derive(Debug)]
pub(crate) struct Journal {
    records: Records,
    attempt: AttemptId,
    /// Whether an engine before this one has begun the attempt, so that there can be calls.
    is_again: bool,
    /// What it has called then, read when it is first asked for.
    before: OnceCell<BTreeMap<u32, Recorded>>,
    /// The first calls of the entries that there may be.
    entries: Mutex<BTreeSet<u32>>,
}

impl Journal {
    pub(crate) fn new(records: Records, attempt: AttemptId, is_again: bool) -> Arc<Self> {
        let (before, entries) = (OnceCell::new(), Mutex::default());
        Arc::new(Self { records, attempt, is_again, before, entries })
    }

    /// The first calls of the entries that there may be, once the attempt has ended.
    pub(crate) async fn entries(&self) -> Vec<u32> {
        if let Err(error) = self.before().await {
            tracing::warn!(attempt = %self.attempt, %error, "calls of an attempt are left; `yuanli admin check` finds them");
        }
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect()
    }

    /// Whether an engine before this one has recorded anything.
    pub(crate) async fn is_empty(&self) -> Result<bool, Error> {
        Ok(self.before().await?.is_empty())
    }

    fn note(&self, first: u32) {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).insert(first);
    }

    async fn before(&self) -> Result<&BTreeMap<u32, Recorded>, Error> {
        let read = async {
            if !self.is_again {
                return Ok(BTreeMap::new());
            }
            let mut before = BTreeMap::new();
            for (key, entry) in self.records.all(key::calls(&self.attempt).as_bytes()).await? {
                let (_, first) = key::parse_call(&key)?;
                let Calls(calls) = envelope::open(&entry.value)?;
                for (index, call) in (first..).zip(calls) {
                    let blob = match call.blob() {
                        Some(digest) => Some(self.records.blobs.read(digest).await?),
                        None => None,
                    };
                    before.insert(index, call.into_port(index, blob)?);
                }
                self.note(first);
            }
            Ok(before)
        };
        self.before.get_or_try_init(|| read).await
    }

    /// Keeps what a call gave where it is too long for an entry, and adds to the batch that the run needs it.
    async fn keep(&self, recorded: &Recorded, staged: &mut Staged) -> Result<Option<Digest>, JournalError> {
        let Some(Outcome { value: Value::Told(bytes), .. }) = &recorded.outcome else { return Ok(None) };
        if bytes.len() <= MAX_INLINE_BYTES {
            return Ok(None);
        }
        let need = Need { bytes: bytes.len() as u64 };
        let kept = self.records.blobs.keep(bytes.clone()).await;
        let (digest, hold) = kept.map_err(|error| JournalError::Unkept(error.to_string()))?;
        staged.batch.put(key::need(self.attempt.run, &digest), envelope::seal(&need));
        staged.batch.put(key::needed(&digest, self.attempt.run), Bytes::new());
        staged.holds.push(hold);
        Ok(Some(digest))
    }
}

#[async_trait]
impl AttemptJournal for Journal {
    async fn recorded(&self, index: u32) -> Result<Option<Recorded>, JournalError> {
        let unread =
            |error: Error| JournalError::Unkept(format!("what it has called cannot be read: {error}"));
        Ok(self.before().await.map_err(unread)?.get(&index).cloned())
    }

    async fn record(&self, calls: Vec<Recorded>, mut staged: Staged) -> Result<(), JournalError> {
        let mut rest = calls.as_slice();
        while !rest.is_empty() {
            let (together, others) = rest.split_at(fitting(rest));
            rest = others;
            let mut stored = Vec::with_capacity(together.len());
            for recorded in together {
                let blob = self.keep(recorded, &mut staged).await?;
                stored.push(Call::of(recorded, blob));
            }
            let first = together[0].call.index;
            staged.batch.put(key::call(&self.attempt, first), envelope::seal(&Calls(stored)));
            // Before the commit: one that nobody waits for any more can still be done.
            self.note(first);
        }
        let Staged { batch, holds, turn } = staged;
        let outcome = commit_held(&*self.records.store, batch, holds).await;
        drop(turn);
        outcome.map_err(|error| match error {
            StoreError::Conflict { .. } => JournalError::Overtaken,
            other => JournalError::Unkept(other.to_string()),
        })
    }
}

/// How many of these calls, at least one, go into one entry: those that follow each other, and no more than fit.
fn fitting(calls: &[Recorded]) -> usize {
    let mut bytes = 0;
    let fits = |(position, recorded): &(usize, &Recorded)| {
        bytes += length(recorded);
        let follows = recorded.call.index == calls[0].call.index + *position as u32;
        *position == 0 || (follows && bytes <= MAX_ENTRY_BYTES)
    };
    calls.iter().enumerate().take_while(fits).count()
}

/// About how long a call is in an entry, in bytes.
fn length(Recorded { call, outcome, .. }: &Recorded) -> usize {
    let of_call = CALL_BYTES + call.function.len() + call.shown.len();
    let Some(Outcome { value, lines }) = outcome else { return of_call };
    let of_value = match value {
        Value::Told(bytes) if bytes.len() <= MAX_INLINE_BYTES => bytes.len(),
        Value::Told(_) | Value::Withheld(_) => 0,
    };
    of_call + of_value + lines.iter().map(|(_, line)| line.len()).sum::<usize>()
}

/// Takes the entries of an attempt away that begin with these calls.
pub(crate) fn forget(batch: &mut Batch, attempt: &AttemptId, entries: &[u32]) {
    for first in entries {
        batch.delete(key::call(attempt, *first));
    }
}
