//! The inputs of a workflow: their types, and what is wrong with a value that does not fit.
//!
//! The same types are those of a template's parameters and of what a person gives with an approval.

use std::fmt;

use indexmap::IndexMap;
use serde_json::{Number, Value};

use crate::{InputName, SecretHandle, SecretName};

/// An input of a workflow.
#[derive(Debug, Clone, PartialEq)]
pub struct Input {
    /// What values it takes.
    pub kind: InputType,
    /// The value when none is given, of type `kind`.
    pub default: Option<Value>,
    /// Whether it may be left out without a default; its value is `null` then.
    pub is_optional: bool,
    /// For a person.
    pub description: Option<String>,
}

/// The type of an input.
#[derive(Debug, Clone, PartialEq)]
pub enum InputType {
    /// A text.
    String {
        /// What all of it has to match.
        pattern: Option<Pattern>,
    },
    /// A number.
    Number {
        /// The least that it may be.
        minimum: Option<Number>,
        /// The most that it may be.
        maximum: Option<Number>,
        /// Whether it has to be whole.
        is_whole: bool,
    },
    /// `true` or `false`.
    Boolean,
    /// One of these texts; never empty.
    Choice(Vec<String>),
    /// A list of such values.
    List(Box<InputType>),
    /// A map of anything.
    Object,
    /// The name of a secret. What a stage gets is a handle, never the secret itself.
    Secret,
}

/// A regular expression that all of a text has to match. Linear in the length of the text.
#[derive(Debug, Clone)]
pub struct Pattern {
    source: String,
    compiled: regex::Regex,
}

/// Largest compiled pattern, in bytes: a few bytes of pattern can ask for gigabytes.
const MAX_PATTERN_BYTES: usize = 256 * 1024;

impl Pattern {
    /// A pattern from its text.
    ///
    /// # Errors
    /// Why the text is no regular expression, for a person.
    pub fn new(source: impl Into<String>) -> Result<Self, String> {
        let source = source.into();
        let whole = format!("^(?:{source})$");
        let compiled = regex::RegexBuilder::new(&whole).size_limit(MAX_PATTERN_BYTES).build();
        match (regex::Regex::new(&source), compiled) {
            (Ok(_), Ok(compiled)) => Ok(Self { source, compiled }),
            (Err(error), _) | (Ok(_), Err(error)) => {
                // The last line says what is wrong; those before it draw an arrow.
                let text = error.to_string();
                let last = text.lines().last().unwrap_or_default();
                Err(last.trim_start_matches("error: ").to_owned())
            }
        }
    }

    /// The text that it was made of.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Whether all of `text` matches.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        self.compiled.is_match(text)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl InputType {
    /// Any text.
    pub const STRING: Self = Self::String { pattern: None };
    /// Any number.
    pub const NUMBER: Self = Self::Number { minimum: None, maximum: None, is_whole: false };

