//! How many requests somebody may send, how slowly they may come, and how slowly answers may be taken.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::served::{Served, request};
use crate::support::{PATIENCE, Place, wait_until};

/// The status of an answer, and its headers in small letters.
fn head(address: SocketAddr, path: &str, headers: &[&str]) -> (u16, String) {
    let mut curl = Command::new("curl");
    curl.args(["-sS", "--max-time", "60", "-o", "/dev/null", "-D", "-"]);
    for header in headers {
        curl.args(["-H", header]);
    }
    let output = curl.arg(format!("http://{address}{path}")).output().expect("curl is installed");
    let text = String::from_utf8(output.stdout).unwrap().to_lowercase();
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.unwrap_or(0), text)
}

/// A connection that has sent this.
fn begun(address: SocketAddr, sent: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(sent.as_bytes()).unwrap();
    stream
}

/// What comes until the other side closes.
fn rest(mut stream: TcpStream) -> String {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut text = Vec::new();
    match stream.read_to_end(&mut text) {
        Err(error) if error.kind() != ErrorKind::ConnectionReset => panic!("it is left open: {error}"),
        _ => String::from_utf8_lossy(&text).into_owned(),
    }
}

#[test]
fn whoever_sends_too_much_is_told_when_to_come_again_and_nobody_else_is() {
    let mut served = Served::without_image();
    let token = |name: &str| served.yuanli(&["token", "create", name, "--role", "viewer"]).expect(0, &[]).out;
    let (one, other) = (token("one"), token("other"));
    assert_eq!(served.stop(), 0);
    served.start_with(&[("YUANLI_TOKEN_RATE", "3/h"), ("YUANLI_ADDRESS_RATE", "2/h")]);
    let get =
        |token: &str| head(served.api, "/api/v1/runs", &[&format!("authorization: Bearer {}", token.trim())]);
    for left in [2, 1, 0] {
        let (status, headers) = get(&one);
        let expected = format!("ratelimit: \"token\";r={left};");
        assert!(status == 200 && headers.contains(&expected), "{headers}");
        assert!(headers.contains("ratelimit-policy: \"token\";q=3;w=3600"), "{headers}");
    }
    let (status, headers) = get(&one);
    let wait = headers.lines().find_map(|line| line.strip_prefix("retry-after: ")).map(str::trim);
    let wait: u64 = wait.and_then(|wait| wait.parse().ok()).expect(&headers);
    assert!(status == 429 && (1_000..=1_200).contains(&wait), "one in twenty minutes: {headers}");
    assert!(headers.contains("application/problem+json"), "{headers}");
    assert_eq!(get(&other).0, 200, "each token has its own");

    // Those who are nobody are counted by their address, and only when they fail or look around.
    assert_eq!(get("wrong").0, 401);
    assert_eq!(request(served.api, "POST", "/hooks/none", &[], "{}").0, 401);
    for (path, token) in [("/api/v1/runs", "wrong"), ("/healthz", "wrong"), ("/metrics", "")] {
        let (status, headers) = head(served.api, path, &[&format!("authorization: Bearer {token}")]);
        assert!(status == 429 && headers.contains("ratelimit: \"address\";r=0;"), "{path}: {headers}");
    }
    assert_eq!(request(served.api, "POST", "/hooks/none", &[], "{}").0, 429);
    assert_eq!(get(&other).0, 200, "who has a token is not counted by the address");
    for _ in 0..5 {
        served.yuanli(&["runs", "list"]).expect(0, &[]);
    }
    let audit = served.yuanli(&["audit", "--all"]).out;
    assert!(!audit.contains("429"), "what is not looked at is not written down: {audit}");
}

#[test]
fn whoever_is_slow_holds_up_nobody_and_is_let_go() {
    let served = Served::without_image();
    let slow = [
        begun(served.api, "GET /healthz HTTP/1.1\r\nhost: x\r\nx-slow: "),
        begun(served.api, "GET /heal"),
        begun(served.api, ""),
    ];
    let body = begun(served.api, "POST /hooks/none HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n{\"a\"");
    assert_eq!(request(served.api, "GET", "/healthz", &[], "").0, 200);
    let told = rest(body);
    assert!(told.starts_with("HTTP/1.1 408 ") && told.contains("did not come within 30 seconds"), "{told}");
    for stream in slow {
        let told = rest(stream);
        assert!(told.is_empty() || told.starts_with("HTTP/1.1 408 "), "{told}");
    }
    // Too many headers, and too much of them.
    let many = "x-h: 1\r\n".repeat(70);
    let told = rest(begun(served.api, &format!("GET /healthz HTTP/1.1\r\nhost: x\r\n{many}\r\n")));
    assert!(told.starts_with("HTTP/1.1 431 "), "{told}");
    let long = "x".repeat(200 << 10);
    let mut stream = TcpStream::connect(served.api).unwrap();
    // It may hang up before it has taken all.
    let _ = stream.write_all(format!("GET /healthz HTTP/1.1\r\nhost: x\r\nx-h: {long}\r\n\r\n").as_bytes());
    let told = rest(stream);
    assert!(told.is_empty() || told.starts_with("HTTP/1.1 431 "), "{told}");
}

