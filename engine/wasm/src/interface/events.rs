//! `yuanli:events`: tells that something happened.

use futures::FutureExt;
use wasmtime::component::Linker;
use yuanli_bindings::events::Error;
use yuanli_ports::journal::Staged;
use yuanli_ports::records::{MAX_EVENT_BYTES, NewEvent, RecordError};

use crate::call::{Answer, Function, Interface};
use crate::guest::{Guest, State};
use crate::journal::lock;
use crate::mask::Mask;

/// Type, data and subject.
type Parameters = (String, String, Option<String>);

pub(super) fn link(linker: &mut Linker<Guest>, declared: &mut Vec<Function>) -> wasmtime::Result<()> {
    Interface::open(linker, "yuanli:events/events@0.1.0", declared)?.local("emit", emit)?;
    Ok(())
}

fn emit<'s>(
    state: &'s mut State,
    (kind, data, subject): &'s Parameters,
) -> Answer<'s, ((Result<String, Error>,), Staged)> {
    async move {
        let mask = &state.held.mask;
        let event = NewEvent {
            kind: mask.owned(kind.clone()),
            subject: subject.clone().map(|subject| mask.owned(subject)),
            data: masked(mask, data),
        };
        let index = lock(&state.calls).index();
        match state.attempt.records.emit(index, event).await {
            Ok((id, staged)) => ((Ok(id),), staged),
            Err(error) => ((Err(of_port(error)),), Staged::default()),
        }
    }
    .boxed()
}

/// The data without the values of secrets; as they were written where there are none. What is too long or no JSON is for
/// others to refuse.
fn masked(mask: &Mask, data: &str) -> String {
    if data.len() > MAX_EVENT_BYTES {
        return data.to_owned();
    }
    match serde_json::from_str::<serde_json::Value>(data) {
        Ok(value) => {
            let shown = mask.json(value.clone());
            // Of two equal keys the value has the last alone, and the text both.
            let is_clean = shown == value && !mask.is_in(data.as_bytes());
            if is_clean { data.to_owned() } else { shown.to_string() }
        }
        Err(_) => data.to_owned(),
    }
}

fn of_port(error: RecordError) -> Error {
    match error {
        RecordError::Invalid(message) => Error::Invalid(message),
        RecordError::TooLarge(message) => Error::TooLarge(message),
        RecordError::TooMany(message) => Error::TooMany(message),
        RecordError::Unavailable(message) => Error::Unavailable(message),
        RecordError::Conflict(message) | RecordError::NotFound(message) => Error::Other(message),
    }
}
