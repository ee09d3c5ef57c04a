//! Services beside a stage, and what bounds its containers, as users meet them.

#![allow(clippy::disallowed_methods, reason = "other processes are waited for by the real clock")]

use std::time::{Duration, Instant};

use crate::support::{Ended, Place, docker, wait_until};

/// A stage `command` whose container runs this script, beside a service that runs that one.
fn workflow(script: &str, service: &str, more: &str) -> String {
    docker::make_image();
    let [script, service] = [script, service].map(|script| serde_json::to_string(script).unwrap());
    let image = docker::IMAGE;
    format!(
        "name: w\nstages:\n  it:\n    uses: command\n    timeout: 60s\n    with:\n      image: {image}\n      command: [/bin/sh, -c, \
         {script}]\n      services:\n        db:\n          image: {image}\n          command: [/bin/sh, -c, {service}]\n{more}"
    )
}

/// Says `welcome` to whoever comes.
const WELCOMES: &str = "echo listening; while :; do echo welcome | busybox nc -l -p 5432; done";
const READY: &str = "          ready: { tcp: 5432 }\n";

/// Runs it; nothing is left of it.
fn run(place: &Place, text: String) -> Ended {
    let file = place.write("w.yaml", text);
    let ended = place.yuanli(&["run", &file]);
    assert_eq!(docker::left(&place.engine()), Vec::<String>::new(), "{ended:?}");
    ended
}

#[test]
fn a_stage_reaches_its_service_by_name() {
    let place = Place::new();
    let text = workflow("busybox nc db 5432 </dev/null", WELCOMES, READY);
    run(&place, text).expect(0, &["db | listening", "service `db` is ready", "welcome", "[it] succeeded"]);
}

#[test]
fn a_service_that_is_not_ready_fails_the_stage_with_its_last_words() {
    let place = Place::new();
    let more = "          ready: { tcp: 5432, timeout: 1s }\n";
    let late = "service `db` was not ready after 1 s: nothing listens at port 5432; it said last: waiting";
    run(&place, workflow(":", "echo waiting; busybox sleep 600", more)).expect(1, &[late]);
    let died = "service `db` ended with exit code 3 while it was needed; it said last: no disk";
    run(&place, workflow(":", "echo no disk; exit 3", READY)).expect(1, &[died]);
}

#[test]
fn a_service_that_ends_ends_its_stage() {
    let place = Place::new();
    let service = "while [ ! -e /tmp/go ]; do busybox sleep 0.1; done; echo gone; exit 4";
    let more = "          ready: { exec: [/bin/busybox, touch, /tmp/go] }\n";
    let died = "service `db` ended with exit code 4 while it was needed; it said last: gone";
    let workflow = workflow("busybox sleep 600", service, more);
    let began = Instant::now();
    run(&place, workflow).expect(1, &[died]);
    assert!(began.elapsed() < Duration::from_secs(55), "the command is not waited for");
}

#[test]
fn nothing_is_left_of_services_whatever_ends_their_stage() {
    let place = Place::new();
    let text = workflow("echo at work; busybox sleep 600", WELCOMES, READY);
    // A time-out, with what ignores its stop signal.
    let ends =
        text.replace("timeout: 60s", "timeout: 25s").replace("echo at work;", "trap '' TERM; echo at work;");
    let ends = ends.replace("      services:", "      container: { stop_grace: 1s }\n      services:");
    let began = Instant::now();
    run(&place, ends).expect(1, &["at work", "longer than 25s"]);
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
    // Ctrl-C.
    let file = place.write("w.yaml", &text);
    let mut child = place.attended(&["run", &file]).spawn().unwrap();
    wait_until("both run", || docker::containers(&place.engine()).len() == 2);
    std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    child.wait().unwrap();
    assert_eq!(docker::left(&place.engine()), Vec::<String>::new());
    // The engine is killed: what is left is there for who goes on with the run, until somebody cancels it.
    let mut child = place.start(&["run", &file]);
    wait_until("both run", || docker::containers(&place.engine()).len() == 2);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(docker::left(&place.engine()).len(), 3, "two containers and their network");
    let shown = place.json(&["admin", "prune"]);
    let kinds: Vec<&str> =
        shown["items"].as_array().unwrap().iter().map(|item| item["kind"].as_str().unwrap()).collect();
    assert_eq!((kinds, &shown["is_removed"]), (vec!["container", "container", "network"], &false.into()));
    assert_eq!(docker::left(&place.engine()).len(), 3, "it was shown");
    let next = place.write("next.yaml", "name: n\nstages:\n  a: { uses: script }\n");
    let run = place.json(&["runs", "list"])["items"][0]["id"].as_str().unwrap().to_owned();
    place.yuanli(&["run", &next]).expect(0, &["goes on with it"]);
    assert_eq!(docker::left(&place.engine()).len(), 3, "nobody but its own run has it");
    place.yuanli(&["runs", "cancel", &run]).expect(0, &[]);
    assert_eq!(docker::left(&place.engine()), Vec::<String>::new());
}

