//! An attempt that has ended, once more: its plugin is told what its journal says, and nothing is done.
//!
//! It is the mechanism by which an attempt goes on after a crash, without the going on: the first call that was not recorded
//! ends it. So what an attempt did can be looked at call by call, on any machine that has its journal, and a changed plugin
//! can be tried on what another one was told. Secrets are nowhere in it: what held one was never recorded.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use serde::Serialize;
use serde_json::Value;
use yuanli_bindings::containers::Request;
use yuanli_model::stage::Limits;
use yuanli_model::workspace::Manifest;
use yuanli_model::{AttemptId, Digest, Failure, LogLine, Rights, RunId, Timestamp, WorkflowName};
use yuanli_ports::journal::Recorded;
use yuanli_ports::logs::{LogError, StoredLog};
use yuanli_ports::plugins::{Afterwards, Attempt, Origin};
use yuanli_ports::records::NoRecords;
use yuanli_ports::workspaces::WorkspaceError;
use yuanli_ports::{AttemptLog, AttemptWorkspace, Cancellation};

use crate::attempt::{check, of_plugin, outputs, shown};
use crate::catalog::Code;
use crate::eviction::Outcome;
use crate::guest::Session;
use crate::host::Host;
use crate::journal::{Broken, Calls, in_words};
use crate::limits::Bounded;
use crate::secret::Held;

/// How long a plugin may take that is only told what was recorded: what it waits for by WASI it waits for again.
const LONGEST: Duration = Duration::from_secs(600);
/// Longest text of an answer that is shown, in bytes, and longest list.
const MAX_SHOWN_TEXT: usize = 4 * 1024;
const MAX_SHOWN_ITEMS: usize = 100;
/// Lists of numbers from this length on are shown as the bytes that they are.
const LEAST_BYTES: usize = 4;
/// Most steps that are shown: a plugin can say and ask a lot.
const MAX_STEPS: usize = 20_000;

/// Which attempt, and what its plugin was run with.
#[derive(Debug, Clone)]
pub struct Replay {
    /// The attempt.
    pub id: AttemptId,
    /// Its workflow.
    pub workflow: WorkflowName,
    /// The component: that of the attempt, or another one that is to be tried.
    pub component: Digest,
    /// Its config.
    pub config: Value,
    /// When it began.
    pub started: Timestamp,
    /// What its plugin might use.
    pub limits: Limits,
}

impl Replay {
    pub(crate) fn attempt(self, log: Arc<dyn AttemptLog>) -> Attempt {
        let Self { id, workflow, component, config, started, limits } = self;
        let nowhere = PathBuf::from("/nonexistent");
        Attempt {
            id,
            workflow,
            component,
            grants: Vec::new(),
            config,
            secrets: Arc::default(),
            timeout: LONGEST,
            limits,
            started,
            is_again: true,
            origin: Arc::new(Origin { folder: nowhere.clone(), root: nowhere }),
            workspace: Arc::new(Nothing),
            log,
            journal: Arc::new(NOTHING),
            records: Arc::new(NOTHING),
            cancel: Cancellation::default(),
            afterwards: Afterwards::default(),
            images: None,
        }
    }
}

/// What is reached by nothing: no call is made.
const NOTHING: NoRecords = NoRecords("nothing is done");

#[derive(Debug)]
struct Nothing;

impl Nothing {
    fn refuse<T>() -> Result<T, WorkspaceError> {
        let (action, path) = ("made", String::new());
        Err(WorkspaceError::Io { action, path, reason: "nothing is done, so there are no files".to_owned() })
    }
}

#[async_trait]
impl AttemptWorkspace for Nothing {
    async fn folder(&self) -> Result<PathBuf, WorkspaceError> {
        Self::refuse()
    }

    async fn sync(&self) -> Result<(), WorkspaceError> {
        Ok(())
    }

    async fn aside(&self) -> Result<PathBuf, WorkspaceError> {
        Self::refuse()
    }

    async fn publish(&self) -> Result<Option<Digest>, WorkspaceError> {
        Ok(None)
    }

    fn beginning(&self) -> Arc<Manifest> {
        Arc::default()
    }

    async fn take_over(&self, _: RunId, _: Digest) -> Result<bool, WorkspaceError> {
        Ok(false)
    }

    async fn discard(&self) -> Result<(), WorkspaceError> {
        Ok(())
    }
}

