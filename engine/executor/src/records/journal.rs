//! The journal of an attempt, as entries of the store: what was recorded together is one, in the commit that does what the
//! calls change.
//!
//! Entries go with the commit that ends the attempt, unless they are kept for who wants to look at it later (`kept.rs`). They
//! are read by an attempt that is begun again, and by a replay. What a call gave is a blob when it is long, which goes with the
//! entries.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use yuanli_model::{AttemptId, Digest, Timestamp};
use yuanli_ports::blobs::Hold;
use yuanli_ports::journal::{AttemptJournal, JournalError, Outcome, Recorded, Staged, Value};
use yuanli_ports::store::{Batch, Entry, StoreError};

use super::Records;
use crate::blobs::commit_held_patiently;
use crate::executor::Error;
use crate::record::v2::Need;
use crate::record::v5::{Call, Calls};
use crate::record::v9::KeptJournal;
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
    /// Whether an engine before this one has begun the attempt, so that there can be calls that nobody has looked for yet.
    may_have_more: AtomicBool,
    /// What there may be of it.
    entries: Mutex<Entries>,
    /// How many bytes they have, about.
    bytes: AtomicU64,
    /// What nothing had to be recorded of, once the plugin has ended.
    rest: Mutex<Option<Rest>>,
}

/// What there may be of the journal of an attempt.
#[derive(Debug, Clone, Default)]
pub(crate) struct Entries {
    /// The first calls of its entries.
    firsts: BTreeSet<u32>,
    /// The blobs that they need.
    blobs: BTreeSet<Digest>,
}

/// See [`AttemptJournal::end`].
#[derive(Debug)]
struct Rest {
    calls: Vec<Recorded>,
    is_whole: bool,
}

/// What keeps the calls of an attempt beyond its end, for the commit of that.
#[derive(Debug)]
pub(crate) struct Keep {
    pub(crate) batch: Batch,
    pub(crate) holds: Vec<Hold>,
}

impl Journal {
    pub(crate) fn new(records: Records, attempt: AttemptId, is_again: bool) -> Arc<Self> {
        let (may_have_more, entries) = (AtomicBool::new(is_again), Mutex::default());
        let (bytes, rest) = (AtomicU64::default(), Mutex::default());
        Arc::new(Self { records, attempt, may_have_more, entries, bytes, rest })
    }

