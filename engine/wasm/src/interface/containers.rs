//! `yuanli:containers`: containers that run to their end.

pub(crate) mod execution;
pub(crate) mod handed;
mod option;
mod readiness;

use std::collections::VecDeque;
use std::future::ready;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use wasmtime::component::{Linker, Resource};
use yuanli_bindings::containers::{Container, Error, Execution, Exit, Request};
use yuanli_model::Stream;
use yuanli_ports::Cancellation;
use yuanli_ports::containers::{
    ContainerError, ContainerId, ContainerNetwork, ContainerRequest, Mount, MountSource,
};

use super::used;
use super::workspace::READ_ONLY;
use crate::call::{Answer, Class, Function, Interface, Opened, Policy};
use crate::guest::{Guest, Left, State};
use crate::journal::lock;
use crate::wait::Waiting;

pub(crate) use option::{SECRET_VARIABLE, SERVICE};

/// Lines that `tail` can give, and how long each may be, as the contract says.
const MAX_TAIL_LINES: usize = 100;
const MAX_TAIL_LINE_BYTES: usize = 4096;

/// How long to wait before Docker is asked again.
const PATIENCE: Duration = Duration::from_millis(500);

/// The function that starts one, whatever its version.
pub(crate) const START: (&str, &str) = ("yuanli:containers/containers", "start");

/// How a container ended, once it has and all its output is in the log.
pub(crate) type Ended = watch::Receiver<Option<Result<Exit, Error>>>;

/// How long a container of an attempt that was cut off has between its stop signal and its end by force, where its request
/// does not say it.
const STOP_GRACE: Duration = Duration::from_secs(10);

/// A container that was started.
#[derive(Debug, Clone)]
pub(crate) struct Running {
    id: ContainerId,
    exit: Ended,
    tail: Arc<Mutex<VecDeque<String>>>,
    /// What a journal knows of it.
    known: Started,
    /// Whether the attempt knows that it has ended; its log may still be read again then.
    is_over: Arc<AtomicBool>,
}

impl Running {
    /// Whether files of the attempt may have changed by it.
    fn is_writer(&self) -> bool {
        self.known.is_writer || !self.known.files.is_empty()
    }
}

/// What a journal knows of a container that was started.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Started {
    id: String,
    /// Whether it can write to the workspace.
    is_writer: bool,
    /// Whether it is in the network of the attempt, and what it is called there.
    is_member: bool,
    service: Option<String>,
    grace: Duration,
    /// The files that it hands over.
    files: handed::Files,
}

pub(super) fn link(linker: &mut Linker<Guest>, declared: &mut Vec<Function>) -> wasmtime::Result<()> {
    Interface::open(linker, "yuanli:containers/containers@0.1.3", declared)?
        .resource::<Container>("container")?
        .opens::<_, Container, _, _>("start", (Class::Effect, Some(Policy::Adopt)), start, note)?
        .waits_noting("[method]container.wait", wait, note_end)?
        .read("[method]container.tail", tail)?
        .effect("[method]container.stop", Policy::Redo, stop)?
        .waits("[method]container.wait-ready", readiness::wait_ready)?
        .waits("[method]container.read-file", handed::read_file)?
        .waits("wait-any", readiness::wait_any)?
        .owned::<Execution>("execution", |state, handle| drop(state.executions.remove(&handle)))?
        .opens::<_, Execution, _, _>(
            "[method]container.prepare",
            (Class::Effect, Some(Policy::Redo)),
            execution::prepare,
            execution::note,
        )?
        .effect("[method]execution.run", Policy::Adopt, execution::run)?;
    Ok(())
}

fn start<'s>(state: &'s mut State, (request,): &'s (Request,)) -> Answer<'s, Result<Started, Error>> {
    async move {
        let is_writer = request.workspace.as_ref().is_some_and(|mount| !mount.read_only);
        let (request, grace, files) = translate(state, request.clone()).await?;
        state.begun.has_containers.store(true, Ordering::Release);
        state.begun.has_network.fetch_or(request.member.is_some(), Ordering::AcqRel);
        used::used(state, &request.image).await;
        let (is_member, service) =
            (request.member.is_some(), request.member.as_ref().and_then(|member| member.name.clone()));
        let started = start_carefully(state, request, grace).await;
        // Whether there is one after all is not known then.
        state.begun.is_unsure.fetch_or(started.is_err(), Ordering::AcqRel);
        let started = started.map_err(of_port)?;
        Ok(Started { id: started.0, is_writer, is_member, service, grace, files })
    }
    .boxed()
}

