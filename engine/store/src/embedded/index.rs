//! sled as an ordered map: keys of users behind one byte, values behind the revision that wrote them.

use std::fs::File;
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use bytes::Bytes;
use sled::{Db, IVec};
use yuanli_ports::store::{Entry, Key, Range, Revision, StoreError, Write};

use crate::memory::is_empty;

/// Memory that sled may use for pages. Hot state is small; the rest is read rarely.
const CACHE_BYTES: u64 = 64 * 1024 * 1024;
/// Values beyond a quarter of sled's segment lie in files of their own, which sled does not sync.
const LARGE_VALUE_BYTES: usize = 100 * 1024;
/// Where sled keeps those.
const BLOBS: &str = "blobs";
/// sled's own file.
const DB: &str = "db";

/// First byte of a key in sled.
const OWN: u8 = 0;
const USERS: u8 = 1;
const REVISION: [u8; 2] = [OWN, b'r'];
const REVISION_BYTES: usize = 8;

/// sled's tree and the files below it. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Index {
    db: Db,
    file: Arc<File>,
    folder: PathBuf,
}

impl Index {
    /// Opens sled on a thread of its own: where its files are damaged it panics, and that is an error here.
    pub(crate) fn open(folder: &Path) -> Result<Self, StoreError> {
        let path = folder.to_owned();
        let open = move || {
            let config = sled::Config::new().path(path).cache_capacity(CACHE_BYTES).flush_every_ms(None);
            catch_unwind(AssertUnwindSafe(|| config.open()))
        };
        let opened = thread::spawn(open).join();
        let in_folder = |what: &str| StoreError::Damaged(format!("{}: {what}", folder.display()));
        let db = match opened {
            Ok(Ok(Ok(db))) => db,
            Ok(Ok(Err(error))) => return Err(of_sled(&error)),
            Ok(Err(panic)) | Err(panic) => {
                let text = panic.downcast_ref::<String>().map(String::as_str);
                let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
                return Err(in_folder(text.unwrap_or("sled cannot read its files")));
            }
        };
        let unavailable = |e| StoreError::Unavailable(format!("{}: {e}", folder.display()));
        let file = File::open(folder.join(DB)).map_err(unavailable)?;
        let index = Self { db, file: Arc::new(file), folder: folder.to_owned() };
        index.sync_folder(folder).map_err(unavailable)?;
        Ok(index)
    }

    /// The last revision that was committed.
    pub(crate) fn revision(&self) -> Result<u64, StoreError> {
        let stored = self.db.get(REVISION).map_err(|e| of_sled(&e))?;
        stored.map_or(Ok(0), |bytes| {
            let bytes = <[u8; REVISION_BYTES]>::try_from(bytes.as_ref());
            bytes
                .map(u64::from_be_bytes)
                .map_err(|_| StoreError::Damaged("the last revision is unreadable".to_owned()))
        })
    }

    pub(crate) fn get(&self, key: &Key) -> Result<Option<Entry>, StoreError> {
        let stored = self.db.get(users(key)).map_err(|e| of_sled(&e))?;
        stored.map(|value| entry(&value)).transpose()
    }

    pub(crate) fn scan(&self, range: Range) -> Result<Vec<(Key, Entry)>, StoreError> {
        if is_empty(&range) {
            return Ok(Vec::new());
        }
        let bound = |bound: Bound<Key>, open: Vec<u8>, is_end: bool| match bound {
            Bound::Included(key) => Bound::Included(users(&key)),
            Bound::Excluded(key) => Bound::Excluded(users(&key)),
            Bound::Unbounded if is_end => Bound::Excluded(open),
            Bound::Unbounded => Bound::Included(open),
        };
        let start = bound(range.start, vec![USERS], false);
        let end = bound(range.end, vec![USERS + 1], true);
        let mut found = self.db.range((start, end));
        let next = || if range.is_reverse { found.next_back() } else { found.next() };
        std::iter::from_fn(next).take(range.limit).map(|row| pair(row.map_err(|e| of_sled(&e))?)).collect()
    }

    /// Applies writes with their revisions, and the last revision, as one; durable when it returns.
    pub(crate) fn apply(&self, writes: &[(Revision, Vec<Write>)]) -> Result<(), StoreError> {
        let mut batch = sled::Batch::default();
        let mut has_large = false;
        for (revision, writes) in writes {
            for write in writes {
                match write {
                    Write::Put(key, value) => {
                        has_large |= value.len() >= LARGE_VALUE_BYTES;
                        let mut stored = Vec::with_capacity(REVISION_BYTES + value.len());
                        stored.extend(revision.0.to_be_bytes());
                        stored.extend_from_slice(value);
                        batch.insert(users(key), stored);
                    }
                    Write::Delete(key) => batch.remove(users(key)),
                }
            }
            batch.insert(&REVISION, &revision.0.to_be_bytes());
        }
        self.db.apply_batch(batch).map_err(|e| of_sled(&e))?;
        self.db.flush().map_err(|e| of_sled(&e))?;
        self.sync(has_large).map_err(|e| StoreError::Unavailable(format!("the disk does not sync: {e}")))
    }

    fn sync(&self, has_large: bool) -> std::io::Result<()> {
        if has_large {
            let blobs = self.folder.join(BLOBS);
            for blob in std::fs::read_dir(&blobs)? {
                match File::open(blob?.path()) {
                    Ok(blob) => blob.sync_data()?,
                    // sled has collected it meanwhile.
                    Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                    Err(e) => return Err(e),
                }
            }
            self.sync_folder(&blobs)?;
        }
        self.file.sync_data()
    }

    #[allow(clippy::unused_self, reason = "reads as what it is where it is called")]
    fn sync_folder(&self, folder: &Path) -> std::io::Result<()> {
        File::open(folder)?.sync_all()
    }
}

fn users(key: &Key) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1 + key.as_bytes().len());
    bytes.push(USERS);
    bytes.extend_from_slice(key.as_bytes());
    bytes
}

fn pair((key, value): (IVec, IVec)) -> Result<(Key, Entry), StoreError> {
    let key = key.get(1..).ok_or_else(|| StoreError::Damaged("a key is empty".to_owned()))?;
    Ok((Key::new(key.to_vec()), entry(&value)?))
}

fn entry(stored: &IVec) -> Result<Entry, StoreError> {
    match stored.split_first_chunk::<REVISION_BYTES>() {
        Some((revision, value)) => Ok(Entry {
            value: Bytes::copy_from_slice(value),
            revision: Revision(u64::from_be_bytes(*revision)),
        }),
        None => Err(StoreError::Damaged("a value has no revision".to_owned())),
    }
}

fn of_sled(error: &sled::Error) -> StoreError {
    match error {
        sled::Error::Corruption { .. } => StoreError::Damaged(error.to_string()),
        _ => StoreError::Unavailable(error.to_string()),
    }
}
