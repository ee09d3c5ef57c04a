//! Commands in containers that run, as a guest has them.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at the first surprise")]

mod support;

use serde_json::{Value, json};
use support::{Bench, Case};
use yuanli_docker::fake::{Behaviour, Call};
use yuanli_model::{Capability, Grant, Stream};
use yuanli_ports::containers::ContainerError;

fn case() -> Case {
    Case { grants: Capability::ALL.map(Grant::Whole).to_vec(), ..Case::default() }
}

/// An engine with a database that runs until it is stopped.
fn with_database() -> Bench {
    let bench = Bench::new();
    for image in ["tool", "db"] {
        bench.docker.add_image(image);
    }
    bench.docker.script("db", &[], Behaviour::RunsUntilStopped { lines: Vec::new() });
    let lines = [(Stream::Stdout, "one"), (Stream::Stderr, "oh"), (Stream::Stdout, "two")];
    let lines = lines.map(|(stream, text)| (stream, text.to_owned())).to_vec();
    bench.docker.script_command("db", &["work"], Behaviour::Ends { lines, code: 3 });
    bench.docker.script_command("db", &["long"], Behaviour::RunsUntilStopped { lines: Vec::new() });
    bench
}

fn executed(bench: &Bench) -> Vec<(Vec<String>, Vec<u8>)> {
    let executed = |call| match call {
        Call::Execute(command, input) => Some((command, input)),
        _ => None,
    };
    bench.docker.calls().into_iter().filter_map(executed).collect()
}

fn execute(command: &[&str], more: Value) -> Value {
    let mut config = json!({ "do": "execute", "image": "db", "command": command });
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    config
}

#[tokio::test]
async fn a_command_is_told_with_its_streams_and_is_in_the_log() {
    let bench = with_database();
    let ended = bench.run(execute(&["work"], json!({ "input": "hello" }))).await;
    let outputs = ended.outputs();
    assert_eq!(
        (&outputs["code"], &outputs["is_whole"], &outputs["is_cut"]),
        (&json!(3), &json!(true), &json!(false))
    );
    assert_eq!((&outputs["stdout"], &outputs["stderr"]), (&json!("one\ntwo"), &json!("oh")));
    let of = |text: &str| ended.lines.iter().find(|line| line.text == text).map(|line| line.stream);
    assert_eq!((of("two"), of("oh")), (Some(Stream::Stdout), Some(Stream::Stderr)));
    assert_eq!(executed(&bench), [(vec!["work".to_owned()], b"hello".to_vec())]);
    let cut = bench.run(execute(&["work"], json!({ "output_bytes": 6 }))).await;
    assert_eq!((&cut.outputs()["stdout"], &cut.outputs()["is_cut"]), (&json!("one"), &json!(true)));
    assert!(cut.texts().contains(&"two"), "the log has all of it");
}

#[tokio::test]
async fn a_command_has_its_time() {
    let bench = with_database();
    let ended = bench.run(execute(&["long"], json!({ "timeout_ms": 50 }))).await;
    assert_eq!(ended.outputs()["late"], true);
    assert_eq!(bench.docker.containers(), [""; 0]);
}

#[tokio::test]
async fn what_is_wrong_with_a_command_is_said_before_it_is_begun() {
    let bench = with_database();
    for (config, says) in [
        (execute(&[], json!({})), "no command to run"),
        (execute(&[""], json!({})), "no command to run"),
        (execute(&["work"], json!({ "timeout_ms": 0 })), "at least a millisecond"),
        (execute(&["work"], json!({ "options": [["tty", "true"]] })), "no option `tty` of a command"),
        (execute(&["work"], json!({ "options": [["input-file", "../x"]] })), "leads out of the workspace"),
        (
            execute(&["work"], json!({ "options": [["input-file", "missing"]] })),
            "`missing` of the workspace cannot be read",
        ),
        (execute(&["work"], json!({ "input": "x", "options": [["input-file", "x"]] })), "not both"),
        (execute(&["work"], json!({ "options": [["secret-variable", "A=token"]] })), "token"),
    ] {
        let ended = bench.run(config.clone()).await;
        assert!(ended.failure().message.contains(says), "{config}: {}", ended.failure().message);
        assert_eq!((executed(&bench).len(), bench.docker.containers()), (0, Vec::new()), "{config}");
    }
    let twice = bench.run(execute(&["work"], json!({ "twice": true }))).await;
    assert!(twice.failure().message.contains("begun before"), "{}", twice.failure().message);
}

fn beside(setup: Value) -> Value {
    let service = json!({ "image": "db", "ready": { "tcp": 5432 }, "setup": setup });
    json!({ "do": "beside", "image": "tool", "command": ["x"], "services": { "db": service } })
}

