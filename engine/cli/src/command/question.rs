//! What stages of a run ask while `yuanli run` lasts: answered before, or by the person at the terminal.

use std::collections::VecDeque;
use std::io::{self, BufRead, IsTerminal};

use tokio::sync::mpsc;

/// Questions of one run, and who answers them.
#[derive(Debug)]
pub(crate) struct Questions {
    /// The stages that were agreed to before.
    agreed: Vec<String>,
    /// Whether somebody can be asked.
    is_attended: bool,
    /// The stages that wait for an answer, in the order in which they asked.
    open: VecDeque<String>,
    /// What the person types, once there was a question.
    lines: Option<mpsc::UnboundedReceiver<String>>,
}

/// What a question leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reply {
    /// This answer to this stage.
    Answer { stage: String, is_approved: bool },
    /// A sentence for the person.
    Notice(String),
}

impl Questions {
    /// Those of a run some of whose stages were agreed to before. With `reads_input` standard input is taken already.
    pub(crate) fn new(agreed: Vec<String>, reads_input: bool) -> Self {
        let is_attended = !reads_input && io::stdin().is_terminal() && io::stderr().is_terminal();
        Self { agreed, is_attended, open: VecDeque::new(), lines: None }
    }

    /// A stage asks.
    pub(crate) fn ask(&mut self, stage: &str) -> Reply {
        let stage = stage.to_owned();
        if self.agreed.contains(&stage) {
            return Reply::Answer { stage, is_approved: true };
        }
        if !self.is_attended {
            return Reply::Notice(format!(
                "nobody can be asked here: `--approve {stage}` agrees to it, and Ctrl-C ends the run"
            ));
        }
        self.open.push_back(stage);
        self.lines.get_or_insert_with(read_lines);
        Reply::Notice(self.prompt())
    }

    /// A stage does not ask any more.
    pub(crate) fn end(&mut self, stage: &str) {
        self.open.retain(|open| open != stage);
    }

    /// What the person says next. Never returns when nobody is asked.
    pub(crate) async fn reply(&mut self) -> Reply {
        let line = match &mut self.lines {
            Some(lines) => lines.recv().await,
            None => None,
        };
        let Some(line) = line else { return std::future::pending().await };
        let Some(stage) = self.open.front().cloned() else {
            return Reply::Notice("no stage asks anything at the moment".to_owned());
        };
        match line.trim().to_lowercase().as_str() {
            "y" | "yes" => Reply::Answer { stage, is_approved: true },
            "n" | "no" => Reply::Answer { stage, is_approved: false },
            _ => Reply::Notice(self.prompt()),
        }
    }

    fn prompt(&self) -> String {
        let stage = self.open.front().map_or("", String::as_str);
        format!("approve `{stage}`? type y or n, then Enter")
    }
}

/// What is typed from now on, line by line.
fn read_lines() -> mpsc::UnboundedReceiver<String> {
    let (send, receive) = mpsc::unbounded_channel();
    // On a thread of its own, which ends with the process: reading a terminal cannot be given up.
    std::thread::spawn(move || {
        for line in io::stdin().lock().lines() {
            let Ok(line) = line else { return };
            if send.send(line).is_err() {
                return;
            }
        }
    });
    receive
}
