//! What an attempt does with its journal: each call that is recorded is looked up before it is made, and written down when
//! it has been.
//!
//! One mechanism around the host functions that are declared as recorded (`call.rs`), which know nothing of it. A function
//! that changes something decides; its change and its outcome are one commit. A function that reads is written down before
//! the next such commit. An attempt that is begun again after a crash gets what was recorded, and anything else that it calls
//! there ends it.

use serde::Serialize;
use serde::de::DeserializeOwned;
use wasmtime::component::ComponentNamedList;
use yuanli_model::{Digest, Failure, FailureClass};
use yuanli_ports::AttemptJournal;
use yuanli_ports::journal::{Call, JournalError, Recorded, Staged};

use crate::call::{Answer, Class, Function};
use crate::guest::State;

/// Most calls of an attempt that are recorded: an attempt that is begun again makes all of them again.
const MAX_CALLS: u32 = 10_000;
/// Most bytes of their outcomes: they are in the store until the attempt ends.
const MAX_BYTES: usize = 64 * 1024 * 1024;
/// Outcomes of reads that are not written down yet come to no more than this, in bytes.
const MAX_UNWRITTEN_BYTES: usize = 256 * 1024;
/// How often a change is decided on anew when somebody else was quicker. Each time somebody else got further.
const MAX_DECISIONS: u32 = 100;
/// Longest arguments that are shown, in bytes.
const MAX_SHOWN_BYTES: usize = 200;
/// Longest bytes that are shown as they are.
const MAX_SHOWN_TEXT: usize = 64;

/// The calls of one attempt.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    made: u32,
    bytes: usize,
    /// Reads, in order, that the next commit writes down.
    unwritten: Vec<Recorded>,
    unwritten_bytes: usize,
    /// The last function that was called and is not recorded although it may answer otherwise another time.
    unrecorded: Option<Function>,
}

/// What ends an attempt because of its journal.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    #[error("{}", different(*index, recorded, attempted, unrecorded.as_deref()))]
    Nondeterministic { index: u32, recorded: String, attempted: String, unrecorded: Option<String> },
    #[error(
        "it made {MAX_CALLS} calls that are recorded, which is all it may; keep several things in one call"
    )]
    TooMany,
    #[error(
        "what it was told by calls that are recorded has more than {MAX_BYTES} bytes, which is all it may"
    )]
    TooLarge,
    #[error("a call could not be recorded: {0}")]
    Unkept(String),
}

impl Calls {
    /// The number of the call that was begun last.
    pub(crate) fn index(&self) -> u32 {
        self.made
    }

    /// Remembers a call that is not recorded.
    pub(crate) fn note_unrecorded(&mut self, function: Function) {
        self.unrecorded = Some(function);
    }

    fn begin(&mut self, function: Function, arguments: Digest, shown: String) -> Result<Call, Broken> {
        if self.made >= MAX_CALLS {
            return Err(Broken::TooMany);
        }
        self.made += 1;
        Ok(Call { index: self.made, function: function.to_string(), arguments, shown })
    }

    /// Counts what a call gave, if there is room for it.
    fn count(&mut self, outcome: &[u8]) -> Result<(), Broken> {
        let bytes = self.bytes + outcome.len();
        if bytes > MAX_BYTES {
            return Err(Broken::TooLarge);
        }
        self.bytes = bytes;
        Ok(())
    }

    fn nondeterministic(&self, recorded: &Call, attempted: String) -> Broken {
        let unrecorded = self.unrecorded.map(|function| function.to_string());
        Broken::Nondeterministic {
            index: recorded.index,
            recorded: in_words(recorded),
            attempted,
            unrecorded,
        }
    }

    /// That an attempt which has come to its end has made all calls that were recorded.
    pub(crate) async fn check_end(&self, journal: &dyn AttemptJournal) -> Result<(), Broken> {
        match journal.recorded(self.made + 1).await.map_err(unkept)? {
            Some(missing) => Err(self.nondeterministic(&missing.call, "the end of the stage".to_owned())),
            None => Ok(()),
        }
    }
}

