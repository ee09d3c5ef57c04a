//! What is wrong with an expression, in words for the person who wrote it.

use std::fmt;
use std::ops::Range;

/// Longest part of a foreign message or a value that is repeated in an error, in characters: an error must stay
/// readable, and a list of a thousand items is not.
const MAX_QUOTED: usize = 160;

/// What kind of mistake it is; the caller decides by this, never by the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The text is no expression.
    Syntax,
    /// The expression is too long, too deep, or would take too long.
    Limit,
    /// It names something that does not exist.
    Unknown,
    /// An operator or a function got values that it does not take.
    Type,
    /// The values were of the right types, and still there is no result: a division by zero, an index past the end.
    Value,
    /// There is a result that cannot be used: it has no form in JSON, or cannot stand inside a text.
    Result,
    /// The evaluator itself failed.
    Internal,
}

/// Why an expression has no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// What kind of mistake it is.
    pub kind: Kind,
    /// What is wrong, one line.
    pub message: String,
    /// How to mend it, if that is known.
    pub help: Option<String>,
    /// Where in the text that was parsed, in bytes, if that is known.
    pub at: Option<Range<usize>>,
    /// The expression it happened in; `None` when it is the text around expressions that is wrong.
    pub expression: Option<String>,
}

impl Error {
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), help: None, at: None, expression: None }
    }

    pub(crate) fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    pub(crate) fn at(mut self, range: Range<usize>) -> Self {
        self.at = Some(range);
        self
    }

    /// Names the expression, unless one further in was named already.
    pub(crate) fn within(mut self, source: &str) -> Self {
        self.expression.get_or_insert_with(|| shorten(source));
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if let Some(expression) = &self.expression {
            write!(f, ", in `{expression}`")?;
        }
        if let Some(help) = &self.help {
            write!(f, "; {help}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

/// `text` on one line and of bounded length.
pub(crate) fn shorten(text: &str) -> String {
    let mut words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((end, _)) = words.char_indices().nth(MAX_QUOTED) {
        words.truncate(end);
        words.push('…');
    }
    words
}
