//! Where secrets could come out of an engine that stays: each answer of its API, also to a wrong request, its own log at its most
//! talkative, and what the system writes when it crashes.

use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::crash::signal;
use crate::served::{Served, request};
use crate::support::{Place, docker, wait_until};

const VALUE: &str = "s3cret-t0ken of/mine";
/// The value in base64, and as a URL has it.
const FORMS: [&str; 3] = [VALUE, "czNjcmV0LXQwa2VuIG9mL21pbmU=", "s3cret-t0ken%20of%2Fmine"];

#[track_caller]
fn has_none(of: &str, text: &str) {
    for form in FORMS {
        let found = text.lines().find(|line| line.contains(form));
        assert!(found.is_none(), "{of} has the secret: {}", found.unwrap_or_default());
    }
}

/// A stage that says its secret in several ways, and fails.
fn workflow() -> String {
    docker::make_image();
    let script = "echo \"it is $KEY\"; printf %s \"$KEY\" | busybox base64 >&2; echo \"$KEY\" >file; echo \"key=$KEY\" >>$YUANLI_OUTPUT; exit 4";
    let image = docker::IMAGE;
    format!(
        "name: w\ninputs: {{ key: {{ type: secret, default: hidden }} }}\non: {{ webhook: {{ secret: hidden }} }}\nstages:\n  use:\n    uses: command\n    \
         env: {{ KEY: \"${{{{ inputs.key }}}}\" }}\n    with: {{ image: {image}, command: [/bin/sh, -c, {script:?}] }}\n"
    )
}

#[test]
fn no_answer_and_no_line_of_the_log_has_a_secret_in_it() {
    let mut served = Served::without_image();
    assert_eq!(served.stop(), 0);
    served.start_with(&[("YUANLI_LOG", "trace")]);
    let token = served.yuanli(&["token", "create", "root", "--role", "admin"]).expect(0, &[]).out;
    let token = token.trim();
    let bearer = format!("Bearer {token}");
    let ask = |method: &str, path: &str, body: &str| {
        let headers = [("authorization", &*bearer), ("content-type", "application/json")];
        request(served.api, method, path, &headers, body)
    };
    let body = serde_json::json!({ "value": VALUE }).to_string();
    assert_eq!(ask("PUT", "/api/v1/secrets/hidden", &body).0, 204);
    // Who sends it wrongly may be looked at by others when they look for the mistake.
    let text = serde_json::json!(VALUE).to_string();
    for (path, body) in [
        ("/api/v1/secrets/no%20name", body.clone()),
        ("/api/v1/secrets/hidden", text.clone()),
        ("/api/v1/secrets/hidden", format!("{{\"value\":[{text}]}}")),
        ("/api/v1/secrets/hidden", format!("{{{text}:1}}")),
        ("/api/v1/secrets/hidden", format!("{{\"value\":{text},\"workflows\":{text}}}")),
        ("/api/v1/secrets/hidden", format!("{{\"value\":{text}")),
    ] {
        let (status, told) = ask("PUT", path, &body);
        assert!((400..500).contains(&status), "{body}: {status} {told}");
        has_none(&format!("the answer to {body}"), &told);
    }

    served.apply("w.yaml", &workflow());
    let (status, started) = ask("POST", "/api/v1/runs", r#"{"workflow":"w","inputs":{"key":"hidden"}}"#);
    assert_eq!(status, 201, "{started}");
    let run = serde_json::from_str::<Value>(&started).unwrap()["id"].as_str().unwrap().to_owned();
    wait_until("the run has failed", || served.place.json(&["runs", "show", &run])["status"] == "failed");
    let signed = crate::serve::signature(VALUE, "{}");
    let headers = [("x-hub-signature-256", signed.as_str())];
    assert!(request(served.api, "POST", "/hooks/w", &headers, "{}").0 < 500);

    let (_, described) = ask("GET", "/api/openapi.json", "");
    let described: Value = serde_json::from_str(&described).unwrap();
    let mut asked = 0;
    for (path, operations) in described["paths"].as_object().unwrap() {
        if operations["get"].is_object() {
            let known = [("{run}", &*run), ("{workflow}", "w"), ("{name}", "w"), ("{plugin}", "command")];
            let path = known.iter().fold(path.clone(), |path, (part, value)| path.replace(part, value));
            let (status, told) = ask("GET", &path, "");
            assert!(status < 500, "{path}: {told}");
            has_none(&path, &told);
            asked += 1;
        }
    }
    assert!(asked > 20, "{asked} routes");
    let lines = ask("GET", &format!("/api/v1/runs/{run}/logs"), "").1;
    assert!(lines.contains("it is ***"), "it was said, and masked: {lines}");

    assert_eq!(served.stop(), 0);
    let log = std::fs::read_to_string(served.place.path("log")).unwrap();
    assert!(log.contains("TRACE"), "it is talkative");
    has_none("the engine's log", &log);
    assert!(!log.contains(token.rsplit('_').next().unwrap()), "nor has it the token");
}

#[test]
fn an_engine_that_crashes_leaves_no_core() {
    let place = Place::new();
    let mut shell = Command::new("sh");
    shell.args([
        "-c",
        "ulimit -c unlimited 2>/dev/null; exec \"$0\" serve --no-listen",
        env!("CARGO_BIN_EXE_yuanli"),
    ]);
    shell.env("YUANLI_DATA", place.data()).current_dir(place.path("")).stderr(Stdio::null());
    let mut engine = shell.spawn().unwrap();
    wait_until("it is ready", || place.yuanli(&["admin", "ready"]).code == 0);
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", engine.id())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
    signal(&engine, "-ABRT");
    let status = engine.wait().unwrap();
    assert!(status.signal() == Some(6) && !status.core_dumped(), "{status:?}");
}