/// Makes a call that is recorded, unless it was made before: then it gives what came of it.
pub(crate) async fn perform<P, R>(
    state: &mut State,
    function: Function,
    (parameters, shown): (&P, String),
    decide: impl for<'s> Fn(&'s mut State, &'s P) -> Answer<'s, (R, Staged)>,
) -> Result<R, Broken>
where
    P: ComponentNamedList + Serialize,
    R: Serialize + DeserializeOwned,
{
    let arguments = postcard::to_stdvec(parameters).map_err(|e| Broken::Unkept(e.to_string()))?;
    let shown = short(state.held.mask.owned(shown));
    let call = state.calls.begin(function, Digest::of(&arguments), shown)?;
    drop(arguments);
    if let Some(recorded) = state.attempt.journal.recorded(call.index).await.map_err(unkept)? {
        return replay(&mut state.calls, &recorded, &call);
    }
    for _ in 0..MAX_DECISIONS {
        let (answer, staged) = decide(state, parameters).await;
        let outcome = postcard::to_stdvec(&answer).map_err(|e| Broken::Unkept(e.to_string()))?;
        state.calls.count(&outcome)?;
        let recorded = Recorded { call: call.clone(), outcome: outcome.into() };
        match record(state, function.class, recorded, staged).await {
            Ok(()) => return Ok(answer),
            Err(JournalError::Overtaken) => {}
            Err(JournalError::Unkept(why)) => return Err(Broken::Unkept(why)),
        }
    }
    Err(Broken::Unkept(format!("others changed the same thing {MAX_DECISIONS} times meanwhile")))
}

fn replay<R: DeserializeOwned>(calls: &mut Calls, recorded: &Recorded, call: &Call) -> Result<R, Broken> {
    if (&recorded.call.function, recorded.call.arguments) != (&call.function, call.arguments) {
        return Err(calls.nondeterministic(&recorded.call, in_words(call)));
    }
    calls.count(&recorded.outcome)?;
    postcard::from_bytes(&recorded.outcome)
        .map_err(|e| Broken::Unkept(format!("what came of {} cannot be read: {e}", in_words(call))))
}

async fn record(
    state: &mut State,
    class: Class,
    recorded: Recorded,
    staged: Staged,
) -> Result<(), JournalError> {
    let calls = &mut state.calls;
    let length = recorded.outcome.len();
    if class == Class::Read {
        calls.unwritten_bytes += length;
        calls.unwritten.push(recorded);
        if calls.unwritten_bytes < MAX_UNWRITTEN_BYTES {
            return Ok(());
        }
        let reads = std::mem::take(&mut calls.unwritten);
        calls.unwritten_bytes = 0;
        return state.attempt.journal.record(reads, Staged::default()).await;
    }
    let all = calls.unwritten.iter().cloned().chain([recorded]).collect();
    state.attempt.journal.record(all, staged).await?;
    state.calls.unwritten.clear();
    state.calls.unwritten_bytes = 0;
    Ok(())
}

fn unkept(error: JournalError) -> Broken {
    Broken::Unkept(error.to_string())
}

/// A call for a person.
fn in_words(call: &Call) -> String {
    format!("{}({})", call.function, call.shown)
}

fn different(index: u32, recorded: &str, attempted: &str, unrecorded: Option<&str>) -> String {
    let why = match unrecorded {
        Some(function) => format!(
            "; before that it called {function}, which is not recorded and may have answered otherwise this time: keep what \
             follows from it only once, or give the stage `retry`"
        ),
        None => "; what it keeps has to follow from its config and from what it was told".to_owned(),
    };
    format!(
        "nondeterministic plugin: begun again after the engine was started again, its recorded call {index} was {attempted}, \
         and before it was {recorded}{why}"
    )
}

impl Broken {
    /// What it is for the workflow.
    pub(crate) fn failure(&self, plugin: &str) -> Failure {
        let (class, kind) = match self {
            // What it did between cannot be known, and the next attempt begins with nothing recorded. Clocks and random
            // numbers of a language are not seen here, so this is not only so where a function can be named.
            Self::Nondeterministic { .. } => (FailureClass::Interrupted, "nondeterministic-plugin"),
            Self::TooMany | Self::TooLarge => (FailureClass::Permanent, "journal-limit"),
            Self::Unkept(_) => (FailureClass::Transient, "engine"),
        };
        Failure::new(class, kind, format!("plugin `{plugin}` was ended: {self}"))
    }
}

/// Bytes or a text for a person: as it is when it is short, else how long and which one. A guest can give one of any length, and
/// one that is cut could show a part of a secret.
pub(crate) fn shown(bytes: impl AsRef<[u8]>) -> String {
    let bytes = bytes.as_ref();
    match std::str::from_utf8(bytes) {
        Ok(text) if text.len() <= MAX_SHOWN_TEXT => format!("{text:?}"),
        _ => format!("{} bytes, {}", bytes.len(), Digest::of(bytes)),
    }
}

fn short(mut shown: String) -> String {
    if shown.len() > MAX_SHOWN_BYTES {
        shown.truncate(shown.floor_char_boundary(MAX_SHOWN_BYTES));
        shown.push('…');
    }
    shown
}
