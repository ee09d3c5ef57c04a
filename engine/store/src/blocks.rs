//! Files of compressed blocks, each with its checksum: exports, and the stream of `yuanli admin export`.
//!
//! ```text
//! block   crc     u32   CRC-32C of what follows
//!         kind    u32   the caller's; END for the last
//!         raw     u32   bytes when unpacked
//!         stored  u32   bytes of the data
//!         data          one zstd frame
//! ```
//!
//! The last block says how many came before it, so that a file that was cut between two blocks is found out.

use std::io::{self, Read, Write};

/// Kind of the last block.
const END: u32 = u32::MAX;
/// Most bytes of a block, unpacked: the largest value and its key with room to spare.
pub(crate) const MAX_RAW_BYTES: usize = 16 * 1024 * 1024;
/// Speed matters more than the last percent.
const LEVEL: i32 = 1;
/// The level for what gets no smaller: copied into a frame, at the speed of a copy.
const COPY_LEVEL: i32 = -1000;
/// A longer block is packed where this much of its beginning gets smaller by one byte in [`SAVING`].
const SAMPLE_BYTES: usize = 8 * 1024;
const SAVING: usize = 16;
const HEADER_BYTES: usize = 16;

/// Writes blocks.
pub(crate) struct Writer<W> {
    out: W,
    blocks: u64,
}

impl<W: Write> Writer<W> {
    pub(crate) fn new(out: W) -> Self {
        Self { out, blocks: 0 }
    }

    /// Writes a block.
    pub(crate) fn block(&mut self, kind: u32, raw: &[u8]) -> io::Result<()> {
        self.out.write_all(&pack(kind, raw)?)?;
        self.blocks += 1;
        Ok(())
    }

    /// What was written to, without an end.
    #[cfg(feature = "fuzzing")]
    pub(crate) fn cut(self) -> W {
        self.out
    }

    /// Writes the end and gives back what was written to.
    pub(crate) fn end(mut self) -> io::Result<W> {
        let blocks = self.blocks.to_le_bytes();
        self.block(END, &blocks)?;
        self.out.flush()?;
        Ok(self.out)
    }
}

/// One block.
pub(crate) fn pack(kind: u32, raw: &[u8]) -> io::Result<Vec<u8>> {
    let data = zstd::bulk::compress(raw, level(raw)?)?;
    let length =
        |bytes: &[u8]| u32::try_from(bytes.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput));
    let mut block = vec![0; HEADER_BYTES];
    block[4..8].copy_from_slice(&kind.to_le_bytes());
    block[8..12].copy_from_slice(&length(raw)?.to_le_bytes());
    block[12..].copy_from_slice(&length(&data)?.to_le_bytes());
    block.extend(data);
    let crc = crc32c::crc32c(&block[4..]);
    block[..4].copy_from_slice(&crc.to_le_bytes());
    Ok(block)
}

/// Values that were packed or encrypted before take as long to look through as others, and for nothing.
fn level(raw: &[u8]) -> io::Result<i32> {
    if raw.len() <= 2 * SAMPLE_BYTES {
        return Ok(LEVEL);
    }
    let packed = zstd::bulk::compress(&raw[..SAMPLE_BYTES], LEVEL)?;
    Ok(if packed.len() + SAMPLE_BYTES / SAVING <= SAMPLE_BYTES { LEVEL } else { COPY_LEVEL })
}

/// Reads blocks.
pub(crate) struct Reader<R> {
    input: R,
    blocks: u64,
    offset: u64,
}

impl<R: Read> Reader<R> {
    /// Blocks that begin `offset` bytes after the beginning of the file.
    pub(crate) fn new(input: R, offset: u64) -> Self {
        Self { input, blocks: 0, offset }
    }

    /// Where the next block begins.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// The next block; `None` after the last. What is no block is `InvalidData`.
    pub(crate) fn next(&mut self) -> io::Result<Option<(u32, Vec<u8>)>> {
        let mut header = [0; HEADER_BYTES];
        self.input.read_exact(&mut header)?;
        let number = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().expect("four bytes"));
        let (crc, kind, raw, stored) = (number(0), number(4), number(8) as usize, number(12) as usize);
        if raw > MAX_RAW_BYTES || stored > zstd::zstd_safe::compress_bound(MAX_RAW_BYTES) {
            return Err(invalid("a block is longer than blocks are"));
        }
        let mut data = Vec::new();
        self.input.by_ref().take(stored as u64).read_to_end(&mut data)?;
        if data.len() != stored {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if crc != crc32c::crc32c_append(crc32c::crc32c(&header[4..]), &data) {
            return Err(invalid("a block has another checksum than it says"));
        }
        let raw = zstd::bulk::decompress(&data, raw)?;
        self.offset += (HEADER_BYTES + stored) as u64;
        if kind == END {
            let is_all = raw == self.blocks.to_le_bytes();
            return if is_all { Ok(None) } else { Err(invalid("blocks are missing before the last")) };
        }
        self.blocks += 1;
        Ok(Some((kind, raw)))
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
