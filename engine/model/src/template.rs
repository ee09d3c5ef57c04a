//! A JSON value in which texts may hold `${{ expressions }}`.

use indexmap::IndexMap;
use serde_json::Number;

/// The source text of one expression, without `${{` and `}}`, trimmed. Syntax and limits were checked by `expr`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Expression(String);

impl Expression {
    /// An expression from text that `expr::parse` accepted.
    #[must_use]
    pub fn new(source: impl Into<String>) -> Self {
        Self(source.into())
    }

    /// The CEL source text.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.0
    }
}

/// A part of a text with expressions in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    /// Stands as it is.
    Text(String),
    /// Is evaluated and put in as text.
    Expression(Expression),
}

/// A JSON value with expressions in it, as `with:` of a stage holds it.
#[derive(Debug, Clone, PartialEq)]
pub enum Template {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number.
    Number(Number),
    /// A text without expressions.
    Text(String),
    /// A whole value that is one expression; the result keeps its type.
    Expression(Expression),
    /// A text with at least one expression among other parts.
    Mixed(Vec<Segment>),
    /// A list.
    List(Vec<Template>),
    /// A map, in the order of the document.
    Map(IndexMap<String, Template>),
}

impl Template {
    /// Calls `visit` for each expression in it, in the order of the document.
    pub fn for_each_expression<'a>(&'a self, visit: &mut impl FnMut(&'a Expression)) {
        match self {
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::Text(_) => {}
            Self::Expression(expression) => visit(expression),
            Self::Mixed(segments) => {
                for segment in segments {
                    if let Segment::Expression(expression) = segment {
                        visit(expression);
                    }
                }
            }
            Self::List(items) => items.iter().for_each(|item| item.for_each_expression(visit)),
            Self::Map(entries) => entries.values().for_each(|value| value.for_each_expression(visit)),
        }
    }
}
