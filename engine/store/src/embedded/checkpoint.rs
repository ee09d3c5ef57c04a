//! What is known of the index's files: up to where they hold the truth, and whether they can be believed.
//!
//! Two cases are safe. The index was *closed*: its files were synced and have the checksums that were noted. Or it is
//! *in use* by a process that was killed: the system that ran it still runs, in which case the files are as they were
//! left, and they are the very files (a copy may be of several moments). In every other case the index is thrown away.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::layout::Layout;
use crate::disk::{Local, write_whole};

/// The file, beside the folder of the index.
const NAME: &str = "index.json";
/// Changes with the encoding of the index too: one of another version is made again.
const VERSION: u32 = 4;
/// Changes whenever the system starts.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
const READ_BYTES: usize = 1024 * 1024;

/// What is known of an index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Checkpoint {
    version: u32,
    /// Which index.
    pub(crate) number: u64,
    /// The last commit that the index holds, with all before it.
    pub(crate) revision: u64,
    state: State,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Closed { files: Vec<Sum> },
    InUse { boot: String, device: u64, inode: u64 },
}

/// A file and its checksum.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Sum {
    name: String,
    size_bytes: u64,
    crc32c: u32,
}

impl Checkpoint {
    /// Of an index that this process writes to.
    pub(crate) fn in_use(layout: &Layout, number: u64, revision: u64) -> io::Result<Self> {
        let (device, inode) = identity(&layout.index(number))?;
        Ok(Self { version: VERSION, number, revision, state: State::InUse { boot: boot()?, device, inode } })
    }

    /// Of an index that nobody has open: syncs its files.
    pub(crate) fn closed(layout: &Layout, number: u64, revision: u64) -> io::Result<Self> {
        let index = layout.index(number);
        let mut files = Vec::new();
        sums(&index, "", true, &mut files)?;
        File::open(&index)?.sync_all()?;
        Ok(Self { version: VERSION, number, revision, state: State::Closed { files } })
    }

    /// Whether the files of the index are those that this was written of.
    pub(crate) fn is_true(&self, layout: &Layout) -> io::Result<bool> {
        if self.version != VERSION {
            return Ok(false);
        }
        let index = layout.index(self.number);
        match &self.state {
            State::Closed { files } => {
                let mut found = Vec::new();
                sums(&index, "", false, &mut found)?;
                Ok(found == *files)
            }
            State::InUse { boot: noted, device, inode } => {
                Ok(*noted == boot()? && identity(&index)? == (*device, *inode))
            }
        }
    }

    /// Reads the checkpoint of a store; none when there is none that can be read.
    pub(crate) fn read(layout: &Layout) -> Option<Self> {
        serde_json::from_slice(&fs::read(layout.folder().join(NAME)).ok()?).ok()
    }

    /// Writes it whole. Not synced: a system that has not written it is one that has stopped, and what an older one
    /// says is still checked against the files.
    pub(crate) fn write(&self, layout: &Layout) -> io::Result<()> {
        let mut temporary = tempfile::NamedTempFile::new_in(layout.folder())?;
        serde_json::to_writer(&mut temporary, self)?;
        temporary.persist(layout.folder().join(NAME))?;
        Ok(())
    }

    /// Writes it so that it is on the device.
    pub(crate) fn write_synced(&self, layout: &Layout) -> io::Result<()> {
        write_whole(&Local, layout.folder(), NAME, &serde_json::to_vec(self)?)
    }

    /// Removes the checkpoint of a store.
    pub(crate) fn remove(layout: &Layout) -> io::Result<()> {
        match fs::remove_file(layout.folder().join(NAME)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }
}

fn boot() -> io::Result<String> {
    Ok(fs::read_to_string(BOOT_ID)?.trim().to_owned())
}

fn identity(folder: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::metadata(folder)?;
    Ok((metadata.dev(), metadata.ino()))
}

/// The files below a folder, by name.
fn sums(folder: &Path, prefix: &str, is_synced: bool, sums_of: &mut Vec<Sum>) -> io::Result<()> {
    let mut names: Vec<_> = fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
    names.sort_by_key(fs::DirEntry::file_name);
    for entry in names {
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            sums(&entry.path(), &format!("{name}/"), is_synced, sums_of)?;
            continue;
        }
        let mut file = File::open(entry.path())?;
        if is_synced {
            file.sync_data()?;
        }
        let (size_bytes, crc32c) = sum(&mut file)?;
        sums_of.push(Sum { name, size_bytes, crc32c });
    }
    Ok(())
}

fn sum(file: &mut File) -> io::Result<(u64, u32)> {
    let mut buffer = vec![0; READ_BYTES];
    let (mut size, mut crc) = (0, 0);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok((size, crc)),
            read => {
                size += read as u64;
                crc = crc32c::crc32c_append(crc, &buffer[..read]);
            }
        }
    }
}
