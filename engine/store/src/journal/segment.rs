//! A file of the journal: a header, then frames, then what is not written yet.
//!
//! ```text
//! magic    8     "yuanliJ\0"
//! version  u32
//! crc      u32   CRC-32C of what follows, up to the frames
//! first    u64   revision of the first commit that belongs here
//! salt     u64
//! attempt  u32   0, or how often segments with this first revision were begun before
//! zeroes         up to byte 64
//! ```
//!
//! A segment voids all frames of earlier ones with revisions from its first on: it was begun because writing those
//! failed, and nobody was told that they are there.

use super::frame::{self, Header, Salt};

/// Where the frames begin.
pub(crate) const HEADER_BYTES: usize = 64;
const MAGIC: &[u8; 8] = b"yuanliJ\0";
const VERSION: u32 = 1;
const SUFFIX: &str = ".journal";

/// Which segment: segments are ordered by their first revision, then by attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Id {
    pub(crate) first: u64,
    pub(crate) attempt: u32,
}

impl Id {
    /// The name of its file.
    pub(crate) fn name(self) -> String {
        format!("{:020}.{:02}{SUFFIX}", self.first, self.attempt)
    }

    /// The segment whose file has this name.
    pub(crate) fn of_name(name: &str) -> Option<Self> {
        let (first, attempt) = name.strip_suffix(SUFFIX)?.split_once('.')?;
        let id = Self { first: first.parse().ok()?, attempt: attempt.parse().ok()? };
        (id.name() == name).then_some(id)
    }
}

/// The header of a segment.
pub(crate) fn header(id: Id, salt: Salt) -> [u8; HEADER_BYTES] {
    let mut bytes = [0; HEADER_BYTES];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
    bytes[16..24].copy_from_slice(&id.first.to_le_bytes());
    bytes[24..32].copy_from_slice(&salt.to_le_bytes());
    bytes[32..36].copy_from_slice(&id.attempt.to_le_bytes());
    let crc = crc32c::crc32c(&bytes[16..]);
    bytes[12..16].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// What is wrong with a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BadHeader {
    /// It is none, or is damaged.
    Unreadable,
    /// A newer engine wrote it.
    Newer(u32),
    /// It is that of another segment.
    Other,
}

/// Checks the header of a segment and takes its salt.
pub(crate) fn read_header(bytes: &[u8], id: Id) -> Result<Salt, BadHeader> {
    let header = bytes.get(..HEADER_BYTES).ok_or(BadHeader::Unreadable)?;
    let number = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().expect("four bytes"));
    let long = |at: usize| u64::from_le_bytes(header[at..at + 8].try_into().expect("eight bytes"));
    if &header[..8] != MAGIC || number(12) != crc32c::crc32c(&header[16..]) {
        return Err(BadHeader::Unreadable);
    }
    if number(8) != VERSION {
        return Err(BadHeader::Newer(number(8)));
    }
    if (Id { first: long(16), attempt: number(32) }) != id {
        return Err(BadHeader::Other);
    }
    Ok(long(24))
}

/// Walks over the frames of a segment.
#[derive(Debug)]
pub(crate) struct Frames<'a> {
    bytes: &'a [u8],
    salt: Salt,
    offset: usize,
}

impl<'a> Frames<'a> {
    pub(crate) fn new(bytes: &'a [u8], salt: Salt) -> Self {
        Self { bytes, salt, offset: HEADER_BYTES }
    }

    /// Where the next frame would begin.
    pub(crate) fn offset(&self) -> usize {
        self.offset
    }

    /// The next frame if it begins with this revision.
    pub(crate) fn next(&mut self, expected: u64) -> Option<(Header, &'a [u8])> {
        let (header, body) = frame::open(self.bytes.get(self.offset..)?, self.salt)?;
        (header.sequence == expected).then(|| {
            // The zeroes that fill up the last one may be cut off.
            self.offset = (self.offset + header.size()).min(self.bytes.len());
            (header, body)
        })
    }

    /// A whole frame after this place that does not begin before `expected`: what is at this place was written and is
    /// gone.
    pub(crate) fn later(&self, expected: u64) -> Option<(usize, Header)> {
        let rest = self.bytes.get(self.offset..)?;
        let written = written(rest).len();
        // A segment has no more commits than bytes. Looked at first, as the checksum of everything that is no frame
        // would take hours.
        let possible = expected..=expected.saturating_add(rest.len() as u64);
        (0..written).step_by(frame::ALIGNMENT).find_map(|at| {
            frame::sequence(&rest[at..]).filter(|sequence| possible.contains(sequence))?;
            let (header, _) = frame::open(&rest[at..], self.salt)?;
            Some((self.offset + at, header))
        })
    }

    /// Whether anything but zeroes follows.
    pub(crate) fn is_followed(&self) -> bool {
        self.bytes.get(self.offset..).is_some_and(|rest| !written(rest).is_empty())
    }
}

/// The bytes up to the last one that is not zero. Most of a segment is zeroes, and each start looks at them.
fn written(bytes: &[u8]) -> &[u8] {
    const ZEROES: [u8; 4096] = [0; 4096];
    let mut written = bytes;
    while let Some((before, last)) = written.split_last_chunk::<{ ZEROES.len() }>()
        && *last == ZEROES
    {
        written = before;
    }
    let end = written.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    &written[..end]
}
