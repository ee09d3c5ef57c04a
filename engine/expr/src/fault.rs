//! What `cel` says when an evaluation fails, in words for the person who wrote the expression.

use cel::{ExecutionError, Value as Cel};

use crate::error::{Error, Kind, shorten};
use crate::library::argument::SECRET;
use crate::library::operator;
use crate::nearest::nearest;
use crate::reference::Reference;
use crate::scope::{Found, Scope};

/// Why the evaluation failed. A name that does not exist is looked for first: it is the usual reason, and `cel` sees
/// only the part of the scope that was copied for it.
pub(crate) fn explain(error: &ExecutionError, references: &[Reference], scope: &Scope<'_>) -> Error {
    if let ExecutionError::NoSuchKey(_) | ExecutionError::UndeclaredReference(_) = error
        && let Some(unknown) = references.iter().find_map(|reference| unknown(reference, scope))
    {
        return unknown;
    }
    in_our_words(error)
}

/// The error for a reference that leads nowhere.
fn unknown(reference: &Reference, scope: &Scope<'_>) -> Option<Error> {
    let Found::Missing(index, there) = scope.find(&reference.path) else { return None };
    // A variable has to be there also for what asks whether something in it is.
    if reference.is_optional && index > 0 {
        return None;
    }
    let name = &reference.path[index];
    let message = match (index, reference.path[0].as_str()) {
        (0, _) => format!("there is no variable `{name}`"),
        (1, "inputs") => format!("there is no input `{name}`"),
        (1, "stages") => format!("there are no outputs of a stage `{name}`"),
        (1, "env") => format!("there is no environment variable `{name}`"),
        (1, "parameters") => format!("there is no parameter `{name}`"),
        _ => format!("`{}` has no `{name}`", written(&reference.path[..index])),
    };
    let help = match (&reference.dashed, nearest(name, there.iter().copied())) {
        (Some(dashed), _) if index + 1 == reference.path.len() && there.contains(&dashed.as_str()) => Some(
            format!("a name with a dash is written `{}[\"{dashed}\"]`", written(&reference.path[..index])),
        ),
        (_, Some(near)) => Some(format!("did you mean `{near}`?")),
        _ if there.is_empty() => None,
        _ => Some(format!("there is {}", listed(&there))),
    };
    let error = Error::new(Kind::Unknown, message).at(reference.parts[index].clone());
    Some(match help {
        Some(help) => error.with_help(help),
        None => error,
    })
}

/// A path as it is written in an expression.
#[must_use]
pub fn written(path: &[String]) -> String {
    let mut text = String::new();
    for name in path {
        let is_plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
            && !name.bytes().next().is_none_or(|b| b.is_ascii_digit());
        if text.is_empty() {
            text.push_str(name);
        } else if is_plain {
            text.push('.');
            text.push_str(name);
        } else {
            text.push_str(&format!("[{name:?}]"));
        }
    }
    text
}

/// The first few names, for a person.
pub(crate) fn listed(names: &[&str]) -> String {
    const SHOWN: usize = 8;
    let shown: Vec<String> = names.iter().take(SHOWN).map(|name| format!("`{name}`")).collect();
    let more = names.len().saturating_sub(SHOWN);
    if more == 0 { shown.join(", ") } else { format!("{} and {more} more", shown.join(", ")) }
}

/// Where `success()` and the like can be called.
pub(crate) const STATUS_HELP: &str = "only an `if` can ask what became of the needed stages";

/// What to do when types do not go together.
pub(crate) const CONVERT: &str = "convert one of them, with `string(…)`, `int(…)` or `double(…)`";

/// Why nothing can be done with a secret.
pub(crate) const SECRET_HELP: &str =
    "a secret is only handed on, as a whole value: what is made of it could be shown and stored";

