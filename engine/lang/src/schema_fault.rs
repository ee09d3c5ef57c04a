//! What a JSON Schema validator says, in words for the person who wrote the `with:`.

use std::collections::HashSet;

use jsonschema::ValidationError;
use jsonschema::error::{TypeKind, ValidationErrorKind as Kind};
use serde_json::Value;
use yuanli_expr::nearest;
use yuanli_model::PluginDescription;

use crate::key::listed;
use crate::schema;
use crate::value::{escaped, unescaped};

/// One thing that is wrong with a config.
#[derive(Debug)]
pub(crate) struct Fault {
    /// The JSON pointer of what it is about.
    pub(crate) pointer: String,
    /// Whether it is about the key, not the value.
    pub(crate) is_about_key: bool,
    pub(crate) message: String,
    pub(crate) help: Option<String>,
    /// Whether it depends on nothing but which keys there are, or how many items.
    is_about_shape: bool,
}

impl Fault {
    /// Whether it may go away once the expressions at these pointers have their values.
    pub(crate) fn is_open(&self, open: &HashSet<String>) -> bool {
        let is_above = |pointer: &String| is_at_or_beneath(pointer, &self.pointer);
        is_within(&self.pointer, open) || (!self.is_about_shape && open.iter().any(is_above))
    }
}

/// Whether a pointer leads to one of these, or into it.
pub(crate) fn is_within(pointer: &str, open: &HashSet<String>) -> bool {
    let mut parts = std::iter::successors(Some(pointer), |part| Some(part.rsplit_once('/')?.0));
    parts.any(|part| open.contains(part))
}

fn is_at_or_beneath(pointer: &str, above: &str) -> bool {
    pointer.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The faults behind an error: an unknown key each, and for "none of these" what is wrong with the one that was meant.
pub(crate) fn of(error: &ValidationError<'_>, plugin: &PluginDescription) -> Vec<Fault> {
    let pointer = error.instance_path().as_str();
    match error.kind() {
        Kind::AdditionalProperties { unexpected } | Kind::UnevaluatedProperties { unexpected } => {
            let known = known_keys(error, plugin);
            unexpected.iter().map(|key| unknown_key(pointer, key, &known, plugin)).collect()
        }
        Kind::AnyOf { context } | Kind::OneOfNotValid { context } => match meant(context, pointer) {
            Some(errors) => errors.iter().flat_map(|inner| of(inner, plugin)).collect(),
            None => vec![neither(context, error, plugin)],
        },
        Kind::OneOfMultipleValid { .. } => {
            let subject = subject(pointer, plugin);
            vec![value_fault(error, format!("{subject} mixes keys of which only one may be given"), None)]
        }
        Kind::Required { property } => {
            let property = property.as_str().unwrap_or_default();
            vec![missing_key(pointer, property, error, plugin)]
        }
        _ => vec![about_value(error, plugin)],
    }
}

/// The errors of the one alternative that is of the right type, if there is just one.
fn meant<'a>(
    context: &'a [Vec<ValidationError<'static>>],
    pointer: &str,
) -> Option<&'a [ValidationError<'static>]> {
    let is_other = |error: &ValidationError<'_>| {
        error.instance_path().as_str() == pointer
            && matches!(error.kind(), Kind::Type { .. } | Kind::Constant { .. } | Kind::Enum { .. })
    };
    let mut candidates = context.iter().filter(|errors| !errors.iter().any(is_other));
    let first = candidates.next()?;
    candidates.next().is_none().then_some(first.as_slice())
}