/// What became of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Replayed {
    /// What it was told and what it wrote, in order.
    pub steps: Vec<Step>,
    /// How many further steps there were, which are left out.
    pub left_out: usize,
    /// How it ended.
    pub ending: Ending,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// It called a host function and was told what the journal says.
    Told(Told),
    /// It wrote a line.
    Line(LogLine),
}

/// A call with its answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    /// Its number in the journal, from 1. Calls that were recorded together have one.
    pub index: u32,
    /// When it was made.
    pub at: Timestamp,
    /// `package/interface@version#function`, as the plugin called it now.
    pub function: String,
    /// Its arguments, in short.
    pub arguments: String,
    /// Its answer. Long texts and lists are cut, bytes are shown as text where they are text.
    pub answer: Value,
}

/// How it ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Ending {
    /// By itself, with these outputs.
    Outputs(Value),
    /// By itself, with this failure.
    Failed(Failure),
    /// With a call that is not the recorded one: it says both.
    Mismatch(String),
    /// With a call, in words, after all that was recorded.
    Beyond(String),
    /// With a call, in words, of which it is recorded that it was made, and not what came of it: the answer was a secret or too
    /// long, or nobody knows it.
    Untold(String),
}

/// What happened so far; the log of such an attempt.
#[derive(Debug, Default)]
pub(crate) struct Transcript(Mutex<(Vec<Step>, usize)>, Mutex<Vec<Request>>);

impl Transcript {
    pub(crate) fn tell(
        &self,
        index: u32,
        at: Timestamp,
        function: String,
        arguments: String,
        answer: &impl Serialize,
    ) {
        let answer = serde_json::to_value(answer).map_or(Value::Null, legible);
        self.add(Step::Told(Told { index, at, function, arguments, answer }));
    }

    fn add(&self, step: Step) {
        let (steps, left_out) = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match steps.len() < MAX_STEPS {
            true => steps.push(step),
            false => *left_out += 1,
        }
    }

    pub(crate) fn note_request(&self, request: &Request) {
        self.1.lock().unwrap_or_else(PoisonError::into_inner).push(request.clone());
    }

    /// What the last container was asked for by that is meant.
    pub(crate) fn last_request(&self, is_meant: impl Fn(&Request) -> bool) -> Option<Request> {
        let requests = self.1.lock().unwrap_or_else(PoisonError::into_inner);
        requests.iter().rfind(|request| is_meant(request)).cloned()
    }

