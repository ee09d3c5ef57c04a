//! Plugins of one's own.

use std::process::Stdio;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use yuanli_test_guests::{NOOP, PROBE, noop, patched, renamed};

use crate::served::Served;
use crate::support::{Ended, PROBE_GRANTS, Place, wait_until};

fn digest(component: &[u8]) -> String {
    let digits: String = Sha256::digest(component).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{digits}")
}

/// A workflow of one stage that uses this.
fn using(uses: &str) -> String {
    format!("name: w\nstages:\n  a: {{ uses: \"{uses}\", with: {{}} }}\n")
}

/// The digest of the component that the stage of a workflow would run.
fn planned(place: &Place, file: &str) -> Value {
    place.json(&["workflow", "plan", file])["steps"][0]["stages"][0]["plugin"]["digest"].clone()
}

/// The plugins that were added, as `name@version`.
fn added(place: &Place) -> Vec<String> {
    let listed = place.json(&["plugin", "list"]);
    let items = listed["items"].as_array().unwrap().iter();
    let added = items.filter(|plugin| plugin["origin"] == "added");
    added.map(|plugin| format!("{}@{}", plugin["name"], plugin["version"]).replace('"', "")).collect()
}

#[test]
fn a_component_file_runs_with_the_rights_that_it_was_granted() {
    let place = Place::new();
    place.write("probe.wasm", PROBE.component);
    let workflow = |grants: &str| {
        format!(
            "name: w\nstages:\n  a:\n    uses: ./probe.wasm\n{grants}    with: {{ do: give, outputs: {{ a: 1 }} }}\n"
        )
    };
    let file = place.write("w.yaml", workflow(""));
    let says = ["was not granted", "grants:", "containers"];
    let ended = place.yuanli(&["run", &file]);
    assert_eq!(ended.code, 2, "{ended:?}");
    assert!(says.iter().any(|text| ended.err.contains(text)), "{ended:?}");
    let file = place.write("w.yaml", workflow(&format!("    grants: {PROBE_GRANTS}\n")));
    let ended = place.yuanli(&["run", &file]).expect(0, &[]);
    assert_eq!(place.json(&["runs", "show", ended.out.trim()])["stages"][0]["outputs"]["a"], 1);
}

#[test]
fn what_is_no_component_is_told_at_its_place() {
    let place = Place::new();
    place.write("text.wasm", "no wasm");
    let file = place.write("w.yaml", "name: w\nstages:\n  a: { uses: ./text.wasm, with: {} }\n");
    place.yuanli(&["validate", &file]).expect(2, &["w.yaml:3:", "no WebAssembly component"]);
}

