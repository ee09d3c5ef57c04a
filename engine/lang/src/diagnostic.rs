//! A mistake in a text: what, where, and how to mend it.

use std::collections::HashSet;
use std::ops::Range;

pub use crate::code::Code;

/// Most diagnostics of one text. A file with more has one mistake many times, and nobody reads on.
pub const MAX_DIAGNOSTICS: usize = 200;

/// A part of a text, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Span {
    /// Where it begins.
    pub offset: usize,
    /// How long it is; 0 for a place between characters.
    pub length: usize,
}

impl Span {
    pub(crate) fn end(self) -> usize {
        self.offset + self.length
    }
}

/// Whether a workflow with it can run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Severity {
    /// It cannot.
    Error,
    /// It can, but its author should know.
    Warning,
}

/// A mistake in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// What kind of mistake.
    pub code: Code,
    /// Whether the workflow can run all the same.
    pub severity: Severity,
    /// What is wrong, one line in the author's words.
    pub message: String,
    /// Where in the text.
    pub span: Span,
    /// The line that the span begins in, from 1.
    pub line: usize,
    /// The character of that line that the span begins at, from 1.
    pub column: usize,
    /// How to mend it, when that is known.
    pub help: Option<String>,
}

/// Collects the diagnostics of one text.
#[derive(Debug)]
pub(crate) struct Diagnostics<'a> {
    text: &'a str,
    /// Where each line begins.
    lines: Vec<usize>,
    found: Vec<Diagnostic>,
    /// How many were not kept.
    more: usize,
    has_errors: bool,
    hints: Vec<(Code, Span, String, Option<String>)>,
    /// The part of the text that is read once for each of its uses.
    shared: Range<usize>,
}

impl<'a> Diagnostics<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { text, lines, found: Vec::new(), more: 0, has_errors: false, hints: Vec::new(), shared: 0..0 }
    }

    /// The text that they are about.
    pub(crate) fn text(&self) -> &'a str {
        self.text
    }

    /// Says which part of the text is read once for each of its uses: a mistake there is told once, by its place,
    /// whatever the words that name the use.
    pub(crate) fn share(&mut self, part: Range<usize>) {
        self.shared = part;
    }

    /// Whether the workflow cannot be run.
    pub(crate) fn has_errors(&self) -> bool {
        self.has_errors
    }

    pub(crate) fn error(&mut self, code: Code, span: Span, message: impl Into<String>) {
        self.add(code, Severity::Error, span, message.into(), || None);
    }

    /// An error with help; `help` is not asked when there are too many already, so it may search.
    pub(crate) fn error_with(
        &mut self,
        code: Code,
        span: Span,
        message: impl Into<String>,
        help: impl FnOnce() -> Option<String>,
    ) {
        self.add(code, Severity::Error, span, message.into(), help);
    }

    pub(crate) fn warning(
        &mut self,
        code: Code,
        span: Span,
        message: impl Into<String>,
        help: Option<String>,
    ) {
        self.add(code, Severity::Warning, span, message.into(), || help);
    }

    /// A warning about good style, which is told only when there is no error: whoever is in the middle of writing has
    /// other cares, and what is not used may be used by what could not be read.
    pub(crate) fn hint(&mut self, code: Code, span: Span, message: impl Into<String>, help: Option<String>) {
        self.hints.push((code, span, message.into(), help));
    }

    fn add(
        &mut self,
        code: Code,
        severity: Severity,
        span: Span,
        message: String,
        help: impl FnOnce() -> Option<String>,
    ) {
        self.has_errors |= severity == Severity::Error;
        if self.found.len() >= MAX_DIAGNOSTICS {
            self.more += 1;
            return;
        }
        let span = self.clamp(span);
        let (line, column) = self.position(span.offset);
        self.found.push(Diagnostic { code, severity, message, span, line, column, help: help() });
    }

    /// All, in the order of the text.
    pub(crate) fn finish(mut self) -> Vec<Diagnostic> {
        if !self.has_errors {
            for (code, span, message, help) in std::mem::take(&mut self.hints) {
                self.warning(code, span, message, help);
            }
        }
        if self.more > 0 {
            let message = format!("{} more mistakes are not shown", self.more);
            let span = self.clamp(Span { offset: self.text.len(), length: 0 });
            let (line, column) = self.position(span.offset);
            let (code, severity) = (Code::More, Severity::Warning);
            self.found.push(Diagnostic { code, severity, message, span, line, column, help: None });
        }
        let place = |found: &Diagnostic| (found.span.offset, found.code);
        self.found.sort_by(|a, b| place(a).cmp(&place(b)).then_with(|| a.message.cmp(&b.message)));
        // What an alias repeats is wrong once: where it is defined.
        self.found.dedup();
        let mut seen = HashSet::new();
        let shared = self.shared;
        self.found
            .retain(|found| !shared.contains(&found.span.offset) || seen.insert((found.code, found.span)));
        self.found
    }

    /// `span` inside the text and between characters, whatever a foreign parser made of it.
    fn clamp(&self, span: Span) -> Span {
        let inside = |at: usize| {
            let at = at.min(self.text.len());
            (0..=at).rev().find(|at| self.text.is_char_boundary(*at)).unwrap_or(0)
        };
        let (begin, end) = (inside(span.offset), inside(span.end()));
        Span { offset: begin, length: end.saturating_sub(begin) }
    }

    /// The line that `span` begins in, from 1.
    pub(crate) fn line(&self, span: Span) -> usize {
        self.lines.partition_point(|begin| *begin <= span.offset)
    }

    /// The byte at a line and a character, both from 1.
    pub(crate) fn offset(&self, line: usize, column: usize) -> usize {
        let begin =
            line.checked_sub(1).and_then(|line| self.lines.get(line)).copied().unwrap_or(self.text.len());
        let rest = &self.text[begin..];
        rest.char_indices().nth(column.saturating_sub(1)).map_or(self.text.len(), |(at, _)| begin + at)
    }

    fn position(&self, offset: usize) -> (usize, usize) {
        let line = self.lines.partition_point(|begin| *begin <= offset);
        let begin = self.lines[line.saturating_sub(1)];
        (line, self.text[begin..offset].chars().count() + 1)
    }
}
