//! What is newer than the index: every commit since the last checkpoint, in memory, over sled.
//!
//! Three layers, newest first: *active*, which commits are added to; *frozen*, which is being written to the index;
//! the index. A reader looks into memory and then, without any lock that a commit needs, into the index. Writing the
//! frozen layer changes nothing that a reader sees, as long as the reader has looked into that layer too: see
//! [`Table::freeze`].

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use yuanli_ports::store::{Entry, Key, Range, Revision, StoreError, Write};

use super::index::Index;
use crate::memory::is_empty;

/// What a layer says of a key: its entry, or that it was deleted.
pub(crate) type Layer = BTreeMap<Key, Option<Entry>>;

/// Bytes that an entry takes in memory beside its key and value: nodes, handles, allocations.
const ENTRY_BYTES: usize = 128;

/// The state of a store.
#[derive(Debug)]
pub(crate) struct Table {
    layers: RwLock<Layers>,
    /// Held by scans, and taken by whoever is about to change the index: so that no scan sees half of a change.
    gate: RwLock<()>,
}

#[derive(Debug)]
struct Layers {
    active: Layer,
    active_bytes: usize,
    frozen: Option<Arc<Layer>>,
    index: Lower,
    revision: u64,
}

/// What lies under the layers in memory.
#[derive(Debug, Clone)]
pub(crate) enum Lower {
    /// Nothing yet: memory holds all there is.
    Nothing,
    /// This.
    Index(Index),
    /// It failed, for this reason, and is not made again yet.
    Lost(String),
}

impl Lower {
    fn index(self) -> Result<Option<Index>, StoreError> {
        match self {
            Self::Nothing => Ok(None),
            Self::Index(index) => Ok(Some(index)),
            Self::Lost(reason) => {
                Err(StoreError::Unavailable(format!("the index is being made again: {reason}")))
            }
        }
    }
}

impl Table {
    /// What an index holds, and what was committed after it.
    pub(crate) fn new(index: Lower, revision: u64) -> Self {
        let layers = Layers { active: Layer::new(), active_bytes: 0, frozen: None, index, revision };
        Self { layers: RwLock::new(layers), gate: RwLock::default() }
    }

    /// The revision of the last commit that can be read.
    pub(crate) fn revision(&self) -> u64 {
        self.read().revision
    }

    /// Bytes of memory that the active layer takes, about.
    pub(crate) fn active_bytes(&self) -> usize {
        self.read().active_bytes
    }

    /// Makes commits readable.
    pub(crate) fn apply(&self, commits: impl IntoIterator<Item = (Revision, Vec<Write>)>) {
        let mut layers = self.write();
        for (revision, writes) in commits {
            layers.revision = revision.0;
            for write in writes {
                let (key, entry) = match write {
                    Write::Put(key, value) => (key, Some(Entry { value, revision })),
                    Write::Delete(key) => (key, None),
                };
                layers.put(key, entry);
            }
        }
    }

    pub(crate) fn get(&self, key: &Key) -> Result<Option<Entry>, StoreError> {
        let index = {
            let layers = self.read();
            if let Some(found) = layers.in_memory(key) {
                return Ok(found.clone());
            }
            layers.index.clone()
        };
        index.index()?.map_or(Ok(None), |index| index.get(key))
    }

    /// The commit that wrote a key's value.
    pub(crate) fn written(&self, key: &Key) -> Result<Option<Revision>, StoreError> {
        Ok(self.get(key)?.map(|entry| entry.revision))
    }

    pub(crate) fn scan(&self, range: Range) -> Result<Vec<(Key, Entry)>, StoreError> {
        if is_empty(&range) || range.limit == 0 {
            return Ok(Vec::new());
        }
        let _gate = self.gate.read().unwrap_or_else(PoisonError::into_inner);
        let (newer, index) = {
            let layers = self.read();
            (layers.part(&range), layers.index.clone())
        };
        let (is_reverse, limit) = (range.is_reverse, range.limit);
        let older = match index.index()? {
            Some(index) => Either::Left(index.scan(range)),
            None => Either::Right(std::iter::empty()),
        };
        Merged { newer: newer.into_iter().peekable(), older: older.peekable(), is_reverse }
            .take(limit)
            .collect()
    }

    /// Makes the active layer the frozen one and returns it with the revision of its last commit. `None` while there
    /// is still a frozen layer.
    ///
    /// Returns when no scan is left that has not seen the layer: from then on it may be written to the index, in any
    /// order and in parts, and nobody can tell.
    pub(crate) fn freeze(&self) -> Option<(Arc<Layer>, u64)> {
        let (frozen, revision) = {
            let mut layers = self.write();
            if layers.frozen.is_some() {
                return None;
            }
            layers.active_bytes = 0;
            let frozen = Arc::new(std::mem::take(&mut layers.active));
            layers.frozen = Some(Arc::clone(&frozen));
            (frozen, layers.revision)
        };
        drop(self.gate.write().unwrap_or_else(PoisonError::into_inner));
        Some((frozen, revision))
    }

    /// Forgets the frozen layer, which the index holds now.
    pub(crate) fn thaw(&self, index: Index) {
        let mut layers = self.write();
        layers.index = Lower::Index(index);
        layers.frozen = None;
    }

    /// What lies under the layers.
    pub(crate) fn lower(&self) -> Lower {
        self.read().index.clone()
    }

