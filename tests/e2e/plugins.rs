//! Plugins of one's own.

use yuanli_test_guests::PROBE;

use crate::support::{PROBE_GRANTS, Place};

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
    assert_eq!(rights("build"), ["log", "images"]);
    assert_eq!(rights("gray-release"), ["log", "traffic"]);
    assert!(place.yuanli(&["plugin", "list"]).out.contains("Builds a container image"));
}
