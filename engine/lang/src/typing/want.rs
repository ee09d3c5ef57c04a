//! What the places of a document need of the expressions that stand there.

use yuanli_expr::{Fit, Type};

/// What a place needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Want {
    /// `if`: true or false.
    Condition,
    /// A list, under this key; or, inside a literal list, an item.
    List(&'static str),
    /// A text that is called this.
    Text(&'static str),
    /// A whole number that is called this.
    Whole(&'static str),
    /// An environment variable: a text, or the handle of a secret.
    Variable,
    /// What the config of a stage takes there.
    Config(usize),
    /// What an input of the workflow takes.
    Inputs,
    /// Any value.
    Value,
}

/// What is wanted where one expression stands.
pub(super) enum Wanted {
    One(Type),
    Either(Type, Type),
}

impl Wanted {
    pub(super) fn fit(&self, given: &Type) -> Fit {
        match self {
            Self::One(wanted) => wanted.accepts(given),
            Self::Either(usual, other) => match other.accepts(given) {
                Fit::No(_) => usual.accepts(given),
                fit => fit,
            },
        }
    }
}

impl Want {
    /// What is wanted, where that does not depend on the document.
    pub(super) fn fixed(&self, pointer: &str) -> Wanted {
        match self {
            Self::Condition => Wanted::One(Type::Bool),
            Self::List(_) if pointer.is_empty() => Wanted::One(Type::list(Type::Any)),
            Self::Text(_) => Wanted::One(Type::Text),
            Self::Whole(_) => Wanted::One(Type::Int),
            Self::Variable => Wanted::Either(Type::Text, Type::Secret),
            Self::List(_) | Self::Value | Self::Config(_) | Self::Inputs => Wanted::One(Type::Any),
        }
    }

    /// What the value is for, for a person.
    pub(super) fn subject(&self) -> Option<&'static str> {
        match self {
            Self::Condition => Some("`if`"),
            Self::List(place) => Some(place),
            Self::Text(what) | Self::Whole(what) => Some(what),
            Self::Variable => Some("a variable"),
            Self::Config(_) | Self::Inputs | Self::Value => None,
        }
    }

    /// How to mend a value that does not fit.
    pub(super) fn help(&self, given: &Type) -> Option<String> {
        let wants_text = matches!(self, Self::Text(_) | Self::Variable);
        match given {
            Type::Bool | Type::Int | Type::Double | Type::Number if wants_text => {
                Some("make it a text with `string(…)`".to_owned())
            }
            Type::Bool if matches!(self, Self::Whole(_)) => {
                Some("choose a number by it, such as `… ? 10 : 0`".to_owned())
            }
            Type::Text | Type::Choice(_) | Type::Double | Type::Number if matches!(self, Self::Whole(_)) => {
                Some("make it a whole number with `int(…)`".to_owned())
            }
            Type::Int | Type::Double | Type::Number if *self == Self::Condition => {
                Some("compare it, such as `… > 0`".to_owned())
            }
            Type::Text | Type::Choice(_) if *self == Self::Condition => {
                Some("compare it, such as `… == 'yes'`".to_owned())
            }
            Type::Text | Type::Choice(_) if matches!(self, Self::List(_)) => {
                Some("make it a list, such as `[…]` or `….split(',')`".to_owned())
            }
            _ => None,
        }
    }
}
