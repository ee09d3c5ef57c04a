//! The stage on the SDK's mock: containers that write reports into the mock's workspace.

use std::cell::RefCell;
use std::rc::Rc;

use yuanli_sdk::mock::{Mock, Ran};
use yuanli_sdk::serde_json::{Value, json};

use super::*;

/// Runs the stage; each container in turn writes these files and ends with this code.
fn run(config: Value, runs: &[(i64, &[(&str, &str)])]) -> (Result<Value, Failure>, Vec<containers::Request>) {
    let mut runs: Vec<(i64, Vec<(String, String)>)> = runs
        .iter()
        .rev()
        .map(|(code, files)| {
            (*code, files.iter().map(|(path, text)| (path.to_string(), text.to_string())).collect())
        })
        .collect();
    let mut mock = Mock::new();
    mock.file("reports/old.xml", "<testsuite><testcase name='old'><failure/></testcase></testsuite>");
    mock.container("shop", move |_| {
        let (code, files) = runs.pop().expect("no more containers");
        for (path, text) in files {
            workspace::write(&path, text).expect("the mock takes it");
        }
        Ok(Ran::with_code(code))
    });
    let ended = mock.run::<Test>(config);
    (ended, mock.started().to_vec())
}

const PASSED: &str = "<testsuite><testcase name='a' time='0.5'/><testcase name='b' time='2'/>\
                      <testcase name='c'><skipped/></testcase></testsuite>";
const ONE_FAILED: &str =
    "<testsuite><testcase name='a'/><testcase name='b'><failure message='1 != 2'/></testcase></testsuite>";
const B_PASSED: &str = "<testsuite><testcase name='b' time='0.1'/></testsuite>";

fn config(more: Value) -> Value {
    let mut config = json!({ "image": "shop", "command": ["t"], "reports": ["reports/*.xml"] });
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    config
}

#[test]
fn reports_are_counted_and_those_from_before_are_not() {
    let (ended, started) = run(config(json!({})), &[(0, &[("reports/new.xml", PASSED)])]);
    let outputs = ended.unwrap();
    assert_eq!(outputs["tests"], json!({ "passed": 2, "skipped": 1, "flaky": 0 }));
    let slowest = json!([{ "name": "b", "duration_ms": 2000 }, { "name": "a", "duration_ms": 500 }]);
    assert_eq!(outputs["slowest"], slowest);
    let mount = started[0].workspace.as_ref().unwrap();
    assert_eq!((mount.target.as_str(), mount.read_only), ("/workspace", false));
}

