//! The description of the API: the checked-in one is the served one, and whatever is asked by it, nothing fails.

use std::collections::BTreeSet;
use std::hash::{BuildHasher as _, RandomState};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::{Map, Value, json};

use crate::served::{Served, request};
use crate::support::{PATIENCE, root};

fn described(served: &Served) -> (Value, String) {
    let (status, text) = request(served.api, "GET", "/api/openapi.json", &[], "");
    assert_eq!(status, 200);
    (serde_json::from_str(&text).unwrap(), text)
}

/// `OPENAPI_UPDATE=1` writes it.
#[test]
fn the_description_is_the_one_that_is_kept() {
    let served = Served::without_image();
    let (document, text) = described(&served);
    let file = root().join("docs/openapi.json");
    if std::env::var_os("OPENAPI_UPDATE").is_some() {
        std::fs::write(&file, &text).unwrap();
    }
    let kept = std::fs::read_to_string(&file).unwrap();
    assert!(kept == text, "docs/openapi.json is another one: `OPENAPI_UPDATE=1` with this test writes it");
    // Whatever it points to is there.
    let mut references = BTreeSet::new();
    collect(&document, &mut references);
    for reference in references {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference} is nowhere");
    }
}

fn collect(value: &Value, references: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            references.extend(map.get("$ref").and_then(Value::as_str).map(str::to_owned));
            map.values().for_each(|value| collect(value, references));
        }
        Value::Array(items) => items.iter().for_each(|value| collect(value, references)),
        _ => {}
    }
}

/// Numbers that depend on a seed alone.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % sides as u64) as usize
    }

    fn pick<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.roll(all.len())]
    }

    fn text(&mut self) -> String {
        const TEXTS: [&str; 14] = [
            "shop",
            "last",
            "a",
            "",
            "0",
            "-1",
            "99999999999999999999",
            "../../etc",
            "ä\u{202e}€",
            "a\u{0}b",
            "*",
            "shop-*",
            "name: shop\nstages: { a: { uses: script } }\n",
            "name: [",
        ];
        match self.roll(12) {
            0 => "x".repeat(5_000),
            _ => (*self.pick(&TEXTS)).to_owned(),
        }
    }

    /// Something that a schema means, and now and then something else.
    fn value(&mut self, schema: &Value, document: &Value, depth: usize) -> Value {
        if depth > 5 || self.roll(8) == 0 {
            return self
                .pick(&[json!(null), json!([]), json!({}), json!(-1), json!("x"), json!(1e300)])
                .clone();
        }
        if let Some(reference) = schema["$ref"].as_str() {
            return self.value(document.pointer(&reference[1..]).unwrap(), document, depth + 1);
        }
        for several in ["anyOf", "oneOf", "enum"] {
            if let Some(all) = schema[several].as_array() {
                let one = self.pick(all).clone();
                return if several == "enum" { one } else { self.value(&one, document, depth + 1) };
            }
        }
        let kind = schema["type"].as_array().map_or(&schema["type"], |kinds| &kinds[0]);
        match kind.as_str() {
            Some("string") => self.text().into(),
            Some("boolean") => (self.roll(2) == 0).into(),
            Some("integer" | "number") => (*self.pick(&[0_i64, 1, -1, i64::MAX, 1_000_000])).into(),
            Some("array") => {
                let count = self.roll(4);
                (0..count).map(|_| self.value(&schema["items"], document, depth + 1)).collect()
            }
            Some("object") => {
                let mut map = Map::new();
                for (name, property) in schema["properties"].as_object().into_iter().flatten() {
                    if self.roll(5) != 0 {
                        map.insert(name.clone(), self.value(property, document, depth + 1));
                    }
                }
                Value::Object(map)
            }
            _ => json!({ "any": self.text() }),
        }
    }
}

