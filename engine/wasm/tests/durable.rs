//! An engine that dies at any commit of an attempt, and another one that begins the attempt again: it is told what it was
//! told, nothing is done twice that can be told apart, and its log is whole.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at the first surprise")]

mod support;

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use support::{Bench, Case, Ended, attempt};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use yuanli_docker::fake::{Behaviour, Call};
use yuanli_model::http::HttpScope;
use yuanli_model::{Capability, EngineId, FailureClass, Grant, OperationId, Stream};

fn case() -> Case {
    Case { grants: Capability::ALL.map(Grant::Whole).to_vec(), ..Case::default() }
}

/// What an attempt has that is begun again.
fn again(workspace: &std::path::Path) -> Case {
    Case { is_again: true, workspace: Some(workspace.to_owned()), ..case() }
}

fn bench() -> Bench {
    let bench = Bench::new();
    bench.docker.add_image("tool");
    let lines = ["one", "two", "three"].map(|line| (Stream::Stdout, line.to_owned())).to_vec();
    bench.docker.script("tool", &["work"], Behaviour::Ends { lines: lines.clone(), code: 3 });
    bench.docker.script("tool", &["wait"], Behaviour::RunsUntilStopped { lines });
    bench
}

fn recall() -> Value {
    json!({ "do": "recall", "image": "tool", "command": ["work"] })
}

/// A workspace, with something in it to build.
fn folder(bench: &Bench) -> PathBuf {
    let folder = tempfile::tempdir_in(bench.folder.path()).unwrap().keep();
    std::fs::write(folder.join("Dockerfile"), "FROM scratch\n").unwrap();
    folder
}

/// Runs until the engine dies at this commit. `None`: there are not so many.
async fn until_death(bench: &Bench, config: Value, case: Case, at: (u64, bool)) -> Option<Ended> {
    bench.store.die_at(at.0, at.1);
    let ended = tokio::select! {
        ended = bench.run_case(config, case) => Some(ended),
        () = bench.store.death() => None,
    };
    bench.store.revive();
    ended
}

fn starts(bench: &Bench) -> usize {
    bench.docker.calls().iter().filter(|call| matches!(call, Call::Start(_))).count()
}

fn operation(position: u32) -> String {
    OperationId { engine: EngineId::from_u128(7), attempt: attempt(), position }.to_string()
}

/// The log without what is another thing each time.
fn shape(ended: &Ended) -> Vec<String> {
    let shape = |text: &str| text.split('{').next().unwrap_or_default().trim().to_owned();
    let mut shapes: Vec<String> = ended.lines.iter().map(|line| shape(&line.text)).collect();
    // A container's lines come beside the guest's.
    shapes.sort();
    shapes
}

const LOG: [&str; 6] = ["first", "one", "second", "third", "three", "two"];

#[tokio::test]
async fn an_engine_may_die_at_any_commit_and_the_next_one_goes_on() {
    let whole = bench();
    let ended = whole.run_case(recall(), case()).await;
    let commits = whole.store.commits();
    let outputs = ended.outputs().clone();
    assert_eq!(shape(&ended), LOG);
    assert_eq!((&outputs["code"], &outputs["tail"]), (&json!(3), &json!(["one", "two", "three"])));
    assert!(commits >= 6, "{commits}: start, volume and state, two each, and what the writes stand on");

    let mut deaths = 0;
    for number in 1..=commits {
        for is_done in [false, true] {
            let bench = bench();
            let workspace = folder(&bench);
            let first = Case { workspace: Some(workspace.clone()), ..case() };
            let first = until_death(&bench, recall(), first, (number, is_done)).await;
            assert!(first.is_none(), "it died at commit {number}");
            deaths += 1;
            let second = bench.run_case(recall(), again(&workspace)).await;
            let at = format!("commit {number}, done: {is_done}");
            assert_eq!(starts(&bench), 1, "{at}");
            assert_eq!(shape(&second), LOG, "{at}: every line once");
            let outputs = second.outputs();
            assert_eq!((&outputs["code"], &outputs["before"]), (&json!(3), &json!(1)), "{at}");
            assert_eq!(outputs["files"], json!(["seen/first.json", "seen/second.json"]), "{at}");
            assert_eq!(outputs["first"].as_str().unwrap(), outputs["told"][0].to_string(), "{at}");
            assert!(outputs["told"].as_array().unwrap().iter().all(|told| told["is_steady"] == true), "{at}");
            assert_eq!(bench.docker.containers(), [""; 0], "{at}: nothing is left");
            // As often as one likes, with the same in it.
            let third = bench.run_case(recall(), again(&workspace)).await;
            assert_eq!(third.outputs()["told"][0], outputs["told"][0], "{at}");
        }
    }
    assert!(deaths >= 12, "{deaths}");
}

