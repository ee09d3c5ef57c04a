//! A store in memory, for tests and for engines that need not remember.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{PoisonError, RwLock};

use async_trait::async_trait;
use yuanli_ports::Store;
use yuanli_ports::store::{Batch, Entry, Key, Range, Revision, StoreError, Write};

use crate::rules;

/// A store in memory.
#[derive(Debug, Default)]
pub struct Memory {
    state: RwLock<State>,
}

#[derive(Debug, Default)]
struct State {
    entries: BTreeMap<Key, Entry>,
    revision: u64,
}

#[async_trait]
impl Store for Memory {
    async fn commit(&self, batch: Batch) -> Result<Revision, StoreError> {
        rules::check(&batch)?;
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        rules::judge(&batch, |key| Ok(state.entries.get(key).map(|entry| entry.revision)))?;
        state.revision += 1;
        let revision = Revision(state.revision);
        for write in batch.writes {
            match write {
                Write::Put(key, value) => state.entries.insert(key, Entry { value, revision }),
                Write::Delete(key) => state.entries.remove(&key),
            };
        }
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
