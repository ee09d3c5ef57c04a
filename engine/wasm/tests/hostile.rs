//! Guests that mean harm, or were made by nobody who knows the contract: each ends as a failure of its stage that says
//! what it did, and the host is as it was before.
//!
//! Made by hand (`support/raw.rs`), as no tool makes such components. That the harmless one of them runs shows that the
//! contract is all that a guest needs.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at the first surprise")]

mod support;

use std::time::Duration;

use serde_json::json;
use support::raw::{GIVE, Raw};
use support::{BUILTINS, Bench, Case, Ended, digest};
use yuanli_docker::fake::Behaviour;
use yuanli_model::{Capability, Grant, PluginReference};
use yuanli_ports::Plugins;
use yuanli_ports::plugins::PluginError;
use yuanli_test_guests::{NOOP, PROBE};
use yuanli_wasm::Limits;

const LIMITS: fn() -> Limits = || Limits {
    memory_bytes: 32 << 20,
    cpu: Duration::from_millis(200),
    log_bytes: 1 << 20,
    ..Limits::default()
};

impl Bench {
    /// Runs a component from a file, with every right.
    async fn run_raw(&self, component: &[u8]) -> Result<Ended, PluginError> {
        let file = tempfile::Builder::new().suffix(".wasm").tempfile_in(self.folder.path()).unwrap();
        std::fs::write(file.path(), component).unwrap();
        let name = file.path().file_name().unwrap().to_str().unwrap();
        let found = self.host.resolve(&PluginReference::File(format!("./{name}")), &self.origin).await?;
        let case = Case {
            component: found.digest,
            grants: Capability::ALL.map(Grant::Whole).to_vec(),
            ..Case::default()
        };
        Ok(self.run_case(json!({}), case).await)
    }

    async fn fails(&self, raw: Raw, kind: &str, says: &str) -> Ended {
        let ended = self.run_raw(&raw.component()).await.unwrap();
        let failure = ended.failure();
        assert_eq!(failure.kind, kind, "{failure:?}");
        assert!(failure.message.contains(says), "{failure:?}");
        ended
    }

    async fn is_refused(&self, component: &[u8], says: &str) {
        match self.run_raw(component).await {
            Err(error) => assert!(error.to_string().contains(says), "{error}"),
            Ok(ended) => panic!("it ran, and should be refused because of `{says}`: {:?}", ended.outcome),
        }
    }

    async fn works(&self) {
        self.run_case(json!({}), Case { component: digest(NOOP), ..Case::default() }).await.outputs();
    }
}

