//! The suite over the guests of this repository that need no other tools, and over guests that fail it: each check can.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at the first surprise")]

#[path = "../../wasm/tests/support/raw.rs"]
mod raw;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use raw::{GIVE, Raw};
use tempfile::TempDir;
use yuanli_conformance::{Case, CaseFile, Checked, Options, Report, Suite, Verdict, cases_at};
use yuanli_model::{RunId, Timestamp};
use yuanli_ports::Clock;
use yuanli_test_guests::{NOOP, PROBE};

/// A clock that is a little later whenever it is read.
#[derive(Debug, Default)]
struct Steps(AtomicU64);

impl Clock for Steps {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.fetch_add(1, Ordering::AcqRel))
    }

    fn new_run_id(&self) -> RunId {
        RunId::from_u128(1)
    }

    fn wait_until(&self, _: Timestamp) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(std::future::ready(()))
    }
}

fn guests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/conformance/guests")
}

/// The cases of a guest of this repository.
fn cases_of(guest: &str) -> Vec<CaseFile> {
    let folder = guests().join(guest);
    let cases = cases_at(&folder).unwrap();
    assert!(!cases.is_empty(), "{}", folder.display());
    cases
}

fn case(text: &str) -> CaseFile {
    CaseFile { path: PathBuf::from("case.yaml"), case: Case::parse(text).unwrap() }
}

async fn check(component: &[u8], cases: &[CaseFile], has_general: bool) -> Report {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("guest.wasm");
    std::fs::write(&file, component).unwrap();
    // One cache for all tests: compiling the guests once is enough.
    let cache = std::env::temp_dir().join("yuanli-wasm-tests-cache");
    let options = Options { cache, clock: Arc::new(Steps::default()), has_general };
    let mut told = 0;
    let suite = Suite::new(options).unwrap();
    let report = suite.check(&file, cases, &mut |_| told += 1).await.unwrap();
    assert_eq!(told, report.checked.len(), "each check is told as it ends");
    report
}

/// What failed, with all that differs.
fn failed(report: &Report) -> Vec<(&str, String)> {
    let failed = |checked: &'_ Checked| match &checked.verdict {
        Verdict::Failed { differences, .. } => Some(differences.join("\n")),
        Verdict::Passed | Verdict::Skipped(_) => None,
    };
    report.checked.iter().filter_map(|checked| Some((checked.name.as_str(), failed(checked)?))).collect()
}

