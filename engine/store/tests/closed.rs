//! What an engine that ends leaves for the next one, so that a start costs no more with a long history.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at the first surprise")]

mod support;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use support::index::change_boot;
use yuanli_ports::Store;
use yuanli_ports::store::{Batch, Key, Range};
use yuanli_store::{Embedded, Options};

/// Entries of each engine: more than stays in memory when it ends.
const ENTRIES: u32 = 3_000;
const VALUE_BYTES: usize = 600;

fn open(folder: &Path) -> Embedded {
    Embedded::open(folder, Options::default()).expect("it opens")
}

async fn add(store: &Embedded, engine: u32) {
    for part in 0..ENTRIES / 100 {
        let mut batch = Batch::default();
        for number in part * 100..(part + 1) * 100 {
            batch
                .put(Key::new(format!("{engine}-{number:05}").into_bytes()), vec![engine as u8; VALUE_BYTES]);
        }
        store.commit(batch).await.expect("it is committed");
    }
}

async fn is_whole(store: &Embedded, engines: u32) {
    let rows = store.scan(Range::prefix(&[], usize::MAX)).await.expect("it is read");
    assert_eq!(rows.len(), (engines * ENTRIES) as usize);
    for (key, entry) in rows {
        let engine = key.as_bytes()[0] - b'0';
        assert!(entry.value.len() == VALUE_BYTES && entry.value.iter().all(|byte| *byte == engine));
    }
}

/// The heap of the only index, and what tells it from one that was made anew.
fn heap(folder: &Path) -> (PathBuf, u64) {
    let is_index = |name: &str| name.starts_with("index-");
    let mut names =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let heap = folder.join(names.find(|name| is_index(name)).expect("an index")).join("blocks");
    let inode = fs::metadata(&heap).unwrap().ino();
    (heap, inode)
}

#[tokio::test]
async fn an_index_that_has_grown_with_each_engine_is_believed_after_another_start_of_the_system() {
    let folder = tempfile::tempdir().expect("a folder");
    for engine in 1..=4 {
        let store = open(folder.path());
        add(&store, engine).await;
    }
    // One that changes nothing.
    drop(open(folder.path()));
    let (_, inode) = heap(folder.path());
    change_boot(folder.path());
    let store = open(folder.path());
    is_whole(&store, 4).await;
    drop(store);
    assert_eq!(heap(folder.path()).1, inode, "it was not made anew");
}

#[tokio::test]
async fn a_byte_that_somebody_has_changed_is_found_also_under_an_old_date() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path());
    add(&store, 1).await;
    drop(store);
    let (path, inode) = heap(folder.path());
    let mut bytes = fs::read(&path).unwrap();
    let modified = fs::metadata(&path).unwrap().modified().unwrap();
    bytes[100] ^= 1;
    let file = fs::File::options().write(true).open(&path).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &bytes[100..101], 100).unwrap();
    file.set_modified(modified).unwrap();
    let store = open(folder.path());
    is_whole(&store, 1).await;
    drop(store);
    assert_ne!(heap(folder.path()).1, inode, "it was made anew");
}

#[tokio::test]
async fn the_file_of_the_next_segment_is_made_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let spare = folder.path().join("journal/spare");
    let store = open(folder.path());
    let made = async || {
        // It is made when the last one is half full.
        let mut engine = 0;
        while !spare.exists() {
            engine += 1;
            add(&store, engine).await;
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        engine
    };
    let mut engine =
        tokio::time::timeout(std::time::Duration::from_secs(60), made()).await.expect("it is made");
    drop(store);
    let made = fs::metadata(&spare).unwrap();
    let inode = made.ino();
    for _ in 0..3 {
        let store = open(folder.path());
        let mut batch = Batch::default();
        batch.put(Key::new(b"1-00000".to_vec()), vec![1; VALUE_BYTES]);
        store.commit(batch).await.expect("it is committed");
        // Long enough to be made again, if anybody did.
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let spared = fs::metadata(&spare).unwrap();
    assert_eq!((spared.ino(), spared.modified().unwrap()), (inode, made.modified().unwrap()));
    // And it becomes that segment.
    let store = open(folder.path());
    while fs::metadata(&spare).is_ok_and(|spare| spare.ino() == inode) {
        engine += 1;
        add(&store, engine).await;
    }
    drop(store);
    let segments = fs::read_dir(folder.path().join("journal")).unwrap();
    assert!(segments.map(|entry| entry.unwrap().metadata().unwrap().ino()).any(|segment| segment == inode));
    is_whole(&open(folder.path()), engine).await;
}