#[test]
fn whoever_takes_nothing_of_an_answer_is_let_go() {
    let mut served = Served::without_image();
    assert_eq!(served.stop(), 0);
    served.start_with(&[("YUANLI_WRITE_TIMEOUT", "1s"), ("YUANLI_ADDRESS_RATE", "off")]);
    let mut stream = TcpStream::connect(served.api).unwrap();
    stream.set_write_timeout(Some(Duration::from_millis(100))).unwrap();
    let asks = "GET /api/openapi.json HTTP/1.1\r\nhost: x\r\n\r\n".repeat(1_000);
    // It asks on and reads nothing, until nobody answers any more.
    wait_until("the connection is closed", || match stream.write(asks.as_bytes()) {
        Ok(_) => false,
        Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
    });
    assert_eq!(request(served.api, "GET", "/healthz", &[], "").0, 200);
}

#[test]
fn bodies_of_those_whom_nobody_knows_are_bounded_together() {
    const MOST: usize = 64;
    const LARGE: usize = 100_000;
    let served = Served::without_image();
    let head = format!(
        "POST /hooks/none HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {LARGE}\r\n\r\n"
    );
    let begin = || begun(served.api, &format!("{head}{{"));
    let mut open: Vec<TcpStream> = (0..MOST).map(|_| begin()).collect();
    let asks = format!("{head}{}", " ".repeat(LARGE));
    // Until all of them are read, others are answered.
    let mut waits = None;
    wait_until("another one waits", || {
        let asking = begun(served.api, &asks);
        asking.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        let answered = (&asking).read(&mut [0]);
        waits = Some(asking);
        answered.is_err_and(|error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut))
    });
    // Small ones do not, and neither does whoever has a token.
    assert_eq!(request(served.api, "POST", "/hooks/none", &[], "{}").0, 401);
    let admin = served.yuanli(&["token", "create", "a", "--role", "admin"]).expect(0, &[]).out;
    let bearer = format!("Bearer {}", admin.trim());
    let (status, _) =
        request(served.api, "POST", "/api/v1/workflows/none/pause", &[("authorization", &bearer)], "{}");
    assert_eq!(status, 404);
    drop(open.pop());
    assert!(rest(waits.unwrap()).starts_with("HTTP/1.1 401 "));
}

#[test]
fn an_engine_takes_as_many_files_as_it_may() {
    let place = Place::new();
    let mut shell = Command::new("sh");
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--gateway", "127.0.0.1:0"];
    let script = "ulimit -S -n 256; exec \"$0\" \"$@\"";
    shell.args(["-c", script, env!("CARGO_BIN_EXE_yuanli")]).args(arguments);
    shell.env("YUANLI_DATA", place.data()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = shell.spawn().unwrap();
    let mut soft_and_hard = (String::new(), String::new());
    wait_until("it serves", || {
        place.yuanli(&["runs", "list"]).code == 0 && place.path("data/engine.sock").exists()
    });
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", child.id())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let mut numbers = line.split_whitespace().skip(3).map(str::to_owned);
    soft_and_hard.0 = numbers.next().unwrap();
    soft_and_hard.1 = numbers.next().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(soft_and_hard.0, soft_and_hard.1);
    assert_ne!(soft_and_hard.0, "256");
}

#[test]
fn a_packed_answer_is_one_of_the_same_content() {
    let served = Served::without_image();
    served.apply("w.yaml", "name: w\nstages:\n  a: { uses: script, with: { print: [one] } }\n");
    let admin = served.yuanli(&["token", "create", "a", "--role", "admin"]).expect(0, &[]).out;
    let bearer = format!("authorization: Bearer {}", admin.trim());
    let tag = |packed: &[&str]| {
        let (status, headers) =
            head(served.api, "/api/v1/workflows/w", &[&[bearer.as_str()], packed].concat());
        assert_eq!(status, 200);
        headers.lines().find_map(|line| line.strip_prefix("etag: ")).expect(&headers).trim().to_owned()
    };
    let plain = tag(&[]);
    let packed = tag(&["accept-encoding: gzip"]);
    assert_eq!(packed, format!("w/{plain}"), "its bytes are others");
    let packed = packed.replace("w/", "W/");
    let headers = [("authorization", bearer.strip_prefix("authorization: ").unwrap()), ("if-match", &packed)];
    assert_eq!(request(served.api, "POST", "/api/v1/workflows/w/pause", &headers, "").0, 200);
}

#[test]
fn what_is_refused_is_packed_as_well_and_can_be_read() {
    let served = Served::without_image();
    let mut curl = Command::new("curl");
    curl.args(["-sS", "--compressed", "-D", "-", &format!("http://{}/api/v1/runs", served.api)]);
    let told = String::from_utf8(curl.output().unwrap().stdout).unwrap();
    let (headers, body) = told.split_once("\r\n\r\n").unwrap();
    assert!(headers.to_lowercase().contains("content-encoding: gzip"), "{headers}");
    let problem: Value = serde_json::from_str(body).unwrap();
    assert_eq!(problem["status"], 401, "{body}");
}
