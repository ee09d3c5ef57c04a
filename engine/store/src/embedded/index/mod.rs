//! sled as an ordered map of blocks: many rows, whose keys lie together, are one value of sled.
//!
//! Everything in here can be thrown away and made again from exports and journal. sled holds at most 16 entries in a
//! page and keeps a record of each page in memory, so what it is given as one entry decides what it costs: with a row
//! each, a million runs took it many times their size, in memory and on the disk.
//!
//! The key of a block, its *fence*, is not above its rows and above all rows before it. A layer is written while others
//! read, and no row that the layer does not name may be missed meanwhile: where a block is cut in several, the later ones
//! are written first. So a row may be in two blocks for a moment, and never in none.
//!
//! A long value is kept beside the blocks, in parts.

mod block;
mod cut;
#[cfg(test)]
mod tests;
mod walk;

use std::iter::Peekable;
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::thread;

use bytes::Bytes;
use sled::{Db, IVec};
use yuanli_ports::store::{Entry, Key, Range, Revision, StoreError};

use super::table::Layer;
use block::{Row, Value};
use cut::Blocks;
use walk::Rows;

/// Longest value that is kept whole, in bytes; a longer one is cut into parts of this size.
const PART_BYTES: usize = 8 * 1024;

/// First byte of a key in sled.
const OWN: u8 = 0;
const USERS: u8 = 1;
const PARTS: u8 = 2;
/// Before all blocks, and after them.
const BEGIN: &[u8] = &[USERS];
const END: &[u8] = &[USERS + 1];
/// The last revision whose layer was written.
const REVISION: [u8; 2] = [OWN, b'r'];
const REVISION_BYTES: usize = 8;

/// sled's tree. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Index {
    db: Db,
}

/// A block as it is stored, with its fence.
type Fenced = (IVec, IVec);

impl Index {
    pub(crate) fn open(folder: &Path, cache_bytes: u64) -> Result<Self, StoreError> {
        Ok(Self { db: open_sled(folder, cache_bytes)? })
    }

    /// The revision of the last layer that was written whole.
    pub(crate) fn revision(&self) -> Result<Option<u64>, StoreError> {
        let stored = self.db.get(REVISION).map_err(|e| of_sled(&e))?;
        Ok(stored
            .and_then(|bytes| <[u8; REVISION_BYTES]>::try_from(bytes.as_ref()).ok())
            .map(u64::from_be_bytes))
    }

    pub(crate) fn get(&self, key: &Key) -> Result<Option<Entry>, StoreError> {
        self.row(key)?.map_or(Ok(None), |row| self.entry(row))
    }

