//! Commands in a container that runs, on the real engine: begun once, whoever asks and whatever breaks off.

use std::sync::Mutex;
use std::time::Duration;

use yuanli_docker::{Docker, Options};
use yuanli_model::Stream;
use yuanli_ports::Containers;
use yuanli_ports::containers::{
    Command, ContainerError, ContainerId, ContainerRequest, Executed, Execution, Exit,
};

use crate::proxy::{Far, Proxy};
use crate::support::{Bench, with_docker};

/// How long a test waits for what comes soon on a quiet machine.
const PATIENCE: Duration = Duration::from_secs(120);

fn command(bench: &Bench, arguments: &[&str]) -> Command {
    Command {
        operation: bench.request(&[]).operation,
        arguments: arguments.iter().map(|&part| part.to_owned()).collect(),
        environment: Vec::new(),
        working_folder: None,
        user: None,
        has_input: false,
        timeout: None,
    }
}

fn script(bench: &Bench, script: &str) -> Command {
    command(bench, &["sh", "-c", script])
}

async fn running(bench: &Bench) -> ContainerId {
    bench.docker.start(&bench.script("sleep 600")).await.expect("a container")
}

async fn removed(bench: &Bench) {
    bench.docker.remove_all(bench.engine, None).await.expect("removed");
}

type Ran = (Result<Executed, ContainerError>, Vec<(Stream, String)>);

/// Runs what was prepared, and collects what it says.
async fn execute(
    docker: &Docker,
    (execution, command): (&Execution, &Command),
    input: &[u8],
    is_again: bool,
) -> Ran {
    let lines = Mutex::new(Vec::new());
    let on_line = |stream, text| lines.lock().expect("no panic").push((stream, text));
    let input = input.to_vec();
    let ended = match is_again {
        false => docker.execute(execution, command, input, &on_line).await,
        true => docker.execute_again(execution, command, input, &on_line).await,
    };
    (ended, lines.into_inner().expect("no panic"))
}

async fn run(docker: &Docker, container: &ContainerId, command: &Command, input: &[u8]) -> Ran {
    let prepared = docker.prepare(container, command).await.expect("prepared");
    execute(docker, (&prepared, command), input, false).await
}

/// The standard output of a script in a container, which has to succeed.
async fn said(bench: &Bench, container: &ContainerId, text: &str) -> Vec<String> {
    let (ended, lines) = run(&bench.docker, container, &script(bench, text), b"").await;
    assert_eq!(ended, Ok(whole(0)), "{lines:?}");
    lines.into_iter().map(|(_, text)| text).collect()
}

const fn whole(code: i64) -> Executed {
    Executed::Ended { code, is_whole: true }
}

