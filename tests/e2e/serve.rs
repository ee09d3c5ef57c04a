//! The engine that stays: its API, what starts runs, and what a crash does not change.

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;
use yuanli_test_guests::PROBE;

use crate::served::{Served, inline, request, signal};
use crate::support::{PROBE_GRANTS, wait_until};

const HELLO: &str = "name: hello\ninputs: { who: { type: string, default: nobody } }\n\
    on: { webhook: { secret: hook-key, inputs: { who: \"${{ trigger.body.who }}\" } } }\n\
    stages:\n  greet:\n    uses: script\n    with: { print: [\"Hello, ${{ inputs.who }}!\"] }\n";

pub(crate) fn signature(key: &str, body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).unwrap();
    mac.update(body.as_bytes());
    let bytes = mac.finalize().into_bytes();
    format!("sha256={}", bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

fn runs(served: &Served) -> usize {
    served.place.json(&["runs", "list"])["items"].as_array().unwrap().len()
}

#[test]
fn a_signed_request_starts_one_run_and_others_none() {
    let mut served = Served::new();
    served.apply("hello.yaml", HELLO);
    let body = json!({ "who": "Ada" }).to_string();
    let signed = signature("key", &body);
    let send = |served: &Served, signature: &str, delivery: &str, body: &str| {
        let headers = [("x-hub-signature-256", signature), ("x-github-delivery", delivery)];
        request(served.api, "POST", "/hooks/hello", &headers, body)
    };
    assert_eq!(send(&served, &signed, "1", &body).0, 401, "there is no secret yet");
    let mut set = served.place.command(&["secret", "set", "hook-key"]);
    let mut set = set.stdin(std::process::Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut set.stdin.take().unwrap(), b"key\n").unwrap();
    assert!(set.wait().unwrap().success());

    let (status, started) = send(&served, &signed, "1", &body);
    let started: Value = serde_json::from_str(&started).unwrap();
    assert_eq!((status, &started["is_new"]), (202, &Value::Bool(true)));
    let run = started["id"].as_str().unwrap().to_owned();
    // The same delivery again, also after a crash: the same run.
    served.kill();
    served.start();
    let (status, again) = send(&served, &signed, "1", &body);
    let again: Value = serde_json::from_str(&again).unwrap();
    assert_eq!(
        (status, again["id"].as_str(), &again["is_new"]),
        (202, Some(run.as_str()), &Value::Bool(false))
    );
    wait_until("the run has ended", || served.place.json(&["runs", "show", &run])["status"] == "succeeded");
    assert!(served.yuanli(&["runs", "logs", &run]).out.contains("Hello, Ada!"));

    for (signature, body, status) in
        [("", body.as_str(), 401), (signed.as_str(), "{}", 401), (&signature("other", &body), &body, 401)]
    {
        assert_eq!(send(&served, signature, "2", body).0, status, "{signature} {body}");
    }
    assert_eq!(send(&served, &signature("key", "{}"), "3", "{}").0, 422, "`who` is missing");
    let unsigned = request(served.api, "POST", "/hooks/hello", &[], "{}");
    assert_eq!(
        request(served.api, "POST", "/hooks/other", &[], "{}"),
        unsigned,
        "nobody is told what there is"
    );
    assert_eq!(runs(&served), 1);
    assert_eq!(served.stop(), 0);
}

#[test]
fn a_schedule_fires_once_for_each_of_its_times() {
    let mut served = Served::new();
    let every_minute = "name: tick\non: { schedule: { cron: \"* * * * *\" } }\nstages:\n  a:\n    uses: script\n    with: { print: [tick] }\n";
    // One that cannot be started keeps no other waiting, also when its turn comes first.
    served.place.write("probe.wasm", PROBE.component);
    served.apply("stuck.yaml", &format!("name: a-stuck\non: {{ schedule: {{ cron: \"* * * * *\" }} }}\nstages:\n  a:\n    uses: ./probe.wasm\n    grants: {PROBE_GRANTS}\n    with: {{ do: give, outputs: {{ a: 1 }} }}\n"));
    std::fs::remove_dir_all(served.place.path("data/plugins")).unwrap();
    std::fs::write(served.place.path("data/plugins"), "no folder").unwrap();
    served.apply("tick.yaml", every_minute);
    let listed = served.place.json(&["workflow", "list"]);
    assert!(listed["items"][1]["schedules"][0]["next_at"].is_string(), "{listed}");
    wait_until("it has fired", || runs(&served) > 0);
    let log = std::fs::read_to_string(served.place.path("log")).unwrap();
    assert_eq!(log.matches("cannot be started by its schedule").count(), 1, "told once: {log}");
    // Neither a crash nor the same document again makes it fire again.
    served.kill();
    served.start();
    served.apply("tick.yaml", every_minute);
    // On a busy machine the next minute may have begun.
    let mut minutes: Vec<String> = served.place.json(&["runs", "list"])["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|run| run["created_at"].as_str().unwrap()[..16].to_owned())
        .collect();
    let fired = minutes.len();
    minutes.dedup();
    assert_eq!(minutes.len(), fired, "once in a minute: {minutes:?}");
    served.yuanli(&["workflow", "delete", "tick"]).expect(0, &["its runs stay"]);
}

#[test]
fn the_api_wants_its_token_and_tells_what_is_wrong() {
    let served = Served::new();
    assert_eq!(request(served.api, "GET", "/healthz", &[], ""), (200, "ok\n".to_owned()));
    let (status, text) = request(served.api, "GET", "/api/v1/runs", &[], "");
    assert!(status == 401 && text.contains("Bearer"), "{text}");
    let token = served.yuanli(&["token", "create", "test", "--role", "admin"]).expect(0, &[]).out;
    let token = token.trim().to_owned();
    let bearer = format!("Bearer {token}");
    assert_eq!(request(served.api, "GET", "/api/v1/runs", &[("authorization", &bearer)], "").0, 200);
    let json = ("content-type", "application/json");
    for (method, path, headers, body, status) in [
        ("POST", "/api/v1/runs", &[("authorization", bearer.as_str()), json][..], "{", 400),
        ("POST", "/api/v1/runs", &[("authorization", &bearer)], "{}", 415),
        ("GET", "/api/v1/runs?limit=x", &[("authorization", &bearer)], "", 400),
        ("GET", "/hooks/hello", &[], "", 405),
        ("GET", "/api/v1/none", &[("authorization", &bearer)], "", 404),
    ] {
        let (answered, text) = request(served.api, method, path, headers, body);
        let problem: Value = serde_json::from_str(&text).unwrap_or_default();
        assert!(
            answered == status && problem["status"] == status && problem["detail"].is_string(),
            "{path}: {text}"
        );
    }
    let url = format!("http://{}", served.api);
    served.yuanli(&["--url", &url, "runs", "list"]).expect(3, &["token"]);
    served.yuanli(&["--url", &url, "--token", &token, "runs", "list"]).expect(0, &[]);

    served.apply("hello.yaml", HELLO);
    let (_, metrics) = request(served.api, "GET", "/metrics", &[], "");
    assert!(metrics.contains("# TYPE yuanli_runs_active gauge\nyuanli_runs_active 0\n"), "{metrics}");

    // What is wrong is told as `validate` tells it, and nothing is kept.
    let wrong = served.place.write("wrong.yaml", HELLO.replace("uses: script", "uses: skript"));
    served.yuanli(&["workflow", "apply", &wrong]).expect(2, &["skript", "wrong.yaml:6"]);
    let wrong = served.place.write("wrong-app.yaml", "app: shop\nimage: shop\nport: 80\nrouted: /\n");
    served.yuanli(&["app", "apply", &wrong]).expect(2, &["routed", "wrong-app.yaml:4"]);
    served.yuanli(&["trigger", "helo"]).expect(2, &["there is no workflow `helo`"]);
    served.yuanli(&["trigger", "hello", "-i", "whom=x"]).expect(2, &["whom"]);
    served.yuanli(&["app", "show", "none"]).expect(2, &["there is no app `none`"]);

    served.yuanli(&["trigger", "hello", "-i", "who=A", "-i", "who=B"]).expect(2, &["given twice"]);

    let run = served.yuanli(&["trigger", "hello", "-i", "who=Ada", "--key", "k"]).expect(0, &[]).out;
    assert_eq!(
        served.yuanli(&["trigger", "hello", "--key", "k"]).expect(0, &[]).out,
        run,
        "one run of one key"
    );
    let followed = served.yuanli(&["trigger", "hello", "--follow", "--json"]).expect(0, &[]);
    assert!(followed.lines().iter().any(|line| line["event"] == "finished"), "{}", followed.out);
    served.yuanli(&["runs", "cancel", run.trim()]).expect(2, &["does not go on"]);
}

/// What the engine clears away after a crash is all that runs: whatever is started now comes after that.
#[test]
fn nothing_is_started_before_what_a_crash_left_is_cleared_away() {
    let mut served = Served::new();
    served.apply("hello.yaml", HELLO);
    let sleeper = std::fs::read_to_string(crate::crash::sleeper(&served.place)).unwrap();
    served.apply("sleep.yaml", &sleeper);
    served.yuanli(&["trigger", "sleep"]).expect(0, &[]);
    crate::crash::wait_for_container(&served.place);
    served.kill();

    // A Docker that takes calls and says nothing.
    let socket = served.place.path("docker.sock");
    let silent = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    served.start_with(&[("DOCKER_HOST", &format!("unix://{}", socket.display()))]);
    let trigger = served.place.start(&["trigger", "hello", "--follow"]);
    for _ in 0..20 {
        assert_eq!(runs(&served), 1, "the one that was left");
    }
    let ready = || request(served.api, "GET", "/readyz", &[], "").0;
    assert_eq!((ready(), request(served.api, "GET", "/healthz", &[], "").0), (503, 200));
    drop(silent);
    wait_until("it is ready", || ready() == 200);
    crate::support::Ended::of(trigger.wait_with_output().unwrap()).expect(0, &["succeeded"]);
    assert_eq!(runs(&served), 2);
}

#[test]
fn killed_in_the_middle_of_a_release_traffic_goes_on_and_the_run_finishes() {
    let mut served = Served::new();
    served.deploy("1", "replicas: 2\n").expect(0, &[]);
    let app = inline("2", "0");
    let steps = "[{ weight: 20, duration: 5s }, { weight: 50, duration: 5s }]";
    served.apply("release.yaml", &format!("name: release\nstages:\n  release:\n    uses: gray-release\n    with:\n      steps: {steps}\n      app: {app}\n  after:\n    uses: script\n    needs: release\n    with: {{ print: [\"release ${{{{ stages.release.outputs.release }}}}\"] }}\n"));
    let load = served.load();
    let run = served.yuanli(&["trigger", "release"]).expect(0, &[]).out.trim().to_owned();
    wait_until("the release gets requests", || {
        served.app()["status"] == "releasing" && served.get("/").0 == 200
    });
    std::thread::sleep(Duration::from_secs(2));

    served.kill();
    for _ in 0..20 {
        assert_eq!(served.get("/").0, 200, "the gateway serves without an engine");
    }
    served.start();
    wait_until("the run has ended", || served.place.json(&["runs", "show", &run])["status"] != "running");
    let (requests, failed, counted) = load.end();
    assert!(failed == 0 && requests > 100, "{counted}");
    let ended = served.place.json(&["runs", "show", &run]);
    assert_eq!(ended["status"], "succeeded", "{ended}\n{}", served.yuanli(&["runs", "logs", &run]).out);
    assert_eq!(ended["stages"][0]["attempts"].as_array().unwrap().len(), 1, "a crash is no attempt");
    let app = served.app();
    assert_eq!((&app["release"], app["releases"].as_array().unwrap().len()), (&Value::from(2), 2), "{app}");

    // The gateway alone, then both.
    let before = served.gateway_pid().expect("a gateway");
    signal("KILL", before);
    wait_until("the app is reachable again", || served.get("/").0 == 200);
    assert_ne!(served.gateway_pid(), Some(before));
    served.kill();
    signal("KILL", served.gateway_pid().expect("a gateway"));
    served.start();
    wait_until("the app is reachable again", || served.get("/").0 == 200);
    assert_eq!(served.app()["status"], "healthy");
}

/// How often somebody is killed; `YUANLI_SOAK` does it more often.
const KILLS: usize = 5;
const KILLS_OF_SOAK: usize = 60;
/// A release takes about this long, and the last kills come when it is over.
const MOMENTS: Duration = Duration::from_millis(9_000);

/// Who is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Killed {
    Engine,
    Gateway,
    Both,
}

/// Who is killed and how long after the start of a release, differently in every run of the test; a failure tells.
fn draw() -> (Killed, Duration) {
    let drawn = RandomState::new().hash_one("a kill");
    let who = [Killed::Engine, Killed::Gateway, Killed::Both][(drawn % 3) as usize];
    (who, MOMENTS.mul_f64((drawn >> 32) as f64 / f64::from(u32::MAX)))
}

#[test]
fn whoever_is_killed_and_when_the_app_is_reachable_again_and_the_release_has_one_of_its_two_ends() {
    let mut served = Served::new();
    served.deploy("0", "replicas: 2\n").expect(0, &[]);
    let steps = "[{ weight: 20, duration: 3s }, { weight: 50, duration: 3s }]";
    let kills = if std::env::var_os("YUANLI_SOAK").is_some() { KILLS_OF_SOAK } else { KILLS };
    for version in (1..=kills).map(|round| round.to_string()) {
        let (killed, moment) = draw();
        println!("round {version}: {killed:?} after {moment:?}");
        let app = inline(&version, "0");
        served.apply("release.yaml", &format!("name: release\nstages:\n  release:\n    uses: gray-release\n    with:\n      steps: {steps}\n      app: {app}\n"));
        let load = served.load();
        let run = served.yuanli(&["trigger", "release"]).expect(0, &[]).out.trim().to_owned();
        std::thread::sleep(moment);
        if killed != Killed::Gateway {
            served.kill();
        }
        if killed != Killed::Engine {
            signal("KILL", served.gateway_pid().expect("a gateway"));
        }
        if killed != Killed::Gateway {
            assert!(killed == Killed::Both || served.get("/").0 == 200, "the gateway serves on");
            served.start();
        }
        wait_until("the app is reachable", || served.get("/").0 == 200);
        wait_until("the run has ended", || served.place.json(&["runs", "show", &run])["status"] != "running");
        let app = served.app();
        let end = app["gray"]["happenings"].as_array().unwrap().last().unwrap()["promoted"].clone();
        let serves = served.get("/version").1;
        match end.as_bool() {
            Some(true) => {
                wait_until("it serves everything", || served.get("/version").1 == format!("{version}\n"))
            }
            Some(false) => assert_ne!(serves, format!("{version}\n"), "{app}"),
            None => panic!("it has not ended: {app}"),
        }
        wait_until("two replicas are left", || served.app()["replicas"].as_array().unwrap().len() == 2);
        let (_, failed, counted) = load.end();
        assert!(failed == 0 || killed != Killed::Engine, "{killed:?} at {moment:?}: {counted}");
    }
}

#[test]
fn a_stage_waits_for_a_person_over_a_crash_and_takes_one_answer() {
    let mut served = Served::new();
    let text = "name: gated\nstages:\n  ask: { approval: { message: ship it?, count: 1 } }\n  ship:\n    \
                needs: ask\n    uses: script\n    with: { print: [\"by ${{ stages.ask.outputs.approved_by[0] }}\"] }\n";
    served.apply("gated", text);
    let run = served.yuanli(&["trigger", "gated"]).expect(0, &[]).out.trim().to_owned();
    let status = |served: &Served, stage: usize| {
        served.place.json(&["runs", "show", &run])["stages"][stage]["status"].as_str().unwrap().to_owned()
    };
    wait_until("it asks", || status(&served, 0) == "held");
    served.kill();
    served.start();
    wait_until("the run is gone on with", || {
        let early = served.yuanli(&["runs", "approve", &run, "ship", "--by", "eva"]);
        early.code == 2 && early.err.contains("`ship` is waiting")
    });
    served.yuanli(&["runs", "approve", &run, "nothing", "--by", "eva"]).expect(2, &["no stage `nothing`"]);
    served
        .yuanli(&["runs", "approve", &run, "ask", "--by", "eva", "--comment", "go"])
        .expect(0, &["approved"]);
    wait_until("it goes on", || status(&served, 1) == "succeeded");
    served.yuanli(&["runs", "logs", &run]).expect(0, &[]);
    served.yuanli(&["runs", "reject", &run, "ask", "--by", "ada"]).expect(2, &["not active"]);
    let again = served.yuanli(&["trigger", "gated"]).expect(0, &[]).out.trim().to_owned();
    wait_until("it asks again", || {
        served.place.json(&["runs", "show", &again])["stages"][0]["status"] == "held"
    });
    served.yuanli(&["runs", "reject", &again, "ask", "--by", "ada"]).expect(0, &["not approved"]);
    wait_until("it has failed", || served.place.json(&["runs", "show", &again])["status"] == "failed");
}
