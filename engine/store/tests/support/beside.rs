//! What is kept in files beside a store, records of an archive and blobs, with entries of the store that name them.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use yuanli_model::Digest;
use yuanli_ports::blobs::Hold;
use yuanli_ports::store::{Batch, Entry, Key, Range, StoreError};
use yuanli_ports::{Archive, Blobs, Store};
use yuanli_store::disk::Disk;
use yuanli_store::simulation::Random;
use yuanli_store::{FileArchive, FileBlobs};

use super::data::{of_place, place};

const RECORDS: &[u8] = b"record/";
const BLOBS: &[u8] = b"blob/";
/// Different blobs: few, so that several entries name the same.
const CONTENTS: u64 = 8;
/// So small that there are several segments.
const SEGMENT_BYTES: u64 = 2048;

/// The files beside a store.
pub(crate) struct Beside {
    archive: FileArchive,
    blobs: FileBlobs,
    /// Keys that name something, as far as they were handed over to the store.
    named: RefCell<Vec<Key>>,
    /// Of commits of which nobody knows whether they will be found.
    in_doubt: RefCell<Vec<Hold>>,
}

impl Beside {
    pub(crate) fn open(disk: &Arc<dyn Disk>, folder: &Path) -> Result<Self, StoreError> {
        let archive = FileArchive::open(&folder.join("history"), Arc::clone(disk), SEGMENT_BYTES)?;
        let blobs = FileBlobs::open(&folder.join("blobs"), Arc::clone(disk))?;
        Ok(Self { archive, blobs, named: RefCell::default(), in_doubt: RefCell::default() })
    }

    /// Keeps something, or nothing, and has a batch name it; or has it name something no more. What is returned is to
    /// be given to [`Self::settle`].
    pub(crate) async fn add(&self, random: &mut Random, batch: &mut Batch) -> Option<Hold> {
        let number = random.number();
        match random.below(8) {
            0 => {
                let places = told(self.archive.append(vec![record(number), record(number + 1)]).await)?;
                for (number, place) in (number..).zip(places) {
                    self.name(batch, key(RECORDS, number), of_place(place));
                }
                None
            }
            1 | 2 => {
                let (digest, hold) = told(self.blobs.keep(content(number)).await)?;
                self.name(batch, key(BLOBS, number), digest.as_bytes().to_vec());
                Some(hold)
            }
            3 => {
                let named = &mut *self.named.borrow_mut();
                if !named.is_empty() {
                    let name = named.swap_remove(random.below(named.len()));
                    batch.delete(name);
                }
                None
            }
            _ => None,
        }
    }

    fn name(&self, batch: &mut Batch, key: Key, value: Vec<u8>) {
        batch.put(key.clone(), value);
        self.named.borrow_mut().push(key);
    }

    /// Ends a hold, unless its commit may still turn up: then until the next start.
    pub(crate) fn settle(&self, hold: Option<Hold>, is_known: bool) {
        if !is_known {
            self.in_doubt.borrow_mut().extend(hold);
        }
    }

    /// Removes a blob if nothing names it.
    pub(crate) async fn collect(&self, store: &dyn Store, random: &mut Random) {
        let digest = Digest::of(&content(random.number()));
        if !self.blobs.condemn(digest) {
            return;
        }
        let rows = store.scan(Range::prefix(BLOBS, usize::MAX)).await.unwrap();
        if rows.iter().all(|(_, entry)| entry.value.as_ref() != digest.as_bytes()) {
            told(self.blobs.remove(digest).await);
        }
    }

    /// Removes the segments of the archive that nothing names. To be called while nothing is added.
    pub(crate) async fn compact(&self, store: &dyn Store) {
        let rows = store.scan(Range::prefix(RECORDS, usize::MAX)).await.unwrap();
        let named: BTreeSet<u64> = rows.iter().map(|(_, entry)| place(&entry.value).segment).collect();
        for segment in self.archive.segments().await.unwrap() {
            if !segment.is_open && !named.contains(&segment.number) {
                told(self.archive.remove(segment.number).await);
            }
        }
    }

    /// That all that a store names is there, and is what it was.
    pub(crate) async fn check(&self, store: &dyn Store) {
        let rows = store.scan(Range::prefix(b"", usize::MAX)).await.unwrap();
        for (key, entry) in rows {
            self.check_entry(&key, &entry).await.unwrap_or_else(|error| panic!("{key:?}: {error}"));
        }
    }

    async fn check_entry(&self, key: &Key, entry: &Entry) -> Result<(), StoreError> {
        if let Some(number) = number(RECORDS, key) {
            assert_eq!(self.archive.read(place(&entry.value)).await?, record(number), "{key:?}");
        } else if let Some(number) = number(BLOBS, key) {
            let digest = Digest::of(&content(number));
            assert_eq!(entry.value.as_ref(), digest.as_bytes(), "{key:?}");
            assert!(self.blobs.read(digest).await? == content(number), "{key:?}");
        } else {
            return Ok(());
        }
        self.named.borrow_mut().push(key.clone());
        Ok(())
    }
}

/// What a disk that fails may say.
fn told<T>(outcome: Result<T, StoreError>) -> Option<T> {
    match outcome {
        Ok(done) => Some(done),
        Err(StoreError::Unavailable(_) | StoreError::Exhausted(_)) => None,
        Err(error) => panic!("a file beside the store: {error}"),
    }
}

fn record(number: u64) -> Bytes {
    let mut random = Random::new(number);
    let length = random.below(300);
    (0..length).map(|_| random.number() as u8).collect()
}

fn content(number: u64) -> Bytes {
    format!("blob {} ", number % CONTENTS).repeat(1000).into()
}

fn key(prefix: &[u8], number: u64) -> Key {
    Key::new([prefix, &number.to_be_bytes()].concat())
}

fn number(prefix: &[u8], key: &Key) -> Option<u64> {
    Some(u64::from_be_bytes(key.as_bytes().strip_prefix(prefix)?.try_into().ok()?))
}