#[tokio::test]
async fn an_engine_that_is_there_before_docker_waits_for_it() {
    let whole = bench();
    whole.run_case(recall(), case()).await;
    // The first death at which there is a container is before the outcome of its start is durable.
    for number in 1..=whole.store.commits() {
        let bench = bench();
        let workspace = folder(&bench);
        let first = Case { workspace: Some(workspace.clone()), ..case() };
        assert!(until_death(&bench, recall(), first, (number, false)).await.is_none());
        if bench.docker.containers().is_empty() {
            continue;
        }
        bench.docker.set_outage(Some("it is not there yet"));
        let back = async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            bench.docker.set_outage(None);
        };
        let (second, ()) = tokio::join!(bench.run_case(recall(), again(&workspace)), back);
        assert_eq!((&second.outputs()["code"], shape(&second)), (&json!(3), LOG.map(str::to_owned).to_vec()));
        return;
    }
    panic!("no container was started before a death");
}

#[tokio::test]
async fn what_was_told_before_an_effect_is_told_again() {
    let bench = bench();
    let workspace = folder(&bench);
    let first = Case { workspace: Some(workspace.clone()), ..case() };
    let first = bench.run_case(recall(), first).await;
    // All that is recorded, once more: the container is gone by now, and nobody asks for it.
    let second = bench.run_case(recall(), again(&workspace)).await;
    let (first, second) = (first.outputs(), second.outputs());
    for told in [0, 1, 2] {
        assert_eq!(first["told"][told], second["told"][told]);
    }
    assert_eq!(starts(&bench), 1);
}

#[tokio::test]
async fn a_container_that_was_made_and_not_started_is_made_anew() {
    let bench = bench();
    let workspace = folder(&bench);
    let first = Case { workspace: Some(workspace.clone()), ..case() };
    let config = json!({ "do": "container", "image": "tool", "command": ["work"], "wait": true });
    // The second commit is the outcome of the start.
    assert!(until_death(&bench, config.clone(), first, (2, false)).await.is_none());
    assert_eq!((starts(&bench), bench.docker.containers()), (1, vec![operation(1)]));
    bench.docker.unstart(&operation(1));
    let second = bench.run_case(config, again(&workspace)).await;
    assert_eq!((second.outputs()["code"].as_i64(), starts(&bench)), (Some(3), 2));
}

#[tokio::test]
async fn a_container_that_ended_while_no_engine_ran_is_told_with_all_it_said() {
    let bench = bench();
    let workspace = folder(&bench);
    let config = json!({ "do": "container", "image": "tool", "command": ["wait"], "wait": true });
    let waiting = bench.run_case(config.clone(), Case { workspace: Some(workspace.clone()), ..case() });
    let is_started = async {
        while bench.store.commits() < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        _ = waiting => panic!("it waits for its container"),
        () = is_started => {}
    }
    bench.docker.end(&operation(1), &["four"], 9);
    let second = bench.run_case(config, again(&workspace)).await;
    assert_eq!(second.outputs()["code"], 9);
    assert_eq!(second.texts(), ["one", "two", "three", "four"]);
    assert_eq!((starts(&bench), bench.docker.containers()), (1, Vec::<String>::new()));
}

#[tokio::test]
async fn what_a_build_has_said_is_in_the_log_of_who_goes_on() {
    let whole = bench();
    let config = || json!({ "do": "build", "image": "made:1" });
    let said =
        yuanli_docker::fake::BuildBehaviour::Succeeds { lines: vec!["Step 1".into(), "Step 2".into()] };
    whole.docker.script_builds(said.clone());
    let ended = whole.run_case(config(), Case { workspace: Some(folder(&whole)), ..case() }).await;
    // It was saved and loaded as well, whatever dies in between.
    assert_eq!((&ended.outputs()["same"], &ended.outputs()["missing"]), (&json!(true), &json!(true)));
    let commits = whole.store.commits();
    for number in 1..=commits {
        for is_done in [false, true] {
            let bench = bench();
            bench.docker.script_builds(said.clone());
            let workspace = folder(&bench);
            let first = Case { workspace: Some(workspace.clone()), ..case() };
            assert!(until_death(&bench, config(), first, (number, is_done)).await.is_none());
            let second = bench.run_case(config(), again(&workspace)).await;
            assert_eq!(second.outputs(), ended.outputs(), "commit {number}, done: {is_done}");
            let builds = second.texts().iter().filter(|text| text.starts_with("Step")).count();
            assert_eq!(builds, 2, "commit {number}, done: {is_done}: {:?}", second.texts());
        }
    }
}

