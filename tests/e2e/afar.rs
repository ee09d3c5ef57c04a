//! Docker on a machine that sees none of the files of this one: a second dockerd, reached by TCP, in whose namespace an empty
//! folder lies over those of the test. Files of stages travel there and back.

use std::net::TcpListener;

use crate::crash::signal;
use crate::support::{Ended, Place, docker, wait_until};

#[path = "../dockerd.rs"]
pub(crate) mod dockerd;

use dockerd::Dockerd;

/// The other machine, and its address.
fn afar(place: &Place) -> (Dockerd, String) {
    docker::make_image();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = format!("tcp://{}", listener.local_addr().unwrap());
    let engine = Dockerd::at(listener, |_| Vec::new());
    engine.give(docker::IMAGE);
    engine.hide(&place.path(""));
    (engine, host)
}

/// What there is on it, each a line.
fn state(engine: &Dockerd) -> Vec<String> {
    let asked: [&[&str]; 4] =
        [&["ps", "-aq"], &["volume", "ls", "-q"], &["network", "ls", "-q"], &["images", "-aq"]];
    let lines = asked.map(|arguments| String::from_utf8(engine.docker(arguments).stdout).unwrap());
    lines.iter().flat_map(|lines| lines.lines().map(str::to_owned)).collect()
}

fn at(place: &Place, host: &str, arguments: &[&str]) -> Ended {
    Ended::of(place.command(arguments).env("DOCKER_HOST", host).output().unwrap())
}

/// Stages that hand files on, outputs and a summary, each by a container that changes what it finds.
fn workflow(first: &str) -> String {
    let image = docker::IMAGE;
    let make = format!(
        "mkdir -p d/e; echo one >d/e/one; echo gone >gone; ln -s e/one d/link; echo '#!/bin/sh' >tool; busybox chmod 755 tool; {first} \
         echo version=7 >>$YUANLI_OUTPUT; echo '# made afar' >>$YUANLI_SUMMARY"
    );
    let change = "busybox cat d/link; rm gone; echo two >d/two; busybox test -x tool && echo tool is there";
    let read = "busybox cat d/link d/two; busybox test -e gone || echo gone is gone";
    let stage = |script: &str| {
        format!("uses: command\n    with: {{ image: {image}, command: [/bin/sh, -c, {script:?}] }}\n")
    };
    format!(
        "name: afar\nstages:\n  make:\n    {}  change:\n    needs: make\n    {}  read:\n    needs: change\n    {}",
        stage(&make),
        stage(&change.replace("rm gone", "busybox rm gone")),
        stage(&format!("{read}; echo version ${{{{ stages.make.outputs.values.version }}}}")),
    )
}

const SAID: [&str; 5] = ["one", "tool is there", "two", "gone is gone", "version 7"];

#[test]
fn files_of_stages_travel_to_a_docker_that_does_not_see_them() {
    let place = Place::new();
    let (engine, host) = afar(&place);
    let before = state(&engine);
    let file = place.write("afar.yaml", workflow("busybox mkdir -p deep;"));
    at(&place, &host, &["run", &file]).expect(0, &SAID);
    let shown = place.yuanli(&["runs", "show", "last"]).expect(0, &[]).out;
    assert!(shown.contains("# made afar"), "{shown}");
    assert_eq!(state(&engine), before, "nothing is left");
}

#[test]
fn files_of_a_container_that_outlived_its_engine_come_back_as_well() {
    let place = Place::new();
    let (engine, host) = afar(&place);
    let before = state(&engine);
    let file = place.write(
        "afar.yaml",
        workflow("echo begun; while ! busybox test -e /tmp/go; do busybox usleep 100000; done;"),
    );
    let mut first = place.command(&["run", &file]).env("DOCKER_HOST", &host).spawn().unwrap();
    let container = || {
        let found = String::from_utf8(engine.docker(&["ps", "-q"]).stdout).unwrap();
        let id = found.lines().next()?.to_owned();
        let log = String::from_utf8(engine.docker(&["logs", &id]).stdout).unwrap();
        log.contains("begun").then_some(id)
    };
    wait_until("the container has begun", || container().is_some());
    let id = container().unwrap();
    signal(&first, "-KILL");
    first.wait().unwrap();
    // It changes what it has while there is no engine.
    let went = engine.docker(&["exec", &id, "/bin/busybox", "touch", "/tmp/go"]);
    assert!(went.status.success(), "{went:?}");
    let ended = || engine.docker(&["inspect", "--format", "{{.State.Status}}", &id]).stdout;
    wait_until("it has ended", || ended().starts_with(b"exited"));
    at(&place, &host, &["runs", "resume", "last"]).expect(0, &SAID);
    assert_eq!(state(&engine), before, "nothing is left");
}