#[test]
fn what_is_left_is_removed_by_who_says_so_and_nothing_of_others() {
    let (place, other) = (Place::new(), Place::new());
    let text = workflow("busybox sleep 600", WELCOMES, READY);
    let mut children = Vec::new();
    for place in [&place, &other] {
        let file = place.write("w.yaml", &text);
        children.push(place.start(&["run", &file]));
        wait_until("both run", || {
            place.data().join("engine.json").exists() && docker::containers(&place.engine()).len() == 2
        });
    }
    let busy = place.yuanli(&["admin", "prune", "--yes"]);
    assert!(busy.code != 0 && busy.err.contains("under way"), "{busy:?}");
    assert_eq!(docker::left(&place.engine()).len(), 3);
    for mut child in children {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let pruned = place.yuanli(&["admin", "prune", "--yes"]).expect(0, &["all of it is removed"]);
    assert!(pruned.out.contains("container") && pruned.out.contains("network"), "{pruned:?}");
    assert_eq!(docker::left(&place.engine()), Vec::<String>::new());
    assert_eq!(docker::left(&other.engine()).len(), 3, "another engine's is not touched");
    place.yuanli(&["admin", "prune"]).expect(0, &["left nothing"]);
    other.yuanli(&["admin", "prune", "--yes"]).expect(0, &[]);
    assert_eq!(docker::left(&other.engine()), Vec::<String>::new());
}

#[test]
fn how_a_command_ends_is_told_apart() {
    docker::make_image();
    let place = Place::new();
    let run_with = |script: &str, container: &str| {
        let script = serde_json::to_string(script).unwrap();
        let text = format!(
            "name: w\nstages:\n  it:\n    uses: command\n    with: {{ image: {}, command: [/bin/sh, -c, {script}], container: {{ \
             {container} }} }}\n",
            docker::IMAGE
        );
        run(&place, text)
    };
    let ended = |script: &str, container: &str, says: &str| {
        run_with(script, container).expect(1, &[says]);
    };
    ended("exit 3", "", "ended with exit code 3");
    ended("busybox kill -9 0; busybox sleep 1; exit 9", "init: true", "was ended by signal 9 (KILL)");
    // Docker hears of the kernel's killing beside the end of the container, and on a busy machine sometimes too late to say so.
    let is_told = (0..3).any(|_| {
        let filling = "x=$(busybox yes | busybox tr -d '\\n' | busybox head -c 200000000)";
        let ended = run_with(filling, "memory: 16MiB");
        ended.expect(1, &[]).err.contains("used more memory than it may")
    });
    assert!(is_told, "out of memory is told apart");
    ended("echo x >/file", "read_only_root: true", "Read-only file system");
    ended("busybox chown 1:1 /tmp", "drop: [ALL]", "Operation not permitted");
    ended("bomb() { bomb | bomb & }; bomb; busybox sleep 1; exit 9", "pids: 30", "can't fork");
}
