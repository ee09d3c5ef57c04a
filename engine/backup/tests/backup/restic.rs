//! Debian's restic reads what we write, and we read what it writes.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use serde_json::Value;
use yuanli_ports::backups::{BackupError, Repository};

use crate::support::{Place, SHOWN, assert_same, describe, make_odd_tree, until};

fn restic(repository: &Repository) -> Command {
    let mut command = Command::new("restic");
    command.args(["--no-cache", "--repo"]).arg(&repository.path).env("RESTIC_PASSWORD", &repository.password);
    command.env("HOME", "/nonexistent");
    command
}

/// What it printed; it has to end well.
fn run(command: &mut Command) -> String {
    let output = command.output().expect("restic: run `scripts/setup`");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{command:?}: {text} {}", String::from_utf8_lossy(&output.stderr));
    text
}

/// restic finds nothing wrong with a repository, nor with any byte of it.
pub(crate) fn check(repository: &Repository) {
    run(restic(repository).args(["check", "--read-data"]));
}

/// A tree that Debian's restic can restore: it makes no sockets, and before 0.16 it changes links to names that are no text.
fn make_tree(folder: &Path) {
    make_odd_tree(folder);
    let time = fs::metadata(folder).unwrap().modified().unwrap();
    for unknown in ["socket", "link to odd name"] {
        fs::remove_file(folder.join(unknown)).unwrap();
    }
    fs::File::open(folder).unwrap().set_modified(time).unwrap();
}

#[tokio::test]
async fn restic_restores_what_we_kept() {
    let place = Place::new();
    make_tree(&place.folder);
    let snapshot = place.back_up().await.unwrap();
    check(&place.repository);

    run(restic(&place.repository).args(["restore", &snapshot.id, "--target"]).arg(&place.restored));
    let restored = place.restored.join(SHOWN.trim_start_matches('/'));
    assert_same(&describe(&place.folder), &describe(&restored));
}

#[tokio::test]
async fn restic_shows_what_we_noted() {
    let place = Place::with_file();
    let snapshot = place.back_up().await.unwrap();
    let shown: Value =
        serde_json::from_str(&run(restic(&place.repository).args(["snapshots", "--json"]))).unwrap();
    assert_eq!(shown[0]["id"], snapshot.id.as_str());
    assert_eq!(shown[0]["time"], "2026-01-02T03:04:05.678Z");
    assert_eq!(shown[0]["paths"], serde_json::json!([SHOWN]));
    assert_eq!(shown[0]["tags"], serde_json::json!(["volume=shop-data"]));
    assert_eq!(shown.as_array().unwrap().len(), 1);
    let found = run(restic(&place.repository).args(["find", "--tag", "volume=shop-data", "file"]));
    assert!(found.contains("/volumes/shop-data/file"), "{found}");
}

#[tokio::test]
async fn we_restore_what_restic_kept() {
    let place = Place::new();
    make_tree(&place.folder);
    let kept = describe(&place.folder);
    run(restic(&place.repository).arg("init"));
    run(restic(&place.repository).args(["backup", "--tag", "b", "--tag", "a"]).arg(&place.folder));

    let [snapshot] = place.list(&["a"]).await.unwrap().try_into().unwrap();
    assert_eq!(snapshot.tags, ["a", "b"]);
    let files = kept.values().filter(|text| !text.starts_with('4')).count() as u64;
    assert_eq!(snapshot.files, files);
    let restored = place.restore(&snapshot.id).await.unwrap();
    assert_eq!((restored.files, restored.bytes), (snapshot.files, snapshot.bytes));
    assert_same(&kept, &describe(&place.restored));
}

#[tokio::test]
async fn what_restic_was_not_given_as_one_path_is_restored_from_its_root() {
    let place = Place::with_file();
    let other = place.path("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("thing"), "thing").unwrap();
    run(restic(&place.repository).arg("init"));
    let root = place.path("");
    for arguments in [["backup", "folder", "other"].as_slice(), &["backup", "other"]] {
        run(restic(&place.repository).args(arguments).current_dir(&root));
    }
    let [both, one] = place.list(&[]).await.unwrap().try_into().unwrap();
    assert_eq!(place.restore(&both.id).await.unwrap().files, 2);
    assert_eq!(fs::read_to_string(place.restored.join("other/thing")).unwrap(), "thing");
    assert_eq!(fs::read_to_string(place.restored.join("folder/file")).unwrap(), "content");
    // A relative path: it is shown as it was given, and noted as where it led to.
    fs::remove_dir_all(&place.restored).unwrap();
    assert_eq!(place.restore(&one.id).await.unwrap().files, 1);
    assert_eq!(fs::read_to_string(place.restored.join("other/thing")).unwrap(), "thing");
}

#[tokio::test]
async fn both_share_what_they_keep() {
    let place = Place::new();
    place.fill(2, 5);
    run(restic(&place.repository).arg("init"));
    run(restic(&place.repository).arg("backup").arg(&place.folder));
    let ours = place.back_up().await.unwrap();
    assert!(ours.added_bytes < 10 << 10, "{ours:?}");

    // And nothing of ours goes with theirs.
    run(restic(&place.repository).args(["forget", "--keep-tag", "volume=shop-data", "--prune"]));
    let [left] = place.list(&[]).await.unwrap().try_into().unwrap();
    assert_eq!(left.id, ours.id);
    assert_eq!(place.verify(&ours.id).await.unwrap().bytes, 10 << 20);
    check(&place.repository);
}

#[tokio::test]
async fn while_restic_works_on_a_repository_we_wait() {
    let place = Place::with_file();
    place.back_up().await.unwrap();
    let mut command = restic(&place.repository);
    command.args(["backup", "--stdin"]).stdin(Stdio::piped()).stdout(Stdio::null());
    let mut working = command.spawn().unwrap();
    until("restic has its lock", || !place.files("locks").is_empty()).await;
    match place.back_up().await {
        Err(BackupError::Busy(text)) => assert!(text.contains("unlock"), "{text}"),
        other => panic!("{other:?}"),
    }
    working.stdin.take().unwrap().write_all(b"done").unwrap();
    assert!(working.wait().unwrap().success());
    place.back_up().await.unwrap();
}

#[tokio::test]
async fn a_lock_that_restic_left_long_ago_is_passed_over() {
    let place = Place::with_file();
    place.back_up().await.unwrap();
    let lock = fs::File::create(place.repository.path.join("locks").join("a".repeat(64))).unwrap();
    assert!(matches!(place.back_up().await, Err(BackupError::Busy(_))));
    lock.set_modified(SystemTime::now() - Duration::from_secs(31 * 60)).unwrap();
    place.back_up().await.unwrap();
}

#[tokio::test]
async fn the_folders_and_files_have_the_modes_of_restic() {
    let (ours, theirs) = (Place::with_file(), Place::with_file());
    ours.back_up().await.unwrap();
    run(restic(&theirs.repository).arg("init"));
    run(restic(&theirs.repository).arg("backup").arg(&theirs.folder));
    for kind in ["", "data", "data/a0", "index", "keys", "locks", "snapshots", "config"] {
        let mode = |place: &Place| {
            let found = fs::metadata(place.repository.path.join(kind)).unwrap();
            std::os::unix::fs::MetadataExt::mode(&found)
        };
        assert_eq!(mode(&ours), mode(&theirs), "{kind}");
    }
}
