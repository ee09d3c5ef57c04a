//! Walking over the rows of a range while blocks change.

use std::ops::Bound;

use sled::IVec;
use yuanli_ports::store::{Key, Range, StoreError};

use super::block::Row;
use super::{BEGIN, END, Fenced, Index, is_before, users};

/// The rows of a range, in its direction.
pub(super) struct Rows {
    index: Index,
    range: Range,
    /// The key of the last row: what is met again is left out.
    last: Option<Key>,
    /// The fence of the last block.
    fence: Option<IVec>,
    /// Rows of the last block, the next one at the end.
    ready: Vec<Row>,
}

impl Rows {
    pub(super) fn new(index: Index, range: Range) -> Self {
        Self { index, range, last: None, fence: None, ready: Vec::new() }
    }

    pub(super) fn next(&mut self) -> Option<Result<Row, StoreError>> {
        loop {
            if let Some(row) = self.ready.pop() {
                self.last = Some(row.key.clone());
                return Some(Ok(row));
            }
            match self.step() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => return Some(Err(error)),
            }
        }
    }

    /// Takes the rows of the next block. Each block is looked for anew: those beside it may have changed.
    fn step(&mut self) -> Result<bool, StoreError> {
        let is_reverse = self.range.is_reverse;
        let found = match (&self.fence, is_reverse) {
            (Some(fence), false) => self.index.block_after(Bound::Excluded(fence))?,
            (Some(fence), true) => self.index.block_before(Bound::Excluded(fence))?,
            (None, false) => self.first()?,
            (None, true) => match &self.range.end {
                Bound::Included(key) => self.index.block_before(Bound::Included(&users(key)))?,
                Bound::Excluded(key) => self.index.block_before(Bound::Excluded(&users(key)))?,
                Bound::Unbounded => self.index.block_before(Bound::Excluded(END))?,
            },
        };
        let Some((fence, place)) = found else { return Ok(false) };
        if self.is_beyond(&fence) {
            return Ok(false);
        }
        let (range, last) = (&self.range, self.last.as_ref());
        let is_new = |row: &Row| match last {
            Some(last) if is_reverse => row.key < *last,
            Some(last) => row.key > *last,
            None => true,
        };
        // Up to the block after it: what lies beyond is of a cut that is not done, and is in that block too. In reverse
        // that is the block before this step, whatever was cut off in between.
        let end = match (is_reverse, &self.fence) {
            (true, fence) => fence.clone(),
            (false, _) => self.index.block_after(Bound::Excluded(&fence))?.map(|(fence, _)| fence),
        };
        let is_own = |row: &Row| end.as_ref().is_none_or(|end| is_before(&row.key, end));
        self.ready = self.index.rows(place)?;
        self.ready.retain(|row| range.contains(&row.key) && is_new(row) && is_own(row));
        if !is_reverse {
            self.ready.reverse();
        }
        self.fence = Some(fence);
        Ok(true)
    }

    /// The block that the first row of a range is in, or the one after where it would be.
    fn first(&self) -> Result<Option<Fenced>, StoreError> {
        let begin = match &self.range.start {
            Bound::Included(key) | Bound::Excluded(key) => {
                self.index.block_before(Bound::Included(&users(key)))?
            }
            Bound::Unbounded => None,
        };
        match (begin, &self.range.start) {
            (Some(begin), _) => Ok(Some(begin)),
            (None, Bound::Included(key) | Bound::Excluded(key)) => {
                self.index.block_after(Bound::Excluded(&users(key)))
            }
            (None, Bound::Unbounded) => self.index.block_after(Bound::Included(BEGIN)),
        }
    }

    /// Whether a block has nothing of the range, nor has any after it.
    fn is_beyond(&self, fence: &[u8]) -> bool {
        match (&self.fence, self.range.is_reverse) {
            (_, false) => match &self.range.end {
                Bound::Included(key) => fence > &users(key)[..],
                Bound::Excluded(key) => fence >= &users(key)[..],
                Bound::Unbounded => false,
            },
            // All that lies before the last one lies before the range.
            (Some(last), true) => match &self.range.start {
                Bound::Included(key) | Bound::Excluded(key) => last[..] <= users(key)[..],
                Bound::Unbounded => false,
            },
            (None, true) => false,
        }
    }
}
