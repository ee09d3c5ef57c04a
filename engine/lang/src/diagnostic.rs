//! A mistake in a text: what, where, and how to mend it.

use std::fmt;

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

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal,)*) => {
        /// The kind of a mistake. A number is never given to another kind.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $($(#[$doc])* $name = $number,)*
        }

        impl Code {
            /// All of them, by number.
            pub const ALL: &[Self] = &[$(Self::$name,)*];
        }
    };
}

codes! {
    /// The text is no YAML.
    Syntax = 1,
    /// The text is too large, too deep, or grows too large through its aliases.
    TooLarge = 2,
    /// A value of another kind is needed here: a map, a list, a text.
    WrongKind = 3,
    /// A key that must be there is missing.
    MissingKey = 4,
    /// The language has no such key.
    UnknownKey = 5,
    /// The key belongs to the coming language.
    ComingKey = 6,
    /// A map has a key twice.
    DuplicateKey = 7,
    /// A name is not made of the allowed letters.
    InvalidName = 8,
    /// A duration cannot be read.
    InvalidDuration = 9,
    /// The type of an input is none.
    InvalidInputType = 10,
    /// The default of an input is not of its type.
    WrongDefault = 11,
    /// There is no stage.
    NoStages = 12,
    /// A stage needs one that does not exist.
    UnknownNeed = 13,
    /// Stages need each other in a circle.
    Cycle = 14,
    /// There is no such plugin, or it cannot be used.
    UnknownPlugin = 15,
    /// A plugin imports a right that it was not granted.
    NotGranted = 16,
    /// There is no such right.
    UnknownCapability = 17,
    /// A right is granted that the plugin does not ask for.
    NeedlessGrant = 18,
    /// The text between `${{` and `}}` is no expression, or too large a one.
    ExpressionSyntax = 19,
    /// An expression uses a variable that does not exist.
    UnknownVariable = 20,
    /// An expression uses an input that is not declared.
    UnknownInput = 21,
    /// An expression uses a stage that does not exist.
    UnknownStage = 22,
    /// An expression uses the outputs of a stage that may not have run by then.
    NotNeeded = 23,
    /// An expression uses an output that the plugin does not have.
    UnknownOutput = 24,
    /// A value in `with` is not what the plugin takes.
    WrongConfig = 25,
    /// There are too many stages.
    TooManyStages = 26,
    /// The plugin's own description is broken.
    BrokenPlugin = 27,
    /// There are more mistakes than are shown.
    More = 28,
    /// An expression calls a function that does not exist.
    UnknownFunction = 29,
    /// A cron expression cannot be read, or never comes.
    InvalidSchedule = 30,
    /// There is no such time zone.
    UnknownTimezone = 31,
    /// A trigger leaves an input without a value.
    InputNotGiven = 32,
    /// A trigger gives an input a value that is not of its type.
    WrongInput = 33,
    /// A text is no name of an image.
    InvalidImage = 34,
    /// A number is not in the range that it must be in.
    WrongNumber = 35,
    /// An amount of processors or memory cannot be read, or cannot be had.
    InvalidAmount = 36,
    /// A path cannot be one: of a container, of a request.
    InvalidPath = 37,
    /// A route cannot be one.
    InvalidRoute = 38,
    /// There is no such mode of a volume.
    UnknownMode = 39,
    /// Two parts of a document cannot both be.
    Contradiction = 40,
    /// A part of a document does nothing.
    Idle = 41,
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("WF{:03}", *self as u16))
    }
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
}

impl<'a> Diagnostics<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { text, lines, found: Vec::new(), more: 0, has_errors: false }
    }

    /// The text that they are about.
    pub(crate) fn text(&self) -> &'a str {
        self.text
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