#[tokio::test]
async fn a_service_is_set_up_before_what_needs_it_begins() {
    let bench = with_database();
    let folder = tempfile::tempdir_in(bench.folder.path()).unwrap().keep();
    std::fs::write(folder.join("schema.sql"), "create table").unwrap();
    let lines = vec![(Stream::Stdout, "CREATE TABLE".to_owned())];
    bench.docker.script_command("db", &["psql"], Behaviour::Ends { lines, code: 0 });
    let setup =
        json!([{ "exec": ["psql"], "input": "schema.sql", "user": "postgres" }, ["psql", "-c", "select"]]);
    let ended = bench.run_case(beside(setup), Case { workspace: Some(folder), ..case() }).await;
    assert_eq!(ended.outputs()["code"], 0);
    assert!(ended.texts().contains(&"db | CREATE TABLE"), "{:?}", ended.texts());
    let begun: Vec<String> = bench
        .docker
        .calls()
        .into_iter()
        .filter_map(|call| match call {
            Call::Start(request) => Some(request.image),
            Call::Execute(command, input) => Some(format!("{command:?} {}", String::from_utf8_lossy(&input))),
            _ => None,
        })
        .collect();
    let expected = ["db", r#"["psql"] create table"#, r#"["psql", "-c", "select"] "#, "tool"];
    assert_eq!(begun, expected);
}

#[tokio::test]
async fn a_service_that_is_not_set_up_fails_the_stage_with_what_was_said() {
    let bench = with_database();
    let check = async |setup: Value, kind: &str, message: &str| {
        let ended = bench.run(beside(setup)).await;
        let failure = ended.failure();
        assert_eq!((failure.kind.as_str(), failure.message.as_str()), (kind, message));
        assert_eq!(bench.docker.containers(), [""; 0], "nothing is left");
    };
    let of = |why: &str| format!("service `db` could not be set up: {why}");
    check(json!([["work"]]), "service-not-set-up", &of("`work` ended with exit code 3: oh")).await;
    let long = json!([{ "exec": ["long"], "timeout": "50ms" }]);
    check(long, "service-not-set-up", &of("`long` took longer than it may")).await;
    bench.docker.script_command(
        "db",
        &["none"],
        Behaviour::FailsToStart(ContainerError::Invalid("the container has no program `none`".to_owned())),
    );
    check(json!([["none"]]), "invalid-container", "service `db`: the container has no program `none`").await;
    let missing = json!([{ "exec": ["work"], "input": "schema.sql" }]);
    let ended = bench.run(beside(missing)).await;
    assert!(
        ended.failure().message.contains("`schema.sql` of the workspace cannot be read"),
        "{:?}",
        ended.failure()
    );
    let starts = bench
        .docker
        .calls()
        .iter()
        .filter(|call| matches!(call, Call::Start(request) if request.image == "tool"))
        .count();
    assert_eq!(starts, 0, "nothing begins that needs it");
}

/// Runs until the engine dies at this commit.
async fn until_death(bench: &Bench, config: Value, case: Case, at: (u64, bool)) {
    bench.store.die_at(at.0, at.1);
    tokio::select! {
        ended = bench.run_case(config, case) => panic!("it did not die: {:?}", ended.outcome),
        () = bench.store.death() => {}
    }
    bench.store.revive();
}

#[tokio::test]
async fn an_engine_may_die_at_any_commit_and_the_command_is_begun_once() {
    let whole = with_database();
    whole.run_case(execute(&["work"], json!({})), case()).await;
    let (commits, mut is_heard) = (whole.store.commits(), 0);
    assert!(commits >= 8, "{commits}: start, prepare, run and stop, two each");
    for number in 1..=commits {
        for is_done in [false, true] {
            let bench = with_database();
            let folder = tempfile::tempdir_in(bench.folder.path()).unwrap().keep();
            let case = |is_again| Case { is_again, workspace: Some(folder.clone()), ..case() };
            until_death(&bench, execute(&["work"], json!({})), case(false), (number, is_done)).await;
            let ended = bench.run_case(execute(&["work"], json!({})), case(true)).await;
            let at = format!("commit {number}, done: {is_done}");
            let outputs = ended.outputs();
            assert_eq!((executed(&bench).len(), &outputs["code"]), (1, &json!(3)), "{at}");
            assert_eq!(bench.docker.containers(), [""; 0], "{at}: nothing is left");
            // Docker keeps no output: what was said and not written down is gone, and that is told.
            let said = if outputs["is_whole"] == true { "one\ntwo" } else { "" };
            assert_eq!(outputs["stdout"], said, "{at}");
            assert_eq!(
                ended.texts().iter().filter(|text| **text == "two").count(),
                usize::from(!said.is_empty()),
                "{at}"
            );
            is_heard += u32::from(!said.is_empty());
        }
    }
    assert_eq!(
        is_heard,
        u32::try_from(2 * commits).unwrap() - 1,
        "only between the end and its record it is gone"
    );
}

#[tokio::test]
async fn a_command_whose_input_was_cut_off_is_lost_and_not_begun_again() {
    let config = || execute(&["work"], json!({ "input": "half" }));
    let whole = with_database();
    whole.run_case(config(), case()).await;
    let mut lost = 0;
    for number in 1..=whole.store.commits() {
        let bench = with_database();
        let folder = tempfile::tempdir_in(bench.folder.path()).unwrap().keep();
        let case = |is_again| Case { is_again, workspace: Some(folder.clone()), ..case() };
        until_death(&bench, config(), case(false), (number, false)).await;
        let ended = bench.run_case(config(), case(true)).await;
        assert_eq!(executed(&bench).len(), 1, "commit {number}");
        lost += u32::from(ended.outputs()["lost"].is_string());
    }
    assert_eq!(lost, 1, "where it was begun and its end is not known");
}
