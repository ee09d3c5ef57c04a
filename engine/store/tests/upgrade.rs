//! A data directory of an older engine is upgraded in one step, which may be interrupted anywhere and is then done again.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at the first surprise")]

mod support;

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::{FlockOperation, flock};
use yuanli_ports::Store;
use yuanli_ports::store::{Batch, Key, Range, Revision};
use yuanli_store::{DataDirectory, Embedded, Options};

use support::child::{arm, child};
use support::files::{copy, scratch};

/// Set for the child: the directory that it opens.
const FOLDER: &str = "YUANLI_UPGRADE_TEST_FOLDER";
/// Where the upgrade can be killed: what it passes, in this order, and how often it was passed before.
const POINTS: [&str; 7] = [
    "export-unnamed:0",
    "export-named:0",
    "file-unnamed:0",
    "file-named:0",
    "upgrade-removing:0",
    "upgrade-removing:1",
    "upgrade-removing:2",
];
const ENTRIES: u64 = 100;

/// One test at a time: a child that another has just forked holds the files of sled that this one has locked.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A directory as the first version made it: sled alone in the folder of the store.
fn first_format(folder: &Path) {
    std::fs::create_dir_all(folder.join("store")).unwrap();
    std::fs::write(folder.join("engine.json"), r#"{"format":1,"engine":"0000000000000000000000000z"}"#)
        .unwrap();
    let db = sled::Config::new().path(folder.join("store")).open().unwrap();
    for number in 0..ENTRIES {
        let value = [&(number + 1).to_be_bytes()[..], &[7; 300]].concat();
        db.insert([&[1][..], &number.to_be_bytes()].concat(), value).unwrap();
    }
    db.insert([0, b'r'], &ENTRIES.to_be_bytes()).unwrap();
    db.flush().unwrap();
    drop(db);
    // A thread of sled may hold its lock a little longer.
    let file = std::fs::File::open(folder.join("store/db")).unwrap();
    flock(&file, FlockOperation::LockExclusive).unwrap();
}

/// Opens a directory as the next engine does: everything is there, nothing of the old is, and it goes on.
fn check(folder: &Path, when: &str) {
    let directory = DataDirectory::open(folder, || unreachable!("it has an id")).unwrap();
    for old in ["db", "conf", "blobs"] {
        assert!(!directory.store().join(old).exists(), "{when}: {old} is left");
    }
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let store = Embedded::open(&directory.store(), Options::default()).unwrap();
        assert_eq!(store.revision().await, Ok(Revision(ENTRIES)), "{when}");
        let rows = store.scan(Range::prefix(&[], 1000)).await.unwrap();
        assert_eq!(rows.len() as u64, ENTRIES, "{when}");
        assert!(
            (1..).zip(&rows).all(|(revision, (_, entry))| entry.revision == Revision(revision)),
            "{when}"
        );
        let mut batch = Batch::default();
        batch.put(Key::new(vec![9]), vec![9]);
        assert_eq!(store.commit(batch).await, Ok(Revision(ENTRIES + 1)), "{when}");
    });
}

#[test]
fn child_that_upgrades() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    arm();
    drop(DataDirectory::open(Path::new(&folder), || unreachable!("it has an id")).unwrap());
}

/// Upgrades in a process that is killed at a point, if it comes there. Whether it did.
fn is_killed(folder: &Path, point: &str) -> bool {
    let ended = child("child_that_upgrades", Some(point)).env(FOLDER, folder).output().unwrap();
    let is_killed = !ended.status.success();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(!is_killed || !said.contains("panicked"), "{point}: {said}");
    is_killed
}

#[test]
fn the_first_format_is_upgraded() {
    let _alone = alone();
    let folder = scratch();
    first_format(folder.path());
    check(folder.path(), "at once");
}

#[test]
fn an_upgrade_that_is_killed_anywhere_is_done_again() {
    let _alone = alone();
    let original = scratch();
    first_format(original.path());
    for first in POINTS {
        let once = scratch();
        copy(original.path(), once.path());
        assert!(is_killed(once.path(), first), "`{first}` is not passed");
        for second in POINTS {
            let twice = scratch();
            copy(once.path(), twice.path());
            is_killed(twice.path(), second);
            check(twice.path(), &format!("killed at {first}, then at {second}"));
        }
    }
}

/// A backup of the old that comes back beside the new, by halves or whole.
#[test]
fn what_an_interruption_left_of_both_formats_is_brought_to_the_end() {
    let _alone = alone();
    for has_old_identity in [true, false] {
        let (folder, kept) = (scratch(), scratch());
        first_format(folder.path());
        copy(folder.path(), kept.path());
        drop(DataDirectory::open(folder.path(), || unreachable!("it has an id")).unwrap());
        copy(&kept.path().join("store"), &folder.path().join("store"));
        if has_old_identity {
            std::fs::copy(kept.path().join("engine.json"), folder.path().join("engine.json")).unwrap();
        }
        check(folder.path(), "both are there");
    }
}
