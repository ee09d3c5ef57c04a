//! Interrupted, killed: what is left, and what the next start makes of it.

use std::io::Read;
use std::process::{Child, Command};

use crate::support::{Ended, Place, docker, wait_until};

/// A workflow that any start of an engine can run.
const NOTHING: &str = "name: w\nstages:\n  a: { uses: script, with: {} }\n";

pub(crate) fn sleeper(place: &Place) -> String {
    docker::make_image();
    let image = docker::IMAGE;
    place.write(
        "sleep.yaml",
        format!(
            "name: sleep\nstages:\n  nap: {{ uses: command, with: {{ image: {image}, command: [/bin/sh, -c, \"echo asleep; sleep 600\"] }} }}\n  \
             next: {{ uses: script, needs: nap, with: {{}} }}\n"
        ),
    )
}

pub(crate) fn signal(child: &Child, name: &str) {
    let status = Command::new("kill").args([name, &child.id().to_string()]).status().unwrap();
    assert!(status.success());
}

pub(crate) fn wait_for_container(place: &Place) {
    wait_until("the container runs", || {
        place.path("data/engine.json").exists() && !docker::containers(&place.engine()).is_empty()
    });
}

/// Starts the sleeper and waits until its output arrives, so that it is in the middle of its stage.
pub(crate) fn start_and_wait(place: &Place) -> Child {
    let file = sleeper(place);
    let mut child = place.start(&["run", &file]);
    wait_for_container(place);
    let err = child.stderr.as_mut().unwrap();
    let mut seen = Vec::new();
    let mut byte = [0];
    while !String::from_utf8_lossy(&seen).contains("asleep") {
        assert_eq!(err.read(&mut byte).unwrap(), 1, "{}", String::from_utf8_lossy(&seen));
        seen.push(byte[0]);
    }
    child
}

#[test]
fn ctrl_c_cancels_the_run_and_stops_its_container() {
    let place = Place::new();
    let child = start_and_wait(&place);
    signal(&child, "-INT");
    let ended = Ended::of(child.wait_with_output().unwrap()).expect(130, &["stopping the run", "cancelled"]);
    assert_eq!(docker::containers(&place.engine()), Vec::<String>::new());
    let run = place.json(&["runs", "show", ended.out.trim()]);
    assert_eq!(run["status"], "cancelled");
    assert_eq!(
        (&run["stages"][0]["status"], &run["stages"][1]["status"]),
        (&"cancelled".into(), &"skipped".into())
    );
}

#[test]
fn a_second_ctrl_c_leaves_at_once() {
    let place = Place::new();
    let child = start_and_wait(&place);
    signal(&child, "-INT");
    signal(&child, "-INT");
    let ended = Ended::of(child.wait_with_output().unwrap());
    // Both signals may be seen as one when they come this close: then the run is cancelled as by the first.
    assert_eq!(ended.code, 130, "{ended:?}");
    // Whether or not it came to leave at once, nothing is left once the run is gone on with: it was being ended.
    let resumed = place.yuanli(&["runs", "resume", "last"]);
    assert!([1, 2].contains(&resumed.code), "{resumed:?}");
    assert_eq!(docker::containers(&place.engine()), Vec::<String>::new());
}

#[test]
fn after_a_kill_the_run_and_its_container_wait_to_be_gone_on_with_or_ended() {
    let place = Place::new();
    let mut child = start_and_wait(&place);
    signal(&child, "-KILL");
    child.wait().unwrap();
    assert_eq!(docker::containers(&place.engine()).len(), 1, "nobody was there to remove it");
    let run = place.json(&["runs", "show", "last"]);
    assert_eq!(run["status"], "running", "looking does not change anything");
    let file = place.write("w.yaml", NOTHING);
    let id = run["id"].as_str().unwrap();
    place.yuanli(&["run", &file]).expect(0, &[&format!("run {id} was interrupted")]);
    assert_eq!(docker::containers(&place.engine()).len(), 1, "the next run is in nobody's way");
    place.yuanli(&["runs", "cancel", id]).expect(0, &["is ended"]);
    assert_eq!(docker::containers(&place.engine()), Vec::<String>::new());
    let run = place.json(&["runs", "show", id]);
    assert_eq!((&run["status"], &run["stages"][0]["status"]), (&"cancelled".into(), &"cancelled".into()));
}

#[test]
fn containers_that_docker_could_not_be_asked_for_are_removed_by_a_later_start() {
    let place = Place::new();
    let mut child = start_and_wait(&place);
    child.kill().unwrap();
    child.wait().unwrap();
    let file = place.write("w.yaml", NOTHING);
    let mut without = place.command(&["run", &file]);
    let ended = Ended::of(without.env("DOCKER_HOST", "unix:///nowhere.sock").output().unwrap());
    ended.expect(0, &["containers of interrupted runs may still be there"]);
    assert_eq!(docker::containers(&place.engine()).len(), 1);
    place.yuanli(&["runs", "cancel", "last"]).expect(2, &["does not wait to be gone on with"]);
    let interrupted = place.json(&["runs", "list"])["items"][1]["id"].as_str().unwrap().to_owned();
    place.yuanli(&["runs", "cancel", &interrupted]).expect(0, &[]);
    assert_eq!(docker::containers(&place.engine()), Vec::<String>::new());
}

#[test]
fn what_an_interrupted_stage_wrote_can_be_read_and_its_workspace_is_removed() {
    let place = Place::new();
    docker::make_image();
    let script = "i=0; while [ $i -lt 5000 ]; do echo line $i; i=$((i+1)); done; sleep 600";
    let file = place.write(
        "chatty.yaml",
        format!(
            "name: chatty\nstages:\n  s: {{ uses: command, with: {{ image: {}, command: [/bin/sh, -c, {script:?}] }} }}\n",
            docker::IMAGE
        ),
    );
    let mut child = place.start(&["run", &file]);
    let err = std::io::BufReader::new(child.stderr.take().unwrap());
    let mut lines = std::io::BufRead::lines(err).map_while(Result::ok);
    assert!(lines.any(|line| line.contains("line 4999")), "all lines are shown");
    // A workspace that nobody knows of, as after a kill before the start of its run was durable.
    let stray = place.data().join("work/01m80000000000000000000000");
    std::fs::create_dir_all(&stray).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    place.yuanli(&["runs", "cancel", "last"]).expect(0, &[]);
    let logs = place.yuanli(&["runs", "logs", "last"]).expect(0, &[]);
    let count = logs.out.lines().filter(|line| line.contains("line ")).count();
    assert_eq!(count, 5000, "every line, and once");
    let left: Vec<_> = std::fs::read_dir(place.data().join("work")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}