/// A guest without an SDK that conforms.
fn raw() -> Raw {
    Raw {
        config_schema: r#"{"type":"object","properties":{"text":{"type":"string"}},"required":["text"],"additionalProperties":false}"#,
        ..Raw::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_guests_of_this_repository_conform() {
    for (name, component) in [("noop", NOOP.component.to_vec()), ("raw", raw().component())] {
        let report = check(&component, &cases_of(name), true).await;
        assert_eq!(failed(&report), [], "{name}");
        assert_eq!(report.plugin.as_ref().map(|(found, _)| found.as_str()), Some(name));
        // It claims nothing of itself; of nothing, nothing can be spoiled.
        let skipped = report.checked.iter().filter(|checked| matches!(checked.verdict, Verdict::Skipped(_)));
        assert_eq!(skipped.count(), if name == "noop" { 2 } else { 1 }, "{report:#?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_plugins_of_the_engine_conform() {
    let (mut with_cases, mut wrong) = (0, Vec::new());
    for plugin in yuanli_plugins::ALL {
        let folder = guests().join(plugin.name);
        let cases = if folder.is_dir() { cases_of(plugin.name) } else { Vec::new() };
        with_cases += usize::from(!cases.is_empty());
        let report = check(plugin.component, &cases, true).await;
        let failed = failed(&report);
        wrong.extend(failed.iter().map(|(name, why)| format!("{}: {name}: {why}", plugin.name)));
    }
    assert_eq!(wrong, [""; 0]);
    assert_eq!(with_cases, 10, "those that are about apps, backups, sources, images and who is told");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_case_a_config_is_made_of_the_schema() {
    let report = check(&raw().component(), &[], true).await;
    assert_eq!(failed(&report), []);
    let pattern = r#"{"type":"object","properties":{"a":{"type":"string","pattern":"^x+$"}},"required":["a"],"additionalProperties":false}"#;
    let report = check(&Raw { config_schema: pattern, ..raw() }.component(), &[], true).await;
    assert_eq!(failed(&report), []);
    let why = "no config can be made of its schema: a case of its own in `tests/` has one";
    let skipped = report.checked.iter().filter(|checked| checked.verdict == Verdict::Skipped(why.to_owned()));
    assert_eq!(skipped.count(), 6, "{report:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_probes_do_is_seen_and_compared() {
    let cases = cases_of("probe");
    let report = check(PROBE.component, &cases, false).await;
    assert_eq!(failed(&report), []);
    assert_eq!(report.checked.len(), cases.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_that_does_not_conform_is_told_which_statement_and_why() {
    let open = r#"{"type":"object","properties":{"text":{"type":"string"}},"required":["text"]}"#;
    let old = r#"{"$schema":"http://json-schema.org/draft-07/schema#","type":"object","properties":{"text":{"type":"string"}},"additionalProperties":false}"#;
    let long = "(if (i32.gt_u (local.get $length) (i32.const 1000)) (then unreachable))";
    let traps_on_length: &'static str = Box::leak(format!("{long} {GIVE}").into_boxed_str());
    let remove = r#"(import "yuanli:workspace/workspace@0.1.0" "remove" (func $remove (param i32 i32 i32)))"#;
    let removes: &'static str = Box::leak(
        format!("(call $remove (i32.const 768) (i32.const 1) (i32.const 512)) {GIVE}").into_boxed_str(),
    );
    let checks = [
        (
            Raw { config_schema: open, ..raw() },
            "a key that it does not know is a mistake",
            "takes any other key",
        ),
        (Raw { config_schema: old, ..raw() }, "its schemas are of draft 2020-12", "draft-07"),
        (
            Raw {
                imports: &["yuanli:workspace/workspace@0.1.0"],
                declarations: remove,
                run: removes,
                ..raw()
            },
            "it says what its rights are for",
            "it imports `workspace`",
        ),
        (
            Raw { run: traps_on_length, ..raw() },
            "it bears hostile config",
            "with text: 64 KiB: permanent (trap): ",
        ),
        (Raw { version: "one", ..raw() }, "it describes itself", "`one` is no version"),
    ];
    for (guest, statement, says) in checks {
        let report = check(&guest.component(), &[], true).await;
        let failed = failed(&report);
        let [(name, why)] = failed.as_slice() else { panic!("{statement}: {failed:#?}") };
        assert_eq!(*name, statement);
        assert!(why.contains(says), "{why}");
        assert!(!report.has_passed());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_that_never_ends_fails_what_it_is_tried_with() {
    let endless = Raw { run: "(loop $again (br $again)) unreachable", ..raw() };
    let short = case("name: it is tried for a moment\nconfig: { text: a }\ntimeout_ms: 100\n");
    let report = check(&endless.component(), &[short], true).await;
    let failed = failed(&report);
    let names: Vec<&str> = failed.iter().map(|(name, _)| *name).collect();
    let runs = "it runs without rights of WASI, within its limits";
    // Whoever never ends is ended: that holds for it too.
    assert!(names.contains(&runs) && names.contains(&"it is tried for a moment"), "{failed:#?}");
    assert!(!names.contains(&"it ends when its time is over"), "{failed:#?}");
    assert!(failed[0].1.contains("transient (timeout)"), "{failed:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_case_that_does_not_hold_says_what_differs() {
    let cases = [
        (
            "config: { do: give, outputs: { a: 1, b: x } }\nexpect: { outputs: { a: 2, c: 3 } }",
            "outputs.a: expected 2, got 1\noutputs.c: expected 3, got nothing\noutputs.b: expected nothing, got \"x\"",
        ),
        ("config: { do: give, outputs: {} }\nexpect: { failure: {} }", "it succeeded, and was to fail"),
        ("config: { do: fail, class: transient, kind: k, message: m }", "it failed: transient (k): \"m\""),
        (
            "config: { do: fail, class: transient, kind: k, message: m }\nexpect:\n  failure: { class: permanent, kind: x, message: y, details: { a: b } }",
            "failure.class: expected \"permanent\", got \"transient\"\nfailure.kind: expected \"x\", got \"k\"\n\
             failure.message: \"y\" is not in \"m\"\nfailure.details.a: expected \"b\", got nothing\nit failed: transient (k): \"m\"",
        ),
        (
            "config: { do: talk }\nexpect: { log: [inside, to stdout] }",
            "log: \"to stdout\" is only before the lines that were to come before it",
        ),
        ("config: { do: talk }\nexpect: { log: [nowhere] }", "log: \"nowhere\" is in no line"),
        (
            "config: { do: files }\nexpect: { workspace: { a/b.txt: other, none.txt: x, a: null } }",
            "the workspace has a file `a`\n`a/b.txt` of the workspace: expected \"other\", got \"hello\"\nthe workspace has no file `none.txt`",
        ),
        (
            "config: { do: container, image: i, command: [x], wait: true }\ndocker: { images: [i] }\nexpect:\n  containers: [{ image: other, command: [], environment: { A: b }, network: true }]",
            "containers[0].image: expected \"other\", got \"i\"\ncontainers[0].command: expected [], got [\"x\"]\n\
             containers[0].network: expected true, got false\ncontainers[0].environment.A: expected \"b\", got null",
        ),
        (
            "config: { do: container, image: i, command: [x], wait: true }\ndocker: { images: [i] }\nexpect: { containers: [] }",
            "containers: expected 0, got 1: i [\"x\"]",
        ),
        (
            "config: { do: give, outputs: {} }\nexpect: { requests: [GET x] }",
            "requests: expected [\"GET x\"], got []",
        ),
        (
            "config: { do: app, document: { app: shop, image: i, port: 80 } }\napps: { shop: {} }\nexpect: { apps: [] }",
            "apps: expected [], got [\"deploy shop i\",\"scale shop +2\",\"undo shop #2: enough of it\"]",
        ),
        (
            "config: { do: backup, volume: data }\nbackups: { data: { snapshots: [{ id: a }] } }\nexpect: { backups: [verify a] }",
            "backups: expected [\"verify a\"], got [\"back up data to /repository, paused for 5s\"",
        ),
        (
            "config: { do: count, key: k }\nexpect:\n  state: { k: '2', l: x }\n  artifacts: { report.txt: other, more: x }\n  \
             events: [{ type: other, subject: k }]",
            "state.k: expected \"2\", got \"1\"\nstate.l: expected \"x\", got nothing\nthe stage has no artifact `more`\n\
             `report.txt` of the stage: expected \"other\", got \"counted to 1\\n\"\n\
             events[0].type: expected \"other\", got \"probe.counted\"",
        ),
        (
            "config: { do: count, key: k }\nexpect: { state: { k: null }, artifacts: { report.txt: null }, events: [] }",
            "state.k: expected nothing, got \"1\"\nthe stage has put an artifact `report.txt`\nevents: expected [], got",
        ),
        ("config: { do: nothing-of-this }", "it failed: permanent (invalid-config)"),
    ];
    for (text, says) in cases {
        let report = check(PROBE.component, &[case(&format!("name: a\n{text}\n"))], false).await;
        let failed = failed(&report);
        assert!(failed.len() == 1 && failed[0].1.contains(says), "{text}\n{failed:#?}");
    }
}

#[tokio::test]
async fn what_is_no_component_is_an_error_and_no_report() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("guest.wasm");
    std::fs::write(&file, "no wasm").unwrap();
    let cache = folder.path().join("cache");
    let options = Options { cache, clock: Arc::new(Steps::default()), has_general: true };
    let suite = Suite::new(options).unwrap();
    let error = suite.check(&file, &[], &mut |_| {}).await.unwrap_err();
    assert!(error.to_string().contains("no WebAssembly component"), "{error}");
    assert!(suite.check(Path::new("/none.wasm"), &[], &mut |_| {}).await.is_err());
}
