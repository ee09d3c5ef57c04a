//! Runs with containers: what comes out, and what is left.

use crate::support::{Place, docker};

fn in_busybox(script: &str) -> String {
    docker::make_image();
    format!("{{ image: {}, command: [/bin/sh, -c, {script:?}] }}", docker::IMAGE)
}

#[test]
fn stages_run_in_parallel_and_hand_their_files_on() {
    let place = Place::new();
    let text = format!(
        "name: w\nstages:\n  a: {{ uses: command, with: {} }}\n  b: {{ uses: command, needs: a, with: {} }}\n  \
         c: {{ uses: command, needs: a, with: {} }}\n  d: {{ uses: command, needs: [b, c], with: {} }}\n",
        in_busybox("echo one > file; echo kept > kept"),
        in_busybox("cat file; echo two >> file"),
        in_busybox("cat file; echo three > other"),
        in_busybox("cat file other kept"),
    );
    let file = place.write("w.yaml", text);
    let ended = place.yuanli(&["run", &file]).expect(0, &[]);
    let logs = place.yuanli(&["runs", "logs", ended.out.trim(), "--stage", "d"]);
    assert_eq!(logs.out, "[d] one\n[d] two\n[d] three\n[d] kept\n");
    let logs = place.yuanli(&["runs", "logs", ended.out.trim(), "--stage", "c"]);
    assert_eq!(logs.out, "[c] one\n", "what `b` appended is not seen beside it");
    assert_eq!(docker::containers(&place.engine()), Vec::<String>::new());
}

#[test]
fn stages_that_change_one_path_differently_cannot_be_joined() {
    let place = Place::new();
    let text = format!(
        "name: w\nstages:\n  b: {{ uses: command, with: {} }}\n  c: {{ uses: command, with: {} }}\n  \
         d: {{ uses: command, needs: [b, c], with: {} }}\n",
        in_busybox("echo b > file"),
        in_busybox("echo c > file"),
        in_busybox("cat file"),
    );
    let file = place.write("w.yaml", text);
    place.yuanli(&["run", &file]).expect(1, &["stages `b` and `c` both changed `file`"]);
}

#[test]
fn a_failed_command_is_told_with_its_exit_code_and_last_words() {
    let place = Place::new();
    let text = format!(
        "name: w\nstages:\n  a: {{ uses: command, with: {} }}\n",
        in_busybox("echo bad luck >&2; exit 3")
    );
    let file = place.write("w.yaml", text);
    let ended = place.yuanli(&["run", &file]).expect(1, &["exit code 3", "bad luck"]);
    let run = place.json(&["runs", "show", ended.out.trim()]);
    let failure = &run["stages"][0]["failure"];
    assert_eq!((&failure["kind"], &failure["details"]["exit-code"]), (&"exit-code".into(), &"3".into()));
}

#[test]
fn a_stage_over_its_time_is_ended_with_its_container() {
    let place = Place::new();
    let text = format!(
        "name: w\nstages:\n  a: {{ uses: command, timeout: 2s, with: {} }}\n",
        in_busybox("sleep 600")
    );
    let file = place.write("w.yaml", text);
    place.yuanli(&["run", &file]).expect(1, &["timeout", "longer than 2s"]);
    assert_eq!(docker::containers(&place.engine()), Vec::<String>::new());
}

#[test]
fn a_long_log_is_kept_whole() {
    let place = Place::new();
    let text = format!("name: w\nstages:\n  a: {{ uses: command, with: {} }}\n", in_busybox("seq 1 50000"));
    let file = place.write("w.yaml", text);
    let ended = place.yuanli(&["run", &file]).expect(0, &["[a] 50000"]);
    let logs = place.yuanli(&["runs", "logs", ended.out.trim()]);
    let expected: String = (1..=50_000).map(|number| format!("[a] {number}\n")).collect();
    assert!(logs.out == expected, "{} of 50000 lines", logs.out.lines().count());
    assert_eq!(ended.err.lines().filter(|line| line.starts_with("[a] ")).count(), 50_002);
}

#[test]
fn without_docker_the_stage_says_how_to_start_it() {
    let place = Place::new();
    let file = place.write("w.yaml", "name: w\nstages:\n  a: { uses: command, with: { image: x } }\n");
    let output =
        place.command(&["run", &file]).env("DOCKER_HOST", "unix:///nowhere/docker.sock").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(err.contains("unix:///nowhere/docker.sock") && err.contains("systemctl start docker"), "{err}");
}

#[test]
fn a_missing_image_is_told() {
    let place = Place::new();
    // A registry that nobody is at: no test asks one of the world.
    for (image, pull, says) in [
        ("none:such", "never", ["none:such", "not-found"]),
        ("127.0.0.1:1/none:such", "missing", ["is not on the engine", "unreachable"]),
    ] {
        let text = format!(
            "name: w\nstages:\n  a: {{ uses: command, with: {{ image: \"{image}\", pull: {pull} }} }}\n"
        );
        place.yuanli(&["run", &place.write("w.yaml", text)]).expect(1, &says);
    }
}

#[test]
fn a_git_repository_is_checked_out_at_a_revision() {
    let place = Place::new();
    let git = |arguments: &[&str]| {
        let mut command = std::process::Command::new("git");
        command.args(["-c", "user.name=t", "-c", "user.email=t@t", "-c", "init.defaultBranch=main"]);
        let output = command.args(arguments).current_dir(place.path("repository")).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    place.write("repository/app/file", "first");
    git(&["init", "-q"]);
    git(&["add", "."]);
    git(&["commit", "-qm", "first"]);
    git(&["tag", "v1"]);
    let first = git(&["rev-parse", "HEAD"]);
    place.write("repository/app/file", "second");
    git(&["commit", "-qam", "second"]);
    let url = format!("file://{}", place.path("repository").display());
    let text = format!(
        "name: w\nstages:\n  a: {{ uses: source, with: {{ git: {url:?}, ref: v1, subfolder: app }} }}\n  \
         b: {{ uses: command, needs: a, with: {} }}\n",
        in_busybox("cat file; echo; ls -a"),
    );
    let file = place.write("w.yaml", text);
    let ended = place.yuanli(&["run", &file]).expect(0, &[]);
    let run = place.json(&["runs", "show", ended.out.trim()]);
    assert_eq!(run["stages"][0]["outputs"]["commit"], first);
    let logs = place.yuanli(&["runs", "logs", ended.out.trim(), "--stage", "b"]);
    assert_eq!(logs.out, "[b] first\n[b] .\n[b] ..\n[b] file\n");
}
