//! `yuanli:images`: builds, names and removes container images.

use futures::FutureExt;
use tokio::sync::watch;
use wasmtime::component::{Linker, Resource};
use yuanli_bindings::images::{Build, BuildRequest, Error, Image};
use yuanli_model::Stream;
use yuanli_ports::containers::ContainerError;
use yuanli_ports::images as port;

use super::path;
use crate::call::{Answer, Class, Function, Interface};
use crate::guest::{Guest, State};

/// A build that was started; holds its outcome once there is one.
pub(crate) type Running = watch::Receiver<Option<Result<Image, Error>>>;

pub(super) fn link(linker: &mut Linker<Guest>, declared: &mut Vec<Function>) -> wasmtime::Result<()> {
    Interface::open(linker, "yuanli:images/images@0.1.0", declared)?
        .resource::<Build>("build")?
        .call_async("start-build", Class::Effect, start_build)?
        .call_async("[method]build.wait", Class::Read, wait)?
        .call_async("inspect", Class::Read, inspect)?
        .call_async("tag", Class::Effect, tag)?
        .call_async("remove", Class::Effect, remove)?;
    Ok(())
}

fn start_build(
    state: &mut State,
    (request,): (BuildRequest,),
) -> Answer<'_, (Result<Resource<Build>, Error>,)> {
    async move { (start(state, request).await,) }.boxed()
}

async fn start(state: &mut State, request: BuildRequest) -> Result<Resource<Build>, Error> {
    if let Some((key, _)) = request.options.first() {
        return Err(Error::Invalid(format!("this engine knows no build option `{key}`")));
    }
    let folder = state.folder().await.map_err(|e| Error::Engine(e.to_string()))?;
    let context = path::below(&folder, &request.context).map_err(|e| Error::Invalid(e.to_string()))?;
    let handle = state.new_handle().ok_or_else(too_many)?;
    let request = port::BuildRequest {
        context,
        dockerfile: request.dockerfile,
        tags: request.tags,
        target: request.target,
        arguments: request.arguments,
        labels: request.labels,
        no_cache: request.no_cache,
    };
    let (done, outcome) = watch::channel(None);
    let (lines, images) = (state.lines.clone(), state.outside.images.clone());
    let cancel = state.attempt.cancel.clone();
    state.begun.spawn(async move {
        let output = lines.channel(Stream::Build);
        let progress = |line: String| {
            output.line(&line);
        };
        let built = images.build(&request, &progress, &cancel).await;
        // Nobody may be left to hear it.
        let _ = done.send(Some(built.map(image).map_err(of_port)));
    });
    state.builds.insert(handle, outcome);
    Ok(Resource::new_own(handle))
}

fn wait(state: &mut State, (build,): (Resource<Build>,)) -> Answer<'_, (Result<Image, Error>,)> {
    async move {
        let Some(running) = state.builds.get_mut(&build.rep()) else {
            return (Err(Error::Invalid("no such build".to_owned())),);
        };
        let ended = running.wait_for(Option::is_some).await.ok().and_then(|outcome| outcome.clone());
        (ended.unwrap_or_else(|| Err(Error::Engine("the build was abandoned".to_owned()))),)
    }
    .boxed()
}

fn inspect(state: &mut State, (name,): (String,)) -> Answer<'_, (Result<Image, Error>,)> {
    async move { (state.outside.images.inspect(&name).await.map(image).map_err(of_port),) }.boxed()
}

fn tag(state: &mut State, (source, name): (String, String)) -> Answer<'_, (Result<(), Error>,)> {
    async move { (state.outside.images.tag(&source, &name).await.map_err(of_port),) }.boxed()
}

fn remove(state: &mut State, (name,): (String,)) -> Answer<'_, (Result<(), Error>,)> {
    async move { (state.outside.images.remove(&name).await.map_err(of_port),) }.boxed()
}

fn image(image: port::Image) -> Image {
    Image { id: image.id, tags: image.tags, size: image.size, labels: image.labels }
}

fn too_many() -> Error {
    // The attempt ends with the limit's own words before it could be read.
    Error::Other("there are too many handles".to_owned())
}

fn of_port(error: ContainerError) -> Error {
    match error {
        ContainerError::Unreachable(message) => Error::Unreachable(message),
        ContainerError::NotFound(message) => Error::NotFound(message),
        ContainerError::Invalid(message) => Error::Invalid(message),
        ContainerError::BuildFailed { message, .. } => Error::BuildFailed(message),
        ContainerError::Engine(message) => Error::Engine(message),
        ContainerError::Cancelled => Error::Other("the run was cancelled".to_owned()),
    }
}
