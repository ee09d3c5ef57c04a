//! Updates on a terminal: a line that stays for each stage that ended, a moving one for each that runs.
//!
//! What plugins say stays; what containers and builds write passes by in the moving line, and stays when the stage
//! fails (its last lines) or with `--verbose`.

use std::collections::{HashMap, VecDeque};
use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use yuanli_api_types::{Event, EventKind, Failure, LogLine, RunStatus, StageStatus, Update};
use yuanli_server::printable_line;

use super::words::{self, Labels, sequel};
use super::{View, is_own_words, millis_between};
use crate::output;

/// Lines of a failed stage's output that are shown again.
const LAST_LINES: usize = 20;
/// How often moving lines move.
const TICK: Duration = Duration::from_millis(100);

/// The moving lines of this process, while there are some: whoever else writes to the terminal has to go around them.
static LINES: Mutex<Option<MultiProgress>> = Mutex::new(None);

/// Standard error, above the moving lines.
pub(crate) struct Beside;

impl Write for Beside {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let write = || io::stderr().write_all(bytes).map(|()| bytes.len());
        let lines = LINES.lock().unwrap_or_else(PoisonError::into_inner).clone();
        lines.map_or_else(write, |lines| lines.suspend(write))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

pub(crate) struct Terminal {
    bars: MultiProgress,
    running: HashMap<String, Running>,
    is_verbose: bool,
    has_color: bool,
    name_width: usize,
    run: String,
    began: String,
    labels: Labels,
}

struct Running {
    bar: ProgressBar,
    started: String,
    last_lines: VecDeque<String>,
}

#[derive(Clone, Copy)]
enum Color {
    Red = 31,
    Green = 32,
    Yellow = 33,
    Dim = 2,
}

impl Terminal {
    pub(crate) fn new(is_verbose: bool, has_color: bool) -> Self {
        let bars = MultiProgress::new();
        *LINES.lock().unwrap_or_else(PoisonError::into_inner) = Some(bars.clone());
        Self {
            bars,
            running: HashMap::new(),
            is_verbose,
            has_color,
            name_width: 0,
            run: String::new(),
            began: String::new(),
            labels: Labels::default(),
        }
    }

    fn paint(&self, color: Color, text: &str) -> String {
        if self.has_color { format!("\x1b[{}m{text}\x1b[0m", color as u8) } else { text.to_owned() }
    }

    fn print(&self, text: &str) -> anyhow::Result<()> {
        self.bars.println(text)?;
        Ok(())
    }

    fn log(&mut self, line: &LogLine) -> anyhow::Result<()> {
        let text = printable(&line.text);
        let is_kept = is_own_words(line) || self.is_verbose;
        if let Some(running) = self.running.get_mut(&self.labels.of_line(line)) {
            running.bar.set_message(text.clone());
            if !is_kept {
                if running.last_lines.len() == LAST_LINES {
                    running.last_lines.pop_front();
                }
                running.last_lines.push_back(text.clone());
            }
        }
        if !is_kept {
            return Ok(());
        }
        let text = match line.level.as_str() {
            "error" => self.paint(Color::Red, &text),
            "warn" => self.paint(Color::Yellow, &text),
            "debug" => self.paint(Color::Dim, &text),
            _ => text,
        };
        self.print(&format!("  {:width$}  {text}", self.labels.of_line(line), width = self.name_width))
    }

    fn event(&mut self, event: &Event) -> anyhow::Result<()> {
        self.labels.see(&event.kind);
        match &event.kind {
            EventKind::Created { workflow, stages, .. } => {
                self.run.clone_from(&event.run);
                self.began.clone_from(&event.at);
                self.name_width = stages.iter().map(|stage| stage.name.len()).max().unwrap_or(0);
                self.print(&format!("{workflow}  {}", self.paint(Color::Dim, &format!("run {}", event.run))))
            }
            EventKind::AttemptStarted { stage, instance, .. } => {
                self.begin(&self.labels.of(stage, *instance), &event.at);
                Ok(())
            }
            EventKind::AttemptEnded { stage, instance, status, failure, retry_at, allowed, .. } => {
                let sequel = sequel(retry_at.as_deref(), *allowed);
                self.end(&self.labels.of(stage, *instance), *status, &event.at, failure.as_ref(), &sequel)
            }
            EventKind::StageSkipped { stage, reason } => self.aside(stage, &format!("skipped: {reason}")),
            // Whoever asked for it was told.
            EventKind::CancelRequested { .. } => Ok(()),
            EventKind::Finished { status, failure, .. } => {
                if let Some(failure) = failure {
                    let text = format!("  {}", printable_line(&failure.message));
                    self.print(&self.paint(Color::Red, &text))?;
                }
                self.finish(*status, &event.at)
            }
            other => match words::plain(other) {
                Some((Some(stage), text)) => self.aside(stage, &text),
                Some((None, text)) => self.print(&self.paint(Color::Yellow, &printable_line(&text))),
                None => Ok(()),
            },
        }
    }

