//! Exports: every entry of a store as of one commit, in one file that is written once.
//!
//! An export takes the place of all of the journal up to its commit, once it has been read again from the file and
//! found whole.

use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::thread::{self, JoinHandle};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use yuanli_ports::store::{Entry, Key, Revision, StoreError};

use crate::blocks;
use crate::disk::{Disk, DiskFile, TEMPORARY};
use crate::encode;
use crate::fault::{Damage, Fault};

const MAGIC: &[u8; 8] = b"yuanliE\0";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 32;
const SUFFIX: &str = ".export";
/// Kind of a block of entries.
const ENTRIES: u32 = 1;
/// Entries are collected to about this many bytes before they are packed.
const BLOCK_BYTES: usize = 256 * 1024;
const BUFFER_BYTES: usize = 256 * 1024;
/// Blocks that wait, unpacked, for whoever takes them: enough that neither side waits for long.
const BLOCKS_AHEAD: usize = 4;

/// An entry as it is stored, version 1.
#[derive(Serialize, Deserialize)]
struct Stored<'a> {
    revision: u64,
    #[serde(borrow, with = "serde_bytes")]
    key: &'a [u8],
    #[serde(borrow, with = "serde_bytes")]
    value: &'a [u8],
}

/// Adds an entry to a block.
pub(crate) fn add(block: Vec<u8>, key: &Key, entry: &Entry) -> Vec<u8> {
    let stored = Stored { revision: entry.revision.0, key: key.as_bytes(), value: &entry.value };
    encode::append(block, &stored)
}

/// The entries of a block, to be passed on: each keeps the block in memory.
pub(crate) fn entries(block: &Bytes) -> Option<Vec<(Key, Entry)>> {
    let entry = |stored: Stored<'_>| {
        let value = block.slice_ref(stored.value);
        (Key::new(block.slice_ref(stored.key)), Entry { value, revision: Revision(stored.revision) })
    };
    stored(block).map(|stored| stored.map(entry)).collect()
}

/// The entries of a block in place; `None` and nothing more where it holds something else.
fn stored(block: &[u8]) -> impl Iterator<Item = Option<Stored<'_>>> {
    let mut rest = Some(block);
    std::iter::from_fn(move || {
        let bytes = rest.filter(|bytes| !bytes.is_empty())?;
        let (stored, after) = postcard::take_from_bytes(bytes).ok().unzip();
        rest = after;
        Some(stored)
    })
}

/// The exports of a folder with their sizes, oldest first.
pub(crate) fn list(disk: &dyn Disk, folder: &Path) -> Result<Vec<(u64, u64)>, Fault> {
    let files = disk.list(folder).map_err(|e| Fault::io(folder, "read", &e))?;
    let revision = |name: &str| name.strip_suffix(SUFFIX)?.parse().ok();
    Ok(files.into_iter().filter_map(|(file, size)| Some((revision(&file)?, size))).collect())
}

/// The file of the export of a commit.
pub(crate) fn path(folder: &Path, revision: u64) -> PathBuf {
    folder.join(format!("{revision:020}{SUFFIX}"))
}

/// An export that is being written.
pub(crate) struct Maker<'a> {
    disk: &'a dyn Disk,
    folder: PathBuf,
    revision: u64,
    out: blocks::Writer<Sequential>,
    block: Vec<u8>,
    count: u64,
}

impl<'a> Maker<'a> {
    /// Begins the export of a commit.
    pub(crate) fn begin(disk: &'a dyn Disk, folder: &Path, revision: u64) -> io::Result<Self> {
        disk.make_folder(folder)?;
        let file = disk.create(&temporary(folder, revision))?;
        let mut out = Sequential { file, offset: 0 };
        out.write_all(&header(revision))?;
        let (out, block) = (blocks::Writer::new(out), Vec::new());
        Ok(Self { disk, folder: folder.to_owned(), revision, out, block, count: 0 })
    }

    /// Adds an entry; entries come by key.
    pub(crate) fn add(&mut self, key: &Key, entry: &Entry) -> io::Result<()> {
        self.block = add(std::mem::take(&mut self.block), key, entry);
        self.count += 1;
        if self.block.len() >= BLOCK_BYTES {
            self.out.block(ENTRIES, &self.block)?;
            self.block.clear();
        }
        Ok(())
    }