    /// The entries of a range, in its direction; its limit is not looked at.
    pub(crate) fn scan(
        &self,
        range: Range,
    ) -> impl Iterator<Item = Result<(Key, Entry), StoreError>> + use<> {
        let index = self.clone();
        let mut rows = Rows::new(self.clone(), range);
        std::iter::from_fn(move || {
            loop {
                let entry = rows.next()?.and_then(|row| {
                    let key = Key::new(Bytes::copy_from_slice(row.key.as_bytes()));
                    Ok(index.entry(row)?.map(|entry| (key, entry)))
                });
                if let Some(entry) = entry.transpose() {
                    return Some(entry);
                }
            }
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
        let rows = old.as_ref().map_or(Ok(Vec::new()), |(_, stored)| rows(stored))?;
        let mut rows = rows.into_iter().peekable();
        let mut dead = Vec::new();
        let mut blocks = Blocks::new(self, old.map(|(fence, _)| fence));
        while let Some((key, entry)) =
            changes.next_if(|(key, _)| end.as_ref().is_none_or(|end| users(key)[..] < end[..]))
        {
            while let Some(row) = rows.next_if(|row| row.key < *key) {
                blocks.add(row)?;
            }
            // One of the same commit is there when a layer is written once more: it stays.
            let revision = entry.as_ref().map(|entry| entry.revision);
            let replaced = rows.next_if(|row| row.key == *key);
            dead.extend(replaced.filter(|row| Some(row.revision) != revision));
            if let Some(entry) = entry {
                blocks.add(self.put(key.clone(), entry)?)?;
            }
        }
        rows.try_for_each(|row| blocks.add(row))?;
        blocks.end()?;
        dead.iter().try_for_each(|row| self.remove_parts(row))
    }

    /// The row of an entry, once its parts are there, if it needs any.
    fn put(&self, key: Key, entry: &Entry) -> Result<Row, StoreError> {
        let revision = entry.revision;
        if entry.value.len() <= PART_BYTES {
            return Ok(Row { key, revision, value: Value::Whole(entry.value.clone()) });
        }
        let mut parts = 0;
        for bytes in entry.value.chunks(PART_BYTES) {
            self.insert(&part(&key, revision, parts), bytes)?;
            parts += 1;
        }
        Ok(Row { key, revision, value: Value::InParts(parts) })
    }

    fn remove_parts(&self, row: &Row) -> Result<(), StoreError> {
        let parts = if let Value::InParts(parts) = row.value { parts } else { 0 };
        (0..parts).try_for_each(|number| self.remove(&part(&row.key, row.revision, number)))
    }

    /// The entry that a row stands for. Between row and parts the value may be written anew or deleted: then as of later.
    fn entry(&self, mut row: Row) -> Result<Option<Entry>, StoreError> {
        loop {
            if let Some(value) = self.value(&row)? {
                return Ok(Some(Entry { value, revision: row.revision }));
            }
            match self.row(&row.key)? {
                Some(now) if now == row => {
                    return Err(StoreError::Damaged("a part of a value is missing in the index".to_owned()));
                }
                Some(now) => row = now,
                None => return Ok(None),
            }
        }
    }

    /// The value of a row; none when one of its parts is not there.
    fn value(&self, row: &Row) -> Result<Option<Bytes>, StoreError> {
        let parts = match &row.value {
            // Copied: a value that lives long must not keep its block in memory.
            Value::Whole(value) => return Ok(Some(Bytes::copy_from_slice(value))),
            Value::InParts(parts) => *parts,
        };
        let mut value = Vec::with_capacity(parts as usize * PART_BYTES);
        for number in 0..parts {
            let part = self.db.get(part(&row.key, row.revision, number)).map_err(|e| of_sled(&e))?;
            let Some(part) = part else { return Ok(None) };
            value.extend_from_slice(&part);
        }
        Ok(Some(value.into()))
    }

    fn row(&self, key: &Key) -> Result<Option<Row>, StoreError> {
        match self.block_before(Bound::Included(&users(key)))? {
            Some((_, stored)) => block::find(&stored, key).ok_or_else(no_block),
            None => Ok(None),
        }
    }

    /// The last block whose fence is within this bound.
    fn block_before(&self, end: Bound<&[u8]>) -> Result<Option<Fenced>, StoreError> {
        let start = Bound::Included(BEGIN);
        self.db.range::<&[u8], _>((start, end)).next_back().transpose().map_err(|e| of_sled(&e))
    }

    /// The first block whose fence is within this bound.
    fn block_after(&self, start: Bound<&[u8]>) -> Result<Option<Fenced>, StoreError> {
        let end = Bound::Excluded(END);
        self.db.range::<&[u8], _>((start, end)).next().transpose().map_err(|e| of_sled(&e))
    }

    fn insert(&self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.db.insert(key, value).map(drop).map_err(|e| of_sled(&e))
    }

    fn remove(&self, key: &[u8]) -> Result<(), StoreError> {
        self.db.remove(key).map(drop).map_err(|e| of_sled(&e))
    }
}

fn rows(stored: &[u8]) -> Result<Vec<Row>, StoreError> {
    block::unpack(stored).ok_or_else(no_block)
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

/// The key of a part. With the revision: a reader never takes parts of two values for one.
fn part(key: &Key, revision: Revision, number: u32) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1 + key.as_bytes().len() + REVISION_BYTES + size_of::<u32>());
    bytes.push(PARTS);
    bytes.extend_from_slice(key.as_bytes());
    bytes.extend(revision.0.to_be_bytes());
    bytes.extend(number.to_be_bytes());
    bytes
}

fn of_sled(error: &sled::Error) -> StoreError {
    match error {
        sled::Error::Corruption { .. } => StoreError::Damaged(format!("the index: {error}")),
        _ => StoreError::Unavailable(format!("the index: {error}")),
    }
}
