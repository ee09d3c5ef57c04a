//! Cutting rows into blocks.

use sled::IVec;
use yuanli_ports::store::StoreError;

use super::block::{self, Row};
use super::heap::Place;
use super::{Index, users};

/// Rows are collected to about this many bytes before they are packed. A read of one row reads a block, and a change
/// of one row writes a block.
const BLOCK_BYTES: usize = 4 * 1024;

/// Rows that become blocks in the place of one, or in an empty index.
pub(super) struct Blocks<'a> {
    index: &'a Index,
    /// The fence of the block whose place it is; none where all rows are new, which nobody looks for yet.
    fence: Option<IVec>,
    /// Blocks that are in the heap and cannot be found yet: the first one is to have that fence.
    ready: Vec<(Vec<u8>, Place)>,
    /// Rows of a block that is full, unless what follows is too little for one of its own.
    full: Vec<Row>,
    rows: Vec<Row>,
    bytes: usize,
}

impl<'a> Blocks<'a> {
    pub(super) fn new(index: &'a Index, fence: Option<IVec>) -> Self {
        Self { index, fence, ready: Vec::new(), full: Vec::new(), rows: Vec::new(), bytes: 0 }
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
        let Some(fence) = self.fence else { return Ok(()) };
        let mut ready = self.ready.into_iter();
        let first = ready.next();
        // The last ones first: until the block before it can be found, each row is where it was.
        for (fence, place) in ready.rev() {
            self.index.link(&fence, place)?;
        }
        fail::fail_point!("index-begun", |_| Ok(()));
        match first {
            Some((_, place)) => self.index.link(&fence, place),
            None => self.index.unlink(&fence),
        }
    }

    fn write(&mut self, rows: &[Row]) -> Result<(), StoreError> {
        let Some(Row { key, .. }) = rows.first() else { return Ok(()) };
        let place = self.index.heap.add(&block::pack(rows))?;
        if self.fence.is_some() {
            self.ready.push((users(key), place));
            return Ok(());
        }
        self.index.link(&users(key), place)
    }
}
