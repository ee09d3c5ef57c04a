//! Stores of published versions of the format: each is read, whole, by every later engine.
//!
//! A fixture is never changed. A new version gets a folder of its own, made by the ignored test below.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at the first surprise")]

mod support;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use yuanli_model::EngineId;
use yuanli_ports::store::{Batch, Change, Entry, Key, Range, Revision, Write};
use yuanli_ports::{Logs, Store};
use yuanli_store::{Embedded, Options, check, disk, export_directory, import_directory};

use support::data::{Data, KINDS, attempt, thing};
use support::files::{copy, files, rewrite, scratch};

/// What is in the folder of a fixture beside its store: what the store holds.
const ENTRIES: &str = "entries.txt";
/// The last commit of a fixture.
const LAST: u64 = 30;
/// The last commit of a stream, and its entries.
const LAST_OF_STREAM: u64 = 7;
/// Of each kind of things beside the store of a stream.
const THINGS_OF_A_KIND: u64 = 2;
/// The commit that its export holds, with all before it.
const EXPORTED: u64 = 20;

/// The stores of published versions, each in a folder.
fn versions() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// The streams of published versions: in each a store, history, blobs, and logs that are packed and that are not.
fn streams() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/streams")
}

/// Small, so that a fixture is.
fn options() -> Options {
    Options { segment_bytes: 4096, ..Options::default() }
}

fn key(text: &str) -> Key {
    Key::new(text.as_bytes().to_vec())
}

/// One commit of each kind: several writes, a deletion, none at all, an empty value, bytes that are no text.
fn batch(number: u64) -> Batch {
    let mut batch = Batch::default();
    match number % 5 {
        0 => batch.put(key(&format!("run/{number}")), format!("value of {number}").into_bytes()),
        1 => batch.put(key("last"), number.to_be_bytes().to_vec()).put(key("empty"), Vec::new()),
        2 => batch.delete(key(&format!("run/{}", number - 2))).delete(key("never there")),
        3 => &mut batch,
        _ => batch.put(Key::new(vec![0, 255, number as u8]), vec![number as u8; 100]),
    };
    batch
}

/// The entries as lines: key, revision, value.
fn lines(entries: &BTreeMap<Key, Entry>) -> String {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let mut text = String::new();
    for (key, entry) in entries {
        writeln!(text, "{} {} {}", hex(key.as_bytes()), entry.revision.0, hex(&entry.value)).unwrap();
    }
    text
}

async fn entries(store: &Embedded) -> BTreeMap<Key, Entry> {
    store.scan(Range::prefix(&[], usize::MAX)).await.unwrap().into_iter().collect()
}

#[tokio::test]
async fn a_store_of_every_published_version_is_read_whole_and_gone_on_with() {
    let mut read = 0;
    for version in fs::read_dir(versions()).unwrap().map(|entry| entry.unwrap().path()) {
        let expected = fs::read_to_string(version.join(ENTRIES)).unwrap();
        let folder = tempfile::tempdir().unwrap();
        copy(&version.join("store"), folder.path());
        let checked = check(&disk::Local, folder.path()).unwrap();
        assert_eq!((checked.revision, checked.findings), (LAST, Vec::<String>::new()), "{version:?}");
        for opened in 0..2 {
            let store = Embedded::open(folder.path(), options()).unwrap();
            assert_eq!(store.revision().await, Ok(Revision(LAST + opened)), "{version:?}");
            let mut found = entries(&store).await;
            found.remove(&key("since"));
            assert_eq!(lines(&found), expected, "{version:?}");
            let mut more = Batch::default();
            more.put(key("since"), vec![1]);
            assert_eq!(store.commit(more).await, Ok(Revision(LAST + opened + 1)), "{version:?}");
        }
        read += 1;
    }
    assert_eq!(read, 1, "as many as there are published versions");
}

#[tokio::test]
async fn the_commits_in_a_journal_of_version_1_are_told_to_who_watches() {
    let folder = tempfile::tempdir().unwrap();
    copy(&versions().join("v1/store"), folder.path());
    let store = Embedded::open(folder.path(), options()).unwrap();
    let mut watch = store.watch(&[], Revision(EXPORTED)).await.unwrap();
    for number in (EXPORTED + 1..=LAST).filter(|number| !batch(*number).writes.is_empty()) {
        let expected = Change { revision: Revision(number), writes: batch(number).writes };
        assert_eq!(watch.next().await, Ok(expected));
    }
}

/// What stands in the fixture is what was committed: it is not only read as it was read once.
#[test]
fn the_entries_of_version_1_are_those_of_its_commits() {
    let mut entries: BTreeMap<Key, Entry> = BTreeMap::new();
    for number in 1..=LAST {
        for write in batch(number).writes {
            match write {
                Write::Put(key, value) => {
                    entries.insert(key, Entry { value, revision: Revision(number) });
                }
                Write::Delete(key) => {
                    entries.remove(&key);
                }
            }
        }
    }
    assert_eq!(fs::read_to_string(versions().join("v1").join(ENTRIES)).unwrap(), lines(&entries));
}