    /// The name in documents.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::String { .. } => "string",
            Self::Number { .. } => "number",
            Self::Boolean => "boolean",
            Self::Choice(_) => "choice",
            Self::List(_) => "list",
            Self::Object => "object",
            Self::Secret => "secret",
        }
    }

    /// Whether `value` is of this type.
    #[must_use]
    pub fn accepts(&self, value: &Value) -> bool {
        match (self, value) {
            (Self::String { pattern }, Value::String(text)) => {
                pattern.as_ref().is_none_or(|pattern| pattern.matches(text))
            }
            (Self::Number { minimum, maximum, is_whole }, Value::Number(number)) => {
                let Some(value) = number.as_f64() else { return false };
                let bound = |bound: &Option<Number>| bound.as_ref().and_then(Number::as_f64);
                bound(minimum).is_none_or(|least| value >= least)
                    && bound(maximum).is_none_or(|most| value <= most)
                    && (!is_whole || value.fract() == 0.0)
            }
            (Self::Boolean, Value::Bool(_)) | (Self::Object, Value::Object(_)) => true,
            (Self::Choice(options), Value::String(text)) => options.contains(text),
            (Self::List(of), Value::Array(items)) => items.iter().all(|item| of.accepts(item)),
            (Self::Secret, Value::String(name)) => name.parse::<SecretName>().is_ok(),
            // As a run has it that hands its own secret on to a run of its stages.
            (Self::Secret, value @ Value::Object(_)) => SecretHandle::parse(value).is_some(),
            _ => false,
        }
    }

    /// A value of this type as a run has it: of a secret, the handle.
    fn bound(&self, value: Value) -> Value {
        match (self, value) {
            (Self::Secret, Value::String(name)) => match name.parse() {
                Ok(name) => SecretHandle::new(name).to_json(),
                Err(_) => Value::String(name),
            },
            (Self::List(of), Value::Array(items)) => {
                Value::Array(items.into_iter().map(|item| of.bound(item)).collect())
            }
            (_, value) => value,
        }
    }

    /// The value that a text from the command line stands for, if it does. Lists are JSON, or texts with commas between
    /// them; maps are JSON.
    #[must_use]
    pub fn parse(&self, text: &str) -> Option<Value> {
        match self {
            Self::String { .. } | Self::Choice(_) | Self::Secret => Some(Value::String(text.to_owned())),
            Self::Number { .. } => serde_json::from_str(text).ok().filter(Value::is_number),
            Self::Boolean => text.parse().ok().map(Value::Bool),
            Self::Object => serde_json::from_str(text).ok().filter(Value::is_object),
            Self::List(of) => match serde_json::from_str(text) {
                Ok(list @ Value::Array(_)) => Some(list),
                _ if text.is_empty() => Some(Value::Array(Vec::new())),
                _ => text
                    .split(',')
                    .map(|item| of.parse(item.trim()))
                    .collect::<Option<Vec<_>>>()
                    .map(Value::Array),
            },
        }
    }
}

impl fmt::Display for InputType {
    /// What it takes, for a person: `a whole number from 1 to 10`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::String { pattern: None } => f.write_str("a text"),
            Self::String { pattern: Some(pattern) } => write!(f, "a text that matches `{}`", pattern.source),
            Self::Number { minimum, maximum, is_whole } => {
                f.write_str(if *is_whole { "a whole number" } else { "a number" })?;
                match (minimum, maximum) {
                    (None, None) => Ok(()),
                    (Some(least), None) => write!(f, " of at least {least}"),
                    (None, Some(most)) => write!(f, " of at most {most}"),
                    (Some(least), Some(most)) => write!(f, " from {least} to {most}"),
                }
            }
            Self::Boolean => f.write_str("`true` or `false`"),
            Self::Choice(options) => {
                let options: Vec<_> = options.iter().map(|option| format!("`{option}`")).collect();
                write!(f, "one of {}", options.join(", "))
            }
            Self::List(of) => write!(f, "a list, each item {of}"),
            Self::Object => f.write_str("a map"),
            Self::Secret => f.write_str("the name of a secret"),
        }
    }
}

/// The values of declared inputs: what was given, checked, with the defaults of what was not.
///
/// # Errors
/// Every input that is unknown, missing or not of its type.
pub fn bind(
    declared: &IndexMap<InputName, Input>,
    mut given: IndexMap<String, Value>,
) -> Result<IndexMap<InputName, Value>, Vec<InvalidInput>> {
    let mut bound = IndexMap::with_capacity(declared.len());
    let mut wrong = Vec::new();
    for (name, input) in declared {
        let value = given.shift_remove(name.as_str()).or_else(|| input.default.clone());
        match value {
            None if input.is_optional => {
                bound.insert(name.clone(), Value::Null);
            }
            Some(Value::Null) if input.is_optional => {
                bound.insert(name.clone(), Value::Null);
            }
            None => wrong.push(InvalidInput::Missing(name.clone())),
            Some(value) if input.kind.accepts(&value) => {
                bound.insert(name.clone(), input.kind.bound(value));
            }
            Some(value) => wrong.push(InvalidInput::WrongType {
                name: name.clone(),
                expected: input.kind.to_string(),
                value: value.to_string(),
            }),
        }
    }
    wrong.extend(given.into_keys().map(InvalidInput::Unknown));
    if wrong.is_empty() { Ok(bound) } else { Err(wrong) }
}

/// Why an input of a run was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidInput {
    #[error("input `{0}` has no default and was not given: add `--input {0}=…`")]
    Missing(InputName),
    #[error("input `{name}` takes {expected}, not `{value}`")]
    WrongType { name: InputName, expected: String, value: String },
    #[error("the workflow has no input `{0}`")]
    Unknown(String),
}

