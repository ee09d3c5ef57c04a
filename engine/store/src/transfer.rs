//! A data directory as one stream, and back: `yuanli admin export` and `import`.
//!
//! The stream has blocks of four kinds, in this order: what it is, the entries of the store as of one commit, and for
//! each file its name and its content. It can be made while an engine runs: the store's files are only added to, and
//! what is read of them is a state that there was; files beside it that are removed meanwhile are [`Held`].

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Component, Path, PathBuf};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use yuanli_model::EngineId;
use yuanli_ports::store::{Entry, Key, MAX_KEY_BYTES, MAX_VALUE_BYTES, StoreError};

use crate::blocks;
use crate::disk::{Local, write_whole};
use crate::embedded::Layout;
use crate::export;
use crate::held::{FOLDERS, Held, files_of};
use crate::truth::Truth;

const MAGIC: &[u8; 8] = b"yuanliX\0";
/// Since version 2 the store of plugins is in it.
const VERSION: u32 = 2;
/// Kinds of blocks.
pub(crate) const ABOUT: u32 = 10;
const ENTRIES: u32 = 11;
const FILE: u32 = 12;
const CONTENT: u32 = 13;
const BLOCK_BYTES: usize = 256 * 1024;
const HEAD_BYTES: usize = 12;
/// More commits than any store has had; what comes after the last can still be counted.
const MAX_REVISION: u64 = u64::MAX / 2;
const STORE_FAILED: &str = "the store cannot be written";

/// What a stream holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transferred {
    /// The last commit.
    pub revision: u64,
    /// Entries of the store.
    pub entries: u64,
    /// Files beside the store.
    pub files: u64,
    /// Bytes of those files.
    pub file_bytes: u64,
}

/// Why a stream is not made or not taken.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file or the stream failed.
    #[error("{what}: {error}")]
    Io {
        /// What was being done.
        what: String,
        /// What the system said.
        error: io::Error,
    },
    /// It is no such stream, or is damaged.
    #[error("the stream is damaged after {offset} bytes: {reason}")]
    Damaged {
        /// Where the first block begins that cannot be read.
        offset: u64,
        /// What is wrong.
        reason: String,
    },
    /// A newer engine made it.
    #[error("the stream has version {0}; this engine reads up to {VERSION}: use the newer one")]
    Newer(u32),
    /// There is something where it was to go.
    #[error("{} is there already and not empty: name a new folder with --data", .0.display())]
    Occupied(PathBuf),
}

/// What a stream says of itself.
#[derive(Debug, Serialize, Deserialize)]
struct About {
    revision: u64,
}

fn failed(what: impl Into<String>) -> impl FnOnce(io::Error) -> TransferError {
    let what = what.into();
    move |error| TransferError::Io { what, error }
}

/// What a stream begins with.
pub(crate) fn head() -> Vec<u8> {
    [MAGIC.as_slice(), &VERSION.to_le_bytes()].concat()
}

/// Writes a data directory to a stream.
///
/// # Errors
/// See [`TransferError`].
pub fn export_directory(data: &Path, mut out: impl Write) -> Result<Transferred, TransferError> {
    let held = Held::of(data);
    let truth = Truth::read(&Local, &data.join("store")).map_err(StoreError::from)?;
    if let Some(held) = &held {
        // What came between the two.
        held.hold(data).map_err(failed(format!("the files of {} cannot be held", data.display())))?;
    }
    let to_stream = || failed("the stream cannot be written");
    out.write_all(&head()).map_err(to_stream())?;
    let mut out = blocks::Writer::new(out);
    let mut made = Transferred { revision: truth.revision, ..Transferred::default() };
    let about = serde_json::to_vec(&About { revision: truth.revision }).map_err(|e| to_stream()(e.into()))?;
    out.block(ABOUT, &about).map_err(to_stream())?;
    let mut block = Vec::new();
    for entry in truth.entries() {
        let (key, entry) = entry?;
        block = export::add(block, &key, &entry);
        made.entries += 1;
        if block.len() >= BLOCK_BYTES {
            out.block(ENTRIES, &block).map_err(to_stream())?;
            block.clear();
        }
    }
    out.block(ENTRIES, &block).map_err(to_stream())?;
    // After the entries: what they name was there before them, and files are only added to.
    let beside = held.as_ref().map_or(data, |held| held.path());
    for folder in FOLDERS {
        for path in files_of(beside, folder).map_err(failed(format!("{folder} cannot be read")))? {
            write_file(&mut out, beside, &path, &mut made)?;
        }
    }
    out.end().map_err(to_stream())?;
    Ok(made)
}