    /// Makes it durable, reads it again, and returns its size. It counts from now on.
    pub(crate) fn end(mut self) -> io::Result<u64> {
        if !self.block.is_empty() {
            self.out.block(ENTRIES, &self.block)?;
        }
        let out = self.out.end()?;
        out.file.sync()?;
        fail::fail_point!("export-unnamed");
        // Read before it counts: one that is not whole must not be found instead of the last.
        let temporary = temporary(&self.folder, self.revision);
        let read = Export::open_file(self.disk, temporary.clone(), self.revision).and_then(Export::count);
        let read = read.map_err(|fault| io::Error::other(fault.to_string()))?;
        if read != self.count {
            let reason = format!("it holds {read} of {} entries", self.count);
            return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
        }
        self.disk.rename(&temporary, &path(&self.folder, self.revision))?;
        self.disk.sync_folder(&self.folder)?;
        fail::fail_point!("export-named");
        Ok(out.offset)
    }
}

fn temporary(folder: &Path, revision: u64) -> PathBuf {
    folder.join(format!("{revision:020}{TEMPORARY}"))
}

/// Writes the export of a commit. Returns its size.
pub(crate) fn write(
    disk: &dyn Disk,
    folder: &Path,
    revision: u64,
    source: impl Iterator<Item = Result<(Key, Entry), StoreError>>,
) -> Result<u64, StoreError> {
    let file = |e: io::Error| StoreError::from(Fault::io(&path(folder, revision), "written", &e));
    let make = || {
        let mut maker = Maker::begin(disk, folder, revision).map_err(file)?;
        for entry in source {
            let (key, entry) = entry?;
            maker.add(&key, &entry).map_err(file)?;
        }
        maker.end().map_err(file)
    };
    make().inspect_err(|_| {
        // What could not be finished must not take the space that is left.
        let _ = disk.remove(&temporary(folder, revision));
    })
}

/// Removes the exports before that of a commit.
pub(crate) fn retire(disk: &dyn Disk, folder: &Path, revision: u64) -> Result<(), Fault> {
    for (older, _) in list(disk, folder)?.into_iter().filter(|(other, _)| *other < revision) {
        let path = path(folder, older);
        disk.remove(&path).map_err(|e| Fault::io(&path, "removed", &e))?;
    }
    Ok(())
}

