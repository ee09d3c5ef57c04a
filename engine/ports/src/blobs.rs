//! Blobs: large values by their digest, in files beside the store.
//!
//! The store says who needs a blob; what no entry of it names is removed. Between keeping a blob and the commit that
//! names it stands a [`Hold`], and removing takes two steps, so that nothing goes that somebody is about to name.

use std::fmt::Debug;

use async_trait::async_trait;
use bytes::Bytes;
use yuanli_model::Digest;

use crate::store::StoreError;

/// Most bytes of a blob. Larger things are cut into several by whoever keeps them.
pub const MAX_BLOB_BYTES: usize = 16 * 1024 * 1024;

/// A blob that there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blob {
    /// Its name.
    pub digest: Digest,
    /// Bytes on the disk, after packing.
    pub size: u64,
}

/// Keeps a blob from being removed until it is dropped: for as long as no entry of the store names it.
pub trait Held: Send + Sync + Debug {}

/// See [`Held`].
pub type Hold = Box<dyn Held>;

/// A place for blobs.
#[async_trait]
pub trait Blobs: Send + Sync + Debug {
    /// Keeps bytes under their digest; they are durable when this returns. Nothing is written that is there already.
    ///
    /// # Errors
    /// [`StoreError::Refused`] when there are more than [`MAX_BLOB_BYTES`], [`StoreError::Exhausted`] on a full disk,
    /// [`StoreError::Unavailable`] when it fails. Nothing was kept.
    async fn keep(&self, bytes: Bytes) -> Result<(Digest, Hold), StoreError>;

    /// The bytes of a digest.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when they are not there or others, [`StoreError::Unavailable`] when the disk fails.
    async fn read(&self, digest: Digest) -> Result<Bytes, StoreError>;

    /// All blobs, in the order of their digests.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn list(&self) -> Result<Vec<Blob>, StoreError>;

    /// The first step of removing: to be called *before* it is looked up whether anybody needs the blob. Says whether
    /// it may go on; `false` when somebody holds it.
    fn condemn(&self, digest: Digest) -> bool;

    /// The second step, when nobody needs it: removes it unless it was kept again since it was condemned. Says whether
    /// it is gone.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn remove(&self, digest: Digest) -> Result<bool, StoreError>;
}
