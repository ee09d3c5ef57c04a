//! What a collector is sent, and what it answers: [OTLP over HTTP with JSON](https://opentelemetry.io/docs/specs/otlp/#otlphttp).

use std::time::Duration;

use serde_json::{Value as Json, json};
use yuanli_model::Timestamp;

use crate::span::{Kind, Span, Value};

const OK: u16 = 200;
/// Those after which the same may be sent again (section "Failures" of the specification); after others it may not.
const AGAIN: [u16; 4] = [429, 502, 503, 504];

/// Who sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// The engine, among others.
    pub instance: String,
    /// Its version.
    pub version: String,
}

/// What a collector said to spans.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It has them.
    Taken,
    /// It has them, but so many that it will never take, and why.
    Partly(u64, String),
    /// It takes none of them, also if they are sent again.
    Refused(String),
    /// It is to be asked again, after this time if it says one.
    Later(String, Option<Duration>),
}

/// What a collector is sent for spans.
#[must_use]
pub fn request(resource: &Resource, spans: &[Span]) -> Vec<u8> {
    let Resource { instance, version } = resource;
    let of_engine =
        [("service.name", "yuanli"), ("service.version", version), ("service.instance.id", instance)];
    let of_engine = of_engine.map(|(name, text)| attribute(name, &Value::Text(text.to_owned())));
    json!({ "resourceSpans": [{
        "resource": { "attributes": of_engine },
        "scopeSpans": [{
            "scope": { "name": "yuanli", "version": version },
            "spans": spans.iter().map(span).collect::<Vec<_>>(),
        }],
    }]})
    .to_string()
    .into_bytes()
}

impl Answer {
    /// Reads an answer: its status, what its `Retry-After` says in seconds, and its body.
    #[must_use]
    pub fn read(status: u16, retry_after: Option<&str>, body: &[u8]) -> Self {
        let said: Json = serde_json::from_slice(body).unwrap_or_default();
        if status == OK {
            let part = &said["partialSuccess"];
            // A 64-bit number, which JSON of Protocol Buffers has as a text.
            let number = &part["rejectedSpans"];
            let number = number.as_u64().or_else(|| number.as_str()?.parse().ok()).unwrap_or_default();
            let why = part["errorMessage"].as_str().unwrap_or_default();
            return if number == 0 { Self::Taken } else { Self::Partly(number, why.to_owned()) };
        }
        let why = match said["message"].as_str() {
            Some(why) => format!("it answers {status}: {why}"),
            None => format!("it answers {status}"),
        };
        if AGAIN.contains(&status) {
            let wait = retry_after.and_then(|seconds| seconds.trim().parse().ok()).map(Duration::from_secs);
            return Self::Later(why, wait);
        }
        Self::Refused(why)
    }
}

fn span(span: &Span) -> Json {
    let Span { trace, id, parent, link, name, kind, began, ended, attributes, happened, failure } = span;
    let kind = match kind {
        Kind::Internal => 1,
        Kind::Server => 2,
    };
    let events = happened.iter().map(|happening| {
        json!({
            "timeUnixNano": nanoseconds(happening.at),
            "name": happening.name,
            "attributes": all(&happening.attributes),
        })
    });
    let mut said = json!({
        "traceId": trace.to_string(),
        "spanId": id.to_string(),
        "name": name,
        "kind": kind,
        "startTimeUnixNano": nanoseconds(*began),
        "endTimeUnixNano": nanoseconds(*ended),
        "attributes": all(attributes),
        "events": events.collect::<Vec<_>>(),
        // 0 says nothing; 2 is an error.
        "status": failure.as_ref().map_or_else(|| json!({}), |why| json!({ "code": 2, "message": why })),
    });
    if let Some(parent) = parent {
        said["parentSpanId"] = json!(parent.to_string());
    }
    if let Some((trace, span)) = link {
        said["links"] = json!([{ "traceId": trace.to_string(), "spanId": span.to_string() }]);
    }
    said
}

fn all(attributes: &[(String, Value)]) -> Json {
    attributes.iter().map(|(name, value)| attribute(name, value)).collect()
}

fn attribute(name: &str, value: &Value) -> Json {
    let value = match value {
        Value::Text(text) => json!({ "stringValue": text }),
        Value::Number(number) => json!({ "intValue": number.to_string() }),
        Value::Flag(flag) => json!({ "boolValue": flag }),
    };
    json!({ "key": name, "value": value })
}

/// Since 1970, as a text: it has 64 bits.
fn nanoseconds(at: Timestamp) -> String {
    (u128::from(at.as_millis()) * 1_000_000).to_string()
}
