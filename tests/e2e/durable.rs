//! Killed in the middle of a container: the real binary, real Docker. The run goes on with the container that there is, and
//! its log has every line once.

use std::process::{Child, Command};

use serde_json::Value;

use crate::crash::signal;
use crate::served::Served;
use crate::support::{Place, docker, wait_until};

/// Lines that the stage's container writes, one after the other.
const LINES: usize = 200;

/// A workflow whose first stage counts slowly, leaves a file and ends with this code, and whose second one reads the file.
fn counting(code: i32) -> String {
    let image = docker::IMAGE;
    let script = format!(
        "echo begun >> marks; i=0; while [ $i -lt {LINES} ]; do echo line $i; echo error $i >&2; i=$((i+1)); busybox usleep 150000; done; \
         echo done >> marks; exit {code}"
    );
    format!(
        "name: counting\nstages:\n  count:\n    uses: command\n    with: {{ image: {image}, command: [/bin/sh, -c, {script:?}] }}\n  \
         read:\n    needs: count\n    uses: command\n    with: {{ image: {image}, command: [/bin/busybox, cat, marks] }}\n"
    )
}

/// What a stage of a run wrote, by stream.
fn log(place: &Place, run: &str, stage: &str, stream: &str) -> Vec<String> {
    let lines = place.yuanli(&["runs", "logs", run, "--stage", stage, "--json"]).expect(0, &[]).lines();
    let of_stream = lines.iter().filter(|line| line["stream"] == stream);
    of_stream.map(|line| line["text"].as_str().unwrap().to_owned()).collect()
}

fn numbered(word: &str) -> Vec<String> {
    (0..LINES).map(|number| format!("{word} {number}")).collect()
}

/// Whether the container of the place's engine runs, and its id.
fn container(place: &Place) -> Option<String> {
    let engine = place.path("data/engine.json").exists().then(|| place.engine())?;
    docker::containers(&engine).first().cloned()
}

/// Waits until the container has written some lines.
fn wait_for_lines(place: &Place) -> String {
    wait_for_lines_of_another(place, &[])
}

/// Waits until a container that is none of these has written some lines.
fn wait_for_lines_of_another(place: &Place, known: &[&str]) -> String {
    let other = || {
        let all = container(place).map(|_| docker::containers(&place.engine())).unwrap_or_default();
        all.into_iter().find(|id| !known.contains(&id.as_str()))
    };
    wait_until("the container counts", || {
        let written = |id: String| Command::new("docker").args(["logs", &id]).output().unwrap().stdout;
        other().is_some_and(|id| String::from_utf8_lossy(&written(id)).contains("line 5\n"))
    });
    other().expect("it is there")
}

