//! Configs that somebody would write who means harm, or whose keyboard is broken: still what the schema allows. The values are
//! in `tests/conformance/hostile.yaml`.

use jsonschema::Validator;
use serde::Deserialize;
use serde_json::Value;

/// The values, as they are written down.
const VALUES: &str = include_str!("../../../tests/conformance/hostile.yaml");
/// Most configs that are made of one: each costs an attempt, and a Python plugin takes a tenth of a second for it.
const MAX_CONFIGS: usize = 100;

/// A config with what is wrong in it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Hostile {
    /// Where and what, for a person: `files: a NUL`.
    pub(crate) what: String,
    pub(crate) config: Value,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Values {
    texts: Vec<Text>,
    numbers: Vec<Value>,
    /// How often the first item of a list is repeated.
    lists: Vec<usize>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    what: String,
    text: String,
    #[serde(default = "once")]
    times: usize,
}

const fn once() -> usize {
    1
}

/// Spoiled configs, as far as the schema allows them.
///
/// # Errors
/// When the values cannot be read, which is a defect of this binary.
pub(crate) fn configs(config: &Value, schema: &Validator) -> Result<Vec<Hostile>, String> {
    let values = yuanli_lang::read_plain(VALUES)?.value;
    let values: Values = serde_json::from_value(values).map_err(|e| e.to_string())?;
    let mut leaves = Vec::new();
    find_leaves(config, String::new(), &mut leaves);
    let mut found: Vec<Hostile> = Vec::new();
    let mut add = |pointer: &str, what: String, value: Value| {
        let mut spoiled = config.clone();
        let Some(place) = spoiled.pointer_mut(pointer) else { return };
        if found.len() >= MAX_CONFIGS || *place == value {
            return;
        }
        *place = value;
        if schema.is_valid(&spoiled) {
            let place = pointer.trim_start_matches('/').replace('/', ".");
            found.push(Hostile { what: format!("{place}: {what}"), config: spoiled });
        }
    };
    // By value and then by place, so that each place has some of them when there are too many.
    for Text { what, text, times } in &values.texts {
        for (pointer, _) in leaves.iter().filter(|(_, leaf)| leaf.is_string()) {
            add(pointer, what.clone(), text.repeat(*times).into());
        }
    }
    for number in &values.numbers {
        for (pointer, _) in leaves.iter().filter(|(_, leaf)| leaf.is_number()) {
            add(pointer, format!("the number {number}"), number.clone());
        }
    }
    for times in &values.lists {
        for (pointer, leaf) in &leaves {
            let Some(items) = leaf.as_array() else { continue };
            let item = items.first().cloned().unwrap_or_else(|| Value::String("a".to_owned()));
            add(pointer, format!("a list of {times}"), Value::Array(vec![item; *times]));
        }
    }
    Ok(found)
}

/// The texts, numbers and lists of a value, by JSON pointer.
fn find_leaves<'v>(value: &'v Value, pointer: String, leaves: &mut Vec<(String, &'v Value)>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let key = key.replace('~', "~0").replace('/', "~1");
                find_leaves(value, format!("{pointer}/{key}"), leaves);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                find_leaves(item, format!("{pointer}/{index}"), leaves);
            }
            leaves.push((pointer, value));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => leaves.push((pointer, value)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_the_schema_allows_is_spoiled() {
        let schema = json!({
            "type": "object",
            "properties": { "text": { "type": "string" }, "word": { "enum": ["a", "b"] },
                "count": { "type": "integer", "minimum": 0 }, "list": { "type": "array", "maxItems": 10 } }
        });
        let schema = jsonschema::draft202012::new(&schema).expect("a schema");
        let config = json!({ "text": "x", "word": "a", "count": 3, "list": ["y"] });
        let found = configs(&config, &schema).expect("the values can be read");
        let has = |what: &str| found.iter().any(|hostile| hostile.what == what);
        assert!(has("text: a NUL") && has("list.0: a NUL") && has("list: a list of 0"), "{found:#?}");
        assert!(has("count: the number 9007199254740993") && !has("count: the number -1"), "{found:#?}");
        assert!(!found.iter().any(|hostile| hostile.what.starts_with("word")), "no other word is allowed");
        assert!(!has("list: a list of 1000"), "more than is allowed");
        assert!(found.iter().all(|hostile| schema.is_valid(&hostile.config)));
    }
}
