//! How much there is on a disk, and how quick it is.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

/// `st_blocks` counts in these, whatever the file system's own blocks are.
const BLOCK_BYTES: u64 = 512;

/// Bytes that the files at and below a path take on the disk; 0 where there is nothing.
///
/// # Errors
/// What the system says.
pub fn size(path: &Path) -> io::Result<u64> {
    size_of(path, &mut HashSet::new())
}

/// `seen` has the files that were counted and have other names as well.
fn size_of(path: &Path, seen: &mut HashSet<(u64, u64)>) -> io::Result<u64> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(e) => return Err(e),
    };
    if !metadata.is_dir() {
        let is_counted = metadata.nlink() > 1 && !seen.insert((metadata.dev(), metadata.ino()));
        return Ok(if is_counted { 0 } else { metadata.blocks() * BLOCK_BYTES });
    }
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(e) => return Err(e),
    };
    let mut bytes = 0;
    for entry in entries {
        bytes += size_of(&entry?.path(), seen)?;
    }
    Ok(bytes)
}

/// Bytes that are free on the disk of a path, for whoever is not root.
///
/// # Errors
/// What the system says.
pub fn free(path: &Path) -> io::Result<u64> {
    let space = rustix::fs::statvfs(path)?;
    Ok(space.f_bavail * space.f_frsize)
}

/// Writes over a small file in a folder and syncs it, so many times.
///
/// # Errors
/// What the system says.
pub fn time_syncs(folder: &Path, times: u32) -> io::Result<()> {
    let file = tempfile::tempfile_in(folder)?;
    file.write_all_at(&[0; BLOCK_BYTES as usize], 0)?;
    file.sync_all()?;
    for time in 0..times {
        file.write_all_at(&[time as u8; BLOCK_BYTES as usize], 0)?;
        file.sync_data()?;
    }
    Ok(())
}
