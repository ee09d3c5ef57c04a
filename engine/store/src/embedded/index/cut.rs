//! Cutting rows into blocks.

use sled::IVec;
use yuanli_ports::store::StoreError;

use super::block::{self, Row};
use super::{Index, users};

/// Rows are collected to about this many bytes before they are packed. A read of one row reads a block, and a change
/// of one row writes a block.
const BLOCK_BYTES: usize = 4 * 1024;

/// Rows that become blocks in the place of one, or in an empty one.
pub(super) struct Blocks<'a> {
    index: &'a Index,
    /// The fence of the block whose place it is. Written last.
    fence: Option<IVec>,
    /// The block that is to have that fence.
    first: Option<Vec<u8>>,
    /// Rows of a block that is full, unless what follows is too little for one of its own.
    full: Vec<Row>,
    rows: Vec<Row>,
    bytes: usize,
}

impl<'a> Blocks<'a> {
    pub(super) fn new(index: &'a Index, fence: Option<IVec>) -> Self {
        Self { index, fence, first: None, full: Vec::new(), rows: Vec::new(), bytes: 0 }
    }

    pub(super) fn add(&mut self, row: Row) -> Result<(), StoreError> {
        self.bytes += row.size();
        self.rows.push(row);
        if self.bytes < BLOCK_BYTES {
            return Ok(());
        }
        self.bytes = 0;
        let rows = std::mem::take(&mut self.rows);
        let full = std::mem::replace(&mut self.full, rows);
        self.write(&full)
    }

    pub(super) fn end(mut self) -> Result<(), StoreError> {
        let (mut full, rows) = (std::mem::take(&mut self.full), std::mem::take(&mut self.rows));
        if self.bytes < BLOCK_BYTES / 2 {
            full.extend(rows);
            self.write(&full)?;
        } else {
            self.write(&full)?;
            self.write(&rows)?;
        }
        fail::fail_point!("index-begun", |_| Ok(()));
        match (self.fence, self.first) {
            (Some(fence), Some(block)) => self.index.set(&fence, &block),
            (Some(fence), None) => self.index.unset(&fence),
            (None, _) => Ok(()),
        }
    }

    fn write(&mut self, rows: &[Row]) -> Result<(), StoreError> {
        let Some(Row { key, .. }) = rows.first() else { return Ok(()) };
        let block = block::pack(rows);
        if self.fence.is_some() && self.first.is_none() {
            self.first = Some(block);
            return Ok(());
        }
        self.index.set(&users(key), &block)
    }
}
