//! Who may do what over the API: every route with every role, and what belongs to another workflow.

use std::collections::BTreeMap;
use std::process::Stdio;

use serde_json::Value;

use crate::served::{Served, request};
use crate::support::{Place, wait_until};

const ROLES: [&str; 4] = ["viewer", "operator", "editor", "admin"];

/// What each route needs, said a second time: a route that is missing here, or that wants less than before, fails.
const NEEDS: &str = "\
GET /api/openapi.json -
POST /api/v1/document-runs editor own
GET /api/v1/apps viewer engine
POST /api/v1/apps editor engine
GET /api/v1/apps/{name} viewer engine
DELETE /api/v1/apps/{name} editor engine
GET /api/v1/apps/{name}/why viewer engine
GET /api/v1/audit admin engine
GET /api/v1/identity viewer own
DELETE /api/v1/identity viewer own
GET /api/v1/login -
POST /api/v1/login -
GET /api/v1/cache viewer own
POST /api/v1/cache/{workflow}/outlook viewer workflow
DELETE /api/v1/cache/{workflow} operator workflow
GET /api/v1/runs viewer own
POST /api/v1/runs operator own
GET /api/v1/runs/{run} viewer run
GET /api/v1/runs/{run}/artifacts viewer run
GET /api/v1/runs/{run}/artifacts/content viewer run
POST /api/v1/runs/{run}/cancel operator run
POST /api/v1/runs/{run}/resume operator run
POST /api/v1/runs/{run}/stages/{stage}/replay operator run
GET /api/v1/runs/{run}/emitted viewer run
GET /api/v1/runs/{run}/events viewer run
GET /api/v1/runs/{run}/logs viewer run
POST /api/v1/runs/{run}/stages/{stage}/answer operator run
GET /api/v1/runs/{run}/updates viewer run
GET /api/v1/secrets editor engine
POST /api/v1/secrets-key admin engine
PUT /api/v1/secrets/{name} editor engine
DELETE /api/v1/secrets/{name} editor engine
GET /api/v1/state viewer own
GET /api/v1/state/{workflow}/{plugin} viewer workflow
DELETE /api/v1/state/{workflow}/{plugin} editor workflow
GET /api/v1/tokens admin engine
POST /api/v1/tokens admin engine
DELETE /api/v1/tokens/{name} admin engine
POST /api/v1/tokens/{name}/rotate admin engine
GET /api/v1/workflows viewer own
POST /api/v1/workflows editor own
GET /api/v1/workflows/{name} viewer workflow
DELETE /api/v1/workflows/{name} editor workflow
GET /api/v1/workflows/{name}/history viewer workflow
GET /api/v1/workflows/{name}/deliveries operator workflow
POST /api/v1/workflows/{name}/deliveries/{number}/redeliver operator workflow
GET /api/v1/runs/{run}/why viewer run
POST /api/v1/runs/{run}/retry operator run
POST /api/v1/workflows/{name}/pause operator workflow
POST /api/v1/workflows/{name}/resume operator workflow
GET /api/v1/schedules viewer own
GET /api/v1/workflows/{name}/schedules/{schedule} viewer workflow
POST /api/v1/workflows/{name}/schedules/{schedule}/pause operator workflow
POST /api/v1/workflows/{name}/schedules/{schedule}/resume operator workflow
POST /api/v1/workflows/{name}/schedules/{schedule}/run operator workflow
POST /api/v1/workflows/{name}/schedules/{schedule}/backfill operator workflow
GET /healthz -
GET /login/callback -
POST /hooks/{name} -
GET /metrics -
GET /readyz -
";

/// A route as the engine describes it.
struct Route {
    method: String,
    path: String,
    role: Option<String>,
    within: Option<String>,
}

