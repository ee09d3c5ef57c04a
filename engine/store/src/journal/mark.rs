//! The high-water mark: up to where commits were acknowledged.
//!
//! Written after each sync and never synced itself. A mark that is behind proves nothing; one that is ahead of the
//! journal proves that acknowledged commits are missing.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::{Disk, DiskFile, read_whole};

pub(crate) const NAME: &str = "mark";
const MAGIC: &[u8; 4] = b"ymk1";
const BYTES: usize = 16;

/// The mark of a journal that is written.
#[derive(Debug)]
pub(crate) struct Mark {
    path: PathBuf,
    file: Option<Arc<dyn DiskFile>>,
}

impl Mark {
    pub(crate) fn new(folder: &Path) -> Self {
        Self { path: folder.join(NAME), file: None }
    }

    /// Says that all commits before this revision are durable. What fails here weakens a later check and nothing else.
    pub(crate) fn set(&mut self, disk: &dyn Disk, end: u64) {
        if let Err(error) = self.write(disk, end) {
            tracing::debug!(%error, "the journal's mark is not written");
            self.file = None;
        }
    }

    fn write(&mut self, disk: &dyn Disk, end: u64) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            none => {
                let opened = match disk.open(&self.path) {
                    Err(e) if e.kind() == io::ErrorKind::NotFound => disk.create(&self.path)?,
                    opened => opened?,
                };
                none.insert(opened)
            }
        };
        file.write_at(&encode(end), 0)
    }
}

fn encode(end: u64) -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    bytes[..4].copy_from_slice(MAGIC);
    bytes[8..].copy_from_slice(&end.to_le_bytes());
    let crc = crc32c::crc32c(&bytes[8..]);
    bytes[4..8].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// The revision of the first commit that was not acknowledged, as far as a mark says so.
pub(crate) fn read(disk: &dyn Disk, folder: &Path) -> io::Result<Option<u64>> {
    let file = match disk.open(&folder.join(NAME)) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    let bytes = read_whole(&*file)?;
    let end = bytes.get(8..BYTES).and_then(|end| <[u8; 8]>::try_from(end).ok()).map(u64::from_le_bytes);
    // One that is torn or damaged says nothing.
    Ok(end.filter(|end| bytes[..BYTES] == encode(*end)))
}