#[tokio::test]
async fn the_contract_is_all_that_a_guest_needs() {
    let ended = Bench::new().run_raw(&Raw::default().component()).await.unwrap();
    assert_eq!(*ended.outputs(), json!({}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_never_ends_or_takes_everything_is_ended() {
    let bench = Bench::with(LIMITS(), &BUILTINS);
    let check = async |raw: Raw, kind: &str, says: &str| {
        bench.fails(raw, kind, says).await;
        bench.works().await;
    };
    let forever = "(loop $again (br $again)) (unreachable)";
    check(Raw { run: forever, ..Raw::default() }, "cpu-limit", "200ms of processor time").await;
    let more = "(func $grow (loop $again (drop (memory.grow (i32.const 64))) (br $again)))";
    let run = "(call $grow) (unreachable)";
    check(Raw { run, more, ..Raw::default() }, "memory-limit", "may have 33554432").await;
    // Refused by the pool, whose tables have a size of their own, or counted as memory: in both cases it grows no more.
    let more = "(table $t 1 funcref) (func $grow (loop $again \
        (br_if $again (i32.ne (table.grow $t (ref.null func) (i32.const 10000)) (i32.const -1)))))";
    let ended =
        bench.run_raw(&Raw { run: "(call $grow) (unreachable)", more, ..Raw::default() }.component()).await;
    let failure = ended.unwrap().failure().clone();
    // Not by its time: there is an end to how large it gets.
    assert!(matches!(failure.kind.as_str(), "trap" | "memory-limit"), "{failure:?}");
    let more = "(func $deeper (param i32) (result i32) (i32.add (call $deeper (i32.add (local.get 0) (i32.const 1))) (i32.const 1)))";
    let run = "(drop (call $deeper (i32.const 0))) (unreachable)";
    check(Raw { run, more, ..Raw::default() }, "trap", "calls itself too deeply").await;
    check(Raw { run: "(unreachable)", ..Raw::default() }, "trap", "panicked or aborted").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_harm_before_it_is_asked_anything_is_refused() {
    let bench = Bench::with(LIMITS(), &BUILTINS);
    let more = "(func $forever (loop $again (br $again))) (start $forever)";
    bench.is_refused(&Raw { more, ..Raw::default() }.component(), "more than 1 s to describe itself").await;
    bench
        .is_refused(&Raw { describe: "(unreachable)", ..Raw::default() }.component(), "panicked or aborted")
        .await;
    let describe = "(drop (memory.grow (i32.const 2000)))";
    bench.is_refused(&Raw { describe, ..Raw::default() }.component(), "bytes of memory").await;
    // A capability in `describe`.
    let raw = Raw {
        imports: &["yuanli:log/log@0.1.0"],
        declarations: r#"(import "yuanli:log/log@0.1.0" "end-group" (func $end))"#,
        describe: "(call $end)",
        ..Raw::default()
    };
    bench.is_refused(&raw.component(), "`describe` may not use capabilities").await;
    // What it says of itself is no description.
    for name in ["../../etc/passwd", "", "Raw", "a b", "a\0b", "/raw", "raw@1.0.0"] {
        bench.is_refused(&Raw { name, ..Raw::default() }.component(), "name").await;
    }
    bench.is_refused(&Raw { version: "newest", ..Raw::default() }.component(), "version").await;
    for config_schema in ["", "{", "[]", "7", r#"{"type":7}"#, r#"{"type":"object","#] {
        bench.is_refused(&Raw { config_schema, ..Raw::default() }.component(), "schema").await;
    }
    bench.works().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_cannot_fill_the_log() {
    let bench = Bench::with(LIMITS(), &BUILTINS);
    // 64 KiB of zeroes, again and again: 1 GiB would be 16,384 times.
    let raw = Raw {
        imports: &["yuanli:log/log@0.1.0"],
        declarations: r#"(import "yuanli:log/log@0.1.0" "write" (func $write (param i32 i32 i32 i32 i32)))"#,
        run: "(loop $again
            (call $write (i32.const 1) (i32.const 131072) (i32.const 65536) (i32.const 0) (i32.const 0))
            (br $again)) (unreachable)",
        ..Raw::default()
    };
    let ended = bench.fails(raw, "log-limit", "wrote more than 1048576 bytes").await;
    let kept: usize = ended.lines.iter().map(|line| line.text.len()).sum();
    assert!((15 << 16..=16 << 16).contains(&kept), "{kept}");
    bench.works().await;
    // Much of it in one text: of a line that is so long only the beginning is kept.
    let raw = Raw {
        imports: &["yuanli:log/log@0.1.0"],
        declarations: r#"(import "yuanli:log/log@0.1.0" "write" (func $write (param i32 i32 i32 i32 i32)))"#,
        run: "(drop (memory.grow (i32.const 400)))
            (call $write (i32.const 1) (i32.const 131072) (i32.const 25165824) (i32.const 0) (i32.const 0))
            (i32.const -8)",
        ..Raw::default()
    };
    let ended = bench.fails(raw, "trap", "").await;
    let kept: usize = ended.lines.iter().map(|line| line.text.len()).sum();
    assert!((1..=1 << 17).contains(&kept), "{kept}");
    bench.works().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn texts_that_are_none_are_failures() {
    let bench = Bench::with(LIMITS(), &BUILTINS);
    let result = |data: &'static str, address: u32, length: u32| {
        let run = format!(
            "(i32.store (i32.const 512) (i32.const 0)) (i32.store (i32.const 520) (i32.const {address}))
             (i32.store (i32.const 524) (i32.const {length})) (i32.const 512)"
        );
        Raw { run: run.leak(), more: data, ..Raw::default() }
    };
    bench.fails(result(r#"(data (i32.const 600) "\ff\fe\80")"#, 600, 3), "trap", "utf-8").await;
    bench.fails(result(r#"(data (i32.const 600) "{}\00")"#, 600, 3), "invalid-outputs", "no JSON").await;
    bench.fails(result("", 900, 1), "invalid-outputs", "no JSON").await;
    bench.fails(result(r#"(data (i32.const 600) "[]")"#, 600, 2), "invalid-outputs", "outputs").await;
    // Brackets without an end: whoever reads them by calling itself for each would run out of stack.
    let nested = "(memory.fill (i32.const 131072) (i32.const 91) (i32.const 100000))
        (i32.store (i32.const 512) (i32.const 0)) (i32.store (i32.const 520) (i32.const 131072))
        (i32.store (i32.const 524) (i32.const 100000)) (i32.const 512)";
    bench.fails(Raw { run: nested, ..Raw::default() }, "invalid-outputs", "recursion limit").await;
    bench.fails(result("", 0, 4 * 65536 + 1), "trap", "").await;
    bench.fails(result("", u32::MAX, 2), "trap", "").await;
    bench.fails(result("", 0, u32::MAX), "trap", "").await;
    // No such case of the result.
    let run = "(i32.store (i32.const 512) (i32.const 9)) (i32.const 512)";
    bench.fails(Raw { run, ..Raw::default() }, "trap", "").await;
    // The result lies beyond the memory, or not where it may.
    bench.fails(Raw { run: "(i32.const -8)", ..Raw::default() }, "trap", "").await;
    bench.fails(Raw { run: "(i32.const 513)", ..Raw::default() }, "trap", "").await;
    bench.works().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handles_that_it_was_not_given_are_of_no_use() {
    let bench = Bench::with(LIMITS(), &BUILTINS);
    let check = async |run: &'static str| {
        let raw = Raw {
            imports: &["yuanli:containers/containers@0.1.3"],
            declarations: r#"
                (import "yuanli:containers/containers@0.1.3" "[method]container.wait" (func $wait (param i32 i32)))
                (import "yuanli:containers/containers@0.1.3" "[resource-drop]container" (func $drop (param i32)))"#,
            run,
            ..Raw::default()
        };
        bench.fails(raw, "trap", "").await;
        bench.works().await;
    };
    // Out of thin air: of another instance they would be numbers like these.
    check("(call $wait (i32.const 1) (i32.const 600)) (unreachable)").await;
    check("(call $wait (i32.const -1) (i32.const 600)) (unreachable)").await;
    check("(call $drop (i32.const 1)) (unreachable)").await;
    assert!(bench.docker.calls().is_empty(), "nothing of it reached Docker");
}

/// A guest that starts a container of the image `tool`, and then has its handle in the local variable `$held`.
fn with_container(then: &str) -> Raw {
    // The request is 26 values, so it is passed by its address; all of it is zero but the name of the image. Behind the result's
    // discriminant is the handle.
    let run = format!(
        "(local $held i32)
        (i32.store (i32.const 8192) (i32.const 12288)) (i32.store (i32.const 8196) (i32.const 4))
        (call $start (i32.const 8192) (i32.const 16384))
        (if (i32.load8_u (i32.const 16384)) (then (return (i32.const -8))))
        (local.set $held (i32.load (i32.const 16388)))
        {then} {GIVE}"
    );
    Raw {
        imports: &["yuanli:containers/containers@0.1.3"],
        declarations: r#"
            (import "yuanli:containers/containers@0.1.3" "start" (func $start (param i32 i32)))
            (import "yuanli:containers/containers@0.1.3" "[method]container.wait" (func $wait (param i32 i32)))
            (import "yuanli:containers/containers@0.1.3" "[resource-drop]container" (func $drop (param i32)))"#,
        more: r#"(data (i32.const 12288) "tool")"#,
        run: run.leak(),
        ..Raw::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handles_are_of_no_use_after_they_were_dropped() {
    let bench = Bench::with(LIMITS(), &BUILTINS);
    bench.docker.add_image("tool");
    let wait = "(call $wait (local.get $held) (i32.const 20480))";
    let drop = "(call $drop (local.get $held))";
    let ended = bench.run_raw(&with_container(&format!("{wait} {drop}")).component()).await.unwrap();
    ended.outputs();
    for then in [format!("{drop} {wait}"), format!("{drop} {drop}"), format!("{wait} {drop} {wait}")] {
        bench.fails(with_container(&then), "trap", "handle").await;
        bench.works().await;
    }
    assert_eq!(bench.docker.containers(), [""; 0], "what it began is cleaned up all the same");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handles_of_another_instance_are_of_no_use() {
    let bench = Bench::with(LIMITS(), &BUILTINS);
    bench.docker.add_image("tool");
    bench.docker.script("tool", &[], Behaviour::RunsUntilStopped { lines: Vec::new() });
    let wait = "(call $wait (local.get $held) (i32.const 20480))";
    let held = with_container(wait).component();
    let other = async {
        while bench.docker.containers().is_empty() {
            tokio::task::yield_now().await;
        }
        // Every number that the other one could have.
        for number in 0..16 {
            let then = format!("(call $wait (i32.const {number}) (i32.const 20480)) (unreachable)");
            let raw = Raw { run: then.leak(), ..with_container("") };
            bench.fails(raw, "trap", "handle").await;
        }
        let left = bench.docker.containers();
        assert_eq!(left.len(), 1, "nobody has touched it");
        bench.docker.calls()
    };
    tokio::select! {
        ended = bench.run_raw(&held) => panic!("it waits for ever: {:?}", ended.map(|ended| ended.outcome)),
        calls = other => assert_eq!(calls.len(), 1, "{calls:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handles_that_are_never_given_back_come_to_an_end() {
    let bench = Bench::with(LIMITS(), &BUILTINS);
    // Those of the contract are counted in `rights.rs`; these come with the runtime of a language, for nothing.
    let hoard = Raw {
        packages: &[
            "package wasi:io@0.2.6; interface streams { resource output-stream; }",
            "package wasi:cli@0.2.6; interface stdout { use wasi:io/streams@0.2.6.{output-stream}; get-stdout: func() -> \
             output-stream; }",
        ],
        imports: &["wasi:cli/stdout@0.2.6"],
        declarations: r#"(import "wasi:cli/stdout@0.2.6" "get-stdout" (func $get (result i32)))"#,
        run: "(loop $for_ever (drop (call $get)) (br $for_ever)) (unreachable)",
        ..Raw::default()
    };
    bench.fails(hoard, "handle-limit", "more than 1024 handles of WASI").await;
    bench.works().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_stage_is_refused() {
    let bench = Bench::with(LIMITS(), &BUILTINS);
    let raw = Raw::default();
    bench.is_refused(&raw.module(), "core WebAssembly module").await;
    bench.is_refused(&raw.of_world("export run: func(config: string) -> string;"), "it is no stage").await;
    let many: String = (0..10_000).map(|n| format!("(import \"test:many/i{n}@1.0.0\" (instance))")).collect();
    let many = wat::parse_str(format!("(component {many})")).unwrap();
    bench.is_refused(&many, "`test:many/i0@1.0.0`, which this engine does not offer").await;
    let paths = wat::parse_str(r#"(component (import "test:a/b@1.0.0" (instance)))"#).unwrap();
    bench.is_refused(&paths, "does not offer").await;
    let http = wat::parse_str(r#"(component (import "wasi:http/types@0.2.0" (instance)))"#).unwrap();
    bench.is_refused(&http, "wasi:http").await;
    bench.works().await;
}

/// How many damaged components are tried, of each kind.
const DAMAGED: usize = 150;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_components_are_refused_or_harmless() {
    let bench = Bench::with(LIMITS(), &BUILTINS);
    let whole = Raw::default().component();
    for round in 0..DAMAGED {
        let cut = &whole[..whole.len() * round / DAMAGED];
        bench.is_refused(cut, "").await;
        let mut flipped = whole.clone();
        let bit = round * 7_919 % (whole.len() * 8);
        flipped[bit / 8] ^= 1 << (bit % 8);
        // A bit in a name or a text may make another component that is as good.
        if let Ok(ended) = bench.run_raw(&flipped).await
            && let Err(failure) = &ended.outcome
        {
            assert!(!failure.message.is_empty(), "{failure:?}");
        }
    }
    bench.works().await;
    let mut probe = PROBE.component.to_vec();
    let middle = probe.len() / 2;
    probe[middle..middle + 64].fill(0xff);
    bench.is_refused(&probe, "").await;
    bench.works().await;
}

/// Memory that hostile guests may leave behind: what allocators keep.
const LEFT_BYTES: u64 = 64 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_they_took_is_given_back() {
    let bench = Bench::with(LIMITS(), &BUILTINS);
    let more = "(func $fill (local i32) (loop $again
        (drop (memory.grow (i32.const 16)))
        (memory.fill (i32.mul (i32.sub (memory.size) (i32.const 16)) (i32.const 65536)) (i32.const 1) (i32.const 1048576))
        (br $again)))";
    let hoard = Raw { run: "(call $fill) (unreachable)", more, ..Raw::default() }.component();
    bench.run_raw(&hoard).await.unwrap().failure();
    let before = resident();
    for _ in 0..40 {
        assert_eq!(bench.run_raw(&hoard).await.unwrap().failure().kind, "memory-limit");
    }
    let left = resident().saturating_sub(before);
    assert!(left < LEFT_BYTES, "{left} bytes more than before 40 guests that took 32 MiB each");
    bench.works().await;
}

/// Resident memory of this process, in bytes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

/// Makes the seeds of the fuzz target `component`, which are small: it compiles them.
#[test]
#[ignore = "writes the seeds"]
fn make_the_seeds() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz/seeds/component");
    std::fs::create_dir_all(&folder).unwrap();
    let keep = |name: &str, raw: Raw| std::fs::write(folder.join(name), raw.component()).unwrap();
    keep("raw", Raw::default());
    let declarations = r#"(import "yuanli:log/log@0.1.0" "end-group" (func $end))"#;
    keep("log", Raw { imports: &["yuanli:log/log@0.1.0"], declarations, ..Raw::default() });
    let declarations = r#"
        (import "yuanli:containers/containers@0.1.3" "[method]container.wait" (func $wait (param i32 i32)))
        (import "yuanli:containers/containers@0.1.3" "[resource-drop]container" (func $drop (param i32)))"#;
    keep(
        "containers",
        Raw { imports: &["yuanli:containers/containers@0.1.3"], declarations, ..Raw::default() },
    );
}
