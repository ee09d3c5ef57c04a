//! What is sealed, and by whom it can be opened.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use tempfile::TempDir;
use yuanli_model::{SecretName, Timestamp, WorkflowName};
use yuanli_ports::secrets::{SecretError, SecretValue};
use yuanli_vault::{KeyPlace, Passphrase, Scope, Vault, VaultError};

const VALUE: &[u8] = b"hunter2-hunter2";

struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn sealed(&self) -> PathBuf {
        self.0.path().join("secrets.json")
    }

    fn keys(&self) -> PathBuf {
        self.0.path().join("secrets.key")
    }

    fn by_file(&self) -> KeyPlace {
        KeyPlace::File(self.keys())
    }

    fn open(&self) -> Vault {
        self.try_open().expect("it opens")
    }

    fn try_open(&self) -> Result<Vault, VaultError> {
        Vault::open(&self.sealed(), self.by_file())
    }
}

fn by_passphrase(text: &str) -> KeyPlace {
    KeyPlace::Passphrase(Passphrase::new(text.as_bytes().to_vec()))
}

fn name(text: &str) -> SecretName {
    text.parse().expect("a name")
}

fn workflow(text: &str) -> WorkflowName {
    text.parse().expect("a name")
}

fn set(vault: &Vault, key: &str, value: &[u8], scopes: &[&str]) {
    let value = SecretValue::new(&name(key), value.to_vec()).expect("a value");
    let scopes: Vec<Scope> = scopes.iter().map(|scope| scope.parse().expect("a scope")).collect();
    vault.set(&name(key), &value, scopes, Timestamp::from_millis(5)).expect("it is kept");
}

fn get(vault: &Vault, key: &str) -> Result<Vec<u8>, SecretError> {
    vault.get(&name(key), &workflow("shop")).map(|value| value.expose().to_vec())
}

#[test]
fn what_is_kept_comes_back_and_stands_nowhere() {
    let place = Place::new();
    let vault = place.open();
    assert_eq!(
        fs::read_dir(place.0.path()).expect("a folder").count(),
        0,
        "nothing is made before it is needed"
    );
    assert!(matches!(get(&vault, "token"), Err(SecretError::Unknown(_))));
    set(&vault, "token", VALUE, &[]);
    set(&vault, "other", &[0xff, 0, 0xfe], &[]);
    set(&vault, "token", VALUE, &[]);
    drop(vault);
    let vault = place.open();
    assert_eq!(get(&vault, "token").expect("it is there"), VALUE);
    assert_eq!(get(&vault, "other").expect("it is there"), [0xff, 0, 0xfe], "whatever its bytes are");
    let names: Vec<String> = vault.list().expect("a list").iter().map(|kept| kept.name.to_string()).collect();
    assert_eq!(names, ["other", "token"]);
    for file in [place.sealed(), place.keys()] {
        let bytes = fs::read(&file).expect("a file");
        assert!(!bytes.windows(7).any(|window| window == b"hunter2"), "{}", file.display());
        assert_eq!(fs::metadata(&file).expect("a file").permissions().mode() & 0o777, 0o600);
    }
    assert!(vault.delete(&name("token")).expect("deleted") && !vault.delete(&name("token")).expect("gone"));
    assert!(get(&place.open(), "token").is_err());
    assert!(!format!("{vault:?}").contains("hunter2"));
}

#[test]
fn a_secret_is_for_the_workflows_that_it_was_given_for() {
    let place = Place::new();
    let vault = place.open();
    set(&vault, "token", VALUE, &["shop", "shop-*"]);
    assert_eq!(get(&vault, "token").expect("it is for shop"), VALUE);
    assert!(vault.get(&name("token"), &workflow("shop-test")).is_ok());
    let refused = vault.get(&name("token"), &workflow("spy")).expect_err("it is not for spy").to_string();
    assert!(refused.contains("not for the workflow `spy`") && !refused.contains("shop"), "{refused}");
    // Nobody widens it with an editor.
    let text = fs::read_to_string(place.sealed()).expect("a file");
    fs::write(place.sealed(), text.replace("\"shop-*\"", "\"spy\"")).expect("written");
    let refused = place.open().get(&name("token"), &workflow("spy")).expect_err("it is bound");
    assert!(
        matches!(&refused, SecretError::Local(why) if why.contains("not what was sealed")),
        "{refused:?}"
    );
}

