//! What was kept comes back.

use std::fs;
use std::os::unix::fs::MetadataExt;

use yuanli_model::Timestamp;
use yuanli_ports::backups::BackupRequest;

use crate::support::{Place, TIME, assert_same, describe, make_odd_tree};

#[tokio::test]
async fn everything_comes_back_as_it_was() {
    let place = Place::new();
    make_odd_tree(&place.folder);
    let kept = describe(&place.folder);

    let snapshot = place.back_up().await.unwrap();
    let verified = place.verify(&snapshot.id).await.unwrap();
    let restored = place.restore(&snapshot.id).await.unwrap();

    assert_same(&kept, &describe(&place.restored));
    let files = kept.values().filter(|text| !text.starts_with('4')).count() as u64;
    assert_eq!((snapshot.files, verified.files, restored.files), (files, files, files));
    assert_eq!((snapshot.bytes, verified), (restored.bytes, restored));
}

#[tokio::test]
async fn a_hole_comes_back_as_a_hole() {
    let place = Place::new();
    fs::File::create(place.folder.join("hole")).unwrap().set_len(64 << 20).unwrap();
    let snapshot = place.back_up().await.unwrap();
    place.restore(&snapshot.id).await.unwrap();
    let restored = fs::metadata(place.restored.join("hole")).unwrap();
    assert_eq!(restored.len(), 64 << 20);
    assert_eq!(restored.blocks(), 0);
}

#[tokio::test]
async fn an_empty_folder_is_a_snapshot_too() {
    let place = Place::new();
    let snapshot = place.back_up().await.unwrap();
    assert_eq!((snapshot.files, snapshot.bytes), (0, 0));
    fs::remove_dir(&place.restored).unwrap();
    place.restore(&snapshot.id).await.unwrap();
    assert_same(&describe(&place.folder), &describe(&place.restored));
}

#[tokio::test]
async fn the_same_content_is_kept_once() {
    let place = Place::new();
    place.fill(4, 5);
    let first = place.back_up().await.unwrap();
    assert!(first.added_bytes > 20 << 20, "{first:?}");
    let unchanged = place.back_up().await.unwrap();
    assert!(unchanged.added_bytes < 1 << 10, "{unchanged:?}");

    // Elsewhere, under other names, and with a byte in front: all but the pieces around a change are there already.
    fs::rename(place.folder.join("random-0"), place.folder.join("renamed")).unwrap();
    let moved = [b"x".to_vec(), fs::read(place.folder.join("random-1")).unwrap()].concat();
    fs::write(place.folder.join("random-1"), moved).unwrap();
    let changed = place.back_up().await.unwrap();
    assert!(changed.added_bytes < 4 << 20, "{changed:?}");
    assert_eq!(changed.bytes, (20 << 20) + 1);
}

#[tokio::test]
async fn text_is_compressed() {
    let place = Place::new();
    fs::write(place.folder.join("log"), "the same line again and again\n".repeat(200_000)).unwrap();
    let snapshot = place.back_up().await.unwrap();
    assert!(snapshot.added_bytes < snapshot.bytes / 10, "{snapshot:?}");
}

#[tokio::test]
async fn each_snapshot_keeps_its_own_state() {
    let place = Place::with_file();
    let first = place.back_up().await.unwrap();
    fs::write(place.folder.join("file"), "changed").unwrap();
    fs::write(place.folder.join("new"), "new").unwrap();
    let second = place.back_up().await.unwrap();
    assert_ne!(first.id, second.id);

    place.restore(&first.id).await.unwrap();
    assert_eq!(fs::read_to_string(place.restored.join("file")).unwrap(), "content");
    assert!(!place.restored.join("new").exists());
}

#[tokio::test]
async fn snapshots_are_listed_by_their_tags_oldest_first() {
    let place = Place::with_file();
    assert_eq!(place.list(&[]).await.unwrap(), []);
    let mut taken = Vec::new();
    for (days, tags) in
        [(2, vec!["volume=a", "op=2"]), (1, vec!["z", "volume=a", "z"]), (3, vec!["volume=b"])]
    {
        let tags = tags.into_iter().map(str::to_owned).collect();
        let time = Timestamp::from_millis(TIME.as_millis() + days * 86_400_000);
        let request = BackupRequest { tags, time, ..place.request() };
        taken.push(place.back_up_as(&request).await.unwrap());
    }
    let [second, first, third] = taken.try_into().unwrap();
    assert_eq!(first.tags, ["volume=a", "z"]);
    assert_eq!(second.time.as_millis(), TIME.as_millis() + 2 * 86_400_000);

    assert_eq!(place.list(&[]).await.unwrap(), [first.clone(), second.clone(), third.clone()]);
    assert_eq!(place.list(&["volume=a"]).await.unwrap(), [first.clone(), second.clone()]);
    assert_eq!(place.list(&["volume=a", "z"]).await.unwrap(), [first]);
    assert_eq!(place.list(&["op=2", "volume=b"]).await.unwrap(), []);
}

#[tokio::test]
async fn a_snapshot_is_found_by_the_beginning_of_its_id() {
    let place = Place::with_file();
    let snapshot = place.back_up().await.unwrap();
    assert_eq!(snapshot.id.len(), 64);
    assert_eq!(place.verify(&snapshot.id[..8]).await.unwrap().files, 1);
}
