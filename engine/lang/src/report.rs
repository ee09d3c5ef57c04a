//! Diagnostics for the terminal: each with the lines of the text that it is about.

use std::fmt;

use miette::{GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, SourceCode};

use crate::diagnostic::{Diagnostic, Severity};

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

/// The diagnostics of a text, each with its excerpt, with a blank line between them.
#[must_use]
pub fn render(file: &str, text: &str, diagnostics: &[Diagnostic], options: RenderOptions) -> String {
    let handler = GraphicalReportHandler::new_themed(theme(options))
        .with_width(options.width)
        .with_links(false)
        .with_context_lines(1)
        .with_primary_span_start()
        .without_syntax_highlighting();
    let source = NamedSource::new(file, text.to_owned());
    let reports = diagnostics.iter().map(|diagnostic| {
        let mut drawn = String::new();
        let report = Report { diagnostic, source: &source };
        match handler.render_report(&mut drawn, &report) {
            Ok(()) => tidy(&drawn),
            // An excerpt that cannot be drawn must not hide the mistake.
            Err(fmt::Error) => plain(file, diagnostic),
        }
    });
    reports.collect::<Vec<_>>().join("\n")
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
    let Diagnostic { code, message, line, column, help, .. } = diagnostic;
    let help = help.as_ref().map(|help| format!("  help: {help}\n")).unwrap_or_default();
    format!("{file}:{line}:{column}: {code}: {message}\n{help}")
}

/// A diagnostic as miette wants it.
struct Report<'a> {
    diagnostic: &'a Diagnostic,
    source: &'a NamedSource<String>,
}

impl fmt::Debug for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.diagnostic, f)
    }
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.diagnostic.message)
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
        self.diagnostic.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(self.source)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let span = self.diagnostic.span;
        Some(Box::new(std::iter::once(LabeledSpan::new_primary_with_span(None, (span.offset, span.length)))))
    }
}
