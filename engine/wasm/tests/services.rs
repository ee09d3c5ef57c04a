//! Services, files that containers hand over, and images that are not there, as a guest has them.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at the first surprise")]

mod support;

use serde_json::{Value, json};
use support::Bench;
use yuanli_docker::fake::{Behaviour, Call};
use yuanli_model::Stream;
use yuanli_ports::containers::{ContainerRequest, MountSource, Probed};
use yuanli_ports::registries::Push;
use yuanli_ports::{Cancellation, Images, Registries};

fn started(bench: &Bench) -> Vec<ContainerRequest> {
    let request = |call| match call {
        Call::Start(request) => Some(request),
        _ => None,
    };
    bench.docker.calls().into_iter().filter_map(request).collect()
}

/// An engine with a database that runs until it is stopped.
fn with_database() -> Bench {
    let bench = Bench::new();
    bench.docker.add_image("tool");
    bench.docker.add_image("db");
    let lines = vec![(Stream::Stdout, "listening".to_owned())];
    bench.docker.script("db", &[], Behaviour::RunsUntilStopped { lines });
    bench
}

fn beside(service: Value) -> Value {
    json!({ "do": "beside", "image": "tool", "command": ["x"], "services": { "db": service } })
}

#[tokio::test]
async fn a_service_is_in_the_network_of_its_attempt_and_its_log_has_its_name() {
    let bench = with_database();
    let ready = json!({ "tcp": 5432 });
    let ended = bench.run(beside(json!({ "image": "db", "ready": ready }))).await;
    assert_eq!(ended.outputs()["code"], 0);
    assert!(ended.texts().contains(&"db | listening"), "{:?}", ended.texts());
    let [db, tests] = &started(&bench)[..] else { panic!("two containers") };
    assert_eq!(db.member.clone().unwrap().name.as_deref(), Some("db"));
    assert_eq!(tests.member.clone().unwrap().name, None);
    assert_eq!(bench.docker.containers(), Vec::<String>::new(), "nothing is left");
    // The network goes after what is in it.
    assert!(matches!(bench.docker.calls().last(), Some(Call::RemoveAll(_, Some(_)))));
}

#[tokio::test]
async fn a_service_that_never_gets_ready_is_told_with_its_last_words() {
    let bench = with_database();
    bench.docker.script_probes("db", Probed::NotYet("nothing listens at port 5432".to_owned()));
    let ready = json!({ "tcp": 5432, "timeout": "300ms", "interval": "100ms" });
    let ended = bench.run(beside(json!({ "image": "db", "ready": ready }))).await;
    let failure = ended.failure();
    let message =
        "service `db` was not ready after 0.3 s: nothing listens at port 5432; it said last: listening";
    assert_eq!((failure.kind.as_str(), failure.message.as_str()), ("service-not-ready", message));
    assert_eq!(started(&bench).len(), 1, "the tests did not begin");
    assert_eq!(bench.docker.containers(), Vec::<String>::new());
}

