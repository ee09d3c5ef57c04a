//! Ways in for fuzzers: see `tests/fuzz`. Not part of what the store is to others.
//!
//! Checksums keep a fuzzer away from what is behind them. So a case says in its first byte whether what follows is taken
//! as it is, or given the checksums that it needs first. Whatever a case is, nothing panics, and what is taken is what it
//! says it is: that is asserted here.

use std::fs;
use std::path::Path;

use yuanli_model::EngineId;
use yuanli_ports::store::{Key, MAX_KEY_BYTES};

use crate::blocks;
use crate::disk::Local;
use crate::journal;
use crate::transfer::{self, Transferred, import_directory};
use crate::truth::Truth;

/// Bit of the first byte: what follows gets right checksums.
pub(crate) const IS_MENDED: u8 = 1;
/// Bit of the first byte of a stream: it has no end.
const IS_CUT: u8 = 2;
/// Most parts of a case: more would take time and show nothing new.
const MAX_PARTS: usize = 64;

/// Reads a journal: see [`journal_case`].
pub fn journal(case: &[u8]) {
    journal::fuzzing::journal(case);
}

/// A case of [`journal`]: commits up to `after` are kept elsewhere, all before `mark` were acknowledged, and the segments
/// have these first revisions and attempts.
#[must_use]
pub fn journal_case(is_mended: bool, after: u8, mark: u8, segments: &[(u8, u8, &[u8])]) -> Vec<u8> {
    let mut case = vec![u8::from(is_mended), after, mark];
    for (first, attempt, content) in segments {
        case.extend([*first, *attempt]);
        add(&mut case, content);
    }
    case
}

/// Imports a stream: see [`stream_case`].
pub fn stream(case: &[u8]) {
    let Some((flags, rest)) = case.split_first() else { return };
    let stream = match flags & IS_MENDED {
        0 => rest.to_vec(),
        _ => sealed(rest, flags & IS_CUT != 0),
    };
    let folder = Folder::new();
    let data = folder.0.join("data");
    let taken = import_directory(stream.as_slice(), &data, EngineId::from_u128(1), &[]);
    let left: Vec<_> = fs::read_dir(&folder.0).expect("a folder").flatten().map(|e| e.file_name()).collect();
    match taken {
        Err(_) => assert!(left.is_empty(), "{left:?} are left of what was refused"),
        Ok(taken) => {
            assert_eq!(left, ["data"]);
            check_taken(&data, &taken);
        }
    }
}

/// A case of [`stream`]: blocks with their kinds, counted from that of the first block of a stream.
#[must_use]
pub fn stream_case(blocks: &[(u8, &[u8])]) -> Vec<u8> {
    let mut case = vec![IS_MENDED];
    for (kind, content) in blocks {
        case.push(*kind);
        add(&mut case, content);
    }
    case
}

/// The entries of a stream as the content of one block.
#[must_use]
pub fn stream_entries(entries: &[(u64, &[u8], &[u8])]) -> Vec<u8> {
    entries.iter().fold(Vec::new(), |block, (revision, key, value)| {
        let entry = yuanli_ports::store::Entry {
            value: bytes::Bytes::copy_from_slice(value),
            revision: yuanli_ports::store::Revision(*revision),
        };
        crate::export::add(block, &Key::new(key.to_vec()), &entry)
    })
}

fn add(case: &mut Vec<u8>, content: &[u8]) {
    let length = u16::try_from(content.len()).unwrap_or(u16::MAX);
    case.extend(length.to_le_bytes());
    case.extend(&content[..length.into()]);
}

/// The parts of a case: some bytes that say what it is, a length, and content.
pub(crate) fn parts<const HEAD: usize>(mut case: &[u8]) -> Vec<([u8; HEAD], &[u8])> {
    let mut found = Vec::new();
    while let Some((head, rest)) = case.split_first_chunk()
        && let Some((length, rest)) = rest.split_first_chunk()
        && found.len() < MAX_PARTS
    {
        let (content, rest) = rest.split_at(rest.len().min(u16::from_le_bytes(*length).into()));
        found.push((*head, content));
        case = rest;
    }
    found
}

fn sealed(case: &[u8], is_cut: bool) -> Vec<u8> {
    let mut blocks = blocks::Writer::new(transfer::head());
    for ([kind], content) in parts(case) {
        blocks.block(transfer::ABOUT + u32::from(kind), content).expect("written to memory");
    }
    match is_cut {
        true => blocks.cut(),
        false => blocks.end().expect("written to memory"),
    }
}

/// What was imported is what was told, and can be read.
fn check_taken(data: &Path, taken: &Transferred) {
    let truth = Truth::read(&Local, &data.join("store")).expect("what was taken can be read");
    assert_eq!(truth.revision, taken.revision);
    let (mut last, mut count) = (None, 0);
    for entry in truth.entries() {
        let (key, entry) = entry.expect("what was taken can be read");
        assert!(last.is_none_or(|last| last < key), "entries are in the order of their keys, each once");
        assert!((1..=MAX_KEY_BYTES).contains(&key.as_bytes().len()));
        assert!((1..=taken.revision).contains(&entry.revision.0));
        last = Some(key);
        count += 1;
    }
    assert_eq!(count, taken.entries);
    for entry in fs::read_dir(data).expect("a folder").flatten() {
        let name = entry.file_name();
        let is_ours = ["engine.json", "store", "history", "logs", "blobs"].iter().any(|ours| name == *ours);
        assert!(is_ours, "{name:?}");
    }
}

/// A folder in memory, where that is possible: a fuzzer makes many.
struct Folder(std::path::PathBuf);

impl Folder {
    fn new() -> Self {
        let memory = Path::new("/dev/shm");
        let base = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        Self(tempfile::tempdir_in(base).expect("a folder").keep())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // One that is left is cleared away with the system's other temporary files.
        let _ = fs::remove_dir_all(&self.0);
    }
}
