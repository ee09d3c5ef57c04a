//! A data directory as a stream, and back: whole, also while an engine runs; what is damaged is refused and leaves nothing.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at the first surprise")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use tempfile::TempDir;
use yuanli_model::EngineId;
use yuanli_ports::store::{Batch, Entry, Key, Revision};
use yuanli_ports::{Logs, Store};
use yuanli_store::{Options, TransferError, Transferred, export_directory, import_directory};

use support::at_length;
use support::data::{Content, Data, KINDS, Kind, attempt, thing};
use support::files::{files, rewrite, scratch};

/// The engine of what is imported.
const OTHER: EngineId = EngineId::from_u128(8);

/// So small that segments, flushes and exports come often.
fn tiny() -> Options {
    Options { segment_bytes: 4096, memory_bytes: 2048, journal_bytes: 16 * 1024, ..Options::default() }
}

async fn filled(folder: &Path) -> Data {
    let data = Data::open(folder, tiny()).unwrap();
    for number in 0..60_u8 {
        data.put(Key::new(vec![number % 40]), vec![number; 300]).await;
    }
    for kind in KINDS {
        for number in 0..3 {
            data.keep(kind, number).await;
        }
    }
    data
}

fn export(folder: &Path) -> (Vec<u8>, Transferred) {
    let mut stream = Vec::new();
    let made = export_directory(folder, &mut stream).unwrap();
    (stream, made)
}

/// What is made of a stream: a directory in a folder of its own.
fn import(stream: &[u8]) -> Result<(TempDir, Transferred), TransferError> {
    let folder = scratch();
    let taken = import_directory(stream, &folder.path().join("data"), OTHER, &[])?;
    Ok((folder, taken))
}

async fn content(folder: &TempDir) -> Content {
    let data = Data::open(&folder.path().join("data"), tiny()).unwrap();
    assert!(!data.directory.is_copy());
    data.content().await.unwrap()
}

fn assert_things(content: &Content) {
    for (key, found) in &content.things {
        assert_eq!(*found, Ok(thing(key).unwrap()), "{key:?}");
    }
}

#[tokio::test]
async fn what_is_exported_is_imported_whole() {
    let folder = scratch();
    let data = filled(folder.path()).await;
    let expected = data.content().await.unwrap();
    drop(data);
    let (stream, made) = export(folder.path());
    assert_eq!(made.revision, expected.revision.0);
    let (imported, taken) = import(&stream).unwrap();
    assert_eq!(taken, made);
    assert_eq!(content(&imported).await, Content { engine: OTHER, ..expected.clone() });
    assert_things(&expected);
    // An empty one as well.
    let empty = scratch();
    drop(Data::open(empty.path(), tiny()).unwrap());
    let (imported, taken) = import(&export(empty.path()).0).unwrap();
    assert_eq!(taken, Transferred::default());
    assert_eq!(content(&imported).await.entries, BTreeMap::new());
}

#[tokio::test]
async fn the_store_of_plugins_goes_along_without_what_is_being_written() {
    let folder = scratch();
    drop(Data::open(folder.path(), tiny()).unwrap());
    let write = |name: &str| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, name).unwrap();
    };
    let kept = ["plugins/added/a@1.0.0", "plugins/added/batch", "plugins/0a.wasm", "plugins/0b.wasm"];
    kept.iter().for_each(|name| write(name));
    for other in
        ["plugins/.tmp1", "plugins/added/.lock", "plugins/added/.tmp2", "plugins/else/c", "cache/x/0a.cwasm"]
    {
        write(other);
    }
    let (stream, made) = export(folder.path());
    assert_eq!(made.files, 4);
    let (imported, _) = import(&stream).unwrap();
    let data = imported.path().join("data");
    for name in kept {
        assert_eq!(fs::read_to_string(data.join(name)).unwrap(), name);
    }
    for folder in ["plugins", "plugins/added"] {
        let files =
            fs::read_dir(data.join(folder)).unwrap().filter(|entry| entry.as_ref().unwrap().path().is_file());
        assert_eq!(files.count(), 2);
    }
    // A stream of the version before, which had no plugins.
    let mut older = export(folder.path()).0;
    older[8] = 1;
    import(&older).unwrap();
}

/// Imports what is no whole stream: refused in words, and nothing is left behind.
fn check_refused(stream: &[u8], what: &str) {
    let folder = scratch();
    let error = import_directory(stream, &folder.path().join("data"), OTHER, &[]).expect_err(what);
    assert!(matches!(error, TransferError::Damaged { .. } | TransferError::Newer(_)), "{what}: {error}");
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(left.is_empty(), "{what}: {left:?} are left");
}

#[tokio::test]
async fn a_damaged_stream_is_refused_and_leaves_nothing() {
    let folder = scratch();
    drop(filled(folder.path()).await);
    let (stream, _) = export(folder.path());
    let step = (stream.len() / at_length(250, 5_000)).max(1);
    for at in (0..stream.len()).step_by(step) {
        check_refused(&stream[..at], &format!("cut after {at} bytes"));
        let mut flipped = stream.clone();
        flipped[at] ^= 1 << (at % 8);
        check_refused(&flipped, &format!("a bit of byte {at} flipped"));
    }
    // Each byte of what it begins with.
    for at in 0..64 {
        let mut flipped = stream.clone();
        flipped[at] ^= 1;
        check_refused(&flipped, &format!("a bit of byte {at} flipped"));
    }
    check_refused(b"", "nothing");
    check_refused(&[0; 4096], "zeroes");
}

