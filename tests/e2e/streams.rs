//! Following runs over HTTP: nothing is missing and nothing comes twice, however often the connection breaks.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::served::Served;
use crate::support::{Ended, PATIENCE, docker, wait_until};

/// A server-sent event.
#[derive(Debug, Clone)]
struct Told {
    id: String,
    kind: String,
    data: Value,
}

/// The events that have come whole.
fn events(text: &str) -> Vec<Told> {
    let whole = text.rfind("\n\n").map_or("", |end| &text[..end]);
    let field = |block: &str, name: &str| {
        block.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim().to_owned()
    };
    let blocks = whole.split("\n\n").filter(|block| block.contains("data:"));
    blocks
        .map(|block| Told {
            id: field(block, "id:"),
            kind: field(block, "event:"),
            data: serde_json::from_str(&field(block, "data:")).expect(block),
        })
        .collect()
}

/// What `curl` gets until the server or the time ends it; the status and the text.
fn curl(served: &Served, token: &str, path: &str, last: Option<&str>, seconds: &str) -> (u16, String) {
    let mut curl = Command::new("curl");
    curl.args(["-sN", "--max-time", seconds, "-w", "\n\n%{http_code}"]);
    curl.args(["-H", "accept: text/event-stream", "-H", &format!("authorization: Bearer {token}")]);
    if let Some(last) = last {
        curl.args(["-H", &format!("last-event-id: {last}")]);
    }
    let output = curl.arg(format!("http://{}{path}", served.api)).output().expect("curl is installed");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (text, status) = text.rsplit_once("\n\n").unwrap_or(("", "0"));
    (status.parse().unwrap_or(0), text.to_owned() + "\n\n")
}

fn viewer(served: &Served) -> String {
    let made = served.yuanli(&["token", "create", "looker", "--role", "viewer"]).expect(0, &[]);
    made.out.trim().to_owned()
}

/// A workflow that writes numbered lines, with a pause after each.
fn counting(lines: usize, pause: &str, more: &str) -> String {
    docker::make_image();
    let image = docker::IMAGE;
    format!(
        "name: counting\nstages:\n  count:\n    uses: command\n    with:\n      image: {image}\n      command: [/bin/sh, -c, \
         \"i=0; while [ $i -lt {lines} ]; do echo line $i {more}; i=$((i+1)); {pause}; done\"]\n"
    )
}

/// The numbers in the lines of the container.
fn numbers<'a>(lines: impl Iterator<Item = &'a Value>) -> Vec<usize> {
    let number = |line: &Value| line["text"].as_str()?.strip_prefix("line ")?.split(' ').next()?.parse().ok();
    lines.filter_map(number).collect()
}

#[test]
fn a_log_is_followed_over_broken_connections_and_a_crash() {
    const LINES: usize = 400;
    let mut served = Served::without_image();
    served.apply("counting.yaml", &counting(LINES, "/bin/busybox usleep 10000", ""));
    let token = viewer(&served);
    let follower = served.place.start(&["trigger", "counting", "--follow", "--json"]);
    wait_until("the run has begun", || !docker::containers(&served.place.engine()).is_empty());
    let listed = served.place.json(&["runs", "list"]);
    let run = listed["items"][0]["id"].as_str().unwrap().to_owned();
    let path = format!("/api/v1/runs/{run}/logs");
    let (mut told, mut breaks): (Vec<Told>, usize) = (Vec::new(), 0);
    while told.last().is_none_or(|last| last.kind != "end") {
        let last = told.last().map(|last| last.id.clone());
        let (_, text) = curl(&served, &token, &path, last.as_deref(), "0.6");
        told.extend(events(&text));
        breaks += 1;
        if breaks == 3 {
            served.kill();
            served.start();
        }
        assert!(breaks < 300, "{} lines after {breaks} connections", told.len());
    }
    assert!(breaks > 5, "it broke on the way: {breaks}");
    let all: Vec<usize> = (0..LINES).collect();
    assert_eq!(numbers(told.iter().map(|told| &told.data)), all);

    // The command has seen the same over the same crash.
    let followed = Ended::of(follower.wait_with_output().unwrap()).expect(0, &["waiting for the engine"]);
    assert_eq!(numbers(followed.lines().iter()), all);
    let events: Vec<u64> = followed.lines().iter().filter_map(|line| line["number"].as_u64()).collect();
    assert_eq!(events, (0..events.len() as u64).collect::<Vec<_>>());

    // Whoever knows the end is told not to come again; whoever has half of it gets the rest.
    let id = &told.last().unwrap().id;
    assert_eq!(curl(&served, &token, &path, Some(id), "10").0, 204);
    let half = &told[LINES / 2];
    let (_, rest) = curl(&served, &token, &path, Some(&half.id), "10");
    let rest = self::events(&rest);
    assert_eq!(numbers(rest.iter().map(|told| &told.data)), all[LINES / 2 + 1..]);
    assert_eq!(served.stop(), 0);
}