/// A server that counts what is posted to it, and answers with the count.
async fn server() -> (String, std::sync::Arc<std::sync::atomic::AtomicUsize>) {
    use std::sync::atomic::{AtomicUsize, Ordering};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let count = std::sync::Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    #[allow(clippy::disallowed_methods, reason = "it ends with the test")]
    tokio::task::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"once") {
                assert!(stream.read_buf(&mut request).await.unwrap() > 0);
            }
            let body = (counted.fetch_add(1, Ordering::SeqCst) + 1).to_string();
            let answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    (url, count)
}

#[tokio::test]
async fn a_request_that_may_have_arrived_is_not_sent_again() {
    use std::sync::atomic::Ordering;
    // Dies before it is known that it is to be sent; before it is known what came of it; after that.
    for (number, is_done, key, expected) in [
        (1, false, None, Ok(1)),
        (1, true, None, Err("interrupted")),
        (2, false, None, Err("interrupted")),
        (2, true, None, Ok(1)),
        (3, false, None, Ok(1)),
        (2, false, Some("k-1"), Ok(2)),
    ] {
        let bench = bench();
        let (url, count) = server().await;
        let config = json!({ "do": "post", "url": url, "key": key });
        let host = url.trim_start_matches("http://").trim_end_matches('/');
        let granted = || -> Vec<Grant> {
            let http = Grant::Http(HttpScope {
                hosts: vec![host.parse().unwrap()],
                methods: vec!["POST"],
                paths: Vec::new(),
                is_private: false,
            });
            Capability::ALL.map(Grant::Whole).into_iter().chain([http]).collect()
        };
        let first = Case { grants: granted(), ..case() };
        assert!(until_death(&bench, config.clone(), first, (number, is_done)).await.is_none());
        let workspace = folder(&bench);
        let second = Case { grants: granted(), ..again(&workspace) };
        let second = bench.run_case(config, second).await;
        let at = format!("commit {number}, done: {is_done}, key: {key:?}");
        match expected {
            Ok(times) => {
                assert_eq!(second.outputs()["body"], times.to_string(), "{at}");
                assert_eq!(count.load(Ordering::SeqCst), times, "{at}");
            }
            Err(kind) => {
                let failure = second.failure();
                assert_eq!(
                    (failure.kind.as_str(), &failure.class),
                    (kind, &FailureClass::Interrupted),
                    "{at}"
                );
                assert!(failure.message.contains("yuanli:http/http@0.1.1#send("), "{}", failure.message);
                assert!(count.load(Ordering::SeqCst) <= 1, "{at}");
            }
        }
    }
}

#[tokio::test]
async fn a_stage_that_changes_nothing_commits_nothing() {
    let bench = bench();
    for config in [
        json!({ "do": "give", "outputs": {} }),
        json!({ "do": "talk" }),
        json!({ "do": "clock", "sleep_ms": 10 }),
        json!({ "do": "random", "length": 10_000 }),
        json!({ "do": "secret", "name": "token", "given": { "secret": "token" } }),
    ] {
        bench.run_case(config.clone(), case()).await.outputs();
        assert_eq!(bench.store.commits(), 0, "{config}");
    }
}

#[tokio::test]
async fn no_journal_has_a_secret_in_it() {
    let bench = bench();
    let workspace = folder(&bench);
    std::fs::write(workspace.join("token.txt"), "the token is s3cret-t0ken").unwrap();
    let first = || Case { workspace: Some(workspace.clone()), ..case() };
    let config = json!({ "do": "betray", "path": "token.txt", "key": { "secret": "token" } });
    // The last commit is not done, so that all the others are still there.
    assert!(until_death(&bench, config.clone(), first(), (2, true)).await.is_none());
    let kept = bench.store.everything().await;
    assert!(kept.windows(8).any(|bytes| bytes == b"betrayed"), "the file was read, and the state was set");
    assert!(!kept.windows(12).any(|bytes| bytes == b"s3cret-t0ken"), "and nothing of the secret is kept");
    let second = bench.run_case(config, again(&workspace)).await;
    assert_eq!(second.outputs()["length"], 25);
    // What was withheld is asked for again; one that has no secret in it has to be the same.
    assert_eq!(second.outputs()["revealed"], 12);
}

