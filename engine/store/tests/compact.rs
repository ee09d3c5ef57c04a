//! What a compaction leaves on the disk.

use std::path::Path;

use yuanli_ports::Store;
use yuanli_ports::store::{Batch, Key};
use yuanli_store::{Embedded, Options, disk};

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