/// Every line once, in order; one attempt; nothing left.
fn check_whole(place: &Place, run: &str) {
    let shown = place.json(&["runs", "show", run]);
    assert_eq!(shown["status"], "succeeded", "{shown}");
    let attempts: Vec<usize> = shown["stages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|stage| stage["attempts"].as_array().unwrap().len())
        .collect();
    assert_eq!(attempts, [1, 1], "a crash of the engine is no attempt");
    assert_eq!(log(place, run, "count", "stdout"), numbered("line"));
    assert_eq!(log(place, run, "count", "stderr"), numbered("error"));
    assert_eq!(log(place, run, "read", "stdout"), ["begun", "done"], "its container was started once");
    assert_eq!(docker::containers(&place.engine()), Vec::<String>::new());
    let kept = std::fs::read_dir(place.data().join("work").join(run)).unwrap();
    let mut kept: Vec<_> = kept.map(|entry| entry.unwrap().file_name()).collect();
    kept.sort();
    assert_eq!(kept, ["blobs", "manifests"], "what its stages have left, and no folder of an attempt");
    assert_eq!(place.json(&["admin", "check"])["findings"], serde_json::json!([]));
}

fn is_over(place: &Place, run: &str) -> bool {
    place.json(&["runs", "show", run])["status"] != "running"
}

fn served() -> Served {
    docker::make_image();
    Served::without_image()
}

/// Starts the counting and waits until it is in the middle.
fn begin(served: &Served, code: i32) -> (String, String) {
    served.apply("counting.yaml", &counting(code));
    let run = served.yuanli(&["trigger", "counting"]).expect(0, &[]).out.trim().to_owned();
    let container = wait_for_lines(&served.place);
    (run, container)
}

#[test]
fn a_container_that_runs_is_taken_by_the_next_engine() {
    let mut served = served();
    let (run, before) = begin(&served, 0);
    // More than once.
    for _ in 0..2 {
        served.kill();
        served.start();
        assert_eq!(container(&served.place).as_ref(), Some(&before), "it is the same one");
    }
    wait_until("the run is over", || is_over(&served.place, &run));
    assert_eq!(served.stop(), 0);
    check_whole(&served.place, &run);
}

#[test]
fn a_container_that_ended_while_no_engine_ran_is_told_with_its_code_and_all_its_lines() {
    let mut served = served();
    let (run, before) = begin(&served, 7);
    served.kill();
    wait_until("the container has ended", || {
        docker::run(&["inspect", "--format", "{{.State.Status}}", &before]).trim() == "exited"
    });
    served.start();
    wait_until("the run is over", || is_over(&served.place, &run));
    let shown = served.place.json(&["runs", "show", &run]);
    let failure = &shown["stages"][0]["failure"];
    assert!(failure["message"].as_str().unwrap().contains('7'), "{failure}");
    assert_eq!(shown["stages"][0]["attempts"].as_array().unwrap().len(), 1);
    assert_eq!(log(&served.place, &run, "count", "stdout"), numbered("line"));
    assert_eq!(log(&served.place, &run, "count", "stderr"), numbered("error"));
    assert_eq!(docker::containers(&served.place.engine()), Vec::<String>::new());
}

#[test]
fn what_belongs_to_nothing_is_removed_and_what_goes_on_is_not() {
    let mut served = served();
    let (run, before) = begin(&served, 0);
    let engine = format!("yuanli.engine={}", served.place.engine());
    let stray = docker::run(&[
        "run",
        "-d",
        "--label",
        &engine,
        "--label",
        "yuanli.run=01m80000000000000000000000",
        docker::IMAGE,
        "/bin/busybox",
        "sleep",
        "600",
    ]);
    served.kill();
    served.start();
    wait_until("the stray one is gone", || docker::containers(&served.place.engine()) == [before.clone()]);
    assert!(!stray.trim().is_empty());
    wait_until("the run is over", || is_over(&served.place, &run));
    assert_eq!(served.stop(), 0);
    check_whole(&served.place, &run);
}

/// Starts a `yuanli run` of the counting and kills it in the middle. Gives the run and its container.
fn killed(place: &Place) -> (String, String) {
    killed_beside(place, &[])
}

/// The same where there are containers of other runs.
fn killed_beside(place: &Place, known: &[&str]) -> (String, String) {
    docker::make_image();
    let file = place.write("counting.yaml", counting(0));
    let mut child: Child = place.start(&["run", &file]);
    let container = wait_for_lines_of_another(place, known);
    signal(&child, "-KILL");
    child.wait().unwrap();
    let shown: Value = place.json(&["runs", "show", "last"]);
    assert_eq!((&shown["status"], &shown["resumable"]), (&"running".into(), &true.into()));
    (shown["id"].as_str().unwrap().to_owned(), container)
}

#[test]
fn a_run_whose_command_was_killed_is_gone_on_with() {
    let place = Place::new();
    let (run, before) = killed(&place);
    let listed = place.yuanli(&["runs", "list"]).expect(0, &[]).out;
    assert!(listed.contains("interrupted"), "{listed}");
    let shown = place.yuanli(&["runs", "show", &run]).expect(0, &[]).out;
    assert!(shown.contains(&format!("`yuanli runs resume {run}` goes on with it")), "{shown}");
    // Another run is in nobody's way.
    let other = place.write("w.yaml", "name: w\nstages:\n  a: { uses: script, with: {} }\n");
    place.yuanli(&["run", &other]).expect(0, &[&format!("run {run} was interrupted"), "yuanli runs resume"]);
    assert_eq!(docker::containers(&place.engine()), [before], "its container is left alone");
    place.yuanli(&["runs", "resume", &run]).expect(0, &["line 59"]);
    check_whole(&place, &run);
    place.yuanli(&["runs", "resume"]).expect(2, &["there is no run to go on with"]);
    place.yuanli(&["runs", "resume", &run]).expect(2, &["does not wait to be gone on with"]);
}

#[test]
fn all_runs_whose_commands_were_killed_are_gone_on_with_together() {
    let place = Place::new();
    let (first, container) = killed(&place);
    let (second, _) = killed_beside(&place, &[&container]);
    place.yuanli(&["runs", "resume"]).expect(0, &[]);
    for run in [first, second] {
        check_whole(&place, &run);
    }
}

#[test]
fn an_engine_that_serves_goes_on_with_what_a_command_has_left() {
    let mut served = served();
    assert_eq!(served.stop(), 0);
    let (run, _) = killed(&served.place);
    served.start();
    served.yuanli(&["runs", "resume", &run]).expect(2, &["goes on with its runs by itself"]);
    wait_until("the run is over", || is_over(&served.place, &run));
    assert_eq!(served.stop(), 0);
    check_whole(&served.place, &run);
}

#[test]
fn a_run_whose_command_was_killed_can_be_ended() {
    let place = Place::new();
    let (run, _) = killed(&place);
    place.yuanli(&["runs", "cancel", &run]).expect(0, &["is ended"]);
    let shown = place.json(&["runs", "show", &run]);
    assert_eq!((&shown["status"], &shown["stages"][1]["status"]), (&"cancelled".into(), &"skipped".into()));
    assert_eq!(docker::containers(&place.engine()), Vec::<String>::new());
}
