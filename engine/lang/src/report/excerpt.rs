//! The lines of a text that are shown with a diagnostic.

use std::ops::Range;

use miette::{MietteError, MietteSpanContents, SourceCode, SourceSpan, SpanContents};
use yuanli_model::printable_line;

use crate::diagnostic::Diagnostic;

/// Longest part of a line that is shown, in characters: a terminal or two.
const MAX_COLUMNS: usize = 200;
/// Characters that are shown in front of a mistake in a longer line.
const COLUMNS_BEFORE: usize = 60;
/// Most lines of a mistake that are shown.
const MAX_LINES: usize = 12;

/// Some lines of a text, cleaned and cut, that know where they come from.
#[derive(Debug)]
pub(super) struct Excerpt<'a> {
    file: &'a str,
    lines: String,
    /// The diagnostic's span in `lines`.
    span: Range<usize>,
    /// The number of the first line, from 0.
    first_line: usize,
    /// The column of the diagnostic in the text, from 0; in `lines` it may be another one.
    column: usize,
}

impl<'a> Excerpt<'a> {
    /// The lines of the diagnostic's span, with one before and one after.
    pub(super) fn around(file: &'a str, text: &str, diagnostic: &Diagnostic, is_unicode: bool) -> Self {
        let begin = text.floor_char_boundary(diagnostic.span.offset);
        let end = text.floor_char_boundary(diagnostic.span.end()).max(begin);
        let own = begin_of_line(text, begin);
        let first = if own == 0 { 0 } else { begin_of_line(text, own - 1) };
        let mut excerpt = Self {
            file,
            lines: String::new(),
            span: 0..0,
            first_line: diagnostic.line.saturating_sub(if own == 0 { 1 } else { 2 }),
            column: diagnostic.column.saturating_sub(1),
        };
        let mut at = first;
        let mut is_last = false;
        for line in text[first..].split('\n').take(MAX_LINES + 2) {
            excerpt.push(line, begin.checked_sub(at), end.saturating_sub(at), is_unicode);
            at += line.len() + 1;
            if is_last {
                break;
            }
            is_last = end < at;
        }
        // The end of the last line begins no line of its own.
        excerpt.lines.pop();
        excerpt
    }

    /// Where the mistake lies in these lines.
    pub(super) fn label(&self) -> (usize, usize) {
        (self.span.start, self.span.len())
    }

    /// Adds a line. The span begins `begin` bytes after the line's begin, or before the line, and ends `end` bytes after
    /// it.
    fn push(&mut self, line: &str, begin: Option<usize>, end: usize, is_unicode: bool) {
        let has_begin = begin.is_some_and(|begin| begin <= line.len());
        let is_before = begin.is_some_and(|begin| begin > line.len());
        let shown = window(line, begin.filter(|_| has_begin).unwrap_or(0));
        let inside = |at: usize| at.clamp(shown.start, shown.end);
        let (from, to) = (inside(begin.unwrap_or(0)), inside(end));
        let ellipsis = if is_unicode { "…" } else { "..." };
        if shown.start > 0 {
            self.lines.push_str(ellipsis);
        }
        self.lines.push_str(&printable_line(&line[shown.start..from]));
        if has_begin {
            self.span.start = self.lines.len();
        }
        self.lines.push_str(&printable_line(&line[from..to]));
        if !is_before && (has_begin || end > 0) {
            self.span.end = self.lines.len();
        }
        self.lines.push_str(&printable_line(&line[to..shown.end]));
        if shown.end < line.len() {
            self.lines.push_str(ellipsis);
        }
        self.lines.push('\n');
    }
}

fn begin_of_line(text: &str, at: usize) -> usize {
    text[..at].rfind('\n').map_or(0, |end| end + 1)
}

/// The part of a line that is shown, in bytes: all of a short one, else what is around `at`.
fn window(line: &str, at: usize) -> Range<usize> {
    let after = |from: usize, count: usize| {
        line[from..].char_indices().nth(count).map_or(line.len(), |(length, _)| from + length)
    };
    if after(0, MAX_COLUMNS) == line.len() {
        return 0..line.len();
    }
    let is_near = after(0, MAX_COLUMNS - COLUMNS_BEFORE) > at;
    let back = line[..at].char_indices().rev().nth(COLUMNS_BEFORE - 1).map_or(0, |(begin, _)| begin);
    let start = if is_near { 0 } else { back };
    start..after(start, MAX_COLUMNS)
}

impl SourceCode for Excerpt<'_> {
    fn read_span<'b>(
        &'b self,
        span: &SourceSpan,
        lines_before: usize,
        lines_after: usize,
    ) -> Result<Box<dyn SpanContents<'b> + 'b>, MietteError> {
        let read = self.lines.read_span(span, lines_before, lines_after)?;
        // The column is for the place above the lines only, so it is the diagnostic's own.
        Ok(Box::new(MietteSpanContents::new_named(
            self.file.to_owned(),
            read.data(),
            *read.span(),
            self.first_line + read.line(),
            self.column,
            read.line_count(),
        )))
    }
}
