//! A parsed expression.

use cel::IdedExpr;
use cel::common::ast::SourceInfo;
use cel::parser::ParseErrors;

use crate::error::{Error, Kind, shorten};
use crate::function::UnknownFunction;
use crate::limit;
use crate::plain;
use crate::reference::{self, Reference};
use crate::rewrite::{self, ENV};

/// A parsed expression: its syntax and its limits are checked, its names are not.
pub struct Program {
    source: String,
    operators: usize,
    /// `None` only while it is dropped.
    root: Option<IdedExpr>,
    references: Vec<Reference>,
    unknown_functions: Vec<UnknownFunction>,
    asks_for_status: bool,
    positions: SourceInfo,
}

/// Parses an expression, the text between `${{` and `}}`.
///
/// # Errors
/// See [`Kind::Syntax`] and [`Kind::Limit`]; the place is given where it is known.
pub fn parse(source: &str) -> Result<Program, Error> {
    let operators = limit::check(source).map_err(|error| error.within(source))?;
    limit::with_stack(operators, || {
        let (mut root, positions) = match plain::read(source) {
            Some(path) => path,
            None => tree(source)?,
        };
        let depth = reference::comprehension_depth(&root);
        if depth > limit::MAX_COMPREHENSIONS {
            return Err(Error::new(
                Kind::Limit,
                format!(
                    "{depth} comprehensions stand inside each other, the most is {}",
                    limit::MAX_COMPREHENSIONS
                ),
            )
            .with_help("do one part in a stage of its own, and use its outputs"));
        }
        let (references, unknown_functions) = reference::collect(&root, &positions, source);
        let asks_for_status = rewrite::rewrite(&mut root);
        let (source, root) = (source.to_owned(), Some(root));
        Ok(Program { source, operators, root, references, unknown_functions, asks_for_status, positions })
    })
    .map_err(|error| error.within(source))
}

/// The tree that the parser makes of a text, and where its tokens lie.
fn tree(source: &str) -> Result<(IdedExpr, SourceInfo), Error> {
    let parser = ENV.parser().max_recursion_depth(u16::MAX);
    parser.parse_with_source_info(source).map_err(|errors| in_our_words(&errors, source))
}

impl Program {
    /// The text it was parsed from.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The static paths that it reads, in the order of the source. Names bound by comprehensions are not among them.
    #[must_use]
    pub fn references(&self) -> &[Reference] {
        &self.references
    }

    /// The calls of functions that do not exist; it has no value as long as there are some.
    #[must_use]
    pub fn unknown_functions(&self) -> &[UnknownFunction] {
        &self.unknown_functions
    }

    pub(crate) fn operators(&self) -> usize {
        self.operators
    }

    pub(crate) fn root(&self) -> Option<&IdedExpr> {
        self.root.as_ref()
    }

    /// Whether it calls `always()`, `success()`, `failure()` or `cancelled()`; a condition that does not holds only
    /// where `success()` does.
    #[must_use]
    pub fn asks_for_status(&self) -> bool {
        self.asks_for_status
    }

    /// Where the tokens of its nodes lie.
    pub(crate) fn positions(&self) -> &SourceInfo {
        &self.positions
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Dropping a tree recurses as deep as the tree is.
        let root = self.root.take();
        let _ = limit::with_stack(self.operators, move || {
            drop(root);
            Ok(())
        });
    }
}

impl std::fmt::Debug for Program {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Program").field("source", &self.source).finish_non_exhaustive()
    }
}

/// How messages of the grammar begin.
const GRAMMAR: &str = "Syntax error: ";

/// The first mistake that the parser found; those after it are mostly echoes of it.
fn in_our_words(errors: &ParseErrors, source: &str) -> Error {
    // What the grammar says comes before what the tree builder makes of the half-read rest.
    let by_grammar = errors.errors.iter().find(|error| error.msg.starts_with(GRAMMAR));
    let Some(first) = by_grammar.or(errors.errors.first()) else {
        return Error::new(Kind::Syntax, "this is no expression");
    };
    let said = first.msg.trim_start_matches(GRAMMAR);
    let quoted = said.split('\'').nth(1).unwrap_or_default().to_owned();
    let at = offset(source, first.pos);
    let message = if said.contains("'<EOF>'") && !said.starts_with("extraneous") {
        "the expression ends where something is missing".to_owned()
    } else if said.starts_with("token recognition error") {
        let quoted = said.split_once('\'').map_or(quoted.as_str(), |(_, rest)| rest.trim_end_matches('\''));
        if quoted.starts_with(['"', '\'']) {
            "a string has no closing quote".to_owned()
        } else {
            format!("`{}` means nothing in an expression", shorten(quoted))
        }
    } else if said.starts_with("extraneous input") || said.starts_with("mismatched input") {
        format!("`{quoted}` was not expected here")
    } else if said.starts_with("no viable alternative") {
        format!(
            "the expression cannot be read from `{}` on",
            source[at.min(source.len())..].chars().take(12).collect::<String>()
        )
    } else if let Some(word) = said.strip_prefix("reserved identifier: ") {
        format!("`{word}` is a reserved word of the expression language")
    } else {
        shorten(said)
    };
    let length = source[at..].chars().next().map_or(0, char::len_utf8);
    Error::new(Kind::Syntax, message).at(at..at + length)
}

/// The byte at the parser's line and column, both from 1, the column in characters.
fn offset(source: &str, (line, column): (isize, isize)) -> usize {
    let (Ok(line), Ok(column)) = (usize::try_from(line - 1), usize::try_from(column - 1)) else { return 0 };
    let begin: usize = source.split_inclusive('\n').take(line).map(str::len).sum();
    source[begin..].char_indices().nth(column).map_or(source.len(), |(at, _)| begin + at)
}
