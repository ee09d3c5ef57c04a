//! What is asked for wrongly, or at the wrong time, changes nothing.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use yuanli_backup::RusticBackups;
use yuanli_ports::backups::{BackupError, BackupRequest, Repository};
use yuanli_ports::{Backups, Cancellation};

use crate::crash::Child;
use crate::support::{Place, describe, is_root, until};

const UNKNOWN: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn assert_invalid<T: std::fmt::Debug>(result: Result<T, BackupError>, says: &str) {
    match result {
        Err(BackupError::Invalid(text)) if text.contains(says) => {}
        other => panic!("expected a refusal that says `{says}`: {other:?}"),
    }
}

#[tokio::test]
async fn a_wrong_request_is_refused_before_a_repository_is_made() {
    let place = Place::with_file();
    let request = place.request();
    let shown = |shown: &str| BackupRequest { shown_as: shown.to_owned(), ..request.clone() };
    let folder = |folder: PathBuf| BackupRequest { folder, ..request.clone() };
    let tag = |tag: &str| BackupRequest { tags: vec![tag.to_owned()], ..request.clone() };
    let cases = [
        (shown(""), "cannot show"),
        (shown("/"), "cannot show"),
        (shown("volumes/data"), "cannot show"),
        (shown("/volumes/../etc"), "cannot show"),
        (folder(place.path("nowhere")), "no such folder"),
        (folder(place.folder.join("file")), "not a folder"),
        (tag("a,b"), "is no tag"),
        (tag(""), "is no tag"),
    ];
    for (request, says) in cases {
        assert_invalid(place.back_up_as(&request).await, says);
    }
    assert!(!place.repository.path.exists());
}

#[tokio::test]
async fn a_repository_is_not_made_where_it_does_not_belong() {
    let place = Place::with_file();
    let full = place.path("full");
    fs::create_dir(&full).unwrap();
    fs::write(full.join("letter"), "").unwrap();
    let inside = place.folder.join("backups");
    fs::create_dir(&inside).unwrap();
    let cases = [
        (full.as_path(), "such as letter"),
        (&full.join("letter"), "not a folder"),
        (Path::new("relative"), "no absolute path"),
        (&inside, "lies in it"),
    ];
    for (path, says) in cases {
        let repository = Repository { path: path.to_owned(), ..place.repository.clone() };
        let taken = RusticBackups::new().back_up(&repository, &place.request(), &Cancellation::new()).await;
        assert_invalid(taken, says);
    }
    assert_eq!(fs::read_dir(&full).unwrap().count(), 1);
}

#[tokio::test]
async fn what_is_not_there_cannot_be_read() {
    let place = Place::with_file();
    assert_invalid(place.verify(UNKNOWN).await, "no repository");
    let snapshot = place.back_up().await.unwrap();
    for id in [UNKNOWN, "", "latest", &snapshot.id[..7], "../config"] {
        assert_invalid(place.verify(id).await, "has no snapshot");
        assert_invalid(place.restore(id).await, "has no snapshot");
    }
}

#[tokio::test]
async fn nothing_is_restored_over_what_is_there() {
    let place = Place::with_file();
    let snapshot = place.back_up().await.unwrap();
    fs::write(place.restored.join("mine"), "precious").unwrap();
    let before = describe(&place.restored);
    assert_invalid(place.restore(&snapshot.id).await, "not empty");
    assert_eq!(describe(&place.restored), before);
}

#[tokio::test]
async fn another_password_opens_nothing() {
    let place = Place::with_file();
    let snapshot = place.back_up().await.unwrap();
    let stranger = Repository { password: "guess".to_owned(), ..place.repository.clone() };
    let (backups, cancel) = (RusticBackups::new(), Cancellation::new());
    let refusals = [
        backups.back_up(&stranger, &place.request(), &cancel).await.unwrap_err(),
        backups.list(&stranger, &[]).await.unwrap_err(),
        backups.verify(&stranger, &snapshot.id, &cancel).await.unwrap_err(),
        backups.restore(&stranger, &snapshot.id, &place.restored, &cancel).await.unwrap_err(),
    ];
    for refusal in refusals {
        assert!(matches!(refusal, BackupError::WrongPassword(_)), "{refusal:?}");
    }
    assert_eq!(place.list(&[]).await.unwrap(), [snapshot]);
}

