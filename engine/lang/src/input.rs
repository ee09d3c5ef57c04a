//! `inputs:`, in the long form `{type, default, …}` and the short form `name: default`. Parameters of templates and what
//! an approval asks for are declared the same way.

mod bound;
mod kind;

pub(crate) use kind::is_type;

use std::collections::HashSet;

use indexmap::IndexMap;
use yuanli_model::{Input, InputName, InputType};

use crate::diagnostic::{Code, Diagnostics, Span};
use crate::key;
use crate::node::{Entry, Kind};
use crate::stage;
use crate::value;

/// Declared inputs. One that is wrong is reported, and declared all the same: what uses it is not wrong.
#[derive(Debug, Default)]
pub(crate) struct Inputs {
    pub(crate) valid: IndexMap<InputName, Input>,
    /// All names that the document declares, each with its place.
    pub(crate) names: IndexMap<String, Span>,
}

impl Inputs {
    /// All names that are declared, right or wrong.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> + Clone {
        self.names.keys().map(String::as_str)
    }

    /// The input of that name, when it is declared right.
    pub(crate) fn get(&self, name: &str) -> Option<&Input> {
        self.valid.get(&name.parse::<InputName>().ok()?)
    }

    /// The inputs that have to be given.
    pub(crate) fn required(&self) -> impl Iterator<Item = &InputName> {
        let is_required = |input: &Input| input.default.is_none() && !input.is_optional;
        self.valid.iter().filter(move |(_, input)| is_required(input)).map(|(name, _)| name)
    }
}

/// Reads declarations; `what` each of them is, such as `input`.
pub(crate) fn read(entry: &Entry, what: &str, diagnostics: &mut Diagnostics<'_>) -> Inputs {
    let mut inputs = Inputs::default();
    if matches!(entry.value.kind, Kind::Null) {
        return inputs;
    }
    let name = format!("`{}`", entry.key);
    let entries = key::entries_of(&entry.value, entry.value_span(), &name, diagnostics).unwrap_or_default();
    for entry in entries {
        inputs.names.insert(entry.key.clone(), entry.key_span);
        let input = read_one(entry, what, diagnostics);
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

fn read_one(entry: &Entry, what: &str, diagnostics: &mut Diagnostics<'_>) -> Option<Input> {
    let Kind::Map(entries) = &entry.value.kind else { return read_short(entry, what, diagnostics) };
    key::check(entries, &key::INPUT, diagnostics);
    let description = key::find(entries, "description")
        .and_then(|description| key::text_of(description, diagnostics))
        .map(str::to_owned);
    let default = key::find(entries, "default");
    let required =
        key::given(entries, "required").map(|required| (required, key::boolean_of(required, diagnostics)));
    let kind = match (key::find(entries, "type"), default) {
        (Some(given), _) => kind::read(given, entries, diagnostics)?,
        (None, Some(default)) => match kind::of_default(&default.value) {
            Some(kind) => bound::read(kind, entries, diagnostics)?,
            None => {
                wrong_default(default, "a text, a number, a boolean, a list or a map", diagnostics);
                return None;
            }
        },
        (None, None) => {
            let message = format!("{what} `{}` has neither a type nor a default", entry.key);
            diagnostics.error_with(Code::MissingKey, entry.key_span, message, || {
                Some("add `type: string`, or another type, or a default".to_owned())
            });
            return None;
        }
    };
    let (default, is_optional) = match required {
        Some((entry, Some(true))) if default.is_some() => {
            let message = "an input with a default never has to be given";
            diagnostics.error_with(Code::Contradiction, entry.key_span, message, || {
                Some("leave out `required` or `default`".to_owned())
            });
            return None;
        }
        Some((_, Some(false))) => {
            // `default: null` says the same as no default here.
            (default.filter(|default| !matches!(default.value.kind, Kind::Null)), true)
        }
        _ => (default, false),
    };
    let default = default.map(|default| (default, value::plain(&default.value)));
    if let Some((entry, value)) = &default
        && !kind.accepts(value)
    {
        wrong_default(entry, &format!("{kind}, as its type says"), diagnostics);
        return None;
    }
    Some(Input { kind, default: default.map(|(_, value)| value), is_optional, description })
}

fn read_short(entry: &Entry, what: &str, diagnostics: &mut Diagnostics<'_>) -> Option<Input> {
    match kind::of_default(&entry.value) {
        Some(kind) => Some(Input {
            kind,
            default: Some(value::plain(&entry.value)),
            is_optional: false,
            description: None,
        }),
        None => {
            let message = format!("{what} `{}` is {}, which is no default", entry.key, entry.value.what());
            diagnostics.error_with(Code::WrongDefault, entry.value_span(), message, || {
                Some(format!("for one without a default write `{}: {{ type: string }}`", entry.key))
            });
            None
        }
    }
}

fn wrong_default(entry: &Entry, expected: &str, diagnostics: &mut Diagnostics<'_>) {
    let message = format!("the default must be {expected}, not {}", entry.value.shown());
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

/// Reports the names among `given` that are not declared; `whose` they are, such as `workflow `shop``.
pub(crate) fn check_names(
    given: &[Entry],
    inputs: &Inputs,
    unknown: impl Fn(&str) -> String,
    diagnostics: &mut Diagnostics<'_>,
) {
    let declared: HashSet<&str> = inputs.names().collect();
    for entry in given.iter().filter(|entry| !declared.contains(entry.key.as_str())) {
        diagnostics.error_with(Code::UnknownInput, entry.key_span, unknown(&entry.key), || {
            Some(match yuanli_expr::nearest(&entry.key, inputs.names()) {
                Some(near) => format!("did you mean `{near}`?"),
                None if inputs.names.is_empty() => "it takes none".to_owned(),
                None => format!("it takes {}", key::listed(inputs.names())),
            })
        });
    }
}

/// Whether a kind of input is the name of a secret.
pub(crate) fn is_secret(kind: &InputType) -> bool {
    matches!(kind, InputType::Secret)
}
