//! What plugins keep with the engine, through the whole host: state, artifacts, events, and the journal that makes each
//! of their calls happen once.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at the first surprise")]

mod support;

use serde_json::{Value, json};
use support::{Bench, Case, Ended, attempt};
use yuanli_executor::StateOwner;
use yuanli_model::{Capability, FailureClass, Grant, RunId};
use yuanli_ports::Cancellation;

fn case() -> Case {
    Case { grants: Capability::ALL.map(Grant::Whole).to_vec(), ..Case::default() }
}

fn again() -> Case {
    Case { is_again: true, ..case() }
}

/// Runs calls and gives what each told.
async fn told(bench: &Bench, calls: Value) -> Value {
    bench.run_case(json!({ "do": "calls", "calls": calls }), case()).await.outputs()["told"].clone()
}

async fn run_again(bench: &Bench, calls: Value) -> Ended {
    bench.run_case(json!({ "do": "calls", "calls": calls }), again()).await
}

/// What is kept under a key.
async fn state(bench: &Bench, key: &str) -> Option<String> {
    let owner = StateOwner { workflow: "w".parse().unwrap(), plugin: "probe".to_owned() };
    let values = bench.records.values(&owner).await.unwrap();
    let found = values.into_iter().find(|entry| entry.key == key);
    found.map(|entry| String::from_utf8_lossy(&entry.value).into_owned())
}

async fn events(bench: &Bench) -> Vec<(u64, String, String)> {
    let kept = bench.records.events(0, 10_000).await.unwrap();
    kept.into_iter().map(|kept| (kept.number, kept.event.kind, kept.event.data)).collect()
}

async fn artifacts(bench: &Bench) -> Vec<(String, String, u64)> {
    let kept = bench.records.artifacts_of(RunId::from_u128(1)).await.unwrap();
    let kept = kept.into_iter().map(|kept| kept.content);
    kept.map(|content| (content.name.clone(), content.media_type.clone(), content.size())).collect()
}

