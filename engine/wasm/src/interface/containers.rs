//! `yuanli:containers`: containers that run to their end.

mod option;

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use tokio::sync::watch;
use wasmtime::component::{Linker, Resource};
use yuanli_bindings::containers::{Container, Error, Exit, Request};
use yuanli_model::Stream;
use yuanli_ports::containers::{
    ContainerError, ContainerId, ContainerNetwork, ContainerRequest, Mount, MountSource,
};

use super::workspace::READ_ONLY;
use crate::call::{Answer, Class, Function, Interface};
use crate::guest::{Guest, Left, State};

/// Lines that `tail` can give, and how long each may be, as the contract says.
const MAX_TAIL_LINES: usize = 100;
const MAX_TAIL_LINE_BYTES: usize = 4096;

/// How a container ended, once it has and all its output is in the log.
pub(crate) type Ended = watch::Receiver<Option<Result<Exit, Error>>>;

/// A container that was started.
#[derive(Debug)]
pub(crate) struct Running {
    id: ContainerId,
    exit: Ended,
    tail: Arc<Mutex<VecDeque<String>>>,
}

pub(super) fn link(linker: &mut Linker<Guest>, declared: &mut Vec<Function>) -> wasmtime::Result<()> {
    Interface::open(linker, "yuanli:containers/containers@0.1.1", declared)?
        .resource::<Container>("container")?
        .call_async("start", Class::Effect, start)?
        .call_async("[method]container.wait", Class::Read, wait)?
        .call("[method]container.tail", Class::Read, tail)?
        .call_async("[method]container.stop", Class::Effect, stop)?;
    Ok(())
}

fn start(state: &mut State, (request,): (Request,)) -> Answer<'_, (Result<Resource<Container>, Error>,)> {
    async move { (begin(state, request).await,) }.boxed()
}

async fn begin(state: &mut State, request: Request) -> Result<Resource<Container>, Error> {
    let request = translate(state, request).await?;
    let handle = state.new_handle().ok_or_else(too_many)?;
    state.begun.has_containers.store(true, Ordering::Release);
    let id = state.outside.containers.start(&request).await.map_err(of_port)?;
    let running = follow(state, id);
    state.begun.add_container(Left { id: running.id.clone(), exit: running.exit.clone() });
    state.containers.insert(handle, running);
    Ok(Resource::new_own(handle))
}

async fn translate(state: &State, request: Request) -> Result<ContainerRequest, Error> {
    let extras = option::read(state, request.options).await?;
    let mut environment = request.environment;
    environment.extend(extras.variables);
    let mut mounts = Vec::new();
    if let Some(workspace) = request.workspace {
        if !workspace.read_only && !state.rights.may_write_workspace() {
            return Err(Error::Invalid(format!("{READ_ONLY}, or `read-only` of the container's mount")));
        }
        let folder = state.folder().await.map_err(|e| Error::Engine(e.to_string()))?;
        mounts.push(Mount {
            source: MountSource::Path(folder),
            target: workspace.target,
            is_read_only: workspace.read_only,
        });
    }
    mounts.extend(extras.mounts);
    Ok(ContainerRequest {
        operation: state.operation(),
        image: request.image,
        command: request.command,
        entrypoint: request.entrypoint,
        environment,
        working_folder: request.working_folder,
        user: request.user,
        mounts,
        network: match (extras.has_host_network, request.network) {
            (true, _) => ContainerNetwork::Host,
            (false, true) => ContainerNetwork::Own,
            (false, false) => ContainerNetwork::None,
        },
        is_privileged: extras.is_privileged,
        memory_bytes: request.memory_bytes,
        cpu_millis: request.cpu_millis,
    })
}

/// Hands the container's output to the log, whether or not the guest waits for it.
fn follow(state: &State, id: ContainerId) -> Running {
    let (done, exit) = watch::channel(None);
    let tail = Arc::new(Mutex::new(VecDeque::new()));
    let running = Running { id: id.clone(), exit, tail: Arc::clone(&tail) };
    let (lines, outside) = (state.lines.clone(), Arc::clone(&state.outside));
    state.begun.spawn(async move {
        let started = outside.clock.now();
        let (stdout, stderr) = (lines.channel(Stream::Stdout), lines.channel(Stream::Stderr));
        let on_line = |stream: Stream, text: String| {
            let output = if stream == Stream::Stderr { &stderr } else { &stdout };
            remember(&tail, &output.line(&text));
        };
        let ended = outside.containers.follow(&id, &on_line).await;
        let duration_ms = outside.clock.now().since(started).as_millis() as u64;
        let exit =
            ended.map(|exit| Exit { code: exit.code, out_of_memory: exit.is_out_of_memory, duration_ms });
        // Nobody may be left to hear it.
        let _ = done.send(Some(exit.map_err(of_port)));
    });
    running
}

fn remember(tail: &Mutex<VecDeque<String>>, text: &str) {
    let mut tail = tail.lock().unwrap_or_else(PoisonError::into_inner);
    if tail.len() == MAX_TAIL_LINES {
        tail.pop_front();
    }
    let mut end = text.len().min(MAX_TAIL_LINE_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    tail.push_back(text[..end].to_owned());
}

fn wait(state: &mut State, (container,): (Resource<Container>,)) -> Answer<'_, (Result<Exit, Error>,)> {
    async move {
        let Some(running) = state.containers.get_mut(&container.rep()) else {
            return (Err(no_such_container()),);
        };
        let exit = running.exit.wait_for(Option::is_some).await.ok().and_then(|exit| exit.clone());
        (exit.unwrap_or_else(|| Err(Error::Engine("the container was abandoned".to_owned()))),)
    }
    .boxed()
}

fn tail(state: &mut State, (container, lines): (Resource<Container>, u32)) -> (Vec<String>,) {
    let Some(running) = state.containers.get(&container.rep()) else {
        return (Vec::new(),);
    };
    let tail = running.tail.lock().unwrap_or_else(PoisonError::into_inner);
    let skipped = tail.len().saturating_sub(lines as usize);
    (tail.iter().skip(skipped).cloned().collect(),)
}

fn stop(
    state: &mut State,
    (container, grace_ms): (Resource<Container>, u32),
) -> Answer<'_, (Result<(), Error>,)> {
    async move {
        let Some(running) = state.containers.get(&container.rep()) else {
            return (Err(no_such_container()),);
        };
        let grace = Duration::from_millis(grace_ms.into());
        (state.outside.containers.stop(&running.id, grace).await.map_err(of_port),)
    }
    .boxed()
}

fn no_such_container() -> Error {
    Error::Invalid("no such container".to_owned())
}

fn too_many() -> Error {
    // The attempt ends with the limit's own words before it could be read.
    Error::Other("there are too many handles".to_owned())
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
