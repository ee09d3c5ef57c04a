//! Requests to webhooks: which of them start runs, what is answered, and what is remembered of them.

use std::io::Write as _;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::serve::signature;
use crate::served::{Served, request};
use crate::support::wait_until;

const KEY: &str = "let-me-in";

/// An engine that keeps a workflow with this webhook, and the secret of it.
fn served(hook: &str, stages: &str) -> Served {
    let served = Served::without_image();
    let mut set = served.place.command(&["secret", "set", "hook-key"]);
    let mut child = set.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(KEY.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
    let text = format!(
        "name: hello\non:\n  webhook: {{ secret: hook-key, {hook} }}\ninputs: {{ at: \"\" }}\n{stages}"
    );
    served.apply("hello.yaml", &text);
    served
}

const STAGES: &str = "stages:\n  a: { uses: script, with: { outputs: { at: \"${{ inputs.at }}\" } } }\noutputs: { at: \"${{ stages.a.outputs.at }}\" }\n";

/// What is answered to a push as GitHub sends it.
fn push(served: &Served, id: &str, event: &str, body: &Value) -> (u16, Value) {
    let body = body.to_string();
    let signed = signature(KEY, &body);
    let headers =
        [("X-Hub-Signature-256", signed.as_str()), ("X-GitHub-Event", event), ("X-GitHub-Delivery", id)];
    let (status, answer) = request(served.api, "POST", "/hooks/hello", &headers, &body);
    (status, serde_json::from_str(&answer).unwrap())
}

fn runs(served: &Served) -> usize {
    served.place.json(&["runs", "list"])["items"].as_array().unwrap().len()
}

#[test]
fn only_what_counts_starts_a_run_and_each_delivery_is_remembered_over_a_crash() {
    let hook = "provider: github, events: [push], branches: [main], paths: [\"src/**\"], if: \"trigger.body.sender != 'bot'\", inputs: { at: \"${{ trigger.body.ref }}\" }";
    let mut served = served(hook, STAGES);
    let body = |branch: &str, file: &str, sender: &str| json!({ "ref": format!("refs/heads/{branch}"), "sender": sender, "commits": [{ "modified": [file] }] });
    let good = body("main", "src/a.rs", "ann");
    let (status, first) = push(&served, "1", "push", &good);
    assert_eq!((status, first["is_new"].as_bool()), (202, Some(true)), "{first}");
    let (status, again) = push(&served, "1", "push", &good);
    assert_eq!((status, &again["id"], again["is_new"].as_bool()), (202, &first["id"], Some(false)));
    for (id, event, body, why) in [
        ("2", "ping", json!({ "zen": "…" }), "it only asks whether anybody is there"),
        ("3", "issues", good.clone(), "it is issues, and not push"),
        ("4", "push", body("next", "src/a.rs", "ann"), "it is about the branch next, and not about main"),
        ("5", "push", body("main", "docs/a.md", "ann"), "none of its 1 files fits src/**"),
        ("6", "push", body("main", "src/a.rs", "bot"), "`trigger.body.sender != 'bot'` is false"),
    ] {
        let (status, answer) = push(&served, id, event, &body);
        assert_eq!((status, answer["reason"].as_str()), (200, Some(why)), "{answer}");
        assert!(answer.get("id").is_none());
    }
    assert_eq!(runs(&served), 1);
    let (status, _) = request(served.api, "POST", "/hooks/hello", &[("X-GitHub-Event", "push")], "{}");
    assert_eq!(status, 401);
    let listed = |served: &Served| served.place.json(&["workflow", "deliveries", "hello"]);
    let found = listed(&served);
    assert_eq!(found["refused"][0]["reason"], "the request has no header `x-hub-signature-256`");

    served.kill();
    served.start();
    let found = listed(&served);
    let items = found["items"].as_array().unwrap();
    let ids: Vec<&str> = items.iter().map(|item| item["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["6", "5", "4", "3", "2", "1", "1"]);
    assert_eq!((&items[6]["run"], &items[5]["run"]), (&first["id"], &first["id"]));
    assert_eq!((items[6]["is_new"].as_bool(), items[5]["is_new"].as_bool()), (Some(true), Some(false)));
    assert!(found["refused"].as_array().unwrap().is_empty(), "anybody can send those");
    let table = served.yuanli(&["workflow", "deliveries", "hello"]).expect(0, &[]);
    assert!(
        table.out.contains("it is issues, and not push") && table.out.contains("started before"),
        "{}",
        table.out
    );

    // Again: by the workflow as it is now, as a run of its own.
    let number = items[1]["number"].to_string();
    served
        .yuanli(&["workflow", "redeliver", "hello", &number])
        .expect(0, &["starts no run: none of its 1 files fits"]);
    let text = served.place.path("hello.yaml");
    let changed = std::fs::read_to_string(&text).unwrap().replace("src/**", "docs/**");
    served.apply("hello.yaml", &changed);
    let run = served.yuanli(&["workflow", "redeliver", "hello", &number]).expect(0, &[]).out;
    assert_eq!(served.place.json(&["runs", "show", run.trim()])["inputs"]["at"], "refs/heads/main");
    let again = served.yuanli(&["workflow", "redeliver", "hello", &number]).expect(0, &[]).out;
    assert_ne!(run, again);
    assert_eq!(listed(&served)["items"][0]["repeats"].to_string(), number);
    served.yuanli(&["workflow", "redeliver", "hello", "999"]).expect(2, &["there is no delivery 999"]);
    served.yuanli(&["workflow", "delete", "hello"]).expect(0, &[]);
    served.apply("hello.yaml", &changed);
    assert!(listed(&served)["items"].as_array().unwrap().is_empty(), "they go with the workflow");
}

#[test]
fn what_comes_while_a_workflow_is_paused_starts_nothing_and_can_be_done_later() {
    let served = served("provider: github, inputs: { at: \"${{ trigger.body.ref }}\" }", STAGES);
    served.yuanli(&["workflow", "pause", "hello"]).expect(0, &[]);
    let (status, answer) = push(&served, "1", "push", &json!({ "ref": "refs/heads/main" }));
    assert_eq!((status, answer["detail"].as_str()), (409, Some("workflow `hello` is paused")), "{answer}");
    let delivery = &served.place.json(&["workflow", "deliveries", "hello"])["items"][0];
    assert_eq!((&delivery["reason"], delivery.get("run")), (&answer["detail"], None), "{delivery}");
    assert_eq!(runs(&served), 0);

    served.yuanli(&["workflow", "resume", "hello"]).expect(0, &[]);
    let number = delivery["number"].to_string();
    let run = served.yuanli(&["workflow", "redeliver", "hello", &number]).expect(0, &[]).out;
    assert_eq!(served.place.json(&["runs", "show", run.trim()])["inputs"]["at"], "refs/heads/main");
}

#[test]
fn a_request_can_wait_for_the_end_of_its_run() {
    let hook = "wait: 20s, inputs: { at: \"${{ trigger.body.at }}\" }";
    let served = served(hook, STAGES);
    let (status, answer) = push(&served, "1", "any", &json!({ "at": "here" }));
    assert_eq!((status, answer["status"].as_str()), (200, Some("succeeded")), "{answer}");
    assert_eq!(answer["outputs"]["at"], "here");

    let asking =
        "name: hello\non: { webhook: { secret: hook-key, wait: 1s } }\nstages: { a: { approval: true } }\n";
    served.apply("hello.yaml", asking);
    let (status, answer) = push(&served, "2", "any", &json!({}));
    assert_eq!((status, answer.get("status")), (202, None), "it goes on: {answer}");
    wait_until("it asks", || runs(&served) == 2);
}

#[test]
fn whoever_hangs_up_while_they_wait_is_known_all_the_same() {
    let served = served("wait: 60s", "stages: { a: { approval: true } }\n");
    let signed = signature(KEY, "{}");
    let asks = format!(
        "POST /hooks/hello HTTP/1.1\r\nhost: x\r\nx-hub-signature-256: {signed}\r\nx-github-delivery: 7\r\ncontent-length: 2\r\n\r\n{{}}"
    );
    let mut stream = std::net::TcpStream::connect(served.api).unwrap();
    stream.write_all(asks.as_bytes()).unwrap();
    wait_until("its run goes on", || runs(&served) == 1);
    drop(stream);
    let run = served.place.json(&["runs", "list"])["items"][0]["id"].as_str().unwrap().to_owned();
    let mut audit = Value::Null;
    wait_until("it is written down", || {
        let told = served.yuanli(&["audit", "--by", "webhook", "--json"]).expect(0, &[]).lines();
        audit = told.first().cloned().unwrap_or_default();
        audit["about"] == format!("run {run}")
    });
    assert_eq!((&audit["status"], &audit["path"]), (&json!(499), &json!("/hooks/hello")), "{audit}");
    let listed = served.place.json(&["workflow", "deliveries", "hello"]);
    assert_eq!(
        (&listed["items"][0]["id"], &listed["items"][0]["run"]),
        (&json!("7"), &json!(run)),
        "{listed}"
    );
}

#[test]
fn other_senders_are_known_by_what_they_send() {
    let served =
        served("provider: gitlab, events: [push], inputs: { at: \"${{ trigger.body.ref }}\" }", STAGES);
    let body = json!({ "object_kind": "push", "ref": "refs/heads/main" }).to_string();
    let send = |headers: &[(&str, &str)]| request(served.api, "POST", "/hooks/hello", headers, &body).0;
    assert_eq!(send(&[("X-Gitlab-Token", KEY), ("X-Gitlab-Event-UUID", "1")]), 202);
    assert_eq!(send(&[("X-Gitlab-Token", "a-guess")]), 401);
    assert_eq!(send(&[("X-Hub-Signature-256", &signature(KEY, &body))]), 401);
    served.apply(
        "hello.yaml",
        "name: hello\non: { webhook: { secret: hook-key, provider: registry, events: push, tags: \"1.*\" } }\nstages: { a: { uses: script, with: { outputs: { x: 1 } } } }\n",
    );
    let body = json!({ "events": [{ "id": "a", "action": "push", "target": { "repository": "it", "tag": "1.0" } }] }).to_string();
    let bearer = format!("Bearer {KEY}");
    let notify = || {
        let (status, answer) =
            request(served.api, "POST", "/hooks/hello", &[("Authorization", &bearer)], &body);
        (status, serde_json::from_str::<Value>(&answer).unwrap()["is_new"].as_bool())
    };
    assert_eq!(notify(), (202, Some(true)));
    assert_eq!(notify(), (202, Some(false)), "its body names the delivery");
}

#[test]
fn what_is_refused_to_somebody_who_signed_is_in_the_audit_log_as_it_was_answered() {
    let served = served("provider: github", STAGES);
    served.yuanli(&["workflow", "pause", "hello"]).expect(0, &[]);
    let (status, answer) = push(&served, "1", "push", &json!({ "ref": "refs/heads/main" }));
    assert_eq!(status, 409, "{answer}");
    // Whoever has not signed could fill it.
    assert_eq!(request(served.api, "POST", "/hooks/hello", &[], "{}").0, 401);
    let told = served.yuanli(&["audit", "--by", "webhook", "--all", "--json"]).expect(0, &[]).lines();
    let entries: Vec<_> = told
        .iter()
        .map(|entry| (entry["path"].as_str().unwrap(), entry["status"].as_u64().unwrap()))
        .collect();
    assert_eq!(entries, [("/hooks/hello", 409)], "{told:?}");
}
