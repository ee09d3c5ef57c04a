//! The way of a plugin's author, in each language: a plugin that is written, tested, built, run; and the examples.
//!
//! What compiles Python and JavaScript was put into `target/guest-tools` by `scripts/setup`. Where that could not be had, the
//! tests of the language say so and pass.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::support::{Ended, Place, copy, docker, examples, root};

const RUST: Language = Language { name: "rust", tools: None, test: &["cargo", "test", "--release"] };
const PYTHON: Language = Language {
    name: "python",
    tools: Some("componentize-py-0.25.1/bin"),
    test: &["python3", "-m", "unittest"],
};
const JAVASCRIPT: Language =
    Language { name: "javascript", tools: Some("jco-1.35.0/node_modules/.bin"), test: &["node", "--test"] };

/// What every example makes of its report.
const SUMMARY: &str = "\
# 1 of 5 tests failed

| tests | failed | skipped | seconds |
|---|---|---|---|
| 5 | 1 | 1 | 1.942 |

Failed:

- shop.cart.refuses a negative count: expected an error, got -1 items

Slowest:

- 1.500 s: shop.cart.counts \"many\" items
- 0.300 s: shop.checkout.takes a card
- 0.130 s: shop.cart.refuses a negative count

The command ended with exit code 0.";

/// A language, where its tools are, and how its plugins are tested.
#[derive(Clone, Copy)]
struct Language {
    name: &'static str,
    tools: Option<&'static str>,
    test: &'static [&'static str],
}

impl Language {
    /// The folder of its tools; none where they could not be had.
    fn tools(&self) -> Option<PathBuf> {
        let Some(tools) = self.tools else { return Some(PathBuf::new()) };
        let folder = root().join("target/guest-tools").join(tools);
        if !folder.is_dir() {
            eprintln!("skipped: {} is not there; scripts/setup gets it where it can", folder.display());
            return None;
        }
        Some(folder)
    }
}

/// The same for a command that compiles: it finds the tools, and what Rust compiled before.
fn with_tools(mut command: Command, tools: &Path) -> Command {
    let path = std::env::var_os("PATH").unwrap();
    let places = std::env::split_paths(&path).chain([tools.to_owned()]);
    command.env("PATH", std::env::join_paths(places).unwrap());
    command.env("CARGO_TARGET_DIR", Path::new(env!("CARGO_TARGET_TMPDIR")).join("guest-crates"));
    command
}

/// Runs the plugin's own tests, and builds it. Gives what `plugin build --json` says.
fn test_and_build(place: &Place, language: Language, tools: &Path, folder: &str) -> serde_json::Value {
    let mut test = Command::new(language.test[0]);
    test.args(&language.test[1..]).current_dir(place.path(folder));
    Ended::of(with_tools(test, tools).output().unwrap()).expect(0, &[]);
    let build = with_tools(place.command(&["plugin", "build", folder, "--json"]), tools).output().unwrap();
    let built = Ended::of(build).expect(0, &["running "]);
    serde_json::from_str(&built.out).unwrap()
}

/// A plugin that `plugin new` has written passes its test, is built and runs.
fn a_new_plugin_works(language: Language) {
    let Some(tools) = language.tools() else { return };
    let place = Place::new();
    let new = place.yuanli(&["plugin", "new", "words", "--lang", language.name]).expect(0, &[]);
    assert!(new.out.contains("yuanli plugin build"), "{new:?}");
    if language.name == "rust" {
        // The versions that were compiled for the example already.
        std::fs::copy(examples().join("plugin-rust/Cargo.lock"), place.path("words/Cargo.lock")).unwrap();
    }
    let built = test_and_build(&place, language, &tools, "words");
    assert_eq!(built["plugin"]["name"], "words");
    assert_eq!(built["language"], language.name);
    assert_eq!(built["grants"], json!(["workspace"]));
    let report = place.json(&["plugin", "test", "words"]);
    let names: Vec<&str> =
        report["cases"].as_array().unwrap().iter().map(|case| case["name"].as_str().unwrap()).collect();
    assert!(names.ends_with(&["counts the words of text files", "fails when no file is meant"]), "{report}");
    assert!(report["cases"].as_array().unwrap().iter().all(|case| case["outcome"] == "passed"), "{report}");
    place.yuanli(&["run", "words"]).expect(0, &["[words] fox.txt: 9 words", "[tell] 13 words in 2 files"]);
}

