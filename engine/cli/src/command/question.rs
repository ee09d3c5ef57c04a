//! What stages of a run ask while `yuanli run` lasts: answered before, or by the person at the terminal.

use std::collections::VecDeque;
use std::io::{self, BufRead, IsTerminal};

use tokio::sync::mpsc;

/// Questions of one run, and who answers them. One is asked at a time: a line that is typed is about that one.
#[derive(Debug)]
pub(crate) struct Questions {
    /// The stages that were agreed to before.
    agreed: Vec<String>,
    /// Whether somebody can be asked.
    is_attended: bool,
    /// The stages that wait for an answer, in the order in which they asked.
    open: VecDeque<String>,
    /// The stage that the person was asked about and has not answered for.
    asked: Option<String>,
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
        Self { agreed, is_attended, open: VecDeque::new(), asked: None, lines: None }
    }

    /// A stage asks.
    pub(crate) fn ask(&mut self, stage: &str) -> Option<Reply> {
        let stage = stage.to_owned();
        if self.agreed.contains(&stage) {
            return Some(Reply::Answer { stage, is_approved: true });
        }
        if !self.is_attended {
            return Some(Reply::Notice(format!(
                "nobody can be asked here: `--approve {stage}` agrees to it, and Ctrl-C ends the run"
            )));
        }
        self.open.push_back(stage);
        self.next()
    }

    /// A stage does not ask any more.
    pub(crate) fn end(&mut self, stage: &str) -> Option<Reply> {
        self.open.retain(|open| open != stage);
        self.asked.take_if(|asked| asked == stage);
        self.next()
    }

    /// The next question, when the one before it is answered.
    fn next(&mut self) -> Option<Reply> {
        if self.asked.is_some() {
            return None;
        }
        self.asked = Some(self.open.front()?.clone());
        self.lines.get_or_insert_with(read_lines);
        self.prompt().map(Reply::Notice)
    }

    /// What the person says next. Never returns when nobody is asked.
    pub(crate) async fn reply(&mut self) -> Reply {
        let line = match &mut self.lines {
            Some(lines) => lines.recv().await,
            None => None,
        };
        let Some(line) = line else { return std::future::pending().await };
        let Some(prompt) = self.prompt() else {
            return Reply::Notice("no stage asks anything at the moment".to_owned());
        };
        let is_approved = match line.trim().to_lowercase().as_str() {
            "y" | "yes" => true,
            "n" | "no" => false,
            _ => return Reply::Notice(prompt),
        };
        match self.asked.take() {
            Some(stage) => Reply::Answer { stage, is_approved },
            None => Reply::Notice(prompt),
        }
    }

    /// An answer was not taken: the question stands, if somebody can be asked.
    pub(crate) fn refused(&mut self, stage: &str) -> Option<Reply> {
        if self.is_attended && !self.open.iter().any(|open| open == stage) {
            self.open.push_back(stage.to_owned());
        }
        self.next()
    }

    fn prompt(&self) -> Option<String> {
        self.asked.as_ref().map(|stage| format!("approve `{stage}`? type y or n, then Enter"))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn attended() -> (Questions, mpsc::UnboundedSender<String>) {
        let (keyboard, lines) = mpsc::unbounded_channel();
        let questions = Questions {
            agreed: Vec::new(),
            is_attended: true,
            open: VecDeque::new(),
            asked: None,
            lines: Some(lines),
        };
        (questions, keyboard)
    }

    fn prompt(stage: &str) -> Option<Reply> {
        Some(Reply::Notice(format!("approve `{stage}`? type y or n, then Enter")))
    }

    fn yes(stage: &str) -> Reply {
        Reply::Answer { stage: stage.to_owned(), is_approved: true }
    }

    #[tokio::test]
    async fn of_several_questions_one_is_asked_at_a_time() {
        let (mut questions, keyboard) = attended();
        assert_eq!(questions.ask("a"), prompt("a"));
        assert_eq!(questions.ask("b"), None, "`a` has no answer yet");
        for line in ["y", "y"] {
            keyboard.send(line.to_owned()).expect("somebody listens");
        }
        assert_eq!(questions.reply().await, yes("a"));
        // The second line was typed before anybody was asked about `b`.
        assert!(matches!(questions.reply().await, Reply::Notice(text) if text.contains("no stage asks")));
        assert_eq!(questions.end("a"), prompt("b"));
        keyboard.send("YES\n".to_owned()).expect("somebody listens");
        assert_eq!(questions.reply().await, yes("b"));
        assert_eq!(questions.end("b"), None);
    }

    #[tokio::test]
    async fn a_question_whose_time_is_over_is_not_answered() {
        let (mut questions, keyboard) = attended();
        assert_eq!(questions.ask("a"), prompt("a"));
        assert_eq!(questions.end("a"), None);
        keyboard.send("y".to_owned()).expect("somebody listens");
        assert!(matches!(questions.reply().await, Reply::Notice(_)));
        assert_eq!(questions.ask("b"), prompt("b"));
        // What was not taken is asked again.
        keyboard.send("y".to_owned()).expect("somebody listens");
        assert_eq!(questions.reply().await, yes("b"));
        assert_eq!(questions.refused("b"), prompt("b"));
    }
}
