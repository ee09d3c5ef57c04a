//! The functions of the language: one table that the checker, the evaluator and the documentation read.
//!
//! Start reading in [`Function`]; the entries are in `entry`, by what they are for. [`markdown`] prints them.

mod data;
mod macros;
mod markdown;
mod text;
mod time;

use cel::common::functions::Function as Native;

use crate::ty::Type;

pub use markdown::markdown;

/// A function that an expression can call.
#[derive(Debug, Clone, Copy)]
pub struct Function {
    /// Its name; of `optional.of` both parts.
    pub name: &'static str,
    /// Whether it is called as `x.name(…)`, so that `x` is the first of its parameters.
    pub is_method: bool,
    /// The ways in which it can be called.
    pub signatures: &'static [Signature],
    /// What it is for, one line.
    pub summary: &'static str,
    /// An expression that calls it.
    pub example: &'static str,
    /// What the example gives, as JSON.
    pub gives: &'static str,
    pub(crate) run: Run,
}

/// A way to call a function.
#[derive(Debug, Clone, Copy)]
pub struct Signature {
    /// What it takes, by name.
    pub parameters: &'static [(&'static str, Takes)],
    pub(crate) result: Returns,
}

/// What a parameter takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// Every value; secrets too, as they are handed on whole.
    Any,
    /// Every value that has a form in JSON, but no secret.
    Json,
    /// A boolean.
    Bool,
    /// A number without a fraction.
    Whole,
    /// A number.
    Number,
    /// A text.
    Text,
    /// Bytes.
    Bytes,
    /// A span of time.
    Duration,
    /// A point in time.
    Timestamp,
    /// A list of any items.
    List,
    /// A list of texts.
    Texts,
    /// A map.
    Map,
    /// An optional value.
    Optional,
}

/// The type of a result.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Returns {
    Any,
    Bool,
    Int,
    Double,
    Text,
    Bytes,
    Duration,
    Timestamp,
    Texts,
    Class,
    /// It follows from the types of the arguments.
    Of(fn(&[Type]) -> Type),
}

/// Who does what a function does.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Run {
    /// The standard library of `cel`.
    Cel,
    /// The parser writes something else in its place.
    Macro,
    /// This crate.
    Own(Native),
    /// The scope knows the answer.
    Status,
}

impl Takes {
    /// The type that it stands for in a message.
    pub(crate) fn ty(self) -> Type {
        match self {
            Self::Any | Self::Json => Type::Any,
            Self::Bool => Type::Bool,
            Self::Whole => Type::Int,
            Self::Number => Type::Number,
            Self::Text => Type::Text,
            Self::Bytes => Type::Bytes,
            Self::Duration => Type::Duration,
            Self::Timestamp => Type::Timestamp,
            Self::List => Type::list(Type::Any),
            Self::Texts => Type::list(Type::Text),
            Self::Map => Type::map(Type::Any),
            Self::Optional => Type::optional(Type::Any),
        }
    }

    /// Whether it takes values of a type that is no union; `None` when that depends on the value.
    pub(crate) fn takes(self, given: &Type) -> Option<bool> {
        if given.is_open() {
            return None;
        }
        Some(match self {
            Self::Any => true,
            Self::Json => !matches!(given, Type::Secret | Type::Class | Type::Optional(_)),
            Self::Bool => *given == Type::Bool,
            Self::Whole | Self::Number => given.is_number(),
            Self::Text => given.is_text(),
            Self::Bytes => *given == Type::Bytes,
            Self::Duration => *given == Type::Duration,
            Self::Timestamp => *given == Type::Timestamp,
            Self::List => matches!(given, Type::List(_)),
            Self::Texts => {
                let Type::List(item) = given else { return Some(false) };
                if item.is_open() {
                    return Some(true);
                }
                let texts = item.members().iter().filter(|member| member.is_text()).count();
                return if texts == 0 || texts == item.members().len() { Some(texts > 0) } else { None };
            }
            Self::Map => matches!(given, Type::Map(..) | Type::Object(_)),
            Self::Optional => matches!(given, Type::Optional(_)),
        })
    }
}

impl Returns {
    pub(crate) fn ty(self, arguments: &[Type]) -> Type {
        match self {
            Self::Any => Type::Any,
            Self::Bool => Type::Bool,
            Self::Int => Type::Int,
            Self::Double => Type::Double,
            Self::Text => Type::Text,
            Self::Bytes => Type::Bytes,
            Self::Duration => Type::Duration,
            Self::Timestamp => Type::Timestamp,
            Self::Texts => Type::list(Type::Text),
            Self::Class => Type::Class,
            Self::Of(result) => result(arguments),
        }
    }
}

/// All functions, by what they are for.
pub fn functions() -> impl Iterator<Item = &'static Function> {
    sections().into_iter().flat_map(|(_, functions)| functions)
}

/// The functions under the headings of the documentation.
fn sections() -> [(&'static str, &'static [Function]); 6] {
    [
        ("Texts", text::TEXTS),
        ("Values as text and back", data::CONVERSIONS),
        ("Lists and maps", macros::WALKS),
        ("What may be missing", macros::OPTIONALS),
        ("Times", time::TIMES),
        ("Versions, patterns, the run", data::OTHERS),
    ]
}

/// The function of that name, as it was called.
pub(crate) fn find(name: &str, is_method: bool) -> Option<&'static Function> {
    functions().find(|function| function.name == name && function.is_method == is_method)
}

/// A function that is called as `name(…)`.
const fn function(name: &'static str, signatures: &'static [Signature], run: Run) -> Function {
    Function { name, is_method: false, signatures, summary: "", example: "", gives: "", run }
}

/// A function that is called as `x.name(…)`.
const fn method(name: &'static str, signatures: &'static [Signature], run: Run) -> Function {
    Function { name, is_method: true, signatures, summary: "", example: "", gives: "", run }
}

const fn takes(parameters: &'static [(&'static str, Takes)], result: Returns) -> Signature {
    Signature { parameters, result }
}

impl Function {
    const fn says(self, summary: &'static str, example: &'static str, gives: &'static str) -> Self {
        Self { summary, example, gives, ..self }
    }
}
