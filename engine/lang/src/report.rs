//! Diagnostics for the terminal: each with the lines of the text that it is about.
//!
//! The text is a stranger's: what is shown of it goes through [`printable`], and of a long line only the part around the
//! mistake is shown.

mod excerpt;

use std::borrow::Cow;
use std::fmt;

use miette::{GraphicalReportHandler, GraphicalTheme, LabeledSpan, SourceCode};
use yuanli_model::{printable, printable_line};

use crate::diagnostic::{Code, Diagnostic, Severity};
use excerpt::Excerpt;

/// Most diagnostics of one text that are drawn: nobody reads on, and the first ones explain the others.
const MAX_DRAWN: usize = 50;

/// Longest message that is drawn, in characters: it may repeat what is in the text, however long that is.
const MAX_MESSAGE: usize = 1000;

/// How diagnostics are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RenderOptions {
    /// Whether to use ANSI colours.
    pub color: bool,
    /// Whether to draw with more than ASCII.
    pub unicode: bool,
    /// The width of the terminal, in columns.
    pub width: usize,
}

/// The diagnostics of a text, each with its excerpt, with a blank line between them; of very many the first ones.
#[must_use]
pub fn render(file: &str, text: &str, diagnostics: &[Diagnostic], options: RenderOptions) -> String {
    let handler = GraphicalReportHandler::new_themed(theme(options))
        .with_width(options.width)
        .with_links(false)
        .with_context_lines(1)
        .with_primary_span_start()
        .without_syntax_highlighting();
    let file = printable_line(file);
    let (drawn, hidden) = diagnostics.split_at(diagnostics.len().min(MAX_DRAWN));
    let mut parts: Vec<String> = drawn
        .iter()
        .map(|diagnostic| {
            let excerpt = Excerpt::around(&file, text, diagnostic, options.unicode);
            let report = Report::new(diagnostic, &excerpt);
            let mut drawn = String::new();
            match handler.render_report(&mut drawn, &report) {
                Ok(()) => tidy(&drawn),
                // An excerpt that cannot be drawn must not hide the mistake.
                Err(fmt::Error) => plain(&file, diagnostic),
            }
        })
        .collect();
    if !hidden.is_empty() {
        parts.push(hidden_in_words(hidden));
    }
    parts.join("\n")
}

/// How many diagnostics are not drawn. [`Code::More`] is none: it says that others were not even kept.
fn hidden_in_words(hidden: &[Diagnostic]) -> String {
    let count = hidden.iter().filter(|diagnostic| diagnostic.code != Code::More).count();
    let has_more = count < hidden.len();
    format!("and {}{count} more\n", if has_more { "over " } else { "" })
}

fn theme(options: RenderOptions) -> GraphicalTheme {
    match (options.unicode, options.color) {
        (true, true) => GraphicalTheme::unicode(),
        (true, false) => GraphicalTheme::unicode_nocolor(),
        (false, true) => GraphicalTheme::ascii(),
        (false, false) => GraphicalTheme::none(),
    }
}

/// Without blanks at the ends of lines, which terminals do not show and files keep.
fn tidy(drawn: &str) -> String {
    drawn.trim_matches('\n').lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}

fn plain(file: &str, diagnostic: &Diagnostic) -> String {
    let Diagnostic { code, line, column, .. } = diagnostic;
    let message = printable_line(short(&diagnostic.message));
    let help = diagnostic.help.as_deref().map(|help| format!("  help: {}\n", printable(short(help))));
    format!("{file}:{line}:{column}: {code}: {message}\n{}", help.unwrap_or_default())
}

/// The beginning of a long message.
fn short(message: &str) -> &str {
    message.char_indices().nth(MAX_MESSAGE).map_or(message, |(end, _)| &message[..end])
}

/// A diagnostic as miette wants it.
struct Report<'a> {
    diagnostic: &'a Diagnostic,
    excerpt: &'a Excerpt<'a>,
    message: Cow<'a, str>,
    help: Option<Cow<'a, str>>,
}

impl<'a> Report<'a> {
    fn new(diagnostic: &'a Diagnostic, excerpt: &'a Excerpt<'a>) -> Self {
        let message = printable_line(short(&diagnostic.message));
        let help = diagnostic.help.as_deref().map(|help| printable(short(help)));
        Self { diagnostic, excerpt, message, help }
    }
}

impl fmt::Debug for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.diagnostic, f)
    }
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Report<'_> {}

impl miette::Diagnostic for Report<'_> {
    fn code(&self) -> Option<Box<dyn fmt::Display + '_>> {
        Some(Box::new(self.diagnostic.code))
    }

    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.diagnostic.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
        })
    }

    fn help(&self) -> Option<Box<dyn fmt::Display + '_>> {
        self.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(self.excerpt)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let label = LabeledSpan::new_primary_with_span(None, self.excerpt.label());
        Some(Box::new(std::iter::once(label)))
    }
}
