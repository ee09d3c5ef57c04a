//! Large values by their digest: kept once, checked when read, removed when nobody needs them.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use yuanli_model::Digest;
use yuanli_ports::Blobs;
use yuanli_ports::blobs::MAX_BLOB_BYTES;
use yuanli_ports::store::StoreError;
use yuanli_store::FileBlobs;
use yuanli_store::disk::{Disk, Local};
use yuanli_store::simulation::{Failing, Faults, Simulated};

const FOLDER: &str = "/data/blobs";

fn on(disk: &Simulated) -> FileBlobs {
    FileBlobs::open(Path::new(FOLDER), Arc::new(disk.clone())).unwrap()
}

fn large(text: &str) -> Bytes {
    text.repeat(10_000).into()
}

#[tokio::test]
async fn what_is_kept_is_read_by_its_digest_and_takes_its_space_once() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = FileBlobs::open(folder.path(), Arc::new(Local)).unwrap();
    for bytes in [large("a"), Bytes::new(), large("b")] {
        let (digest, _hold) = blobs.keep(bytes.clone()).await.unwrap();
        assert_eq!(digest, Digest::of(&bytes));
        blobs.keep(bytes.clone()).await.unwrap();
        assert_eq!(blobs.read(digest).await, Ok(bytes));
    }
    let found = blobs.list().await.unwrap();
    assert_eq!(found.len(), 3);
    assert!(found.iter().all(|blob| blob.size < 100), "it is packed");
    let refused = blobs.keep(vec![0; MAX_BLOB_BYTES + 1].into()).await.map(|_| ()).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the store does not take this: a blob has 16777217 bytes; at most 16777216 are allowed"
    );
    let missing = blobs.read(Digest::of(b"other")).await.unwrap_err();
    assert!(missing.to_string().contains("it is not there"), "{missing}");
}

#[tokio::test]
async fn only_what_nobody_holds_and_nobody_keeps_again_is_removed() {
    let disk = Simulated::new(1);
    let blobs = on(&disk);
    let (digest, hold) = blobs.keep(large("a")).await.unwrap();
    assert!(!blobs.condemn(digest), "it is held");
    assert_eq!(blobs.remove(digest).await, Ok(false), "it was not condemned");
    drop(hold);
    assert!(blobs.condemn(digest));
    // Between the two steps somebody keeps it again, and commits what names it.
    drop(blobs.keep(large("a")).await.unwrap());
    assert_eq!(blobs.remove(digest).await, Ok(false));
    assert_eq!(blobs.read(digest).await, Ok(large("a")));
    assert!(blobs.condemn(digest));
    assert_eq!(blobs.remove(digest).await, Ok(true));
    assert_eq!(blobs.list().await, Ok(vec![]));
    // And once more.
    assert!(blobs.condemn(digest));
    assert_eq!(blobs.remove(digest).await, Ok(true));
}

#[tokio::test]
async fn what_was_kept_is_there_after_a_power_cut_and_half_of_one_is_removed() {
    for seed in 0..200 {
        let disk = Simulated::new(seed);
        let blobs = on(&disk);
        let (first, _) = blobs.keep(large("first")).await.unwrap();
        // Once something else fails on the way, so that the second attempt finds what the first has left.
        disk.set_faults(Faults { sync: Failing::One((seed % 3) as u32), ..Faults::default() });
        disk.turn_off_after(seed % 11);
        let mut second = blobs.keep(large("second")).await.map(|(digest, _)| digest);
        if second.is_err() {
            second = blobs.keep(large("second")).await.map(|(digest, _)| digest);
        }
        let disk = disk.power_cut(seed);
        let blobs = on(&disk);
        assert!(blobs.read(first).await == Ok(large("first")), "seed {seed}: first is lost");
        if let Ok(second) = second {
            assert!(blobs.read(second).await == Ok(large("second")), "seed {seed}: second is lost");
        }
        let names = disk.list(Path::new(FOLDER)).unwrap();
        assert!(names.iter().all(|(name, _)| name.ends_with(".zst")), "seed {seed}: {names:?}");
        // Whatever was left of it, it can be kept.
        let (second, _) = blobs.keep(large("second")).await.unwrap();
        assert!(blobs.read(second).await == Ok(large("second")), "seed {seed}: second is lost");
    }
}

#[tokio::test]
async fn damage_is_told_and_mended_by_keeping_it_again() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = FileBlobs::open(folder.path(), Arc::new(Local)).unwrap();
    let (digest, _hold) = blobs.keep(large("a")).await.unwrap();
    let file = folder.path().join(format!("{}.zst", digest.hex()));
    let whole = std::fs::read(&file).unwrap();
    for position in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[position] ^= 0x10;
        std::fs::write(&file, bytes).unwrap();
        match blobs.read(digest).await {
            Ok(read) => assert_eq!(read, large("a"), "byte {position}"),
            Err(error) => {
                assert!(error.to_string().contains(&digest.hex()), "{error}");
                blobs.keep(large("a")).await.unwrap();
                assert_eq!(blobs.read(digest).await, Ok(large("a")), "byte {position}");
            }
        }
    }
}

#[tokio::test]
async fn a_full_disk_and_a_failing_one_are_told_apart_and_leave_nothing() {
    let disk = Simulated::new(3);
    let blobs = on(&disk);
    disk.set_faults(Faults { capacity: Some(10), ..Faults::default() });
    let full = blobs.keep(large("a")).await.map(|_| ()).unwrap_err();
    assert!(matches!(full, StoreError::Exhausted(_)), "{full:?}");
    disk.set_faults(Faults { sync: Failing::ALWAYS, ..Faults::default() });
    let failed = blobs.keep(large("a")).await.map(|_| ()).unwrap_err();
    assert!(matches!(failed, StoreError::Unavailable(_)), "{failed:?}");
    disk.set_faults(Faults::default());
    assert_eq!(blobs.list().await, Ok(vec![]));
    let (digest, _) = blobs.keep(large("a")).await.unwrap();
    assert_eq!(blobs.read(digest).await, Ok(large("a")));
}
