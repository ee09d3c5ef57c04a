//! The component host through its port: good guests, bad guests, and what is left after them.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at the first surprise")]

mod store;
mod support;

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use support::{BUILTINS, Bench, Case, digest};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use yuanli_docker::fake::{Behaviour, Call};
use yuanli_model::http::HttpScope;
use yuanli_model::stage::Limits as StageLimits;
use yuanli_model::{Capability, FailureClass, Grant, Level, PluginReference, Stream};
use yuanli_ports::containers::{ContainerError, MountSource};
use yuanli_ports::plugins::PluginError;
use yuanli_ports::{Cancellation, Plugins};
use yuanli_test_guests::{NOOP, PROBE};
use yuanli_wasm::{Class, Limits};

#[tokio::test]
async fn a_guest_gives_its_outputs() {
    let bench = Bench::new();
    let outputs = json!({ "text": "a", "list": [1, 2.5, null], "map": { "b": true } });
    let ended = bench.run(json!({ "do": "give", "outputs": outputs })).await;
    assert_eq!(*ended.outputs(), outputs);
}

#[tokio::test]
async fn a_wrong_config_is_refused_with_its_place() {
    let bench = Bench::new();
    let failure = bench.run(json!({ "do": "give", "outputs": 3 })).await.failure().clone();
    assert_eq!(failure.kind, "invalid-config");
    let failure = bench.run(json!({ "do": "large", "bytes": "many" })).await.failure().clone();
    assert_eq!((failure.kind.as_str(), failure.class), ("invalid-config", FailureClass::Permanent));
}

