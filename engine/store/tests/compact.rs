//! What a compaction leaves on the disk, and what an index leaves that is written over again and again.

use std::path::Path;

use yuanli_ports::Store;
use yuanli_ports::store::{Batch, Key};
use yuanli_store::{Embedded, Options, disk, index_size};

const MIB: u64 = 1024 * 1024;
const KEYS: u32 = 4;
const VALUE_BYTES: usize = 32 * 1024;

fn open(folder: &Path) -> Embedded {
    let options = Options { segment_bytes: 4 * MIB, ..Options::default() };
    Embedded::open(folder, options).expect("it opens")
}

fn key(number: u32) -> Key {
    Key::new((number % KEYS).to_be_bytes().to_vec())
}

async fn commit(store: &Embedded, number: u32) {
    let mut batch = Batch::default();
    batch.put(key(number), vec![number as u8; VALUE_BYTES]);
    store.commit(batch).await.expect("it is committed");
}

#[tokio::test]
async fn the_journal_of_a_small_store_is_small_after_it_and_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let journal = || disk::size(&folder.path().join("journal")).expect("it is there");
    let store = open(folder.path());
    for number in 0..200 {
        commit(&store, number).await;
    }
    assert!(journal() > 4 * MIB, "{} bytes went through it", journal());
    store.compact().await.expect("there is room");
    assert!(journal() <= MIB + MIB / 8, "{} bytes are left", journal());
    commit(&store, 200).await;
    // Twice, with nothing in between.
    store.compact().await.expect("there is room");
    store.compact().await.expect("there is room");
    commit(&store, 201).await;
    let revision = store.revision().await.expect("it is open");
    drop(store);
    let store = open(folder.path());
    assert_eq!(store.revision().await, Ok(revision));
    for number in 198..=201 {
        let entry = store.get(&key(number)).await.expect("it is read").expect("it is there");
        assert_eq!(entry.value, vec![number as u8; VALUE_BYTES]);
    }
}

/// Keys that are written at once, and how many sets of them take turns, so that memory is written to the index often.
const AT_ONCE: u32 = 48;
const SETS: u32 = 16;
/// Times that a set is written: without an end to waste the index would have all of it, some 100 MiB.
const TIMES: u32 = 1600;
/// Waste that is borne, what is in use, and what is written between two looks.
const INDEX_BYTES: u64 = 36 * MIB;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_that_is_mostly_waste_is_made_anew_while_it_is_used() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = Options { memory_bytes: 256 * 1024, journal_bytes: 4 * MIB, ..Options::default() };
    let store = Embedded::open(folder.path(), options.clone()).expect("it opens");
    let value = |key: u32, time: u32| {
        let mut state = u64::from(key) << 32 | u64::from(time) | 1;
        // Of both kinds: in a block, and beside it.
        let bytes = 1024 * if key == 0 { 16 } else { 1 };
        let next = |_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        };
        (0..bytes).map(next).collect::<Vec<u8>>()
    };
    let key = |number: u32, time: u32| Key::new((time % SETS * AT_ONCE + number).to_be_bytes().to_vec());
    let check = async |store: &Embedded, number: u32, time: u32| {
        let found = store.get(&key(number, time)).await.expect("it is read").expect("it is there");
        assert_eq!(found.value, value(number, time));
    };
    let mut most = 0;
    for time in 0..TIMES {
        let mut batch = Batch::default();
        for number in 0..AT_ONCE {
            batch.put(key(number, time), value(number, time));
        }
        store.commit(batch).await.expect("it is committed");
        if time % 10 == 9 {
            for number in [0, 7, AT_ONCE - 1] {
                check(&store, number, time).await;
            }
            // An index that is just being removed cannot be measured.
            let size = index_size(folder.path()).unwrap_or(0);
            assert!(size < INDEX_BYTES, "{size} bytes after {time} times");
            most = most.max(size);
        }
    }
    assert!(most > INDEX_BYTES / 2, "{most} bytes at most: it was not measured while there was waste");
    drop(store);
    let store = Embedded::open(folder.path(), options).expect("it opens");
    for time in TIMES - SETS..TIMES {
        for number in 0..AT_ONCE {
            check(&store, number, time).await;
        }
    }
}
