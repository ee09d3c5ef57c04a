//! One frame of the journal: the commits of a group, with what shows that they are whole.
//!
//! ```text
//! crc      u32   CRC-32C of the segment's salt and all that follows
//! length   u32   bytes of the body
//! sequence u64   revision of the first commit
//! count    u32   commits in the body
//! version  u32   of the body's encoding
//! body     length bytes, then zeroes up to the next multiple of 8
//! ```
//!
//! Integers are little-endian. The salt ties a frame to its segment: bytes of another file, or of what a file was used
//! for before, are never taken for a frame.

/// Bytes before the body.
pub(crate) const HEADER_BYTES: usize = 24;
/// Frames begin at multiples of this.
pub(crate) const ALIGNMENT: usize = 8;
/// The encoding of the body that this engine writes: see [`super::commit`].
const VERSION: u32 = 1;

/// What ties frames to their segment.
pub(crate) type Salt = u64;

/// What a frame says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    /// Revision of its first commit.
    pub(crate) sequence: u64,
    /// Its commits.
    pub(crate) count: u32,
    /// Bytes of its body.
    pub(crate) length: usize,
    /// How the body is encoded.
    pub(crate) version: u32,
}

impl Header {
    /// Revision of the first commit after it.
    pub(crate) fn end(&self) -> u64 {
        self.sequence + u64::from(self.count)
    }

    /// Bytes that the frame takes in its segment.
    pub(crate) fn size(&self) -> usize {
        size(self.length)
    }
}

/// Bytes that a frame takes whose body has this length.
pub(crate) const fn size(body: usize) -> usize {
    (HEADER_BYTES + body).next_multiple_of(ALIGNMENT)
}

/// Makes a frame of a buffer that holds [`HEADER_BYTES`] of anything and then the body.
pub(crate) fn seal(buffer: &mut Vec<u8>, salt: Salt, sequence: u64, count: u32) {
    let length = u32::try_from(buffer.len() - HEADER_BYTES).expect("groups are bounded far below 4 GiB");
    buffer[4..8].copy_from_slice(&length.to_le_bytes());
    buffer[8..16].copy_from_slice(&sequence.to_le_bytes());
    buffer[16..20].copy_from_slice(&count.to_le_bytes());
    buffer[20..24].copy_from_slice(&VERSION.to_le_bytes());
    let crc = checksum(salt, &buffer[4..]);
    buffer[..4].copy_from_slice(&crc.to_le_bytes());
    buffer.resize(size(length as usize), 0);
}

/// The frame at the beginning of these bytes and its body, if there is a whole one.
pub(crate) fn open(bytes: &[u8], salt: Salt) -> Option<(Header, &[u8])> {
    let length = number(bytes, 4)? as usize;
    let whole = bytes.get(..HEADER_BYTES.checked_add(length)?)?;
    if number(bytes, 0)? != checksum(salt, &whole[4..]) {
        return None;
    }
    let sequence = sequence(whole)?;
    let header = Header { sequence, count: number(whole, 16)?, length, version: number(whole, 20)? };
    // Nothing that was sealed is empty or reaches beyond the numbers there are.
    let is_possible = header.count > 0 && sequence.checked_add(u64::from(header.count)).is_some();
    is_possible.then_some((header, &whole[HEADER_BYTES..]))
}

/// The first revision that a frame at the beginning of these bytes would have.
pub(crate) fn sequence(bytes: &[u8]) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(8..16)?.try_into().ok()?))
}

/// Whether an engine of this version can read the body.
pub(crate) fn is_known(version: u32) -> bool {
    version == VERSION
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn checksum(salt: Salt, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&salt.to_le_bytes()), bytes)
}
