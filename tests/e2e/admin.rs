//! Looking after a data directory.

use std::path::PathBuf;

use serde_json::Value;

use crate::support::{Ended, Place, copy, examples};

fn hello(place: &Place) -> Ended {
    place.yuanli(&["run", examples().join("hello/hello.yaml").to_str().unwrap()])
}

fn runs(place: &Place, data: &str) -> Vec<String> {
    let listed = place.json(&["runs", "list", "--data", data]);
    listed["items"].as_array().unwrap().iter().map(|run| run["id"].as_str().unwrap().to_owned()).collect()
}

fn segment(place: &Place) -> PathBuf {
    let mut files: Vec<PathBuf> = std::fs::read_dir(place.data().join("store/journal"))
        .unwrap()
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "journal"))
        .collect();
    files.sort();
    files.pop().unwrap()
}

#[test]
fn a_sound_directory_is_told_to_be_sound_before_and_after_it_is_made_small() {
    let place = Place::new();
    for _ in 0..3 {
        hello(&place).expect(0, &[]);
    }
    let before = place.json(&["admin", "check"]);
    assert_eq!(
        (&before["is_sound"], &before["runs"], &before["archived_runs"]),
        (&true.into(), &3.into(), &0.into())
    );
    place.yuanli(&["admin", "compact"]).expect(0, &["before", "now"]);
    let after = place.json(&["admin", "check"]);
    assert_eq!((&after["is_sound"], &after["archived_runs"]), (&true.into(), &3.into()));
    let usage = place.json(&["admin", "usage"]);
    assert_eq!(
        (&usage["workflows"][0]["workflow"], &usage["workflows"][0]["runs"]),
        (&"hello".into(), &3.into())
    );
    let part = |name: &str| {
        let parts = usage["parts"].as_array().unwrap();
        parts.iter().find(|part| part["name"] == name).unwrap()["size_bytes"].as_u64().unwrap()
    };
    assert!(part("history") > 0 && part("store/exports") > 0 && part("store/index") > 0, "{usage}");
    let shown = place.json(&["runs", "show", "last"]);
    assert_eq!((&shown["status"], shown["stages"].as_array().unwrap().len()), (&"succeeded".into(), 3));
    let logs = place.yuanli(&["runs", "logs", "last"]).expect(0, &[]);
    assert!(logs.out.contains("Hello"), "{logs:?}");
}

#[test]
fn what_is_exported_is_imported_as_an_engine_of_its_own() {
    let place = Place::new();
    hello(&place).expect(0, &[]);
    place.yuanli(&["admin", "compact"]).expect(0, &[]);
    hello(&place).expect(0, &[]);
    let file = place.path("backup.yuanli");
    place.yuanli(&["admin", "export", file.to_str().unwrap()]).expect(0, &["exported"]);
    let other = place.path("other").to_str().unwrap().to_owned();
    place.yuanli(&["admin", "import", file.to_str().unwrap(), "--data", &other]).expect(0, &["imported"]);
    assert_eq!(runs(&place, &other), runs(&place, place.data().to_str().unwrap()));
    assert_eq!(place.json(&["admin", "check", "--data", &other])["is_sound"], true);
    let identity = |data: &str| -> Value {
        serde_json::from_slice(&std::fs::read(format!("{data}/engine.json")).unwrap()).unwrap()
    };
    assert_ne!(identity(&other)["engine"], place.engine());
    place
        .yuanli(&["run", examples().join("hello/hello.yaml").to_str().unwrap(), "--data", &other])
        .expect(0, &[]);
    assert_eq!(runs(&place, &other).len(), 3);

    place
        .yuanli(&["admin", "import", file.to_str().unwrap(), "--data", &other])
        .expect(3, &["is there already and not empty"]);
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    let damaged = place.path("damaged").to_str().unwrap().to_owned();
    place
        .yuanli(&["admin", "import", file.to_str().unwrap(), "--data", &damaged])
        .expect(3, &["the stream is damaged after"]);
    assert!(!place.path("damaged").exists(), "nothing is left of it");
    std::fs::write(&file, &bytes[..middle]).unwrap();
    place
        .yuanli(&["admin", "import", file.to_str().unwrap(), "--data", &damaged])
        .expect(3, &["damaged after"]);
}

