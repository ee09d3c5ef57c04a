//! The store: ordered byte keys, one atomic durable commit at a time.
//!
//! Nothing in here asks for more than one SQL transaction with compare-and-set could give.

use std::ops::{Bound, RangeBounds as _};

use async_trait::async_trait;
use bytes::Bytes;

/// Largest value in bytes: the outputs of a stage (1 MiB) with its config fit. Larger things are files beside the
/// store.
pub const MAX_VALUE_BYTES: usize = 4 * 1024 * 1024;

/// Longest key in bytes.
pub const MAX_KEY_BYTES: usize = 1024;

/// The position of a commit in the order of all commits of a store; the first is 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

/// An ordered key: compared byte by byte.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Bytes);

impl Key {
    /// A key of these bytes.
    pub fn new(bytes: impl Into<Bytes>) -> Self {
        Self(bytes.into())
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// What must hold when a batch is applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Precondition {
    /// The key has no value.
    Absent(Key),
    /// The key's value was written by this commit.
    Unchanged(Key, Revision),
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// Give the key this value.
    Put(Key, Bytes),
    /// Take the key's value away; nothing happens when there is none.
    Delete(Key),
}

/// Changes that happen together, or not at all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// All must hold, judged on the state before this batch and after every earlier one.
    pub preconditions: Vec<Precondition>,
    /// Applied in order.
    pub writes: Vec<Write>,
}

impl Batch {
    /// Adds a [`Precondition::Absent`].
    pub fn require_absent(&mut self, key: Key) -> &mut Self {
        self.preconditions.push(Precondition::Absent(key));
        self
    }

    /// Adds a [`Precondition::Unchanged`].
    pub fn require_unchanged(&mut self, key: Key, revision: Revision) -> &mut Self {
        self.preconditions.push(Precondition::Unchanged(key, revision));
        self
    }

    /// Adds a [`Write::Put`].
    pub fn put(&mut self, key: Key, value: impl Into<Bytes>) -> &mut Self {
        self.writes.push(Write::Put(key, value.into()));
        self
    }

    /// Adds a [`Write::Delete`].
    pub fn delete(&mut self, key: Key) -> &mut Self {
        self.writes.push(Write::Delete(key));
        self
    }
}

/// A value and the commit that wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The value.
    pub value: Bytes,
    /// The commit that wrote it.
    pub revision: Revision,
}

/// A part of the keys, in one direction, a page at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    /// Where it begins, in key order.
    pub start: Bound<Key>,
    /// Where it ends, in key order.
    pub end: Bound<Key>,
    /// Whether the last key comes first.
    pub is_reverse: bool,
    /// The most entries in an answer. To go on, ask again from the last key, excluded.
    pub limit: usize,
}

impl Range {
    /// All keys that begin with `prefix`, ascending, at most `limit`.
    #[must_use]
    pub fn prefix(prefix: &[u8], limit: usize) -> Self {
        let start = Bound::Included(Key::new(prefix.to_vec()));
        let mut end = prefix.to_vec();
        while end.last() == Some(&u8::MAX) {
            end.pop();
        }
        let end = match end.last_mut() {
            Some(last) => {
                *last += 1;
                Bound::Excluded(Key::new(end))
            }
            None => Bound::Unbounded,
        };
        Self { start, end, is_reverse: false, limit }
    }

    /// Whether a key lies in it.
    #[must_use]
    pub fn contains(&self, key: &Key) -> bool {
        (self.start.as_ref(), self.end.as_ref()).contains(key)
    }

    /// The same part, last key first.
    #[must_use]
    pub fn reversed(mut self) -> Self {
        self.is_reverse = !self.is_reverse;
        self
    }

    /// The part of it that comes after `key` in its direction.
    #[must_use]
    pub fn after(mut self, key: Key) -> Self {
        if self.is_reverse {
            self.end = Bound::Excluded(key);
        } else {
            self.start = Bound::Excluded(key);
        }
        self
    }
}