/// Starts a container, or finds it. It is waited for also when the attempt is cut off meanwhile, so that what comes of it is known
/// when the attempt is cleared away: one that runs then is stopped, as nobody hears of it any more. It is removed with the others.
async fn start_carefully(
    state: &State,
    request: ContainerRequest,
    grace: Duration,
) -> Result<ContainerId, ContainerError> {
    let (outside, is_reconciling) = (Arc::clone(&state.outside), state.is_reconciling);
    let start = move |cancel: Cancellation| {
        async move {
            let containers = &outside.containers;
            let started = match is_reconciling {
                false => containers.start(&request).await,
                true => patiently(|| containers.adopt(&request), || !cancel.is_cancelled()).await,
            };
            if let Ok(container) = &started
                && cancel.is_cancelled()
                && let Err(error) = containers.stop(container, grace).await
            {
                tracing::warn!(container = container.0, %error, "a container that nobody waits for is not stopped");
            }
            started
        }
        .boxed()
    };
    let started = state.begun.carefully(&state.attempt.cancel, start).await;
    started.unwrap_or_else(|| Err(ContainerError::Engine("the start was abandoned".to_owned())))
}

/// Asks until Docker answers: an engine that starts together with its machine is often there first, and what an attempt is
/// told then counts for good. The time of the attempt bounds it. `may_repeat` says whether nothing has come of it yet.
async fn patiently<T, F>(ask: impl Fn() -> F, may_repeat: impl Fn() -> bool) -> Result<T, ContainerError>
where
    F: Future<Output = Result<T, ContainerError>>,
{
    loop {
        match ask().await {
            Err(ContainerError::Unreachable(_)) if may_repeat() => tokio::time::sleep(PATIENCE).await,
            answer => return answer,
        }
    }
}

fn note(state: &mut State, (request,): &(Request,), Opened { handle, what, is_again }: Opened<Started>) {
    lock(&state.calls).note_request(request);
    state.begun.has_containers.store(true, Ordering::Release);
    state.begun.has_network.fetch_or(what.is_member, Ordering::AcqRel);
    // An instance before this one has it followed already.
    if let Some(running) = state.begun.running(handle) {
        state.containers.insert(handle, running);
        return;
    }
    let grace = what.grace;
    let running = follow(state, request, what, is_again);
    let (id, exit, is_over) = (running.id.clone(), running.exit.clone(), Arc::clone(&running.is_over));
    state.begun.add_container(Left { id, exit, grace, is_over });
    state.begun.add_running(handle, running.clone());
    state.containers.insert(handle, running);
}

/// The request in the words of the port, the grace time of the container, and the files that it hands over.
pub(crate) async fn translate(
    state: &State,
    request: Request,
) -> Result<(ContainerRequest, Duration, handed::Files), Error> {
    let extras = option::read(state, request.options).await?;
    let mut environment = request.environment;
    environment.extend(extras.variables);
    let mut mounts = Vec::new();
    if let Some(workspace) = request.workspace {
        if !workspace.read_only && !state.rights.may_write_workspace() {
            return Err(Error::Invalid(format!("{READ_ONLY}, or `read-only` of the container's mount")));
        }
        let folder = state.folder().await.map_err(|e| Error::Engine(e.to_string()))?;
        let note = handed::note(state, handed::WORKSPACE).await?;
        mounts.push(Mount {
            source: MountSource::Carried { folder, note },
            target: workspace.target,
            is_read_only: workspace.read_only,
        });
    }
    mounts.extend(extras.mounts);
    let (files, folders) = handed::make(state, &extras.files).await?;
    mounts.extend(folders);
    let grace = extras.stop_grace.unwrap_or(STOP_GRACE);
    let request = ContainerRequest {
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
        member: extras.member,
        options: extras.options,
    };
    Ok((request, grace, files))
}

