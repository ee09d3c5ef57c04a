//! The data directory through its public face.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at the first surprise")]

mod support;

use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;
use yuanli_model::EngineId;
use yuanli_store::{DataDirectory, Embedded, OpenError, Options};

use support::files::copy;

#[test]
fn it_keeps_its_engine_and_has_one_owner() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a/b");
    let first = DataDirectory::open(&path, || EngineId::from_u128(7)).unwrap();
    assert_eq!(first.engine(), EngineId::from_u128(7));
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    let refused = DataDirectory::open(&path, || unreachable!("it has an id")).unwrap_err().to_string();
    assert!(refused.contains(&format!("in use by process {}", std::process::id())), "{refused}");
    drop(first);
    let again = DataDirectory::open(&path, || unreachable!("it has an id")).unwrap();
    assert_eq!(again.engine(), EngineId::from_u128(7));
}

#[test]
fn a_newer_or_damaged_one_is_refused_with_a_sentence() {
    let check = |text: &str, says: &str| {
        let folder = TempDir::new().unwrap();
        std::fs::write(folder.path().join("engine.json"), text).unwrap();
        let error = DataDirectory::open(folder.path(), || EngineId::from_u128(7)).unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
    };
    check(
        r#"{"format": 99, "engine": "0000000000000000000000000z"}"#,
        "has format 99; this engine reads up to 2",
    );
    check(r#"{"format": 1, "engine": "x"}"#, "is no engine id");
    check("{", "is damaged");
}

#[test]
fn a_folder_that_cannot_be_made_is_an_error() {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("file"), "").unwrap();
    let error = DataDirectory::open(&folder.path().join("file/data"), || EngineId::from_u128(7)).unwrap_err();
    assert!(matches!(error, OpenError::Io { .. }), "{error}");
}

#[test]
fn a_copy_is_recognised_until_it_is_adopted() {
    let folder = TempDir::new().unwrap();
    let (original, other) = (folder.path().join("original"), folder.path().join("copy"));
    let first = DataDirectory::open(&original, || EngineId::from_u128(7)).unwrap();
    assert!(!first.is_copy());
    drop(first);
    copy(&original, &other);
    let mut copied = DataDirectory::open(&other, || unreachable!("it has an id")).unwrap();
    assert!(copied.is_copy());
    copied.adopt(EngineId::from_u128(8)).unwrap();
    assert!(!copied.is_copy());
    drop(copied);
    let copied = DataDirectory::open(&other, || unreachable!("it has an id")).unwrap();
    assert_eq!((copied.is_copy(), copied.engine()), (false, EngineId::from_u128(8)));
    assert!(!DataDirectory::open(&original, || unreachable!("it has an id")).unwrap().is_copy());
}

#[test]
fn a_store_that_is_gone_is_missed_and_one_without_identity_is_not_taken_for_new() {
    let folder = TempDir::new().unwrap();
    let mut directory = DataDirectory::open(folder.path(), || EngineId::from_u128(7)).unwrap();
    drop(Embedded::open(&directory.store(), Options::default()).unwrap());
    directory.note_store().unwrap();
    let (store, identity) = (directory.store(), folder.path().join("engine.json"));
    drop(directory);

    std::fs::rename(&store, folder.path().join("elsewhere")).unwrap();
    let error = DataDirectory::open(folder.path(), || EngineId::from_u128(9)).unwrap_err();
    assert!(error.to_string().contains("there was a store, and it is gone"), "{error}");
    std::fs::rename(folder.path().join("elsewhere"), &store).unwrap();

    std::fs::remove_file(&identity).unwrap();
    let error = DataDirectory::open(folder.path(), || EngineId::from_u128(9)).unwrap_err();
    assert!(error.to_string().contains("it is missing, and there is a store beside it"), "{error}");
}
