//! An ordered map of rows: in blocks of many, whose keys lie together, with sled to find the block.
//!
//! Everything in here can be thrown away and made again from exports and journal. The blocks are in a *heap*, a file
//! that only grows, and sled knows where each is. With the blocks themselves in sled, which writes a page of up to 16
//! entries anew for every tenth change, each byte was written almost four times; with a row each, a million runs took
//! sled many times their size, in memory and on the disk.
//!
//! The key of a block, its *fence*, is not above its rows and above all rows before it. A layer is written while others
//! read, and no row that the layer does not name may be missed meanwhile: where a block is cut in several, the last ones
//! are linked first. So a row may be in two blocks for a moment, or after a kill for longer, and never in none; it is the
//! one of the later block that counts.
//!
//! A long value is kept beside the blocks.

mod block;
mod cut;
mod heap;
#[cfg(test)]
mod tests;
mod walk;

use std::iter::Peekable;
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::thread;

use bytes::Bytes;
use sled::{Db, IVec};
use yuanli_ports::store::{Entry, Key, Range, StoreError};

use super::table::Layer;
use block::{Row, Value};
use cut::Blocks;
use heap::{Heap, Place};
use walk::Rows;

/// Longest value that is kept in its block, in bytes.
const WHOLE_BYTES: usize = 8 * 1024;

/// First byte of a key in sled.
const OWN: u8 = 0;
const USERS: u8 = 1;
/// Before all blocks, and after them.
const BEGIN: &[u8] = &[USERS];
const END: &[u8] = &[USERS + 1];
/// The last revision whose layer was written, and the bytes of the heap that are in use.
const REVISION: [u8; 2] = [OWN, b'r'];
const USED: [u8; 2] = [OWN, b'u'];
const NUMBER_BYTES: usize = 8;
/// What is in the folder of an index.
const FENCES: &str = "fences";
pub(super) const BLOCKS: &str = "blocks";

/// Fences and heap. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Index {
    db: Db,
    heap: Arc<Heap>,
}

/// A fence, and where its block is.
type Fenced = (IVec, Place);

impl Index {
    pub(crate) fn open(folder: &Path, cache_bytes: u64) -> Result<Self, StoreError> {
        let db = open_sled(&folder.join(FENCES), cache_bytes)?;
        let used = number(&db, &USED)?.unwrap_or(0);
        let path = folder.join(BLOCKS);
        let heap = Heap::open(&path, used)
            .map_err(|e| StoreError::Unavailable(format!("{} cannot be opened: {e}", path.display())))?;
        Ok(Self { db, heap: Arc::new(heap) })
    }

    /// The revision of the last layer that was written whole.
    pub(crate) fn revision(&self) -> Result<Option<u64>, StoreError> {
        number(&self.db, &REVISION)
    }

    /// Bytes that another one in its place would take, about.
    pub(crate) fn used(&self) -> u64 {
        self.heap.used()
    }

    /// Whether making it anew gives back more than it takes.
    pub(crate) fn is_wasteful(&self) -> bool {
        self.heap.is_wasteful()
    }

    pub(crate) fn get(&self, key: &Key) -> Result<Option<Entry>, StoreError> {
        self.row(key)?.map(|row| self.entry(row)).transpose()
    }

    /// The entries of a range, in its direction; its limit is not looked at.
    pub(crate) fn scan(
        &self,
        range: Range,
    ) -> impl Iterator<Item = Result<(Key, Entry), StoreError>> + use<> {
        let index = self.clone();
        let mut rows = Rows::new(self.clone(), range);
        std::iter::from_fn(move || {
            let entry = rows.next()?.and_then(|row| {
                let key = Key::new(Bytes::copy_from_slice(row.key.as_bytes()));
                Ok((key, index.entry(row)?))
            });
            Some(entry)
        })
    }

