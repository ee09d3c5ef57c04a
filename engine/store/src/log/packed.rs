//! Long logs of runs that are over: the same lines in compressed blocks, with an index for reading from anywhere.
//!
//! ```text
//! blocks   each of whole lines, about 256 KiB of them unpacked
//! index    one block: for each of those its place in the log, its place in the file and its first line
//! trailer  offset of the index u64, magic "yuanliL1"
//! ```
//!
//! Offsets that callers know go on meaning the same: they count the unpacked bytes.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::blocks;
use crate::disk::TEMPORARY;

/// Kinds of blocks.
const LINES: u32 = 20;
const INDEX: u32 = 21;
const MAGIC: &[u8; 8] = b"yuanliL1";
const TRAILER_BYTES: u64 = 16;
/// Lines are collected to this many bytes before they are packed.
const BLOCK_BYTES: usize = 256 * 1024;
/// Longest piece of a block: a line may be longer than a block, and is cut then.
const MAX_BLOCK_BYTES: usize = blocks::MAX_RAW_BYTES;

/// A block of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Block {
    /// Where it begins in the log, in unpacked bytes.
    begin: u64,
    /// Where it begins in the file.
    offset: u64,
    /// Lines before it.
    lines: u64,
}

/// Packs the first `bytes` of a log into another file, which takes its place once it is on the device.
pub(crate) fn pack(from: &Path, to: &Path) -> io::Result<()> {
    let mut input = File::open(from)?;
    let temporary = to.with_extension(TEMPORARY.trim_start_matches('.'));
    let mut make = || {
        let mut out = BufWriter::new(File::create(&temporary)?);
        write(&mut input, &mut out)?;
        out.into_inner()?.sync_all()?;
        fs::rename(&temporary, to)?;
        to.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    };
    make().inspect_err(|_: &io::Error| {
        // What is not whole must not take the space that is left.
        let _ = fs::remove_file(&temporary);
    })?;
    fs::remove_file(from)
}

fn write(input: &mut impl Read, out: &mut impl Write) -> io::Result<()> {
    let mut index = Vec::new();
    let (mut begin, mut offset, mut lines) = (0, 0, 0);
    let mut ready = Vec::new();
    loop {
        let read = input.take(BLOCK_BYTES as u64).read_to_end(&mut ready)?;
        let end = match ready.iter().rposition(|byte| *byte == b'\n') {
            _ if read == 0 => ready.len(),
            Some(end) => end + 1,
            None if ready.len() < MAX_BLOCK_BYTES - BLOCK_BYTES => continue,
            None => ready.len(),
        };
        if end == 0 {
            break;
        }
        let block = blocks::pack(LINES, &ready[..end])?;
        out.write_all(&block)?;
        index.push(Block { begin, offset, lines });
        begin += end as u64;
        offset += block.len() as u64;
        lines += ready[..end].iter().filter(|byte| **byte == b'\n').count() as u64;
        ready.drain(..end);
    }
    let index = postcard::to_allocvec(&index).map_err(io::Error::other)?;
    out.write_all(&blocks::pack(INDEX, &index)?)?;
    out.write_all(&offset.to_le_bytes())?;
    out.write_all(MAGIC)
}

/// A packed log that is read.
#[derive(Debug)]
pub(crate) struct Packed {
    file: File,
    index: Vec<Block>,
}

impl Packed {
    /// Opens a packed log; `None` when there is none.
    pub(crate) fn open(path: &Path) -> io::Result<Option<Self>> {
        let file = match File::open(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let size = file.metadata()?.len();
        let mut trailer = [0; TRAILER_BYTES as usize];
        let begin = size.checked_sub(TRAILER_BYTES).ok_or_else(|| invalid("it is too short"))?;
        file.read_exact_at(&mut trailer, begin)?;
        let (offset, magic) = trailer.split_at(8);
        if magic != MAGIC {
            return Err(invalid("it does not end as a packed log does"));
        }
        let offset = u64::from_le_bytes(offset.try_into().map_err(io::Error::other)?);
        let index = match block(&file, offset)? {
            (INDEX, raw) => postcard::from_bytes(&raw).map_err(io::Error::other)?,
            _ => return Err(invalid("its index is not where it says")),
        };
        Ok(Some(Self { file, index }))
    }

    /// Bytes of the log from an offset on, to the end of their block; none at the end.
    pub(crate) fn read(&self, offset: u64) -> io::Result<Vec<u8>> {
        let Some(found) = self.index.iter().rev().find(|block| block.begin <= offset) else {
            return Ok(Vec::new());
        };
        let (kind, mut raw) = block(&self.file, found.offset)?;
        if kind != LINES {
            return Err(invalid("a block is not where its index says"));
        }
        let skipped = usize::try_from(offset - found.begin).unwrap_or(usize::MAX).min(raw.len());
        Ok(raw.split_off(skipped))
    }

    /// Where a line begins, counted from 0; the end of the log where there are not so many.
    pub(crate) fn line(&self, line: u64) -> io::Result<u64> {
        let Some(found) = self.index.iter().rev().find(|block| block.lines <= line) else {
            return Ok(0);
        };
        let raw = self.read(found.begin)?;
        Ok(found.begin + skip_lines(&raw, line - found.lines) as u64)
    }
}

/// Bytes of this many lines.
pub(crate) fn skip_lines(bytes: &[u8], lines: u64) -> usize {
    let lines = usize::try_from(lines).unwrap_or(usize::MAX);
    bytes.split_inclusive(|byte| *byte == b'\n').take(lines).map(<[u8]>::len).sum()
}

fn block(file: &File, offset: u64) -> io::Result<(u32, Vec<u8>)> {
    let input = At { file, offset };
    blocks::Reader::new(input, offset).next()?.ok_or_else(|| invalid("a block is missing"))
}

fn invalid(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

/// A file that is read from an offset on.
struct At<'a> {
    file: &'a File,
    offset: u64,
}

impl Read for At<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.offset)?;
        self.offset += read as u64;
        Ok(read)
    }
}