#[test]
fn a_copy_does_nothing_until_it_is_adopted() {
    let place = Place::new();
    hello(&place).expect(0, &[]);
    let (original, data) = (place.path("original"), place.data());
    std::fs::rename(&data, &original).unwrap();
    copy(&original, &data);
    hello(&place).expect(3, &["was copied or moved", "yuanli admin adopt"]);
    assert_eq!(runs(&place, data.to_str().unwrap()).len(), 1, "it can be read");
    place.yuanli(&["admin", "doctor"]).expect(1, &[]);
    place.yuanli(&["admin", "adopt"]).expect(0, &["is an engine of its own now"]);
    hello(&place).expect(0, &[]);
    place.yuanli(&["admin", "adopt"]).expect(0, &["is no copy"]);
}

#[test]
fn damage_stops_the_start_and_a_repair_says_what_it_drops_before_it_does() {
    let place = Place::new();
    for _ in 0..3 {
        hello(&place).expect(0, &[]);
    }
    let path = segment(&place);
    let mut bytes = std::fs::read(&path).unwrap();
    // In the middle of what is written: frames come after it.
    let written = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    bytes[written / 2] ^= 0x40;
    std::fs::write(&path, &bytes).unwrap();
    let name = path.file_name().unwrap().to_str().unwrap();

    hello(&place).expect(3, &[name, "is damaged at byte", "yuanli admin check"]);
    let check = place.yuanli(&["admin", "check"]).expect(1, &["--repair"]);
    assert!(check.out.contains(name) && check.out.contains("is damaged at byte"), "{check:?}");
    let told = place.yuanli(&["admin", "check", "--repair"]).expect(1, &["--repair --yes"]);
    assert!(told.out.contains("would do") && told.out.contains("dropped"), "{told:?}");
    hello(&place).expect(3, &["is damaged at byte"]);
    let done = place.yuanli(&["admin", "check", "--repair", "--yes"]).expect(0, &[]);
    assert!(done.out.contains("repaired") && done.out.contains("are kept"), "{done:?}");
    hello(&place).expect(0, &[]);
    assert!(place.data().join("store/dropped").join(name).exists(), "what was dropped is still there");
    assert_eq!(place.json(&["admin", "check"])["is_sound"], true);
}

#[test]
fn a_lost_index_is_made_again() {
    let place = Place::new();
    hello(&place).expect(0, &[]);
    place.yuanli(&["admin", "compact"]).expect(0, &[]);
    for index in std::fs::read_dir(place.data().join("store")).unwrap().map(Result::unwrap) {
        if index.file_name().to_str().unwrap().starts_with("index-") {
            std::fs::remove_dir_all(index.path()).unwrap();
        }
    }
    assert_eq!(runs(&place, place.data().to_str().unwrap()).len(), 1);
    assert_eq!(place.json(&["admin", "check"])["is_sound"], true);
}

#[test]
fn logs_that_nobody_names_are_found_and_removed() {
    let place = Place::new();
    hello(&place).expect(0, &[]);
    let stray = place.data().join("logs/01m80000000000000000000000");
    std::fs::create_dir_all(&stray).unwrap();
    std::fs::write(stray.join("a.0.1.jsonl"), "{}").unwrap();
    let check = place.yuanli(&["admin", "check"]).expect(1, &[]);
    assert!(check.out.contains("logs of run 01m80000000000000000000000, which there is not"), "{check:?}");
    assert!(stray.exists());
    place.yuanli(&["admin", "check", "--repair", "--yes"]).expect(0, &[]);
    assert!(!stray.exists());
    assert_eq!(place.json(&["admin", "check"])["is_sound"], true);
}

#[test]
fn a_folder_that_is_no_data_directory_is_told_apart_and_not_made() {
    let place = Place::new();
    for command in ["check", "adopt", "usage", "compact"] {
        place.yuanli(&["admin", command]).expect(3, &["there is no data directory at"]);
    }
    place.yuanli(&["admin", "export", "-"]).expect(3, &["there is no data directory at"]);
    assert!(!place.data().exists());
}