    /// All entries by key, to be passed on: each keeps its block in memory.
    pub(crate) fn entries(&self) -> impl Iterator<Item = Result<(Key, Entry), StoreError>> + use<> {
        let index = self.clone();
        let mut rows = Rows::new(self.clone(), Range::prefix(&[], usize::MAX));
        std::iter::from_fn(move || {
            let entry = |row: Row| {
                let value = match row.value {
                    Value::Whole(value) => value,
                    Value::Apart(place) => index.heap.read(place)?,
                };
                Ok((row.key, Entry { value, revision: row.revision }))
            };
            Some(rows.next()?.and_then(entry))
        })
    }

    /// Writes what a layer says, in parts: whoever may read meanwhile has to look into the layer first.
    pub(crate) fn write(&self, layer: &Layer, revision: u64) -> Result<(), StoreError> {
        let mut changes = layer.iter().peekable();
        while let Some((key, _)) = changes.peek() {
            let (old, end) = self.place(key)?;
            self.change(old, end, &mut changes)?;
        }
        self.end(revision)
    }

    /// Fills an empty index with entries that come by key.
    pub(crate) fn fill(
        &self,
        entries: impl Iterator<Item = Result<(Key, Entry), StoreError>>,
        revision: u64,
    ) -> Result<(), StoreError> {
        let mut blocks = Blocks::new(self, None);
        for entry in entries {
            let (key, entry) = entry?;
            blocks.add(self.put(key, &entry)?)?;
        }
        blocks.end()?;
        self.end(revision)
    }

    fn end(&self, revision: u64) -> Result<(), StoreError> {
        self.insert(&USED, &self.heap.used().to_be_bytes())?;
        self.insert(&REVISION, &revision.to_be_bytes())?;
        self.db.flush().map_err(|e| of_sled(&e))?;
        Ok(())
    }

    /// The block that a key belongs into, if there is one at or before it, and where the next one begins.
    fn place(&self, key: &Key) -> Result<(Option<Fenced>, Option<IVec>), StoreError> {
        let users = users(key);
        let old = self.block_before(Bound::Included(&users))?;
        let next = self.block_after(Bound::Excluded(old.as_ref().map_or(&users[..], |(fence, _)| fence)))?;
        Ok((old, next.map(|(fence, _)| fence)))
    }

    /// Makes the changes up to `end` to a block.
    fn change<'a>(
        &self,
        old: Option<Fenced>,
        end: Option<IVec>,
        changes: &mut Peekable<impl Iterator<Item = (&'a Key, &'a Option<Entry>)>>,
    ) -> Result<(), StoreError> {
        let is_before = |key: &Key| end.as_ref().is_none_or(|end| is_before(key, end));
        let rows = old.as_ref().map_or(Ok(Vec::new()), |(_, place)| self.rows(*place))?;
        // Those beyond are of a cut that a kill left half done: they are in the later block.
        let mut rows = rows.into_iter().filter(|row| is_before(&row.key)).peekable();
        let mut dead = Vec::new();
        let mut blocks = Blocks::new(self, old.map(|(fence, _)| fence));
        while let Some((key, entry)) = changes.next_if(|(key, _)| is_before(key)) {
            while let Some(row) = rows.next_if(|row| row.key < *key) {
                blocks.add(row)?;
            }
            dead.extend(rows.next_if(|row| row.key == *key));
            if let Some(entry) = entry {
                blocks.add(self.put(key.clone(), entry)?)?;
            }
        }
        rows.try_for_each(|row| blocks.add(row))?;
        blocks.end()?;
        for row in dead {
            if let Value::Apart(place) = row.value {
                self.heap.forget(place);
            }
        }
        Ok(())
    }

    /// The row of an entry, once its value is there, if that is kept apart.
    fn put(&self, key: Key, entry: &Entry) -> Result<Row, StoreError> {
        let value = if entry.value.len() <= WHOLE_BYTES {
            Value::Whole(entry.value.clone())
        } else {
            Value::Apart(self.heap.add(&entry.value)?)
        };
        Ok(Row { key, revision: entry.revision, value })
    }

    /// The entry that a row stands for.
    fn entry(&self, row: Row) -> Result<Entry, StoreError> {
        let value = match row.value {
            // Copied: a value that lives long must not keep its block in memory.
            Value::Whole(value) => Bytes::copy_from_slice(&value),
            Value::Apart(place) => self.heap.read(place)?,
        };
        Ok(Entry { value, revision: row.revision })
    }

    fn row(&self, key: &Key) -> Result<Option<Row>, StoreError> {
        match self.block_before(Bound::Included(&users(key)))? {
            Some((_, place)) => block::find(&self.heap.read(place)?, key).ok_or_else(no_block),
            None => Ok(None),
        }
    }

    /// The last block whose fence is within this bound.
    fn block_before(&self, end: Bound<&[u8]>) -> Result<Option<Fenced>, StoreError> {
        let start = Bound::Included(BEGIN);
        self.db.range::<&[u8], _>((start, end)).next_back().map(fenced).transpose()
    }

    /// The first block whose fence is within this bound.
    fn block_after(&self, start: Bound<&[u8]>) -> Result<Option<Fenced>, StoreError> {
        let end = Bound::Excluded(END);
        self.db.range::<&[u8], _>((start, end)).next().map(fenced).transpose()
    }

    /// The rows of the block at a place.
    fn rows(&self, place: Place) -> Result<Vec<Row>, StoreError> {
        block::unpack(&self.heap.read(place)?).ok_or_else(no_block)
    }

    /// Puts a block of the heap behind a fence, where it can be found.
    fn link(&self, fence: &[u8], place: Place) -> Result<(), StoreError> {
        let old = self.db.insert(fence, &place.encode()).map_err(|e| of_sled(&e))?;
        self.forget(old)
    }

    /// Removes a fence and its block.
    fn unlink(&self, fence: &[u8]) -> Result<(), StoreError> {
        let old = self.db.remove(fence).map_err(|e| of_sled(&e))?;
        self.forget(old)
    }

    fn forget(&self, old: Option<IVec>) -> Result<(), StoreError> {
        if let Some(old) = old {
            self.heap.forget(Place::decode(&old).ok_or_else(no_block)?);
        }
        Ok(())
    }

    fn insert(&self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.db.insert(key, value).map(drop).map_err(|e| of_sled(&e))
    }
}

