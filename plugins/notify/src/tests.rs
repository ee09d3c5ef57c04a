use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use yuanli_sdk::http::{Error, Response};
use yuanli_sdk::mock::{Answers, HttpRequest, Mock};
use yuanli_sdk::serde_json::{self, Value, json};

use super::*;

/// Whoever listens: what they were sent, and the statuses that they answer with first.
#[derive(Default, Clone)]
struct Listener {
    heard: Rc<RefCell<Vec<HttpRequest>>>,
    answers: Rc<RefCell<Vec<u16>>>,
}

impl Answers for Listener {
    fn send(&mut self, request: &HttpRequest) -> Result<Response, Error> {
        self.heard.borrow_mut().push(request.clone());
        let mut answers = self.answers.borrow_mut();
        let status = if answers.is_empty() { 200 } else { answers.remove(0) };
        Ok(Response { status, headers: Vec::new(), body: Vec::new(), url: request.url.clone() })
    }
}

impl Listener {
    fn count(&self) -> usize {
        self.heard.borrow().len()
    }

    fn bodies(&self) -> Vec<Value> {
        let heard = self.heard.borrow();
        heard.iter().map(|request| serde_json::from_slice(&request.body).expect("JSON")).collect()
    }
}

/// Runs that end one after the other like this; who is told how often, and what the last one gave.
fn tell(before: &str, config: Value, answers: &[u16]) -> (Listener, Result<Value, Failure>) {
    let listener = Listener::default();
    *listener.answers.borrow_mut() = answers.to_vec();
    let mut mock = Mock::new();
    mock.secret("key", "whsec_c2VjcmV0").secret("channel", "T0/B0/x").answering(listener.clone());
    if !before.is_empty() {
        mock.state_value(
            "last/mock/0",
            format!(r#"{{"run":"before","outcome":"{before}","previous":null,"told":[]}}"#),
        );
    }
    let ended = mock.run::<Notify>(config);
    (listener, ended)
}

fn config(outcome: &str, more: Value) -> Value {
    let mut config = json!({ "outcome": outcome, "slack": { "url": "https://chat.example.com/" } });
    let Value::Object(more) = more else { panic!("a map") };
    config.as_object_mut().expect("a map").extend(more);
    config
}

#[test]
fn a_change_is_told_and_what_stays_as_it_was_is_not() {
    for (before, outcome, is_told) in [
        ("", "failed", true),
        ("", "succeeded", false),
        ("succeeded", "failed", true),
        ("failed", "failed", false),
        ("failed", "succeeded", true),
        ("succeeded", "succeeded", false),
        ("failed", "cancelled", false),
    ] {
        let (listener, ended) = tell(before, config(outcome, json!({})), &[]);
        assert!(ended.is_ok(), "{ended:?}");
        assert_eq!(listener.heard.borrow().len(), usize::from(is_told), "{before} then {outcome}");
    }
}

#[test]
fn every_failure_is_told_or_everything_where_that_is_wanted() {
    let heard = |when: Value, before, outcome| {
        let (listener, _) = tell(before, config(outcome, json!({ "when": when })), &[]);
        listener.count()
    };
    assert_eq!(heard(json!("failure"), "failed", "failed"), 1);
    assert_eq!(heard(json!("failure"), "failed", "succeeded"), 0);
    assert_eq!(heard(json!(["failure", "fixed"]), "failed", "succeeded"), 1);
    assert_eq!(heard(json!("always"), "succeeded", "succeeded"), 1);
    assert_eq!(heard(json!("always"), "", "cancelled"), 1);
}

#[test]
fn runs_that_were_cancelled_leave_what_is_known_as_it_was() {
    let memory =
        Memory::read(Some(r#"{"run":"1","outcome":"failed","previous":null,"told":["slack"]}"#), "2");
    assert_eq!((memory.previous, memory.told.len()), (Some(Outcome::Failed), 0));
    let after = Memory::read(Some(&memory.written(Outcome::Cancelled)), "3");
    assert_eq!(after.previous, Some(Outcome::Failed));
    let after = Memory::read(Some(&memory.written(Outcome::Succeeded)), "3");
    assert_eq!(after.previous, Some(Outcome::Succeeded));
    assert_eq!(Memory::read(Some("{"), "3").previous, None);
}

#[test]
fn a_program_is_told_by_a_signed_event() {
    let webhook = json!({ "url": "https://ops.example.com/", "url_secret": { "secret": "channel" }, "secret": { "secret": "key" } });
    let config = json!({
        "outcome": "failed", "failed": ["build", "test"], "text": "look", "link": "https://ci.example.com/1",
        "details": { "branch": "main" }, "webhook": webhook,
    });
    let (listener, ended) = tell("succeeded", config, &[]);
    assert_eq!(ended.unwrap(), json!({ "told": ["webhook"], "previous": "succeeded" }));
    let [body] = &listener.bodies()[..] else { panic!("one request") };
    let run = body["data"]["run"].as_str().expect("the run").to_owned();
    assert_eq!(
        *body,
        json!({
            "type": "run.failed",
            "timestamp": "2026-01-01T12:00:00Z",
            "data": {
                "workflow": "mock", "run": run, "stage": "mock", "outcome": "failed", "previous": "succeeded",
                "failed": ["build", "test"], "title": "mock failed: build, test", "text": "look",
                "link": "https://ci.example.com/1", "details": { "branch": "main" },
            },
        })
    );
    let heard = listener.heard.borrow();
    let options =
        [("url-secret", "0"), ("sign-with", "1")].map(|(key, place)| (key.to_owned(), place.to_owned()));
    assert_eq!((heard[0].options.as_slice(), heard[0].max_redirects), (&options[..], Some(0)));
    let names: Vec<&str> = heard[0].headers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["content-type", "idempotency-key", "webhook-id"]);
}

#[test]
fn people_are_told_in_a_line_in_which_nothing_is_a_mention() {
    let more =
        json!({ "failed": ["build"], "text": "<!channel> & co", "link": "https://ci.example.com/?a=1&b=2" });
    let (listener, _) = tell("failed", config("failed", more.clone()), &[]);
    assert!(listener.bodies().is_empty(), "it is broken still");
    let (listener, _) = tell("", config("failed", more), &[]);
    let text = listener.bodies()[0]["text"].as_str().expect("a text").to_owned();
    let expected =
        ":x: *mock failed: build*\n&lt;!channel&gt; &amp; co\n<https://ci.example.com/?a=1&amp;b=2>\nrun `";
    assert!(text.starts_with(expected), "{text}");
    assert!(listener.heard.borrow()[0].headers.iter().all(|(name, _)| name != "idempotency-key"));
}

#[test]
fn what_may_pass_is_tried_again_and_what_will_not_is_told_with_who_did_not_listen() {
    let (listener, ended) = tell("", config("failed", json!({})), &[503, 429]);
    assert!(ended.is_ok() && listener.heard.borrow().len() == 3, "{ended:?}");
    // It may have arrived, and nobody there knows it again.
    let (listener, ended) = tell("", config("failed", json!({})), &[500]);
    let failure = ended.unwrap_err();
    assert_eq!((failure.kind.as_str(), listener.heard.borrow().len()), ("http-status", 1));
    assert!(
        failure.message.starts_with("slack: `https://chat.example.com/` answered with status 500"),
        "{failure:?}"
    );
    let (listener, ended) = tell("", config("failed", json!({})), &[404]);
    assert!(ended.is_err() && listener.heard.borrow().len() == 1);
}

#[test]
fn who_was_told_is_not_told_again_when_the_stage_is_tried_again() {
    let listener = Listener::default();
    *listener.answers.borrow_mut() = vec![404, 200, 200];
    let mut mock = Mock::new();
    mock.answering(listener.clone());
    let config = config("failed", json!({ "webhook": { "url": "https://ops.example.com/" } }));
    let failure = mock.run::<Notify>(config.clone()).unwrap_err();
    assert!(failure.message.starts_with("webhook: "), "{failure:?}");
    let ended = mock.run::<Notify>(config).unwrap();
    assert_eq!(ended, json!({ "told": ["slack", "webhook"], "previous": null }));
    let urls: Vec<String> = listener.heard.borrow().iter().map(|request| request.url.clone()).collect();
    assert_eq!(urls, ["https://ops.example.com/", "https://chat.example.com/", "https://ops.example.com/"]);
}

#[test]
fn a_config_that_tells_nobody_is_refused() {
    let (_, ended) = tell("", json!({ "outcome": "failed" }), &[]);
    assert_eq!(ended.unwrap_err().kind, "invalid-config");
}

#[test]
fn times_are_those_of_the_calendar() {
    for (seconds, expected) in [
        (0, "1970-01-01T00:00:00Z"),
        (951_782_399, "2000-02-28T23:59:59Z"),
        (951_782_400, "2000-02-29T00:00:00Z"),
        (4_107_542_399, "2100-02-28T23:59:59Z"),
        (4_107_542_400, "2100-03-01T00:00:00Z"),
    ] {
        assert_eq!(message::rfc3339(Duration::from_secs(seconds)), expected);
    }
}