    /// Puts something else under the layers, and gives back what was there once no scan uses it.
    pub(crate) fn set_lower(&self, lower: Lower) -> Lower {
        let old = std::mem::replace(&mut self.write().index, lower);
        drop(self.gate.write().unwrap_or_else(PoisonError::into_inner));
        old
    }

    fn read(&self) -> RwLockReadGuard<'_, Layers> {
        self.layers.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Layers> {
        self.layers.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Layers {
    fn put(&mut self, key: Key, entry: Option<Entry>) {
        let bytes = |entry: &Option<Entry>| entry.as_ref().map_or(0, |entry| entry.value.len());
        let new = bytes(&entry);
        let key_bytes = key.as_bytes().len();
        match self.active.insert(key, entry) {
            Some(old) => self.active_bytes = self.active_bytes + new - bytes(&old),
            None => self.active_bytes += ENTRY_BYTES + key_bytes + new,
        }
    }

    fn in_memory(&self, key: &Key) -> Option<&Option<Entry>> {
        self.active.get(key).or_else(|| self.frozen.as_ref()?.get(key))
    }

    /// What memory says of a range, in its direction: at least as much as an answer with its limit can need.
    fn part(&self, range: &Range) -> Vec<(Key, Option<Entry>)> {
        let bounds = || (range.start.clone(), range.end.clone());
        let empty = Layer::new();
        let frozen = self.frozen.as_deref().unwrap_or(&empty);
        let (active, frozen) = (self.active.range(bounds()), frozen.range(bounds()));
        let own = |(key, entry): (&Key, &Option<Entry>)| (key.clone(), entry.clone());
        let mut puts = 0;
        // Up to the entry that fills the answer; what lies beyond cannot be in it.
        let is_wanted = move |(_, entry): &(Key, Option<Entry>)| {
            let is_wanted = puts < range.limit;
            puts += usize::from(entry.is_some());
            is_wanted
        };
        if range.is_reverse {
            let layers =
                Overlaid { newer: active.rev().peekable(), older: frozen.rev().peekable(), is_reverse: true };
            layers.map(own).take_while(is_wanted).collect()
        } else {
            let layers = Overlaid { newer: active.peekable(), older: frozen.peekable(), is_reverse: false };
            layers.map(own).take_while(is_wanted).collect()
        }
    }
}

/// Which of two sources the next key comes from, in a direction; on a tie, both.
fn next_is(newer: Option<&Key>, older: Option<&Key>, is_reverse: bool) -> Option<std::cmp::Ordering> {
    use std::cmp::Ordering::{Greater, Less};
    match (newer, older) {
        (Some(newer), Some(older)) if is_reverse => Some(older.cmp(newer)),
        (Some(newer), Some(older)) => Some(newer.cmp(older)),
        (Some(_), None) => Some(Less),
        (None, Some(_)) => Some(Greater),
        (None, None) => None,
    }
}

/// Two layers as one.
struct Overlaid<N: Iterator, O: Iterator> {
    newer: Peekable<N>,
    older: Peekable<O>,
    is_reverse: bool,
}

impl<'a, N, O> Iterator for Overlaid<N, O>
where
    N: Iterator<Item = (&'a Key, &'a Option<Entry>)>,
    O: Iterator<Item = (&'a Key, &'a Option<Entry>)>,
{
    type Item = (&'a Key, &'a Option<Entry>);

    fn next(&mut self) -> Option<Self::Item> {
        let order =
            next_is(self.newer.peek().map(|(k, _)| *k), self.older.peek().map(|(k, _)| *k), self.is_reverse);
        match order? {
            std::cmp::Ordering::Less => self.newer.next(),
            std::cmp::Ordering::Greater => self.older.next(),
            std::cmp::Ordering::Equal => {
                self.older.next();
                self.newer.next()
            }
        }
    }
}

/// What a layer says over entries that are older, by key.
pub(crate) fn merge(
    newer: impl Iterator<Item = (Key, Option<Entry>)>,
    older: impl Iterator<Item = Result<(Key, Entry), StoreError>>,
) -> impl Iterator<Item = Result<(Key, Entry), StoreError>> {
    Merged { newer: newer.peekable(), older: older.peekable(), is_reverse: false }
}

/// What memory says over what the index says.
struct Merged<N: Iterator, O: Iterator> {
    newer: Peekable<N>,
    older: Peekable<O>,
    is_reverse: bool,
}

impl<N, O> Iterator for Merged<N, O>
where
    N: Iterator<Item = (Key, Option<Entry>)>,
    O: Iterator<Item = Result<(Key, Entry), StoreError>>,
{
    type Item = Result<(Key, Entry), StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let older = match self.older.peek() {
                Some(Err(_)) => return self.older.next(),
                Some(Ok((key, _))) => Some(key),
                None => None,
            };
            let order = next_is(self.newer.peek().map(|(key, _)| key), older, self.is_reverse)?;
            if order == std::cmp::Ordering::Greater {
                return self.older.next();
            }
            if order == std::cmp::Ordering::Equal {
                self.older.next();
            }
            // One that was deleted is left out, wherever it stands.
            if let (key, Some(entry)) = self.newer.next()? {
                return Some(Ok((key, entry)));
            }
        }
    }
}

/// One of two iterators.
enum Either<L, R> {
    Left(L),
    Right(R),
}

impl<T, L: Iterator<Item = T>, R: Iterator<Item = T>> Iterator for Either<L, R> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        match self {
            Self::Left(left) => left.next(),
            Self::Right(right) => right.next(),
        }
    }
}
