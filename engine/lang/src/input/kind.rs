//! The type of an input: by its name, or by that of its default.

use yuanli_expr::nearest;
use yuanli_model::InputType;

use super::bound;
use crate::diagnostic::{Code, Diagnostics};
use crate::key;
use crate::node::{Entry, Kind, Node};

/// The names of all types.
const NAMES: [&str; 7] = ["string", "number", "boolean", "choice", "list", "object", "secret"];

/// Whether a word is a type of inputs.
pub(crate) fn is_type(word: &str) -> bool {
    NAMES.contains(&word)
}

/// The type that `type:` says, with what the other keys say of it.
pub(super) fn read(given: &Entry, entries: &[Entry], diagnostics: &mut Diagnostics<'_>) -> Option<InputType> {
    let kind = match key::text_of(given, diagnostics)? {
        "choice" => {
            let Some(options) = key::given(entries, "options") else {
                diagnostics.error_with(
                    Code::MissingKey,
                    given.value_span(),
                    "the choice has no options",
                    || {
                        Some(
                            "add `options:` with the texts to choose from, such as `options: [dev, prod]`"
                                .to_owned(),
                        )
                    },
                );
                return None;
            };
            InputType::Choice(bound::options(options, diagnostics)?)
        }
        "list" => {
            let of = match key::given(entries, "of") {
                Some(of) => named(of, key::text_of(of, diagnostics)?, diagnostics)?,
                None => InputType::STRING,
            };
            InputType::List(Box::new(of))
        }
        text => named(given, text, diagnostics)?,
    };
    bound::read(kind, entries, diagnostics)
}

/// The type of that name that needs no other key.
fn named(entry: &Entry, text: &str, diagnostics: &mut Diagnostics<'_>) -> Option<InputType> {
    let found = match text {
        "string" => Some(InputType::STRING),
        "number" => Some(InputType::NUMBER),
        "boolean" => Some(InputType::Boolean),
        "object" => Some(InputType::Object),
        "secret" => Some(InputType::Secret),
        _ => None,
    };
    if found.is_none() {
        let message = match text {
            "list" | "choice" => format!("a list cannot be of `{text}`"),
            _ => format!("`{text}` is no type of an input"),
        };
        diagnostics.error_with(Code::InvalidInputType, entry.value_span(), message, || Some(meant(text)));
    }
    found
}

fn meant(text: &str) -> String {
    // What people are used to from other languages.
    let usual = match text.to_lowercase().as_str() {
        "list" | "choice" => {
            return "it can be of `string`, `number`, `boolean`, `object` or `secret`".to_owned();
        }
        "text" | "str" => Some("string"),
        "int" | "integer" => {
            return "did you mean `number`? with `whole: true` it has no fraction".to_owned();
        }
        "float" | "double" => Some("number"),
        "bool" => Some("boolean"),
        "enum" | "select" => Some("choice"),
        "array" | "sequence" => Some("list"),
        "map" | "dict" | "json" => Some("object"),
        "password" | "token" => Some("secret"),
        _ => nearest(text, NAMES),
    };
    match usual {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("it can be {}", key::listed(NAMES.into_iter())),
    }
}

/// The type of a default.
pub(super) fn of_default(node: &Node) -> Option<InputType> {
    match &node.kind {
        Kind::Text(_) => Some(InputType::STRING),
        Kind::Number(_) => Some(InputType::NUMBER),
        Kind::Bool(_) => Some(InputType::Boolean),
        Kind::Map(_) => Some(InputType::Object),
        // The items say what it is a list of, when they are all of one type; an empty one is of texts.
        Kind::List(items) => {
            let first = items.first().map_or(Some(InputType::STRING), of_item)?;
            items
                .iter()
                .all(|item| of_item(item).as_ref() == Some(&first))
                .then(|| InputType::List(Box::new(first)))
        }
        Kind::Null => None,
    }
}

fn of_item(node: &Node) -> Option<InputType> {
    match &node.kind {
        Kind::List(_) | Kind::Null => None,
        _ => of_default(node),
    }
}