    fn take(&self) -> (Vec<Step>, usize) {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[async_trait]
impl AttemptLog for Transcript {
    fn append(&self, line: LogLine) {
        self.add(Step::Line(line));
    }

    async fn grown(&self, _: u64) -> u64 {
        std::future::pending().await
    }

    async fn finish(&self) -> Result<StoredLog, LogError> {
        Ok(StoredLog::Inline(Default::default()))
    }
}

impl Host {
    /// Runs the plugin of an attempt on what was recorded of it. Its rights do not count, as nothing is done.
    ///
    /// # Errors
    /// Why it cannot begin.
    pub async fn replay(&self, replay: Replay, calls: Vec<Recorded>) -> Result<Replayed, Failure> {
        let code = self.catalog.code(&replay.component).await.map_err(of_plugin)?;
        if let Err(failure) = check("invalid-config", "with", &code.config, &replay.config) {
            return Ok(Replayed { steps: Vec::new(), left_out: 0, ending: Ending::Failed(failure) });
        }
        let transcript = Arc::new(Transcript::default());
        let attempt = replay.attempt(transcript.clone());
        let (session, called) = self.told(attempt, &code, Rights::default(), calls, &transcript).await?;
        let mask = session.mask();
        let ending = match called {
            None => Ending::Untold(format!("what it waits for by WASI takes longer than {LONGEST:?}")),
            Some(Err(error)) if error.downcast_ref::<Broken>().is_some() => broken(&error),
            Some(outcome) => {
                let ended = outputs(outcome, &session.attempt, &code, &session.bounds);
                let ended = ended.map_err(|failure| shown(failure, &mask));
                let checked = ended.map(|outputs| mask.json(outputs)).and_then(|outputs| {
                    check("invalid-outputs", "outputs", &code.outputs, &outputs).map(|()| outputs)
                });
                checked.map_or_else(Ending::Failed, Ending::Outputs)
            }
        };
        let (steps, left_out) = transcript.take();
        Ok(Replayed { steps, left_out, ending })
    }

    /// Runs the plugin of an attempt on what was recorded, to its end.
    pub(crate) async fn told(
        &self,
        attempt: Attempt,
        code: &Code,
        rights: Rights,
        calls: Vec<Recorded>,
        transcript: &Arc<Transcript>,
    ) -> Result<(Session, Option<Outcome>), Failure> {
        let held = Held::of(&attempt, &*self.outside.secrets).await?;
        let bounds =
            Bounded::new(&self.limits, (LONGEST, &attempt.limits), &code.description.bounds, &self.ceiling);
        let seat = self.slots.seat(&attempt.workflow);
        let slot = seat.take().await;
        let calls = Calls::only_told(calls, transcript, Arc::clone(&self.outside.clock));
        let session = Session::new(
            (Arc::new(attempt), seat),
            Arc::clone(&code.description),
            Arc::clone(&self.outside),
            held,
            (rights, bounds),
            (None, calls),
        );
        let called = self.carry_out(&session, slot, code, LONGEST).await;
        session.output.iter().for_each(crate::logline::ByteLines::finish);
        Ok((session, called))
    }
}

fn broken(error: &wasmtime::Error) -> Ending {
    match error.downcast_ref::<Broken>() {
        Some(Broken::Beyond(call)) => Ending::Beyond(in_words(call)),
        Some(Broken::Untold(call)) => Ending::Untold(in_words(call)),
        Some(Broken::Nondeterministic { index, recorded, attempted, .. }) => Ending::Mismatch(format!(
            "nondeterministic plugin: its recorded call {index} was {recorded}, and now it is {attempted}"
        )),
        Some(other) => Ending::Mismatch(other.to_string()),
        None => Ending::Mismatch(error.to_string()),
    }
}

/// An answer for a person: one of a tuple of one stands alone, bytes are text where they are, and what is long is cut.
fn legible(value: Value) -> Value {
    match value {
        Value::Array(mut items) => {
            if let Some(bytes) = bytes(&items) {
                return legible(match String::from_utf8(bytes) {
                    Ok(text) => Value::String(text),
                    Err(error) => Value::String(format!("({} bytes)", error.as_bytes().len())),
                });
            }
            if items.len() == 1 {
                return legible(items.swap_remove(0));
            }
            let more = items.len().saturating_sub(MAX_SHOWN_ITEMS);
            items.truncate(MAX_SHOWN_ITEMS);
            let mut items: Vec<Value> = items.into_iter().map(legible).collect();
            items.extend((more > 0).then(|| Value::String(format!("(and {more} more)"))));
            Value::Array(items)
        }
        Value::Object(entries) => {
            Value::Object(entries.into_iter().map(|(key, value)| (key, legible(value))).collect())
        }
        Value::String(mut text) if text.len() > MAX_SHOWN_TEXT => {
            let more = text.len() - MAX_SHOWN_TEXT;
            text.truncate(text.floor_char_boundary(MAX_SHOWN_TEXT));
            Value::String(format!("{text}… (and about {more} bytes more)"))
        }
        plain => plain,
    }
}

fn bytes(items: &[Value]) -> Option<Vec<u8>> {
    let byte = |item: &Value| item.as_u64().and_then(|number| u8::try_from(number).ok());
    if items.len() < LEAST_BYTES { None } else { items.iter().map(byte).collect() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn answers_are_shown_as_what_they_are() {
        for (answer, expect) in [
            (json!([{ "Ok": [104, 101, 108, 108, 111] }]), json!({ "Ok": "hello" })),
            (json!([[255, 0, 255, 0]]), json!("(4 bytes)")),
            (json!([{ "Err": { "NotFound": "x" } }]), json!({ "Err": { "NotFound": "x" } })),
            (json!([1, 2]), json!([1, 2])),
            (json!([300, 1, 2, 3]), json!([300, 1, 2, 3])),
        ] {
            assert_eq!(legible(answer.clone()), expect, "{answer}");
        }
        let Value::String(long) = legible(Value::String("ä".repeat(5000))) else { panic!("a text") };
        assert!(long.len() < 5000 && long.contains("bytes more"), "{long}");
        let Value::Array(many) = legible(json!(vec![json!("x"); 150])) else { panic!("a list") };
        assert_eq!((many.len(), &many[100]), (101, &json!("(and 50 more)")));
    }
}