#[test]
fn a_value_does_not_pass_for_another() {
    let place = Place::new();
    let vault = place.open();
    set(&vault, "harmless", b"known to all", &[]);
    set(&vault, "token", VALUE, &[]);
    let text = fs::read_to_string(place.sealed()).expect("a file");
    let swapped = text
        .replace("\"harmless\"", "\"x\"")
        .replace("\"token\"", "\"harmless\"")
        .replace("\"x\"", "\"token\"");
    fs::write(place.sealed(), swapped).expect("written");
    let vault = place.open();
    for key in ["harmless", "token"] {
        assert!(matches!(get(&vault, key), Err(SecretError::Local(_))), "{key}");
    }
}

#[test]
fn the_key_has_to_be_the_one() {
    let place = Place::new();
    set(&place.open(), "token", VALUE, &[]);
    let other = Place::new();
    set(&other.open(), "token", VALUE, &[]);
    fs::copy(other.keys(), place.keys()).expect("copied");
    let refused = place.try_open().expect_err("another key").to_string();
    assert!(refused.contains("has no key"), "{refused}");
    fs::remove_file(place.keys()).expect("removed");
    let refused = place.try_open().expect_err("no key").to_string();
    assert!(refused.contains("bring it back"), "{refused}");
    fs::write(place.keys(), "x").expect("written");
    fs::set_permissions(place.keys(), fs::Permissions::from_mode(0o644)).expect("a mode");
    assert!(matches!(place.try_open(), Err(VaultError::Open(_))));
}

#[test]
fn a_passphrase_opens_what_it_sealed_and_nothing_else_does() {
    let place = Place::new();
    let open = |key| Vault::open(&place.sealed(), key);
    set(&open(by_passphrase("correct horse\n")).expect("it opens"), "token", VALUE, &[]);
    assert_eq!(
        get(&open(by_passphrase("correct horse")).expect("it opens"), "token").expect("it is there"),
        VALUE
    );
    let refused = open(by_passphrase("battery staple")).expect_err("another one").to_string();
    assert!(refused.contains("not the one"), "{refused}");
    assert!(matches!(open(by_passphrase("")), Err(VaultError::WrongKey(_))));
    let refused = open(place.by_file()).expect_err("no file").to_string();
    assert!(refused.contains("by a passphrase"), "{refused}");
    // A file that asks for all memory is no file of ours.
    let text = fs::read_to_string(place.sealed()).expect("a file");
    fs::write(place.sealed(), text.replace("\"memory_kib\": 65536", "\"memory_kib\": 4000000000"))
        .expect("written");
    assert!(matches!(open(by_passphrase("correct horse")), Err(VaultError::Damaged(_))));
}

#[test]
fn a_new_key_seals_all_of_it_and_the_old_one_is_gone() {
    let place = Place::new();
    let vault = place.open();
    set(&vault, "token", VALUE, &["shop"]);
    set(&vault, "other", b"x", &[]);
    let (sealed, keys) = (fs::read(place.sealed()).expect("a file"), fs::read(place.keys()).expect("a file"));
    assert_eq!(vault.rotate(place.by_file()).expect("rotated"), 2);
    assert_eq!(get(&vault, "token").expect("it is there"), VALUE);
    assert_eq!(get(&place.open(), "token").expect("it is there"), VALUE);
    let new_keys = fs::read(place.keys()).expect("a file");
    assert!(new_keys != keys && new_keys.len() == keys.len(), "one key, and another");
    // Killed before the new file was there: both keys are, and the old one is the one.
    let new_sealed = fs::read(place.sealed()).expect("a file");
    fs::write(place.keys(), [&keys[..], &new_keys].concat()).expect("written");
    for state in [&sealed, &new_sealed] {
        fs::write(place.sealed(), state).expect("written");
        assert_eq!(get(&place.open(), "token").expect("it is there"), VALUE);
    }
    // From the file to a passphrase, which leaves no file, and back.
    let vault = place.open();
    vault.rotate(by_passphrase("correct horse")).expect("rotated");
    assert!(fs::read(place.keys()).is_ok_and(|left| left == keys), "only the key that sealed it is removed");
    let vault = Vault::open(&place.sealed(), by_passphrase("correct horse")).expect("it opens");
    assert_eq!(get(&vault, "token").expect("it is there"), VALUE);
    vault.rotate(place.by_file()).expect("rotated");
    let kept = place.open().list().expect("a list");
    assert_eq!((kept.len(), kept[1].changed, kept[1].workflows.len()), (2, Timestamp::from_millis(5), 1));
}

