//! Between JSON and the values of `cel`.
//!
//! Whole numbers stay whole. What JSON lacks has a form of its own: bytes are base64 text, a timestamp is RFC 3339
//! text, a duration is seconds with an `s`, as Protobuf's JSON mapping has it. A double that is not finite, and a map
//! whose keys are no text, are errors. The handle of a secret is a value of its own kind, on which no operator works.

use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use cel::Value as Cel;
use cel::objects::{Key, Map as CelMap, Opaque};
use serde_json::{Map, Number, Value};
use yuanli_model::SecretHandle;

use crate::error::{Error, Kind};
use crate::library::argument::SECRET;

/// The handle of a secret among the values of `cel`.
#[derive(Debug, PartialEq, Eq)]
struct Secret(SecretHandle);

impl Opaque for Secret {
    fn runtime_type_name(&self) -> &str {
        SECRET
    }
}

/// The value of `cel` for a JSON value, and about how many bytes it takes.
pub(crate) fn to_cel(value: &Value, bytes: &mut u64) -> Cel {
    *bytes += 16;
    match value {
        Value::Null => Cel::Null,
        Value::Bool(flag) => Cel::Bool(*flag),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(signed), _) => Cel::Int(signed),
            (None, Some(unsigned)) => Cel::UInt(unsigned),
            (None, None) => Cel::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => {
            *bytes += text.len() as u64;
            Cel::String(Arc::new(text.clone()))
        }
        Value::Array(items) => Cel::List(Arc::new(items.iter().map(|item| to_cel(item, bytes)).collect())),
        Value::Object(_) if let Some(handle) = SecretHandle::parse(value) => {
            Cel::Opaque(Arc::new(Secret(handle)))
        }
        Value::Object(entries) => map_of(entries.iter().map(|(key, value)| {
            *bytes += key.len() as u64;
            (key.as_str(), to_cel(value, bytes))
        })),
    }
}

/// A map of `cel`.
pub(crate) fn map_of<'a>(entries: impl Iterator<Item = (&'a str, Cel)>) -> Cel {
    let map: HashMap<Key, Cel> =
        entries.map(|(key, value)| (Key::String(Arc::new(key.to_owned())), value)).collect();
    Cel::Map(CelMap { map: Arc::new(map) })
}

/// Deepest nesting of a value that holds results: what is deeper could be written, and not be read back, as readers of
/// JSON stop at 128 levels.
const MAX_DEPTH: usize = 100;

/// The JSON value for a result.
pub(crate) fn from_cel(value: &Cel) -> Result<Value, Error> {
    from_cel_at(value, 0)
}

/// Refuses a result that is too deep for its place, `above` levels inside others.
pub(crate) fn check_depth(value: &Value, above: usize) -> Result<(), Error> {
    fn depth(value: &Value) -> usize {
        match value {
            Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
            Value::Object(entries) => 1 + entries.values().map(depth).max().unwrap_or(0),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
        }
    }
    if above + depth(value) > MAX_DEPTH { Err(too_deep()) } else { Ok(()) }
}

fn too_deep() -> Error {
    Error::new(Kind::Result, format!("the result is nested deeper than {MAX_DEPTH} levels"))
}

fn from_cel_at(value: &Cel, depth: usize) -> Result<Value, Error> {
    if depth > MAX_DEPTH {
        return Err(too_deep());
    }
    Ok(match value {
        Cel::Null => Value::Null,
        Cel::Bool(flag) => Value::Bool(*flag),
        Cel::Int(number) => Value::from(*number),
        Cel::UInt(number) => Value::from(*number),
        Cel::Float(number) => match Number::from_f64(*number) {
            Some(number) => Value::Number(number),
            None => return Err(unusable(&format!("the number {number}, which no document can hold"), None)),
        },
        Cel::String(text) => Value::String(text.as_str().to_owned()),
        Cel::Bytes(bytes) => Value::String(BASE64_STANDARD.encode(bytes.as_slice())),
        Cel::Timestamp(time) => Value::String(time.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true)),
        Cel::Duration(duration) => Value::String(seconds(*duration)?),
        Cel::List(items) => {
            Value::Array(items.iter().map(|item| from_cel_at(item, depth + 1)).collect::<Result<_, _>>()?)
        }
        Cel::Map(map) => object(map, depth + 1)?,
        Cel::Opaque(opaque) if let Some(Secret(handle)) = opaque.downcast_ref() => handle.to_json(),
        Cel::Opaque(opaque) if opaque.runtime_type_name().contains("optional") => {
            return Err(unusable("an optional value", Some("say what it is otherwise: `.orValue(…)`")));
        }
        Cel::Opaque(_) | Cel::Function(..) | Cel::Struct(_) => {
            return Err(unusable("a type or a function, which is no value", None));
        }
    })
}

/// `cel` keeps maps without an order: sorted by key the result is the same each time.
fn object(map: &CelMap, depth: usize) -> Result<Value, Error> {
    let mut entries = Vec::with_capacity(map.map.len());
    for (key, value) in map.map.iter() {
        let Key::String(key) = key else {
            return Err(unusable(
                &format!("a map with the key {key}, which is no text"),
                Some("write keys as text, such as `string(1)`"),
            ));
        };
        entries.push((key.as_str().to_owned(), from_cel_at(value, depth)?));
    }
    entries.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(Value::Object(entries.into_iter().collect::<Map<_, _>>()))
}

fn seconds(duration: chrono::Duration) -> Result<String, Error> {
    let nanos = i128::from(duration.num_seconds()) * 1_000_000_000 + i128::from(duration.subsec_nanos());
    let (sign, nanos) = if nanos < 0 { ("-", nanos.unsigned_abs()) } else { ("", nanos.unsigned_abs()) };
    let (whole, fraction) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
    if fraction == 0 {
        return Ok(format!("{sign}{whole}s"));
    }
    let fraction = format!("{fraction:09}");
    Ok(format!("{sign}{whole}.{}s", fraction.trim_end_matches('0')))
}

fn unusable(what: &str, help: Option<&str>) -> Error {
    let error = Error::new(Kind::Result, format!("the result is {what}"));
    match help {
        Some(help) => error.with_help(help),
        None => error,
    }
}

/// Whether a secret is in it, at any depth.
pub(crate) fn holds_secret(value: &Cel) -> bool {
    match value {
        Cel::Opaque(opaque) => opaque.downcast_ref::<Secret>().is_some(),
        Cel::List(items) => items.iter().any(holds_secret),
        Cel::Map(map) => map.map.values().any(holds_secret),
        _ => false,
    }
}

/// At most how many bytes its JSON text has.
pub(crate) fn length(value: &Value) -> usize {
    /// Each byte of a text may be written as `\u0000`.
    const ESCAPED: usize = 6;
    match value {
        Value::Null | Value::Bool(_) => 5,
        Value::Number(_) => 32,
        Value::String(text) => text.len() * ESCAPED + 2,
        Value::Array(items) => 2 + items.iter().map(|item| 1 + length(item)).sum::<usize>(),
        Value::Object(entries) => {
            2 + entries.iter().map(|(key, value)| key.len() * ESCAPED + 4 + length(value)).sum::<usize>()
        }
    }
}
