//! An index that fails while a start reads the journal. Fail points hold for a whole process, so this has one of its own.

use bytes::Bytes;
use yuanli_ports::Store;
use yuanli_ports::store::{Batch, Key, Range};
use yuanli_store::{Embedded, Options};

const COMMITS: u64 = 2000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_goes_on_without_an_index_that_panics_and_has_everything() {
    let folder = tempfile::tempdir().expect("a folder");
    // Memory for all of it: nothing is written to an index.
    let store = Embedded::open(folder.path(), Options::default()).expect("it opens");
    for number in 0..COMMITS {
        let mut batch = Batch::default();
        batch.put(Key::new(number.to_be_bytes().to_vec()), Bytes::from(vec![7; 100]));
        store.commit(batch).await.expect("it is committed");
    }
    drop(store);
    // Memory for a part of it: the rest is written to an index on the way.
    let options = Options { memory_bytes: 4096, ..Options::default() };
    fail::cfg("index-written", "panic(the index is not what it was)").expect("a fail point");
    let store = Embedded::open(folder.path(), options.clone()).expect("it opens");
    let count = async |store: &Embedded| {
        store.scan(Range::prefix(&[], usize::MAX)).await.expect("it is read").len() as u64
    };
    assert_eq!(count(&store).await, COMMITS);
    fail::remove("index-written");
    drop(store);
    let store = Embedded::open(folder.path(), options.clone()).expect("it opens");
    assert_eq!(count(&store).await, COMMITS);

    // The same while an index is made of an export, beside the journal that is read.
    store.compact().await.expect("it is exported");
    drop(store);
    std::fs::remove_file(folder.path().join("index.json")).expect("what says that the index can be believed");
    fail::cfg("index-made", "1*panic(the export is not what it was)").expect("a fail point");
    let store = Embedded::open(folder.path(), options).expect("it opens");
    fail::remove("index-made");
    assert_eq!(count(&store).await, COMMITS);
}
