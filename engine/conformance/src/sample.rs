//! Configs made of schemas, for plugins whose author has not written a case: the least that the schema asks for.

use jsonschema::Validator;
use serde_json::{Map, Value};

/// Deepest nesting that is looked into: schemas may refer to themselves.
const MAX_DEPTH: usize = 16;

/// A value that a schema allows; `None` when none is found.
pub(crate) fn of_schema(schema: &Value) -> Option<Value> {
    let validator = jsonschema::draft202012::new(schema).ok()?;
    let sample = Sampler { root: schema }.sample(schema, 0)?;
    validator.is_valid(&sample).then_some(sample)
}

/// The config with one more key at its top that no author thought of.
pub(crate) fn with_unknown_key(config: &Value) -> Option<Value> {
    let mut config = config.as_object()?.clone();
    config.insert("yuanli-conformance-unknown".to_owned(), Value::Bool(true));
    Some(Value::Object(config))
}

/// Whether a schema says by itself that it takes keys that it does not name.
pub(crate) fn is_open_on_purpose(schema: &Value) -> bool {
    let says = |schema: &Value| {
        ["additionalProperties", "unevaluatedProperties"]
            .iter()
            .any(|key| schema.get(key).is_some_and(|value| *value != Value::Bool(false)))
            || schema.get("patternProperties").is_some()
    };
    let alternatives = ["oneOf", "anyOf", "allOf"].iter().filter_map(|key| schema.get(key)?.as_array());
    says(schema) || alternatives.flatten().any(says)
}

/// Whether a config is one that the schema allows.
pub(crate) fn validator(schema: &Value) -> Option<Validator> {
    jsonschema::draft202012::new(schema).ok()
}

struct Sampler<'a> {
    root: &'a Value,
}

impl Sampler<'_> {
    fn sample(&self, schema: &Value, depth: usize) -> Option<Value> {
        if depth > MAX_DEPTH {
            return None;
        }
        let Some(map) = schema.as_object() else {
            return (*schema == Value::Bool(true)).then(|| Value::Object(Map::new()));
        };
        if let Some(reference) = map.get("$ref").and_then(Value::as_str) {
            let found = self.root.pointer(reference.strip_prefix('#')?)?;
            return self.sample(found, depth + 1);
        }
        let first = |key: &str| map.get(key)?.as_array()?.first().cloned();
        let given = map.get("const").or(map.get("default")).cloned();
        if let Some(value) = given.or_else(|| first("examples")).or_else(|| first("enum")) {
            return Some(value);
        }
        for key in ["oneOf", "anyOf"] {
            let alternatives = map.get(key).and_then(Value::as_array).into_iter().flatten();
            let mut found = alternatives.filter_map(|schema| self.sample(schema, depth + 1));
            if let Some(value) = found.next() {
                return Some(value);
            }
        }
        self.of_type(map, depth)
    }

    fn of_type(&self, map: &Map<String, Value>, depth: usize) -> Option<Value> {
        let kind = match map.get("type") {
            Some(Value::String(kind)) => kind.as_str(),
            Some(Value::Array(kinds)) => kinds.first()?.as_str()?,
            _ => "object",
        };
        let number = |key: &str| map.get(key).and_then(Value::as_u64);
        match kind {
            "null" => Some(Value::Null),
            "boolean" => Some(Value::Bool(false)),
            "integer" | "number" => Some(map.get("minimum").cloned().unwrap_or_else(|| 1.into())),
            "string" => {
                let length = usize::try_from(number("minLength").unwrap_or(1).clamp(1, 10_000)).ok()?;
                Some("a".repeat(length).into())
            }
            "array" => {
                let items = map.get("items").unwrap_or(&Value::Bool(true));
                let least = number("minItems").unwrap_or(0).min(100);
                (0..least).map(|_| self.sample(items, depth + 1)).collect::<Option<_>>().map(Value::Array)
            }
            _ => {
                let required = map.get("required").and_then(Value::as_array).into_iter().flatten();
                let properties = map.get("properties").and_then(Value::as_object);
                let mut object = Map::new();
                for key in required.filter_map(Value::as_str) {
                    let schema = properties.and_then(|properties| properties.get(key));
                    let value = self.sample(schema.unwrap_or(&Value::Bool(true)), depth + 1)?;
                    object.insert(key.to_owned(), value);
                }
                Some(Value::Object(object))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_sample_is_the_least_that_a_schema_asks_for() {
        let check = |schema: Value, expected: Option<Value>| {
            assert_eq!(of_schema(&schema), expected, "{schema}");
        };
        check(json!({ "type": "object" }), Some(json!({})));
        let properties = json!({
            "text": { "type": "string", "minLength": 3 }, "count": { "type": "integer", "minimum": 7 },
            "list": { "type": "array", "items": { "$ref": "#/$defs/kind" }, "minItems": 1 }, "other": {}
        });
        let defs = json!({ "kind": { "enum": ["one", "two"] } });
        check(
            json!({ "type": "object", "properties": properties, "$defs": defs, "required": ["text", "count", "list"] }),
            Some(json!({ "text": "aaa", "count": 7, "list": ["one"] })),
        );
        check(
            json!({ "oneOf": [{ "type": "array", "items": false, "minItems": 1 }, { "const": { "a": 1 } }] }),
            Some(json!({ "a": 1 })),
        );
        // What is found has to be allowed.
        check(json!({ "type": "string", "pattern": "^[0-9]+$" }), None);
        check(json!({ "$ref": "#" }), None);
    }

    #[test]
    fn an_open_schema_is_a_mistake_unless_it_says_so() {
        assert!(!is_open_on_purpose(&json!({ "type": "object" })));
        assert!(!is_open_on_purpose(&json!({ "additionalProperties": false })));
        assert!(is_open_on_purpose(&json!({ "additionalProperties": { "type": "string" } })));
        assert!(is_open_on_purpose(&json!({ "oneOf": [{ "patternProperties": {} }] })));
    }
}