    /// A line about a stage that is not the end of an attempt.
    fn aside(&self, stage: &str, text: &str) -> anyhow::Result<()> {
        let text = format!("- {stage:width$}  {}", printable_line(text), width = self.name_width);
        self.print(&self.paint(Color::Dim, &text))
    }

    fn begin(&mut self, stage: &str, at: &str) {
        let bar = self.bars.add(ProgressBar::new_spinner());
        let template = format!("{{spinner}} {{prefix:{}}}  {{elapsed:>4}}  {{wide_msg}}", self.name_width);
        if let Ok(style) = ProgressStyle::with_template(&template) {
            bar.set_style(style);
        }
        bar.set_prefix(stage.to_owned());
        bar.enable_steady_tick(TICK);
        let running = Running { bar, started: at.to_owned(), last_lines: VecDeque::new() };
        self.running.insert(stage.to_owned(), running);
    }

    fn end(
        &mut self,
        stage: &str,
        status: StageStatus,
        at: &str,
        failure: Option<&Failure>,
        sequel: &str,
    ) -> anyhow::Result<()> {
        let Some(running) = self.running.remove(stage) else { return Ok(()) };
        running.bar.finish_and_clear();
        let took = output::duration(millis_between(&running.started, at));
        let (mark, color) = match status {
            StageStatus::Succeeded => ("✓", Color::Green),
            StageStatus::Failed => ("✗", Color::Red),
            _ => ("-", Color::Yellow),
        };
        let width = self.name_width;
        if failure.is_some() {
            running
                .last_lines
                .iter()
                .try_for_each(|line| self.print(&format!("  {stage:width$}  {line}")))?;
        }
        let kind = failure.map(output::kind).unwrap_or_default();
        let mark = self.paint(color, mark);
        self.print(&format!("{mark} {stage:width$}  {}{kind}, {took}{sequel}", status.name()))?;
        let message = failure.map(|failure| failure.message.as_str()).unwrap_or_default();
        // Indented, so that no line of it looks like one of ours.
        message
            .lines()
            .try_for_each(|line| self.print(&self.paint(Color::Red, &format!("  {}", printable_line(line)))))
    }

    fn finish(&mut self, status: RunStatus, at: &str) -> anyhow::Result<()> {
        let took = output::duration(millis_between(&self.began, at));
        let color = match status {
            RunStatus::Succeeded => Color::Green,
            RunStatus::Failed => Color::Red,
            RunStatus::Running | RunStatus::Cancelled => Color::Yellow,
        };
        let ended = self.paint(color, status.name());
        self.print(&format!("{ended} after {took}"))?;
        let hint = format!("yuanli runs show {0}   yuanli runs logs {0}", self.run);
        self.print(&self.paint(Color::Dim, &hint))
    }
}

impl View for Terminal {
    fn show(&mut self, update: &Update) -> anyhow::Result<()> {
        match update {
            Update::Log(line) => self.log(line),
            Update::Event(event) => self.event(event),
        }
    }

    fn notice(&mut self, text: &str) {
        // Nothing is left to be told when the terminal is gone.
        let _ = self.print(text);
    }

    fn close(&mut self) {
        for running in self.running.values() {
            running.bar.finish_and_clear();
        }
        *LINES.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// A line of a stage, with tabs that take as much room as the moving line thinks.
fn printable(text: &str) -> String {
    printable_line(text).replace('\t', "    ")
}
