//! Who goes away in the middle: clients that hang up, and an engine that does not answer who wants to leave.

use std::io::Write as _;
use std::net::TcpStream;
use std::process::Stdio;
use std::time::Duration;

use crate::served::{Served, signal};
use crate::support::wait_until;

/// Clients at once, and how often each asks for a run and hangs up, a little later each time.
const CLIENTS: u64 = 8;
const TIMES: u64 = 60;
const LATER: Duration = Duration::from_micros(60);

#[test]
#[allow(clippy::disallowed_methods, reason = "a client hangs up by the real clock")]
fn a_client_that_hangs_up_leaves_no_run_that_nobody_drives() {
    let served = Served::without_image();
    served.apply("quick.yaml", "name: quick\nstages:\n  a: { uses: script, with: { print: [done] } }\n");
    let token = served.yuanli(&["token", "create", "ci", "--role", "operator"]).expect(0, &[]).out;
    let body = r#"{"workflow":"quick"}"#;
    let request = format!(
        "POST /api/v1/runs HTTP/1.1\r\nhost: it\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        token.trim(),
        body.len()
    );
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (address, request) = (served.api, request.as_bytes());
            scope.spawn(move || {
                for time in 0..TIMES {
                    let mut stream = TcpStream::connect(address).unwrap();
                    stream.write_all(request).unwrap();
                    std::thread::sleep(LATER * (client + time) as u32);
                }
            });
        }
    });
    // Some were not begun; none is durable without anybody who goes on with it.
    let listed =
        || served.place.json(&["runs", "list", "--limit", "1000"])["items"].as_array().unwrap().clone();
    wait_until("all have ended that were begun", || listed().iter().all(|run| run["status"] != "running"));
    assert!(listed().iter().all(|run| run["status"] == "succeeded"));
    assert!(!listed().is_empty(), "all hung up before anything was begun");
}

#[test]
fn a_second_signal_leaves_also_when_the_engine_does_not_answer() {
    let served = Served::without_image();
    let asks = served.place.write(
        "asks.yaml",
        "name: asks\nstages:\n  first: { uses: script, with: { print: [begun] } }\n  ask: { needs: first, approval: true }\n",
    );
    let told = served.place.path("told");
    let mut command = served.place.attended(&["run", &asks]);
    command.stdout(Stdio::null()).stderr(std::fs::File::create(&told).unwrap());
    let mut running = command.spawn().unwrap();
    let says = |text: &str| std::fs::read_to_string(&told).unwrap().contains(text);
    wait_until("it is under way", || says("begun"));
    signal("STOP", served.pid());
    signal("INT", running.id());
    wait_until("the first is heard", || says("press Ctrl-C again to leave at once"));
    signal("INT", running.id());
    wait_until("the second leaves", || running.try_wait().unwrap().is_some());
    assert_eq!(running.wait().unwrap().code(), Some(130));
    assert!(says("left at once; what became of the run: yuanli runs show "));
    signal("CONT", served.pid());
    // Nothing has asked for its end that was heard, or it was: it is there either way.
    wait_until("the engine answers again", || served.yuanli(&["runs", "show", "last"]).code == 0);
}