#[test]
fn failed_tests_are_named() {
    let (ended, _) = run(config(json!({})), &[(1, &[("reports/new.xml", ONE_FAILED)])]);
    let failure = ended.unwrap_err();
    assert_eq!(
        (failure.kind.as_str(), failure.message.as_str()),
        ("tests-failed", "1 of 2 tests failed: b (1 != 2)")
    );
    assert!(failure.details.contains(&("failed".to_owned(), r#"["b"]"#.to_owned())), "{failure:?}");
    // Whatever the exit code says.
    let (ended, _) = run(config(json!({})), &[(0, &[("reports/new.xml", ONE_FAILED)])]);
    assert_eq!(ended.unwrap_err().kind, "tests-failed");
}

#[test]
fn a_suite_that_breaks_without_a_failed_test_has_failed() {
    let (ended, _) = run(config(json!({})), &[(3, &[("reports/new.xml", PASSED)])]);
    assert_eq!(ended.unwrap_err().message, "1 of 1 test suites failed: tests (exit code 3)");
    let (ended, _) = run(config(json!({})), &[(3, &[])]);
    assert_eq!(ended.unwrap_err().message, "1 of 1 test suites failed: tests (exit code 3)");
    let (ended, _) = run(config(json!({})), &[(0, &[])]);
    let failure = ended.unwrap_err();
    assert!(failure.kind == "no-report" && failure.message.contains("reports/*.xml"), "{failure:?}");
    let (ended, _) = run(config(json!({})), &[(0, &[("reports/new.xml", "<a>")])]);
    assert!(ended.unwrap_err().message.contains("`reports/new.xml` cannot be read"));
}

#[test]
fn what_passes_when_it_is_run_again_is_flaky() {
    let rerun = json!({ "rerun": { "command": ["t", "--exact", "{tests}"], "times": 2 } });
    let failed: &[(&str, &str)] = &[("reports/new.xml", ONE_FAILED)];
    let passed: &[(&str, &str)] = &[("reports/new.xml", B_PASSED)];
    let (ended, started) = run(config(rerun.clone()), &[(1, failed), (1, failed), (0, passed)]);
    let outputs = ended.unwrap();
    assert_eq!((&outputs["flaky"], &outputs["tests"]["flaky"]), (&json!(["b"]), &json!(1)));
    assert_eq!(started[1].command, ["t", "--exact", "b"]);
    assert!(started[1].environment.contains(&("YUANLI_FAILED_TESTS".to_owned(), "b".to_owned())));
    let (ended, started) = run(config(rerun.clone()), &[(1, failed), (1, failed), (1, failed)]);
    assert_eq!((ended.unwrap_err().kind.as_str(), started.len()), ("tests-failed", 3));
    // A suite beside it that broke is not explained by a flaky test.
    let two = json!({ "image": "shop", "suites": { "a": ["a"], "b": ["b"] }, "reports": ["reports/*.xml"], "rerun": rerun["rerun"] });
    let (ended, _) = run(two, &[(1, failed), (1, &[]), (0, passed)]);
    assert!(ended.unwrap_err().message.contains("2 of 2 test suites failed"));
    // Half of a report does not hide why the suite ended.
    let (ended, _) = run(config(json!({})), &[(137, &[("reports/new.xml", "<testsuite>")])]);
    assert!(ended.unwrap_err().message.contains("signal 9 (KILL)"));
    // One that is killed has failed, whatever passes later.
    let (ended, _) = run(config(rerun), &[(137, failed), (0, passed)]);
    assert!(ended.unwrap_err().message.contains("signal 9 (KILL)"));
}

#[test]
fn coverage_is_summed_up_and_has_to_be_enough() {
    let lcov = "SF:a.rs\nLF:10\nLH:7\nend_of_record\n";
    let config = |wanted: u32| json!({ "image": "shop", "coverage": ["lcov.info"], "min_coverage": wanted });
    let (ended, _) = run(config(70), &[(0, &[("lcov.info", lcov)])]);
    assert_eq!(ended.unwrap()["coverage"], json!({ "covered": 7, "lines": 10, "percent": 70.0 }));
    let (ended, _) = run(config(71), &[(0, &[("lcov.info", lcov)])]);
    assert_eq!(ended.unwrap_err().message, "70 % of the lines are covered, and it has to be 71 %");
    let (ended, _) = run(config(70), &[(0, &[])]);
    assert!(ended.unwrap_err().message.contains("no coverage"));
}

#[test]
fn what_does_not_go_together_is_told() {
    for (config, says) in [
        (json!({ "image": "shop", "command": ["a"], "suites": { "b": ["c"] } }), "`command` or `suites`"),
        (json!({ "image": "shop", "rerun": { "command": [] } }), "`rerun` needs `reports`"),
        (json!({ "image": "shop", "min_coverage": 1 }), "`min_coverage` needs `coverage`"),
    ] {
        let failure = run(config, &[]).0.unwrap_err();
        assert!(failure.kind == "invalid-config" && failure.message.contains(says), "{failure:?}");
    }
}

#[test]
fn without_reports_the_exit_codes_count() {
    let suites = json!({ "image": "shop", "suites": { "unit": ["u"], "http": ["h"] } });
    let ended = Rc::new(RefCell::new(Vec::new()));
    let seen = ended.clone();
    let mut mock = Mock::new();
    mock.container("shop", move |request| {
        seen.borrow_mut().push(request.command.join(" "));
        Ok(Ran::with_code(i64::from(request.command == ["h"])))
    });
    let failure = mock.run::<Test>(suites).unwrap_err();
    assert_eq!(failure.message, "1 of 2 test suites failed: http (exit code 1)");
    assert_eq!(*ended.borrow(), ["h", "u"]);
    assert!(mock.started()[0].workspace.is_none());
}

#[test]
fn tests_run_beside_their_services_and_again_beside_the_same() {
    let mut mock = Mock::new();
    let mut runs = vec![B_PASSED, ONE_FAILED];
    mock.container("db", |_| Ok(Ran::serving(Ok(()))));
    mock.container("shop", move |_| {
        workspace::write("reports/new.xml", runs.pop().expect("no more containers"))
            .expect("the mock takes it");
        Ok(Ran::with_code(0))
    });
    let more = json!({
        "services": { "db": { "image": "db", "ready": { "exec": ["ping"] } } },
        "rerun": { "command": ["again"] },
        "container": { "memory": "64MiB" },
    });
    let outputs = mock.run::<Test>(config(more)).expect("it succeeds");
    assert_eq!(outputs["flaky"], json!(["b"]));
    let [db, tests, again] = mock.started() else { panic!("{:?}", mock.started()) };
    assert_eq!(db.options[0], ("service".to_owned(), "db".to_owned()));
    for request in [tests, again] {
        assert_eq!(request.memory_bytes, Some(64 << 20));
        assert!(request.options.contains(&("network".to_owned(), "attempt".to_owned())));
    }
}

#[test]
fn a_service_that_ends_beside_its_tests_is_why_they_fail() {
    let mut mock = Mock::new();
    mock.container("db", |_| Ok(Ran::with_code(1).saying(&["out of disk"])));
    mock.container("shop", |_| Ok(Ran::serving(Ok(()))));
    let more = json!({ "services": { "db": { "image": "db" } } });
    let failure = mock.run::<Test>(config(more)).unwrap_err();
    assert_eq!(
        failure.message,
        "service `db` ended with exit code 1 while it was needed; it said last: out of disk"
    );
}

#[test]
fn tests_hand_over_outputs_and_a_summary() {
    let mut mock = Mock::new();
    mock.container("shop", |request| {
        workspace::write("reports/new.xml", PASSED).expect("the mock takes it");
        let name = request.command.concat();
        Ok(Ran::with_code(0)
            .handing("/yuanli/output", format!("{name}=1\nlast={name}\n"))
            .handing("/yuanli/summary", format!("## {name}\n")))
    });
    let suites = json!({ "image": "shop", "suites": { "a": ["a"], "b": ["b"] }, "reports": ["reports/*"] });
    let outputs = mock.run::<Test>(suites).expect("it succeeds");
    assert_eq!(outputs["values"], json!({ "a": "1", "b": "1", "last": "b" }));
    let summary = "## Tests\n\n2 passed, 0 failed, 1 skipped, 0 flaky\n\n## a\n\n## b";
    assert_eq!(mock.put("summary.md").map(String::from_utf8_lossy).as_deref(), Some(summary));
    // Without the workspace there are no files.
    mock.run::<Test>(json!({ "image": "shop", "command": ["c"] })).expect("it succeeds");
    assert!(mock.started().last().unwrap().options.is_empty());
}

#[test]
fn what_failed_is_flaky_or_covered_is_told_to_people_and_beside_the_code() {
    let mut mock = Mock::new();
    let report = "ok 1 - a\nnot ok 2 - `b`\nnot ok 3 - c\n";
    let mut runs = vec!["ok 1 - `b`\nnot ok 2 - c\n", report];
    mock.container("shop", move |_| {
        workspace::write("reports/new.xml", runs.pop().expect("no more containers")).expect("it is taken");
        workspace::write("lcov.info", "SF:a.rs\nLF:4\nLH:3\nend_of_record\n").expect("it is taken");
        Ok(Ran::with_code(1))
    });
    let more = json!({ "rerun": { "command": ["t", "{tests}"] }, "coverage": ["lcov.info"] });
    let failure = mock.run::<Test>(config(more)).unwrap_err();
    assert_eq!(failure.message, "1 of 3 tests failed: c (not ok)");
    let summary = mock.put("summary.md").map(String::from_utf8_lossy).unwrap();
    let expected = "## Tests\n\n2 passed, 1 failed, 0 skipped, 1 flaky\n\n**Failed**\n\n- `c`: `not ok`\n\n\
                    **Flaky**\n\n- `'b'`\n\n**Coverage**: 75 % (3 of 4 lines)";
    assert_eq!(summary, expected);
    let field = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let is_annotation =
        |line: &&yuanli_sdk::mock::Line| line.fields.iter().any(|(key, _)| key == "yuanli.annotation");
    let told: Vec<_> = mock.log().iter().filter(is_annotation).collect();
    let [flaky, failed] = told[..] else { panic!("{told:?}") };
    assert_eq!(flaky.fields, [field("yuanli.annotation", "warning"), field("title", "flaky test")]);
    assert!(flaky.text.starts_with("`b` is flaky"), "{flaky:?}");
    assert_eq!(failed.fields, [field("yuanli.annotation", "error"), field("title", "failed test")]);
    assert_eq!(failed.text, "c (not ok)");
}

/// Reports that somebody made to do harm, or that were cut: each is a sentence, in bounded time and memory.
#[test]
fn hostile_reports_are_refused_with_a_sentence() {
    let bomb = "<!DOCTYPE lolz [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;&a;\">]><testsuite name=\"&b;\"/>";
    let cases = |line: &str, count: usize| line.repeat(count);
    let deep = format!("<testsuite>{}", "<testcase>".repeat(100_000));
    let many = format!("<testsuite>{}</testsuite>", "<a/>".repeat(1_100_000));
    let nested = format!("{{\"type\":\"test\",\"x\":{}", "[".repeat(100_000));
    for (report, says) in [
        (bomb.to_owned(), "no XML"),
        (deep, "no XML"),
        (many, "no XML"),
        (nested, "no JSON"),
        (cases("ok\n", 200_001), "more than 200000 tests"),
        (cases("{\"type\":\"test\",\"event\":\"ok\",\"name\":\"a\"}\n", 200_001), "more than 200000 tests"),
        (
            cases("{\"type\":\"test\",\"event\":\"timeout\",\"name\":\"a\"}\n", 200_002),
            "more than 200000 tests",
        ),
        ("\u{0}\u{1}".to_owned(), "neither XML nor JSON"),
    ] {
        let (ended, _) = run(config(json!({})), &[(0, &[("reports/new.xml", &report)])]);
        let failure = ended.unwrap_err();
        let beginning = &report[..report.len().min(60)];
        assert!(
            failure.kind == "invalid-report" && failure.message.contains(says),
            "{beginning}: {failure:?}"
        );
        assert!(failure.message.len() < 1000, "{beginning}");
    }
}

#[test]
fn what_is_no_utf_8_does_not_hide_the_rest() {
    let mut mock = Mock::new();
    mock.container("shop", |_| {
        workspace::write("reports/a.tap", b"ok 1 - caf\xe9\nnot ok 2 - b\n").expect("it is taken");
        Ok(Ran::with_code(1))
    });
    let config = json!({ "image": "shop", "command": ["t"], "reports": ["reports/*"] });
    assert_eq!(mock.run::<Test>(config).unwrap_err().message, "1 of 2 tests failed: b (not ok)");
}