fn write_file<W: Write>(
    out: &mut blocks::Writer<W>,
    data: &Path,
    path: &Path,
    made: &mut Transferred,
) -> Result<(), TransferError> {
    let file = match File::open(path) {
        Ok(file) => file,
        // Removed meanwhile, where it could not be held.
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(failed(format!("{} cannot be opened", path.display()))(e)),
    };
    let name = path.strip_prefix(data).unwrap_or(path).to_string_lossy();
    let to_stream = || failed("the stream cannot be written");
    out.block(FILE, name.as_bytes()).map_err(to_stream())?;
    // What is added from now on is not part of it.
    let length = file.metadata().map_err(failed(format!("{} cannot be read", path.display())))?.len();
    let mut input = file.take(length);
    loop {
        let mut content = Vec::with_capacity(BLOCK_BYTES);
        let read = input.by_ref().take(BLOCK_BYTES as u64).read_to_end(&mut content);
        if read.map_err(failed(format!("{} cannot be read", path.display())))? == 0 {
            break;
        }
        out.block(CONTENT, &content).map_err(to_stream())?;
        made.file_bytes += content.len() as u64;
    }
    made.files += 1;
    Ok(())
}

/// Makes a data directory of a stream: an engine of its own, with the id `engine`, and with these files. It is there whole, or not
/// at all.
///
/// # Errors
/// See [`TransferError`].
pub fn import_directory(
    mut input: impl Read,
    data: &Path,
    engine: EngineId,
    files: &[(&str, &[u8])],
) -> Result<Transferred, TransferError> {
    if fs::read_dir(data).is_ok_and(|mut files| files.next().is_some()) {
        return Err(TransferError::Occupied(data.to_owned()));
    }
    check_head(&mut input)?;
    let parent = data.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let cannot = |what: &str| failed(format!("{} cannot be {what}", data.display()));
    fs::create_dir_all(parent).map_err(cannot("made"))?;
    let beside =
        tempfile::Builder::new().prefix(".yuanli-import-").tempdir_in(parent).map_err(cannot("made"))?;
    let taken = take(input, beside.path())?;
    let identity = identity(engine);
    for (name, content) in [("engine.json", identity.as_slice())].iter().chain(files) {
        write_whole(&Local, beside.path(), name, content).map_err(cannot("written"))?;
    }
    // An empty folder gives way; anything else was refused above.
    fs::rename(beside.path(), data).map_err(cannot("written"))?;
    File::open(parent).and_then(|parent| parent.sync_all()).map_err(cannot("written"))?;
    // Its name has gone with the rename.
    let _ = beside.keep();
    Ok(taken)
}

/// Without a home: the first to open it makes it its own.
fn identity(engine: EngineId) -> Vec<u8> {
    format!(r#"{{"format":2,"engine":"{engine}","has_store":false,"home":null}}"#).into_bytes()
}

fn check_head(input: &mut impl Read) -> Result<(), TransferError> {
    let mut head = [0; HEAD_BYTES];
    let damaged = |reason: &str| TransferError::Damaged { offset: 0, reason: reason.to_owned() };
    input.read_exact(&mut head).map_err(|_| damaged("it is shorter than any stream"))?;
    if &head[..8] != MAGIC {
        return Err(damaged("it does not begin as a stream of `yuanli admin export` does"));
    }
    match u32::from_le_bytes([head[8], head[9], head[10], head[11]]) {
        1..=VERSION => Ok(()),
        newer => Err(TransferError::Newer(newer)),
    }
}

/// A data directory that is made of a stream.
struct Taker<'a> {
    data: &'a Path,
    taken: Transferred,
    /// Whether the stream has said what it is.
    is_known: bool,
    /// The key of the last entry.
    last: Option<Key>,
    /// The export that the entries go to.
    store: Option<export::Maker<'a>>,
    /// The file that content goes to.
    file: Option<(File, String)>,
}

fn take(input: impl Read, data: &Path) -> Result<Transferred, TransferError> {
    let mut blocks = blocks::Reader::new(io::BufReader::new(input), HEAD_BYTES as u64);
    let (taken, last, store, file) = (Transferred::default(), None, None, None);
    let mut taker = Taker { data, taken, is_known: false, last, store, file };
    loop {
        let offset = blocks.offset();
        let Some((kind, content)) = next(&mut blocks)? else { break };
        taker.block(kind, &content, offset)?;
    }
    if !taker.is_known {
        let reason = "it does not say of what store it is".to_owned();
        return Err(TransferError::Damaged { offset: blocks.offset(), reason });
    }
    taker.end_store()?;
    taker.end_file()?;
    Ok(taker.taken)
}