/// Waits until a script in the container says this.
async fn until(bench: &Bench, container: &ContainerId, text: &str, wanted: &str) {
    let is_so = async {
        while said(bench, container, text).await.join("\n") != wanted {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, is_so).await.unwrap_or_else(|_| panic!("`{text}` never says `{wanted}`"));
}

#[tokio::test]
async fn a_command_has_its_streams_its_code_and_all_that_was_said_of_it() {
    with_docker(|bench| async move {
        let request = ContainerRequest {
            environment: vec![("OWN".to_owned(), "container".to_owned())],
            ..bench.script("sleep 600")
        };
        let container = bench.docker.start(&request).await.expect("a container");
        let mut told = script(
            &bench,
            r#"echo "$OWN $ADDED $(id -u) $(pwd) $YUANLI_EXECUTION"; echo zwei ü >&2; echo -n end; exit 7"#,
        );
        told.environment = vec![("ADDED".to_owned(), "a b=c".to_owned())];
        told.user = Some("12".to_owned());
        told.working_folder = Some("/tmp".to_owned());
        let (ended, mut lines) = run(&bench.docker, &container, &told, b"").await;
        // The two streams come as they come.
        lines.sort_by_key(|(stream, _)| *stream == Stream::Stderr);
        let first = format!("container a b=c 12 /tmp {}", told.operation);
        let expected =
            [(Stream::Stdout, first), (Stream::Stdout, "end".into()), (Stream::Stderr, "zwei ü".into())];
        assert_eq!((ended, &lines[..]), (Ok(whole(7)), &expected[..]));
        removed(&bench).await;
    })
    .await;
}

#[tokio::test]
async fn a_command_reads_what_it_is_given_and_its_end() {
    with_docker(|bench| async move {
        let container = running(&bench).await;
        let reads = |text: &str| Command { has_input: true, ..script(&bench, text) };
        let (ended, lines) =
            run(&bench.docker, &container, &reads("cat; echo over"), b"create table\n").await;
        let texts: Vec<&str> = lines.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!((ended, &texts[..]), (Ok(whole(0)), &["create table", "over"][..]));
        // Also nothing has an end.
        let empty = Command { timeout: Some(PATIENCE), ..reads("cat; echo over") };
        let (ended, lines) = run(&bench.docker, &container, &empty, b"").await;
        assert_eq!((ended, lines.len()), (Ok(whole(0)), 1), "{lines:?}");
        // More than any buffer on the way has.
        let much = vec![b'x'; 8 << 20];
        let (ended, lines) = run(&bench.docker, &container, &reads("cat | wc -c"), &much).await;
        assert_eq!((ended, lines[0].1.trim()), (Ok(whole(0)), "8388608"));
        // Whoever does not read is none the worse for it.
        let (ended, _) = run(&bench.docker, &container, &reads("exit 3"), &much).await;
        assert_eq!(ended, Ok(whole(3)));
        removed(&bench).await;
    })
    .await;
}

#[tokio::test]
async fn all_of_a_long_output_is_handed_over() {
    with_docker(|bench| async move {
        let container = running(&bench).await;
        let (ended, lines) = run(&bench.docker, &container, &script(&bench, "seq 100000"), b"").await;
        assert_eq!((ended, lines.len()), (Ok(whole(0)), 100_000));
        assert!(lines.iter().enumerate().all(|(at, (_, text))| *text == (at + 1).to_string()));
        removed(&bench).await;
    })
    .await;
}

#[tokio::test]
async fn what_a_command_leaves_behind_does_not_hold_it_up() {
    with_docker(|bench| async move {
        let container = running(&bench).await;
        let left = script(&bench, "sleep 500 & echo begun");
        let ran = tokio::time::timeout(PATIENCE, run(&bench.docker, &container, &left, b"")).await;
        let (ended, lines) = ran.expect("it ends though its output is still open");
        assert_eq!((ended, lines[0].1.as_str()), (Ok(whole(0)), "begun"));
        removed(&bench).await;
    })
    .await;
}

#[tokio::test]
async fn what_takes_too_long_is_killed_with_all_that_it_began() {
    with_docker(|bench| async move {
        let container = running(&bench).await;
        for user in [None, Some("12".to_owned())] {
            let long = Command {
                timeout: Some(Duration::from_secs(2)),
                user,
                ..script(&bench, "sleep 1234 & sleep 1234")
            };
            let (ended, _) = run(&bench.docker, &container, &long, b"").await;
            assert_eq!(ended, Ok(Executed::Late));
            let rest = r#"for line in /proc/[0-9]*/cmdline; do tr '\0' ' ' <$line; echo; done 2>/dev/null"#;
            let is_gone = async {
                while said(&bench, &container, rest).await.iter().any(|line| line == "sleep 1234 ") {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            };
            tokio::time::timeout(PATIENCE, is_gone).await.expect("it is killed");
        }
        removed(&bench).await;
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_run_is_said() {
    with_docker(|bench| async move {
        let container = running(&bench).await;
        for (asked, says) in [
            (command(&bench, &["/nosuch"]), "`/nosuch` cannot be run"),
            (command(&bench, &["/tmp"]), "`/tmp` cannot be run"),
            (Command { user: Some("nobody-at-all".into()), ..script(&bench, ":") }, "nobody-at-all"),
            (Command { working_folder: Some("tmp".into()), ..script(&bench, ":") }, "absolute path"),
        ] {
            let ran = match bench.docker.prepare(&container, &asked).await {
                Ok(prepared) => execute(&bench.docker, (&prepared, &asked), b"", false).await,
                Err(error) => (Err(error), Vec::new()),
            };
            let (Err(ContainerError::Invalid(why)), _) = &ran else { panic!("{asked:?}: {ran:?}") };
            assert!(why.contains(says), "{ran:?}");
        }
        // What says the same of itself has run.
        let says = script(&bench, "echo 'OCI runtime exec failed: not at all'; exit 3");
        let (ended, lines) = run(&bench.docker, &container, &says, b"").await;
        assert_eq!((ended, lines.len()), (Ok(whole(3)), 1));
        bench.docker.stop(&container, Duration::ZERO).await.expect("stopped");
        let late = bench.docker.prepare(&container, &script(&bench, ":")).await;
        assert!(
            matches!(&late, Err(ContainerError::Invalid(why)) if why.contains("does not run")),
            "{late:?}"
        );
        removed(&bench).await;
    })
    .await;
}

#[tokio::test]
async fn a_container_that_ends_takes_its_commands_with_it() {
    with_docker(|bench| async move {
        let container =
            bench.docker.start(&bench.script("while [ ! -e /tmp/go ]; do sleep 0.1; done; exit 5")).await;
        let container = container.expect("a container");
        let long = script(&bench, "touch /tmp/go; sleep 600");
        let (ended, _) = run(&bench.docker, &container, &long, b"").await;
        let exit = Exit { code: 5, is_out_of_memory: false };
        assert_eq!(ended, Ok(Executed::ContainerEnded(exit)));
        removed(&bench).await;
    })
    .await;
}

#[tokio::test]
async fn a_command_is_begun_once_by_however_many_engines() {
    with_docker(|bench| async move {
        let container = running(&bench).await;
        let adds = script(&bench, "echo begun >>/tmp/begun; echo said; sleep 1; exit 4");
        let prepared = bench.docker.prepare(&container, &adds).await.expect("prepared");
        let another = Docker::lazy(Options::from_environment());
        // As of an engine that was killed before it was begun, while it runs, and when it has ended.
        let (first, second) = tokio::join!(
            execute(&bench.docker, (&prepared, &adds), b"", true),
            execute(&another, (&prepared, &adds), b"", true)
        );
        let third = execute(&another, (&prepared, &adds), b"", true).await;
        let ended = [&first.0, &second.0, &third.0];
        assert!(ended.iter().all(|ended| matches!(ended, Ok(Executed::Ended { code: 4, .. }))), "{ended:?}");
        let begun = ended.iter().filter(|ended| ***ended == Ok(whole(4))).count();
        assert_eq!((begun, third.1.len()), (1, 0), "whoever has not begun it has not heard all: {ended:?}");
        assert_eq!(said(&bench, &container, "cat /tmp/begun").await, ["begun"]);
        let fresh = execute(&bench.docker, (&prepared, &adds), b"", false).await.0;
        assert!(matches!(fresh, Err(ContainerError::Invalid(_))), "{fresh:?}");
        // What was given input may have had some of it only.
        let fed = execute(&another, (&prepared, &adds), b"x", true).await.0;
        assert!(matches!(fed, Ok(Executed::Lost(_))), "{fed:?}");
        removed(&bench).await;
        let gone = execute(&another, (&prepared, &adds), b"", true).await.0;
        assert!(matches!(gone, Ok(Executed::Lost(_))), "{gone:?}");
    })
    .await;
}

#[tokio::test]
async fn a_line_that_is_cut_is_no_end_of_a_command() {
    with_docker(|bench| async move {
        let container = running(&bench).await;
        let proxy = Proxy::new();
        let docker = Docker::connect(proxy.options()).await.expect("Docker");
        let waits = "echo begun >>/tmp/begun; while [ ! -e /tmp/go ]; do sleep 0.1; done; exit 6";
        let long = script(&bench, waits);
        let cut = async {
            until(&bench, &container, "cat /tmp/begun 2>/dev/null || :", "begun").await;
            proxy.cut().await;
            said(&bench, &container, "touch /tmp/go").await;
        };
        let ((ended, _), ()) = tokio::join!(run(&docker, &container, &long, b""), cut);
        assert_eq!(ended, Ok(Executed::Ended { code: 6, is_whole: false }));
        assert_eq!(said(&bench, &container, "cat /tmp/begun").await, ["begun"], "it is not begun again");
        removed(&bench).await;
    })
    .await;
}

#[tokio::test]
async fn an_engine_that_is_far_away_runs_commands_as_well() {
    with_docker(|bench| async move {
        let container = running(&bench).await;
        let far = Far::new().await;
        let docker = Docker::connect(far.options()).await.expect("Docker");
        let reads = Command { has_input: true, ..script(&bench, "cat; exit 9") };
        let (ended, lines) = run(&docker, &container, &reads, b"from afar").await;
        assert_eq!((ended, lines), (Ok(whole(9)), vec![(Stream::Stdout, "from afar".to_owned())]));
        removed(&bench).await;
    })
    .await;
}