#[tokio::test]
async fn failures_are_data() {
    let bench = Bench::new();
    let check = async |class: &str, expected: FailureClass| {
        let config = json!({ "do": "fail", "class": class, "kind": "k", "message": "m" });
        let failure = bench.run(config).await.failure().clone();
        assert_eq!((failure.class, failure.kind.as_str(), failure.message.as_str()), (expected, "k", "m"));
    };
    check("permanent", FailureClass::Permanent).await;
    check("transient", FailureClass::Transient).await;
    check("throttled", FailureClass::Throttled { retry_after: Some(Duration::from_secs(3)) }).await;
    check("interrupted", FailureClass::Interrupted).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_guests_end_clearly_and_leave_the_host_as_it_was() {
    let limits = Limits { memory_bytes: 64 << 20, cpu: Duration::from_millis(300), ..Limits::default() };
    let bench = Bench::with(limits, &BUILTINS);
    let check = async |config: Value, kind: &str, says: &str| {
        let ended = bench.run(config).await;
        let failure = ended.failure();
        assert_eq!(failure.kind, kind, "{failure:?}");
        assert!(failure.message.contains(says), "{failure:?}");
    };
    check(json!({ "do": "loop" }), "cpu-limit", "300ms of processor time").await;
    check(json!({ "do": "memory" }), "memory-limit", "may have 67108864").await;
    check(json!({ "do": "recurse" }), "trap", "calls itself too deeply").await;
    check(json!({ "do": "panic", "message": "oh" }), "trap", "panicked or aborted").await;
    check(json!({ "do": "exit" }), "trap", "").await;
    check(json!({ "do": "large", "bytes": 2 << 20 }), "output-limit", "have at most 1048576").await;
    let ended = bench.run(json!({ "do": "panic", "message": "last words" })).await;
    assert!(ended.texts().iter().any(|text| text.contains("last words")), "{:?}", ended.texts());
    // The host still works, and other guests went on meanwhile.
    bench.run(json!({ "do": "give", "outputs": {} })).await.outputs();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attempt_may_have_less_or_more_than_others() {
    let limits = Limits { memory_bytes: 64 << 20, cpu: Duration::from_secs(5), ..Limits::default() };
    let bench = Bench::with(limits, &BUILTINS);
    let check = async |action: &str, limits: StageLimits, kind: &str, says: &str| {
        let ended = bench.run_case(json!({ "do": action }), Case { limits, ..Case::default() }).await;
        let failure = ended.failure();
        assert_eq!(failure.kind, kind, "{failure:?}");
        assert!(failure.message.contains(says) && failure.message.contains("limits:"), "{failure:?}");
    };
    let memory = |bytes| StageLimits { memory_bytes: Some(bytes), ..StageLimits::default() };
    check("memory", memory(16 << 20), "memory-limit", "may have 16777216").await;
    check("memory", memory(128 << 20), "memory-limit", "may have 134217728").await;
    let cpu = StageLimits { cpu: Some(Duration::from_millis(50)), ..StageLimits::default() };
    check("loop", cpu, "cpu-limit", "50ms of processor time").await;
}

#[tokio::test]
async fn wall_clock_time_counts_also_in_host_calls() {
    let bench = Bench::new();
    bench.docker.add_image("busy");
    bench.docker.script("busy", &[], Behaviour::RunsUntilStopped { lines: vec![] });
    let case = Case { timeout: Duration::from_millis(100), ..Case::default() };
    let config = json!({ "do": "container", "image": "busy", "command": [], "wait": true });
    let ended = bench.run_case(config, case).await;
    assert_eq!(
        (ended.failure().kind.as_str(), &ended.failure().class),
        ("timeout", &FailureClass::Transient)
    );
    assert_eq!(bench.docker.containers(), Vec::<String>::new(), "nothing is left");
    assert!(bench.docker.calls().iter().any(|call| matches!(call, Call::Stop(_, grace) if !grace.is_zero())));
}

#[tokio::test]
async fn a_cancelled_attempt_stops_its_containers() {
    let bench = Bench::new();
    bench.docker.add_image("busy");
    let lines = vec![(Stream::Stdout, "begun".to_owned())];
    bench.docker.script("busy", &[], Behaviour::RunsUntilStopped { lines });
    let cancel = Cancellation::new();
    let case = Case { cancel: cancel.clone(), ..Case::default() };
    let config = json!({ "do": "container", "image": "busy", "command": [], "wait": true });
    let both = async {
        tokio::join!(bench.run_case(config, case), async {
            while bench.docker.containers().is_empty() {
                tokio::task::yield_now().await;
            }
            cancel.cancel();
        })
    };
    let (ended, ()) = tokio::time::timeout(Duration::from_secs(20), both).await.expect("it ends");
    assert_eq!(ended.failure().class, FailureClass::Cancelled);
    assert_eq!(bench.docker.containers(), Vec::<String>::new());
}

#[tokio::test]
async fn a_container_that_nobody_waits_for_ends_with_the_attempt() {
    let bench = Bench::new();
    bench.docker.add_image("busy");
    bench.docker.script("busy", &[], Behaviour::RunsUntilStopped { lines: vec![] });
    let config = json!({ "do": "container", "image": "busy", "command": [], "wait": false });
    bench.run(config).await.outputs();
    assert_eq!(bench.docker.containers(), Vec::<String>::new());
}

#[tokio::test]
async fn a_container_gives_its_exit_code_and_its_output() {
    let bench = Bench::new();
    bench.docker.add_image("tool");
    let line = |stream, text: &str| (stream, text.to_owned());
    let lines = vec![line(Stream::Stdout, "one"), line(Stream::Stderr, "two"), line(Stream::Stdout, "three")];
    bench.docker.script("tool", &["x"], Behaviour::Ends { lines, code: 3 });
    let config = json!({ "do": "container", "image": "tool", "command": ["x"], "wait": true });
    let ended = bench.run(config).await;
    assert_eq!(*ended.outputs(), json!({ "code": 3, "again": 3, "tail": ["two", "three"] }));
    assert_eq!(ended.texts(), ["one", "two", "three"]);
    assert_eq!(ended.lines[1].stream, Stream::Stderr);
    let Some(Call::Start(request)) =
        bench.docker.calls().into_iter().find(|call| matches!(call, Call::Start(_)))
    else {
        panic!("nothing was started");
    };
    assert_eq!(request.operation.position, 1);
    let MountSource::Carried { folder, note } = &request.mounts[0].source else { panic!("a folder") };
    assert_eq!(*folder, ended.workspace);
    assert!(!note.starts_with(folder), "{}", note.display());
}

#[tokio::test]
async fn errors_of_docker_reach_the_guest_as_data() {
    let bench = Bench::new();
    let config = json!({ "do": "container", "image": "missing", "command": [], "wait": true });
    let ended = bench.run(config).await;
    assert_eq!(
        (ended.failure().kind.as_str(), &ended.failure().class),
        ("not-found", &FailureClass::Permanent)
    );
    bench.docker.set_outage(Some("Docker cannot be reached"));
    let config = json!({ "do": "container", "image": "missing", "command": [], "wait": true });
    let ended = bench.run(config).await;
    assert_eq!(
        (ended.failure().kind.as_str(), &ended.failure().class),
        ("unreachable", &FailureClass::Transient)
    );
}

#[tokio::test]
async fn a_container_that_does_not_start_is_an_error() {
    let bench = Bench::new();
    bench.docker.add_image("tool");
    let broken = Behaviour::FailsToStart(ContainerError::Invalid("no such command".to_owned()));
    bench.docker.script("tool", &["x"], broken);
    let config = json!({ "do": "container", "image": "tool", "command": ["x"], "wait": true });
    let failure = bench.run(config).await.failure().clone();
    assert_eq!((failure.kind.as_str(), failure.message.as_str()), ("invalid-container", "no such command"));
}

#[tokio::test]
async fn handles_are_bounded() {
    let bench = Bench::new();
    bench.docker.add_image("tool");
    // A container is there until the attempt ends, whether the guest keeps its handle or not.
    for give_back in [true, false] {
        let ended = bench.run(json!({ "do": "handles", "image": "tool", "give_back": give_back })).await;
        let failure = ended.failure();
        assert_eq!(failure.kind, "handle-limit", "{failure:?}");
        let says = ["more than 1024 handles", "`limits: { handles: … }`"];
        assert!(says.iter().all(|text| failure.message.contains(text)), "{failure:?}");
        let started = bench.docker.calls().iter().filter(|call| matches!(call, Call::Start(_))).count();
        assert_eq!(started % 1024, 0, "{started}");
        assert_eq!(bench.docker.containers(), Vec::<String>::new());
    }
    // What is nothing beyond its handle does not count when that is given back.
    let config = json!({ "do": "reopen", "key": handle("token"), "times": 5000 });
    assert_eq!(*bench.run(config).await.outputs(), json!({ "times": 5000 }));
}

#[tokio::test]
async fn output_of_the_guest_becomes_lines() {
    let ended = Bench::new().run(json!({ "do": "talk" })).await;
    let seen: Vec<(Stream, Level, &str)> =
        ended.lines.iter().map(|line| (line.stream, line.level, line.text.as_str())).collect();
    let expected = [
        (Stream::Stdout, Level::Info, "to stdout"),
        (Stream::Plugin, Level::Info, "a group"),
        (Stream::Plugin, Level::Warn, "inside"),
        (Stream::Plugin, Level::Info, ""),
        (Stream::Plugin, Level::Debug, "two"),
        (Stream::Plugin, Level::Debug, "lines"),
        (Stream::Stderr, Level::Info, "to stderr, without an end"),
    ];
    assert_eq!(seen, expected);
    assert_eq!(ended.lines[4].fields, [("key".to_owned(), "value".to_owned())]);
}

#[tokio::test]
async fn progress_is_kept_at_its_beginning_and_its_end() {
    let ended = Bench::new().run(json!({ "do": "progress", "steps": 1000 })).await;
    assert_eq!(ended.texts(), ["1 of 1000 steps", "1000 of 1000 steps"]);
}

#[tokio::test]
async fn the_context_tells_which_attempt_it_is() {
    let ended = Bench::new().run(json!({ "do": "context" })).await;
    let outputs = ended.outputs();
    assert_eq!(
        (&outputs["stage"], &outputs["attempt"], &outputs["workflow"]),
        (&json!("probe"), &json!(1), &json!("w"))
    );
    assert_eq!(outputs["deadline"], 31_000);
    assert_eq!(outputs["cancelled"], false);
    assert!(outputs["key"].as_str().unwrap().ends_with("-probe-0-1-1"), "{outputs}");
}

#[tokio::test]
async fn time_is_told_and_waited_for() {
    let bench = Bench::new();
    let outputs = bench.run(json!({ "do": "clock", "sleep_ms": 1_500 })).await.outputs().clone();
    assert_eq!(outputs, json!({ "before": 1_000, "after": 2_500 }));
    let week = json!({ "do": "clock", "sleep_ms": 604_800_000_u64 });
    let case = Case { timeout: Duration::from_millis(100), ..Case::default() };
    assert_eq!(bench.run_case(week.clone(), case).await.failure().kind, "timeout", "waiting counts as time");
    let cancel = Cancellation::new();
    let case = Case { cancel: cancel.clone(), ..Case::default() };
    let (ended, ()) = tokio::join!(bench.run_case(week, case), async {
        tokio::task::yield_now().await;
        cancel.cancel();
    });
    assert_eq!(ended.failure().class, FailureClass::Cancelled);
}

#[tokio::test]
async fn random_bytes_are_bounded_in_number() {
    let bench = Bench::new();
    let check = async |length: u32| bench.run(json!({ "do": "random", "length": length })).await;
    let given =
        |length: u32, differ: bool| json!({ "length": length, "differ": differ, "numbers differ": true });
    assert_eq!(*check(16).await.outputs(), given(16, true));
    assert_eq!(*check(0).await.outputs(), given(0, false));
    assert_eq!(*check(65_536).await.outputs(), given(65_536, true));
    let refused = check(65_537).await.failure().clone();
    assert_eq!(
        (refused.kind.as_str(), refused.message.as_str()),
        ("too-large", "65537 bytes were asked for; one call gives 65536")
    );
}

/// The handle of a secret, as a config has it.
fn handle(name: &str) -> Value {
    json!({ "secret": name })
}

#[tokio::test]
async fn a_stage_gets_the_secrets_of_its_config_and_no_others() {
    let bench = Bench::new();
    let get = async |name: &str, given: Value| {
        bench.run(json!({ "do": "secret", "name": name, "given": given })).await.outcome
    };
    assert_eq!(get("token", handle("token")).await, Ok(json!({ "name": "token" })));
    let denied = get("other", handle("token")).await.unwrap_err();
    assert_eq!(denied.kind, "denied");
    assert!(denied.message.contains("was not given to this stage"), "{denied:?}");
    let missing = get("none", handle("none")).await.unwrap_err();
    assert_eq!((missing.kind.as_str(), missing.message.as_str()), ("not-found", "nobody keeps `none`"));
    let broken = get("token", handle("broken")).await.unwrap_err();
    assert_eq!((broken.kind.as_str(), broken.class), ("secrets", FailureClass::Transient));
}

#[tokio::test]
async fn what_a_stage_reveals_is_masked_everywhere() {
    let bench = Bench::new();
    let ended = bench.run(json!({ "do": "reveal", "key": handle("token"), "fail": false })).await;
    assert_eq!(
        *ended.outputs(),
        json!({ "value": "***", "inside": "<***>", "nested": { "list": [{ "***": 1 }] }, "half": "s3cret", "rest": "-t0ken" })
    );
    let expected = ["stdout: ***", "in ***", "stderr: ***", "a group of ***", "log: ***", "", "1 of 1 ***"];
    let mut texts = ended.texts();
    texts.sort_by_key(|text| expected.iter().position(|expected| expected == text));
    assert_eq!(texts, expected);
    assert!(ended.lines.iter().any(|line| line.fields == [("field".to_owned(), "***".to_owned())]));
    let failed = bench.run(json!({ "do": "reveal", "key": handle("token"), "fail": true })).await;
    let failure = failed.failure();
    assert!(failure.message.ends_with("xxx***"), "not cut before it was masked: {failure:?}");
    assert_eq!(failure.details, [("key".to_owned(), "***".to_owned())]);
}

#[tokio::test]
async fn secrets_of_the_run_are_masked_also_where_the_stage_has_none() {
    let bench = Bench::new();
    let outputs = json!({ "text": "s3cret-t0ken and czNjcmV0LXQwa2Vu", "other": "an-other-secret" });
    let config = json!({ "do": "give", "outputs": outputs });
    let case = Case { secrets: vec!["token", "none"], ..Case::default() };
    let ended = bench.run_case(config.clone(), case).await;
    assert_eq!(*ended.outputs(), json!({ "text": "*** and ***", "other": "an-other-secret" }));
    assert_eq!(*bench.run(config).await.outputs(), outputs);
}

#[tokio::test]
async fn a_container_gets_a_secret_and_what_it_says_of_it_is_masked() {
    let bench = Bench::new();
    bench.docker.add_image("tool");
    let lines = vec![
        (Stream::Stdout, "second line".to_owned()),
        (Stream::Stderr, "Zmlyc3QgbGluZQpzZWNvbmQgbGluZQo=".to_owned()),
    ];
    bench.docker.script("tool", &[], Behaviour::Ends { lines, code: 0 });
    let config = json!({ "do": "secret-variable", "image": "tool", "key": handle("lines") });
    let ended = bench.run(config.clone()).await;
    assert_eq!(ended.outputs()["tail"][0], "***", "a stage sees no value by way of a container");
    assert_eq!(ended.texts(), ["***", "***"]);
    let calls = bench.docker.calls();
    let Some(Call::Start(request)) = calls.iter().find(|call| matches!(call, Call::Start(_))) else {
        panic!("nothing was started");
    };
    assert_eq!(request.environment, [("KEY".to_owned(), "first line\nsecond line\n".to_owned())]);
}

/// A grant of requests to these hosts.
fn http_grant(host: &str, methods: &[&'static str], paths: &[&str]) -> Grant {
    Grant::Http(HttpScope {
        hosts: vec![host.parse().unwrap()],
        methods: methods.to_vec(),
        paths: paths.iter().map(|path| path.parse().unwrap()).collect(),
        is_private: false,
    })
}

/// Everything that there is.
fn all_grants() -> Vec<Grant> {
    let whole = Capability::ALL.into_iter().filter(|right| *right != Capability::Http).map(Grant::Whole);
    whole.chain([http_grant("127.0.0.1:1", &["GET"], &[])]).collect()
}

/// A server that answers each request with what it was sent.
async fn echo() -> SocketAddr {
    served(|sent| {
        let length = sent.len();
        format!("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {length}\r\n\r\n{sent}")
    })
    .await
}

/// A server that answers each request like this.
#[allow(clippy::disallowed_methods, reason = "it ends with its test")]
async fn served(answer: fn(&str) -> String) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serve = async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = vec![0; 64 * 1024];
            let read = stream.read(&mut head).await.unwrap();
            let answer = answer(&String::from_utf8_lossy(&head[..read]));
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    };
    tokio::task::spawn(serve);
    address
}

#[tokio::test]
async fn a_request_goes_where_it_was_granted_and_nowhere_else() {
    let bench = Bench::new();
    let server = echo().await;
    let send = async |method: &str, path: &str| {
        let config = json!({ "do": "request", "method": method, "url": format!("http://{server}{path}"), "body": "b" });
        let grants = vec![http_grant(&server.to_string(), &["GET", "POST"], &["/v1/**"])];
        bench.run_case(config, Case { grants, ..Case::default() }).await.outcome
    };
    let outputs = send("POST", "/v1/x?y=1#z").await.unwrap();
    assert_eq!((&outputs["status"], &outputs["type"]), (&json!(200), &json!("text/plain")));
    assert_eq!(outputs["url"], format!("http://{server}/v1/x?y=1"));
    let sent = outputs["body"].as_str().unwrap();
    assert!(sent.starts_with("POST /v1/x?y=1 HTTP/1.1\r\n") && sent.ends_with("\r\n\r\nb"), "{sent}");
    let check = async |method: &str, path: &str, says: &str| {
        let failure = send(method, path).await.unwrap_err();
        assert_eq!(failure.kind, "denied", "{failure:?}");
        assert!(failure.message.contains(says), "{failure:?}");
    };
    check("DELETE", "/v1/x", "it would take `methods: [DELETE]`").await;
    check("GET", "/v2", "it would take `paths: [\"/v2\"]`").await;
    // Also a plugin that came with the engine reaches nothing that was not granted.
    let config = json!({ "do": "request", "method": "GET", "url": "http://127.0.0.1:9/" });
    let failure = bench.run(config).await.failure().clone();
    assert!(failure.message.contains("hosts: [127.0.0.1:9]"), "{failure:?}");
}

#[tokio::test]
async fn secrets_are_put_into_headers_and_taken_out_of_what_comes_back() {
    let bench = Bench::new();
    let server = echo().await;
    let send = async |more: Value| {
        let mut config = json!({ "do": "request", "method": "GET", "url": format!("http://{server}/") });
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let grants = vec![http_grant(&server.to_string(), &["GET"], &[])];
        let outcome = bench.run_case(config, Case { grants, ..Case::default() }).await.outcome;
        outcome.map(|outputs| outputs["body"].as_str().unwrap().to_owned())
    };
    let sent = send(json!({ "key": handle("token") })).await.unwrap();
    assert!(sent.contains("authorization: Bearer ***\r\n"), "{sent}");
    let grants = vec![http_grant(&server.to_string(), &["GET"], &[])];
    let seen = spelled(&bench, format!("http://{server}/"), grants).await;
    assert!(seen.contains("authorization: Bearer ***\r\n"), "{seen}");
    let sent =
        send(json!({ "password": ["ada", handle("token")], "headers": { "x-one": "1" } })).await.unwrap();
    assert!(
        sent.contains("authorization: Basic ") && sent.contains("***") && sent.contains("x-one: 1\r\n"),
        "{sent}"
    );
    let refused = send(json!({ "headers": { "Host": "other" } })).await.unwrap_err();
    assert_eq!(
        (refused.kind.as_str(), refused.message.as_str()),
        ("invalid-request", "the header `Host` is set by the engine")
    );
    let refused = send(json!({ "max_redirects": 11 })).await.unwrap_err();
    assert_eq!(refused.message, "at most 10 redirects are followed, not 11");
    let refused = send(json!({ "max_body_bytes": 10 })).await.unwrap_err();
    assert_eq!(refused.kind, "too-large");
}

#[tokio::test]
async fn a_redirect_does_not_bring_a_secret_back() {
    let bench = Bench::new();
    let server = served(|sent| {
        let token =
            sent.lines().find_map(|line| line.strip_prefix("authorization: Bearer ")).unwrap_or("none");
        format!("HTTP/1.1 302 Found\r\nlocation: /login/{token}\r\ncontent-length: 0\r\n\r\n")
    })
    .await;
    let grants = vec![http_grant(&server.to_string(), &["GET"], &["/v1/**"])];
    let seen = spelled(&bench, format!("http://{server}/v1/x"), grants).await;
    assert!(seen.contains("Denied") && seen.contains("`/login/***`"), "{seen}");
}

/// What the guest itself sees of a request with a secret, before anything that it says is masked.
async fn spelled(bench: &Bench, url: String, grants: Vec<Grant>) -> String {
    let config =
        json!({ "do": "request", "method": "GET", "url": url, "key": handle("token"), "spell": true });
    let ended = bench.run_case(config, Case { grants, ..Case::default() }).await;
    let letters = ended.outputs()["letters"].as_array().unwrap();
    letters.iter().map(|letter| letter.as_str().unwrap()).collect()
}

#[tokio::test]
async fn files_stay_in_the_workspace() {
    let bench = Bench::new();
    let ended = bench.run(json!({ "do": "files" })).await;
    let outputs = ended.outputs();
    assert_eq!(
        (&outputs["read"], &outputs["listed"], &outputs["left"]),
        (&json!("hello"), &json!(2), &json!(false))
    );
    assert_eq!(outputs["found"], json!(["a/b.txt", "a/c.txt"]));
    let refused = outputs["refused"].as_str().unwrap();
    assert!(refused.starts_with("Error::Outside(") && refused.contains("Error::NotFound("), "{refused}");
    assert_eq!(std::fs::read_to_string(ended.workspace.join("a/b.txt")).unwrap(), "hello");
}

#[tokio::test]
async fn a_link_does_not_lead_out_of_the_workspace() {
    let bench = Bench::new();
    let secret = bench.folder.path().join("secret");
    std::fs::write(&secret, "s").unwrap();
    let read = json!({ "do": "read", "path": "planted" });
    let ended = bench.run_case(read, Case { link: Some(secret.clone()), ..Case::default() }).await;
    assert_eq!(ended.failure().kind, "outside", "{:?}", ended.failure());
    let write = json!({ "do": "write", "path": "planted/x", "text": "t" });
    let folder = bench.folder.path().to_owned();
    bench.run_case(write, Case { link: Some(folder.clone()), ..Case::default() }).await.failure();
    assert!(!folder.join("x").exists());
    let inside = json!({ "do": "write", "path": "planted", "text": "t" });
    bench.run_case(inside, Case { link: Some("real".into()), ..Case::default() }).await.outputs();
}

#[tokio::test]
async fn wasi_reaches_nothing() {
    let ended = Bench::new().run(json!({ "do": "escape" })).await;
    let outputs = ended.outputs();
    assert_eq!((&outputs["environment"], &outputs["passwd"]), (&json!(0), &json!(false)));
    assert!(outputs["connect"].is_string(), "{outputs}");
}

#[tokio::test]
async fn an_image_is_built_from_the_workspace() {
    let bench = Bench::new();
    let source = bench.folder.path().join("source");
    std::fs::create_dir(&source).unwrap();
    let failure = bench.run(json!({ "do": "build", "image": "x:1" })).await.failure().clone();
    assert_eq!(failure.class, FailureClass::Permanent, "there is no Dockerfile: {failure:?}");
}

#[tokio::test]
async fn apps_are_reached_and_every_change_says_who_asks() {
    let bench = Bench::new();
    let shop = json!({ "app": "shop", "image": "shop:1", "port": 80 });
    let outputs = bench.run(json!({ "do": "app", "document": shop })).await.outputs().clone();
    assert_eq!(
        outputs,
        json!({
            "release": 2, "previous": 1, "message": "all serve", "desired": 2, "more": 4, "ready": 4, "requests": 17
        })
    );
    assert_eq!(bench.apps.told(), ["1 deploy shop", "2 scale Add(2)", "3 undo #2: enough of it"]);
    let wrong = bench.run(json!({ "do": "app", "document": { "app": "shop" } })).await;
    assert_eq!(
        (wrong.failure().kind.as_str(), wrong.failure().message.as_str()),
        ("invalid-app", "`image` is missing")
    );

    let outputs = bench.run(json!({ "do": "backup", "volume": "data" })).await.outputs().clone();
    assert_eq!(outputs, json!({ "id": "abc", "paused": 12, "known": 1, "read": 7, "files": 1 }));
    assert_eq!(bench.apps.told(), ["1 back up data to /repository 5s", "2 restore abc into another"]);
    let missing = bench.run(json!({ "do": "backup", "volume": "missing" })).await;
    assert_eq!(missing.failure().message, "there is no volume `missing`");
}

#[tokio::test]
async fn a_gray_release_is_told_to_its_end_and_turned_back_with_a_cancelled_stage() {
    let bench = Bench::new();
    let shop = |name: &str| json!({ "app": name, "image": "shop:1" });
    let outputs = bench.run(json!({ "do": "gray", "document": shop("shop") })).await.outputs().clone();
    assert_eq!(outputs["told"], json!([[10, "step 1", null], [100, "promoted", true]]));
    assert_eq!(bench.apps.told(), ["1 begin shop:1 1", "- abort #3: it has ended"]);

    let timeout = std::time::Duration::from_millis(300);
    let case = Case { timeout, ..Case::default() };
    let ended = bench.run_case(json!({ "do": "gray", "document": shop("slow") }), case).await;
    assert_eq!(ended.failure().kind, "timeout");
    assert_eq!(bench.apps.told(), ["1 begin shop:1 1", "- abort #3: the stage that released it was ended"]);
}

#[tokio::test]
async fn a_plugin_from_a_file_needs_its_grants() {
    let bench = Bench::with(Limits::default(), &[]);
    std::fs::write(bench.folder.path().join("probe.wasm"), PROBE.component).unwrap();
    let reference = PluginReference::File("./probe.wasm".to_owned());
    let described = bench.host.resolve(&reference, &bench.origin).await.unwrap();
    assert_eq!(
        (described.name.as_str(), described.is_builtin, described.digest),
        ("probe", false, digest(PROBE))
    );
    assert_eq!(described.capabilities, Capability::ALL);
    let config = json!({ "do": "give", "outputs": {} });
    let refused = bench.run_case(config.clone(), Case::default()).await;
    assert_eq!(refused.failure().kind, "not-granted");
    let says = [
        "secrets, secrets-reveal, http, workspace, source, images, registries, containers, volumes, apps, traffic, metrics, backups",
        "grants: [secrets, secrets-reveal, { http: { hosts: [api.example.com] } }, workspace,",
    ];
    for text in says {
        assert!(refused.failure().message.contains(text), "{:?}", refused.failure());
    }
    // The file may go: the component was kept when it was resolved.
    std::fs::remove_file(bench.folder.path().join("probe.wasm")).unwrap();
    let granted = Case { grants: all_grants(), ..Case::default() };
    bench.run_case(config, granted).await.outputs();
}

#[tokio::test]
async fn what_is_no_plugin_is_refused_with_a_sentence() {
    let bench = Bench::new();
    let check = async |name: &str, bytes: &[u8], says: &str| {
        std::fs::write(bench.folder.path().join(name), bytes).unwrap();
        let reference = PluginReference::File(format!("./{name}"));
        let error = bench.host.resolve(&reference, &bench.origin).await.unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
    };
    check("text.wasm", b"not wasm", "it is no WebAssembly component").await;
    check("core.wasm", b"\0asm\x01\0\0\0", "it is a core WebAssembly module").await;
    check("empty.wasm", b"\0asm\x0d\0\x01\0", "it is no stage of contract 0.1").await;
    check("cut.wasm", &PROBE.component[..1000], "it is no WebAssembly component").await;
    let missing = bench.host.resolve(&PluginReference::File("./none.wasm".into()), &bench.origin).await;
    assert!(matches!(missing, Err(PluginError::Unknown(_))), "{missing:?}");
    let missing = bench.host.resolve(&PluginReference::Named("none".into()), &bench.origin).await;
    assert!(matches!(missing, Err(PluginError::Unknown(_))), "{missing:?}");
}

#[tokio::test]
async fn every_function_of_the_contract_has_a_class() {
    let bench = Bench::new();
    let functions = bench.host.functions();
    // The probe imports every interface; that it can be instantiated shows that nothing is missing.
    bench.run(json!({ "do": "give", "outputs": {} })).await.outputs();
    let class =
        |name: &str| functions.iter().find(|function| function.name == name).map(|function| function.class);
    assert_eq!(class("write"), Some(Class::Silent));
    assert_eq!(class("is-cancelled"), Some(Class::Read));
    assert_eq!(class("now"), Some(Class::Read));
    assert_eq!(class("sleep"), Some(Class::Read));
    assert_eq!(class("bytes"), Some(Class::Read));
    assert_eq!(class("get"), Some(Class::Read));
    assert_eq!(class("[method]secret.name"), Some(Class::Silent));
    assert_eq!(class("reveal"), Some(Class::Secret), "it is never recorded");
    assert_eq!(class("send"), Some(Class::Effect));
    assert_eq!(class("start"), Some(Class::Effect));
    assert_eq!(class("[method]container.wait"), Some(Class::Read));
    assert_eq!(class("deploy"), Some(Class::Local));
    assert_eq!(class("query"), Some(Class::Read));
    for local in ["set", "compare-and-set", "delete", "put", "put-file", "emit"] {
        assert_eq!(class(local), Some(Class::Local), "{local}");
    }
    assert_eq!(class("read-to-file"), Some(Class::Effect));
    assert_eq!(class("measure"), Some(Class::Read));
}

#[tokio::test]
async fn more_attempts_than_slots_wait_for_their_turn() {
    let bench = Bench::new();
    let attempts =
        (0..200).map(|_| bench.run_case(json!({}), Case { component: digest(NOOP), ..Case::default() }));
    for ended in futures::future::join_all(attempts).await {
        ended.outputs();
    }
}

#[tokio::test]
async fn a_damaged_cache_is_made_again() {
    let cache = tempfile::tempdir().unwrap();
    let bench = || Bench::with_cache(Limits::default(), &BUILTINS, cache.path().to_owned());
    let noop = || Case { component: digest(NOOP), ..Case::default() };
    bench().run_case(json!({}), noop()).await.outputs();
    let files = || {
        let version = std::fs::read_dir(cache.path()).unwrap().next().unwrap().unwrap().path();
        std::fs::read_dir(version).unwrap().map(|file| file.unwrap().path()).collect::<Vec<_>>()
    };
    assert_eq!(files().len(), 2, "compiled code and a description");
    for damage in [0, 40, 5000] {
        for file in files() {
            let mut bytes = std::fs::read(&file).unwrap();
            let position = damage.min(bytes.len() - 1);
            bytes[position] ^= 1;
            std::fs::write(&file, bytes).unwrap();
        }
        bench().run_case(json!({}), noop()).await.outputs();
    }
    for file in files() {
        std::fs::write(file, b"").unwrap();
    }
    bench().run_case(json!({}), noop()).await.outputs();
}

#[tokio::test]
async fn an_image_is_pushed_found_and_pulled() {
    let bench = Bench::new();
    bench.docker.add_image("registry.example.com/shop:1");
    let publish = json!({ "do": "publish", "image": "registry.example.com/shop:1", "login": null });
    let ended = bench.run(publish.clone()).await;
    let outputs = ended.outputs();
    assert_eq!((&outputs["found"], &outputs["pulled"]), (&outputs["digest"], &outputs["digest"]));
    assert!(outputs["digest"].as_str().unwrap().starts_with("sha256:"), "{outputs}");
    assert!(ended.lines.iter().any(|line| line.text.contains("digest: sha256:")), "{:?}", ended.lines);
    let elsewhere = json!({ "do": "publish", "image": "registry.example.com/nosuch:1", "login": null });
    assert_eq!(bench.run(elsewhere).await.failure().kind, "not-found");
    bench.docker.set_outage(Some("it is down"));
    let failure = bench.run(publish).await.failure().clone();
    assert_eq!((failure.class, failure.kind.as_str()), (FailureClass::Transient, "unreachable"));
}
