//! What an attempt does with its journal: each call that is recorded is looked up before it is made, and written down when
//! it has been.
//!
//! One mechanism around the host functions (`call.rs`), which know nothing of it. What only tells something is written down
//! in memory, and is durable with the next change or effect. A change of what the engine keeps and its outcome are one
//! commit. Of an effect it is first durable that it is to be made, with all that led to it, then it is made, then what came
//! of it is durable. An attempt that is begun again after a crash gets what was recorded, and anything else that it calls
//! there ends it; an effect without an outcome is dealt with as its policy says.

mod broken;
mod calls;

use std::sync::atomic::Ordering;

use serde::Serialize;
use serde::de::DeserializeOwned;
use yuanli_model::Digest;
use yuanli_points::{Point, pass};
use yuanli_ports::blobs::MAX_BLOB_BYTES;
use yuanli_ports::journal::{Call, JournalError, Outcome, Recorded, Staged, Value};
use yuanli_ports::plugins::Attempt;

use crate::argument::Arguments;
use crate::call::{Answer, Function, Opened, Policy};
use crate::guest::{Begun, Session, State};

pub(crate) use broken::{Broken, in_words};
pub(crate) use calls::{Calls, SharedCalls, lock, tell};

use calls::{Met, Pending};

/// How often a change is decided on anew when somebody else was quicker. Each time somebody else got further.
const MAX_DECISIONS: u32 = 100;
/// Longest answer of a read that is kept, in bytes. What is longer is asked for again, and has to be the same.
const MAX_READ_BYTES: usize = 1024 * 1024;
/// Longest arguments that are shown, in bytes.
const MAX_SHOWN_BYTES: usize = 200;

/// How one call is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Its answer is, with the next commit.
    Read,
    /// So is that it was called, at once.
    Wait,
    /// That it was called is, and its answer never.
    Secret,
    /// That it is to be made is, then its answer.
    Effect(Policy),
}

/// Makes a call that is recorded, unless it was made before: then it gives what came of it.
pub(crate) async fn call<P: Arguments, R: Serialize + DeserializeOwned>(
    state: &mut State,
    (function, manner): (Function, Manner),
    parameters: P,
    live: impl for<'s> Fn(&'s mut State, P) -> Answer<'s, R>,
) -> Result<R, Broken> {
    let is_effect = matches!(manner, Manner::Effect(_));
    let (pending, was) = match meet(state, function, &parameters, is_effect)? {
        Met::Told(answer) => return Ok(answer),
        // What stands in the journal stays there, as others may be in the same entry.
        Met::Withheld(Pending { call, .. }, was) if !is_effect || manner == Manner::Effect(Policy::Files) => {
            lock(&state.calls).note_unrecorded(function);
            if function.is_wait {
                lock(&state.calls).note_wait(&call);
            }
            let answer = live(state, parameters).await;
            state.said.take();
            if is_effect {
                state.begun.is_workspace_written.store(true, Ordering::Release);
            }
            return if is_same(&answer, was)? { Ok(answer) } else { Err(Broken::Changed(call)) };
        }
        Met::Withheld(pending, was) => (pending, was),
        Met::Pending(pending) => (pending, None),
    };
    prepare(state, &pending, manner).await?;
    if function.is_wait {
        lock(&state.calls).note_wait(&pending.call);
    }
    let answer = live(state, parameters).await;
    if !is_same(&answer, was)? {
        return Err(Broken::Changed(pending.call));
    }
    settle(state, pending, manner, &answer).await?;
    Ok(answer)
}

/// Opens a handle, unless it was opened before: then it is remembered again.
pub(crate) async fn open<P: Arguments, T, E>(
    state: &mut State,
    (function, manner): (Function, Manner),
    parameters: &P,
    open: impl for<'s> Fn(&'s mut State, &'s P) -> Answer<'s, Result<T, E>>,
    note: impl Fn(&mut State, &P, Opened<T>),
) -> Result<Result<u32, E>, Broken>
where
    T: Serialize + DeserializeOwned + Clone,
    E: Serialize + DeserializeOwned,
{
    let is_effect = matches!(manner, Manner::Effect(_));
    let pending = match meet::<Result<(u32, T), E>>(state, function, parameters, is_effect)? {
        Met::Told(Ok((handle, what))) => {
            state.remember_handle(handle);
            note(state, parameters, Opened { handle, what, is_again: true });
            return Ok(Ok(handle));
        }
        Met::Told(Err(error)) => return Ok(Err(error)),
        // Its answer has a number that is known nowhere else; the next one is the same.
        Met::Withheld(pending, _) | Met::Pending(pending) => pending,
    };
    if !state.has_room_for_handle() {
        return Err(Broken::NoHandle);
    }
    prepare(state, &pending, manner).await?;
    let answer = match open(state, parameters).await {
        Ok(what) => {
            let handle = state.new_handle();
            note(state, parameters, Opened { handle, what: what.clone(), is_again: false });
            Ok((handle, what))
        }
        Err(error) => Err(error),
    };
    settle(state, pending, manner, &answer).await?;
    Ok(answer.map(|(handle, _)| handle))
}

