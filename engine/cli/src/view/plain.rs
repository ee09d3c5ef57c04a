//! Updates as plain lines, for pipes and files: everything, in order, nothing taken back.

use std::collections::HashMap;
use std::io::{self, Write};

use yuanli_api_types::{Event, EventKind, LogLine, Update};
use yuanli_server::{printable, printable_line};

use super::words::{self, Labels, sequel};
use super::{View, millis_between};
use crate::output;

/// One or more lines for each update, on standard error.
#[derive(Default)]
pub(crate) struct Plain {
    run: String,
    began: String,
    started: HashMap<String, String>,
    labels: Labels,
}

impl View for Plain {
    fn show(&mut self, update: &Update) -> anyhow::Result<()> {
        let text = match update {
            Update::Log(line) => plain_line(&self.labels, line),
            Update::Event(event) => self.event(event),
        };
        writeln!(io::stderr().lock(), "{}", printable(&text))?;
        Ok(())
    }

    fn notice(&mut self, text: &str) {
        output::note(text);
    }
}

/// A line of a stage's log: `[build] text`.
pub(crate) fn plain_line(labels: &Labels, line: &LogLine) -> String {
    let mark = match line.level.as_str() {
        "warn" => "warning: ",
        "error" => "error: ",
        _ => "",
    };
    format!("[{}] {mark}{}", labels.of_line(line), printable_line(&line.text))
}

impl Plain {
    fn event(&mut self, event: &Event) -> String {
        self.labels.see(&event.kind);
        match &event.kind {
            EventKind::Created { workflow, stages, .. } => {
                self.run.clone_from(&event.run);
                self.began.clone_from(&event.at);
                format!("run {} of {workflow}, {}", event.run, output::count(stages.len(), "stage"))
            }
            EventKind::AttemptStarted { stage, instance, attempt, .. } => {
                let stage = self.labels.of(stage, *instance);
                let again = if *attempt > 1 { format!(", attempt {attempt}") } else { String::new() };
                let text = format!("[{stage}] started{again}");
                self.started.insert(stage, event.at.clone());
                text
            }
            EventKind::AttemptEnded { stage, instance, status, failure, retry_at, allowed, .. } => {
                let stage = self.labels.of(stage, *instance);
                let began = self.started.remove(&stage).unwrap_or_else(|| event.at.clone());
                let took = output::duration(millis_between(&began, &event.at));
                let why = failure.as_ref().map(output::failure).unwrap_or_default();
                let sequel = sequel(retry_at.as_deref(), *allowed);
                format!("[{stage}] {} after {took}{sequel}{why}", status.name())
            }
            EventKind::StageSkipped { stage, reason } => format!("[{stage}] skipped: {reason}"),
            EventKind::Finished { status, failure, .. } => {
                let took = output::duration(millis_between(&self.began, &event.at));
                let why = failure.as_ref().map(output::failure).unwrap_or_default();
                format!("run {} {} after {took}{why}", self.run, status.name())
            }
            other => match words::plain(other) {
                Some((Some(stage), text)) => format!("[{stage}] {text}"),
                Some((None, text)) => text,
                None => String::new(),
            },
        }
    }
}
