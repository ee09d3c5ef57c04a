//! Runs as traces: at a real collector, which `scripts/setup` gets from PyPI, and at one that is away, slow to take them, or picky.
//! Where the real one cannot be had, its test says so and passes.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::served::Served;
use crate::support::{Place, root, wait_until};

const PACKAGE: &str = "rotel-0.0.1a15";
/// One stage that fails once, one for each of two, one that is skipped, and one that is another workflow.
const SHOP: &str = "name: shop
labels: { team: blue }
stages:
  check: { uses: script, with: { assert: [{ that: false, message: it never is }] }, allow_failure: true, retry: { attempts: 2, on: [permanent], backoff: 1ms } }
  each: { uses: script, for_each: [a, b], with: { outputs: { x: \"${{ item }}\" } } }
  never: { uses: script, if: \"${{ false }}\", with: { outputs: { x: 1 } } }
  inner: { uses: workflow/inner }
";
const INNER: &str = "name: inner
stages:
  one: { uses: script, with: { outputs: { x: 1 } } }
";

/// The collector of the package, which writes down what it is sent.
struct Collector {
    place: Place,
    address: SocketAddr,
    child: Child,
}

impl Collector {
    fn start() -> Option<Self> {
        let Some(program) = program() else {
            println!("skipped: {PACKAGE} is not in target/guest-tools");
            return None;
        };
        let (place, address, other) = (Place::new(), free(), free());
        let log = std::fs::File::create(place.path("log")).unwrap();
        let mut agent = Command::new(program);
        agent.args([
            "start",
            "--exporter",
            "blackhole",
            "--debug-log",
            "traces",
            "--debug-log-verbosity",
            "detailed",
        ]);
        agent.args([
            "--otlp-http-endpoint",
            &address.to_string(),
            "--otlp-grpc-endpoint",
            &other.to_string(),
        ]);
        let child = agent.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        Some(Self { place, address, child })
    }

    fn said(&self) -> String {
        std::fs::read_to_string(self.place.path("log")).unwrap()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn program() -> Option<PathBuf> {
    let versions = root().join("target/guest-tools").join(PACKAGE).join("lib").read_dir().ok()?;
    let mut programs =
        versions.filter_map(|version| Some(version.ok()?.path().join("site-packages/rotel/rotel-agent")));
    programs.find(|program| program.is_file())
}

fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// What a collector was sent: the lines of the headers, and the body.
type Heard = Arc<Mutex<Vec<(String, Value)>>>;

/// A collector that gives these answers, and then takes everything.
fn picky(address: SocketAddr, answers: [(&'static str, &'static str); 3]) -> Heard {
    let listener = TcpListener::bind(address).unwrap();
    let heard = Heard::default();
    let told = Arc::clone(&heard);
    std::thread::spawn(move || {
        let mut answers = answers.into_iter();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let (mut text, mut part) = (String::new(), [0; 64 << 10]);
            let (head, body) = loop {
                let read = stream.read(&mut part).unwrap();
                text.push_str(std::str::from_utf8(&part[..read]).unwrap());
                let whole = text.split_once("\r\n\r\n");
                match whole.and_then(|(head, body)| Some((head.to_owned(), serde_json::from_str(body).ok()?)))
                {
                    Some(whole) => break whole,
                    None if read == 0 => return,
                    None => {}
                }
            };
            told.lock().unwrap().push((head, body));
            let (head, body) = answers.next().unwrap_or(("200 OK", "{}"));
            write!(stream, "HTTP/1.1 {head}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).unwrap();
        }
    });
    heard
}

fn spans(body: &Value) -> &Vec<Value> {
    body["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap()
}

fn attribute<'s>(span: &'s Value, name: &str) -> &'s Value {
    let found = span["attributes"].as_array().unwrap().iter().find(|attribute| attribute["key"] == name);
    found.map_or(&Value::Null, |found| &found["value"])
}

/// An engine that sends its traces there.
fn engine(collector: SocketAddr) -> Served {
    let mut served = Served::without_image();
    assert_eq!(served.stop(), 0);
    served.place.write(
        "data/config.yaml",
        format!("serve: {{ otlp_endpoint: 'http://{collector}', otlp_headers: collector.headers }}\n"),
    );
    served.place.write("data/collector.headers", "X-Key: of ours\n");
    served.start();
    served.apply("inner.yaml", INNER);
    served.apply("shop.yaml", SHOP);
    served
}

fn sent(served: &Served, outcome: &str) -> u64 {
    let told = crate::served::request(served.api, "GET", "/metrics", &[], "").1;
    let line = format!("yuanli_traces_total{{outcome=\"{outcome}\"}} ");
    let found = told.lines().find_map(|told| told.strip_prefix(&line).map(str::to_owned));
    found.unwrap_or_else(|| panic!("no {line} in {told}")).parse().unwrap()
}

#[test]
fn a_run_is_a_trace_at_a_real_collector() {
    let Some(collector) = Collector::start() else { return };
    let served = engine(collector.address);
    served.yuanli(&["trigger", "shop", "--follow"]).expect(0, &[]);
    wait_until("the collector has the traces of both runs", || sent(&served, "sent") == 2);
    wait_until("it has written them down", || collector.said().matches("RUN ").count() >= 2);
    let said = collector.said();
    for told in [
        "service.name: Str(yuanli)",
        "Name           : RUN shop",
        "Name           : RUN inner",
        "Kind           : SPAN_KIND_SERVER",
        "Kind           : SPAN_KIND_INTERNAL",
        "cicd.pipeline.result: Str(success)",
        "cicd.pipeline.task.run.result: Str(skip)",
        "cicd.pipeline.task.run.result: Str(failure)",
        "error.type: Str(assertion)",
        "yuanli.label.team: Str(blue)",
        "STATUS_CODE_ERROR",
    ] {
        assert!(said.contains(told), "no `{told}` in {said}");
    }
}

#[test]
fn no_trace_is_lost_where_engine_or_collector_are_away_and_none_is_another_one() {
    let collector = free();
    let mut served = engine(collector);
    let run = served.yuanli(&["trigger", "shop", "--follow", "--json"]).expect(0, &[]).out;
    let run: Value = serde_json::from_str(run.lines().last().unwrap()).unwrap();
    let run = run["id"].as_str().or(run["run"].as_str()).unwrap_or_else(|| panic!("{run}")).to_owned();
    let log = served.place.path("log");
    wait_until("it is told once", || {
        std::fs::read_to_string(&log).unwrap().contains("wait for their collector")
    });
    served.kill();

    let answers = [
        ("503 Service Unavailable\r\nretry-after: 1", ""),
        ("200 OK", r#"{"partialSuccess":{"rejectedSpans":"1","errorMessage":"too long"}}"#),
        ("400 Bad Request", r#"{"message":"no!"}"#),
    ];
    let heard = picky(collector, answers);
    served.start();
    wait_until("it has been sent", || sent(&served, "sent") == 2);
    let (head, body) = heard.lock().unwrap()[0].clone();
    assert!(head.starts_with("POST /v1/traces HTTP/1.1") && head.contains("x-key: of ours"), "{head}");
    let again = heard.lock().unwrap()[1].1.clone();
    assert_eq!(spans(&again), spans(&body), "the same trace");

    let of = |name: &str| {
        let found: Vec<&Value> = spans(&body).iter().filter(|span| span["name"] == name).collect();
        assert!(!found.is_empty(), "no {name} in {body}");
        found
    };
    let root = of("RUN shop")[0];
    assert_eq!(attribute(root, "cicd.pipeline.run.id")["stringValue"], run.as_str());
    assert_eq!(root["traceId"].as_str().unwrap(), hexadecimal(&run), "its id is that of the run");
    let (check, each) = (of("check"), of("each"));
    assert_eq!((check.len(), each.len()), (3, 3), "one of the stage and two of its attempts");
    assert_eq!(check[0]["parentSpanId"], root["spanId"]);
    assert!(check[1..].iter().all(|attempt| attempt["parentSpanId"] == check[0]["spanId"]));
    assert_eq!(attribute(check[2], "yuanli.attempt")["intValue"], "2");
    assert_eq!(attribute(each[2], "yuanli.instance")["intValue"], "1");
    assert_eq!(of("never")[0]["startTimeUnixNano"], of("never")[0]["endTimeUnixNano"]);
    // The inner run points to the stage that has started it.
    let (inner, stage) = (of("RUN inner")[0], of("inner")[0]);
    assert_ne!(inner["traceId"], root["traceId"]);
    assert_eq!(inner["links"][0]["spanId"], stage["spanId"]);
    assert_eq!(inner["links"][0]["traceId"], root["traceId"]);

    // What a collector refuses for good is not sent again.
    served.yuanli(&["trigger", "inner", "--follow"]).expect(0, &[]);
    wait_until("it is refused", || sent(&served, "refused") == 1);
    let log = std::fs::read_to_string(&log).unwrap();
    assert!(log.contains("does not take spans") && log.contains("answers 400: no!"), "{log}");
    served.yuanli(&["trigger", "inner", "--follow"]).expect(0, &[]);
    wait_until("the next one is sent", || sent(&served, "sent") == 3);
    assert_eq!(heard.lock().unwrap().len(), 4);
}

/// A run's id (26 digits of Crockford's Base32) as 32 hexadecimal digits.
fn hexadecimal(id: &str) -> String {
    let digit = |c: char| "0123456789ABCDEFGHJKMNPQRSTVWXYZ".find(c.to_ascii_uppercase()).unwrap() as u128;
    format!("{:032x}", id.chars().fold(0, |number, c| number << 5 | digit(c)))
}