/// Makes a call that changes what the engine keeps, unless it was made before.
pub(crate) async fn decide<P: Arguments, R: Serialize + DeserializeOwned>(
    state: &mut State,
    function: Function,
    parameters: &P,
    decide: impl for<'s> Fn(&'s mut State, &'s P) -> Answer<'s, (R, Staged)>,
) -> Result<R, Broken> {
    let pending = match meet(state, function, parameters, true)? {
        Met::Told(answer) => return Ok(answer),
        // The change was made, and is not made again.
        Met::Withheld(pending, _) => return Err(Broken::Lost(pending.call)),
        Met::Pending(pending) => pending,
    };
    hold(state, &pending).await;
    for _ in 0..MAX_DECISIONS {
        let (answer, staged) = decide(state, parameters).await;
        let recorded = outcome_of(state, &pending, Manner::Effect(Policy::Redo), &answer)?;
        pass(Point::ChangeDecided);
        match commit(state, Some(recorded), staged).await {
            Ok(()) => {
                pass(Point::ChangeRecorded);
                return Ok(answer);
            }
            Err(JournalError::Overtaken) => {}
            Err(JournalError::Unkept(why)) => return Err(Broken::Unkept(why)),
        }
    }
    Err(Broken::Unkept(format!("others changed the same thing {MAX_DECISIONS} times meanwhile")))
}

/// What the journal knows of a call. What it has said in the log, it says again; an effect whose answer is not kept does so
/// when it is made again.
fn meet<R: Serialize + DeserializeOwned>(
    state: &mut State,
    function: Function,
    parameters: &impl Arguments,
    is_effect: bool,
) -> Result<Met<R>, Broken> {
    let arguments = parameters.bytes().map_err(unencoded)?;
    let shown = short(state.held.mask.owned(parameters.show()));
    let call = Call { index: 0, function: function.to_string(), arguments: Digest::of(&arguments), shown };
    let (met, lines) = lock(&state.calls).meet(call, arguments.is_empty() && !is_effect)?;
    if !(is_effect && matches!(met, Met::Withheld(..))) {
        state.lines.say_again(lines);
    }
    lock(&state.calls).leave_past();
    Ok(met)
}

/// An attempt that was cancelled while no engine ran is begun again only to learn what it has left: it does nothing new, and is
/// ended as soon as somebody looks.
async fn hold(state: &State, pending: &Pending) {
    if state.attempt.is_again && !pending.is_intended && state.attempt.cancel.is_cancelled() {
        std::future::pending::<()>().await;
    }
}

/// What has to be durable before a call is made.
async fn prepare(state: &mut State, pending: &Pending, manner: Manner) -> Result<(), Broken> {
    hold(state, pending).await;
    state.is_reconciling = pending.is_intended;
    state.since = pending.at;
    match manner {
        Manner::Read | Manner::Secret => Ok(()),
        Manner::Effect(Policy::Once) if pending.is_intended => Err(Broken::Lost(pending.call.clone())),
        Manner::Wait | Manner::Effect(Policy::Adopt | Policy::Redo | Policy::Once) => {
            if pending.is_intended {
                return Ok(());
            }
            let intended = Recorded { call: pending.call.clone(), at: pending.at, outcome: None };
            pass(Point::EffectIntending);
            commit(state, Some(intended), Staged::default()).await?;
            pass(Point::EffectIntended);
            Ok(())
        }
        // What was read before would be read otherwise after it.
        Manner::Effect(Policy::Files) if lock(&state.calls).has_reads() => {
            Ok(commit(state, None, Staged::default()).await?)
        }
        Manner::Effect(Policy::Files) => Ok(()),
    }
}