    /// What keeps the calls beyond the end of the attempt; `None` where no plugin was run.
    pub(crate) async fn keep_all(&self, ended: Timestamp) -> Result<Option<Keep>, JournalError> {
        let rest = self.rest.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Rest { calls, is_whole }) = rest else { return Ok(None) };
        let mut staged = Staged::default();
        self.stage(&calls, &mut staged).await?;
        let mark = KeptJournal::of(ended, self.bytes.load(Ordering::Relaxed), is_whole);
        let Staged { mut batch, holds, .. } = staged;
        batch.put(key::kept_journal(&self.attempt), envelope::seal(&mark));
        Ok(Some(Keep { batch, holds }))
    }

    /// Adds entries with these calls to what is to be committed.
    async fn stage(&self, calls: &[Recorded], staged: &mut Staged) -> Result<(), JournalError> {
        let mut rest = calls;
        while !rest.is_empty() {
            let (together, others) = rest.split_at(fitting(rest));
            rest = others;
            let mut stored = Vec::with_capacity(together.len());
            for recorded in together {
                let blob = self.keep(recorded, staged).await?;
                stored.push(Call::of(recorded, blob));
            }
            let bytes: usize = together.iter().map(whole_length).sum();
            self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
            let first = together[0].call.index;
            staged.batch.put(key::call(&self.attempt, first), envelope::seal(&Calls(stored)));
            // Before the commit: one that nobody waits for any more can still be done.
            self.note(first);
        }
        Ok(())
    }

    /// What there may be of it, once the attempt has ended.
    pub(crate) async fn entries(&self) -> Entries {
        if self.may_have_more.load(Ordering::Acquire)
            && let Err(error) = self.stored().await
        {
            tracing::warn!(attempt = %self.attempt, %error, "calls of an attempt are left; `yuanli admin check` finds them");
        }
        self.known().clone()
    }

    /// Whether nothing was recorded yet, also by an engine before this one.
    pub(crate) async fn is_empty(&self) -> Result<bool, Error> {
        if self.may_have_more.load(Ordering::Acquire) {
            self.stored().await?;
        }
        Ok(self.known().firsts.is_empty())
    }

    fn known(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, first: u32) {
        self.known().firsts.insert(first);
    }

    /// The entries, each with the number of its first call.
    async fn stored(&self) -> Result<Vec<(u32, Entry)>, Error> {
        let mut stored = Vec::new();
        for (key, entry) in self.records.all(key::calls(&self.attempt).as_bytes()).await? {
            let (_, first) = key::parse_call(&key)?;
            self.note(first);
            stored.push((first, entry));
        }
        if self.may_have_more.load(Ordering::Acquire) {
            let blobs = self.records.call_needs(key::call_needs(&self.attempt).as_bytes()).await?;
            self.known().blobs.extend(blobs.into_iter().map(|(_, blob)| blob));
        }
        if self.may_have_more.swap(false, Ordering::AcqRel) {
            // Those of an engine before this one.
            let bytes: usize = stored.iter().map(|(_, entry)| entry.value.len()).sum();
            self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        }
        Ok(stored)
    }

    async fn read(&self) -> Result<Vec<Recorded>, Error> {
        let mut calls = BTreeMap::new();
        for (first, entry) in self.stored().await? {
            let Calls(together) = envelope::open(&entry.value)?;
            calls.extend((first..).zip(together));
        }
        let mut recorded = Vec::with_capacity(calls.len());
        // What comes after one that is not there was not called: that would have been recorded with it.
        for (expected, (index, call)) in (1..).zip(calls) {
            if index != expected {
                break;
            }
            let blob = match call.blob() {
                Some(digest) => Some(self.records.blobs.read(digest).await?),
                None => None,
            };
            recorded.push(call.into_port(index, blob)?);
        }
        Ok(recorded)
    }

    /// Keeps what a call gave where it is too long for an entry, and adds to the batch that the calls need it.
    async fn keep(&self, recorded: &Recorded, staged: &mut Staged) -> Result<Option<Digest>, JournalError> {
        let Some(Outcome { value: Value::Told(bytes), .. }) = &recorded.outcome else { return Ok(None) };
        if bytes.len() <= MAX_INLINE_BYTES {
            return Ok(None);
        }
        let need = Need { bytes: bytes.len() as u64 };
        let kept = self.records.blobs.keep(bytes.clone()).await;
        let (digest, hold) = kept.map_err(|error| JournalError::Unkept(error.to_string()))?;
        staged.batch.put(key::call_need(&self.attempt, &digest), envelope::seal(&need));
        staged.batch.put(key::needed_by_calls(&digest, &self.attempt), Bytes::new());
        self.known().blobs.insert(digest);
        staged.holds.push(hold);
        Ok(Some(digest))
    }
}

#[async_trait]
impl AttemptJournal for Journal {
    async fn recorded(&self) -> Result<Vec<Recorded>, JournalError> {
        let unread =
            |error: Error| JournalError::Unkept(format!("what it has called cannot be read: {error}"));
        self.read().await.map_err(unread)
    }

    async fn record(&self, calls: Vec<Recorded>, mut staged: Staged) -> Result<(), JournalError> {
        self.stage(&calls, &mut staged).await?;
        let Staged { batch, holds, turn } = staged;
        // The time of the attempt bounds it.
        let outcome = commit_held_patiently(&self.attempt, &*self.records.store, batch, holds).await;
        drop(turn);
        outcome.map_err(|error| match error {
            Error::Store(StoreError::Conflict { .. }) => JournalError::Overtaken,
            other => JournalError::Unkept(other.to_string()),
        })
    }

    fn end(&self, calls: Vec<Recorded>, is_whole: bool) {
        *self.rest.lock().unwrap_or_else(PoisonError::into_inner) = Some(Rest { calls, is_whole });
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

/// About how long a call is, with what stands in a blob, in bytes.
fn whole_length(recorded: &Recorded) -> usize {
    let in_blob = match &recorded.outcome {
        Some(Outcome { value: Value::Told(bytes), .. }) if bytes.len() > MAX_INLINE_BYTES => bytes.len(),
        _ => 0,
    };
    length(recorded) + in_blob
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

/// Takes away what there may be of the journal of an attempt. Returns the blobs that are to be released once that is durable.
pub(crate) fn forget(batch: &mut Batch, attempt: &AttemptId, entries: Entries) -> Vec<Digest> {
    for first in entries.firsts {
        batch.delete(key::call(attempt, first));
    }
    for blob in &entries.blobs {
        batch.delete(key::call_need(attempt, blob));
        batch.delete(key::needed_by_calls(blob, attempt));
    }
    entries.blobs.into_iter().collect()
}
