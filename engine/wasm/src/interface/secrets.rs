//! `yuanli:secrets` and `yuanli:secrets-reveal`: handles of secrets, and what they stand for.

use wasmtime::component::{Linker, Resource};
use yuanli_bindings::secrets::{Error, Secret};
use yuanli_bindings::secrets_reveal::Error as RevealError;
use yuanli_ports::secrets::SecretError;

use crate::call::{Answer, Class, Function, Interface, Opened};
use crate::guest::{Guest, State};
use crate::secret::Held;

pub(super) fn link(linker: &mut Linker<Guest>, declared: &mut Vec<Function>) -> wasmtime::Result<()> {
    Interface::open(linker, "yuanli:secrets/secrets@0.1.0", declared)?
        .owned::<Secret>("secret", |state, handle| drop(state.secrets.remove(&handle)))?
        .silent("[method]secret.name", name)?
        .opens::<_, Secret, _, _>("get", (Class::Read, None), get, note)?;
    Interface::open(linker, "yuanli:secrets-reveal/secrets-reveal@0.1.0", declared)?
        .secret("reveal", |state: &mut State, (secret,): (Resource<Secret>,)| (reveal(state, &secret),))?;
    Ok(())
}

fn get<'s>(state: &'s mut State, (name,): &'s (String,)) -> Answer<'s, Result<String, Error>> {
    let found = match state.held.get(name) {
        None => Err(Error::Denied(Held::denied(name))),
        Some((_, Err(error))) => Err(of_port(error)),
        Some((name, Ok(_))) => Ok(name.to_string()),
    };
    Box::pin(std::future::ready(found))
}

fn note(state: &mut State, _: &(String,), Opened { handle, what, .. }: Opened<String>) {
    // Its name was a secret's when it was asked for.
    if let Ok(name) = what.parse() {
        state.secrets.insert(handle, name);
    }
}

fn name(state: &mut State, (secret,): (Resource<Secret>,)) -> (String,) {
    (state.secrets.get(&secret.rep()).map(ToString::to_string).unwrap_or_default(),)
}

fn reveal(state: &State, secret: &Resource<Secret>) -> Result<Vec<u8>, RevealError> {
    match state.secret(secret.rep()) {
        Some((_, Ok(value))) => Ok(value.expose().to_vec()),
        Some((_, Err(error))) => Err(RevealError::NotFound(error.to_string())),
        None => Err(RevealError::NotFound("no such secret".to_owned())),
    }
}

fn of_port(error: &SecretError) -> Error {
    match error {
        SecretError::Unknown(message) => Error::NotFound(message.clone()),
        SecretError::Invalid(message) => Error::Other(message.clone()),
        SecretError::Local(message) => Error::Unavailable(message.clone()),
    }
}
