//! `yuanli:state`: small values of a plugin in a workflow.

use futures::FutureExt;
use wasmtime::component::Linker;
use yuanli_bindings::state::{Entry, Error};
use yuanli_ports::journal::Staged;
use yuanli_ports::records::{Expected, RecordError, StateEntry};

use crate::call::{Answer, Function, Interface};
use crate::guest::{Guest, State};

/// What a change gives: its answer, and the change.
type Changed<'s, T> = Answer<'s, ((Result<T, Error>,), Staged)>;

pub(super) fn link(linker: &mut Linker<Guest>, declared: &mut Vec<Function>) -> wasmtime::Result<()> {
    Interface::open(linker, "yuanli:state/state@0.1.0", declared)?
        .read("get", get)?
        .local("set", set)?
        .local("compare-and-set", compare_and_set)?
        .local("delete", delete)?
        .read("list", list)?;
    Ok(())
}

fn get(state: &mut State, (key,): (String,)) -> Answer<'_, (Result<Option<Entry>, Error>,)> {
    async move {
        let found = state.attempt.records.state(&state.plugin.name, &key).await;
        (found.map(|found| found.map(entry)).map_err(of_port),)
    }
    .boxed()
}

fn list(
    state: &mut State,
    (prefix, after): (String, Option<String>),
) -> Answer<'_, (Result<Vec<Entry>, Error>,)> {
    async move {
        let found = state.attempt.records.states(&state.plugin.name, &prefix, after.as_deref()).await;
        let found = found.map(|found| found.into_iter().map(entry).collect());
        (found.map_err(of_port),)
    }
    .boxed()
}

fn set<'s>(state: &'s mut State, (key, value): &'s (String, Vec<u8>)) -> Changed<'s, u64> {
    async move { put(state, key, value, Expected::Anything).await }.boxed()
}

fn compare_and_set<'s>(
    state: &'s mut State,
    (key, expected, value): &'s (String, Option<u64>, Vec<u8>),
) -> Changed<'s, u64> {
    let expected = expected.map_or(Expected::Absent, Expected::Revision);
    async move { put(state, key, value, expected).await }.boxed()
}

async fn put(state: &State, key: &str, value: &[u8], expected: Expected) -> ((Result<u64, Error>,), Staged) {
    let mask = &state.held.mask;
    if mask.is_in(key.as_bytes()) || mask.is_in(value) {
        let message = "key or value hold the value of a secret; people can read what is kept: keep the secret's name instead";
        return ((Err(Error::Invalid(message.to_owned())),), Staged::default());
    }
    let value = Some(value.to_vec().into());
    match state.attempt.records.set_state(&state.plugin.name, key, value, expected).await {
        Ok((revision, _, staged)) => ((Ok(revision),), staged),
        Err(error) => ((Err(of_port(error)),), Staged::default()),
    }
}

fn delete<'s>(state: &'s mut State, (key,): &'s (String,)) -> Changed<'s, bool> {
    async move {
        let plugin = &state.plugin.name;
        match state.attempt.records.set_state(plugin, key, None, Expected::Anything).await {
            Ok((_, was_there, staged)) => ((Ok(was_there),), staged),
            Err(error) => ((Err(of_port(error)),), Staged::default()),
        }
    }
    .boxed()
}

fn entry(StateEntry { key, value, revision, .. }: StateEntry) -> Entry {
    Entry { key, value: value.to_vec(), revision }
}

fn of_port(error: RecordError) -> Error {
    match error {
        RecordError::Invalid(message) => Error::Invalid(message),
        RecordError::TooLarge(message) => Error::TooLarge(message),
        RecordError::TooMany(message) => Error::TooMany(message),
        RecordError::Conflict(message) => Error::Conflict(message),
        RecordError::Unavailable(message) => Error::Unavailable(message),
        RecordError::NotFound(message) => Error::Other(message),
    }
}
