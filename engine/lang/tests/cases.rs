//! Documents of tests: what they say, and what is said of those that are wrong.

mod support;

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::json;
use yuanli_lang::{Code, Ending, RenderOptions, Start, render};
use yuanli_model::FailureClass;

use support::tested;

#[test]
fn a_case_says_what_stages_do_by_attempt_and_instance() {
    let (suite, diagnostics) = tested(
        "cases:
  - name: all of it
    inputs: { tag: v1 }
    stages:
      build: { attempts: [{ fails: { class: transient, message: away }, takes: 2s }, { outputs: { image: \"shop:v1\" } }] }
      unit: { exit: 0, takes: 5ms, instances: { 1: { exit: 137 } } }
      elsewhere/say:
    approvals:
      ship: [{ answer: approve, after: 10m, by: mia }, { answer: reject }]
    cancel: 0s
",
    );
    assert_eq!(diagnostics, []);
    let case = suite.expect("it is right").cases.remove(0);
    assert_eq!((case.line, case.cancel), (2, Some(Duration::ZERO)));
    assert_eq!(case.start, Start::Inputs(json!({ "tag": "v1" }).as_object().unwrap().clone()));
    let names: Vec<String> = case.fakes.keys().map(ToString::to_string).collect();
    assert_eq!(names, ["build", "unit", "elsewhere/say"]);
    let end = |stage: usize, instance, attempt| &case.fakes[stage].act(instance, attempt).unwrap().end;
    let outputs = |stage, instance, attempt| match end(stage, instance, attempt) {
        Ending::Outputs(outputs) => json!(outputs),
        Ending::Failure(failure) => panic!("{failure:?}"),
    };
    match end(0, 0, 1) {
        Ending::Failure(failure) => {
            assert_eq!((&failure.class, failure.message.as_str()), (&FailureClass::Transient, "away"));
        }
        other => panic!("{other:?}"),
    }
    // The last attempt stands for all that come after it.
    assert_eq!(
        (outputs(0, 0, 2), outputs(0, 0, 9)),
        (json!({ "image": "shop:v1" }), json!({ "image": "shop:v1" }))
    );
    // A container that ends with 0 gives what `command` gives.
    assert_eq!(outputs(1, 0, 1), json!({ "exit_code": 0, "duration_ms": 5 }));
    match end(1, 1, 1) {
        Ending::Failure(failure) => {
            assert_eq!(failure.kind, "signal");
            assert_eq!(failure.details, [("exit-code".to_owned(), "137".to_owned())]);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(outputs(2, 0, 1), json!({}));
    let answers: Vec<_> =
        case.answers.iter().map(|answer| (answer.by.as_str(), answer.is_approved)).collect();
    assert_eq!(answers, [("mia", true), ("tester", false)]);
}

/// Every document must have a mistake of that code, if one is named; what all of them show is the expected output.
#[track_caller]
fn check(name: &str, code: Option<Code>, documents: &[String]) {
    let mut output = String::new();
    let options = RenderOptions { color: false, unicode: true, width: 110 };
    for (number, text) in documents.iter().enumerate() {
        let (suite, diagnostics) = tested(text);
        assert!(suite.is_none() && !diagnostics.is_empty(), "{text}");
        let is_there = |code| diagnostics.iter().any(|found| found.code == code);
        assert!(code.is_none_or(is_there), "{text}: {diagnostics:?}");
        let shown = render("shop.test.yaml", text, &diagnostics, options);
        let _ = writeln!(output, "-- {} --\n{shown}", number + 1);
    }
    let mut settings = insta::Settings::clone_current();
    settings.set_omit_expression(true);
    settings.set_prepend_module_to_snapshot(false);
    settings.bind(|| insta::assert_snapshot!(name, output));
}

fn case(lines: &str) -> String {
    format!("cases:\n  - name: a\n{lines}")
}

#[test]
fn wf059_not_in_workflow() {
    let documents = [
        case("    inputs: { tga: v1 }\n    trigger: { metric: { value: 3 } }\n"),
        case("    stages:\n      biuld: {}\n      greet: {}\n      elsewhere/sya: {}\n      other/a: {}\n"),
        case(
            "    stages: { build: { outputs: { imgae: x } }, hello: { instances: { 0: {} } }, unit: { instances: { x: {} } } }\n",
        ),
        case("    approvals: { build: { answer: approve }, ship: [{ answer: maybe }, { by: mia }] }\n"),
        case(
            "    expect: { ran: [hello, [bulid]], skipped: shpi, stages: { \"build[0]\": failed, unit: fine } }\n",
        ),
    ];
    check("WF059", Some(Code::NotInWorkflow), &documents);
}

#[test]
fn what_is_wrong_with_a_document_is_told_with_its_place() {
    let documents = [
        String::new(),
        "cases: []\n".to_owned(),
        "case: [{ name: a }]\n".to_owned(),
        "cases: [{ expects: {} }, { name: a }, { name: a }]\n".to_owned(),
        case("    trigger: { webhook: {}, schedule: soon }\n"),
        case("    trigger: { schedule: soon }\n    now: 10\n"),
        case(
            "    stages: { build: { outputs: { image: 3 }, fails: no }, unit: { exit: 300, attempts: [{}] } }\n",
        ),
        case(
            "    inputs: { tga: v1 }\n    stages: { build: { outputs: { image: 3 } }, unit: { exit: 300 } }\n",
        ),
        case("    expect: { starts: false, ran: [] }\n"),
        case("    expect: { because: x, took: 3, stages: { unit: { attempts: many, retries: 1 } } }\n"),
    ];
    check("tests-wrong", None, &documents);
}