#[tokio::test]
async fn a_service_that_ends_ends_what_needs_it() {
    let bench = with_database();
    let lines = vec![(Stream::Stderr, "out of disk".to_owned())];
    bench.docker.script("db", &["dies"], Behaviour::Ends { lines, code: 3 });
    bench.docker.script("tool", &["x"], Behaviour::RunsUntilStopped { lines: Vec::new() });
    for ready in [json!(null), json!({ "exec": ["ping"] })] {
        let ended = bench.run(beside(json!({ "image": "db", "command": ["dies"], "ready": ready }))).await;
        let message = "service `db` ended with exit code 3 while it was needed; it said last: out of disk";
        assert_eq!(ended.failure().message, message);
        assert_eq!(bench.docker.containers(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_service_is_said() {
    let bench = with_database();
    for (service, says) in [
        (json!({ "image": "nosuch" }), "image `nosuch` is not on the engine"),
        (json!({ "image": "nosuch", "pull": "never" }), "service `db`: image `nosuch`"),
        (json!({ "image": "db", "ready": { "tcp": 0 } }), "port 0"),
        (json!({ "image": "db", "ready": { "http": { "port": 80, "path": "a b" } } }), "begins with `/`"),
        (json!({ "image": "db", "ready": { "exec": [] } }), "a command to run"),
        (json!({ "image": "db", "container": { "add": ["MKNOD"] } }), "no capability"),
    ] {
        let ended = bench.run(beside(service.clone())).await;
        assert!(ended.failure().message.contains(says), "{service}: {}", ended.failure().message);
        assert_eq!(bench.docker.containers(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn an_image_that_is_there_is_fetched_only_where_that_is_wanted() {
    let bench = Bench::new();
    bench.docker.add_image("r.example.com/shop:1");
    let push = Push { name: "r.example.com/shop:1", image: None, login: None };
    let pushed = bench.docker.push(push, &|_| (), &Cancellation::new()).await;
    pushed.expect("it is pushed");
    let fetch = async |pull: &str| {
        bench.run(json!({ "do": "fetch", "image": "r.example.com/shop:1", "pull": pull })).await
    };
    let is_asked = |ended: &support::Ended| ended.texts().iter().any(|text| text.starts_with("Digest: "));
    for (pull, asked) in [("missing", false), ("always", true), ("never", false)] {
        let ended = fetch(pull).await;
        assert_eq!((ended.outcome.is_ok(), is_asked(&ended)), (true, asked), "{pull}: {:?}", ended.texts());
    }
    bench.docker.remove("r.example.com/shop:1").await.expect("removed");
    assert!(fetch("never").await.outcome.is_ok(), "that is not asked");
    assert!(bench.docker.inspect("r.example.com/shop:1").await.is_err());
    assert!(is_asked(&fetch("missing").await));
    assert!(bench.docker.inspect("r.example.com/shop:1").await.is_ok());
    bench.docker.set_outage(Some("it is down"));
    assert!(fetch("missing").await.failure().message.contains("it is down"));
}

#[tokio::test]
async fn an_image_is_no_registrys_by_its_id() {
    let image = format!("sha256:{}", "a".repeat(64));
    let ended = Bench::new().run(json!({ "do": "fetch", "image": image, "pull": "missing" })).await;
    assert!(ended.failure().message.contains("by which no registry knows it"), "{:?}", ended.failure());
}

#[tokio::test]
async fn files_are_handed_over_in_folders_of_their_own() {
    let bench = Bench::new();
    bench.docker.add_image("tool");
    let handed = async |files: &[&str], read: &str| {
        bench.run(json!({ "do": "handed", "image": "tool", "files": files, "read": read, "most": 10 })).await
    };
    let ended = handed(&["/y/output", "/y/summary", "/z/a"], "/y/output").await;
    assert_eq!(ended.outputs()["content"], "");
    let mounts = &started(&bench)[0].mounts;
    let targets: Vec<&str> = mounts.iter().map(|mount| mount.target.as_str()).collect();
    assert_eq!(targets, ["/y", "/z"]);
    let MountSource::Carried { folder, .. } = &mounts[0].source else { panic!("a folder") };
    assert!(folder.join("output").is_file() && folder.join("summary").is_file());
    for (files, read, says) in [
        (&["/output"][..], "/output", "with a folder above"),
        (&["/y/../output"], "/y/../output", "with a folder above"),
        (&["/y/output"], "/y/other", "hands over no file `/y/other`"),
        (&["/y/a"; 17], "/y/a", "at most 16"),
    ] {
        let ended = handed(files, read).await;
        assert!(ended.failure().message.contains(says), "{:?}", ended.failure());
    }
}

#[tokio::test]
async fn a_secret_in_a_line_that_says_more_is_not_shown() {
    let bench = Bench::new();
    bench.docker.add_image("tool");
    let [(_, secret), ..] = support::SECRETS;
    let lines = vec![
        (Stream::Stdout, format!("::warning file={secret},line=1::{secret}")),
        (Stream::Stderr, "::endgroup::".to_owned()),
    ];
    bench.docker.script("tool", &[], Behaviour::Ends { lines, code: 0 });
    let config = json!({ "do": "secret-variable", "image": "tool", "key": { "secret": "token" } });
    let case = support::Case { secrets: vec!["token"], ..support::Case::default() };
    let ended = bench.run_case(config, case).await;
    let shown = format!("{:?}", ended.lines);
    assert!(!shown.contains(secret) && shown.contains("yuanli.annotation"), "{shown}");
    let warning = ended.lines.iter().find(|line| line.level == yuanli_model::Level::Warn).expect("a warning");
    assert_eq!((warning.text.as_str(), warning.fields[1].1.as_str()), ("***", "***"));
}
