//! The archive: records that are written once, in order, and read seldom.
//!
//! Records that come together are packed together. The store says which record is where; what no entry of the store
//! names any more is dead, and its space comes back when all of its segment is.

use async_trait::async_trait;
use bytes::Bytes;

use crate::store::StoreError;

/// Longest record, in bytes.
pub const MAX_RECORD_BYTES: usize = 4 * 1024 * 1024;

/// Where a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The segment; segments are numbered in the order in which they were begun.
    pub segment: u64,
    /// Where in it the block begins, in bytes.
    pub offset: u64,
    /// Which record of the block.
    pub position: u32,
}

/// A segment of the archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// Its number.
    pub number: u64,
    /// Its size in bytes.
    pub bytes: u64,
    /// Whether records may still be added to it.
    pub is_open: bool,
}

/// The records of a block with their places, and where the next block begins.
pub type Block = (u64, Vec<(Place, Bytes)>);

/// An archive of records.
#[async_trait]
pub trait Archive: Send + Sync + std::fmt::Debug {
    /// Keeps records; they are durable when this returns, in places that are in the order of the records. Until the
    /// store names them they may be lost again.
    ///
    /// # Errors
    /// [`StoreError::Refused`] when a record is longer than [`MAX_RECORD_BYTES`], [`StoreError::Unavailable`] when the
    /// disk fails. Nothing was kept.
    async fn append(&self, records: Vec<Bytes>) -> Result<Vec<Place>, StoreError>;

    /// The record of a place.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when it is not there or not what was written, [`StoreError::Unavailable`] when the disk
    /// fails.
    async fn read(&self, place: Place) -> Result<Bytes, StoreError>;

    /// The records of one block of a segment, and where the next block begins; `None` after the last. The first block is
    /// that of offset `None`.
    ///
    /// # Errors
    /// As [`Self::read`].
    async fn block(&self, segment: u64, offset: Option<u64>) -> Result<Option<Block>, StoreError>;

    /// The segments, oldest first.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn segments(&self) -> Result<Vec<Segment>, StoreError>;

    /// Removes a segment that is not open. Nothing happens when it is gone.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn remove(&self, segment: u64) -> Result<(), StoreError>;
}
