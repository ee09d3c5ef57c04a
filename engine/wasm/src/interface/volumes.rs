//! `yuanli:volumes`: volumes of the engine, as far as they were granted.

use futures::FutureExt;
use wasmtime::component::Linker;
use yuanli_bindings::volumes::{Error, Usage, Volume};
use yuanli_model::{VolumeName, volume};
use yuanli_ports::containers::ContainerError;
use yuanli_ports::volumes::FoundVolume;

use crate::call::{Answer, Function, Interface, Policy};
use crate::guest::{Guest, State};

pub(super) fn link(linker: &mut Linker<Guest>, declared: &mut Vec<Function>) -> wasmtime::Result<()> {
    Interface::open(linker, "yuanli:volumes/volumes@0.1.0", declared)?
        .effect("create", Policy::Redo, create)?
        .read("inspect", inspect)?
        .read("list", list)?
        .read("measure", measure)?
        .effect("remove", Policy::Redo, remove)?;
    Ok(())
}

fn create(state: &mut State, (name,): (String,)) -> Answer<'_, (Result<bool, Error>,)> {
    async move {
        let made = async {
            let name = granted(state, &name)?;
            let (engine, maker) = (state.outside.engine, &state.attempt.workflow);
            state.outside.volumes.ensure(engine, &name, Some(maker)).await.map_err(of_port)
        };
        (made.await,)
    }
    .boxed()
}

fn inspect(state: &mut State, (name,): (String,)) -> Answer<'_, (Result<Option<Volume>, Error>,)> {
    async move {
        let found = async {
            let name = granted(state, &name)?;
            let found = state.outside.volumes.inspect(state.outside.engine, &name).await.map_err(of_port)?;
            Ok(found.map(told))
        };
        (found.await,)
    }
    .boxed()
}

fn list(state: &mut State, (): ()) -> Answer<'_, (Result<Vec<Volume>, Error>,)> {
    async move {
        let listed = async {
            let all = state.outside.volumes.list(state.outside.engine).await.map_err(of_port)?;
            let is_granted = |found: &FoundVolume| volume::check(&state.rights.volumes, &found.name).is_ok();
            Ok(all.into_iter().filter(is_granted).map(told).collect())
        };
        (listed.await,)
    }
    .boxed()
}

fn measure(state: &mut State, (name,): (String,)) -> Answer<'_, (Result<Usage, Error>,)> {
    async move {
        let used = async {
            let name = granted(state, &name)?;
            let used = state.outside.volumes.usage(state.outside.engine, &name).await.map_err(of_port)?;
            Ok(Usage { size_bytes: used.size_bytes, containers: used.containers, details: Vec::new() })
        };
        (used.await,)
    }
    .boxed()
}

fn remove(state: &mut State, (name,): (String,)) -> Answer<'_, (Result<(), Error>,)> {
    async move { (removed(state, &name).await,) }.boxed()
}

async fn removed(state: &State, name: &str) -> Result<(), Error> {
    let name = granted(state, name)?;
    volume::check_removal(&state.rights.volumes, &name).map_err(|e| Error::Denied(e.to_string()))?;
    let (engine, volumes) = (state.outside.engine, &state.outside.volumes);
    let Some(found) = volumes.inspect(engine, &name).await.map_err(of_port)? else { return Ok(()) };
    if found.maker.is_none() {
        return Err(Error::InUse(format!(
            "volume `{name}` was made by an app or a restore, not by a stage: stages do not remove it"
        )));
    }
    // It may have no container for now.
    if let Some(app) = state.outside.apps.user_of(&name).await {
        return Err(Error::InUse(format!("volume `{name}` is the one of app `{app}`: delete the app first")));
    }
    volumes.remove(engine, &name).await.map_err(|error| match error {
        ContainerError::Invalid(message) => Error::InUse(message),
        other => of_port(other),
    })
}

/// The volume of a name, when the stage may use it.
fn granted(state: &State, name: &str) -> Result<VolumeName, Error> {
    let name = name.parse().map_err(|e: yuanli_model::id::InvalidId| Error::Invalid(e.to_string()))?;
    match volume::check(&state.rights.volumes, &name) {
        Ok(()) => Ok(name),
        Err(denied) => Err(Error::Denied(denied.to_string())),
    }
}

fn told(found: FoundVolume) -> Volume {
    let FoundVolume { name, maker } = found;
    let workflow = maker.map(|maker| maker.to_string());
    Volume { name: name.to_string(), workflow, details: Vec::new() }
}

fn of_port(error: ContainerError) -> Error {
    match error {
        ContainerError::Unreachable(message) => Error::Unreachable(message),
        ContainerError::NotFound(message) => Error::NotFound(message),
        ContainerError::Invalid(message) | ContainerError::BuildFailed { message, .. } => {
            Error::Invalid(message)
        }
        ContainerError::Engine(message) => Error::Engine(message),
        ContainerError::Cancelled => Error::Other("the run was cancelled".to_owned()),
    }
}
