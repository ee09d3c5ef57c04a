//! sled as an ordered map: keys of users behind one byte, values behind the revision that wrote them.
//!
//! Everything in here can be thrown away and made again from exports and journal. sled does best with small values, so
//! a long one is kept in parts.

use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::thread;

use bytes::Bytes;
use sled::{Db, IVec};
use yuanli_ports::store::{Entry, Key, Range, Revision, StoreError};

use super::table::Layer;

/// Longest value that is kept whole, in bytes; a longer one is cut into parts of this size.
const PART_BYTES: usize = 8 * 1024;
/// Entries of one batch. sled holds a batch in memory twice, and makes everybody wait for it.
const BATCH_ENTRIES: usize = 512;

/// First byte of a key in sled.
const OWN: u8 = 0;
const USERS: u8 = 1;
const PARTS: u8 = 2;
/// The last revision whose layer was written.
const REVISION: [u8; 2] = [OWN, b'r'];
const REVISION_BYTES: usize = 8;
/// What follows the revision of a value.
const WHOLE: u8 = 0;
const IN_PARTS: u8 = 1;

/// sled's tree. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Index {
    db: Db,
}

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
        let stored = self.db.get(users(key)).map_err(|e| of_sled(&e))?;
        stored.map_or(Ok(None), |value| self.entry(key, value))
    }

    /// The entries of a range, in its direction; its limit is not looked at.
    pub(crate) fn scan(
        &self,
        range: Range,
    ) -> impl Iterator<Item = Result<(Key, Entry), StoreError>> + use<> {
        let bound = |bound: Bound<Key>, open: Vec<u8>, is_end: bool| match bound {
            Bound::Included(key) => Bound::Included(users(&key)),
            Bound::Excluded(key) => Bound::Excluded(users(&key)),
            Bound::Unbounded if is_end => Bound::Excluded(open),
            Bound::Unbounded => Bound::Included(open),
        };
        let start = bound(range.start, vec![USERS], false);
        let end = bound(range.end, vec![USERS + 1], true);
        let mut found = self.db.range((start, end));
        let index = self.clone();
        std::iter::from_fn(move || {
            loop {
                let row = if range.is_reverse { found.next_back() } else { found.next() };
                let entry = row?.map_err(|e| of_sled(&e)).and_then(|(key, value)| {
                    let key = Key::new(key.get(1..).unwrap_or_default().to_vec());
                    Ok(index.entry(&key, value)?.map(|entry| (key, entry)))
                });
                if let Some(row) = entry.transpose() {
                    return Some(row);
                }
            }
        })
    }

    /// Writes what a layer says, in parts: whoever may read meanwhile has to look into the layer first.
    pub(crate) fn write(&self, layer: &Layer, revision: u64) -> Result<(), StoreError> {
        self.write_entries(layer.iter().map(|(key, entry)| Ok((key.clone(), entry.clone()))))?;
        self.db.insert(REVISION, &revision.to_be_bytes()).map_err(|e| of_sled(&e))?;
        self.db.flush().map_err(|e| of_sled(&e))?;
        Ok(())
    }

    fn write_entries(
        &self,
        entries: impl Iterator<Item = Result<(Key, Option<Entry>), StoreError>>,
    ) -> Result<(), StoreError> {
        let mut batch = sled::Batch::default();
        let mut batched = 0;
        for entry in entries {
            let (key, entry) = entry?;
            self.remove_parts(&key, &mut batch)?;
            match entry {
                Some(entry) => put(&key, &entry, &mut batch),
                None => batch.remove(users(&key)),
            }
            batched += 1;
            if batched == BATCH_ENTRIES {
                fail::fail_point!("index-begun", |_| Ok(()));
                self.db.apply_batch(std::mem::take(&mut batch)).map_err(|e| of_sled(&e))?;
                batched = 0;
            }
        }
        self.db.apply_batch(batch).map_err(|e| of_sled(&e))
    }

    /// Fills an empty index.
    pub(crate) fn fill(
        &self,
        entries: impl Iterator<Item = Result<(Key, Entry), StoreError>>,
        revision: u64,
    ) -> Result<(), StoreError> {
        self.write_entries(entries.map(|entry| entry.map(|(key, entry)| (key, Some(entry)))))?;
        self.write(&Layer::new(), revision)
    }

    /// Removes the parts of the value that a key has, if it has any.
    fn remove_parts(&self, key: &Key, batch: &mut sled::Batch) -> Result<(), StoreError> {
        if let Some(stored) = self.db.get(users(key)).map_err(|e| of_sled(&e))?
            && let Some((revision, parts)) = in_parts(&stored)
        {
            (0..parts).for_each(|number| batch.remove(part(key, revision, number)));
        }
        Ok(())
    }

    /// The entry that a row stands for. Between row and parts the value may be written anew or deleted: then as of later.
    fn entry(&self, key: &Key, mut stored: IVec) -> Result<Option<Entry>, StoreError> {
        loop {
            if let Some(entry) = self.whole(key, &stored)? {
                return Ok(Some(entry));
            }
            match self.db.get(users(key)).map_err(|e| of_sled(&e))? {
                Some(now) if now == stored => {
                    return Err(StoreError::Damaged("a part of a value is missing in the index".to_owned()));
                }
                Some(now) => stored = now,
                None => return Ok(None),
            }
        }
    }

    /// The entry that a row stands for; none when one of its parts is not there.
    fn whole(&self, key: &Key, stored: &IVec) -> Result<Option<Entry>, StoreError> {
        if let Some((revision, parts)) = in_parts(stored) {
            let mut value = Vec::with_capacity(parts as usize * PART_BYTES);
            for number in 0..parts {
                let part = self.db.get(part(key, revision, number)).map_err(|e| of_sled(&e))?;
                let Some(part) = part else { return Ok(None) };
                value.extend_from_slice(&part);
            }
            return Ok(Some(Entry { value: value.into(), revision }));
        }
        match stored.split_first_chunk::<REVISION_BYTES>() {
            Some((revision, [WHOLE, value @ ..])) => Ok(Some(Entry {
                value: Bytes::copy_from_slice(value),
                revision: Revision(u64::from_be_bytes(*revision)),
            })),
            _ => Err(StoreError::Damaged("the index holds what is no value".to_owned())),
        }
    }
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

fn put(key: &Key, entry: &Entry, batch: &mut sled::Batch) {
    let mut stored = Vec::with_capacity(REVISION_BYTES + 1 + entry.value.len().min(PART_BYTES));
    stored.extend(entry.revision.0.to_be_bytes());
    if entry.value.len() <= PART_BYTES {
        stored.push(WHOLE);
        stored.extend_from_slice(&entry.value);
    } else {
        let mut parts = 0_u32;
        for (number, bytes) in (0..).zip(entry.value.chunks(PART_BYTES)) {
            batch.insert(part(key, entry.revision, number), bytes);
            parts = number + 1;
        }
        stored.push(IN_PARTS);
        stored.extend(parts.to_be_bytes());
    }
    batch.insert(users(key), stored);
}

/// The revision and the number of parts of a value that is kept in parts.
fn in_parts(stored: &[u8]) -> Option<(Revision, u32)> {
    let (revision, rest) = stored.split_first_chunk::<REVISION_BYTES>()?;
    match rest {
        [IN_PARTS, parts @ ..] => {
            Some((Revision(u64::from_be_bytes(*revision)), u32::from_be_bytes(parts.try_into().ok()?)))
        }
        _ => None,
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
