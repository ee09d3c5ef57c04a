//! Blobs in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use yuanli_model::Digest;
use yuanli_ports::Blobs;
use yuanli_ports::blobs::{Blob, Held, Hold};
use yuanli_ports::store::StoreError;

#[derive(Debug, Default)]
pub(crate) struct MemoryBlobs(Mutex<Shelf>);

#[derive(Debug, Default)]
struct Shelf {
    blobs: BTreeMap<Digest, Bytes>,
    condemned: BTreeSet<Digest>,
}

/// Nothing is removed in a world that nobody keeps again meanwhile.
#[derive(Debug)]
struct Kept;

impl Held for Kept {}

#[async_trait]
impl Blobs for MemoryBlobs {
    async fn keep(&self, bytes: Bytes) -> Result<(Digest, Hold), StoreError> {
        let digest = Digest::of(&bytes);
        let mut shelf = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        shelf.condemned.remove(&digest);
        shelf.blobs.insert(digest, bytes);
        Ok((digest, Box::new(Kept)))
    }

    async fn read(&self, digest: Digest) -> Result<Bytes, StoreError> {
        let shelf = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        shelf.blobs.get(&digest).cloned().ok_or_else(|| StoreError::Damaged(format!("no blob {digest}")))
    }

    async fn list(&self) -> Result<Vec<Blob>, StoreError> {
        let shelf = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(shelf
            .blobs
            .iter()
            .map(|(digest, bytes)| Blob { digest: *digest, size: bytes.len() as u64 })
            .collect())
    }

    fn condemn(&self, digest: Digest) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).condemned.insert(digest);
        true
    }

    async fn remove(&self, digest: Digest) -> Result<bool, StoreError> {
        let mut shelf = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_condemned = shelf.condemned.remove(&digest);
        Ok(is_condemned && shelf.blobs.remove(&digest).is_some())
    }
}