#[test]
fn events_come_in_pages_or_as_they_happen() {
    let served = Served::without_image();
    let text = "name: gated\nstages:\n  say: { uses: script, with: { print: [one, two] } }\n  ask: { needs: say, approval: true }\n";
    served.apply("gated.yaml", text);
    let token = viewer(&served);
    let run = served.yuanli(&["trigger", "gated"]).expect(0, &[]).out.trim().to_owned();
    let path = format!("/api/v1/runs/{run}/events");
    // It waits for a person: what comes meanwhile keeps the connection.
    let (status, text) = curl(&served, &token, &path, None, "17");
    assert_eq!(status, 200);
    assert!(text.contains("\n\n:\n\n"), "{text}");
    let begun = events(&text);
    served.yuanli(&["runs", "approve", &run, "ask"]).expect(0, &[]);
    let (_, text) = curl(&served, &token, &path, Some(&begun.last().unwrap().id), "20");
    let rest = events(&text);
    let told: Vec<&Told> = begun.iter().chain(&rest).collect();
    let (end, told) = told.split_last().unwrap();
    assert_eq!(end.kind, "end");
    let kinds: Vec<&str> = told.iter().map(|told| told.data["event"].as_str().unwrap()).collect();
    assert_eq!(kinds.first().copied().zip(kinds.last().copied()), Some(("created", "finished")), "{kinds:?}");

    let page = |query: &str| {
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", bearer.as_str())];
        let (status, text) =
            crate::served::request(served.api, "GET", &format!("{path}{query}"), &headers, "");
        (status, serde_json::from_str::<Value>(&text).unwrap())
    };
    let (mut all, mut query): (Vec<Value>, String) = (Vec::new(), "?limit=3".to_owned());
    loop {
        let (status, page) = page(&query);
        assert_eq!(status, 200);
        all.extend(page["items"].as_array().unwrap().clone());
        let Some(next) = page["next"].as_str() else { break };
        query = format!("?limit=3&after={next}");
    }
    assert_eq!(all, told.iter().map(|told| told.data.clone()).collect::<Vec<_>>());
    for wrong in ["x", "999", "4.0-1", "3.1"] {
        let (status, text) = curl(&served, &token, &path, Some(wrong), "5");
        assert!(status == 422 && text.contains("is no position in this run"), "{wrong}: {status} {text}");
    }
}

/// A connection that gets a log; HTTP/1.0, so that what comes is the log and nothing else.
fn open(served: &Served, token: &str, run: &str) -> TcpStream {
    let mut stream = TcpStream::connect(served.api).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(
        stream,
        "GET /api/v1/runs/{run}/logs HTTP/1.0\r\nauthorization: Bearer {token}\r\naccept: text/event-stream\r\n\r\n"
    )
    .unwrap();
    stream
}

fn read(mut stream: TcpStream) -> Vec<usize> {
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (_, text) = text.split_once("\r\n\r\n").unwrap();
    numbers(events(text).iter().map(|told| &told.data))
}

/// Its resident memory in MiB.
fn resident(served: &Served) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", served.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().split(' ').next().unwrap().parse::<u64>().unwrap() / 1024
}

#[test]
fn many_followers_each_get_each_line_once_and_one_that_does_not_read_holds_nothing_up() {
    const FOLLOWERS: usize = 100;
    const LINES: usize = 3_000;
    let served = Served::without_image();
    served.apply("counting.yaml", &counting(LINES, ":", &"x".repeat(1_000)));
    let token = viewer(&served);
    let run = served.yuanli(&["trigger", "counting"]).expect(0, &[]).out.trim().to_owned();
    let slow = open(&served, &token, &run);
    let before = resident(&served);
    let followers: Vec<_> = (0..FOLLOWERS)
        .map(|_| {
            let stream = open(&served, &token, &run);
            std::thread::spawn(move || read(stream))
        })
        .collect();
    let mut most = before;
    wait_until("the run has ended", || {
        most = most.max(resident(&served));
        served.place.json(&["runs", "show", &run])["status"] == "succeeded"
    });
    let all: Vec<usize> = (0..LINES).collect();
    for follower in followers {
        while !follower.is_finished() {
            most = most.max(resident(&served));
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(follower.join().unwrap(), all);
    }
    // The log has 3 MB, so 300 MB were sent.
    assert!(most < before + 120, "{before} MiB before, {most} MiB with {FOLLOWERS} followers");
    assert_eq!(read(slow), all, "it gets all of it, later");
    println!("{before} MiB before, {most} MiB with {FOLLOWERS} followers");
}