#[tokio::test]
async fn a_second_writer_is_told_to_wait() {
    let place = Place::new();
    place.fill(12, 10);
    let first = place.back_up();
    let second = async {
        until("the first writes", || !place.files("data").is_empty()).await;
        place.back_up().await
    };
    let (first, second) = tokio::join!(first, second);
    assert!(matches!(second, Err(BackupError::Busy(_))), "{second:?}");
    assert_eq!(place.list(&[]).await.unwrap(), [first.unwrap()]);
    place.back_up().await.unwrap();
}

#[tokio::test]
async fn a_file_that_cannot_be_read_fails_the_whole() {
    // Of these the system tells a length of 4096 bytes, and gives fewer.
    let place = Place::with_file();
    let short = BackupRequest { folder: "/sys/class/net/lo/statistics/".into(), ..place.request() };
    match place.back_up_as(&short).await {
        Err(BackupError::Local(text)) => assert!(text.contains("became shorter"), "{text}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(place.list(&[]).await.unwrap(), []);
    place.back_up().await.unwrap();
}

#[tokio::test]
async fn a_file_that_may_not_be_read_fails_the_whole() {
    for unreadable in ["file", "folder"] {
        let place = Place::with_file();
        fs::create_dir(place.folder.join("folder")).unwrap();
        fs::write(place.folder.join("readable"), "").unwrap();
        fs::set_permissions(place.folder.join(unreadable), Permissions::from_mode(0o000)).unwrap();
        // Root may read everything.
        let failure = if is_root() {
            let mut child = Child::back_up_as_nobody(&place);
            assert!(!child.wait().success());
            child.said()
        } else {
            place.back_up().await.unwrap_err().to_string()
        };
        assert!(failure.contains(&format!("folder/{unreadable} cannot be read")), "{failure}");
        assert!(failure.contains("runs as root"), "{failure}");
        fs::set_permissions(place.folder.join(unreadable), Permissions::from_mode(0o755)).unwrap();
        assert_eq!(place.list(&[]).await.unwrap(), []);
    }
}

#[tokio::test]
async fn what_cannot_be_written_fails_the_whole() {
    let place = Place::with_file();
    place.back_up().await.unwrap();
    let before = place.list(&[]).await.unwrap();
    place.fill(4, 20);
    // No pack can be put into a folder that is none.
    let folders = || (0..=u8::MAX).map(|first| place.repository.path.join(format!("data/{first:02x}")));
    let blocked: Vec<_> = folders().filter(|folder| fs::remove_dir(folder).is_ok()).collect();
    blocked.iter().for_each(|folder| fs::write(folder, "").unwrap());
    match place.back_up().await {
        Err(BackupError::Local(text)) => assert!(text.contains("cannot be written"), "{text}"),
        other => panic!("{other:?}"),
    }
    place.until_unlocked().await;
    assert_eq!(place.list(&[]).await.unwrap(), before);

    for folder in blocked {
        fs::remove_file(&folder).unwrap();
        fs::create_dir(&folder).unwrap();
    }
    let snapshot = place.back_up().await.unwrap();
    assert_eq!(place.verify(&snapshot.id).await.unwrap().bytes, snapshot.bytes);
}

#[tokio::test]
async fn who_is_not_asked_to_begin_does_nothing() {
    let place = Place::with_file();
    let snapshot = place.back_up().await.unwrap();
    let (backups, cancel) = (RusticBackups::new(), Cancellation::new());
    cancel.cancel();
    let taken = backups.back_up(&place.repository, &place.request(), &cancel).await;
    assert_eq!(taken, Err(BackupError::Cancelled));
    let verified = backups.verify(&place.repository, &snapshot.id, &cancel).await;
    assert_eq!(verified, Err(BackupError::Cancelled));
    let restored = backups.restore(&place.repository, &snapshot.id, &place.restored, &cancel).await;
    assert_eq!(restored, Err(BackupError::Cancelled));
    assert_eq!(fs::read_dir(&place.restored).unwrap().count(), 0);
    assert_eq!(place.list(&[]).await.unwrap(), [snapshot]);
}