/// What one commit changed, of what is watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The commit.
    pub revision: Revision,
    /// Its writes to the watched keys, in order; never empty.
    pub writes: Vec<Write>,
}

/// Changes as they are committed: each once, in order, none left out.
#[async_trait]
pub trait Watch: Send + std::fmt::Debug {
    /// The next change; waits for it. Dropping the future loses nothing.
    ///
    /// # Errors
    /// [`StoreError::Forgotten`] when whoever watches has fallen behind what the store keeps; see [`StoreError`].
    async fn next(&mut self) -> Result<Change, StoreError>;
}

/// Why a store did not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// A precondition did not hold; nothing of the batch was applied.
    #[error("somebody else changed the data in between")]
    Conflict {
        /// The first precondition that did not hold.
        precondition: Precondition,
    },
    /// The batch is against the rules of the store, such as [`MAX_VALUE_BYTES`]; nothing of it was applied.
    #[error("the store does not take this: {0}")]
    Refused(String),
    /// The store takes no more for now, such as on a disk that is full; nothing of the batch was applied. It goes on by
    /// itself when the cause is gone.
    #[error("the store takes no more for now: {0}")]
    Exhausted(String),
    /// Changes from before this revision are not kept any more: read the state, and watch from there.
    #[error("changes before commit {} are not kept any more", .0.0)]
    Forgotten(Revision),
    /// The disk or the file under the store failed. What was acknowledged stays; whether *this* batch will be found
    /// after a restart cannot be known.
    #[error("the store cannot write: {0}")]
    Unavailable(String),
    /// What is stored cannot be read.
    #[error("the store is damaged: {0}")]
    Damaged(String),
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}

/// An ordered key-value store with atomic durable commits.
#[async_trait]
pub trait Store: Send + Sync + std::fmt::Debug {
    /// Applies the batch and returns once it is durable. Commits of concurrent callers share one sync to the device.
    ///
    /// Dropping the future does not take the batch back.
    ///
    /// # Errors
    /// See [`StoreError`].
    async fn commit(&self, batch: Batch) -> Result<Revision, StoreError>;

    /// The value of a key, as of the last durable commit or a later one.
    ///
    /// # Errors
    /// See [`StoreError`].
    async fn get(&self, key: &Key) -> Result<Option<Entry>, StoreError>;

    /// The entries of a range, in its direction, at most its limit.
    ///
    /// # Errors
    /// See [`StoreError`].
    async fn scan(&self, range: Range) -> Result<Vec<(Key, Entry)>, StoreError>;

    /// The revision of the last durable commit; 0 before the first.
    ///
    /// # Errors
    /// See [`StoreError`].
    async fn revision(&self) -> Result<Revision, StoreError>;

    /// The changes of keys that begin with `prefix`, by the commits after `after`. To follow a state without a gap:
    /// take the [`Self::revision`], read, watch from that revision; what is seen twice is harmless.
    ///
    /// # Errors
    /// [`StoreError::Forgotten`], and see [`StoreError`].
    async fn watch(&self, prefix: &[u8], after: Revision) -> Result<Box<dyn Watch>, StoreError>;
}

/// Entries that [`scan_all`] asks for at once.
const PAGE: usize = 256;

/// All entries that begin with `prefix`, ascending, read page by page: what changes meanwhile is seen or not. They are held
/// together, so this is for what is few or has to be held anyway.
///
/// # Errors
/// See [`StoreError`].
pub async fn scan_all(store: &dyn Store, prefix: &[u8]) -> Result<Vec<(Key, Entry)>, StoreError> {
    let mut found = Vec::new();
    let mut range = Range::prefix(prefix, PAGE);
    loop {
        let page = store.scan(range.clone()).await?;
        let is_last = page.len() < PAGE;
        found.extend(page);
        match found.last() {
            Some((last, _)) if !is_last => range = range.after(last.clone()),
            _ => return Ok(found),
        }
    }
}
