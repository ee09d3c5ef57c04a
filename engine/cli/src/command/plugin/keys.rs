//! A JSON Schema as rows for people: each key with its type, whether it has to be there, and what it is. What else a
//! schema can say stands in `--json`.

use std::cell::Cell;

use serde_json::{Map, Value};

/// How deep maps in maps are told; deeper ones are `map`.
const MAX_DEPTH: usize = 3;
/// Most references that are followed one after the other.
const MAX_REFERENCES: usize = 16;
/// Most rows; a schema can repeat itself without end.
const MAX_ROWS: usize = 200;
/// Most schemas that are looked at: branches of branches are more than anybody reads.
const MAX_LOOKS: usize = 10_000;
/// Longest cell, in characters.
const MAX_CELL: usize = 200;

/// The rows of the keys of a schema: key, type, `required` or nothing, description.
pub(super) fn rows(schema: &Value) -> Vec<Vec<String>> {
    let mut writer = Writer::new(schema);
    writer.keys(schema, "", 0);
    writer.rows
}

/// What a schema without keys takes, in words.
pub(super) fn without_keys(schema: &Value) -> String {
    let writer = Writer::new(schema);
    match writer.followed(schema).get("additionalProperties") {
        Some(Value::Object(values)) => format!("a map of {}", writer.kind(&Value::Object(values.clone()), 0)),
        Some(Value::Bool(false)) => "nothing".to_owned(),
        _ => writer.kind(schema, 0),
    }
}

struct Writer<'a> {
    root: &'a Value,
    rows: Vec<Vec<String>>,
    looks: Cell<usize>,
}

impl<'a> Writer<'a> {
    const fn new(root: &'a Value) -> Self {
        Self { root, rows: Vec::new(), looks: Cell::new(0) }
    }

    /// Whether a schema that lies this deep is looked at.
    fn is_worth_it(&self, depth: usize) -> bool {
        self.looks.set(self.looks.get() + 1);
        depth <= MAX_DEPTH && self.looks.get() <= MAX_LOOKS && self.rows.len() < MAX_ROWS
    }

