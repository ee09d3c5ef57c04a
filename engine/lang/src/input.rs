//! `inputs:`, in the long form `{type, default, description}` and the short form `name: default`.

use indexmap::IndexMap;
use yuanli_expr::nearest;
use yuanli_model::{Input, InputName, InputType};

use crate::diagnostic::{Code, Diagnostics};
use crate::key;
use crate::node::{Entry, Kind, Node};
use crate::stage;
use crate::value;

const TYPES: [InputType; 3] = [InputType::String, InputType::Number, InputType::Boolean];

/// Whether a word is a type of inputs.
pub(crate) fn is_type(word: &str) -> bool {
    TYPES.iter().any(|kind| kind.name() == word)
}

/// The inputs of a workflow. One that is wrong is reported, and declared all the same: what uses it is not wrong.
#[derive(Debug, Default)]
pub(crate) struct Inputs {
    pub(crate) valid: IndexMap<InputName, Input>,
    /// All names that the document declares.
    pub(crate) names: Vec<String>,
}

pub(crate) fn read(entry: &Entry, diagnostics: &mut Diagnostics<'_>) -> Inputs {
    let mut inputs = Inputs::default();
    if matches!(entry.value.kind, Kind::Null) {
        return inputs;
    }
    let entries =
        key::entries_of(&entry.value, entry.value_span(), "`inputs`", diagnostics).unwrap_or_default();
    for entry in entries {
        inputs.names.push(entry.key.clone());
        let input = read_one(entry, diagnostics);
        match entry.key.parse::<InputName>() {
            Err(error) => {
                let help = || stage::proper(&entry.key);
                diagnostics.error_with(Code::InvalidName, entry.key_span, error.to_string(), help);
            }
            Ok(name) => {
                if let Some(input) = input {
                    inputs.valid.insert(name, input);
                }
            }
        }
    }
    inputs
}

fn read_one(entry: &Entry, diagnostics: &mut Diagnostics<'_>) -> Option<Input> {
    let Kind::Map(entries) = &entry.value.kind else { return read_short(entry, diagnostics) };
    key::check(entries, &key::INPUT, diagnostics);
    let description = key::find(entries, "description")
        .and_then(|description| key::text_of(description, diagnostics))
        .map(str::to_owned);
    let default = key::find(entries, "default");
    let kind = match (key::find(entries, "type"), default) {
        (Some(given), _) => read_type(given, diagnostics)?,
        (None, Some(default)) => type_of(&default.value).or_else(|| {
            wrong_default(default, "a text, a number or a boolean", diagnostics);
            None
        })?,
        (None, None) => {
            let message = format!("input `{}` has neither a type nor a default", entry.key);
            diagnostics.error_with(Code::MissingKey, entry.key_span, message, || {
                Some("add `type: string`, `type: number` or `type: boolean`".to_owned())
            });
            return None;
        }
    };
    let default = default.map(|default| (default, value::plain(&default.value)));
    if let Some((entry, value)) = &default
        && !kind.accepts(value)
    {
        wrong_default(entry, &format!("a {}, as its type says", kind.name()), diagnostics);
        return None;
    }
    Some(Input { kind, default: default.map(|(_, value)| value), description })
}

fn read_short(entry: &Entry, diagnostics: &mut Diagnostics<'_>) -> Option<Input> {
    match type_of(&entry.value) {
        Some(kind) => Some(Input { kind, default: Some(value::plain(&entry.value)), description: None }),
        None => {
            let message = format!("input `{}` is {}, which is no default", entry.key, entry.value.what());
            diagnostics.error_with(Code::WrongDefault, entry.value_span(), message, || {
                Some(format!("for an input without a default write `{}: {{ type: string }}`", entry.key))
            });
            None
        }
    }
}

fn read_type(entry: &Entry, diagnostics: &mut Diagnostics<'_>) -> Option<InputType> {
    let text = key::text_of(entry, diagnostics)?;
    let found = TYPES.into_iter().find(|kind| kind.name() == text);
    if found.is_none() {
        let message = format!("`{text}` is no type of an input");
        diagnostics.error_with(Code::InvalidInputType, entry.value_span(), message, || {
            let known = TYPES.iter().map(InputType::name);
            // What people are used to from other languages.
            let usual = match text.to_lowercase().as_str() {
                "text" | "str" => Some("string"),
                "int" | "integer" | "float" | "double" => Some("number"),
                "bool" => Some("boolean"),
                _ => nearest(text, known.clone()),
            };
            Some(match usual {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("it can be {}", key::listed(known)),
            })
        });
    }
    found
}

fn type_of(node: &Node) -> Option<InputType> {
    match node.kind {
        Kind::Text(_) => Some(InputType::String),
        Kind::Number(_) => Some(InputType::Number),
        Kind::Bool(_) => Some(InputType::Boolean),
        Kind::Null | Kind::List(_) | Kind::Map(_) => None,
    }
}

fn wrong_default(entry: &Entry, expected: &str, diagnostics: &mut Diagnostics<'_>) {
    let message = format!("the default must be {expected}, not {}", entry.value.what());
    diagnostics.error_with(Code::WrongDefault, entry.value_span(), message, || {
        let help = match &entry.value.kind {
            Kind::Number(_) | Kind::Bool(_) => "put it in quotes to make it a text, or change the type",
            Kind::Text(text) if matches!(text.as_str(), "yes" | "no" | "on" | "off") => {
                "write `true` or `false`"
            }
            Kind::Text(text) if text.parse::<f64>().is_ok() || text.parse::<bool>().is_ok() => {
                "leave the quotes out"
            }
            _ => return None,
        };
        Some(help.to_owned())
    });
}
