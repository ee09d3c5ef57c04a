//! How the API behaves to those who ask: conditions, pages, parts, sizes, slowness.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use yuanli_test_guests::PROBE;

use crate::served::Served;
use crate::support::{PATIENCE, PROBE_GRANTS, wait_until};

/// Asks with these headers; the status, the headers, the body.
fn ask(
    served: &Served,
    token: &str,
    method: &str,
    path: &str,
    headers: &[&str],
    body: &str,
) -> (u16, String, Vec<u8>) {
    let mut curl = Command::new("curl");
    curl.args(["-sS", "-i", "--max-time", "60", "-X", method, "-H", "content-type: application/json"]);
    curl.args(["-H", &format!("authorization: Bearer {token}")]);
    for header in headers {
        curl.args(["-H", header]);
    }
    if !body.is_empty() {
        curl.args(["--data-binary", body]);
    }
    let answer = curl.arg(format!("http://{}{path}", served.api)).output().expect("curl is installed").stdout;
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("headers");
    let head = String::from_utf8_lossy(&answer[..end]).to_lowercase();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    (status, head, answer[end + 4..].to_vec())
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

fn admin(served: &Served) -> String {
    served.yuanli(&["token", "create", "conduct", "--role", "admin"]).expect(0, &[]).out.trim().to_owned()
}

const SHOP: &str = "name: shop\nstages:\n  a: { uses: script, with: { print: [one] } }\n";

#[test]
fn a_workflow_is_changed_by_who_knows_what_it_is() {
    let served = Served::without_image();
    let token = admin(&served);
    let apply = |text: &str, headers: &[&str], dry: bool| {
        let body = json!({ "file": "shop.yaml", "text": text, "dry_run": dry }).to_string();
        let (status, head, body) = ask(&served, &token, "POST", "/api/v1/workflows", headers, &body);
        (status, header(&head, "etag").map(str::to_owned), serde_json::from_slice::<Value>(&body).unwrap())
    };
    let (status, tag, change) = apply(SHOP, &["if-none-match: *"], true);
    assert_eq!((status, tag, &change["is_new"]), (200, None, &Value::from(true)), "{change}");
    assert_eq!(ask(&served, &token, "GET", "/api/v1/workflows/shop", &[], "").0, 404, "it was dry");
    let (status, first, _) = apply(SHOP, &["if-none-match: *"], false);
    let first = first.unwrap();
    assert_eq!(status, 200);
    let (status, _, told) = apply(SHOP, &["if-none-match: *"], false);
    assert!(status == 412 && told["detail"].as_str().unwrap().contains("already"), "{told}");

    let two = SHOP.replace("one", "two");
    let (_, _, change) = apply(&two, &[], true);
    let diff = change["diff"].as_str().unwrap();
    assert!(
        diff.contains("\n-  a: { uses: script, with: { print: [one] } }\n+  a: ") && diff.contains("[two]"),
        "{diff}"
    );
    let matching = format!("if-match: {first}");
    let (status, second, _) = apply(&two, &[&matching], false);
    assert_eq!(status, 200);
    let second = second.unwrap();
    let (status, _, told) = apply(SHOP, &[&matching], false);
    assert!(status == 412 && told["detail"].as_str().unwrap().contains("changed meanwhile"), "{told}");
    let on = |method: &str, path: &str, tag: &str| {
        ask(
            &served,
            &token,
            method,
            &format!("/api/v1/workflows/shop{path}"),
            &[&format!("if-match: {tag}")],
            "",
        )
    };
    assert_eq!(on("POST", "/pause", &first).0, 412);
    let (status, head, _) = on("POST", "/pause", &second);
    let paused = header(&head, "etag").unwrap().to_owned();
    assert!(status == 200 && paused != second, "{head}");
    let (_, head, _) = ask(&served, &token, "GET", "/api/v1/workflows/shop", &[], "");
    assert_eq!(header(&head, "etag"), Some(paused.as_str()));
    let (_, _, history) = ask(&served, &token, "GET", "/api/v1/workflows/shop/history", &[], "");
    let history: Value = serde_json::from_slice(&history).unwrap();
    let texts: Vec<&str> =
        history["items"].as_array().unwrap().iter().map(|it| it["text"].as_str().unwrap()).collect();
    assert_eq!(texts, [two.as_str(), SHOP]);
    assert_eq!((on("DELETE", "", &second).0, on("DELETE", "", "*").0), (412, 204));

    let file = served.place.write("shop.yaml", SHOP);
    served.yuanli(&["workflow", "apply", &file, "--dry-run"]).expect(0, &["is new"]);
    served.yuanli(&["workflow", "apply", &file]).expect(0, &["is new"]);
    served.yuanli(&["workflow", "apply", &file]).expect(0, &["stays as it is"]);
    let file = served.place.write("shop.yaml", &two);
    let told = served.yuanli(&["workflow", "apply", &file, "--dry-run"]).expect(0, &["would change"]);
    assert!(told.out.contains("+  a: ") && told.out.contains("-  a: "), "{told:?}");
}

#[test]
fn runs_are_listed_by_what_they_are_in_pages() {
    let served = Served::without_image();
    let token = admin(&served);
    served.apply("shop.yaml", SHOP);
    served.apply("bad.yaml", "name: bad\nstages:\n  a: { uses: script, with: { assert: [{ that: \"${{ 1 > 2 }}\", message: on purpose }] } }\n");
    let mut expected: Vec<String> = Vec::new();
    for name in ["shop", "bad", "shop", "bad", "shop"] {
        let run = served.yuanli(&["trigger", name]).expect(0, &[]).out.trim().to_owned();
        if name == "bad" {
            expected.insert(0, run);
        }
    }
    let page = |query: &str| -> Value {
        let (status, _, body) = ask(&served, &token, "GET", &format!("/api/v1/runs{query}"), &[], "");
        assert_eq!(status, 200, "{query}");
        serde_json::from_slice(&body).unwrap()
    };
    wait_until("all have ended", || page("?status=running")["items"].as_array().unwrap().is_empty());
    for filter in ["workflow=bad", "status=failed", "workflow=bad&status=failed"] {
        let (mut ids, mut query) = (Vec::new(), format!("?{filter}&limit=1"));
        loop {
            let page = page(&query);
            ids.extend(
                page["items"].as_array().unwrap().iter().map(|run| run["id"].as_str().unwrap().to_owned()),
            );
            let Some(next) = page["next"].as_str() else { break };
            query = format!("?{filter}&limit=1&after={next}");
        }
        assert_eq!(ids, expected, "{filter}");
    }
    for wrong in ["status=great", "limit=x", "after=x"] {
        let status = ask(&served, &token, "GET", &format!("/api/v1/runs?{wrong}"), &[], "").0;
        assert!(status == 400 || status == 422, "{wrong}: {status}");
    }
}

#[test]
fn an_artifact_comes_in_parts_and_lists_come_packed() {
    let served = Served::without_image();
    let token = admin(&served);
    served.place.write("probe.wasm", PROBE.component);
    served.apply(
        "put.yaml",
        &format!("name: put\nstages:\n  a:\n    uses: ./probe.wasm\n    grants: {PROBE_GRANTS}\n    with: {{ do: count, key: a }}\n"),
    );
    served.yuanli(&["trigger", "put", "--follow"]).expect(0, &[]);
    let path = "/api/v1/runs/last/artifacts/content?name=report.txt";
    let get = |headers: &[&str]| ask(&served, &token, "GET", path, headers, "");
    let (status, head, whole) = get(&[]);
    let size = whole.len();
    assert!(status == 200 && size > 4 && header(&head, "accept-ranges") == Some("bytes"), "{head}");
    let tag = header(&head, "etag").unwrap().to_owned();
    for (range, bytes) in [("0-1", 0..2), ("2-", 2..size), ("-3", size - 3..size), ("1-99999", 1..size)] {
        let (status, head, part) = get(&[&format!("range: bytes={range}")]);
        assert_eq!((status, &part[..]), (206, &whole[bytes.clone()]), "{range}: {head}");
        let told = format!("bytes {}-{}/{size}", bytes.start, bytes.end - 1);
        assert_eq!(header(&head, "content-range"), Some(told.as_str()));
    }
    let (status, head, told) = get(&[&format!("range: bytes={size}-")]);
    assert_eq!((status, header(&head, "content-range")), (416, Some(format!("bytes */{size}").as_str())));
    assert!(String::from_utf8_lossy(&told).contains("\"status\":416"));
    assert_eq!(get(&["range: bytes=0-1", "if-range: \"another\""]).0, 200, "another one comes whole");
    assert_eq!(get(&["range: bytes=0-1", &format!("if-range: {tag}")]).0, 206);
    assert_eq!(get(&[&format!("if-none-match: {tag}")]).0, 304);

    let (_, head, packed) = ask(&served, &token, "GET", "/api/openapi.json", &["accept-encoding: gzip"], "");
    assert_eq!(header(&head, "content-encoding"), Some("gzip"), "{head}");
    let (_, head, plain) = ask(&served, &token, "GET", "/api/openapi.json", &[], "");
    assert!(header(&head, "content-encoding").is_none() && packed.len() * 3 < plain.len(), "{head}");
    let stream = ["accept-encoding: gzip", "accept: text/event-stream"];
    let (_, head, _) = ask(&served, &token, "GET", "/api/v1/runs/last/logs", &stream, "");
    assert!(header(&head, "content-encoding").is_none(), "lines are not held back: {head}");
}

#[test]
fn what_is_too_large_or_too_slow_is_let_go() {
    let served = Served::without_image();
    let token = admin(&served);
    let large = served.place.write("large", vec![b' '; 9 << 20]);
    let (status, _, told) =
        ask(&served, &token, "POST", "/api/v1/workflows", &["expect:"], &format!("@{large}"));
    assert!(status == 413 && String::from_utf8_lossy(&told).contains("more than 8388608 bytes"), "{status}");
    let many: Vec<String> = (0..70).map(|number| format!("x-{number}: y")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(ask(&served, &token, "GET", "/healthz", &many, "").0, 431);
    let long: Vec<String> = (0..20).map(|number| format!("x-{number}: {}", "y".repeat(20_000))).collect();
    let long: Vec<&str> = long.iter().map(String::as_str).collect();
    assert_eq!(ask(&served, &token, "GET", "/healthz", &long, "").0, 431);

    // Headers and a body that never come to their end.
    let open = |text: &str| {
        let mut stream = TcpStream::connect(served.api).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(text.as_bytes()).unwrap();
        stream
    };
    let headers = open("GET /healthz HTTP/1.1\r\nhost: x\r\nx-slow: ");
    let mut body = open(&format!(
        "POST /api/v1/runs HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n{{"
    ));
    let dribble = |mut stream: TcpStream| {
        std::thread::spawn(move || {
            let mut read = stream.try_clone().unwrap();
            // A byte now and then, so that it is never idle.
            let writing = std::thread::spawn(move || {
                while stream.write_all(b" ").is_ok() {
                    std::thread::sleep(Duration::from_secs(1));
                }
            });
            let mut told = String::new();
            let _ = read.read_to_string(&mut told);
            let _ = read.shutdown(std::net::Shutdown::Both);
            writing.join().unwrap();
            told
        })
    };
    let (headers, slow) = (dribble(headers), dribble(body.try_clone().unwrap()));
    // Nobody else waits for them.
    assert_eq!(ask(&served, &token, "GET", "/healthz", &[], "").0, 200);
    let told = headers.join().unwrap();
    assert!(!told.contains(" 200 "), "{told}");
    let _ = body.flush();
    let told = slow.join().unwrap();
    assert!(told.contains(" 408 ") && told.contains("did not come within 30 seconds"), "{told}");
}