#[test]
fn the_built_in_plugins_are_listed_with_their_rights() {
    let place = Place::new();
    let listed = place.json(&["plugin", "list"]);
    let names: Vec<&str> =
        listed["items"].as_array().unwrap().iter().map(|plugin| plugin["name"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        [
            "backup",
            "build",
            "command",
            "deploy",
            "gray-release",
            "load",
            "notify",
            "push",
            "restore",
            "scale",
            "script",
            "source",
            "test"
        ]
    );
    let rights = |name: &str| {
        let position = names.iter().position(|known| *known == name).unwrap();
        let rights = listed["items"][position]["rights"].as_array().unwrap();
        rights.iter().map(|right| right["name"].as_str().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(rights("script"), ["log"], "script reaches nothing");
    assert_eq!(rights("build"), ["log", "workspace", "images", "artifacts"]);
    assert_eq!(rights("gray-release"), ["log", "traffic"]);
    assert_eq!(rights("notify"), ["log", "context", "clock", "secrets", "http", "state"]);
    assert_eq!(rights("push"), ["log", "context", "clock", "secrets", "registries"]);
    assert!(place.yuanli(&["plugin", "list"]).out.contains("Builds a container image"));
}

#[test]
fn an_inspection_tells_what_a_component_may_reach_takes_and_gives() {
    let place = Place::new();
    let file = place.write("probe.wasm", PROBE.component);
    let told = place.yuanli(&["plugin", "inspect", "probe.wasm"]).expect(0, &[]).out;
    for text in [
        "probe 0.1.0",
        "Does what its config says",
        "run containers",
        "interfaces, linked to what is harmless",
    ] {
        assert!(told.contains(text), "{text}: {told}");
    }
    let row = told.lines().find(|line| line.starts_with("message")).unwrap_or_else(|| panic!("{told}"));
    assert!(row.contains("text") && row.contains("required"), "{row}");
    let found = place.json(&["plugin", "inspect", &file]);
    assert_eq!(found["digest"], digest(PROBE.component));
    assert_eq!(found["size_bytes"], PROBE.component.len());
    assert_eq!(found["origin"], "file");
    assert!(found["rights"].as_array().unwrap().iter().any(|right| right["name"] == "containers"), "{found}");
    assert!(found["config_schema"]["oneOf"].is_array() && !found["wasi"].as_array().unwrap().is_empty());
    let found = place.json(&["plugin", "inspect", "build"]);
    assert_eq!(found["origin"], "built-in");
    // What its author says that he needs a right for stands beside it.
    let images = found["rights"].as_array().unwrap().iter().find(|right| right["name"] == "images");
    assert_eq!(images.unwrap()["reason"], "to build the image");
    let told = place.yuanli(&["plugin", "inspect", "build"]).expect(0, &[]).out;
    let row = told.lines().find(|line| line.starts_with("images")).unwrap_or_else(|| panic!("{told}"));
    assert!(row.contains("container images") && row.ends_with("to build the image"), "{row}");
    assert!(!place.path("data/plugins").exists(), "inspecting keeps nothing");
    // Of one that says what cannot be, the rights are known all the same.
    place.write("lies.wasm", patched(PROBE.component, "0.1.0Does", "newerDoes"));
    let ended =
        place.yuanli(&["plugin", "inspect", "lies.wasm"]).expect(1, &["`newer` is no version of a plugin"]);
    assert!(ended.out.contains("run containers") && !ended.out.contains("CONFIG"), "{ended:?}");
    let ended = place.yuanli(&["plugin", "inspect", "lies.wasm", "--json"]).expect(1, &[]);
    let found: Value = serde_json::from_str(&ended.out).unwrap();
    assert!(
        found["error"].is_string() && found.get("name").is_none() && found["rights"].is_array(),
        "{found}"
    );
    place.yuanli(&["plugin", "inspect", "none"]).expect(2, &["there is no plugin `none`"]);
}

#[test]
fn a_plugin_that_was_added_is_run_by_name_in_the_version_that_fits() {
    let place = Place::new();
    for (version, file) in [("0.1.0", "one.wasm"), ("0.2.0", "two.wasm")] {
        place.write(file, noop(version));
        let ended = place.yuanli(&["plugin", "add", file]).expect(0, &["added noop", "rights: "]);
        assert_eq!(ended.out.trim(), format!("noop@{version}"));
        std::fs::remove_file(place.path(file)).unwrap();
    }
    assert_eq!(added(&place), ["noop@0.1.0", "noop@0.2.0"]);
    for (uses, version) in [
        ("noop", "0.2.0"),
        ("noop@~0.1.0", "0.1.0"),
        ("noop@>=0.1", "0.2.0"),
        (&format!("noop@{}", digest(&noop("0.1.0"))), "0.1.0"),
    ] {
        let file = place.write("w.yaml", using(uses));
        assert_eq!(planned(&place, &file), digest(&noop(version)), "{uses}");
        place.yuanli(&["run", &file]).expect(0, &[]);
    }
    let file = place.write("w.yaml", using("noop@^1"));
    let none_fits = "`noop` has the versions 0.1.0 and 0.2.0 here, none of which is `^1`";
    place.yuanli(&["validate", &file]).expect(2, &["WF048", none_fits]);
    let file = place.write("w.yaml", using("nopo"));
    place.yuanli(&["validate", &file]).expect(2, &["WF015", "did you mean `noop`?"]);
    // Removed it is not found any more; one version stays.
    place.yuanli(&["plugin", "remove", "noop@0.2.0"]).expect(0, &["removed noop@0.2.0"]);
    assert_eq!(added(&place), ["noop@0.1.0"]);
    place
        .yuanli(&["plugin", "remove", "noop@0.2.0"])
        .expect(2, &["no version 0.2.0 of `noop`", "`noop@0.1.0`"]);
    place.yuanli(&["plugin", "remove", "build"]).expect(2, &["comes with the engine"]);
    place.yuanli(&["plugin", "remove", "noop"]).expect(0, &[]);
    assert_eq!(added(&place), [""; 0]);
}

#[test]
fn a_name_and_version_are_one_component_until_it_is_replaced() {
    let place = Place::new();
    place.write("one.wasm", noop("0.1.0"));
    place.write("other.wasm", patched(NOOP.component, "0.1.0Does nothing", "0.1.0Does nothink"));
    assert_eq!(place.json(&["plugin", "add", "one.wasm"])["outcome"], "added");
    place.yuanli(&["plugin", "add", "one.wasm"]).expect(0, &["noop 0.1.0", "was there already"]);
    place.yuanli(&["plugin", "add", "other.wasm"]).expect(2, &["`noop` 0.1.0 is there already", "--replace"]);
    assert_eq!(place.json(&["plugin", "inspect", "noop"])["summary"], "Does nothing");
    let replaced = place.json(&["plugin", "add", "other.wasm", "--replace"]);
    assert_eq!((&replaced["outcome"], &replaced["summary"]), (&json!("replaced"), &json!("Does nothink")));
    assert_eq!(place.json(&["plugin", "inspect", "noop"])["summary"], "Does nothink");
    place.write("test.wasm", renamed("test"));
    place
        .yuanli(&["plugin", "add", "test.wasm", "--replace"])
        .expect(2, &["calls itself `test`", "comes with the engine"]);
    place
        .yuanli(&["--url", "http://127.0.0.1:1", "plugin", "add", "one.wasm"])
        .expect(2, &["in a data directory, not at http://127.0.0.1:1"]);
}

#[test]
fn all_components_of_a_folder_are_added_or_none() {
    let place = Place::new();
    place.write("set/one.wasm", noop("0.1.0"));
    place.write("set/probe.wasm", PROBE.component);
    place.write("set/readme.txt", "not looked at");
    place.write("set/bad.wasm", &PROBE.component[..5000]);
    place.yuanli(&["plugin", "add", "set"]).expect(2, &["`set/bad.wasm` cannot be used as a plugin"]);
    assert_eq!(added(&place), [""; 0]);
    assert!(!place.path("data/plugins").exists(), "nothing is kept");
    std::fs::remove_file(place.path("set/bad.wasm")).unwrap();
    let list = place.json(&["plugin", "add", "set"]);
    let outcomes = list["items"].as_array().unwrap().iter().map(|item| &item["outcome"]).collect::<Vec<_>>();
    assert_eq!(outcomes, ["added", "added"]);
    assert_eq!(added(&place), ["noop@0.1.0", "probe@0.1.0"]);
    std::fs::create_dir(place.path("empty")).unwrap();
    place.yuanli(&["plugin", "add", "empty"]).expect(2, &["the folder `empty` has no component"]);
}

#[test]
fn what_is_no_component_is_refused_and_nothing_of_it_is_kept() {
    let place = Place::new();
    let large = std::fs::File::create(place.path("large.wasm")).unwrap();
    large.set_len(257 * 1024 * 1024).unwrap();
    let made = std::process::Command::new("mkfifo").arg(place.path("pipe.wasm")).status().unwrap();
    assert!(made.success());
    place.write("core.wasm", b"\0asm\x01\0\0\0");
    place.write("cut.wasm", &PROBE.component[..PROBE.component.len() / 2]);
    place.write("text.wasm", "text");
    place.write("import.wasm", import("yuanli:teleport/teleport@0.1.0"));
    place.write("http.wasm", import("wasi:http/types@0.2.0"));
    for (name, says) in [
        ("large.wasm", "has more than 268435456 bytes"),
        ("pipe.wasm", "is a device, a pipe or a socket"),
        ("/dev/zero", "is a device, a pipe or a socket"),
        ("core.wasm", "it is a core WebAssembly module, not a component"),
        ("cut.wasm", "it is no WebAssembly component"),
        ("text.wasm", "it does not begin like one"),
        ("import.wasm", "it imports `yuanli:teleport/teleport@0.1.0`, which this engine does not offer"),
        ("http.wasm", "outgoing requests through wasi:http are refused"),
        ("gone.wasm", "there is no file `gone.wasm`"),
    ] {
        for verb in ["inspect", "add"] {
            place.yuanli(&["plugin", verb, name]).expect(2, &[says, name]);
        }
    }
    place.yuanli(&["plugin", "inspect", "./"]).expect(2, &["is a folder"]);
    assert!(!place.path("data/plugins").exists());
}

/// A component that does nothing but import an instance of this name.
fn import(name: &str) -> Vec<u8> {
    let length = |bytes: &[u8]| u8::try_from(bytes.len()).unwrap();
    let mut component = b"\0asm\x0d\0\x01\0".to_vec();
    // A type section with an instance type without anything in it; then the import of an instance of that type.
    component.extend([0x07, 0x03, 0x01, 0x42, 0x00]);
    let mut section = vec![0x01, 0x00, length(name.as_bytes())];
    section.extend(name.as_bytes());
    section.extend([0x05, 0x00]);
    component.extend([0x0a, length(&section)]);
    component.extend(section);
    component
}

#[test]
fn a_damaged_entry_is_told_and_breaks_no_other() {
    let place = Place::new();
    place.write("set/one.wasm", noop("0.1.0"));
    place.write("set/probe.wasm", PROBE.component);
    place.yuanli(&["plugin", "add", "set"]).expect(0, &[]);
    let entry = place.path("data/plugins/added/probe@0.1.0");
    let mut bytes = std::fs::read(&entry).unwrap();
    bytes[200] ^= 1;
    std::fs::write(&entry, bytes).unwrap();
    let says = "the entry of `probe@0.1.0` in the store of plugins is damaged: add the plugin again";
    let listed = place.yuanli(&["plugin", "list"]).expect(0, &[says]);
    assert!(listed.out.contains("noop") && listed.out.contains("built-in"), "{listed:?}");
    let file = place.write("w.yaml", using("noop"));
    place.yuanli(&["validate", &file]).expect(0, &[]);
    let file = place.write("w.yaml", using("probe"));
    place.yuanli(&["validate", &file]).expect(2, &[says]);
    place.yuanli(&["plugin", "add", "set/probe.wasm"]).expect(0, &[]);
    assert_eq!(added(&place), ["noop@0.1.0", "probe@0.1.0"]);
}

#[test]
fn killed_at_any_moment_the_store_has_all_of_a_folder_or_none() {
    let place = Place::new();
    let versions = ["0.1.0", "0.2.0", "0.3.0", "0.4.0", "0.5.0"];
    for version in versions {
        place.write(&format!("set/{version}.wasm"), noop(version));
    }
    // Compiled once, so that the moments of the kills are those of the writing.
    place.yuanli(&["plugin", "add", "set"]).expect(0, &[]);
    for delay in 0..24_u64 {
        place.yuanli(&["plugin", "remove", "noop"]);
        for entry in std::fs::read_dir(place.path("data/plugins")).unwrap().map(Result::unwrap) {
            if entry.path().is_file() {
                std::fs::remove_file(entry.path()).unwrap();
            }
        }
        let mut child = place.start(&["plugin", "add", "set"]);
        // Half of the time once the first copy is begun, half of it once there is an entry; a little later each time.
        let (folder, before) = if delay % 2 == 0 { ("data/plugins", 1) } else { ("data/plugins/added", 1) };
        let is_begun = || std::fs::read_dir(place.path(folder)).unwrap().count() > before;
        while !is_begun() && child.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        std::thread::sleep(std::time::Duration::from_micros(delay * 300));
        let _ = child.kill();
        child.wait().unwrap();
        let there = added(&place);
        assert!(there.is_empty() || there.len() == versions.len(), "after {delay}: {there:?}");
        for key in &there {
            // The component is there as soon as its entry is.
            place.json(&["plugin", "inspect", key]);
        }
    }
    place.yuanli(&["plugin", "add", "set"]).expect(0, &[]);
    assert_eq!(added(&place).len(), versions.len());
}

#[test]
fn a_lock_holds_plugins_until_it_is_written_anew() {
    let place = Place::new();
    for (version, file) in [("0.1.0", "one.wasm"), ("0.2.0", "two.wasm")] {
        place.write(file, noop(version));
    }
    place.yuanli(&["plugin", "add", "one.wasm"]).expect(0, &[]);
    let (file, lock) = (place.write("flow/w.yaml", using("noop")), place.path("flow/yuanli.lock"));
    place.write("flow/plain.yaml", "name: plain\nstages:\n  a: { uses: script, with: {} }\n");
    place.write("flow/other.yml", "services: {}\n");
    place.yuanli(&["plugin", "lock", "flow"]).expect(0, &["flow/yuanli.lock: noop 0.1.0"]);
    let text = std::fs::read_to_string(&lock).unwrap();
    let entry = format!(
        "version: 1\nplugins:\n  - name: noop\n    version: 0.1.0\n    digest: {}\n",
        digest(&noop("0.1.0"))
    );
    assert!(text.ends_with(&entry), "{text}");

    // A newer version changes nothing until it is locked again.
    place.yuanli(&["plugin", "add", "two.wasm"]).expect(0, &[]);
    assert_eq!(planned(&place, &file), digest(&noop("0.1.0")));
    let mut from_stdin = place.command(&["workflow", "plan", "-", "--json"]);
    let mut child = from_stdin.stdin(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), using("noop").as_bytes()).unwrap();
    let plan: Value = serde_json::from_str(&Ended::of(child.wait_with_output().unwrap()).out).unwrap();
    assert_eq!(
        plan["steps"][0]["stages"][0]["plugin"]["digest"],
        digest(&noop("0.2.0")),
        "no folder, no lock"
    );

    // What the locked version does not meet.
    place.write("flow/w.yaml", using("noop@^0.2"));
    let says = ["WF048", "`yuanli.lock` locks `noop` to 0.1.0", "lock again with `yuanli plugin lock`"];
    place.yuanli(&["validate", &file]).expect(2, &says);
    place.yuanli(&["plugin", "lock", &file]).expect(0, &["noop 0.2.0"]);
    assert_eq!(planned(&place, &file), digest(&noop("0.2.0")));

    // What is locked and not here.
    place.yuanli(&["plugin", "remove", "noop@0.2.0"]).expect(0, &[]);
    place
        .yuanli(&["validate", &file])
        .expect(2, &["which is not here:", "add it with `yuanli plugin add FILE`, or lock again"]);
    place.yuanli(&["plugin", "add", "two.wasm"]).expect(0, &[]);
    place.yuanli(&["run", &file]).expect(0, &[]);

    // A lock that cannot be read holds what was added, and nothing of the engine.
    std::fs::write(&lock, "version: 1\nplugins:\n<<<<<<< ours\n").unwrap();
    place
        .yuanli(&["validate", &file])
        .expect(2, &["flow/yuanli.lock` cannot be read: line 3", "writes it anew"]);
    place.yuanli(&["validate", "flow/plain.yaml"]).expect(0, &[]);
    std::fs::write(&lock, "version: 2\nplugins: []\n").unwrap();
    place.yuanli(&["validate", &file]).expect(2, &["it has version 2"]);
    place.yuanli(&["plugin", "lock", "flow"]).expect(0, &[]);
    assert_eq!(planned(&place, &file), digest(&noop("0.2.0")));
    place.yuanli(&["plugin", "lock", "-"]).expect(2, &["standard input has no folder"]);
    place.write("flow/broken.yaml", "name: b\nstages:\n  a: { uses: nopo }\n");
    place
        .yuanli(&["plugin", "lock", "flow"])
        .expect(2, &["`flow/broken.yaml` has errors, the first in line 3"]);
}

#[test]
fn a_lock_of_a_file_covers_the_workflows_that_it_runs_and_leaves_others() {
    let place = Place::new();
    for (version, file) in [("0.1.0", "one.wasm"), ("0.2.0", "two.wasm")] {
        place.write(file, noop(version));
        place.yuanli(&["plugin", "add", file]).expect(0, &[]);
    }
    let outer = place.write("outer.yaml", "name: outer\nstages:\n  a: { uses: workflow/w }\n");
    place.write("w.yaml", using("noop@~0.1.0"));
    place.write("v.yaml", using("noop").replace("name: w", "name: v"));
    let locks = place.json(&["plugin", "lock", &outer]);
    assert_eq!(
        locks["items"][0]["plugins"],
        json!([{ "name": "noop", "version": "0.1.0", "digest": digest(&noop("0.1.0")) }])
    );
    // Both versions are used in this folder, each by one of its workflows.
    let locks = place.json(&["plugin", "lock"]);
    assert_eq!(locks["items"][0]["plugins"].as_array().unwrap().len(), 2);
    assert_eq!(planned(&place, "w.yaml"), digest(&noop("0.1.0")));
    assert_eq!(planned(&place, "v.yaml"), digest(&noop("0.2.0")));
}

#[test]
fn a_workflow_that_is_kept_runs_with_the_component_that_it_was_applied_with() {
    let mut served = Served::new();
    served.place.write("one.wasm", noop("0.1.0"));
    served.place.write("two.wasm", noop("0.2.0"));
    // The engine runs already: it sees what is added.
    served.yuanli(&["plugin", "add", "one.wasm"]).expect(0, &[]);
    served.apply("w.yaml", &using("noop"));
    served.yuanli(&["plugin", "add", "two.wasm"]).expect(0, &[]);
    served.yuanli(&["plugin", "remove", "noop@0.1.0"]).expect(0, &[]);
    let run = |served: &Served| {
        served.yuanli(&["trigger", "w", "--follow"]).expect(0, &[]);
        served.place.json(&["runs", "show", "last"])["stages"][0]["component"].clone()
    };
    assert_eq!(run(&served), digest(&noop("0.1.0")));
    served.kill();
    served.start();
    assert_eq!(run(&served), digest(&noop("0.1.0")));
    served.apply("w.yaml", &using("noop"));
    assert_eq!(run(&served), digest(&noop("0.2.0")));
}

#[test]
fn a_run_goes_on_with_the_component_that_it_began_with() {
    let mut served = Served::new();
    served.place.write("one.wasm", noop("0.1.0"));
    served.place.write("two.wasm", noop("0.2.0"));
    served.place.write("file.wasm", noop("0.3.0"));
    served.yuanli(&["plugin", "add", "one.wasm"]).expect(0, &[]);
    let workflow = "name: w\nstages:\n  ask: { approval: \"go on?\" }\n  a: { uses: noop, needs: ask, with: {} }\n  \
                    b: { uses: ./file.wasm, needs: ask, with: {} }\n";
    served.apply("w.yaml", workflow);
    served.yuanli(&["trigger", "w"]).expect(0, &[]);
    let run = |served: &Served| served.place.json(&["runs", "show", "last"]);
    wait_until("it asks", || run(&served)["stages"][0]["status"] == "held");
    served.kill();
    served.yuanli(&["plugin", "add", "two.wasm"]).expect(0, &[]);
    served.yuanli(&["plugin", "remove", "noop@0.1.0"]).expect(0, &[]);
    std::fs::remove_file(served.place.path("file.wasm")).unwrap();
    served.start();
    // The engine answers before it has gone on with its runs.
    wait_until("it takes the answer", || served.yuanli(&["runs", "approve", "last", "ask"]).code == 0);
    wait_until("it has ended", || run(&served)["status"] != "running");
    let ended = run(&served);
    assert_eq!(ended["status"], "succeeded", "{ended}");
    assert_eq!(ended["stages"][1]["component"], digest(&noop("0.1.0")));
    assert_eq!(ended["stages"][2]["component"], digest(&noop("0.3.0")));
}