fn header(revision: u64) -> [u8; HEADER_BYTES] {
    let mut bytes = [0; HEADER_BYTES];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
    bytes[16..24].copy_from_slice(&revision.to_le_bytes());
    let crc = crc32c::crc32c(&bytes[16..]);
    bytes[12..16].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// An export that is read.
pub(crate) struct Export {
    path: PathBuf,
    blocks: blocks::Reader<BufReader<Sequential>>,
    ready: std::vec::IntoIter<(Key, Entry)>,
    is_over: bool,
}

impl Export {
    pub(crate) fn open(disk: &dyn Disk, folder: &Path, revision: u64) -> Result<Self, Fault> {
        Self::open_file(disk, path(folder, revision), revision)
    }

    fn open_file(disk: &dyn Disk, path: PathBuf, revision: u64) -> Result<Self, Fault> {
        let file = disk.open(&path).map_err(|e| Fault::io(&path, "opened", &e))?;
        let mut input = BufReader::with_capacity(BUFFER_BYTES, Sequential { file, offset: 0 });
        let mut found = [0; HEADER_BYTES];
        input.read_exact(&mut found).map_err(|e| fault(&path, 0, &e))?;
        let version = u32::from_le_bytes(found[8..12].try_into().expect("four bytes"));
        let expected = header(revision);
        if found[..8] == expected[..8] && found[12..] == expected[12..] && version > VERSION {
            return Err(Fault::Newer { path, found: version });
        }
        if found != expected {
            return Err(Damage::new(&path, 0, "its header is not what was written".to_owned()).into());
        }
        let blocks = blocks::Reader::new(input, HEADER_BYTES as u64);
        Ok(Self { path, blocks, ready: Vec::new().into_iter(), is_over: false })
    }

    /// Reads it to its end and counts its entries.
    pub(crate) fn count(mut self) -> Result<u64, Fault> {
        let mut all = 0;
        while let Some(count) =
            self.block(|block| stored(block).try_fold(0, |count, entry| entry.map(|_| count + 1)))?
        {
            all += count;
        }
        Ok(all)
    }

    /// What the next block gives, which gives something where it holds entries; `None` after the last.
    fn block<T>(&mut self, read: impl FnOnce(&Bytes) -> Option<T>) -> Result<Option<T>, Fault> {
        let offset = self.blocks.offset();
        let damage = |reason: &str| Damage { path: self.path.clone(), offset, reason: reason.to_owned() };
        match self.blocks.next().map_err(|e| fault(&self.path, offset, &e))? {
            Some((ENTRIES, block)) => {
                let found = read(&Bytes::from(block))
                    .ok_or_else(|| damage("a block is whole and holds no entries"))?;
                Ok(Some(found))
            }
            Some((kind, _)) => Err(damage(&format!("a block is of the unknown kind {kind}")).into()),
            None => Ok(None),
        }
    }
}

/// The entries by key. After an error there is nothing more.
impl Iterator for Export {
    type Item = Result<(Key, Entry), Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(entry) = self.ready.next() {
                return Some(Ok(entry));
            }
            if self.is_over {
                return None;
            }
            match self.block(entries) {
                Ok(Some(found)) => self.ready = found.into_iter(),
                Ok(None) => self.is_over = true,
                Err(fault) => {
                    self.is_over = true;
                    return Some(Err(fault));
                }
            }
        }
    }
}

/// The entries of an export, which a thread of their own reads and unpacks ahead of whoever takes them.
pub(crate) struct Ahead {
    blocks: Receiver<Result<Vec<(Key, Entry)>, Fault>>,
    ready: std::vec::IntoIter<(Key, Entry)>,
    reader: Option<JoinHandle<()>>,
}

impl Export {
    /// The same entries, read ahead.
    pub(crate) fn ahead(mut self) -> io::Result<Ahead> {
        let (sender, blocks) = mpsc::sync_channel(BLOCKS_AHEAD);
        let read = move || {
            while let Some(block) = self.block(entries).transpose() {
                let is_over = block.is_err();
                // Nobody takes it any more where the other side is gone.
                if sender.send(block).is_err() || is_over {
                    return;
                }
            }
        };
        let reader = thread::Builder::new().name("export-reader".to_owned()).spawn(read)?;
        Ok(Ahead { blocks, ready: Vec::new().into_iter(), reader: Some(reader) })
    }
}

/// The entries by key. After an error there is nothing more.
impl Iterator for Ahead {
    type Item = Result<(Key, Entry), StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(entry) = self.ready.next() {
                return Some(Ok(entry));
            }
            match self.blocks.recv() {
                Ok(Ok(found)) => self.ready = found.into_iter(),
                Ok(Err(fault)) => return Some(Err(fault.into())),
                // A reader that panicked has not come to the end.
                Err(_) => {
                    let is_cut = self.reader.take()?.join().is_err();
                    let cut = StoreError::Unavailable("the export could not be read to its end".to_owned());
                    return is_cut.then_some(Err(cut));
                }
            }
        }
    }
}

fn fault(path: &Path, offset: u64, error: &io::Error) -> Fault {
    let reason = match error.kind() {
        io::ErrorKind::UnexpectedEof => "it ends too early".to_owned(),
        io::ErrorKind::InvalidData => error.to_string(),
        _ => return Fault::io(path, "read", error),
    };
    Damage { path: path.to_owned(), offset, reason }.into()
}

/// A file that is written or read from its beginning to its end.
pub(crate) struct Sequential {
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) offset: u64,
}

impl Write for Sequential {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_at(bytes, self.offset)?;
        self.offset += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Sequential {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.file.size()?.saturating_sub(self.offset);
        let length = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        self.file.read_at(&mut buffer[..length], self.offset)?;
        self.offset += length as u64;
        Ok(length)
    }
}
