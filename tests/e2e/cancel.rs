//! The end of what runs, asked for by a person or by a clock: real containers, a served engine.

use std::process::Command;

use serde_json::{Value, json};

use crate::served::Served;
use crate::support::{docker, wait_until};

fn command(name: &str, settings: &str, more: &str, script: &str) -> String {
    let image = docker::IMAGE;
    let script = Value::from(script);
    format!(
        "  {name}:\n    uses: command\n{settings}    with: {{ image: {image}, {more}command: [/bin/sh, -c, {script}] }}\n"
    )
}

fn served() -> Served {
    docker::make_image();
    Served::without_image()
}

fn show(served: &Served, run: &str) -> Value {
    served.place.json(&["runs", "show", run])
}

fn stage(run: &Value, name: &str) -> Value {
    let stages = run["stages"].as_array().unwrap();
    stages.iter().find(|stage| stage["name"] == name).unwrap()["status"].clone()
}

fn text(served: &Served, run: &str) -> String {
    served.yuanli(&["runs", "logs", run]).expect(0, &[]).out
}

/// How many containers of the engine have written a line.
fn said(served: &Served, line: &str) -> usize {
    let logs = |id: &String| Command::new("docker").args(["logs", id]).output().unwrap().stdout;
    let has_said = |id: &String| String::from_utf8_lossy(&logs(id)).lines().any(|written| written == line);
    docker::containers(&served.place.engine()).iter().filter(|id| has_said(id)).count()
}

fn wait_until_nothing_is_left(served: &Served) {
    // They are removed once the end of their attempt is durable.
    wait_until("no container is left", || docker::containers(&served.place.engine()).is_empty());
}

fn trigger(served: &Served, name: &str) -> String {
    served.yuanli(&["trigger", name]).expect(0, &[]).out.trim().to_owned()
}

/// One container ends by itself when it is asked to, one does not listen; the end takes as long as the test lets it.
fn stubborn() -> String {
    let polite = "trap 'echo asked; exit 0' TERM; echo up; while true; do busybox usleep 50000; done";
    let deaf = "trap '' TERM; echo up; while true; do busybox usleep 50000; done";
    let last = "echo cleaning; while true; do busybox usleep 50000; done";
    format!(
        "name: stubborn\nstages:\n{}{}  after: {{ needs: [polite, deaf], uses: script, with: {{}} }}\nfinally:\n{}",
        command("polite", "", "", polite),
        command("deaf", "", "container: { stop_grace: 1s }, ", deaf),
        command("last", "", "container: { stop_grace: 100ms }, ", last),
    )
}

#[test]
fn a_cancel_asks_then_kills_then_runs_the_end_and_a_second_one_ends_that() {
    let served = served();
    served.apply("stubborn.yaml", &stubborn());
    let run = trigger(&served, "stubborn");
    wait_until("both run", || said(&served, "up") == 2);
    // A stage that runs is not retried.
    served.yuanli(&["runs", "retry", &run, "--from", "deaf"]).expect(2, &["goes on: wait for its end"]);
    served.yuanli(&["runs", "cancel", &run]).expect(0, &["asked to end"]);
    // Asking again before the end of the run begins changes nothing.
    served.yuanli(&["runs", "cancel", &run]).expect(0, &[]);
    wait_until("the end runs", || said(&served, "cleaning") == 1);
    let shown = show(&served, &run);
    assert_eq!(
        ["polite", "deaf", "after", "last"].map(|name| stage(&shown, name)),
        ["cancelled", "cancelled", "skipped", "running"].map(|status| json!(status))
    );
    assert!(text(&served, &run).contains("asked"), "its signal came first");
    assert_eq!(said(&served, "up"), 0, "the one that did not listen was killed");
    served.yuanli(&["runs", "cancel", &run]).expect(0, &[]);
    wait_until("the run is over", || show(&served, &run)["status"] != "running");
    let shown = show(&served, &run);
    assert_eq!((&shown["status"], stage(&shown, "last")), (&json!("cancelled"), json!("cancelled")));
    wait_until_nothing_is_left(&served);
    served.yuanli(&["runs", "cancel", &run]).expect(2, &["does not go on, so there is nothing to end"]);
}

#[test]
fn an_attempt_that_follows_begins_when_the_container_of_the_one_before_has_ended() {
    let served = served();
    // Whoever finds the mark of another one beside it says so; the mark goes late, after the signal.
    let script = "trap 'busybox usleep 700000; busybox rmdir /v/mark; exit 1' TERM; busybox mkdir /v/mark || echo overlap; \
                  echo up; while true; do busybox usleep 50000; done";
    let volume = format!("cancel-e2e-{}", std::process::id());
    let settings = "    timeout: 4s\n    retry: { attempts: 3, backoff: 1ms }\n";
    let document = format!(
        "name: late\nstages:\n{}",
        command(
            "late",
            settings,
            &format!("volumes: [\"{volume}:/v\"], container: {{ stop_grace: 5s }}, "),
            script
        )
    );
    served.apply("late.yaml", &document);
    let run = trigger(&served, "late");
    wait_until("the run is over", || show(&served, &run)["status"] != "running");
    let (shown, text) = (show(&served, &run), text(&served, &run));
    assert_eq!(shown["stages"][0]["attempts"].as_array().unwrap().len(), 3, "{shown}");
    assert_eq!(shown["stages"][0]["failure"]["kind"], "timeout", "{shown}");
    assert_eq!(text.matches("up").count(), 3, "{text}");
    assert!(!text.contains("overlap"), "{text}");
    wait_until_nothing_is_left(&served);
}