impl InvalidInput {
    /// Several of them for a person, on one line.
    #[must_use]
    pub fn in_words(wrong: &[Self]) -> String {
        wrong.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_of_a_type_or_not() {
        let pattern =
            |text: &str| InputType::String { pattern: Some(Pattern::new(text).expect("a pattern")) };
        let number = |minimum: Option<i64>, maximum: Option<i64>, is_whole| InputType::Number {
            minimum: minimum.map(Number::from),
            maximum: maximum.map(Number::from),
            is_whole,
        };
        let choice = InputType::Choice(vec!["dev".to_owned(), "prod".to_owned()]);
        let cases = [
            (InputType::STRING, json!("x"), true),
            (InputType::STRING, json!(1), false),
            (pattern("[a-z]+"), json!("abc"), true),
            (pattern("[a-z]+"), json!("abc1"), false),
            (pattern("a|b"), json!("ab"), false),
            (InputType::NUMBER, json!(1.5), true),
            (number(Some(1), Some(3), true), json!(3), true),
            (number(Some(1), Some(3), true), json!(4), false),
            (number(Some(1), Some(3), true), json!(0), false),
            (number(Some(1), Some(3), true), json!(1.5), false),
            (InputType::Boolean, json!("true"), false),
            (choice.clone(), json!("dev"), true),
            (choice.clone(), json!("test"), false),
            (InputType::List(Box::new(choice)), json!(["dev", "dev"]), true),
            (InputType::List(Box::new(InputType::NUMBER)), json!([1, "2"]), false),
            (InputType::Object, json!({"a": 1}), true),
            (InputType::Object, json!([]), false),
            (InputType::Secret, json!("registry-key"), true),
            (InputType::Secret, json!("No Name"), false),
            (InputType::Secret, json!({"secret": "registry-key"}), true),
            (InputType::Secret, json!({"secret": "No Name"}), false),
        ];
        for (kind, value, expect) in cases {
            assert_eq!(kind.accepts(&value), expect, "{kind:?} {value}");
        }
    }

    #[test]
    fn texts_of_the_command_line_become_values() {
        let list = InputType::List(Box::new(InputType::NUMBER));
        assert_eq!(list.parse("[1, 2]"), Some(json!([1, 2])));
        assert_eq!(list.parse("1, 2"), Some(json!([1, 2])));
        assert_eq!(list.parse(""), Some(json!([])));
        assert_eq!(list.parse("a"), None);
        assert_eq!(InputType::Object.parse("{\"a\": 1}"), Some(json!({"a": 1})));
        assert_eq!(InputType::Object.parse("a"), None);
        assert_eq!(InputType::Boolean.parse("yes"), None);
    }

    #[test]
    fn a_pattern_that_is_none_is_refused_with_the_reason() {
        assert_eq!(Pattern::new("(a").expect_err("open"), "unclosed group");
        let error = Pattern::new("a{1000}{1000}").expect_err("large");
        assert!(error.contains("size limit"), "{error}");
        // It would close the group around it.
        assert!(Pattern::new("a)(?:b").is_err());
    }

    #[test]
    fn inputs_are_bound_with_defaults_and_all_mistakes_are_told() {
        let input = |kind, default| Input { kind, default, is_optional: false, description: None };
        let optional = Input { is_optional: true, ..input(InputType::Boolean, None) };
        let declared = IndexMap::from([
            ("tag".parse().expect("a name"), input(InputType::STRING, Some(json!("dev")))),
            ("count".parse().expect("a name"), input(InputType::NUMBER, None)),
            ("flag".parse().expect("a name"), optional),
        ]);
        let bound = bind(&declared, IndexMap::from([("count".to_owned(), json!(3))])).expect("bound");
        assert_eq!(bound.values().collect::<Vec<_>>(), [&json!("dev"), &json!(3), &json!(null)]);
        let given =
            [("tag".to_owned(), json!(1)), ("tga".to_owned(), json!("x")), ("flag".to_owned(), json!(1))];
        let wrong = bind(&declared, IndexMap::from(given)).expect_err("four mistakes");
        let texts: Vec<String> = wrong.iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                "input `tag` takes a text, not `1`",
                "input `count` has no default and was not given: add `--input count=…`",
                "input `flag` takes `true` or `false`, not `1`",
                "the workflow has no input `tga`",
            ]
        );
    }
}