fn routes(served: &Served) -> Vec<Route> {
    let (status, text) = request(served.api, "GET", "/api/openapi.json", &[], "");
    assert_eq!(status, 200, "{text}");
    let document: Value = serde_json::from_str(&text).unwrap();
    let mut routes = Vec::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let told = |key: &str| operation[key].as_str().map(str::to_owned);
            let (role, within) = (told("x-yuanli-role"), told("x-yuanli-within"));
            routes.push(Route { method: method.to_uppercase(), path: path.clone(), role, within });
        }
    }
    routes
}

/// A token's text.
fn token(served: &Served, name: &str, arguments: &[&str]) -> String {
    let create = [&["token", "create", name][..], arguments].concat();
    served.yuanli(&create).expect(0, &["told this once"]).out.trim().to_owned()
}

fn ask(served: &Served, token: &str, method: &str, path: &str, body: &str) -> (u16, Value) {
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let (status, text) = request(served.api, method, path, &headers, body);
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

#[test]
fn every_route_lets_in_who_it_says_and_nobody_else() {
    let served = Served::without_image();
    let routes = routes(&served);
    let told: BTreeMap<String, String> = routes
        .iter()
        .map(|Route { method, path, role, within }| {
            let needs = [role.as_deref().unwrap_or("-"), within.as_deref().unwrap_or("")].join(" ");
            (format!("{path} {method}"), format!("{method} {path} {}\n", needs.trim()))
        })
        .collect();
    let mut expected: Vec<&str> = NEEDS.lines().collect();
    let mut told: Vec<&str> = told.values().map(|line| line.trim_end()).collect();
    expected.sort_unstable();
    told.sort_unstable();
    assert_eq!(told, expected, "the routes and what they need");

    let tokens: Vec<String> =
        ROLES.iter().map(|role| token(&served, &format!("the-{role}"), &["--role", role])).collect();
    let scoped: Vec<String> = ROLES[..3]
        .iter()
        .map(|role| token(&served, &format!("shop-{role}"), &["--role", role, "--for", "shop-*"]))
        .collect();
    served.apply("shop-a.yaml", SHOP);
    served.apply("bank.yaml", BANK);
    let started = |name: &str| served.yuanli(&["trigger", name]).expect(0, &[]).out.trim().to_owned();
    let runs = [("shop-a", started("shop-a")), ("bank", started("bank"))];
    // What a route is about is there, and whoever is let in changes nothing: the body is missing, or the tag is another one.
    let named = |path: &str, workflow: &str| {
        let run = &runs.iter().find(|(name, _)| *name == workflow).unwrap().1;
        let is_of_workflows = path.starts_with("/api/v1/workflows/");
        let parts = path.split('/').map(|part| match part {
            "{run}" => run,
            "{workflow}" => workflow,
            "{name}" if is_of_workflows => workflow,
            part if part.starts_with('{') => "nothing",
            part => part,
        });
        parts.collect::<Vec<_>>().join("/")
    };
    let ask = |token: &str, method: &str, path: &str| {
        let bearer = format!("Bearer {token}");
        let headers =
            [("authorization", &*bearer), ("content-type", "application/json"), ("if-match", "\"another\"")];
        let (status, text) = request(served.api, method, path, &headers, "");
        (status, serde_json::from_str::<Value>(&text).unwrap_or(Value::String(text)))
    };
    for Route { method, path, role, within } in &routes {
        let (Some(role), Some(within)) = (role, within) else { continue };
        let (shop, bank) = (named(path, "shop-a"), named(path, "bank"));
        let is_of_one = matches!(within.as_str(), "workflow" | "run");
        // What is there and is not found is not the caller's. Of others a name may be of nothing.
        let is_let_in = |status: u16| !([401, 403].contains(&status) || is_of_one && status == 404);
        assert_eq!(request(served.api, method, &shop, &[], "").0, 401, "{method} {path} without a token");
        let wrong = ask("yuanli_000000000000_0", method, &shop);
        assert_eq!(wrong.0, 401, "{method} {path} with a wrong token: {}", wrong.1);
        let least = ROLES.iter().position(|own| own == role).unwrap();
        for (position, token) in tokens.iter().enumerate() {
            let (status, told) = ask(token, method, &shop);
            let by = ROLES[position];
            assert_eq!(is_let_in(status), position >= least, "{method} {path} by {by}: {status} {told}");
            assert!(status < 500, "{method} {path}: {told}");
            if !is_let_in(status) {
                assert_eq!((&told["status"], status), (&Value::from(403), 403));
                assert!(told["detail"].as_str().unwrap().contains(role), "{told}");
            }
        }
        for (position, token) in scoped.iter().enumerate() {
            let by = ROLES[position];
            let may = position >= least && within != "engine";
            let (status, told) = ask(token, method, &shop);
            assert_eq!(is_let_in(status), may, "{method} {path} by a {by} of `shop-*`: {status} {told}");
            if is_of_one {
                let (status, told) = ask(token, method, &bank);
                let expected = if position >= least { 404 } else { 403 };
                assert_eq!(status, expected, "{method} {bank} by a {by} of `shop-*`: {told}");
            }
        }
    }
}

const SHOP: &str =
    "name: shop-a\nstages:\n  a: { uses: script, with: { print: [\"the shop's own line\"] } }\n";
const BANK: &str = "name: bank\nstages:\n  a: { uses: script, with: { print: [\"the bank's own line\"] } }\n";

#[test]
fn what_belongs_to_another_workflow_is_as_if_it_were_not_there() {
    let served = Served::without_image();
    served.apply("shop-a.yaml", SHOP);
    served.apply("bank.yaml", BANK);
    let started = |name: &str| served.yuanli(&["trigger", name]).expect(0, &[]).out.trim().to_owned();
    let (shop, bank) = (started("shop-a"), started("bank"));
    wait_until("both have ended", || {
        let listed = served.place.json(&["runs", "list"]);
        listed["items"].as_array().unwrap().iter().all(|run| run["status"] == "succeeded")
    });
    let editor = token(&served, "shop", &["--role", "editor", "--for", "shop-*"]);
    let get = |path: &str| ask(&served, &editor, "GET", path, "");

    // By lists, by names, by ids that were guessed.
    let (_, runs) = get("/api/v1/runs");
    let ids: Vec<&str> =
        runs["items"].as_array().unwrap().iter().map(|run| run["id"].as_str().unwrap()).collect();
    assert_eq!(ids, [shop.as_str()]);
    let (_, workflows) = get("/api/v1/workflows");
    assert_eq!(workflows["items"].as_array().unwrap().len(), 1, "{workflows}");
    let (_, last) = get("/api/v1/runs/last");
    assert_eq!(last["id"], shop.as_str(), "the last one of theirs");
    for part in ["", "/logs", "/updates", "/events", "/emitted", "/artifacts", "/artifacts/content?name=x"] {
        let (status, told) = get(&format!("/api/v1/runs/{bank}{part}"));
        assert!(
            status == 404 && told["detail"].as_str().unwrap().contains("there is no run"),
            "{part}: {told}"
        );
        assert!(part.contains("content") || get(&format!("/api/v1/runs/{shop}{part}")).0 == 200, "{part}");
    }
    let post = |path: &str, body: &str| ask(&served, &editor, "POST", path, body).0;
    assert_eq!(post(&format!("/api/v1/runs/{bank}/cancel"), ""), 404);
    let answer = r#"{"approved":true,"by":"eva","inputs":{}}"#;
    assert_eq!(post(&format!("/api/v1/runs/{bank}/stages/a/answer"), answer), 404);
    assert_eq!(post("/api/v1/runs", r#"{"workflow":"bank"}"#), 404);
    assert_eq!(post("/api/v1/runs", r#"{"workflow":"shop-a"}"#), 201);
    assert_eq!(post("/api/v1/workflows/bank/pause", ""), 404);
    assert_eq!(ask(&served, &editor, "DELETE", "/api/v1/workflows/bank", "").0, 404);
    assert_eq!(get("/api/v1/state/bank/script").0, 404);

    // Nor by a document: another name, another's workflow as a stage, a folder of the machine.
    let apply = |text: &str, folder: &str| {
        let body = serde_json::json!({ "file": "w.yaml", "text": text, "folder": folder, "root": folder });
        ask(&served, &editor, "POST", "/api/v1/workflows", &body.to_string())
    };
    let uses = "name: shop-b\nstages:\n  a: { uses: workflow/bank }\n";
    for (text, folder, status) in [(SHOP, "", 200), (BANK, "", 403), (uses, "", 422), (SHOP, "/", 403)] {
        let (answered, told) = apply(text, folder);
        assert_eq!(answered, status, "{text} {folder}: {told}");
    }
    // Nor does a guess come near: names of others are not suggested.
    for (guess, suggests) in [("bnk", false), ("shop-b", true)] {
        let (_, told) = apply(&uses.replace("name: shop-b", "name: shop-c").replace("bank", guess), "");
        let says = told["diagnostics"][0].to_string();
        assert_eq!(says.contains("did you mean"), suggests, "{told}");
        assert!(!says.contains("bank"), "{told}");
    }
    // Nor by waiting for what is the engine's, nor by having the engine ask whom it reaches.
    let on = |on: &str| format!("name: shop-d\non: {{ {on} }}\nstages:\n  a: {{ uses: script }}\n");
    let source = on("metric: { query: up, source: 'http://127.0.0.1:9', above: 1 }");
    let every = token(&served, "every", &["--role", "editor"]);
    let admin = token(&served, "admin-of-shops", &["--role", "admin"]);
    let apply_as = |token: &str, text: &str| {
        let body = serde_json::json!({ "file": "w.yaml", "text": text }).to_string();
        ask(&served, token, "POST", "/api/v1/workflows", &body)
    };
    for event in ["event: { image: registry.example/it }", "event: { app: shop }"] {
        let (status, told) = apply_as(&editor, &on(event));
        assert!(status == 403 && told.to_string().contains("images and apps are the engine's"), "{told}");
        assert_eq!(apply_as(&every, &on(event)).0, 200, "who has the whole engine may");
    }
    let (status, told) = apply_as(&every, &source);
    assert!(status == 403 && told.to_string().contains("only an admin may have the engine ask"), "{told}");
    assert_eq!(apply_as(&admin, &source).0, 200);
    let (_, kept) = get("/api/v1/workflows/shop-a");
    let folder = kept["folder"].as_str().unwrap();
    assert_eq!(std::fs::read_dir(folder).unwrap().count(), 0, "nothing to read in {folder}");
}

/// Paths are read as they stand: none leads out of what a route is about.
#[test]
fn no_path_leads_elsewhere() {
    let served = Served::without_image();
    served.apply("shop-a.yaml", SHOP);
    let run = served.yuanli(&["trigger", "shop-a"]).expect(0, &[]).out.trim().to_owned();
    let admin = token(&served, "root", &["--role", "admin"]);
    for path in [
        format!("/api/v1/runs/{run}/artifacts/content?name=../../../../engine.json"),
        format!("/api/v1/runs/{run}/artifacts/content?name=%2Fetc%2Fpasswd"),
        format!("/api/v1/runs/{run}/artifacts/content?name=a%00b"),
        "/api/v1/runs/..%2F..%2Fengine.json".to_owned(),
        "/api/v1/workflows/..%2Fshop-a".to_owned(),
        "/api/v1/state/..%2F../x".to_owned(),
        "/api/v1/../../engine.json".to_owned(),
        "/hooks/..%2Fshop-a".to_owned(),
    ] {
        let (status, told) = ask(&served, &admin, "GET", &path, "");
        assert!((400..500).contains(&status), "{path}: {status} {told}");
        assert!(
            !told.to_string().contains("root:") && !told.to_string().contains(&served.place.engine()),
            "{told}"
        );
    }
}

#[test]
fn a_token_lives_as_long_as_it_is_said() {
    let mut served = Served::without_image();
    let url = format!("http://{}", served.api);
    let whoami =
        |served: &Served, token: &str| served.yuanli(&["--url", &url, "--token", token, "token", "whoami"]);
    // The first start has printed one, and nobody can be told it again.
    let log = std::fs::read_to_string(served.place.path("log")).unwrap();
    let first = log.split_whitespace().find(|word| word.starts_with("yuanli_")).expect(&log).to_owned();
    assert_eq!(whoami(&served, &first).expect(0, &[]).out, "admin: admin of the engine\n");

    let ci = token(&served, "ci", &["--role", "operator", "--for", "shop-*", "--expires-in", "3s"]);
    assert_eq!(whoami(&served, &ci).expect(0, &[]).out, "ci: operator of shop-*\n");
    served.yuanli(&["token", "create", "ci", "--role", "viewer"]).expect(2, &["there is a token `ci`"]);
    served.yuanli(&["token", "create", "x", "--role", "king"]).expect(2, &["`king` is no role"]);
    let listed = served.place.json(&["token", "list"]);
    let last = &listed["items"][1];
    assert!(
        last["name"] == "ci" && last["last_used_at"].is_string() && last["created_by"] == "owner",
        "{listed}"
    );
    assert!(!listed.to_string().contains(&ci[20..]), "its text is not told again: {listed}");
    wait_until("it has expired", || whoami(&served, &ci).code == 3);

    let new = served.yuanli(&["token", "rotate", "admin"]).expect(0, &[]).out.trim().to_owned();
    whoami(&served, &first).expect(3, &["not taken"]);
    // Over a restart: kept, hashed, and no other is made.
    assert_eq!(served.stop(), 0);
    served.start();
    whoami(&served, &new).expect(0, &[]);
    let log = std::fs::read_to_string(served.place.path("log")).unwrap();
    assert_eq!(log.matches("told this once").count(), 1, "{log}");
    let listed = served.place.json(&["token", "list"]);
    assert!(listed["items"][0]["last_used_at"].is_string(), "{listed}");
    served.yuanli(&["token", "revoke", "admin"]).expect(0, &["is revoked"]);
    whoami(&served, &new).expect(3, &["not taken"]);
    let mut grep = std::process::Command::new("grep");
    let found =
        grep.args(["-rqF", new.rsplit('_').next().unwrap()]).arg(served.place.data()).status().unwrap();
    assert_eq!(found.code(), Some(1), "its text is in no file");
}

#[test]
fn without_tokens_it_answers_its_own_machine_only() {
    let place = Place::new();
    place
        .yuanli(&["serve", "--open", "--listen", "0.0.0.0:0"])
        .expect(3, &["0.0.0.0:0 can be reached from others"]);
    let gateway = "127.0.0.1:0";
    let mut engine = place.command(&["serve", "--open", "--listen", "127.0.0.1:0", "--gateway", gateway]);
    let log = std::fs::File::create(place.path("log")).unwrap();
    let mut engine = engine.stdout(Stdio::null()).stderr(log).spawn().unwrap();
    let mut address = None;
    wait_until("it says where it listens", || {
        let log = std::fs::read_to_string(place.path("log")).unwrap();
        let told = log.split_whitespace().find_map(|word| word.strip_prefix("http://127.0.0.1:"));
        address = told.and_then(|told| format!("127.0.0.1:{}", told.trim_end_matches(',')).parse().ok());
        address.is_some()
    });
    let address = address.unwrap();
    let get = |headers: &[(&str, &str)]| request(address, "GET", "/api/v1/identity", headers, "").0;
    assert_eq!(get(&[]), 200);
    assert_eq!(get(&[("origin", &format!("http://{address}"))]), 200);
    assert_eq!(get(&[("host", "rebound.example.org")]), 403, "a name that leads here");
    assert_eq!(get(&[("origin", "https://example.org")]), 403, "a page of another server");
    engine.kill().unwrap();
    engine.wait().unwrap();
}
