//! Configs of plugins in the schema of a workflow: a plugin's schema, in which an expression may stand in place of any
//! value.

use serde_json::{Map, Value, json};

/// Keywords that say something of a value to people, and nothing of which values there are.
const ANNOTATIONS: [&str; 6] =
    ["title", "description", "markdownDescription", "default", "examples", "deprecated"];

/// Keywords that keep an expression from being a text of theirs.
const STRICT: [&str; 8] = ["enum", "const", "pattern", "maxLength", "format", "allOf", "not", "$dynamicRef"];

/// What an expression is: a text with `${{` in it.
pub(super) fn expression() -> Value {
    json!({
        "type": "string",
        "pattern": "\\$\\{\\{",
        "description": "An expression, such as ${{ inputs.tag }}",
    })
}

/// The reference to [`expression`].
pub(super) fn expression_reference() -> Value {
    json!({ "$ref": "#/$defs/expression" })
}

/// A schema that also takes expressions; what it says to people stays at its top.
pub(super) fn or_expression(schema: Value) -> Value {
    let Value::Object(mut all) = schema else { return schema };
    let mut top = Map::new();
    for keyword in ANNOTATIONS {
        if let Some(value) = all.shift_remove(keyword) {
            top.insert(keyword.to_owned(), value);
        }
    }
    top.insert("anyOf".to_owned(), json!([all, expression_reference()]));
    Value::Object(top)
}

/// The schema of a config as a part of another one, at `place` there, with expressions.
pub(super) fn embedded(schema: &Value, place: &str) -> Value {
    let mut schema = relaxed(schema, place);
    if let Value::Object(keywords) = &mut schema {
        for keyword in ["$schema", "$id", "title", "description"] {
            keywords.shift_remove(keyword);
        }
    }
    schema
}

/// The schema, with every value below its top replaceable by an expression.
fn relaxed(schema: &Value, place: &str) -> Value {
    let Value::Object(keywords) = schema else { return schema.clone() };
    let inside = |value: &Value| replaceable(relaxed(value, place));
    let each = |value: &Value, change: &dyn Fn(&Value) -> Value| match value {
        Value::Object(entries) => {
            Value::Object(entries.iter().map(|(key, value)| (key.clone(), change(value))).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(change).collect()),
        other => other.clone(),
    };
    let keyword = |(name, value): (&String, &Value)| {
        let changed = match name.as_str() {
            "$ref" => match value.as_str().and_then(|target| target.strip_prefix('#')) {
                Some(rest) => Value::String(format!("{place}{rest}")),
                None => value.clone(),
            },
            "properties" | "patternProperties" | "prefixItems" => each(value, &inside),
            "items" | "additionalProperties" | "contains" | "unevaluatedProperties" => inside(value),
            "$defs" | "definitions" | "dependentSchemas" | "anyOf" | "oneOf" | "allOf" => {
                each(value, &|schema| relaxed(schema, place))
            }
            "if" | "then" | "else" | "not" => relaxed(value, place),
            _ => value.clone(),
        };
        (name.clone(), changed)
    };
    Value::Object(keywords.iter().map(keyword).collect())
}

/// A schema that takes expressions, when it does not yet.
fn replaceable(schema: Value) -> Value {
    let is_free = match &schema {
        Value::Object(keywords) => {
            let takes_text = match keywords.get("type") {
                None => {
                    !keywords.keys().any(|keyword| matches!(keyword.as_str(), "$ref" | "anyOf" | "oneOf"))
                }
                Some(Value::String(kind)) => kind == "string",
                Some(Value::Array(kinds)) => kinds.iter().any(|kind| kind == "string"),
                Some(_) => false,
            };
            takes_text && !STRICT.iter().any(|keyword| keywords.contains_key(*keyword))
        }
        _ => true,
    };
    if is_free { schema } else { or_expression(schema) }
}
