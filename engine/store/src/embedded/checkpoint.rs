//! What is known of the index's files: up to where they hold the truth, and whether they can be believed.
//!
//! Two cases are safe. The index was *closed*: its files were synced and have the checksums that were noted. Or it is
//! *in use* by a process that was killed: the system that ran it still runs, in which case the files are as they were
//! left, and they are the very files (a copy may be of several moments). In every other case the index is thrown away.
//!
//! The index is as long as the history, and most commands are short. So what was closed under the system that still runs
//! is not read again to be believed: the very files, unchanged, are. And when it is closed only those files are read that
//! have changed since it was opened, of the heap what was added.

use std::fs::{self, File, Metadata};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::index::BLOCKS;
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
    Closed {
        files: Vec<Sum>,
        /// Where they were closed; absent where an earlier version has done it.
        #[serde(default, rename = "in")]
        place: Option<Place>,
    },
    InUse(Place),
}

/// Which folder, under which start of the system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Place {
    boot: String,
    device: u64,
    inode: u64,
}

/// A file and its checksum.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Sum {
    name: String,
    size_bytes: u64,
    crc32c: u32,
    /// What else the system said of it; absent where an earlier version has asked.
    #[serde(default)]
    seen: Option<Seen>,
}

/// What tells a file that has changed from one that has not, as long as the system runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Seen {
    inode: u64,
    /// Seconds and nanoseconds.
    modified: (i64, i64),
    changed: (i64, i64),
}

/// The files of an index as they were when it was closed, for the next time that it is.
#[derive(Debug, Clone, Default)]
pub(crate) struct Known {
    number: u64,
    files: Vec<Sum>,
}

impl Checkpoint {
    /// Of an index that this process writes to.
    pub(crate) fn in_use(layout: &Layout, number: u64, revision: u64) -> io::Result<Self> {
        let state = State::InUse(Place::of(&layout.index(number))?);
        Ok(Self { version: VERSION, number, revision, state })
    }

    /// Of an index that nobody has open: syncs its files. `known` is what was known of it when it was opened.
    pub(crate) fn closed(layout: &Layout, number: u64, revision: u64, known: &Known) -> io::Result<Self> {
        let index = layout.index(number);
        let known = if known.number == number { &known.files[..] } else { &[] };
        let files = paths(&index)?
            .into_iter()
            .map(|name| {
                let before = known.iter().find(|sum| sum.name == name);
                sum_synced(&index.join(&name), name, before)
            })
            .collect::<io::Result<_>>()?;
        File::open(&index)?.sync_all()?;
        let state = State::Closed { files, place: Some(Place::of(&index)?) };
        Ok(Self { version: VERSION, number, revision, state })
    }

    /// Whether the files of the index are those that this was written of.
    pub(crate) fn is_true(&self, layout: &Layout) -> io::Result<bool> {
        if self.version != VERSION {
            return Ok(false);
        }
        let index = layout.index(self.number);
        match &self.state {
            State::InUse(place) => Ok(*place == Place::of(&index)?),
            State::Closed { files, place } => {
                let names = paths(&index)?;
                if !names.iter().eq(files.iter().map(|sum| &sum.name)) {
                    return Ok(false);
                }
                let is_here = *place == Some(Place::of(&index)?);
                for sum in files {
                    let is_as_before =
                        is_here && sum.seen == Some(Seen::of(&fs::metadata(index.join(&sum.name))?));
                    if !is_as_before && !sum.is_of(&mut File::open(index.join(&sum.name))?)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
        }
    }

    /// The files that it was written of, if it was written when the index was closed.
    pub(crate) fn into_known(self) -> Known {
        match self.state {
            State::Closed { files, .. } => Known { number: self.number, files },
            State::InUse(_) => Known::default(),
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
        temporary.write_all(&serde_json::to_vec(self)?)?;
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

impl Place {
    fn of(folder: &Path) -> io::Result<Self> {
        let metadata = fs::metadata(folder)?;
        let boot = fs::read_to_string(BOOT_ID)?.trim().to_owned();
        Ok(Self { boot, device: metadata.dev(), inode: metadata.ino() })
    }
}

impl Seen {
    fn of(metadata: &Metadata) -> Self {
        Self {
            inode: metadata.ino(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

impl Sum {
    fn is_of(&self, file: &mut File) -> io::Result<bool> {
        Ok(sum(file, 0)? == (self.size_bytes, self.crc32c))
    }
}

/// The names of the files below a folder, sorted, with those of the folders they lie in.
fn paths(folder: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.file_type()?.is_dir() {
            names.extend(paths(&entry.path())?.into_iter().map(|below| format!("{name}/{below}")));
        } else {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Brings a file to the device and sums it up. One that is as it was `before` was synced then.
fn sum_synced(path: &Path, name: String, before: Option<&Sum>) -> io::Result<Sum> {
    let mut file = File::open(path)?;
    let metadata = file.metadata()?;
    let seen = Seen::of(&metadata);
    let before = before.and_then(|sum| Some((sum, sum.seen?)));
    if let Some((sum, was)) = before
        && was == seen
        && sum.size_bytes == metadata.len()
    {
        return Ok(sum.clone());
    }
    file.sync_data()?;
    // The heap only grows: what there was is as it was.
    let grown = before
        .filter(|(sum, was)| name == BLOCKS && was.inode == seen.inode && sum.size_bytes <= metadata.len());
    let (size_bytes, crc32c) = match grown {
        Some((before, _)) => {
            file.seek(SeekFrom::Start(before.size_bytes))?;
            let (size, crc) = sum(&mut file, before.crc32c)?;
            (before.size_bytes + size, crc)
        }
        None => sum(&mut file, 0)?,
    };
    Ok(Sum { name, size_bytes, crc32c, seen: Some(seen) })
}

/// How much is left of a file, and the checksum of it, going on with that of what comes before.
fn sum(file: &mut File, before: u32) -> io::Result<(u64, u32)> {
    let mut buffer = vec![0; READ_BYTES];
    let (mut size, mut crc) = (0, before);
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
