//! A store in memory, for tests and for engines that need not remember.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use async_trait::async_trait;
use yuanli_ports::store::{Batch, Change, Entry, Key, Range, Revision, StoreError, Write};
use yuanli_ports::{Store, Watch};

use crate::feed::{Feed, Past};
use crate::rules;

/// Commits that can still be watched from.
const KEPT_COMMITS: usize = 4096;

/// A store in memory.
#[derive(Debug)]
pub struct Memory {
    state: RwLock<State>,
    feed: Arc<Feed>,
    kept: Kept,
}

#[derive(Debug, Default)]
struct State {
    entries: BTreeMap<Key, Entry>,
    revision: u64,
}

/// The last commits.
#[derive(Debug, Clone, Default)]
struct Kept(Arc<Mutex<VecDeque<Change>>>);

impl Default for Memory {
    fn default() -> Self {
        let kept = Kept::default();
        let feed = Arc::new(Feed::new(0, Box::new(kept.clone())));
        Self { state: RwLock::default(), feed, kept }
    }
}

impl Past for Kept {
    fn read(&self, after: u64, _: u64) -> Result<Vec<Change>, StoreError> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let oldest = kept.front().map_or(Revision(1), |change| change.revision);
        if after + 1 < oldest.0 {
            return Err(StoreError::Forgotten(oldest));
        }
        Ok(kept.iter().filter(|change| change.revision.0 > after).cloned().collect())
    }
}

impl Kept {
    fn add(&self, revision: Revision, writes: &[Write]) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push_back(Change { revision, writes: writes.to_vec() });
        if kept.len() > KEPT_COMMITS {
            kept.pop_front();
        }
    }
}

#[async_trait]
impl Store for Memory {
    async fn commit(&self, batch: Batch) -> Result<Revision, StoreError> {
        rules::check(&batch)?;
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        rules::judge(&batch, |key| Ok(state.entries.get(key).map(|entry| entry.revision)))?;
        state.revision += 1;
        let revision = Revision(state.revision);
        self.kept.add(revision, &batch.writes);
        let commit = [(revision, batch.writes)];
        self.feed.note(&commit);
        let [(_, writes)] = commit;
        for write in writes {
            match write {
                Write::Put(key, value) => state.entries.insert(key, Entry { value, revision }),
                Write::Delete(key) => state.entries.remove(&key),
            };
        }
        self.feed.tell(revision.0);
        Ok(revision)
    }

    async fn get(&self, key: &Key) -> Result<Option<Entry>, StoreError> {
        Ok(self.state.read().unwrap_or_else(PoisonError::into_inner).entries.get(key).cloned())
    }

    async fn scan(&self, range: Range) -> Result<Vec<(Key, Entry)>, StoreError> {
        if is_empty(&range) {
            return Ok(Vec::new());
        }
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let entries =
            state.entries.range((range.start, range.end)).map(|(key, entry)| (key.clone(), entry.clone()));
        Ok(if range.is_reverse {
            entries.rev().take(range.limit).collect()
        } else {
            entries.take(range.limit).collect()
        })
    }

    async fn revision(&self) -> Result<Revision, StoreError> {
        Ok(Revision(self.feed.latest()))
    }

    async fn watch(&self, prefix: &[u8], after: Revision) -> Result<Box<dyn Watch>, StoreError> {
        Ok(self.feed.watch(prefix, after))
    }
}

/// Whether a range ends before it begins, which `BTreeMap` answers with a panic.
pub(crate) fn is_empty(range: &Range) -> bool {
    match (&range.start, &range.end) {
        (Bound::Included(start), Bound::Included(end)) => start > end,
        (Bound::Included(start) | Bound::Excluded(start), Bound::Excluded(end))
        | (Bound::Excluded(start), Bound::Included(end)) => start >= end,
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
    }
}
