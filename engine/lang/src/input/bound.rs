//! What bounds the values of an input: `pattern`, `minimum`, `maximum`, `range`, `whole`, `options`.

use serde_json::Number;
use yuanli_model::InputType;
use yuanli_model::input::Pattern;

use crate::diagnostic::{Code, Diagnostics};
use crate::key;
use crate::node::{Entry, Kind};

/// The keys that a type takes beside those of every input.
fn keys_of(kind: &InputType) -> &'static [&'static str] {
    match kind {
        InputType::String { .. } => &["pattern"],
        InputType::Number { .. } => &["minimum", "maximum", "range", "whole"],
        InputType::Choice(_) => &["options"],
        InputType::List(_) => &["of"],
        InputType::Boolean | InputType::Object | InputType::Secret => &[],
    }
}

const ALL: [&str; 7] = ["pattern", "minimum", "maximum", "range", "whole", "options", "of"];

/// The type with its bounds; a key that does not belong to it is reported.
pub(super) fn read(
    kind: InputType,
    entries: &[Entry],
    diagnostics: &mut Diagnostics<'_>,
) -> Option<InputType> {
    let own = keys_of(&kind);
    let mut is_right = true;
    for entry in entries {
        let key = entry.key.as_str();
        if ALL.contains(&key) && !own.contains(&key) {
            is_right = false;
            let message = format!("`{key}` does not belong to the type `{}`", kind.name());
            diagnostics.error_with(Code::Contradiction, entry.key_span, message, || {
                let belongs = match key {
                    "pattern" => "string",
                    "options" => "choice",
                    "of" => "list",
                    _ => "number",
                };
                Some(format!("leave it out, or write `type: {belongs}`"))
            });
        }
    }
    if !is_right {
        return None;
    }
    match kind {
        InputType::String { .. } => {
            let pattern = match key::given(entries, "pattern") {
                Some(pattern) => Some(read_pattern(pattern, diagnostics)?),
                None => None,
            };
            Some(InputType::String { pattern })
        }
        InputType::Number { .. } => read_number(entries, diagnostics),
        other => Some(other),
    }
}

fn read_pattern(entry: &Entry, diagnostics: &mut Diagnostics<'_>) -> Option<Pattern> {
    let text = key::text_of(entry, diagnostics)?;
    match Pattern::new(text) {
        Ok(pattern) => Some(pattern),
        Err(why) => {
            let message = format!("the pattern cannot be read: {why}");
            diagnostics.error_with(Code::InvalidPattern, entry.value_span(), message, || {
                Some(if text.contains("(?=") || text.contains("(?!") || text.contains("(?<") {
                    "there is no look-ahead and no look-behind: patterns take linear time".to_owned()
                } else {
                    "a backslash stands in front of a sign that is meant as itself, such as `\\(`".to_owned()
                })
            });
            None
        }
    }
}

fn read_number(entries: &[Entry], diagnostics: &mut Diagnostics<'_>) -> Option<InputType> {
    let range = key::given(entries, "range");
    let bounds = ["minimum", "maximum"].map(|key| key::given(entries, key));
    if let (Some(range), Some(bound)) = (range, bounds.into_iter().flatten().next()) {
        let message = format!("`range` and `{}` say the same twice", bound.key);
        diagnostics.error_with(Code::Contradiction, range.key_span, message, || {
            Some("write `range: 1..10`, or `minimum` and `maximum`".to_owned())
        });
        return None;
    }
    let [minimum, maximum] = match range {
        Some(range) => read_range(range, diagnostics)?.map(Some),
        None => {
            let [minimum, maximum] = bounds.map(|bound| bound.map(|bound| number_of(bound, diagnostics)));
            if matches!(minimum, Some(None)) || matches!(maximum, Some(None)) {
                return None;
            }
            [minimum.flatten(), maximum.flatten()]
        }
    };
    let is_whole = match key::given(entries, "whole") {
        Some(whole) => key::boolean_of(whole, diagnostics)?,
        None => false,
    };
    let value = |bound: &Option<Number>| bound.as_ref().and_then(Number::as_f64);
    if let (Some(least), Some(most)) = (value(&minimum), value(&maximum))
        && least > most
    {
        let place = range.or(bounds[0]).map(Entry::value_span).unwrap_or_default();
        let message = format!("no number is at least {least} and at most {most}");
        diagnostics.error(Code::Contradiction, place, message);
        return None;
    }
    Some(InputType::Number { minimum, maximum, is_whole })
}

fn number_of(entry: &Entry, diagnostics: &mut Diagnostics<'_>) -> Option<Number> {
    if let Kind::Number(number) = &entry.value.kind {
        return Some(number.clone());
    }
    let message = format!("`{}` must be a number, not {}", entry.key, entry.value.what());
    diagnostics.error_with(Code::WrongKind, entry.value_span(), message, || match &entry.value.kind {
        Kind::Text(text) if text.parse::<f64>().is_ok() => Some("leave the quotes out".to_owned()),
        _ => None,
    });
    None
}

/// `1..10`, both ends in it.
fn read_range(entry: &Entry, diagnostics: &mut Diagnostics<'_>) -> Option<[Number; 2]> {
    let text = key::text_of(entry, diagnostics)?;
    let number = |text: &str| serde_json::from_str::<Number>(text.trim()).ok();
    let found = text.split_once("..").and_then(|(least, most)| Some([number(least)?, number(most)?]));
    if found.is_none() {
        let message = format!("`{text}` is no range");
        diagnostics.error_with(Code::WrongNumber, entry.value_span(), message, || {
            Some(
                "write the least and the most, such as `1..10`; for one of them use `minimum` or `maximum`"
                    .to_owned(),
            )
        });
    }
    found
}

/// The texts of a choice: at least one, none twice.
pub(super) fn options(entry: &Entry, diagnostics: &mut Diagnostics<'_>) -> Option<Vec<String>> {
    let Kind::List(items) = &entry.value.kind else {
        let message = format!("`options` must be a list of texts, not {}", entry.value.what());
        diagnostics.error(Code::WrongKind, entry.value_span(), message);
        return None;
    };
    let mut options: Vec<String> = Vec::with_capacity(items.len());
    let mut seen = std::collections::HashSet::new();
    let mut is_right = true;
    for item in items {
        match &item.kind {
            Kind::Text(text) if seen.insert(text.as_str()) => options.push(text.clone()),
            Kind::Text(text) => {
                let message = format!("the option `{text}` is there twice");
                diagnostics.error(Code::Contradiction, item.place(), message);
                is_right = false;
            }
            _ => {
                let message = format!("an option must be a text, not {}", item.what());
                diagnostics.error_with(Code::WrongKind, item.place(), message, || {
                    Some("put it in quotes to make it a text".to_owned())
                });
                is_right = false;
            }
        }
    }
    if items.is_empty() {
        diagnostics.error_with(Code::MissingKey, entry.key_span, "the choice has no options", || {
            Some("write the texts to choose from, such as `options: [dev, prod]`".to_owned())
        });
        is_right = false;
    }
    is_right.then_some(options)
}