/// An operator or a function does not take these.
fn refused(name: &str, types: &[String]) -> Error {
    let are_numbers = types.iter().all(|ty| matches!(ty.as_str(), "int" | "uint" | "double" | "float"));
    if types.iter().any(|ty| ty == SECRET) {
        return Error::new(Kind::Type, format!("{} does not take a secret", function(name)))
            .with_help(SECRET_HELP);
    }
    // The only numbers that cannot be compared are those that are none.
    if are_numbers && matches!(name, "_<_" | "_<=_" | "_>_" | "_>=_") {
        return Error::new(
            Kind::Value,
            format!("{} compares with what is no number, as `0.0 / 0.0`", function(name)),
        );
    }
    let types: Vec<&str> = types.iter().map(|ty| kind(ty)).collect();
    Error::new(Kind::Type, format!("{} does not take {}", function(name), types.join(" and ")))
        .with_help(CONVERT)
}

/// A type of `cel` in the words of people.
pub(crate) fn kind(name: &str) -> &str {
    match name {
        "int" | "uint" => "a whole number",
        "double" | "float" => "a decimal number",
        "string" => "a text",
        "bool" => "a boolean",
        "null_type" | "null" => "null",
        "list" => "a list",
        "map" => "a map",
        "iterable" => "a list or a map",
        "timestamp" | "google.protobuf.Timestamp" => "a time",
        "duration" | "google.protobuf.Duration" => "a duration",
        "optional_type" => "an optional value",
        "type" => "a type",
        other => other,
    }
}

fn in_our_words(error: &ExecutionError) -> Error {
    match error {
        ExecutionError::NoSuchKey(key) => {
            Error::new(Kind::Value, format!("there is no key `{}`", shorten(key)))
                .with_help("ask with `has(…)` first, or read it with `.?` and `.orValue(…)`")
        }
        ExecutionError::UndeclaredReference(name) if name.starts_with('@') => {
            let name = name.trim_start_matches('@');
            Error::new(Kind::Unknown, format!("`{name}()` cannot be asked here")).with_help(STATUS_HELP)
        }
        ExecutionError::UndeclaredReference(name) => {
            Error::new(Kind::Unknown, format!("there is no variable or function `{}`", shorten(name)))
        }
        ExecutionError::NoSuchOverload(overload) => refused(overload.function(), overload.argument_types()),
        ExecutionError::UnsupportedBinaryOperator(operator, left, right) => {
            let types = [left.type_of().to_string(), right.type_of().to_string()];
            refused(operator, &types)
        }
        ExecutionError::UnexpectedType { got, want } => {
            Error::new(Kind::Type, format!("{} was found where {} is needed", kind(got), kind(want)))
        }
        ExecutionError::InvalidArgumentCount { expected, actual } => {
            Error::new(Kind::Type, format!("a function takes {expected} arguments, not {actual}"))
        }
        ExecutionError::DivisionByZero(_) | ExecutionError::RemainderByZero(_) => {
            Error::new(Kind::Value, "a division by zero")
        }
        ExecutionError::Overflow(operator, ..) => Error::new(
            Kind::Value,
            format!("the result of {} is too large for a whole number", function(operator)),
        ),
        ExecutionError::IndexOutOfBounds(index) => {
            let index = if let Cel::Int(index) = index { index.to_string() } else { "given".to_owned() };
            Error::new(Kind::Value, format!("the list has no item {index}; the first one is 0"))
        }
        ExecutionError::FunctionError { function, message } => {
            Error::new(Kind::Value, format!("`{function}` failed: {}", shorten(message)))
        }
        other => Error::new(Kind::Value, shorten(&other.to_string())),
    }
}

/// An operator or a function as it is written: inside `cel` some have another name, or underscores for operands.
fn function(name: &str) -> String {
    let plain = match operator::plain_name(name) {
        "add" => "+",
        "sub" => "-",
        "mul" => "*",
        "div" => "/",
        "rem" => "%",
        "_[_]" => "[]",
        "_._" => ".",
        other => other.trim_matches(|c| c == '_' || c == '@'),
    };
    format!("`{plain}`")
}
