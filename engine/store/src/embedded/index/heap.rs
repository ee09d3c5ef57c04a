//! The bytes of an index: blocks and long values, one after the other in a file that only grows.
//!
//! What takes the place of something is written behind it, so a reader that knows a place can read it for as long as
//! it has the file open, whatever is written meanwhile. What nobody knows the place of any more is waste; the whole
//! index is made anew when there is too much of it, see [`Heap::is_wasteful`].

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use yuanli_ports::store::StoreError;

/// Waste is borne up to the size of what is in use,
const WASTE_PART: u64 = 1;
/// and this much beside it, in bytes: making a small index anew saves nothing.
const WASTE_LEAST: u64 = 32 * 1024 * 1024;

/// Where something lies in a heap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    offset: u64,
    length: u32,
    crc32c: u32,
}

impl Place {
    pub(super) const BYTES: usize = size_of::<u64>() + 2 * size_of::<u32>();

    pub(super) fn encode(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..8].copy_from_slice(&self.offset.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.length.to_le_bytes());
        bytes[12..].copy_from_slice(&self.crc32c.to_le_bytes());
        bytes
    }

    #[cfg(test)]
    pub(super) const fn length(self) -> u32 {
        self.length
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (offset, rest) = bytes.split_first_chunk()?;
        let (length, rest) = rest.split_first_chunk()?;
        let crc32c = u32::from_le_bytes(rest.try_into().ok()?);
        let (offset, length) = (u64::from_le_bytes(*offset), u32::from_le_bytes(*length));
        Some(Self { offset, length, crc32c })
    }
}

/// The file. One thread writes, all may read.
#[derive(Debug)]
pub(super) struct Heap {
    file: File,
    end: AtomicU64,
    /// Bytes that are in use; after a crash about.
    used: AtomicU64,
}

impl Heap {
    pub(super) fn open(path: &Path, used: u64) -> io::Result<Self> {
        let file = File::options().read(true).write(true).create(true).truncate(false).open(path)?;
        let end = file.metadata()?.len();
        Ok(Self { file, end: end.into(), used: used.into() })
    }

    /// Adds something. It can be read from the place that this returns.
    pub(super) fn add(&self, bytes: &[u8]) -> Result<Place, StoreError> {
        let offset = self.end.load(Ordering::Relaxed);
        let length = u32::try_from(bytes.len()).expect("values are bounded far below 4 GiB");
        self.file.write_all_at(bytes, offset).map_err(|e| unavailable(&e))?;
        self.end.store(offset + u64::from(length), Ordering::Relaxed);
        self.used.fetch_add(u64::from(length), Ordering::Relaxed);
        Ok(Place { offset, length, crc32c: crc32c::crc32c(bytes) })
    }

    /// Says that something is not in use any more.
    pub(super) fn forget(&self, place: Place) {
        let less = |used: u64| Some(used.saturating_sub(place.length.into()));
        // Never refused.
        let _ = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }

    pub(super) fn read(&self, place: Place) -> Result<Bytes, StoreError> {
        let mut bytes = vec![0; place.length as usize];
        match self.file.read_exact_at(&mut bytes, place.offset) {
            Ok(()) if crc32c::crc32c(&bytes) == place.crc32c => Ok(bytes.into()),
            Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => Err(unavailable(&error)),
            _ => Err(StoreError::Damaged(format!("the index holds something else at byte {}", place.offset))),
        }
    }

    pub(super) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Whether making the index anew gives back more than it takes.
    pub(super) fn is_wasteful(&self) -> bool {
        let (end, used) = (self.end.load(Ordering::Relaxed), self.used());
        end.saturating_sub(used) > WASTE_LEAST + used * WASTE_PART
    }
}

fn unavailable(error: &io::Error) -> StoreError {
    StoreError::Unavailable(format!("the index: {error}"))
}