/// Percent-encoded, most of the time.
fn escaped(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

/// One request on a connection of its own; the status and the head. Streams are left after their first bytes.
fn send(served: &Served, text: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(served.api).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(text.as_bytes()).unwrap();
    let (mut answer, mut buffer) = (Vec::new(), [0; 4096]);
    while !answer.windows(4).any(|four| four == b"\r\n\r\n") {
        match stream.read(&mut buffer).unwrap() {
            0 => break,
            read => answer.extend(&buffer[..read]),
        }
    }
    let head = String::from_utf8_lossy(&answer).to_lowercase();
    (head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0), head)
}

#[test]
fn whatever_is_asked_nothing_fails() {
    const ROUNDS: usize = 30;
    let served = Served::without_image();
    served.apply("shop.yaml", "name: shop\nstages:\n  a: { uses: script, with: { print: [one] } }\n");
    served.yuanli(&["trigger", "shop", "--follow"]).expect(0, &[]);
    let token = served.yuanli(&["token", "create", "asks", "--role", "admin"]).expect(0, &[]).out;
    let (document, _) = described(&served);
    let seed = RandomState::new().hash_one("requests") | 1;
    println!("seed {seed}");
    let mut dice = Dice(seed);
    let (mut done, mut asked) = (BTreeSet::new(), 0);
    for _ in 0..ROUNDS {
        for (path, operations) in document["paths"].as_object().unwrap() {
            for (method, operation) in operations.as_object().unwrap() {
                let (mut path, mut query, mut headers) = (path.clone(), String::new(), String::new());
                for parameter in operation["parameters"].as_array().unwrap() {
                    let name = parameter["name"].as_str().unwrap();
                    let value = dice.text();
                    match parameter["in"].as_str().unwrap() {
                        "path" => path = path.replace(&format!("{{{name}}}"), &escaped(&value)),
                        "query" if dice.roll(2) == 0 => query += &format!("&{name}={}", escaped(&value)),
                        "header" if dice.roll(3) == 0 => {
                            headers += &format!("{name}: {}\r\n", escaped(&value))
                        }
                        _ => {}
                    }
                }
                let schema = &operation["requestBody"]["content"]["application/json"];
                let body = match schema.is_null() {
                    true => String::new(),
                    false if dice.roll(4) == 0 => schema["example"].to_string(),
                    false => dice.value(&schema["schema"], &document, 0).to_string(),
                };
                let text = format!(
                    "{} {path}?{} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\nauthorization: Bearer {}\r\n{headers}content-type: \
                     application/json\r\ncontent-length: {}\r\n\r\n{body}",
                    method.to_uppercase(),
                    query.trim_start_matches('&'),
                    served.api,
                    token.trim(),
                    body.len()
                );
                let (status, head) = send(&served, &text);
                asked += 1;
                // Whether an image is there is asked of Docker, which may be too busy to answer in time.
                let is_outside = status == 503 && path.starts_with("/api/v1/apps");
                assert!(
                    (200..500).contains(&status) || is_outside,
                    "seed {seed}: {text}\nis answered with\n{head}"
                );
                // What a browser is shown is a page.
                let is_page = path.starts_with("/login/callback");
                if status >= 400 {
                    let form = if is_page { "text/html" } else { "application/problem+json" };
                    assert!(head.contains(form), "seed {seed}: {text}\n{head}");
                } else {
                    let known = &operation["responses"][status.to_string()];
                    assert!(known.is_object(), "seed {seed}: {status} is not described: {text}\n{head}");
                    done.insert(format!("{method} {path}"));
                }
                // The one that asks may have been among what was changed.
                assert!(status != 401 || path.starts_with("/hooks/"), "seed {seed}: {text}");
            }
        }
    }
    assert!(asked > 1_000 && done.len() > 15, "{asked} requests, of which these were done: {done:?}");
    served.yuanli(&["runs", "list"]).expect(0, &[]);
    let log = std::fs::read_to_string(served.place.path("log")).unwrap();
    assert!(!log.contains("panicked") && !log.contains("a request failed"), "seed {seed}: {log}");
}
