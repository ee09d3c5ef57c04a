//! A repository that lost something says so.

use std::fs::{self, OpenOptions, Permissions};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;

use yuanli_ports::backups::{BackupError, Restored};

use crate::support::{Place, until};

type Damage = fn(&Path);

/// Changes a bit in the middle of a file.
fn flip(path: &Path) {
    fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let middle = file.metadata().unwrap().len() / 2;
    let mut byte = [0];
    file.read_exact_at(&mut byte, middle).unwrap();
    file.write_all_at(&[byte[0] ^ 1], middle).unwrap();
}

fn cut(path: &Path) {
    fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
    let file = OpenOptions::new().write(true).open(path).unwrap();
    file.set_len(file.metadata().unwrap().len() / 2).unwrap();
}

/// Less than the table of what is in it takes.
fn cut_short(path: &Path) {
    fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
    OpenOptions::new().write(true).open(path).unwrap().set_len(200).unwrap();
}

fn empty(path: &Path) {
    fs::remove_file(path).unwrap();
    fs::write(path, "").unwrap();
}

fn remove(path: &Path) {
    fs::remove_file(path).unwrap();
}

fn assert_damaged<T: std::fmt::Debug>(result: Result<T, BackupError>, says: &str, case: &str) {
    match result {
        Err(BackupError::Damaged(text)) if text.contains(says) => {}
        other => panic!("{case}: expected damage that says `{says}`: {other:?}"),
    }
}

#[tokio::test]
async fn no_damage_is_passed_over() {
    // The packs of content are longer than those of trees.
    let cases: [(&str, &str, Damage, &str); 10] = [
        ("content changed", "data", flip, "random-0 cannot be restored"),
        ("content cut", "data", cut, "random-0 cannot be restored"),
        ("content removed", "data", remove, "missing from the repository"),
        ("trees changed", "last of data", flip, ""),
        ("trees removed", "last of data", remove, "missing from the repository"),
        ("index changed", "index", flip, "checksum is wrong"),
        ("index removed", "index", remove, ""),
        ("snapshot changed", "snapshots", flip, "checksum is wrong"),
        ("key changed", "keys", flip, "checksum is wrong"),
        ("keys removed", "keys", remove, "lost its keys"),
    ];
    for (case, kind, damage, says) in cases {
        let place = Place::new();
        place.fill(1, 2);
        let snapshot = place.back_up().await.unwrap();
        let files = place.files(kind.trim_start_matches("last of "));
        damage(if kind.starts_with("last") { files.last() } else { files.first() }.unwrap());
        assert_damaged(place.verify(&snapshot.id).await, says, case);
        assert_damaged(place.restore(&snapshot.id).await, says, case);
    }
}

#[tokio::test]
async fn a_repository_without_its_config_is_not_made_anew() {
    let place = Place::with_file();
    place.back_up().await.unwrap();
    fs::remove_file(place.repository.path.join("config")).unwrap();
    assert_damaged(place.back_up().await, "lost its file `config`", "config removed");
    assert_eq!(place.files("keys").len(), 1);
}

#[tokio::test]
async fn content_that_got_lost_is_kept_again() {
    let cases: [(&str, Damage); 3] = [("removed", remove), ("cut", cut), ("emptied", empty)];
    for (case, damage) in cases {
        let place = Place::new();
        place.fill(1, 2);
        place.back_up().await.unwrap();
        damage(&place.files("data")[0]);
        let snapshot = place.back_up().await.unwrap();
        let whole = Restored { files: 1, bytes: 2 << 20 };
        assert_eq!(place.verify(&snapshot.id).await, Ok(whole), "{case}");
    }
}

#[tokio::test]
async fn who_reads_the_index_has_it_as_it_is() {
    let place = Place::with_file();
    place.back_up().await.unwrap();
    let before = place.files("index");
    // As after a writer that died: the next one puts another file in its place.
    remove(&place.files("data")[0]);
    let reading = fs::File::open(place.repository.path.join("yuanli/index")).unwrap();
    reading.lock_shared().unwrap();
    let has_lock = || fs::File::open(place.repository.path.join("yuanli/lock")).unwrap().try_lock().is_err();
    let (taken, ()) = tokio::join!(place.back_up(), async {
        until("the writer has begun", has_lock).await;
        assert_eq!(place.files("index"), before);
        drop(reading);
    });
    taken.unwrap();
    assert_ne!(place.files("index"), before);
}

#[tokio::test]
async fn damage_that_the_library_panics_at_is_damage() {
    let place = Place::new();
    for file in 0..100 {
        fs::write(place.folder.join(format!("file-{file}")), format!("content {file}")).unwrap();
    }
    place.back_up().await.unwrap();
    place.files("data").iter().for_each(|pack| cut_short(pack));
    assert_damaged(place.back_up().await, "check --read-data", "packs cut short");
}