impl Taker<'_> {
    fn block(&mut self, kind: u32, content: &[u8], offset: u64) -> Result<(), TransferError> {
        let damaged = |reason: &str| TransferError::Damaged { offset, reason: reason.to_owned() };
        match kind {
            ABOUT => {
                let about: About = serde_json::from_slice(content).map_err(|e| damaged(&e.to_string()))?;
                if self.is_known {
                    return Err(damaged("it says twice of what store it is"));
                }
                if about.revision > MAX_REVISION {
                    return Err(damaged("no store has had so many commits"));
                }
                (self.is_known, self.taken.revision) = (true, about.revision);
                if about.revision > 0 {
                    let exports = Layout::new(&self.data.join("store")).exports();
                    let maker = export::Maker::begin(&Local, &exports, about.revision);
                    self.store = Some(maker.map_err(failed(STORE_FAILED))?);
                }
                Ok(())
            }
            ENTRIES => {
                let entries = export::entries(&Bytes::copy_from_slice(content))
                    .ok_or_else(|| damaged("a block holds no entries"))?;
                for (key, entry) in entries {
                    self.check(&key, &entry).map_err(damaged)?;
                    let store =
                        self.store.as_mut().ok_or_else(|| damaged("there are entries of no store"))?;
                    store.add(&key, &entry).map_err(failed(STORE_FAILED))?;
                    self.taken.entries += 1;
                    self.last = Some(key);
                }
                Ok(())
            }
            FILE => {
                self.end_store()?;
                self.end_file()?;
                let name = std::str::from_utf8(content).ok().filter(|name| is_ours(Path::new(name)));
                let name =
                    name.ok_or_else(|| damaged("a file is named that does not belong to a data directory"))?;
                self.file = Some((self.create(name)?, name.to_owned()));
                self.taken.files += 1;
                Ok(())
            }
            CONTENT => {
                let (file, name) =
                    self.file.as_mut().ok_or_else(|| damaged("there is content of no file"))?;
                file.write_all(content).map_err(failed(format!("{name} cannot be written")))?;
                self.taken.file_bytes += content.len() as u64;
                Ok(())
            }
            _ => Err(damaged(&format!("a block is of the unknown kind {kind}"))),
        }
    }

    /// That a store can have held this entry: whoever made the stream may not have been an export, and what is read from
    /// an export later is relied on.
    fn check(&self, key: &Key, entry: &Entry) -> Result<(), &'static str> {
        let is_allowed =
            (1..=MAX_KEY_BYTES).contains(&key.as_bytes().len()) && entry.value.len() <= MAX_VALUE_BYTES;
        if !is_allowed {
            Err("an entry is larger than entries are")
        } else if self.last.as_ref().is_some_and(|last| last >= key) {
            Err("entries are not in the order of their keys")
        } else if !(1..=self.taken.revision).contains(&entry.revision.0) {
            Err("an entry is of a commit that there was not")
        } else {
            Ok(())
        }
    }

    fn create(&self, name: &str) -> Result<File, TransferError> {
        let path = self.data.join(name);
        let make = || {
            path.parent().map_or(Ok(()), fs::create_dir_all)?;
            File::create_new(&path)
        };
        make().map_err(failed(format!("{name} cannot be written")))
    }

    fn end_store(&mut self) -> Result<(), TransferError> {
        self.store.take().map_or(Ok(()), |store| store.end().map(|_| ()).map_err(failed(STORE_FAILED)))
    }

    fn end_file(&mut self) -> Result<(), TransferError> {
        self.file.take().map_or(Ok(()), |(file, name)| {
            file.sync_all().map_err(failed(format!("{name} cannot be written")))
        })
    }
}

/// Whether a stream may name this path: below a folder of a data directory, and not out of it again.
fn is_ours(path: &Path) -> bool {
    path.components().all(|part| matches!(part, Component::Normal(_)))
        && path.components().count() > 1
        && FOLDERS.iter().any(|folder| path.starts_with(folder))
}

fn next<R: Read>(blocks: &mut blocks::Reader<R>) -> Result<Option<(u32, Vec<u8>)>, TransferError> {
    let offset = blocks.offset();
    blocks.next().map_err(|error| {
        let reason = match error.kind() {
            io::ErrorKind::UnexpectedEof => "it ends too early".to_owned(),
            _ => error.to_string(),
        };
        TransferError::Damaged { offset, reason }
    })
}
