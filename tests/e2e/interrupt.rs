//! Signals: before a run they end the command at once, after its start they cancel it, and the reason is kept.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use crate::crash::{signal, start_and_wait};
use crate::support::{Ended, Place, docker, wait_until};

/// Whether a process has set itself up to hear a signal.
fn hears(process: u32, number: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap().trim().to_owned();
    u64::from_str_radix(&mask, 16).unwrap() & (1 << (number - 1)) != 0
}

const SIGINT: u32 = 2;

#[test]
fn before_a_run_a_signal_ends_the_command_at_once() {
    for (name, says) in [("-INT", "keyboard"), ("-TERM", "SIGTERM"), ("-HUP", "SIGHUP")] {
        let place = Place::new();
        let mut child = place.attended(&["run", "-"]).stdin(Stdio::piped()).spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        input.write_all(b"name: w\n").unwrap();
        wait_until("the command listens and reads", || {
            hears(child.id(), SIGINT) && place.data().join("engine.json").exists()
        });
        signal(&child, name);
        let ended = Ended::of(child.wait_with_output().unwrap()).expect(130, &["nothing was run", says]);
        assert_eq!(ended.out, "");
        drop(input);
        assert_eq!(place.json(&["runs", "list"])["items"].as_array().unwrap().len(), 0);
    }
}

#[test]
fn before_a_run_a_pipe_without_a_writer_is_not_waited_for_either() {
    let place = Place::new();
    let pipe = place.path("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let child = place.attended(&["run", pipe.to_str().unwrap()]).spawn().unwrap();
    wait_until("the command listens", || {
        hears(child.id(), SIGINT) && place.data().join("engine.json").exists()
    });
    signal(&child, "-TERM");
    Ended::of(child.wait_with_output().unwrap()).expect(130, &["nothing was run"]);
}

#[test]
fn an_engine_that_is_not_open_yet_is_ended_at_once_too() {
    let place = Place::new();
    std::fs::create_dir_all(place.data()).unwrap();
    let pipe = place.data().join("backup.key");
    assert!(Command::new("mkfifo").args(["-m", "600"]).arg(&pipe).status().unwrap().success());
    let child = place.attended(&["serve", "--no-listen"]).spawn().unwrap();
    wait_until("the command listens and opens", || {
        hears(child.id(), SIGINT) && place.data().join("engine.json").exists()
    });
    signal(&child, "-INT");
    Ended::of(child.wait_with_output().unwrap()).expect(130, &["nothing was served", "keyboard"]);
}

#[test]
fn the_reason_says_which_signal_it_was() {
    for (name, reason) in [
        ("-INT", "interrupted from the keyboard"),
        ("-TERM", "the engine was asked to end (SIGTERM)"),
        ("-HUP", "the terminal of the engine went away (SIGHUP)"),
    ] {
        let place = Place::new();
        let file = crate::crash::sleeper(&place);
        let mut child = place.attended(&["run", &file, "--json"]).spawn().unwrap();
        let lines = std::io::BufReader::new(child.stdout.take().unwrap());
        let mut lines = std::io::BufRead::lines(lines).map(Result::unwrap);
        assert!(lines.any(|line| line.contains("asleep")));
        signal(&child, name);
        let rest: Vec<String> = lines.collect();
        assert!(rest.iter().any(|line| line.contains(reason)), "{rest:?}");
        Ended::of(child.wait_with_output().unwrap()).expect(130, &["stopping the run"]);
        assert_eq!(docker::containers(&place.engine()), Vec::<String>::new());
        assert_eq!(place.json(&["runs", "show", "last"])["status"], "cancelled");
    }
}

/// Under `nohup`, the end of the terminal is to be ignored.
#[test]
fn a_hang_up_that_is_ignored_stays_ignored() {
    let place = Place::new();
    let yuanli = place.command(&["run", "-"]);
    let mut nohup = Command::new("nohup");
    nohup.arg(yuanli.get_program()).args(yuanli.get_args()).env("YUANLI_DATA", place.data());
    nohup.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child = nohup.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    wait_until("the command listens", || {
        hears(child.id(), SIGINT) && place.data().join("engine.json").exists()
    });
    signal(&child, "-HUP");
    input.write_all(b"name: w\nstages:\n  a: { uses: script, with: {} }\n").unwrap();
    drop(input);
    Ended::of(child.wait_with_output().unwrap()).expect(0, &[]);
}

#[test]
fn a_terminal_that_is_closed_cancels_the_run() {
    let place = Place::new();
    let child = start_and_wait(&place);
    signal(&child, "-HUP");
    Ended::of(child.wait_with_output().unwrap())
        .expect(130, &["stopping the run, as its terminal went away"]);
    assert_eq!(docker::containers(&place.engine()), Vec::<String>::new());
}
