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

    /// How many levels of maps and lists there are, 0 for a scalar. [`crate::yaml`] bounds it.
    pub(crate) fn depth(&self) -> usize {
        match &self.kind {
            Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Text(_) => 0,
            Kind::List(items) => 1 + items.iter().map(Self::depth).max().unwrap_or(0),
            Kind::Map(entries) => 1 + entries.iter().map(|entry| entry.value.depth()).max().unwrap_or(0),
        }
    }

    /// The value itself when it is short, for a person; else what it is.
    pub(crate) fn shown(&self) -> String {
        const SHORT: usize = 40;
        match &self.kind {
            Kind::Text(text) if !text.is_empty() && text.chars().count() <= SHORT => format!("`{text}`"),
            Kind::Number(number) => format!("`{number}`"),
            Kind::Bool(flag) => format!("`{flag}`"),
            _ => self.what().to_owned(),
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