/// Makes the folder of a version that is about to be published, named by `YUANLI_FIXTURE`: an export and what was
/// committed since. Not the index, which belongs to one machine, nor the next segment's file.
#[tokio::test]
#[ignore = "makes a fixture"]
async fn make_a_fixture() {
    let version = std::env::var("YUANLI_FIXTURE").expect("YUANLI_FIXTURE names the version, such as v2");
    let target = versions().join(version);
    assert!(!target.exists(), "{target:?}: a fixture is never changed");
    let folder = tempfile::tempdir().unwrap();
    let store = Embedded::open(folder.path(), options()).unwrap();
    for number in 1..=LAST {
        assert_eq!(store.commit(batch(number)).await, Ok(Revision(number)));
        if number == EXPORTED {
            store.compact().await.unwrap();
        }
    }
    let expected = lines(&entries(&store).await);
    drop(store);
    copy(&folder.path().join("journal"), &target.join("store/journal"));
    copy(&folder.path().join("exports"), &target.join("store/exports"));
    let _ = fs::remove_file(target.join("store/journal/spare.tmp"));
    fs::write(target.join(ENTRIES), expected).unwrap();
}

#[tokio::test]
async fn a_stream_of_every_published_version_is_imported_whole() {
    for stream in files(&streams()) {
        let folder = scratch();
        let data = folder.path().join("data");
        let engine = EngineId::from_u128(9);
        let taken = import_directory(fs::File::open(&stream).unwrap(), &data, engine, &[]).unwrap();
        assert_eq!((taken.revision, taken.entries), (LAST_OF_STREAM, LAST_OF_STREAM), "{stream:?}");
        let content = Data::open(&data, options()).unwrap().content().await.unwrap();
        assert_eq!(content.engine, engine);
        for (key, found) in &content.things {
            assert_eq!(*found, Ok(thing(key).unwrap()), "{stream:?}: {key:?}");
        }
        assert_eq!(content.things.len() as u64, THINGS_OF_A_KIND * KINDS.len() as u64, "{stream:?}");
        assert_eq!(content.entries.get(&key("plain")).map(|entry| &entry.value[..]), Some(&b"value"[..]));
    }
    assert_eq!(files(&streams()).len(), 1, "as many as there are published versions");
}

/// Makes the stream of a version that is about to be published, named by `YUANLI_FIXTURE`.
#[tokio::test]
#[ignore = "makes a fixture"]
async fn make_a_stream() {
    let version = std::env::var("YUANLI_FIXTURE").expect("YUANLI_FIXTURE names the version, such as v2");
    let target = streams().join(version);
    assert!(!target.exists(), "{target:?}: a fixture is never changed");
    let folder = scratch();
    let data = Data::open(folder.path(), options()).unwrap();
    for kind in KINDS {
        for number in 1..=THINGS_OF_A_KIND {
            data.keep(kind, number).await;
        }
    }
    data.put(key("plain"), b"value".as_slice()).await;
    data.logs.pack(attempt(1).run).await.unwrap();
    drop(data);
    fs::create_dir_all(streams()).unwrap();
    export_directory(folder.path(), fs::File::create(target).unwrap()).unwrap();
}

/// Says that a newer engine wrote the file of which bytes are changed.
fn check_newer(part: &str, change: impl FnOnce(&mut Vec<u8>)) {
    let folder = tempfile::tempdir().unwrap();
    copy(&versions().join("v1/store"), folder.path());
    let files = files(&folder.path().join(part));
    let file = files.iter().find(|file| file.extension().is_some()).unwrap();
    rewrite(file, change);
    let refused = Embedded::open(folder.path(), options()).map(|_| ()).unwrap_err().to_string();
    assert!(refused.contains(file.to_str().unwrap()), "{refused}");
    assert!(
        refused.contains("was written by a newer engine (version 9 of its format); use that one"),
        "{refused}"
    );
    let findings = check(&disk::Local, folder.path()).unwrap().findings;
    assert!(findings.iter().any(|finding| finding.contains("a newer engine")), "{findings:?}");
}

#[test]
fn files_of_a_newer_engine_are_refused_with_a_sentence() {
    check_newer("journal", |segment| segment[8] = 9);
    check_newer("exports", |export| export[8] = 9);
    // The first frame, with the checksum that it has then.
    check_newer("journal", |segment| {
        let (header, frames) = segment.split_at_mut(64);
        frames[20] = 9;
        let length = u32::from_le_bytes(frames[4..8].try_into().unwrap()) as usize;
        let crc = crc32c::crc32c_append(crc32c::crc32c(&header[24..32]), &frames[4..24 + length]);
        frames[..4].copy_from_slice(&crc.to_le_bytes());
    });
}

#[tokio::test]
async fn history_of_a_newer_engine_is_refused_with_a_sentence() {
    let folder = scratch();
    let data = Data::open(folder.path(), options()).unwrap();
    data.keep(KINDS[0], 1).await;
    drop(data);
    rewrite(&files(&folder.path().join("history"))[0], |segment| segment[8] = 9);
    let refused = Data::open(folder.path(), options()).map(|_| ()).unwrap_err();
    assert!(refused.contains("history") && refused.contains("was written by a newer engine"), "{refused}");
}
