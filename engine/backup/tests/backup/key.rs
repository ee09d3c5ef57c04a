//! The file with a password.

use std::fs::{self, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;

use yuanli_backup::key_file;

#[test]
fn a_key_is_made_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    let made = key_file(&path).unwrap();
    assert_eq!(made.len(), 64);
    assert!(made.bytes().all(|byte| byte.is_ascii_hexdigit()), "{made}");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    assert_eq!(key_file(&path).unwrap(), made);
    assert_ne!(key_file(&folder.path().join("other")).unwrap(), made);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[test]
fn who_asks_at_the_same_time_gets_the_same_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    let keys: Vec<_> = std::thread::scope(|scope| {
        let asking: Vec<_> = (0..8).map(|_| scope.spawn(|| key_file(&path).unwrap())).collect();
        asking.into_iter().map(|asking| asking.join().unwrap()).collect()
    });
    assert!(keys.iter().all(|key| *key == keys[0]), "{keys:?}");
}

#[test]
fn a_password_is_the_first_line() {
    for (content, password) in [("a b", "a b"), (" a \n", " a "), ("a\r\nb\n", "a")] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o400)).unwrap();
        assert_eq!(key_file(&path).unwrap(), password);
    }
}

#[test]
fn a_bad_file_is_refused_and_left_as_it_is() {
    let cases = [
        ("", 0o600, ErrorKind::InvalidData, "no password"),
        ("\nsecond", 0o600, ErrorKind::InvalidData, "no password"),
        ("secret", 0o640, ErrorKind::PermissionDenied, "chmod 600"),
        ("secret", 0o604, ErrorKind::PermissionDenied, "chmod 600"),
        ("secret", 0o620, ErrorKind::PermissionDenied, "chmod 600"),
    ];
    for (content, mode, kind, says) in cases {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        let error = key_file(&path).unwrap_err();
        assert_eq!(error.kind(), kind, "{content:?} {mode:o}");
        assert!(error.to_string().contains(says), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), content);
    }
}

#[test]
fn a_key_cannot_be_made_where_no_folder_is() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(key_file(&folder.path().join("no/key")).unwrap_err().kind(), ErrorKind::NotFound);
}