#[tokio::test]
async fn everything_can_be_kept_and_read_again() {
    let bench = Bench::new();
    let ended = bench.run_case(json!({ "do": "keep" }), case()).await;
    let outputs = ended.outputs();
    assert_eq!(outputs["grows"], true);
    assert_eq!(outputs["stale"], r#"Some(Error::Conflict("`a/1` has revision 1; 2 was expected"))"#);
    assert_eq!((&outputs["value"], &outputs["listed"]), (&json!("one"), &json!(["a/1", "a/2"])));
    assert_eq!((&outputs["deleted"], &outputs["size"]), (&json!([true, false]), &json!(9)));
    let digest = yuanli_model::Digest::of(b"<report/>").to_string();
    assert_eq!(outputs["digest"], digest);
    assert_eq!(state(&bench, "a/2").await.as_deref(), Some("two"));
    let (octets, xml) = ("application/octet-stream".to_owned(), "application/xml".to_owned());
    let expected = [("empty".to_owned(), octets, 0), ("reports/unit.xml".to_owned(), xml, 9)];
    assert_eq!(artifacts(&bench).await, expected);
    let kept = &bench.records.events_of(RunId::from_u128(1)).await.unwrap()[0];
    assert_eq!(outputs["id"], kept.event.id());
    assert_eq!((kept.number, kept.event.source().as_str()), (1, "/workflows/w/stages/probe"));
    assert_eq!(
        (&kept.event.attempt, kept.event.data.as_str()),
        (&attempt(), r#"{"artifact":"reports/unit.xml"}"#)
    );
}

#[tokio::test]
async fn an_attempt_that_is_begun_again_does_nothing_twice() {
    let bench = Bench::new();
    let count = || json!({ "do": "count", "key": "runs" });
    let first = bench.run_case(count(), case()).await;
    // As often as it crashes.
    for _ in 0..3 {
        let second = bench.run_case(count(), again()).await;
        assert_eq!(second.outputs(), first.outputs());
    }
    assert_eq!(state(&bench, "runs").await.as_deref(), Some("1"));
    assert_eq!(events(&bench).await, [(1, "probe.counted".to_owned(), r#"{"number":1}"#.to_owned())]);
    assert_eq!(artifacts(&bench).await.len(), 1);
    // One that is not the same attempt counts on.
    let other = bench.run_case(count(), case()).await;
    assert_eq!(other.outputs()["number"], 2);
    assert_eq!(events(&bench).await.len(), 2);
}

#[tokio::test]
async fn what_was_recorded_is_told_again_and_the_rest_is_done() {
    let bench = Bench::new();
    let set = |value: &str| json!({ "call": "set", "key": "a", "value": value });
    let get = json!({ "call": "get", "key": "a" });
    let first = told(&bench, json!([set("1"), get, set("2"), { "call": "put", "name": "r", "media_type": "text/plain", "text": "x" }])).await;
    assert_eq!(first, json!([1, "1", 2, 1]));
    // It goes on where it was killed. What it read then is what it had read, not what is there now.
    let calls = json!([set("1"), get, set("2"), { "call": "put", "name": "r", "media_type": "text/plain", "text": "x" }, get, set("3")]);
    let second = run_again(&bench, calls).await;
    assert_eq!(second.outputs()["told"], json!([1, "1", 2, 1, "2", 3]));
    assert_eq!(state(&bench, "a").await.as_deref(), Some("3"));
}

#[tokio::test]
async fn a_refusal_is_told_again_although_it_would_not_be_one_any_more() {
    let bench = Bench::new();
    let set = |expected: Value, value: &str| json!({ "call": "compare-and-set", "key": "a", "expected": expected, "value": value });
    let calls = json!([set(json!(7), "x"), set(Value::Null, "y")]);
    let first = told(&bench, calls.clone()).await;
    assert_eq!(
        first[0],
        json!({ "error": "Error::Conflict(\"`a` is not there; revision 7 of it was expected\")" })
    );
    let second = run_again(&bench, calls).await;
    assert_eq!(second.outputs()["told"], first);
}

#[tokio::test]
async fn an_attempt_that_calls_something_else_is_ended_with_both_calls() {
    let bench = Bench::new();
    let set = |key: &str, value: &str| json!({ "call": "set", "key": key, "value": value });
    told(&bench, json!([set("a", "1"), set("b", "2")])).await;
    for (calls, index, attempted, recorded) in [
        (json!([set("a", "1"), set("b", "3")]), 2, r#"#set("b", "3")"#, r#"#set("b", "2")"#),
        (json!([set("a", "1"), { "call": "delete", "key": "b" }]), 2, r#"#delete("b")"#, r#"#set("b", "2")"#),
        (json!([{ "call": "get", "key": "a" }]), 1, r#"#get("a")"#, r#"#set("a", "1")"#),
        (json!([set("a", "1")]), 2, "the end of the stage", r#"#set("b", "2")"#),
    ] {
        let ended = run_again(&bench, calls).await;
        let failure = ended.failure();
        assert_eq!(
            (failure.kind.as_str(), &failure.class),
            ("nondeterministic-plugin", &FailureClass::Interrupted)
        );
        assert!(
            failure.message.starts_with("plugin `probe` was ended: nondeterministic plugin: "),
            "{failure:?}"
        );
        assert!(failure.message.contains(&format!("its recorded call {index} was ")), "{}", failure.message);
        let (at, before) = (failure.message.find(attempted), failure.message.find(recorded));
        assert!(at.is_some() && before.is_some() && at < before, "{}", failure.message);
    }
    assert_eq!(
        (state(&bench, "a").await.as_deref(), state(&bench, "b").await.as_deref()),
        (Some("1"), Some("2"))
    );
}

#[tokio::test]
async fn what_follows_from_a_secret_that_has_changed_is_told_as_such() {
    let bench = Bench::new();
    let cancel = Cancellation::new();
    let waver = || json!({ "do": "waver", "key": { "secret": "growing" } });
    let first = async {
        let ended = bench.run_case(waver(), Case { cancel: cancel.clone(), ..case() }).await;
        assert_eq!(ended.failure().kind, "cancelled");
    };
    let kill = async {
        while state(&bench, "wavering").await.is_none() {
            tokio::task::yield_now().await;
        }
        cancel.cancel();
    };
    tokio::join!(first, kill);
    let second = bench.run_case(waver(), again()).await;
    let failure = second.failure();
    assert_eq!(
        (failure.kind.as_str(), &failure.class),
        ("nondeterministic-plugin", &FailureClass::Interrupted)
    );
    assert!(
        failure.message.contains("before that it called yuanli:secrets-reveal/secrets-reveal@0.1.0#reveal"),
        "{}",
        failure.message
    );
}

#[tokio::test]
async fn names_and_values_that_are_not_as_they_have_to_be_are_refused() {
    let bench = Bench::new();
    let check = async |call: Value, says: &str| {
        let told = told(&bench, json!([call])).await;
        let error = told[0]["error"].as_str().unwrap_or_else(|| panic!("{call} was taken: {told}"));
        assert!(error.contains(says), "{call}: {error}");
    };
    let set = |key: &str| json!({ "call": "set", "key": key, "value": "" });
    check(set(""), "1 to 256 are allowed").await;
    check(set("a\0b"), "control character").await;
    check(set("a\nb"), "control character").await;
    check(set(&"k".repeat(257)), "257 bytes").await;
    check(json!({ "call": "get", "key": "\u{7f}" }), "control character").await;
    let long = "\u{1}".repeat(1_000_000);
    check(json!({ "call": "get", "key": long }), "1000000 bytes").await;
    check(json!({ "call": "list", "prefix": long, "after": null }), "at most 256").await;
    check(json!({ "call": "list", "prefix": "", "after": long }), "at most 256").await;
    check(json!({ "call": "put", "name": "a", "media_type": long, "text": "" }), "1000000 bytes").await;
    check(json!({ "call": "set-bytes", "key": "a", "bytes": 8193 }), "at most 8192").await;
    check(json!({ "call": "set-bytes", "key": "a", "bytes": 100_000_000 }), "TooLarge").await;

    let put =
        |name: &str, kind: &str| json!({ "call": "put", "name": name, "media_type": kind, "text": "x" });
    for name in ["/etc/passwd", "../up", "a/../b", "a//b", ".", "a/", "a\\b"] {
        check(put(name, ""), "is no name of an artifact").await;
    }
    check(put("a\0b", ""), "control character").await;
    check(put(&"n".repeat(201), ""), "1 to 200").await;
    for kind in ["text", "text/", "/plain", "text/plain\nx: y", "t e/x", "text/plain; ä"] {
        check(put("a", kind), "is no media type").await;
    }
    check(json!({ "call": "put-bytes", "name": "a", "bytes": 16 * 1024 * 1024 + 1 }), "put it as a file")
        .await;
    check(json!({ "call": "put-file", "name": "a", "path": "missing" }), "NotFound").await;
    check(json!({ "call": "put-file", "name": "a", "path": "../../etc/passwd" }), "leads out").await;
    check(json!({ "call": "put-file", "name": "a", "path": "" }), "is no file").await;

    let emit = |kind: &str, data: &str, subject: Value| json!({ "call": "emit", "kind": kind, "data": data, "subject": subject });
    for kind in ["", "1st", "a b", "a/b", "é", "a\0"] {
        check(emit(kind, "{}", Value::Null), "Invalid").await;
    }
    check(emit("a", "{", Value::Null), "are no JSON").await;
    check(emit("a", &format!("\"{}\"", "x".repeat(8191)), Value::Null), "at most 8192").await;
    check(emit("a", "1", json!("\0")), "control character").await;
    check(emit("a", "1", json!("")), "1 to 256").await;

    // What only looks odd is a name like any other.
    let odd = told(
        &bench,
        json!([set("../../etc/passwd"), set("🙂"), put("a b/🙂.txt", "text/plain; charset=utf-8")]),
    )
    .await;
    assert_eq!(odd, json!([1, 2, 1]));
}

#[tokio::test]
async fn there_is_an_end_to_how_much_is_kept() {
    let bench = Bench::new();
    let filled = bench.run_case(json!({ "do": "fill", "keys": 1_100 }), case()).await;
    assert_eq!(filled.outputs()["done"], 1_000);
    assert!(filled.outputs()["error"].as_str().unwrap().contains("1000 state keys in workflow `w`"));
    let flooded = bench.run_case(json!({ "do": "flood", "events": 1_100 }), case()).await;
    assert_eq!(flooded.outputs()["done"], 1_000);
    assert!(flooded.outputs()["error"].as_str().unwrap().contains("1000 events"));
    let numbers: Vec<u64> = events(&bench).await.into_iter().map(|(number, ..)| number).collect();
    assert_eq!(numbers, (1..=1_000).collect::<Vec<u64>>());
    // A page has a hundred keys, and begins after the one that it is told.
    let listed = told(
        &bench,
        json!([
            { "call": "list", "prefix": "", "after": null },
            { "call": "list", "prefix": "99", "after": "994" },
            { "call": "list", "prefix": "99", "after": "1" },
            { "call": "list", "prefix": "1", "after": "99" },
        ]),
    )
    .await;
    assert_eq!(listed[0].as_array().unwrap().len(), 100);
    assert_eq!(listed[1], json!(["995", "996", "997", "998", "999"]));
    assert_eq!(listed[2].as_array().unwrap().len(), 11);
    assert_eq!(listed[3], json!([]));
}

#[tokio::test]
async fn thousands_of_calls_are_ended_with_the_figure() {
    let bench = Bench::new();
    let calls: Vec<Value> = (0..100_001).map(|_| json!({ "call": "get", "key": "" })).collect();
    let ended = bench.run_case(json!({ "do": "calls", "calls": calls }), case()).await;
    let failure = ended.failure();
    assert_eq!(failure.kind, "journal-limit");
    assert!(failure.message.contains("100000 calls"), "{}", failure.message);
}

#[tokio::test]
async fn artifacts_of_several_parts_are_kept_whole_and_replaced() {
    let bench = Bench::new();
    let calls = json!([{ "call": "put-bytes", "name": "large", "bytes": 9 * 1024 * 1024 }]);
    assert_eq!(told(&bench, calls).await, json!([9 * 1024 * 1024]));
    let kept = bench.records.artifacts_of(RunId::from_u128(1)).await.unwrap();
    let content = &kept[0].content;
    assert_eq!(content.parts.len(), 3);
    assert_eq!(content.digest, yuanli_model::Digest::of(&vec![7; 9 * 1024 * 1024]));
    let mut size = 0;
    for part in &content.parts {
        size += bench.records.part(part.digest).await.unwrap().len() as u64;
    }
    assert_eq!(size, content.size());
    let again = json!([{ "call": "put", "name": "large", "media_type": "text/plain", "text": "small" }]);
    assert_eq!(told(&bench, again).await, json!([5]));
    assert_eq!(artifacts(&bench).await, [("large".to_owned(), "text/plain".to_owned(), 5)], "it is replaced");
}

#[tokio::test]
async fn an_attempt_puts_no_more_than_its_stage_the_plugin_and_the_engine_say() {
    let put = |name: &str, bytes: u64| json!({ "call": "put-bytes", "name": name, "bytes": bytes });
    let calls = json!({ "do": "calls", "calls": [put("a", 600), put("a", 400), put("b", 25), put("b", 24), put("b", 1)] });
    let limits = |bytes| yuanli_model::stage::Limits { artifact_bytes: Some(bytes), ..Default::default() };
    let stage = Case { limits: limits(1024), ..case() };
    let bench = Bench::new();
    let first = bench.run_case(calls.clone(), stage).await;
    // What was replaced counts: 600 and 400 and 24 are all there is.
    assert_eq!(first.outputs()["told"].as_array().unwrap()[..2], [json!(600), json!(400)]);
    assert_eq!(first.outputs()["told"][3], 24);
    for refused in [2, 4] {
        let told = first.outputs()["told"][refused]["error"].as_str().unwrap().to_owned();
        assert!(told.starts_with("Error::TooLarge("), "{told}");
        assert!(told.contains("together it may put 1024, as its stage says; give it more with"), "{told}");
        assert!(told.contains("`limits: { artifacts: … }`"), "{told}");
    }
    assert!(first.outputs()["told"][4].to_string().contains("has 1 bytes and the attempt has put 1024"));
    // It is counted durably: what is begun again has no more.
    let more = json!({ "do": "calls", "calls": [put("a", 600), put("a", 400), put("b", 25), put("b", 24), put("b", 1), put("c", 2)] });
    let second = bench.run_case(more, Case { limits: limits(1024), ..again() }).await;
    assert!(second.outputs()["told"][5].to_string().contains("has put 1024"), "{:?}", second.outputs());
    // The engine can give less.
    let bounds = yuanli_model::Bounds { timeout: None, limits: limits(500) };
    let bench = Bench::under(yuanli_model::Ceiling {
        file: "/d/config.yaml".to_owned(),
        bounds,
        ..Default::default()
    });
    let ended = bench.run_case(calls, case()).await;
    let told = ended.outputs()["told"][0].to_string();
    assert!(told.contains("may put 500, which is the most that the engine gives"), "{told}");
    assert_eq!(ended.outputs()["told"][1], 400);
}

#[tokio::test]
async fn a_long_secret_across_two_parts_of_an_artifact_is_found() {
    let bench = Bench::new();
    let (key, part) = (json!({ "secret": "long" }), 4 * 1024 * 1024);
    // Most of it in the first part, most of it in the second.
    for before in [12, 4] {
        let call = json!({ "call": "put-before", "name": "a", "key": key, "bytes": part - before * 1024 });
        let case = Case { secrets: vec!["long"], ..case() };
        let ended = bench.run_case(json!({ "do": "calls", "calls": [call] }), case).await;
        let told = ended.outputs()["told"][0].to_string();
        assert!(told.contains("holds the value of a secret"), "{before}: {told}");
    }
    assert_eq!(artifacts(&bench).await, []);
}

#[tokio::test]
async fn the_value_of_a_secret_is_not_kept() {
    let bench = Bench::new();
    let key = json!({ "secret": "token" });
    let calls = json!([
        { "call": "set-secret", "key": key },
        { "call": "put-secret", "name": "leak", "key": key },
        { "call": "emit-secret", "key": key },
    ]);
    let case = Case { secrets: vec!["token"], ..case() };
    let ended = bench.run_case(json!({ "do": "calls", "calls": calls }), case).await;
    let told = &ended.outputs()["told"];
    assert!(told[0]["error"].as_str().unwrap().contains("hold the value of a secret"), "{told}");
    assert!(told[1]["error"].as_str().unwrap().contains("holds the value of a secret"), "{told}");
    assert_eq!(events(&bench).await, [(1, "probe.secret".to_owned(), r#"{"key":"***"}"#.to_owned())]);
    assert_eq!(artifacts(&bench).await, []);
}
