//! The data directory through its public face.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at the first surprise")]

use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;
use yuanli_model::EngineId;
use yuanli_store::{DataDirectory, OpenError};

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
        "has format 99; this engine reads up to 1",
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