/// No alternative fits: the types and values that would.
fn neither(
    context: &[Vec<ValidationError<'static>>],
    error: &ValidationError<'_>,
    plugin: &PluginDescription,
) -> Fault {
    let mut wanted: Vec<String> = Vec::new();
    for inner in context.iter().flatten() {
        let one = match inner.kind() {
            Kind::Type { kind } => types(kind),
            Kind::Enum { options } => one_of(options),
            Kind::Constant { expected_value } => shown(expected_value),
            _ => continue,
        };
        if one != "nothing" && !wanted.contains(&one) {
            wanted.push(one);
        }
    }
    let subject = subject(error.instance_path().as_str(), plugin);
    let needed = needed(context);
    let message = if wanted.is_empty() && !needed.is_empty() {
        format!("{subject} needs {}", needed.join(" or "))
    } else if wanted.is_empty() {
        format!("{subject} has none of the forms that plugin `{}` takes", plugin.name)
    } else {
        format!("{subject} must be {}, not {}", wanted.join(" or "), what(error.instance()))
    };
    value_fault(error, message, None)
}

/// The keys that the alternatives ask for, when that is all that they differ in.
fn needed(context: &[Vec<ValidationError<'static>>]) -> Vec<String> {
    let key = |errors: &Vec<ValidationError<'static>>| match errors.as_slice() {
        [only] => match only.kind() {
            Kind::Required { property } => property.as_str().map(|key| format!("`{key}`")),
            _ => None,
        },
        _ => None,
    };
    context.iter().map(key).collect::<Option<Vec<_>>>().unwrap_or_default()
}

fn about_value(error: &ValidationError<'_>, plugin: &PluginDescription) -> Fault {
    let subject = subject(error.instance_path().as_str(), plugin);
    let (message, help) = match error.kind() {
        Kind::Type { kind } => {
            let help = match (kind, error.instance()) {
                (TypeKind::Single(jsonschema::JsonType::String), value)
                    if value.is_number() || value.is_boolean() =>
                {
                    Some("put it in quotes to make it a text".to_owned())
                }
                (TypeKind::Single(jsonschema::JsonType::Array), value) if !value.is_object() => {
                    Some("for a list of one item write `[…]` around it".to_owned())
                }
                _ => None,
            };
            (format!("{subject} must be {}, not {}", types(kind), what(error.instance())), help)
        }
        Kind::Enum { options } => {
            let near = error.instance().as_str().and_then(|given| {
                nearest(given, options.as_array()?.iter().filter_map(Value::as_str)).map(str::to_owned)
            });
            (
                format!("{subject} must be {}", one_of(options)),
                near.map(|near| format!("did you mean `{near}`?")),
            )
        }
        Kind::Constant { expected_value } => (format!("{subject} must be {}", shown(expected_value)), None),
        Kind::MinLength { limit: 1 } | Kind::MinItems { limit: 1 } => {
            (format!("{subject} must not be empty"), None)
        }
        Kind::MinLength { limit } => (format!("{subject} must have at least {limit} characters"), None),
        Kind::MaxLength { limit } => (format!("{subject} must have at most {limit} characters"), None),
        Kind::MinItems { limit } => (format!("{subject} must have at least {limit} items"), None),
        Kind::MaxItems { limit } => (format!("{subject} must have at most {limit} items"), None),
        Kind::Minimum { limit } => (format!("{subject} must be at least {limit}"), None),
        Kind::Maximum { limit } => (format!("{subject} must be at most {limit}"), None),
        Kind::Pattern { pattern } => (format!("{subject} must match the pattern `{pattern}`"), None),
        Kind::UniqueItems => (format!("{subject} must not have an item twice"), None),
        _ => (format!("{subject} is refused: {}", error.masked_with("the value")), None),
    };
    value_fault(error, message, help)
}

fn value_fault(error: &ValidationError<'_>, message: String, help: Option<String>) -> Fault {
    let is_about_shape = matches!(
        error.kind(),
        Kind::Type { .. }
            | Kind::MinItems { .. }
            | Kind::MaxItems { .. }
            | Kind::MinProperties { .. }
            | Kind::MaxProperties { .. }
    );
    let pointer = error.instance_path().as_str().to_owned();
    Fault { pointer, is_about_key: false, message, help, is_about_shape }
}

fn unknown_key(pointer: &str, key: &str, known: &[&str], plugin: &PluginDescription) -> Fault {
    let message = if pointer.is_empty() {
        format!("plugin `{}` has no setting `{key}`", plugin.name)
    } else {
        format!("{} has no key `{key}`", subject(pointer, plugin))
    };
    let help = match nearest(key, known.iter().copied()) {
        Some(near) => Some(format!("did you mean `{near}`?")),
        None if known.is_empty() => None,
        None => Some(format!("it can have {}", listed(known.iter().copied()))),
    };
    let pointer = format!("{pointer}/{}", escaped(key));
    Fault { pointer, is_about_key: true, message, help, is_about_shape: true }
}

fn missing_key(
    pointer: &str,
    property: &str,
    error: &ValidationError<'_>,
    plugin: &PluginDescription,
) -> Fault {
    let message = if pointer.is_empty() {
        format!("plugin `{}` needs the setting `{property}`", plugin.name)
    } else {
        format!("{} needs `{property}`", subject(pointer, plugin))
    };
    let about = parent(error, plugin)
        .and_then(|schema| schema.get("properties")?.get(property)?.get("description")?.as_str())
        .and_then(|text| text.lines().next())
        .map(|text| format!(": {}", text.trim_end_matches('.')));
    let place = if pointer.is_empty() { "under `with`" } else { "there" };
    let help = Some(format!("add `{property}:` {place}{}", about.unwrap_or_default()));
    Fault { pointer: pointer.to_owned(), is_about_key: true, message, help, is_about_shape: true }
}

/// The keys that the schema lists where the error is.
fn known_keys<'a>(error: &ValidationError<'_>, plugin: &'a PluginDescription) -> Vec<&'a str> {
    parent(error, plugin)
        .and_then(|schema| schema.get("properties")?.as_object())
        .map(|properties| properties.keys().map(String::as_str).collect())
        .unwrap_or_default()
}

/// The schema that has the keyword which failed.
fn parent<'a>(error: &ValidationError<'_>, plugin: &'a PluginDescription) -> Option<&'a Value> {
    let (before, _) = error.schema_path().as_str().rsplit_once('/')?;
    schema::at(&plugin.config_schema, before)
}

/// What the pointer leads to, as people write it: `ports[0].host`.
fn subject(pointer: &str, plugin: &PluginDescription) -> String {
    let mut path = String::new();
    for token in pointer.split('/').skip(1) {
        if token.bytes().all(|b| b.is_ascii_digit()) {
            path.push_str(&format!("[{token}]"));
        } else {
            path.push_str(if path.is_empty() { "" } else { "." });
            path.push_str(&unescaped(token));
        }
    }
    if path.is_empty() { format!("the config of plugin `{}`", plugin.name) } else { format!("`{path}`") }
}

fn types(kind: &TypeKind) -> String {
    let names: Vec<&str> = match kind {
        TypeKind::Single(one) => vec![a_type(one.as_str())],
        TypeKind::Multiple(several) => {
            several.iter().map(|one| a_type(one.as_str())).filter(|name| *name != "nothing").collect()
        }
    };
    names.join(" or ")
}

/// A JSON type in the words that `Node::what` uses.
fn a_type(name: &str) -> &'static str {
    match name {
        "string" => "a text",
        "number" => "a number",
        "integer" => "a whole number",
        "boolean" => "a boolean",
        "array" => "a list",
        "object" => "a map",
        _ => "nothing",
    }
}

fn what(value: &Value) -> String {
    match value {
        Value::Number(number) => return format!("the number {number}"),
        Value::Null => "nothing",
        Value::Bool(_) => "a boolean",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    }
    .to_owned()
}

fn one_of(options: &Value) -> String {
    let options: Vec<String> = options.as_array().into_iter().flatten().map(text_of).collect();
    match options.as_slice() {
        [one] => format!("`{one}`"),
        _ => format!("one of {}", listed(options.iter().map(String::as_str))),
    }
}

fn shown(value: &Value) -> String {
    format!("`{}`", text_of(value))
}

fn text_of(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
