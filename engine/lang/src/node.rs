//! A YAML document as a tree in which every key and value knows where it stands.

use serde_json::Number;

use crate::diagnostic::Span;

/// A value and its place.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    /// Where it stands; for a map or a list in block form the place where it begins.
    pub(crate) span: Span,
    pub(crate) kind: Kind,
}

/// What a value is.
#[derive(Debug, Clone)]
pub(crate) enum Kind {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key with its value.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_span: Span,
    pub(crate) value: Node,
}

impl Entry {
    /// Where to point for the value as a whole: at the value when it is on one line, at the key when it is a block.
    pub(crate) fn value_span(&self) -> Span {
        match self.value.kind {
            Kind::Map(_) | Kind::List(_) | Kind::Null => self.key_span,
            Kind::Bool(_) | Kind::Number(_) | Kind::Text(_) => self.value.span,
        }
    }
}

impl Node {
    /// Where to point for an item of a list: a map among them has no key, so its first key stands for it.
    pub(crate) fn place(&self) -> Span {
        match &self.kind {
            Kind::Map(entries) => entries.first().map_or(self.span, |entry| entry.key_span),
            _ => self.span,
        }
    }

    /// What it is, for a person.
    pub(crate) fn what(&self) -> &'static str {
        match self.kind {
            Kind::Null => "nothing",
            Kind::Bool(_) => "a boolean",
            Kind::Number(_) => "a number",
            Kind::Text(_) => "a text",
            Kind::List(_) => "a list",
            Kind::Map(_) => "a map",
        }
    }
}
