//! `notify`: who is told how runs end, over real connections, by whom it can be checked.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::served::Served;
use crate::support::wait_until;

/// What is secret of the channel's address.
const CHANNEL: &str = "T024BE7LD/B0DVP1TBP/q1W2e3R4t5Y6";
/// What events are signed with.
const KEY: &str = "whsec_bmV2ZXItZ2l2ZS11cC1vbi1hLWtleQ==";

/// A channel that people read: the first lines of the requests, with what was said.
#[derive(Clone, Default)]
struct Channel(Arc<Mutex<Vec<(String, Value)>>>);

impl Channel {
    fn open() -> (Self, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let channel = Self::default();
        let heard = channel.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let (mut text, mut part) = (String::new(), [0; 16 * 1024]);
                let body = loop {
                    let read = stream.read(&mut part).unwrap();
                    text.push_str(std::str::from_utf8(&part[..read]).unwrap());
                    let body =
                        text.split_once("\r\n\r\n").and_then(|(_, body)| serde_json::from_str(body).ok());
                    match body {
                        Some(body) => break body,
                        None => assert!(read > 0, "it broke off: {text}"),
                    }
                };
                let line = text.lines().next().unwrap().to_owned();
                heard.0.lock().unwrap().push((line, body));
                write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").unwrap();
            }
        });
        (channel, address)
    }

    fn heard(&self) -> Vec<(String, Value)> {
        self.0.lock().unwrap().clone()
    }
}

fn keep(served: &Served, name: &str, value: &str) {
    let mut set = served.place.command(&["secret", "set", name]);
    let mut child = set.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(value.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}

/// A workflow that says how it ends to a channel, and to another workflow by its webhook.
fn telling(api: SocketAddr, channel: SocketAddr) -> String {
    format!(
        "name: shop
inputs:
  n: 1
  channel: {{ type: secret, default: channel }}
  key: {{ type: secret, default: ops-key }}
stages:
  build: {{ uses: script, with: {{ assert: [{{ that: \"${{{{ inputs.n == 1 }}}}\", message: it is not 1 }}] }} }}
finally:
  tell:
    uses: notify
    grants: [{{ http: {{ hosts: [\"{api}\", \"{channel}\"], methods: [POST] }} }}]
    with:
      outcome: \"${{{{ run.outcome }}}}\"
      failed: \"${{{{ run.failed }}}}\"
      details: {{ n: \"${{{{ inputs.n }}}}\" }}
      slack: {{ url: \"http://{channel}/services/\", url_secret: \"${{{{ inputs.channel }}}}\" }}
      webhook: {{ url: \"http://{api}/hooks/incident\", secret: \"${{{{ inputs.key }}}}\" }}
"
    )
}

/// What is started by the event.
const INCIDENT: &str = "name: incident
on: { webhook: { provider: standard, secret: ops-key, inputs: { title: \"${{ trigger.body.data.title }}\", n: \"${{ trigger.body.data.details.n }}\" } } }
inputs: { title: \"\", n: 0 }
stages: { note: { uses: script, with: { outputs: { title: \"${{ inputs.title }}\" } } } }
";

#[test]
fn what_breaks_and_what_is_fixed_is_told_once_signed_and_without_showing_a_secret() {
    let served = Served::without_image();
    let (channel, address) = Channel::open();
    keep(&served, "channel", CHANNEL);
    keep(&served, "ops-key", KEY);
    served.apply("incident.yaml", INCIDENT);
    served.apply("shop.yaml", &telling(served.api, address));

    for (n, code) in [("1", 0), ("2", 1), ("3", 1), ("1", 0), ("1", 0)] {
        served.yuanli(&["trigger", "shop", "--follow", "-i", &format!("n={n}")]).expect(code, &[]);
    }

    let heard = channel.heard();
    let said: Vec<&str> = heard.iter().map(|(_, body)| body["text"].as_str().unwrap()).collect();
    let [broken, fixed] = said[..] else { panic!("{said:?}") };
    assert!(broken.starts_with(":x: *shop failed: build*\nrun `"), "{broken}");
    assert!(fixed.starts_with(":white_check_mark: *shop succeeded again*\nrun `"), "{fixed}");
    assert_eq!(heard[0].0, format!("POST /services/{CHANNEL} HTTP/1.1"));

    // The other workflow believes the signature, and was started once for each.
    wait_until("both have ended", || {
        let runs = runs(&served, "incident");
        runs.len() == 2 && runs.iter().all(|run| run["status"] == "succeeded")
    });
    let mut inputs: Vec<Value> = runs(&served, "incident").iter().map(|run| shown(&served, run)).collect();
    inputs.sort_by_key(|inputs| inputs["n"].as_u64());
    assert_eq!(
        inputs,
        [
            json!({ "n": 1, "title": "shop succeeded again" }),
            json!({ "n": 2, "title": "shop failed: build" })
        ]
    );

    // Nothing that is kept has the secrets in it.
    for run in runs(&served, "shop") {
        let id = run["id"].as_str().unwrap();
        let told = [["runs", "show", id, "--json"], ["runs", "logs", id, "--json"]]
            .map(|command| served.yuanli(&command).expect(0, &[]).out);
        assert!(
            told.iter().all(|text| !text.contains("q1W2e3R4t5Y6") && !text.contains("bmV2ZXI")),
            "{told:?}"
        );
    }
}

fn runs(served: &Served, workflow: &str) -> Vec<Value> {
    let listed = served.place.json(&["runs", "list"]);
    let runs = listed["items"].as_array().unwrap().iter();
    runs.filter(|run| run["workflow"] == workflow).cloned().collect()
}

fn shown(served: &Served, run: &Value) -> Value {
    served.place.json(&["runs", "show", run["id"].as_str().unwrap()])["inputs"].clone()
}

#[test]
fn a_stage_that_may_reach_nobody_is_refused_before_anything_runs() {
    let served = Served::without_image();
    let text = "name: w\nstages: { a: { uses: script } }\nfinally:\n  tell:\n    uses: notify\n    \
                with: { outcome: \"${{ run.outcome }}\", slack: { url: \"https://chat.example.com/\" } }\n";
    let file = served.place.write("w.yaml", text);
    served
        .yuanli(&["validate", &file])
        .expect(2, &["plugin `notify` was not granted the right to", "`grants: [{ http: { hosts:"]);
}
