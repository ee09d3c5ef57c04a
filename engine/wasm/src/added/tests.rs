use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;
use yuanli_model::{Bounds, Digest};

use super::*;
use crate::description::StoredBounds;

fn entry(key: &str, component: &str) -> Entry {
    Entry {
        key: key.parse().expect(key),
        summary: "for tests".to_owned(),
        digest: Digest::of(component.as_bytes()),
        size_bytes: component.len() as u64,
        imports: vec!["yuanli:log/log@0.1.0".to_owned(), "wasi:cli/stdout@0.2.6".to_owned()],
        config_schema: json!({ "type": "object", "properties": { "b": {}, "a": {} } }),
        outputs_schema: json!({ "type": "object" }),
        bounds: StoredBounds::of(&Bounds { timeout: Some(Duration::from_secs(3)), ..Bounds::default() }),
    }
}

fn store() -> (TempDir, Added) {
    let folder = tempfile::tempdir().expect("a folder");
    let added = Added::new(folder.path().join("added"));
    (folder, added)
}

fn add(added: &Added, entries: &[Entry], may_replace: bool) -> Result<Vec<Outcome>, PluginError> {
    added.add(entries, may_replace, || Ok(()))
}

fn keys(added: &Added) -> Vec<String> {
    added.keys().expect("keys").iter().map(ToString::to_string).collect()
}

fn flip(added: &Added, name: &str, at: usize) {
    let path = added.folder.join(name);
    let mut bytes = fs::read(&path).expect("a file");
    let at = at.min(bytes.len() - 1);
    bytes[at] ^= 1;
    fs::write(path, bytes).expect("written");
}

#[test]
fn an_entry_says_again_what_it_was_made_of() {
    let (_folder, added) = store();
    assert_eq!(keys(&added), [""; 0]);
    let entries = [entry("probe@0.10.0", "c"), entry("probe@0.9.0", "b"), entry("noop@1.0.0", "a")];
    assert_eq!(add(&added, &entries, false), Ok(vec![Outcome::Added; 3]));
    assert_eq!(keys(&added), ["noop@1.0.0", "probe@0.9.0", "probe@0.10.0"]);
    for entry in &entries {
        assert_eq!(added.entry(&entry.key).as_ref(), Ok(entry));
    }
    let described = entries[0].description().expect("known imports");
    assert_eq!((described.name.as_str(), described.version.as_str()), ("probe", "0.10.0"));
    assert_eq!(described.capabilities, [yuanli_model::Capability::Log]);
    assert_eq!(added.versions("probe").expect("versions").len(), 2);
}

#[test]
fn a_version_has_one_component_unless_it_is_replaced() {
    let (_folder, added) = store();
    add(&added, &[entry("probe@1.0.0", "a")], false).expect("added");
    assert_eq!(add(&added, &[entry("probe@1.0.0", "a")], false), Ok(vec![Outcome::Present]));
    let other = [entry("noop@1.0.0", "n"), entry("probe@1.0.0", "b")];
    let refused = add(&added, &other, false).expect_err("another component").to_string();
    assert!(refused.contains("`probe` 1.0.0 is there already") && refused.contains("--replace"), "{refused}");
    assert_eq!(keys(&added), ["probe@1.0.0"], "all or nothing");
    assert_eq!(add(&added, &other, true), Ok(vec![Outcome::Added, Outcome::Replaced]));
    assert_eq!(added.entry(&other[1].key), Ok(other[1].clone()));
}

#[test]
fn nothing_is_there_when_the_components_cannot_be_kept() {
    let (_folder, added) = store();
    let full = || Err(PluginError::Local("no room".to_owned()));
    let entries = [entry("a@1.0.0", "a"), entry("b@1.0.0", "b")];
    added.add(&entries, false, full).expect_err("no room");
    assert_eq!(keys(&added), [""; 0]);
}

