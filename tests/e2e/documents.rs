//! Wrong documents and wrong calls: one message, the right exit code.

use crate::support::{Place, examples};

const WRONG: &str = "\
name: wrong
inputs:
  tag: dev
stages:
  build:
    uses: biuld
    with: { image: \"x:${{ inputs.tga }}\" }
  test:
    uses: test
    needs: bild
    with: { image: 3 }
";

#[test]
fn all_mistakes_of_a_file_are_told_with_place_and_fix() {
    let place = Place::new();
    let file = place.write("wrong.yaml", WRONG);
    for command in ["validate", "run"] {
        let says = ["wrong.yaml:6:", "did you mean `build`", "`bild`", "uses: biuld", "inputs.tga"];
        place.yuanli(&[command, &file]).expect(2, &says);
    }
    let ended = place.yuanli(&["validate", &file, "--json"]);
    let body = &ended.lines()[0]["items"][0];
    assert_eq!((ended.code, &body["valid"]), (2, &false.into()));
    let found: Vec<(u64, &str)> = body["diagnostics"]
        .as_array()
        .unwrap()
        .iter()
        .map(|found| (found["line"].as_u64().unwrap(), found["code"].as_str().unwrap()))
        .collect();
    assert_eq!(found.len(), 4, "{found:?}");
    assert!(
        found.iter().all(|(line, code)| [6, 7, 10, 11].contains(line) && code.starts_with("WF")),
        "{found:?}"
    );
    assert_eq!(place.json(&["runs", "list"])["items"].as_array().unwrap().len(), 0, "nothing was run");
}

#[test]
fn the_examples_are_valid() {
    let place = Place::new();
    for name in ["hello/hello.yaml", "shop/shop.yaml", "failing/failing.yaml"] {
        let file = examples().join(name);
        place.yuanli(&["validate", file.to_str().unwrap()]).expect(0, &["is valid"]);
    }
}

#[test]
fn wrong_inputs_are_refused_before_anything_runs() {
    let place = Place::new();
    let file = place.write(
        "w.yaml",
        "name: w\ninputs:\n  count: { type: number }\nstages:\n  a: { uses: script, with: { outputs: { n: \"${{ inputs.count }}\" } } }\n",
    );
    place.yuanli(&["run", &file]).expect(2, &["input `count` has no default", "--input count="]);
    place.yuanli(&["run", &file, "-i", "count=many"]).expect(2, &["`count` takes a number"]);
    place.yuanli(&["run", &file, "-i", "count=1", "-i", "cuont=2"]).expect(2, &["no input `cuont`"]);
    place.yuanli(&["run", &file, "-i", "count"]).expect(2, &["NAME=VALUE"]);
    let ended = place.yuanli(&["run", &file, "-i", "count=2.5"]).expect(0, &[]);
    assert_eq!(place.json(&["runs", "show", ended.out.trim()])["stages"][0]["outputs"]["n"], 2.5);
}

#[test]
fn wrong_calls_say_what_to_do() {
    let place = Place::new();
    place.yuanli(&["run", "missing.yaml"]).expect(2, &["`missing.yaml` cannot be read", "No such file"]);
    place.yuanli(&["rnu"]).expect(2, &["run"]);
    place.yuanli(&["runs", "show", "last"]).expect(2, &["there is no run yet"]);
    place.yuanli(&["runs", "show", "01zz"]).expect(2, &["there is no run `01zz`"]);
    place.yuanli(&["runs", "list", "--after", "x"]).expect(2, &["cursor"]);
    let file = place.write("latin1.yaml", b"name: caf\xe9\n");
    place.yuanli(&["validate", &file]).expect(2, &["no UTF-8", "offset 9 (line 1)", "save it as UTF-8"]);
    place.yuanli(&["--version"]).expect(0, &[]);
}

#[test]
fn a_data_directory_in_use_is_refused_with_its_owner() {
    let place = Place::new();
    std::fs::create_dir_all(place.data()).unwrap();
    let lock = std::fs::File::create(place.path("data/lock")).unwrap();
    std::io::Write::write_all(&mut &lock, b"process 42 on host (`yuanli run x`)").unwrap();
    lock.lock().unwrap();
    place
        .yuanli(&["runs", "list"])
        .expect(3, &["is in use by process 42 on host (`yuanli run x`)", "--data"]);
}

#[test]
fn a_data_directory_that_cannot_be_made_is_said() {
    let place = Place::new();
    let file = place.write("file", "");
    place.yuanli(&["runs", "list", "--data", &file]).expect(3, &["cannot be used"]);
}
