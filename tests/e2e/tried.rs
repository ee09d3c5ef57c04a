//! Plugins that their authors try out: `plugin test`, `plugin pack`, and runs that follow what is being written.

use std::path::PathBuf;
use std::process::{Child, Command};

use serde_json::{Value, json};
use yuanli_test_guests::{NOOP, PROBE, noop};

use crate::support::{Ended, Place, root, wait_until};

fn outcomes(report: &Value, outcome: &str) -> Vec<String> {
    let cases = report["cases"].as_array().unwrap().iter();
    let of_it = cases.filter(|case| case["outcome"] == outcome);
    of_it.map(|case| case["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_component_is_tested_with_what_holds_for_every_plugin_and_with_its_own_cases() {
    let place = Place::new();
    place.write("a/noop.wasm", NOOP.component);
    place.write("a/tests/nothing.yaml", "name: nothing comes of nothing\nexpect: { outputs: {} }\n");
    place.write("a/tests/README.md", "no case");
    // The file of the component, and the folder of the plugin.
    for what in ["a/noop.wasm", "a"] {
        let ended = place.yuanli(&["plugin", "test", what, "--junit", "report.xml"]).expect(0, &[]);
        assert!(ended.out.contains("passed  it does the same with the same input, "), "{ended:?}");
        let own = format!("passed  {}: nothing comes of nothing, ", "a/tests/nothing.yaml");
        assert!(ended.out.contains(&own), "{ended:?}");
        assert!(ended.out.ends_with("noop 0.1.0: 10 passed, 0 failed, 2 skipped\n"), "{ended:?}");
    }
    let junit = std::fs::read_to_string(place.path("report.xml")).unwrap();
    assert!(junit.contains("tests=\"12\" failures=\"0\"") && junit.contains("noop 0.1.0"), "{junit}");
    let report = place.json(&["plugin", "test", "a"]);
    assert_eq!((&report["passed"], &report["name"]), (&json!(true), &json!("noop")));
    let report = place.json(&["plugin", "test", "a", "--only", "comes of"]);
    assert_eq!(outcomes(&report, "passed"), ["nothing comes of nothing"]);
    assert_eq!(report["cases"].as_array().unwrap().len(), 1);
}

#[test]
fn what_does_not_hold_is_told_with_what_differs() {
    let place = Place::new();
    place.write("probe.wasm", PROBE.component);
    place.write(
        "cases/wrong.yaml",
        "name: it talks of this\nconfig: { do: talk }\nexpect: { log: [inside, of this] }\n",
    );
    let cases =
        ["plugin", "test", "probe.wasm", "--cases", "cases", "--only", "talks", "--junit", "report.xml"];
    let ended = place.yuanli(&cases).expect(1, &[]);
    assert!(ended.out.contains("FAILED  cases/wrong.yaml: it talks of this, "), "{ended:?}");
    assert!(ended.out.contains("          log: \"of this\" is in no line\n"), "{ended:?}");
    assert!(ended.out.contains("          log: to stderr, without an end\n"), "{ended:?}");
    let junit = std::fs::read_to_string(place.path("report.xml")).unwrap();
    assert!(junit.contains("<failure message=\"log: &quot;of this&quot; is in no line\">"), "{junit}");
    // The cases that the repository has of it hold.
    let cases = root().join("tests/conformance/guests/probe");
    let cases = ["plugin", "test", "probe.wasm", "--only", "", "--cases", cases.to_str().unwrap()];
    place.yuanli(&cases).expect(0, &[]);
}

#[test]
fn what_cannot_be_tested_is_a_mistake_of_whoever_asks() {
    let place = Place::new();
    let check = |arguments: &[&str], says: &[&str]| {
        place.yuanli(&[&["plugin", "test"][..], arguments].concat()).expect(2, says);
    };
    place.write("noop.wasm", NOOP.component);
    place.write("wrong/tests/a.yaml", "name: a\nexpct: {}\n");
    place.write("wrong/noop.wasm", NOOP.component);
    check(&["wrong"], &["the case `wrong/tests/a.yaml`: line 2: `expct`: unknown field `expct`"]);
    check(&["noop.wasm", "--cases", "none.yaml"], &["`none.yaml` cannot be read"]);
    check(&["none.wasm"], &["there is no file", "none.wasm"]);
    check(&["noop.wasm", "--only", "x"], &["no case has that in its name"]);
    place.write("text.wasm", "no wasm");
    check(&["text.wasm"], &["no WebAssembly component"]);
    check(&["."], &[". has several components: name the file of one"]);
    std::fs::create_dir(place.path("empty")).unwrap();
    check(&["empty"], &["empty has no component"]);
    place.write("python/pyproject.toml", "");
    place.write("python/plugin.py", "");
    check(&["python"], &["the plugin in python is not built yet: `yuanli plugin build python`"]);
}

#[test]
fn a_packed_component_tells_what_it_is_without_being_run() {
    let place = Place::new();
    place.write("noop.wasm", NOOP.component);
    place
        .yuanli(&["plugin", "inspect", "noop.wasm", "--claimed"])
        .expect(1, &["it claims nothing of itself"]);
    let packed = place.json(&["plugin", "pack", "noop.wasm", "--output", "packed.wasm"]);
    assert_eq!((&packed["name"], &packed["version"]), (&json!("noop"), &json!("0.1.0")));
    assert_eq!(std::fs::read(place.path("noop.wasm")).unwrap(), NOOP.component, "it was left as it was");
    let _ = std::fs::remove_dir_all(place.path("data"));
    let claimed = place.json(&["plugin", "inspect", "packed.wasm", "--claimed"]);
    assert_eq!((&claimed["name"], &claimed["claimed"]), (&json!("noop"), &json!(true)));
    assert!(claimed["config_schema"].is_object(), "{claimed}");
    assert!(!place.path("data/cache").exists(), "nothing was compiled for that");
    let ended = place.yuanli(&["plugin", "inspect", "packed.wasm", "--claimed"]).expect(0, &[]);
    assert!(ended.out.contains("claimed: this is what its file says of it"), "{ended:?}");
    let asked = place.json(&["plugin", "inspect", "packed.wasm"]);
    assert_eq!(asked["claimed"], false);
    assert_eq!((&asked["config_schema"], &asked["digest"]), (&claimed["config_schema"], &packed["digest"]));
    // In its own place, and once is enough.
    place.yuanli(&["plugin", "pack", "packed.wasm"]).expect(0, &["packed noop 0.1.0"]);
    assert_eq!(place.json(&["plugin", "inspect", "packed.wasm"])["digest"], packed["digest"]);
    place.yuanli(&["plugin", "pack", "none.wasm"]).expect(2, &["there is no file"]);
    place.yuanli(&["plugin", "add", "packed.wasm"]).expect(0, &["added noop 0.1.0"]);
}

#[test]
fn a_component_that_claims_something_else_is_refused() {
    let place = Place::new();
    place.write("noop.wasm", NOOP.component);
    place.yuanli(&["plugin", "pack", "noop.wasm"]).expect(0, &[]);
    let mut component = std::fs::read(place.path("noop.wasm")).unwrap();
    let claim = b"Does nothing";
    let at = component.windows(claim.len()).rposition(|at| at == claim).unwrap();
    component[at..at + claim.len()].copy_from_slice(b"Does it all!");
    place.write("noop.wasm", &component);
    let says = "its section `yuanli:describe` claims another summary than it says itself";
    place
        .yuanli(&["plugin", "add", "noop.wasm"])
        .expect(2, &["`noop.wasm` cannot be used", says, "plugin pack"]);
    place.yuanli(&["plugin", "inspect", "noop.wasm"]).expect(1, &[says]);
    let ended = place.yuanli(&["plugin", "test", "noop.wasm"]).expect(1, &[]);
    assert!(ended.out.contains("FAILED  it claims of itself what it says"), "{ended:?}");
    // What the file says is told as such.
    assert_eq!(place.json(&["plugin", "inspect", "noop.wasm", "--claimed"])["summary"], "Does it all!");
}

#[test]
fn a_component_takes_the_place_of_a_plugin_for_one_run() {
    let place = Place::new();
    place.write("dev.wasm", noop("0.9.0"));
    let file = place.write("w.yaml", "name: w\nstages:\n  a: { uses: noop@^0.9, with: {} }\n");
    let run = |more: &[&str]| place.yuanli(&[&["run", &file][..], more].concat());
    run(&[]).expect(2, &["there is no plugin `noop`"]);
    run(&["--plugin", "dev.wasm"]).expect(0, &[]);
    run(&["--plugin", "noop=dev.wasm"]).expect(0, &[]);
    // What the stage asks of the version counts.
    place.write("old.wasm", NOOP.component);
    run(&["--plugin", "old.wasm"]).expect(2, &["`noop` is of version 0.1.0 here, which is not `^0.9`"]);
    run(&["--plugin", "other=dev.wasm"]).expect(2, &["there is no plugin `noop`"]);
    let unused = place.write("u.yaml", "name: u\nstages:\n  a: { uses: script, with: { print: [x] } }\n");
    place
        .yuanli(&["run", &unused, "--plugin", "dev.wasm"])
        .expect(2, &["no stage of", "uses the plugin `noop`"]);
    run(&["--plugin", "none.wasm"]).expect(2, &["there is no file"]);
    // One that a workflow names by its file is called as that file.
    let file = place.write("f.yaml", "name: f\nstages:\n  a: { uses: ./noop.wasm, with: {} }\n");
    place.yuanli(&["run", &file]).expect(2, &["noop.wasm"]);
    place.yuanli(&["run", &file, "--plugin", "dev.wasm"]).expect(0, &[]);
}

/// A `run --watch`, and what it says.
struct Watching {
    child: Child,
    log: PathBuf,
}

impl Watching {
    fn start(place: &Place, arguments: &[&str]) -> Self {
        let log = place.path("log");
        let mut command = place.attended(&[&["run", "--watch"][..], arguments].concat());
        let child = command.stderr(std::fs::File::create(&log).unwrap()).spawn().unwrap();
        Self { child, log }
    }

    fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Waits until it has waited so often.
    #[track_caller]
    fn wait(&self, times: usize) {
        let what = format!("it waits for the {times}th time: {}", self.said());
        wait_until(&what, || self.said().matches("waiting for a change").count() == times);
    }

    fn interrupt(mut self) -> i32 {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
        self.child.wait().unwrap().code().unwrap_or(-1)
    }
}

#[test]
fn a_watched_run_is_run_again_when_its_component_or_its_workflow_changes() {
    let place = Place::new();
    let component = place.write("target/dev.wasm", noop("0.1.0"));
    let file = place.write("w.yaml", "name: w\nstages:\n  a: { uses: noop, with: {} }\n");
    let watching = Watching::start(&place, &[&file, "--plugin", "target/dev.wasm"]);
    let runs = || place.json(&["runs", "list"])["items"].as_array().unwrap().len();
    watching.wait(1);
    assert_eq!(runs(), 1, "between runs the data directory is free");
    // A compiler writes it in pieces, and only the whole is run.
    let next = noop("0.2.0");
    std::fs::write(&component, &next[..next.len() / 2]).unwrap();
    std::fs::write(&component, &next).unwrap();
    watching.wait(2);
    assert!(watching.said().contains("dev.wasm has changed"), "{}", watching.said());
    assert_eq!(runs(), 2);
    // What does not load is told, and waited for.
    std::fs::write(&component, "no wasm").unwrap();
    watching.wait(3);
    assert!(watching.said().contains("no WebAssembly component"), "{}", watching.said());
    std::fs::remove_file(&component).unwrap();
    watching.wait(4);
    std::fs::write(&component, noop("0.3.0")).unwrap();
    watching.wait(5);
    assert_eq!(runs(), 3);
    place.write("w.yaml", "name: w\nstages:\n  a: { uses: noop, wth: {} }\n");
    watching.wait(6);
    assert!(watching.said().contains("has no key `wth`"), "{}", watching.said());
    place.write("w.yaml", "name: w\nstages:\n  b: { uses: noop, with: {} }\n");
    watching.wait(7);
    assert_eq!(runs(), 4);
    // Written again as it was.
    std::fs::write(&component, noop("0.3.0")).unwrap();
    assert_eq!(watching.interrupt(), 130);
    assert_eq!(runs(), 4);
}

#[test]
fn a_change_ends_the_run_that_goes_on() {
    let place = Place::new();
    place.write("probe.wasm", PROBE.component);
    let workflow = |millis: u64| {
        let grants = crate::support::PROBE_GRANTS;
        format!(
            "name: w\nstages:\n  a: {{ uses: ./probe.wasm, grants: {grants}, with: {{ do: clock, sleep_ms: {millis} }} }}\n"
        )
    };
    let file = place.write("w.yaml", workflow(600_000));
    let watching = Watching::start(&place, &[&file]);
    wait_until("the stage has started", || watching.said().contains("started"));
    place.write("w.yaml", workflow(1));
    watching.wait(1);
    let said = watching.said();
    assert!(said.contains("w.yaml has changed: the run is stopped"), "{said}");
    // The next run is that of the new text, and the change was taken once.
    let runs = place.json(&["runs", "list"]);
    let status = |at: usize| runs["items"][at]["status"].as_str().unwrap().to_owned();
    assert_eq!((status(0), status(1)), ("succeeded".to_owned(), "cancelled".to_owned()));
    assert_eq!(watching.interrupt(), 130);
    let place = Place::new();
    Ended::of(place.command(&["run", "-", "--watch"]).output().unwrap())
        .expect(2, &["standard input cannot be watched"]);
}

#[test]
fn several_that_compile_the_same_at_once_do_not_disturb_each_other() {
    let place = Place::new();
    place.write("probe.wasm", PROBE.component);
    let inspect = ["plugin", "inspect", "probe.wasm", "--json"];
    let children: Vec<Child> = (0..4).map(|_| place.start(&inspect)).collect();
    let told: Vec<String> = children
        .into_iter()
        .map(|child| Ended::of(child.wait_with_output().unwrap()).expect(0, &[]).out)
        .collect();
    assert!(told.iter().all(|out| *out == told[0]), "{told:#?}");
    let versions: Vec<_> = std::fs::read_dir(place.path("data/cache")).unwrap().collect();
    assert_eq!(versions.len(), 1);
    let files = std::fs::read_dir(versions[0].as_ref().unwrap().path()).unwrap();
    let mut endings: Vec<_> =
        files.map(|file| file.unwrap().path().extension().unwrap().to_owned()).collect();
    endings.sort();
    assert_eq!(endings, ["cwasm", "describe"], "nothing half-written is left");
    // What they left is whole.
    assert_eq!(place.yuanli(&inspect).expect(0, &[]).out, told[0]);
}