#[tokio::test]
async fn an_effect_whose_answer_holds_a_secret_is_found_again() {
    let bench = bench();
    let workspace = folder(&bench);
    let config = json!({ "do": "container", "image": "tool", "command": ["work"], "wait": true });
    // The name of the container has the secret in it, so that the answer of the start is not kept.
    let secrets = || vec!["stage"];
    let first = Case { workspace: Some(workspace.clone()), secrets: secrets(), ..case() };
    // The second commit is the outcome of the start.
    assert!(until_death(&bench, config.clone(), first, (2, true)).await.is_none());
    assert_eq!(bench.docker.containers(), [operation(1)]);
    let kept = bench.store.everything().await;
    assert!(!kept.windows(10).any(|bytes| bytes == b"-probe-0-1"), "the name of the container is not kept");
    let second = bench.run_case(config, Case { secrets: secrets(), ..again(&workspace) }).await;
    assert_eq!((second.outputs()["code"].as_i64(), starts(&bench)), (Some(3), 1));
    assert_eq!(second.texts(), ["one", "two", "three"]);
}

#[tokio::test]
async fn what_is_too_long_to_be_kept_is_asked_for_again_and_has_to_be_the_same() {
    for is_changed in [false, true] {
        let bench = bench();
        let workspace = folder(&bench);
        let long = "x".repeat(3 * 1024 * 1024);
        std::fs::write(workspace.join("long"), &long).unwrap();
        let first = Case { workspace: Some(workspace.clone()), ..case() };
        let config = json!({ "do": "betray", "path": "long", "key": { "secret": "token" } });
        assert!(until_death(&bench, config.clone(), first, (2, true)).await.is_none());
        assert!(bench.store.everything().await.len() < 1024 * 1024);
        if is_changed {
            std::fs::write(workspace.join("long"), format!("{long}y")).unwrap();
        }
        let second = bench.run_case(config, again(&workspace)).await;
        if is_changed {
            let failure = second.failure();
            assert_eq!((failure.kind.as_str(), &failure.class), ("interrupted", &FailureClass::Interrupted));
            assert!(failure.message.contains("#read(\"long\")"), "{}", failure.message);
        } else {
            assert_eq!(second.outputs()["length"], long.len());
        }
    }
}

#[tokio::test]
async fn a_cancel_that_comes_with_the_next_engine_reaches_what_is_there() {
    let bench = bench();
    let workspace = folder(&bench);
    let first = Case { workspace: Some(workspace.clone()), ..case() };
    let config = json!({ "do": "container", "image": "tool", "command": ["wait"], "wait": true });
    assert!(until_death(&bench, config.clone(), first, (2, true)).await.is_none());
    assert_eq!(bench.docker.containers(), [operation(1)]);
    let cancel = yuanli_ports::Cancellation::new();
    cancel.cancel();
    let second = bench.run_case(config, Case { cancel, ..again(&workspace) }).await;
    assert_eq!(second.failure().kind, "cancelled");
    assert_eq!(bench.docker.containers(), Vec::<String>::new());
    let stops = bench.docker.calls().iter().filter(|call| matches!(call, Call::Stop(..))).count();
    assert_eq!(stops, 1, "it is asked to end before it is removed");
}

#[tokio::test]
async fn an_attempt_that_cannot_be_begun_again_leaves_no_container() {
    let bench = bench();
    let workspace = folder(&bench);
    let first = Case { workspace: Some(workspace.clone()), ..case() };
    let config = json!({ "do": "container", "image": "tool", "command": ["wait"], "wait": true });
    assert!(until_death(&bench, config.clone(), first, (2, true)).await.is_none());
    // A secret of the run cannot be known any more, so that nothing can be masked.
    let second = bench.run_case(config, Case { secrets: vec!["broken"], ..again(&workspace) }).await;
    assert_eq!(second.failure().kind, "secrets");
    assert_eq!(bench.docker.containers(), Vec::<String>::new());
}

#[tokio::test]
async fn an_attempt_whose_end_is_not_durable_finds_its_container_and_its_log_again() {
    let bench = bench();
    let workspace = folder(&bench);
    let first = Case { workspace: Some(workspace.clone()), dies_before_its_end: true, ..case() };
    let config = json!({ "do": "container", "image": "tool", "command": ["work"], "wait": true });
    let first = bench.run_case(config.clone(), first).await;
    assert_eq!(bench.docker.containers(), [operation(1)], "nobody knows yet how it has ended");
    let second = bench.run_case(config, again(&workspace)).await;
    assert_eq!((second.outputs(), second.texts()), (first.outputs(), first.texts()));
    assert_eq!((starts(&bench), bench.docker.containers()), (1, Vec::<String>::new()));
}