    /// The keywords of a schema, those of the one that it refers to when it does.
    fn followed(&self, schema: &'a Value) -> &'a Value {
        let mut schema = schema;
        for _ in 0..MAX_REFERENCES {
            let target =
                schema.get("$ref").and_then(Value::as_str).and_then(|target| target.strip_prefix('#'));
            match target.and_then(|pointer| self.root.pointer(pointer)) {
                Some(next) => schema = next,
                None => break,
            }
        }
        schema
    }

    fn keys(&mut self, schema: &'a Value, prefix: &str, depth: usize) {
        if !self.is_worth_it(depth) {
            return;
        }
        let keywords = self.followed(schema);
        for part in alternatives(keywords, "allOf") {
            self.keys(part, prefix, depth + 1);
        }
        if let Some(Value::Object(properties)) = keywords.get("properties") {
            let required = keywords.get("required").and_then(Value::as_array);
            self.properties(properties, required.map_or(&[], Vec::as_slice), prefix, depth);
        }
        for (number, variant) in
            alternatives(keywords, "oneOf").chain(alternatives(keywords, "anyOf")).enumerate()
        {
            let before = self.rows.len();
            self.keys(variant, prefix, depth + 1);
            if number > 0 && self.rows.len() > before {
                self.rows.insert(before, vec!["or".to_owned(), String::new(), String::new(), String::new()]);
            }
        }
    }

    fn properties(
        &mut self,
        properties: &'a Map<String, Value>,
        required: &[Value],
        prefix: &str,
        depth: usize,
    ) {
        for (name, schema) in properties {
            if self.rows.len() >= MAX_ROWS {
                return;
            }
            let keywords = self.followed(schema);
            let is_required = required.iter().any(|key| key == name);
            let description = [schema, keywords].into_iter().find_map(|said| said.get("description"));
            self.rows.push(vec![
                cut(&format!("{prefix}{name}")),
                cut(&self.kind(schema, 0)),
                if is_required { "required" } else { "" }.to_owned(),
                cut(description.and_then(Value::as_str).unwrap_or_default()),
            ]);
            let (inner, mark) = match keywords.get("items") {
                Some(items) => (items, "[]"),
                None => (schema, ""),
            };
            self.keys(inner, &format!("{prefix}{name}{mark}."), depth + 1);
        }
    }

    /// The type of a value, in the words of the language.
    fn kind(&self, schema: &'a Value, depth: usize) -> String {
        if !self.is_worth_it(depth) {
            return "any value".to_owned();
        }
        let keywords = self.followed(schema);
        if let Some(value) = keywords.get("const") {
            return value.to_string();
        }
        if let Some(Value::Array(values)) = keywords.get("enum") {
            return values.iter().map(Value::to_string).collect::<Vec<_>>().join(" or ");
        }
        let variants: Vec<&Value> =
            alternatives(keywords, "oneOf").chain(alternatives(keywords, "anyOf")).collect();
        let mut kinds: Vec<String> = match keywords.get("type") {
            Some(Value::String(kind)) => vec![self.named(kind, keywords, depth)],
            Some(Value::Array(kinds)) => {
                kinds.iter().filter_map(Value::as_str).map(|kind| self.named(kind, keywords, depth)).collect()
            }
            _ => variants.iter().map(|variant| self.kind(variant, depth + 1)).collect(),
        };
        kinds.dedup();
        if kinds.is_empty() { "any value".to_owned() } else { kinds.join(" or ") }
    }

    fn named(&self, kind: &str, keywords: &'a Value, depth: usize) -> String {
        match (kind, keywords.get("items")) {
            ("string", _) => "text".to_owned(),
            ("integer", _) => "whole number".to_owned(),
            ("array", Some(items)) => format!("list of {}", self.kind(items, depth + 1)),
            ("array", None) => "list".to_owned(),
            ("object", _) => "map".to_owned(),
            ("null", _) => "nothing".to_owned(),
            (other, _) => other.to_owned(),
        }
    }
}

fn alternatives<'v>(keywords: &'v Value, keyword: &str) -> impl Iterator<Item = &'v Value> + use<'v> {
    keywords.get(keyword).and_then(Value::as_array).into_iter().flatten()
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(MAX_CELL) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(schema: &Value) -> Vec<String> {
        rows(schema).iter().map(|row| row.join("|")).collect()
    }

    #[test]
    fn keys_are_told_with_type_need_and_description() {
        let schema = json!({
            "type": "object",
            "required": ["image", "env"],
            "properties": {
                "image": { "type": "string", "description": "The image." },
                "tries": { "type": ["integer", "null"] },
                "mode": { "enum": ["fast", "slow"] },
                "env": { "$ref": "#/$defs/env" },
                "steps": { "type": "array", "items": { "type": "object", "properties": { "weight": { "type": "number" } } } },
                "more": true,
            },
            "$defs": { "env": { "type": "object", "description": "Variables.", "properties": { "HOME": { "type": "string" } } } },
        });
        assert_eq!(
            told(&schema),
            [
                "image|text|required|The image.",
                "tries|whole number or nothing||",
                "mode|\"fast\" or \"slow\"||",
                "env|map|required|Variables.",
                "env.HOME|text||",
                "steps|list of map||",
                "steps[].weight|number||",
                "more|any value||",
            ]
        );
    }

    #[test]
    fn variants_stand_one_after_the_other() {
        let variant = |word: &str, key: &str| json!({ "type": "object", "required": ["do"], "properties": { "do": { "const": word }, key: {} } });
        let schema = json!({ "oneOf": [variant("give", "outputs"), variant("fail", "kind")] });
        assert_eq!(
            told(&schema),
            [
                "do|\"give\"|required|",
                "outputs|any value||",
                "or|||",
                "do|\"fail\"|required|",
                "kind|any value||"
            ]
        );
    }

    #[test]
    fn a_schema_that_turns_in_circles_ends() {
        let turns = json!({
            "properties": { "a": { "$ref": "#" }, "b": { "$ref": "#" }, "c": { "$ref": "#" } },
            "anyOf": [{ "$ref": "#" }, { "$ref": "#" }], "allOf": [{ "$ref": "#/x" }], "x": { "$ref": "#/x" },
        });
        assert!(told(&turns).len() <= MAX_ROWS);
        assert_eq!(told(&json!({ "$ref": "#" })), [""; 0]);
        assert_eq!(
            without_keys(&json!({ "type": "object", "additionalProperties": { "type": "string" } })),
            "a map of text"
        );
        assert_eq!(without_keys(&json!({ "type": "object" })), "map");
        assert_eq!(without_keys(&json!(true)), "any value");
    }
}