#[test]
fn those_who_share_a_file_of_keys_take_no_key_from_each_other() {
    let place = Place::new();
    let sealed = |engine: usize| place.0.path().join(format!("secrets-{engine}.json"));
    // Each reads the file of keys, and writes it with a key more or less, a few times at once with the others.
    std::thread::scope(|threads| {
        for engine in 0..4 {
            let place = &place;
            threads.spawn(move || {
                let vault = Vault::open(&sealed(engine), place.by_file()).expect("it opens");
                set(&vault, "token", VALUE, &["shop"]);
                for _ in 0..8 {
                    vault.rotate(place.by_file()).expect("rotated");
                }
            });
        }
    });
    for engine in 0..4 {
        let vault = Vault::open(&sealed(engine), place.by_file()).expect("its key is there");
        assert_eq!(get(&vault, "token").expect("it is there"), VALUE);
    }
    let keys = fs::read_to_string(place.keys()).expect("a file");
    assert_eq!(keys.lines().count(), 4, "one for each, and none that nobody has");
}

#[test]
fn what_is_damaged_or_newer_is_told() {
    let place = Place::new();
    set(&place.open(), "token", VALUE, &[]);
    let text = fs::read_to_string(place.sealed()).expect("a file");
    fs::write(place.sealed(), text.replace("\"version\": 1", "\"version\": 2")).expect("written");
    let refused = place.try_open().expect_err("a newer one").to_string();
    assert!(refused.contains("newer engine"), "{refused}");
    fs::write(place.sealed(), &text[..text.len() / 2]).expect("written");
    assert!(matches!(place.try_open(), Err(VaultError::Damaged(_))));
}

#[test]
fn a_key_that_was_brought_back_by_hand_is_not_lost() {
    let place = Place::new();
    set(&place.open(), "token", VALUE, &[]);
    // As an editor or a secret manager leaves it: without the last line end.
    let key = fs::read_to_string(place.keys()).expect("a file");
    fs::write(place.keys(), key.trim_end()).expect("written");
    let vault = place.open();
    assert_eq!(vault.rotate(place.by_file()).expect("rotated"), 1);
    assert_eq!(get(&place.open(), "token").expect("it is there"), VALUE);
    assert_eq!(fs::read_to_string(place.keys()).expect("a file").lines().count(), 1, "the old one is gone");
    // What is no file of keys is not written over.
    fs::write(place.keys(), "x".repeat(70_000)).expect("written");
    assert!(matches!(vault.rotate(place.by_file()), Err(VaultError::Damaged(_))));
    assert_eq!(fs::metadata(place.keys()).expect("a file").len(), 70_000);
}

#[test]
fn a_key_behind_a_link_stays_there() {
    let (place, elsewhere) = (Place::new(), Place::new());
    fs::write(elsewhere.keys(), "").expect("written");
    fs::set_permissions(elsewhere.keys(), fs::Permissions::from_mode(0o600)).expect("a mode");
    std::os::unix::fs::symlink(elsewhere.keys(), place.keys()).expect("a link");
    set(&place.open(), "token", VALUE, &[]);
    assert!(fs::symlink_metadata(place.keys()).expect("a link").is_symlink());
    assert_eq!(get(&place.open(), "token").expect("it is there"), VALUE);
}
