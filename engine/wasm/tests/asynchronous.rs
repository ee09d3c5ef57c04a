//! Guests that use the asynchronous part of the component model. The contract's functions are synchronous, so that a replay
//! has one order of calls. What a guest makes of it inside of itself is its own matter, and its `run` may be an `async func`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at the first surprise")]

mod support;

use std::time::Duration;

use serde_json::json;
use support::raw::{GIVE, Raw};
use support::{Bench, Case, Ended};
use yuanli_model::PluginReference;
use yuanli_ports::Plugins;

/// A set of waitables that nothing is in yet, and a stream and a future: what the libraries of asynchronous guests make when
/// they begin.
const DECLARATIONS: &str = r#"
    (import "$root" "[waitable-set-new]" (func $set-new (result i32)))
    (import "$root" "[waitable-set-poll]" (func $set-poll (param i32 i32) (result i32)))
    (import "$root" "[waitable-set-drop]" (func $set-drop (param i32)))
    (import "$root" "[context-set-0]" (func $remember (param i32)))
    (import "$root" "[context-get-0]" (func $remembered (result i32)))
"#;

#[tokio::test]
async fn a_guest_that_is_asynchronous_inside_runs() {
    let run: &'static str = Box::leak(
        format!(
            "(call $remember (call $set-new))
            ;; Nothing has happened: event 0.
            (if (call $set-poll (call $remembered) (i32.const 600)) (then unreachable))
            (call $set-drop (call $remembered))
            {GIVE}"
        )
        .into_boxed_str(),
    );
    let raw = Raw { declarations: DECLARATIONS, run, ..Raw::default() };
    let bench = Bench::new();
    std::fs::write(bench.folder.path().join("a.wasm"), raw.component()).unwrap();
    let reference = PluginReference::File("./a.wasm".to_owned());
    let found = bench.host.resolve(&reference, &bench.origin).await.unwrap();
    assert_eq!(found.capabilities, [], "it imports nothing of the host for that");
    let case = Case { component: found.digest, ..Case::default() };
    assert_eq!(*bench.run_case(json!({}), case).await.outputs(), json!({}));
}

/// How a task gives its result: `ok` of a text, with room for what a failure would have.
const RETURN: &str = r#"
    (import "[export]$root" "[task-return]run"
        (func $return (param i32 i32 i32 i64 i32 i32 i32 i32 i32 i32)))
"#;

/// Gives `{}`.
const CALL_RETURN: &str =
    "(call $return (i32.const 0) (i32.const 768) (i32.const 2) (i64.const 0) (i32.const 0)
    (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))";

/// How a stage ends whose `run` is an `async func`. What `run` and its callback give says what is to be done next: 0 nothing,
/// 1 call back soon, 2 with the number of a set of waitables when something happens in that.
async fn run_asynchronous(declarations: &str, run: &'static str, callback: &str) -> Ended {
    let leak = |text: String| -> &'static str { Box::leak(text.into_boxed_str()) };
    let name = r#"(export "[callback][async-lift]run")"#;
    let raw = Raw {
        declarations: leak(format!("{RETURN} {declarations}")),
        run_as: "[async-lift]run",
        run,
        more: leak(format!("(func {name} (param i32 i32 i32) (result i32) {callback})")),
        ..Raw::default()
    };
    let world = "use yuanli:stage/types@0.1.0.{description, failure};
        export describe: func() -> description;
        export run: async func(config: string) -> result<string, failure>;";
    let bench = Bench::new();
    std::fs::write(bench.folder.path().join("a.wasm"), raw.of_world(world)).unwrap();
    let reference = PluginReference::File("./a.wasm".to_owned());
    let found = bench.host.resolve(&reference, &bench.origin).await.unwrap();
    let case = Case { component: found.digest, timeout: Duration::from_secs(2), ..Case::default() };
    bench.run_case(json!({}), case).await
}

#[tokio::test]
async fn a_stage_whose_run_is_an_asynchronous_function_runs() {
    let at_once: &'static str = Box::leak(format!("{CALL_RETURN} (i32.const 0)").into_boxed_str());
    assert_eq!(*run_asynchronous("", at_once, "unreachable").await.outputs(), json!({}));
    let later = format!("{CALL_RETURN} (i32.const 0)");
    assert_eq!(*run_asynchronous("", "(i32.const 1)", &later).await.outputs(), json!({}));
}

#[tokio::test]
async fn one_that_waits_for_nothing_fails() {
    let new = r#"(import "$root" "[waitable-set-new]" (func $set-new (result i32)))"#;
    let waits = "(i32.or (i32.shl (call $set-new) (i32.const 4)) (i32.const 2))";
    let ended = run_asynchronous(new, waits, "unreachable").await;
    assert!(["trap", "timeout"].contains(&ended.failure().kind.as_str()), "{:?}", ended.failure());
}
