//! `yuanli runs shell`: the real binary, real Docker, a real terminal.

use std::io::Write as _;
use std::process::{Child, Command, Stdio};

use crate::crash::signal;
use crate::support::{Ended, Place, docker, wait_until};

/// A workflow whose second stage finds what the first left, has a variable and a secret, writes a file and fails.
fn failing() -> String {
    let image = docker::IMAGE;
    format!(
        "name: failing\ninputs: {{ key: {{ type: secret }} }}\nstages:\n  first:\n    uses: command\n    \
         with: {{ image: {image}, command: [/bin/sh, -c, 'echo of the first > found'] }}\n  bad:\n    needs: first\n    \
         uses: command\n    env: {{ WORD: plain, KEY: \"${{{{ inputs.key }}}}\" }}\n    \
         with: {{ image: {image}, command: [/bin/sh, -c, 'echo x > own; exit 3'] }}\n"
    )
}

/// A place with a run that has failed.
fn failed() -> Place {
    docker::make_image();
    let place = Place::new();
    let file = place.write("failing.yaml", failing());
    let run = ["run", &file, "-i", "key=hidden", "--secret", "hidden=env:E2E_SHELL"];
    let ended = place.command(&run).env("E2E_SHELL", "planted-s3cret").output().unwrap();
    Ended::of(ended).expect(1, &[]);
    place
}

fn with_input(mut command: Command, input: &str) -> Ended {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    Ended::of(child.wait_with_output().unwrap())
}

fn is_clean(place: &Place) {
    assert_eq!(docker::left(&place.engine()), Vec::<String>::new());
    assert_eq!(place.json(&["admin", "check"])["findings"], serde_json::json!([]));
    // What stages have left is there, and no folder of an attempt.
    let runs = std::fs::read_dir(place.data().join("work")).unwrap();
    for run in runs.map(|run| run.unwrap().path()) {
        let mut left: Vec<_> =
            std::fs::read_dir(run).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["blobs", "manifests"]);
    }
}

#[test]
fn one_works_where_a_stage_has_failed_and_leaves_nothing() {
    let place = failed();
    let script = "busybox cat found; echo \"[$WORD] [$KEY]\"; busybox ls; busybox ls >&2; exit 4\n";
    let ended = with_input(place.command(&["runs", "shell", "last/bad"]), script).expect(1, &["found"]);
    assert_eq!(
        ended.out, "of the first\n[plain] []\nfound\n",
        "no secret, and nothing of the attempt itself"
    );
    is_clean(&place);
    let mut command = place.command(&["runs", "shell", "last/bad", "--secret", "hidden=env:E2E_SHELL"]);
    command.env("E2E_SHELL", "planted-s3cret");
    let ended = with_input(command, "echo \"[$KEY]\"\n").expect(0, &[]);
    assert_eq!(ended.out, "[planted-s3cret]\n");
    let ended =
        with_input(place.command(&["runs", "shell", "last/bad", "--", "/bin/busybox", "cat"]), "as it is");
    assert_eq!(ended.expect(0, &[]).out, "as it is");
    is_clean(&place);
    for (stage, says) in [("last", "write RUN/STAGE"), ("last/first", "there are attempt 1 of bad[0]")] {
        place.yuanli(&["runs", "shell", stage]).expect(2, &[says]);
    }
    let none = ["runs", "shell", "last/bad", "--", "/no/such/program"];
    place.yuanli(&none).expect(2, &["/no/such/program"]);
    is_clean(&place);
}

/// `yuanli` on a terminal of 30 rows and 100 columns.
fn on_terminal(place: &Place, arguments: &str) -> Command {
    let yuanli = env!("CARGO_BIN_EXE_yuanli");
    let mut script = Command::new("script");
    script.args(["-qec", &format!("stty rows 30 cols 100; exec {yuanli} {arguments}"), "/dev/null"]);
    script.env("YUANLI_DATA", place.data()).env("TERM", "xterm");
    script
}

#[test]
fn a_terminal_is_one_inside_too() {
    let place = failed();
    let keys = "busybox tty; busybox stty size; echo \"[$TERM]\"; exit\n";
    let ended = with_input(on_terminal(&place, "runs shell last/bad"), keys);
    assert_eq!(ended.code, 0, "{ended:?}");
    for text in ["/dev/pts/", "30 100", "[xterm]"] {
        assert!(ended.out.contains(text), "`{text}` is not in {ended:?}");
    }
    is_clean(&place);
}

/// A shell that is open, in a container of its own.
fn opened(place: &Place) -> Child {
    let mut command = place.command(&["runs", "shell", "last/bad"]);
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_until("the shell is there", || {
        let filter = format!("label=yuanli.engine={}", place.engine());
        !docker::run(&["ps", "-q", "--filter", &filter]).trim().is_empty()
    });
    child
}

#[test]
fn whoever_ends_it_takes_the_container_along_and_the_next_start_does_where_it_was_killed() {
    let place = failed();
    for name in ["-INT", "-TERM", "-HUP"] {
        let child = opened(&place);
        signal(&child, name);
        let ended = Ended::of(child.wait_with_output().unwrap());
        assert_eq!(ended.code, 130, "{name}: {ended:?}");
        is_clean(&place);
    }
    let mut child = opened(&place);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(docker::left(&place.engine()).len(), 1, "it is left");
    let file = place.write("w.yaml", "name: w\nstages:\n  a: { uses: script, with: {} }\n");
    place.yuanli(&["run", &file]).expect(0, &[]);
    assert_eq!(docker::left(&place.engine()), Vec::<String>::new(), "and gone with the next start");
}
