//! `yuanli:secrets` and `yuanli:secrets-reveal`: handles of secrets, and what they stand for.

use wasmtime::component::{Linker, Resource};
use yuanli_bindings::secrets::{Error, Secret};
use yuanli_bindings::secrets_reveal::Error as RevealError;
use yuanli_ports::secrets::SecretError;

use crate::call::{Class, Function, Interface};
use crate::guest::{Guest, State};
use crate::secret::Held;

pub(super) fn link(linker: &mut Linker<Guest>, declared: &mut Vec<Function>) -> wasmtime::Result<()> {
    Interface::open(linker, "yuanli:secrets/secrets@0.1.0", declared)?
        .owned::<Secret>("secret", |state, handle| drop(state.secrets.remove(&handle)))?
        .call("[method]secret.name", Class::Silent, name)?
        .call("get", Class::Read, get)?;
    Interface::open(linker, "yuanli:secrets-reveal/secrets-reveal@0.1.0", declared)?.call(
        "reveal",
        Class::Secret,
        |state: &mut State, (secret,): (Resource<Secret>,)| (reveal(state, &secret),),
    )?;
    Ok(())
}

fn get(state: &mut State, (name,): (String,)) -> (Result<Resource<Secret>, Error>,) {
    let found = match state.held.get(&name) {
        None => Err(Error::Denied(Held::denied(&name))),
        Some((_, Err(error))) => Err(of_port(error)),
        Some((name, Ok(_))) => Ok(name.clone()),
    };
    let opened = found.and_then(|name| {
        let handle = state.new_handle().ok_or_else(too_many)?;
        state.secrets.insert(handle, name);
        Ok(Resource::new_own(handle))
    });
    (opened,)
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

fn too_many() -> Error {
    // The attempt ends with the limit's own words before it could be read.
    Error::Other("there are too many handles".to_owned())
}

fn of_port(error: &SecretError) -> Error {
    match error {
        SecretError::Unknown(message) => Error::NotFound(message.clone()),
        SecretError::Invalid(message) => Error::Other(message.clone()),
        SecretError::Local(message) => Error::Unavailable(message.clone()),
    }
}