#[test]
fn a_batch_that_was_left_is_finished_by_whoever_comes_next() {
    let (_folder, added) = store();
    let entries = vec![entry("a@1.0.0", "a"), entry("b@1.0.0", "b"), entry("c@1.0.0", "c")];
    // As if its writer was killed after the first entry, and another one in the middle of a file.
    files::make_folder(&added.folder).expect("a folder");
    fs::write(added.folder.join(BATCH), seal(&entries)).expect("written");
    added.write(&entries[0]).expect("written");
    fs::write(added.folder.join(".tmpleft"), "half").expect("written");
    assert_eq!(keys(&added), ["a@1.0.0", "b@1.0.0", "c@1.0.0"]);
    assert!(!added.folder.join(BATCH).exists());
    add(&added, &[entry("d@1.0.0", "d")], false).expect("added");
    assert!(!added.folder.join(".tmpleft").exists());
    // A damaged one is given up, and nothing else.
    fs::write(added.folder.join(BATCH), &seal(&entries)[..200]).expect("written");
    assert_eq!(keys(&added), ["a@1.0.0", "b@1.0.0", "c@1.0.0", "d@1.0.0"]);
}

#[test]
fn a_damaged_entry_is_told_and_breaks_no_other() {
    let (_folder, added) = store();
    let (a, b) = (entry("a@1.0.0", "a"), entry("b@1.0.0", "b"));
    let whole = seal(&a);
    for at in [0, 10, 15, 30, 90, 200, usize::MAX] {
        add(&added, &[a.clone(), b.clone()], true).expect("added");
        flip(&added, "a@1.0.0", at);
        let told = added.entry(&a.key).expect_err("damaged").to_string();
        assert!(
            told.contains("`a@1.0.0`") && (told.contains("is damaged: add") || told.contains("newer")),
            "{at}: {told}"
        );
        assert_eq!(added.entry(&b.key), Ok(b.clone()));
        fs::write(added.folder.join("a@1.0.0"), &whole[..whole.len() / 2]).expect("written");
        assert!(added.entry(&a.key).is_err());
    }
    // Adding it again mends it, removing takes it away.
    assert_eq!(add(&added, std::slice::from_ref(&a), false), Ok(vec![Outcome::Added]));
    flip(&added, "a@1.0.0", 99);
    assert_eq!(added.remove(&a.key.name, |_| true), Ok(vec![a.key.clone()]));
    assert_eq!(keys(&added), ["b@1.0.0"]);
    // The entry of another plugin under this name is no entry of it.
    fs::copy(added.folder.join("b@1.0.0"), added.folder.join("a@1.0.0")).expect("copied");
    assert!(added.entry(&a.key).is_err());
}

#[test]
fn an_entry_of_a_newer_engine_is_refused_and_not_overwritten() {
    let (_folder, added) = store();
    let a = entry("a@1.0.0", "a");
    add(&added, std::slice::from_ref(&a), false).expect("added");
    let text = String::from_utf8(seal(&a)).expect("text").replacen(" 1 ", " 2 ", 1);
    fs::write(added.folder.join("a@1.0.0"), text).expect("written");
    for told in [added.entry(&a.key).map(drop), add(&added, std::slice::from_ref(&a), true).map(drop)] {
        let told = told.expect_err("newer").to_string();
        assert!(told.contains("newer engine (format 2, this one reads 1)"), "{told}");
    }
}

#[test]
fn a_store_is_whole_or_what_is_missing_is_told() {
    let (folder, added) = store();
    let look = || take_stock(folder.path()).expect("it can be read");
    assert_eq!(look(), Stocktaking::default());
    add(&added, &[entry("one@1.0.0", "a"), entry("two@1.0.0", "b"), entry("three@1.0.0", "c")], false)
        .expect("added");
    let component =
        |content: &str| folder.path().join(format!("{}.wasm", Digest::of(content.as_bytes()).hex()));
    for content in ["a", "b", "c", "of nobody"] {
        fs::write(component(content), content).expect("written");
    }
    // What is still being written is no component.
    fs::write(folder.path().join(".tmpX.wasm"), "half").expect("written");
    assert_eq!(look(), Stocktaking { added: 3, components: 4, findings: vec![] });
    fs::remove_file(component("a")).expect("removed");
    fs::write(component("b"), "damaged").expect("written");
    flip(&added, "three@1.0.0", 100);
    let findings = look().findings;
    let says = [
        "three@1.0.0` in the store of plugins is damaged",
        "`one@1.0.0` has no component",
        "plugin `two@1.0.0` is damaged",
    ];
    assert_eq!(findings.len(), 4, "{findings:#?}");
    assert!(findings[0].contains(&format!("{}.wasm is damaged", Digest::of(b"b").hex())), "{findings:#?}");
    for text in says {
        assert!(findings.iter().any(|finding| finding.contains(text)), "{text}: {findings:#?}");
    }
}
