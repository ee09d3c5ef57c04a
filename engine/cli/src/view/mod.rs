//! How a run is shown while it lasts: on a terminal, as plain lines, as JSON.

mod json;
mod plain;
mod terminal;
mod words;

use std::io::{self, IsTerminal};
use std::os::fd::AsFd;

use chrono::DateTime;
use yuanli_api_types::{LogLine, Update};

pub(crate) use plain::plain_line;
pub(crate) use terminal::Beside;
pub(crate) use words::Labels;

use crate::output;

/// Shows updates of one run as they come.
pub(crate) trait View {
    /// Shows one.
    fn show(&mut self, update: &Update) -> anyhow::Result<()>;

    /// Says something that is not part of the run.
    fn notice(&mut self, text: &str);

    /// Gives the terminal back. May be called more than once.
    fn close(&mut self) {}
}

/// A view that may be lost: who looks away from a run, or closes the terminal, does not end it.
pub(crate) struct Screen(Option<Box<dyn View + Send>>);

impl Screen {
    pub(crate) fn new(view: Box<dyn View + Send>) -> Self {
        Self(Some(view))
    }

    /// Shows one update; loses the view when that cannot be written.
    pub(crate) fn show(&mut self, update: &Update) {
        let Some(view) = &mut self.0 else { return };
        let Err(error) = view.show(update) else { return };
        self.close();
        self.0 = None;
        if !error.is::<output::Closed>() {
            output::note(format_args!("the run goes on without being shown: {error:#}"));
        }
    }

    /// Says something that is not part of the run.
    pub(crate) fn notice(&mut self, text: &str) {
        match &mut self.0 {
            Some(view) => view.notice(text),
            None => output::note(text),
        }
    }

    /// Gives the terminal back. May be called more than once.
    pub(crate) fn close(&mut self) {
        if let Some(view) = &mut self.0 {
            view.close();
        }
    }
}

/// The view that fits where the output goes.
pub(crate) fn choose(is_json: bool, is_verbose: bool) -> Box<dyn View + Send> {
    if is_json {
        Box::new(json::Json)
    } else if io::stderr().is_terminal() {
        Box::new(terminal::Terminal::new(is_verbose, has_color()))
    } else {
        Box::new(plain::Plain::default())
    }
}

/// Whether standard error takes colours: a terminal, and nobody said no.
pub(crate) fn has_color() -> bool {
    let is_refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let is_dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
    io::stderr().is_terminal() && !is_refused && !is_dumb
}

/// Width used where there is no terminal to ask.
const DEFAULT_WIDTH: usize = 100;
/// Narrower than this, excerpts cannot be read anyway.
const MIN_WIDTH: usize = 40;

/// The width of standard error, in columns.
pub(crate) fn width() -> usize {
    width_of(io::stderr())
}

/// The width of a stream, in columns. Some terminals do not know theirs.
pub(crate) fn width_of(stream: impl AsFd) -> usize {
    terminal_size::terminal_size_of(stream)
        .map_or(DEFAULT_WIDTH, |(columns, _)| usize::from(columns.0).max(MIN_WIDTH))
}

/// Milliseconds between two times of updates.
fn millis_between(earlier: &str, later: &str) -> u64 {
    let parse = |text| DateTime::parse_from_rfc3339(text).map(|time| time.timestamp_millis());
    match (parse(earlier), parse(later)) {
        (Ok(earlier), Ok(later)) => u64::try_from(later - earlier).unwrap_or(0),
        _ => 0,
    }
}

/// Whether a line was written by the plugin or the engine, not by a container or a build.
fn is_own_words(line: &LogLine) -> bool {
    matches!(line.stream.as_str(), "plugin" | "engine")
}