/// The example does what it does in the other languages.
fn the_example_sums_up(language: Language) {
    let Some(tools) = language.tools() else { return };
    docker::make_image();
    let place = Place::new();
    copy(&examples().join(format!("plugin-{}", language.name)), &place.path("plugin"));
    if language.name == "rust" {
        let manifest = std::fs::read_to_string(place.path("plugin/Cargo.toml")).unwrap();
        let sdk = root().join("sdk/rust");
        place.write("plugin/Cargo.toml", manifest.replace("../../sdk/rust", sdk.to_str().unwrap()));
    }
    let built = test_and_build(&place, language, &tools, "plugin");
    assert_eq!(built["grants"], json!(["workspace", "containers", "artifacts"]));
    // What the conformance suite has of it, beside the case of its own.
    for cases in [root().join("tests/conformance/guests/junit-report"), place.path("plugin/tests")] {
        let report = place.json(&["plugin", "test", "plugin", "--cases", cases.to_str().unwrap()]);
        assert!(
            report["cases"].as_array().unwrap().iter().all(|case| case["outcome"] == "passed"),
            "{report:#}"
        );
    }
    let image = format!("image={}", docker::IMAGE);
    let run = ["run", "plugin", "--input", &image];
    let ended = place.yuanli(&run).expect(0, &["[report] looking at /workspace/junit.xml"]);
    let said = ended.err.lines().filter_map(|line| line.strip_prefix("[read] "));
    let said: Vec<&str> =
        said.filter(|line| *line != "started" && !line.starts_with("succeeded after")).collect();
    assert_eq!(said.join("\n"), SUMMARY);
    let run_shown = place.json(&["runs", "show", ended.out.trim()]);
    let stages = run_shown["stages"].as_array().unwrap();
    let report = stages.iter().find(|stage| stage["name"] == "report").unwrap();
    let outputs = json!({ "tests": 5, "failed": 1, "skipped": 1, "seconds": 1.942, "summary": "summary.md" });
    assert_eq!(report["outputs"], outputs);
    let kept = |ended: &Ended| {
        place
            .yuanli(&["runs", "artifacts", ended.out.trim(), "summary.md", "--output", "-"])
            .expect(0, &[])
            .out
    };
    assert_eq!(kept(&ended), format!("{SUMMARY}\n"));
    let failed = "(tests-failed): 1 of 5 tests failed: shop.cart.refuses a negative count";
    place.yuanli(&[&run[..], &["--input", "fail=true"]].concat()).expect(1, &[failed]);
    let ended = place.yuanli(&[&run[..], &["--input", "check=exit 7"]].concat());
    let ended = ended.expect(1, &["(exit-code): the command ended with exit code 7"]);
    assert!(kept(&ended).ends_with("The command ended with exit code 7.\n"), "also of a run that failed");
    place.yuanli(&["run", "plugin", "--input", "image=no-such-image"]).expect(1, &["(not-found): image"]);
    assert_eq!(docker::containers(&place.engine()), Vec::<String>::new());
}

#[test]
fn a_new_plugin_in_rust_works() {
    a_new_plugin_works(RUST);
}

#[test]
fn a_new_plugin_in_python_works() {
    a_new_plugin_works(PYTHON);
}

#[test]
fn a_new_plugin_in_javascript_works() {
    a_new_plugin_works(JAVASCRIPT);
}

#[test]
fn the_example_in_rust_sums_up() {
    the_example_sums_up(RUST);
}

#[test]
fn the_example_in_python_sums_up() {
    the_example_sums_up(PYTHON);
}

#[test]
fn the_example_in_javascript_sums_up() {
    the_example_sums_up(JAVASCRIPT);
}

#[test]
fn nothing_is_written_over() {
    let place = Place::new();
    place.write("mine/README.md", "mine");
    let new = |name: &str, more: &[&str]| {
        place.yuanli(&[&["plugin", "new", name, "--lang", "python"][..], more].concat())
    };
    new("mine", &[]).expect(2, &["mine is there already", "--folder"]);
    assert_eq!(std::fs::read_dir(place.path("mine")).unwrap().count(), 1);
    new("mine", &["--folder", "mine/README.md"]).expect(2, &["is there already"]);
    let written = place.json(&["plugin", "new", "mine", "--lang", "python", "--folder", "a/b"]);
    assert_eq!(written["folder"], "a/b");
    let files = written["files"].as_array().unwrap();
    assert!(files.iter().all(|file| place.path("a/b").join(file.as_str().unwrap()).is_file()), "{written}");
    new("other", &["--folder", "a/b"]).expect(2, &["is there already"]);
    for name in ["Words", "two words", "../up", "1st", "", &"a".repeat(65)] {
        new(name, &[]).expect(2, &["lower-case letters, digits and `-`, beginning with a letter"]);
    }
}

#[test]
fn what_is_missing_is_told_with_the_command_that_gets_it() {
    let place = Place::new();
    for (language, says) in [
        ("rust", "cargo is not there"),
        ("python", "-m venv .venv && .venv/bin/pip install componentize-py=="),
        ("javascript", "node is not there"),
    ] {
        place.yuanli(&["plugin", "new", "a", "--lang", language, "--folder", language]).expect(0, &[]);
        let mut build = place.command(&["plugin", "build", language]);
        Ended::of(build.env("PATH", place.path("nowhere")).output().unwrap()).expect(3, &[says, "gets it"]);
    }
    place.yuanli(&["plugin", "build"]).expect(2, &["has no plugin", "yuanli plugin new"]);
    place.yuanli(&["plugin", "build", "nowhere"]).expect(2, &["there is no folder nowhere"]);
}

#[test]
fn what_becomes_no_plugin_is_told_and_not_kept() {
    let manifest = |more: &str| {
        format!(
            "[package]\nname = \"a\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[workspace]\n[lib]\n{more}\n"
        )
    };
    let cdylib = "crate-type = [\"cdylib\"]";
    for (more, code, says) in [
        (
            cdylib,
            "fn",
            "`cargo build --target wasm32-wasip2 --release --message-format json-render-diagnostics` has failed",
        ),
        ("", "", "Cargo.toml has to say"),
        (cdylib, "", "what was built is no plugin"),
    ] {
        let place = Place::new();
        place.write("a/Cargo.toml", manifest(more));
        place.write("a/src/lib.rs", code);
        Ended::of(place.command(&["plugin", "build", "a"]).output().unwrap()).expect(1, &[says]);
        let left = std::fs::read_dir(place.path("a")).unwrap().map(|entry| entry.unwrap().path());
        assert!(left.into_iter().all(|path| path.extension() != Some("wasm".as_ref())));
    }
}
