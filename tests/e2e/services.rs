//! Services beside a stage, and what bounds its containers, as users meet them.

#![allow(clippy::disallowed_methods, reason = "other processes are waited for by the real clock")]

use std::time::{Duration, Instant};

use crate::served::Served;
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

/// A service that is set up by these commands.
fn set_up_by(commands: &[&str]) -> String {
    let commands: String = commands.iter().map(|command| format!("            - {command}\n")).collect();
    format!("{READY}          setup:\n{commands}")
}

#[test]
fn a_service_is_set_up_before_its_stage_begins() {
    let place = Place::new();
    let setup = set_up_by(&[
        "[/bin/sh, -c, 'echo loaded >/tmp/loaded; echo careful >&2']",
        "{ exec: [/bin/sh, -c, 'cat /tmp/loaded; echo $KEY; busybox id -u'], user: '12', env: { KEY: value } }",
    ]);
    let said = ["db | careful", "db | loaded", "db | value", "db | 12", "at work"];
    run(&place, workflow("echo at work", WELCOMES, &setup)).expect(0, &said);
    let failed = "service `db` could not be set up: `/bin/sh` ended with exit code 3: no disk";
    let setup = set_up_by(&["[/bin/sh, -c, 'echo no disk >&2; exit 3']"]);
    let ended = run(&place, workflow("echo at work", WELCOMES, &setup)).expect(1, &[failed]);
    assert!(!ended.err.contains("at work\n"), "{ended:?}");
    let setup = set_up_by(&["[/nosuch]"]);
    run(&place, workflow(":", WELCOMES, &setup)).expect(1, &["`/nosuch` cannot be run"]);
    let setup = set_up_by(&["{ exec: [/bin/busybox, sleep, '600'], timeout: 1s }"]);
    run(&place, workflow(":", WELCOMES, &setup)).expect(1, &["`/bin/busybox` took longer than it may"]);
}

#[test]
fn what_sets_a_service_up_is_begun_once_though_the_engine_is_killed() {
    docker::make_image();
    let mut served = Served::without_image();
    let setup = set_up_by(&[
        "[/bin/sh, -c, 'echo begun >>/tmp/begun; while [ ! -e /tmp/go ]; do busybox sleep 0.1; done']",
        "[/bin/busybox, cat, /tmp/begun]",
    ]);
    served.apply("w.yaml", &workflow("echo at work", WELCOMES, &setup));
    let run = served.yuanli(&["trigger", "w"]).expect(0, &[]).out.trim().to_owned();
    let inside = |command: &[&str]| {
        let engine = served.place.path("data/engine.json").exists().then(|| served.place.engine());
        let db = engine.and_then(|engine| docker::containers(&engine).first().cloned())?;
        let mut docker = std::process::Command::new("docker");
        let ended = docker.args(["exec", &db]).args(command).output().unwrap();
        Some(String::from_utf8_lossy(&ended.stdout).into_owned())
    };
    wait_until("the service is being set up", || {
        inside(&["/bin/busybox", "cat", "/tmp/begun"]).as_deref() == Some("begun\n")
    });
    served.kill();
    served.start();
    let engine = served.place.engine();
    let db = docker::containers(&engine)[0].clone();
    docker::run(&["exec", &db, "/bin/busybox", "touch", "/tmp/go"]);
    wait_until("the run is over", || served.place.json(&["runs", "show", &run])["status"] != "running");
    let shown = served.place.json(&["runs", "show", &run]);
    assert_eq!(shown["status"], "succeeded", "{shown}");
    assert_eq!(
        shown["stages"][0]["attempts"].as_array().unwrap().len(),
        1,
        "a crash of the engine is no attempt"
    );
    let log = served.place.yuanli(&["runs", "logs", &run]).expect(0, &[]).out;
    assert_eq!((log.matches("db | begun").count(), log.matches("at work").count()), (1, 1), "{log}");
    assert_eq!(served.stop(), 0);
    assert_eq!(docker::left(&engine), Vec::<String>::new());
}
