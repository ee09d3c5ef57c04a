//! `with` against the JSON Schema of the plugin's config, and outputs against the schema of its outputs.

use jsonschema::{Draft, PatternOptions, Validator};
use serde_json::Value;

use crate::diagnostic::{Code, Diagnostics, Span};
use crate::node::Kind;
use crate::plugin::Plugin;
use crate::schema_fault::{self, Fault};
use crate::stage::Draft as Stage;
use crate::value::{escaped, unescaped};

/// Longest chain of `$ref` that is followed; a longer one goes in a circle.
const MAX_REFERENCES: usize = 32;

/// The checker for a schema. A plugin may come from anywhere: its schema can fetch nothing, and its patterns run in
/// linear time.
pub(crate) fn compile(schema: &Value) -> Result<Validator, String> {
    jsonschema::options()
        .with_draft(Draft::Draft202012)
        .offline()
        .with_pattern_options(PatternOptions::regex())
        .build(schema)
        .map_err(|error| error.to_string())
}

/// Reports what in the stage's `with` the plugin does not take.
pub(crate) fn check(stage: &Stage<'_>, plugin: &Plugin, diagnostics: &mut Diagnostics<'_>) {
    let Some(validator) = plugin.config.as_ref().filter(|_| stage.has_config) else { return };
    let open = &stage.config.open;
    for error in validator.iter_errors(&stage.config.instance) {
        // Most errors are about a null that stands for an expression: no words are made for those.
        if schema_fault::is_within(error.instance_path().as_str(), open) {
            continue;
        }
        for fault in schema_fault::of(&error, &plugin.description) {
            if !fault.is_open(open) {
                let Fault { message, help, .. } = &fault;
                diagnostics.error_with(Code::WrongConfig, place(stage, &fault), message, || help.clone());
            }
        }
    }
}

/// Where the fault stands in the document: at the value it is about, at its key when it is a block, at the stage when
/// there is no `with`.
fn place(stage: &Stage<'_>, fault: &Fault) -> Span {
    let Some(with) = stage.with else { return stage.key_span };
    let mut span = with.value_span();
    let mut node = &with.value;
    for token in fault.pointer.split('/').skip(1) {
        match &node.kind {
            Kind::Map(entries) => {
                let Some(entry) = entries.iter().find(|entry| escaped(&entry.key) == token) else { break };
                span = if fault.is_about_key { entry.key_span } else { entry.value_span() };
                node = &entry.value;
            }
            Kind::List(items) => {
                let Some(item) = token.parse().ok().and_then(|index: usize| items.get(index)) else { break };
                span = item.place();
                node = item;
            }
            Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Text(_) => break,
        }
    }
    span
}

/// Follows a path into what a schema describes: the index of the first element that it does not have, with those that
/// it has there. `None` when all are there, or the schema leaves it open.
pub(crate) fn missing<'a>(schema: &'a Value, path: &[String]) -> Option<(usize, Vec<&'a str>)> {
    const OPEN: [&str; 7] =
        ["allOf", "anyOf", "oneOf", "if", "patternProperties", "$dynamicRef", "dependentSchemas"];
    let mut here = dereferenced(schema, schema)?;
    for (index, name) in path.iter().enumerate() {
        let known = here.get("properties")?.as_object()?;
        if let Some(next) = known.get(name) {
            here = dereferenced(schema, next)?;
            continue;
        }
        let takes_others =
            here.get("additionalProperties").is_some_and(|others| *others != Value::Bool(false));
        let is_open = takes_others || OPEN.iter().any(|keyword| here.get(keyword).is_some());
        return (!is_open).then(|| (index, known.keys().map(String::as_str).collect()));
    }
    None
}

/// Whether a config has environment variables: an object under `env`.
pub(crate) fn takes_variables(schema: &Value) -> bool {
    fn is_object(schema: &Value, part: &Value) -> bool {
        let Some(part) = dereferenced(schema, part) else { return false };
        let alternatives = ["anyOf", "oneOf"].iter().filter_map(|keyword| part.get(keyword)?.as_array());
        part.get("type").is_some_and(|kind| match kind {
            Value::String(kind) => kind == "object",
            Value::Array(kinds) => kinds.iter().any(|kind| kind == "object"),
            _ => false,
        }) || alternatives.flatten().any(|part| {
            dereferenced(schema, part).and_then(|part| part.get("type")).is_some_and(|kind| kind == "object")
        })
    }
    schema.pointer("/properties/env").is_some_and(|part| is_object(schema, part))
}

/// The part of a schema that a path of keywords leads to.
pub(crate) fn at<'a>(schema: &'a Value, path: &str) -> Option<&'a Value> {
    let mut here = schema;
    for token in path.split('/').skip(1) {
        here = match (token, here) {
            ("$ref", _) => dereferenced(schema, here)?,
            (index, Value::Array(items)) => items.get(index.parse::<usize>().ok()?)?,
            (key, _) => here.get(unescaped(key).as_ref())?,
        };
    }
    Some(here)
}

/// What a part of a schema stands for, when it refers to another part.
pub(crate) fn dereferenced<'a>(schema: &'a Value, part: &'a Value) -> Option<&'a Value> {
    let mut here = part;
    for _ in 0..MAX_REFERENCES {
        match here.get("$ref").and_then(Value::as_str) {
            None => return Some(here),
            Some(target) => here = schema.pointer(target.strip_prefix('#')?)?,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_schema_of_a_stranger_does_no_harm() {
        for schema in [
            json!({ "$ref": "#" }),
            json!({ "allOf": [{ "$ref": "#" }] }),
            json!({ "$ref": "#/$defs/a", "$defs": { "a": { "$ref": "#/$defs/b" }, "b": { "$ref": "#/$defs/a" } } }),
            json!({ "$ref": "https://example.com/schema.json" }),
            json!({ "$ref": "file:///etc/passwd" }),
            json!({ "properties": { "a": { "pattern": "(a+)+$" } } }),
            json!({ "properties": { "a": { "pattern": "((a{100}){100}){100}" } } }),
            json!({ "$dynamicRef": "#x", "$dynamicAnchor": "x" }),
            json!({ "properties": { "a": { "$ref": "#" } } }),
            json!(7),
            json!(null),
        ] {
            let instance = json!({ "a": "a".repeat(40) + "!" });
            if let Ok(validator) = compile(&schema) {
                let _ = validator.iter_errors(&instance).count();
            }
            let _ = missing(&schema, &["a".to_owned(), "b".to_owned()]);
            let _ = at(&schema, "/$ref/$ref/properties/a");
        }
    }

    #[test]
    fn an_output_is_missing_only_where_the_schema_says_what_there_is() {
        let path = |text: &str| text.split('.').map(str::to_owned).collect::<Vec<_>>();
        for (schema, wanted, expect) in [
            (json!({}), "a", None),
            (json!({ "properties": { "a": {} } }), "a.b", None),
            (json!({ "properties": { "a": {} } }), "b", Some((0, vec!["a"]))),
            (json!({ "properties": { "a": {} }, "additionalProperties": true }), "b", None),
            (json!({ "properties": { "a": {} }, "additionalProperties": false }), "b", Some((0, vec!["a"]))),
            (json!({ "properties": { "a": {} }, "anyOf": [] }), "b", None),
            (
                json!({ "properties": { "a": { "$ref": "#/$defs/x" } }, "$defs": { "x": { "properties": { "c": {} } } } }),
                "a.b",
                Some((1, vec!["c"])),
            ),
        ] {
            assert_eq!(missing(&schema, &path(wanted)), expect, "{schema} {wanted}");
        }
    }
}