#[tokio::test]
async fn a_newer_stream_and_a_folder_that_is_not_empty_are_refused_with_a_sentence() {
    let folder = scratch();
    drop(filled(folder.path()).await);
    let (mut stream, _) = export(folder.path());
    let occupied = scratch();
    fs::write(occupied.path().join("file"), "mine").unwrap();
    let error = import_directory(stream.as_slice(), occupied.path(), OTHER, &[]).unwrap_err().to_string();
    assert!(error.contains("is there already and not empty: name a new folder"), "{error}");
    assert_eq!(fs::read(occupied.path().join("file")).unwrap(), b"mine");
    stream[8] = 9;
    let error = import(&stream).map(|_| ()).unwrap_err().to_string();
    assert_eq!(error, "the stream has version 9; this engine reads up to 2: use the newer one");
}

#[tokio::test]
async fn a_damaged_directory_is_not_exported() {
    let folder = scratch();
    let data = filled(folder.path()).await;
    data.store.compact().await.unwrap();
    drop(data);
    let exports = files(&folder.path().join("store/exports"));
    rewrite(&exports[0], |bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
    });
    let error = export_directory(folder.path(), io::sink()).unwrap_err().to_string();
    assert!(error.contains("exports") && error.contains("is damaged at byte"), "{error}");
}

/// Commits as fast as it can until it is told to stop. Returns the entries after each commit.
async fn commit_meanwhile(data: &Data, is_over: &AtomicBool) -> Vec<BTreeMap<Key, Entry>> {
    let begin = data.store.revision().await.unwrap().0;
    let mut history = vec![BTreeMap::new(); usize::try_from(begin).unwrap()];
    let mut now: BTreeMap<Key, Entry> = data.entries().await.unwrap();
    history.push(now.clone());
    for number in 0..u64::MAX {
        if is_over.load(Ordering::Relaxed) {
            break;
        }
        let mut batch = Batch::default();
        let (name, value) = (Key::new(vec![(number % 50) as u8]), vec![number as u8; 300]);
        batch.put(name.clone(), value.clone());
        let revision = data.store.commit(batch).await.unwrap();
        now.insert(name, Entry { value: value.into(), revision });
        history.push(now.clone());
        if number % 200 == 199 {
            data.store.compact().await.unwrap();
        }
    }
    history
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_commits_go_on_what_is_exported_is_a_state_that_there_was() {
    let folder = scratch();
    let data = filled(folder.path()).await;
    let is_over = AtomicBool::new(false);
    let exports = async {
        let mut made: Vec<(Vec<u8>, Transferred)> = Vec::new();
        let begin = data.store.revision().await.unwrap().0;
        // Until some compactions have come between.
        while made.len() < at_length(10, 100)
            || made.last().is_some_and(|(_, last)| last.revision < begin + 500)
        {
            let folder = folder.path().to_owned();
            made.push(tokio::task::spawn_blocking(move || export(&folder)).await.unwrap());
        }
        is_over.store(true, Ordering::Relaxed);
        made
    };
    let (history, made) = tokio::join!(commit_meanwhile(&data, &is_over), exports);
    for (stream, about) in made {
        let (imported, _) = import(&stream).unwrap();
        let found = content(&imported).await;
        assert_eq!(found.revision, Revision(about.revision));
        let expected = &history[usize::try_from(about.revision).unwrap()];
        assert!(found.entries == *expected, "not the state after {}", about.revision);
        assert_things(&found);
    }
}

/// Does something once, when the first bytes arrive.
struct AtFirst<'a> {
    stream: Vec<u8>,
    what: Option<Box<dyn FnOnce() + 'a>>,
}

impl Write for AtFirst<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(what) = self.what.take() {
            what();
        }
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn what_is_removed_while_it_is_exported_is_there_as_long_as_something_exported_names_it() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let folder = scratch();
    let data = runtime.block_on(filled(folder.path()));
    // So that the first segment is not added to any more.
    runtime.block_on(async {
        for number in 3..6 {
            data.keep(Kind::Record, number).await;
        }
    });
    let before = runtime.block_on(data.content()).unwrap();
    let remove = || {
        runtime.block_on(async {
            data.drop_thing(Kind::Blob, 1).await;
            data.drop_thing(Kind::Log, 1).await;
            data.logs.pack(attempt(2).run).await.unwrap();
            for number in [0, 1] {
                data.drop_thing(Kind::Record, number).await;
            }
        });
    };
    let mut out = AtFirst { stream: Vec::new(), what: Some(Box::new(remove)) };
    export_directory(folder.path(), &mut out).unwrap();
    let AtFirst { stream, what } = out;
    assert!(what.is_none());
    let (imported, _) = import(&stream).unwrap();
    let found = runtime.block_on(content(&imported));
    assert_eq!(found, Content { engine: OTHER, ..before.clone() });
    assert_things(&found);
    // Nothing of it stays in the directory; what an export has left that was killed goes with the next.
    let dead = folder.path().join(".yuanli-export-dead");
    fs::create_dir_all(dead.join("logs")).unwrap();
    export(folder.path());
    let hidden = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(hidden.filter(|name| name.to_string_lossy().starts_with('.')).count(), 0);
    assert_eq!(runtime.block_on(data.entries()).unwrap().len(), before.entries.len() - 4);
}
