//! Outputs that nobody reads any more: a run goes on to its end, and its exit code is its own.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Stdio};

use crate::support::{Ended, Place, docker, examples};

/// A workflow that writes much and ends with an exit code.
fn chatty(place: &Place, code: u8) -> String {
    docker::make_image();
    let script = format!("seq 1 20000; exit {code}");
    place.write(
        "chatty.yaml",
        format!(
            "name: chatty\nstages:\n  first: {{ uses: command, with: {{ image: {0}, command: [/bin/sh, -c, {script:?}] }} }}\n  \
             next: {{ uses: script, needs: first, with: {{}} }}\n",
            docker::IMAGE
        ),
    )
}

/// Reads some lines and closes the pipe, as `head` does.
fn head(stream: impl Read, lines: usize) {
    let read = BufReader::with_capacity(64, stream).lines().take(lines).filter(|line| line.is_ok()).count();
    assert_eq!(read, lines);
}

fn ends_well(place: &Place, child: Child, code: i32, status: &str) {
    let ended = Ended::of(child.wait_with_output().unwrap());
    assert_eq!(ended.code, code, "{ended:?}");
    assert!(!ended.err.contains("error") && !ended.err.contains("panic"), "{}", ended.err);
    assert_eq!(docker::containers(&place.engine()), Vec::<String>::new());
    let run = place.json(&["runs", "show", "last"]);
    assert_eq!((&run["status"], run["stages"].as_array().unwrap().len()), (&status.into(), 2), "{run}");
}

#[test]
fn a_closed_standard_output_ends_no_run() {
    for (code, exit, status) in [(0, 0, "succeeded"), (3, 1, "failed")] {
        let place = Place::new();
        let file = chatty(&place, code);
        let mut child = place.start(&["run", &file, "--json"]);
        head(child.stdout.take().unwrap(), 5);
        ends_well(&place, child, exit, status);
    }
}

#[test]
fn a_closed_standard_error_ends_no_run() {
    for (code, exit, status) in [(0, 0, "succeeded"), (3, 1, "failed")] {
        let place = Place::new();
        let file = chatty(&place, code);
        let mut child = place.start(&["run", &file]);
        head(child.stderr.take().unwrap(), 1);
        ends_well(&place, child, exit, status);
    }
}

#[test]
fn outputs_that_were_never_open_end_no_run() {
    let place = Place::new();
    let hello = examples().join("hello/hello.yaml");
    for arguments in [vec!["run", hello.to_str().unwrap()], vec!["run", hello.to_str().unwrap(), "--json"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = place.command(&arguments);
        command.stdout(writer.try_clone().unwrap()).stderr(Stdio::from(writer));
        assert_eq!(command.status().unwrap().code(), Some(0), "{arguments:?}");
        assert_eq!(place.json(&["runs", "show", "last"])["status"], "succeeded");
    }
    let wrong = place.write("wrong.yaml", "name: 3\n");
    for command in ["validate", "run"] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = place.command(&[command, &wrong]);
        command.stdout(writer.try_clone().unwrap()).stderr(Stdio::from(writer));
        assert_eq!(command.status().unwrap().code(), Some(2));
    }
}

/// A full disk is not silent: the run goes on, and what is missing is told.
#[test]
fn an_output_that_cannot_be_written_is_told_and_ends_no_run() {
    let place = Place::new();
    let hello = examples().join("hello/hello.yaml");
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = place.command(&["run", hello.to_str().unwrap(), "--json"]);
    let ended = Ended::of(command.stdout(full).output().unwrap());
    let ended = ended.expect(0, &["the run goes on without being shown", "No space left"]);
    assert_eq!(ended.err.matches("without being shown").count(), 1);
}

#[test]
fn a_list_whose_reader_has_enough_ends_quietly() {
    let place = Place::new();
    for arguments in [["plugin", "list", "--json"], ["runs", "list", "--json"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = place.command(&arguments);
        let ended = Ended::of(command.stdout(writer).output().unwrap()).expect(0, &[]);
        assert_eq!(ended.err, "");
    }
}
