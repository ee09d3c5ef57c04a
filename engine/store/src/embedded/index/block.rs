//! A block of the index: rows whose keys lie together, as one piece of its heap.
//!
//! ```text
//! kind  u8    PLAIN or PACKED
//! raw   u32   bytes when unpacked; of PACKED only
//! data        the rows as postcard has them, one after the other; of PACKED one zstd frame
//! ```
//!
//! An index is thrown away where its encoding has changed: see `checkpoint.rs`.

use std::cell::RefCell;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use yuanli_ports::store::{Key, Revision};
use zstd::bulk::{Compressor, Decompressor};

use super::heap::Place;
use crate::encode;

const PLAIN: u8 = 0;
const PACKED: u8 = 1;
/// Blocks are unpacked at every read: speed matters more than the last percent.
const LEVEL: i32 = 1;
/// A block is packed where that saves at least one byte in this many; else unpacking it again is not worth it.
const SAVING: usize = 8;
/// After each block that was not worth it, twice as many are left as they are, up to this many: values that do not get
/// smaller rarely come alone.
const MOST_LEFT: u32 = 31;
/// More than a block ever has: rows stop being added far below.
const MAX_RAW_BYTES: usize = 1024 * 1024;

thread_local! {
    // Each holds tables that take longer to make than a block takes to pack.
    static PACKER: RefCell<Packer> = RefCell::new(Packer::new());
    static UNPACKER: RefCell<Decompressor<'static>> =
        RefCell::new(Decompressor::new().expect("without a dictionary nothing can be wrong with it"));
}

/// Packs blocks where that is worth it.
struct Packer {
    zstd: Compressor<'static>,
    /// How many blocks are left as they are before the next one is tried, and how many were after the last try.
    left: u32,
    last: u32,
}

impl Packer {
    fn new() -> Self {
        let zstd = Compressor::new(LEVEL).expect("the level is one that there is");
        Self { zstd, left: 0, last: 0 }
    }

    /// One zstd frame; `None` where the block is to be left as it is.
    fn pack(&mut self, raw: &[u8]) -> Option<Vec<u8>> {
        if self.left > 0 {
            self.left -= 1;
            return None;
        }
        let packed = self.zstd.compress(raw).ok();
        let packed = packed.filter(|data| data.len() + raw.len() / SAVING <= raw.len());
        self.last = if packed.is_some() { 0 } else { (self.last * 2 + 1).min(MOST_LEFT) };
        self.left = self.last;
        packed
    }
}

/// What the index says of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) key: Key,
    pub(super) revision: Revision,
    pub(super) value: Value,
}

/// A value, or where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Whole(Bytes),
    /// Beside the block.
    Apart(Place),
}

#[derive(Serialize, Deserialize)]
struct Stored<'a> {
    #[serde(borrow, with = "serde_bytes")]
    key: &'a [u8],
    revision: u64,
    #[serde(borrow)]
    value: StoredValue<'a>,
}

#[derive(Serialize, Deserialize)]
enum StoredValue<'a> {
    Whole(#[serde(borrow, with = "serde_bytes")] &'a [u8]),
    Apart(Place),
}

impl Row {
    /// Bytes that it takes in a block, about.
    pub(super) fn size(&self) -> usize {
        let value = match &self.value {
            Value::Whole(value) => value.len(),
            Value::Apart(_) => 0,
        };
        self.key.as_bytes().len() + value
    }
}

/// The block of these rows, which are in the order of their keys.
pub(super) fn pack(rows: &[Row]) -> Vec<u8> {
    let mut raw = vec![PLAIN];
    for Row { key, revision, value } in rows {
        let value = match value {
            Value::Whole(value) => StoredValue::Whole(value),
            Value::Apart(place) => StoredValue::Apart(*place),
        };
        let stored = Stored { key: key.as_bytes(), revision: revision.0, value };
        raw = encode::append(raw, &stored);
    }
    let Some(data) = PACKER.with_borrow_mut(|packer| packer.pack(&raw[1..])) else { return raw };
    let length = u32::try_from(raw.len() - 1).expect("blocks are bounded far below 4 GiB");
    let mut packed = vec![PACKED];
    packed.extend(length.to_le_bytes());
    packed.extend(data);
    packed
}

/// The rows of a block; `None` where it is none.
pub(super) fn unpack(block: &Bytes) -> Option<Vec<Row>> {
    let raw = raw(block)?;
    let mut rest = &raw[..];
    let mut rows = Vec::new();
    while !rest.is_empty() {
        let stored;
        (stored, rest) = postcard::take_from_bytes(rest).ok()?;
        rows.push(own(&raw, &stored));
    }
    Some(rows)
}

/// The row of a key in a block, if there is one; `None` where the block is none.
pub(super) fn find(block: &Bytes, key: &Key) -> Option<Option<Row>> {
    let raw = raw(block)?;
    let mut rest = &raw[..];
    while !rest.is_empty() {
        let stored: Stored<'_>;
        (stored, rest) = postcard::take_from_bytes(rest).ok()?;
        if stored.key == key.as_bytes() {
            return Some(Some(own(&raw, &stored)));
        }
    }
    Some(None)
}

/// A row whose bytes are those of its block.
fn own(raw: &Bytes, stored: &Stored<'_>) -> Row {
    Row {
        key: Key::new(raw.slice_ref(stored.key)),
        revision: Revision(stored.revision),
        value: match stored.value {
            StoredValue::Whole(value) => Value::Whole(raw.slice_ref(value)),
            StoredValue::Apart(place) => Value::Apart(place),
        },
    }
}

fn raw(block: &Bytes) -> Option<Bytes> {
    match block.split_first()? {
        (&PLAIN, raw) => Some(block.slice_ref(raw)),
        (&PACKED, rest) => {
            let (length, data) = rest.split_first_chunk::<4>()?;
            let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
            let length = (length <= MAX_RAW_BYTES).then_some(length)?;
            let raw = UNPACKER.with_borrow_mut(|unpacker| unpacker.decompress(data, length)).ok()?;
            (raw.len() == length).then(|| raw.into())
        }
        _ => None,
    }
}
