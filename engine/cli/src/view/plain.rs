//! Updates as plain lines, for pipes and files: everything, in order, nothing taken back.

use std::collections::HashMap;
use std::io::{self, Write};

use yuanli_api_types::{Event, EventKind, LogLine, Update};
use yuanli_server::{printable, printable_line};

use super::{View, millis_between};
use crate::output;

/// One or more lines for each update, on standard error.
#[derive(Default)]
pub(crate) struct Plain {
    run: String,
    began: String,
    started: HashMap<String, String>,
}

impl View for Plain {
    fn show(&mut self, update: &Update) -> anyhow::Result<()> {
        let text = match update {
            Update::Log(line) => plain_line(line),
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
pub(crate) fn plain_line(line: &LogLine) -> String {
    let mark = match line.level.as_str() {
        "warn" => "warning: ",
        "error" => "error: ",
        _ => "",
    };
    format!("[{}] {mark}{}", line.stage, printable_line(&line.text))
}

impl Plain {
    fn event(&mut self, event: &Event) -> String {
        match &event.kind {
            EventKind::Created { workflow, stages, .. } => {
                self.run.clone_from(&event.run);
                self.began.clone_from(&event.at);
                format!("run {} of {workflow}, {}", event.run, output::count(stages.len(), "stage"))
            }
            EventKind::AttemptStarted { stage, .. } => {
                self.started.insert(stage.clone(), event.at.clone());
                format!("[{stage}] started")
            }
            EventKind::AttemptEnded { stage, status, failure, .. } => {
                let began = self.started.get(stage).unwrap_or(&event.at);
                let took = output::duration(millis_between(began, &event.at));
                let why = failure.as_ref().map(output::failure);
                format!("[{stage}] {} after {took}{}", status.name(), why.unwrap_or_default())
            }
            EventKind::StageSkipped { stage, reason } => format!("[{stage}] skipped: {reason}"),
            EventKind::CancelRequested { reason } => format!("cancelling: {reason}"),
            EventKind::Finished { status } => {
                let took = output::duration(millis_between(&self.began, &event.at));
                format!("run {} {} after {took}", self.run, status.name())
            }
        }
    }
}