/// Writes down what came of a call.
async fn settle(
    state: &mut State,
    pending: Pending,
    manner: Manner,
    answer: &impl Serialize,
) -> Result<(), Broken> {
    state.is_reconciling = false;
    let recorded = outcome_of(state, &pending, manner, answer)?;
    match manner {
        Manner::Read | Manner::Wait | Manner::Secret | Manner::Effect(Policy::Files) => {
            if manner == Manner::Effect(Policy::Files) {
                state.begun.is_workspace_written.store(true, Ordering::Release);
            }
            let is_full = lock(&state.calls).keep(recorded, &pending, manner == Manner::Read);
            if is_full {
                commit(state, None, Staged::default()).await?;
            }
            Ok(())
        }
        Manner::Effect(_) => {
            pass(Point::EffectDone);
            sync(state).await?;
            state.attempt.journal.record(vec![recorded], Staged::default()).await?;
            pass(Point::EffectRecorded);
            Ok(())
        }
    }
}

fn outcome_of(
    state: &mut State,
    pending: &Pending,
    manner: Manner,
    answer: &impl Serialize,
) -> Result<Recorded, Broken> {
    let bytes = postcard::to_stdvec(answer).map_err(unencoded)?;
    let is_effect = matches!(manner, Manner::Effect(_));
    let value = if manner == Manner::Secret || state.held.mask.is_in(&bytes) {
        Value::Withheld(None)
    } else if bytes.len() > MAX_BLOB_BYTES
        || !is_effect && (bytes.len() > MAX_READ_BYTES || !lock(&state.calls).has_room(bytes.len()))
    {
        Value::Withheld(Some(Digest::of(&bytes)))
    } else {
        lock(&state.calls).count(bytes.len())?;
        Value::Told(bytes.into())
    };
    let outcome = Outcome { value, lines: state.said.take() };
    Ok(Recorded { call: pending.call.clone(), at: pending.at, outcome: Some(outcome) })
}

/// Makes durable what was written down so far, and a call behind it, with what it changes.
async fn commit(state: &mut State, last: Option<Recorded>, staged: Staged) -> Result<(), JournalError> {
    sync(state).await?;
    flush(&state.attempt, &state.calls, last, staged).await
}

async fn flush(
    attempt: &Attempt,
    calls: &SharedCalls,
    last: Option<Recorded>,
    staged: Staged,
) -> Result<(), JournalError> {
    let mut unwritten = lock(calls).unwritten();
    let written = unwritten.len();
    unwritten.extend(last);
    attempt.journal.record(unwritten, staged).await?;
    lock(calls).written(written);
    Ok(())
}

/// Whoever hears of what comes after a write finds the write.
async fn sync(state: &State) -> Result<(), JournalError> {
    sync_workspace(&state.attempt, &state.begun).await
}

async fn sync_workspace(attempt: &Attempt, begun: &Begun) -> Result<(), JournalError> {
    if begun.is_workspace_written.swap(false, Ordering::AcqRel) {
        let synced = attempt.workspace.sync().await;
        synced.map_err(|error| JournalError::Unkept(error.to_string()))?;
    }
    Ok(())
}

/// Hands what was told last to whoever keeps the journal of an attempt that has ended.
pub(crate) fn end(session: &Session, is_whole: bool) {
    let rest = lock(&session.calls).unwritten();
    session.attempt.journal.end(rest, is_whole);
}

/// Makes durable all that an attempt was told whose instance is gone: with that, and what it waits for, it comes back.
pub(crate) async fn set_down(session: &Session) -> Result<(), Broken> {
    sync_workspace(&session.attempt, &session.begun).await?;
    if !lock(&session.calls).has_unwritten() {
        return Ok(());
    }
    Ok(flush(&session.attempt, &session.calls, None, Staged::default()).await?)
}

/// Has an attempt told again what it was told before its instance was given up.
pub(crate) async fn take_up(session: &Session) -> Result<(), Broken> {
    let before = session.attempt.journal.recorded().await?;
    lock(&session.calls).begin_again(before);
    Ok(())
}

/// Whether an answer is the one that was given before, as far as that is known.
fn is_same(answer: &impl Serialize, was: Option<Digest>) -> Result<bool, Broken> {
    let Some(was) = was else { return Ok(true) };
    Ok(Digest::of(&postcard::to_stdvec(answer).map_err(unencoded)?) == was)
}

fn unencoded(error: postcard::Error) -> Broken {
    Broken::Unkept(error.to_string())
}

fn short(mut shown: String) -> String {
    if shown.len() > MAX_SHOWN_BYTES {
        shown.truncate(shown.floor_char_boundary(MAX_SHOWN_BYTES));
        shown.push('…');
    }
    shown
}