/// Hands the container's output to the log, whether or not the guest waits for it, and brings back what it has changed.
fn follow(state: &State, request: &Request, known: Started, is_again: bool) -> Running {
    let (done, exit) = watch::channel(None);
    let (tail, id) = (Arc::new(Mutex::new(VecDeque::new())), ContainerId(known.id.clone()));
    let [stdout, stderr] = [Stream::Stdout, Stream::Stderr]
        .map(|stream| state.lines.channel_of(stream, known.service.as_deref()));
    let running = Running { id: id.clone(), exit, tail: Arc::clone(&tail), known, is_over: Arc::default() };
    let (outside, left) =
        (Arc::clone(&state.outside), handed::Left::of(state, request, &running.known.files));
    state.begun.spawn(async move {
        let started = outside.clock.now();
        let has_said = AtomicBool::new(false);
        let on_line = |stream: Stream, text: String| {
            has_said.store(true, Ordering::Relaxed);
            let output = if stream == Stream::Stderr { &stderr } else { &stdout };
            remember(&tail, &output.line(&text));
        };
        // Once it has said something, it cannot be asked from the beginning.
        let may_repeat = || is_again && !has_said.load(Ordering::Relaxed);
        let ended = patiently(|| outside.containers.follow(&id, &on_line), may_repeat).await;
        let ended = match ended {
            Ok(exit) => left.bring_back(&*outside.containers, &id).await.map(|()| exit),
            failed => failed,
        };
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

fn wait(state: &mut State, (container,): (Resource<Container>,)) -> Waiting<(Result<Exit, Error>,)> {
    let Some(running) = state.containers.get(&container.rep()) else {
        return ready((Err(no_such_container()),)).boxed();
    };
    let written = Written::of(state, [running]);
    let mut exit = running.exit.clone();
    async move {
        let ended = ended(&mut exit).await;
        written.note(0);
        (ended,)
    }
    .boxed()
}

/// How a container ended, once all its output is in the log.
async fn ended(exit: &mut Ended) -> Result<Exit, Error> {
    let ended = exit.wait_for(Option::is_some).await.ok().and_then(|exit| exit.clone());
    ended.unwrap_or_else(|| Err(Error::Engine("the container was abandoned".to_owned())))
}

/// Whoever knows that a container has ended finds what it has written.
struct Written {
    is_written: Arc<AtomicBool>,
    /// Which of the containers can write.
    writers: Vec<bool>,
}

impl Written {
    fn of<'r>(state: &State, containers: impl IntoIterator<Item = &'r Running>) -> Self {
        let is_written = Arc::clone(&state.begun.is_workspace_written);
        Self { is_written, writers: containers.into_iter().map(Running::is_writer).collect() }
    }

    /// That one of them has ended.
    fn note(&self, container: usize) {
        let is_writer = self.writers.get(container).is_some_and(|is_writer| *is_writer);
        self.is_written.fetch_or(is_writer, Ordering::AcqRel);
    }
}

/// What was told of an end, now or before the attempt was begun again.
fn note_end(state: &mut State, container: Option<u32>, (ended,): &(Result<Exit, Error>,)) {
    if let Some(running) = container.and_then(|container| state.containers.get(&container)) {
        running.is_over.fetch_or(ended.is_ok(), Ordering::AcqRel);
    }
}

fn tail(state: &mut State, (container, lines): (Resource<Container>, u32)) -> Answer<'_, (Vec<String>,)> {
    async move {
        let Some(running) = state.containers.get_mut(&container.rep()) else {
            return (Vec::new(),);
        };
        if running.is_over.load(Ordering::Acquire) {
            // Its last lines are there when its log was read again.
            let _ = running.exit.wait_for(Option::is_some).await;
        }
        let tail = running.tail.lock().unwrap_or_else(PoisonError::into_inner);
        let skipped = tail.len().saturating_sub(lines as usize);
        (tail.iter().skip(skipped).cloned().collect(),)
    }
    .boxed()
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
        let stopped = state.outside.containers.stop(&running.id, grace).await.map_err(of_port);
        Written::of(state, [running]).note(0);
        (stopped,)
    }
    .boxed()
}

fn no_such_container() -> Error {
    Error::Invalid("no such container".to_owned())
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