fn fenced(found: sled::Result<(IVec, IVec)>) -> Result<Fenced, StoreError> {
    let (fence, place) = found.map_err(|e| of_sled(&e))?;
    Ok((fence, Place::decode(&place).ok_or_else(no_block)?))
}

fn number(db: &Db, key: &[u8]) -> Result<Option<u64>, StoreError> {
    let stored = db.get(key).map_err(|e| of_sled(&e))?;
    Ok(stored.and_then(|bytes| <[u8; NUMBER_BYTES]>::try_from(bytes.as_ref()).ok()).map(u64::from_be_bytes))
}

fn no_block() -> StoreError {
    StoreError::Damaged("the index holds what is no block".to_owned())
}
/// Opens sled on a thread of its own: where its files are damaged it panics, and that is an error here.
pub(crate) fn open_sled(folder: &Path, cache_bytes: u64) -> Result<Db, StoreError> {
    let path = folder.to_owned();
    let open = move || {
        let config = sled::Config::new().path(path).cache_capacity(cache_bytes).flush_every_ms(None);
        catch_unwind(AssertUnwindSafe(|| config.open()))
    };
    match thread::spawn(open).join() {
        Ok(Ok(Ok(db))) => Ok(db),
        Ok(Ok(Err(error))) => Err(of_sled(&error)),
        Ok(Err(panic)) | Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            let text = text.unwrap_or("sled cannot read its files");
            Err(StoreError::Damaged(format!("{}: {text}", folder.display())))
        }
    }
}

fn users(key: &Key) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1 + key.as_bytes().len());
    bytes.push(USERS);
    bytes.extend_from_slice(key.as_bytes());
    bytes
}

/// Whether a key lies before a fence.
fn is_before(key: &Key, fence: &[u8]) -> bool {
    fence.strip_prefix(BEGIN).is_some_and(|fence| key.as_bytes() < fence)
}

fn of_sled(error: &sled::Error) -> StoreError {
    match error {
        sled::Error::Corruption { .. } => StoreError::Damaged(format!("the index: {error}")),
        _ => StoreError::Unavailable(format!("the index: {error}")),
    }
}
