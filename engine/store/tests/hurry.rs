//! Exports wait while commits come fast, and no longer. Fail points hold for a whole process, so this has one of its own.

use std::path::Path;
use std::time::Duration;

use yuanli_ports::Store;
use yuanli_ports::store::{Batch, Key};
use yuanli_store::{Embedded, Options};

/// A layer is full with some 57 commits.
const MEMORY: usize = 64 * 1024;
/// The journal is too long from the first commit on, as space for it is made by the mebibyte, and not four times.
const JOURNAL: u64 = 512 * 1024;
/// A full layer, and more than half of the next one, which does not fill.
const COMMITS: u64 = 57 + 40;

/// Whether there is an export.
fn is_exported(folder: &Path) -> bool {
    let files = std::fs::read_dir(folder.join("exports")).expect("a folder");
    files.filter_map(Result::ok).any(|file| file.path().extension().is_some_and(|kind| kind == "export"))
}

async fn commit(store: &Embedded, number: u64) {
    let mut batch = Batch::default();
    batch.put(Key::new(number.to_be_bytes().to_vec()), vec![7; 1024]);
    store.commit(batch).await.expect("it is committed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_waits_while_commits_hurry_and_is_made_when_they_do_not() {
    let folder = tempfile::tempdir().expect("a folder");
    // A segment that ends wakes upkeep as well: this one does not.
    let options = Options { memory_bytes: MEMORY, journal_bytes: JOURNAL, ..Options::default() };
    let store = Embedded::open(folder.path(), options).expect("it opens");
    // All of them come while the first layer is written to the index: then commits hurry.
    fail::cfg("index-written", "sleep(2000)").expect("a fail point");
    for number in 0..COMMITS {
        commit(&store, number).await;
    }
    // Nothing is committed any more. The layer is written by now, and what came meanwhile takes as long again.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(!is_exported(folder.path()), "no export waited");
    let exported = async {
        while !is_exported(folder.path()) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), exported).await.expect("the export still waits");
    fail::remove("index-written");
}
