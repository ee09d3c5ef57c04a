//! A Docker engine in memory, for tests: containers that do what a script says, images that are only names, volumes
//! that are folders.
//!
//! It keeps the promises of [`Containers`], [`Images`], [`yuanli_ports::Registries`], [`yuanli_ports::Replicas`] and
//! [`yuanli_ports::Volumes`];
//! `tests/docker/contract.rs` and `tests/docker/replica_contract.rs` hold it and the real engine to the same ones. What
//! it does for a command is said beforehand with [`FakeDocker::script`]; a command without a script ends at once with
//! code 0 and no output, in a replica it runs.

mod execution;
mod halves;
mod probe;
mod registry;
mod replica;
mod volume;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Notify;
use yuanli_model::{AttemptId, Digest, EngineId, OperationId, Stream, VolumeName};
use yuanli_ports::containers::{
    Command, ContainerError, ContainerId, ContainerRequest, Executed, Execution, Exit, Member, Mount, OnLine,
    Probe, Probed,
};
use yuanli_ports::images::{BuildRequest, Image};
use yuanli_ports::registries::RegistryError;
use yuanli_ports::{Cancellation, Containers, Images};

use crate::{image, reference};

pub use halves::Made;

/// The exit code of a container that was ended by SIGKILL.
const KILLED: i64 = 137;

/// What a container does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Behaviour {
    /// Prints these lines and ends with this code.
    Ends {
        /// What it prints.
        lines: Vec<(Stream, String)>,
        /// Its exit code.
        code: i64,
    },
    /// Prints these lines and runs until it is stopped; then it is killed, as a program is that ignores SIGTERM.
    RunsUntilStopped {
        /// What it prints.
        lines: Vec<(Stream, String)>,
    },
    /// Prints these lines and is ended for using too much memory.
    RunsOutOfMemory {
        /// What it prints.
        lines: Vec<(Stream, String)>,
    },
    /// Cannot be started.
    FailsToStart(ContainerError),
}

/// What a build does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BuildBehaviour {
    /// Says these lines and makes an image.
    Succeeds {
        /// What the builder says.
        lines: Vec<String>,
    },
    /// Says these lines and fails.
    Fails {
        /// What the builder says.
        lines: Vec<String>,
        /// What comes of it.
        error: ContainerError,
    },
    /// Says these lines and goes on until it is cancelled.
    RunsUntilCancelled {
        /// What the builder says.
        lines: Vec<String>,
    },
}

/// Something that was asked of the fake, in order.
#[expect(clippy::large_enum_variant, reason = "a test has some of them, and looks into the large one")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// [`Images::build`].
    Build(BuildRequest),
    /// [`Containers::start`].
    Start(ContainerRequest),
    /// [`Containers::execute`], when it is begun: the command, and what it is given to read.
    Execute(Vec<String>, Vec<u8>),
    /// [`Containers::stop`], with its grace time.
    Stop(ContainerId, Duration),
    /// [`Containers::remove`].
    Remove(ContainerId),
    /// [`Containers::remove_all`].
    RemoveAll(EngineId, Option<AttemptId>),
    /// [`yuanli_ports::Registries::push`].
    Push {
        /// The image that was named, where that is not the name that it gets.
        image: Option<String>,
        /// The name that it gets.
        name: String,
        /// The user's name.
        username: Option<String>,
    },
    /// [`yuanli_ports::Registries::pull`].
    Pull {
        /// The image.
        name: String,
        /// Its platform.
        platform: Option<String>,
        /// The user's name.
        username: Option<String>,
    },
}

/// The engine.
#[derive(Debug, Default)]
pub struct FakeDocker {
    state: Mutex<State>,
    /// Rung when something happens to a container or a replica.
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Image ids by name and by id.
    images: BTreeMap<String, Image>,
    /// What commands do, by the image's name and the command.
    scripts: HashMap<(String, Vec<String>), Behaviour>,
    /// What other commands do; without it they end at once, with code 0.
    others: Option<Behaviour>,
    build: Option<BuildBehaviour>,
    containers: BTreeMap<String, Container>,
    /// How many containers were made.
    made: u64,
    /// How many of them may have ended.
    ends: u64,
    fleet: replica::Fleet,
    shelf: volume::Shelf,
    /// Digests of what was pushed, by full name.
    published: BTreeMap<String, String>,
    /// What the next pushes and pulls fail with.
    registry_errors: VecDeque<RegistryError>,
    /// Files that every image has.
    files: BTreeMap<String, Vec<u8>>,
    calls: Vec<Call>,
    /// What probes of running containers find, by the image's name; those of others find them ready.
    probes: HashMap<String, Probed>,
    /// What commands do in running containers, by the image's name and the command.
    commands: HashMap<(String, Vec<String>), Behaviour>,
    executions: HashMap<String, execution::Prepared>,
    /// Set while the engine is "down".
    outage: Option<String>,
}

#[derive(Debug)]
struct Container {
    operation: OperationId,
    image: String,
    member: Option<Member>,
    volumes: Vec<VolumeName>,
    lines: Vec<(Stream, String)>,
    exit: Option<Exit>,
    /// Which end of all ends it was, once it has ended.
    ended_at: Option<u64>,
    /// Whether it was made and not started.
    is_created: bool,
    /// What it does once it is started.
    behaviour: Behaviour,
    /// No other container has this number, whatever its name.
    serial: u64,
}

impl FakeDocker {
    /// An engine with nothing on it.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts an image on it.
    pub fn add_image(&self, name: &str) {
        let id = Digest::of(name.as_bytes()).to_string();
        self.state().put_image(Image { id, tags: vec![full_name(name)], size: 1, labels: Vec::new() });
    }

    /// Says what a command does in an image. Applies to containers that are started later.
    pub fn script(&self, image: &str, command: &[&str], behaviour: Behaviour) {
        let command = command.iter().map(|&part| part.to_owned()).collect();
        self.state().scripts.insert((full_name(image), command), behaviour);
    }

    /// Says what commands do that have no script. Applies to containers that are started later.
    pub fn script_others(&self, behaviour: Behaviour) {
        self.state().others = Some(behaviour);
    }

    /// Forgets everything, as a new engine.
    pub fn reset(&self) {
        *self.state() = State::default();
        self.changed.notify_waiters();
    }

    /// Says what builds do from now on; before that they succeed silently.
    pub fn script_builds(&self, behaviour: BuildBehaviour) {
        self.state().build = Some(behaviour);
    }

    /// Makes every call fail as if the engine could not be reached, or mends it.
    pub fn set_outage(&self, message: Option<&str>) {
        self.state().outage = message.map(str::to_owned);
    }

    /// What was asked of it so far.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.state().calls.clone()
    }

    /// The names of the containers that are there, ended ones too, sorted.
    #[must_use]
    pub fn containers(&self) -> Vec<String> {
        self.state().containers.keys().cloned().collect()
    }

    /// Ends a container that runs, as if its program had: it prints these lines and gives this code.
    pub fn end(&self, name: &str, lines: &[&str], code: i64) {
        let mut state = self.state();
        let ended_at = Some(state.next_end());
        if let Some(found) = state.running(name) {
            found.print(lines);
            found.ended_at = ended_at;
            found.exit = Some(Exit { code, is_out_of_memory: false });
        }
        drop(state);
        self.changed.notify_waiters();
    }

    /// Prints lines in a container that runs, as if its program had.
    pub fn print(&self, name: &str, lines: &[&str]) {
        if let Some(found) = self.state().running(name) {
            found.print(lines);
        }
        self.changed.notify_waiters();
    }

    /// Whether a container of that name runs.
    #[must_use]
    pub fn is_running(&self, name: &str) -> bool {
        self.state().running(name).is_some()
    }

    /// Makes a container look as if it had been made and its start had never come.
    pub fn unstart(&self, name: &str) {
        if let Some(found) = self.state().containers.get_mut(name) {
            found.is_created = true;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records a call; fails while there is an outage.
    fn called(&self, call: Option<Call>) -> Result<MutexGuard<'_, State>, ContainerError> {
        let mut state = self.state();
        state.calls.extend(call);
        match &state.outage {
            Some(message) => Err(ContainerError::Unreachable(message.clone())),
            None => Ok(state),
        }
    }
}

impl FakeDocker {
    /// Lets registries have an image of this name, which the engine has not.
    pub fn publish(&self, image: &str) {
        let digest = Digest::of(image.as_bytes()).to_string();
        self.state().published.insert(full_name(image), digest);
    }

    /// Lets pushes and pulls fail with what comes to mind first, one error a call.
    pub fn fail_registries(&self, errors: Vec<RegistryError>) {
        self.state().registry_errors = errors.into();
    }

    /// Gives every image a file.
    pub fn add_file(&self, path: &str, content: &[u8]) {
        self.state().files.insert(path.to_owned(), content.to_vec());
    }
}

impl Container {
    fn print(&mut self, lines: &[&str]) {
        self.lines.extend(lines.iter().map(|line| (Stream::Stdout, (*line).to_owned())));
    }
}

impl State {
    /// Which end of all ends the next one is.
    fn next_end(&mut self) -> u64 {
        self.ends += 1;
        self.ends
    }

    /// A container that runs.
    fn running(&mut self, name: &str) -> Option<&mut Container> {
        self.containers.get_mut(name).filter(|found| !found.is_created && found.exit.is_none())
    }

    /// Puts an image here, or gives the one of that id more names. Names are taken from whichever image had them.
    fn put_image(&mut self, mut image: Image) {
        for tag in &image.tags {
            self.remove_tag(tag);
        }
        if let Some(present) = self.images.get(&image.id) {
            image.tags.extend(present.tags.iter().cloned());
        }
        for name in image.tags.iter().chain([&image.id]) {
            self.images.insert(name.clone(), image.clone());
        }
    }

    fn image(&self, name: &str) -> Result<&Image, ContainerError> {
        reference::check(name)?;
        self.images
            .get(name)
            .or_else(|| self.images.get(&full_name(name)))
            .ok_or_else(|| image::missing(name))
    }

    /// Takes a name away from whichever image has it; the image goes with its last name.
    fn remove_tag(&mut self, tag: &str) {
        let Some(mut image) = self.images.remove(tag) else { return };
        image.tags.retain(|other| other != tag);
        self.images.remove(&image.id);
        if !image.tags.is_empty() {
            for name in image.tags.iter().chain([&image.id]) {
                self.images.insert(name.clone(), image.clone());
            }
        }
    }

    fn remove_container(&mut self, id: &str) -> bool {
        self.containers.remove(id).is_some()
    }
}

/// A name with its tag, as Docker lists it; ids stay as they are.
fn full_name(name: &str) -> String {
    reference::parse_tag(name)
        .map_or_else(|_| name.to_owned(), |(repository, tag)| format!("{repository}:{tag}"))
}

#[async_trait]
impl Containers for FakeDocker {
    async fn start(&self, request: &ContainerRequest) -> Result<ContainerId, ContainerError> {
        let made = self.create(request)?;
        self.launch(&made)
    }

    async fn adopt(&self, request: &ContainerRequest) -> Result<ContainerId, ContainerError> {
        let name = request.operation.to_string();
        {
            let mut state = self.called(None)?;
            match state.containers.get(&name) {
                Some(found) if !found.is_created => return Ok(ContainerId(name)),
                Some(_) => {
                    state.containers.remove(&name);
                }
                None => {}
            }
        }
        self.start(request).await
    }

    async fn follow(&self, container: &ContainerId, on_line: OnLine<'_>) -> Result<Exit, ContainerError> {
        let mut handed = 0;
        loop {
            let changed = self.changed.notified();
            let (lines, exit) = {
                let state = self.called(None)?;
                let found = state.containers.get(&container.0).ok_or_else(|| {
                    ContainerError::NotFound(format!("the container {} is not there", container.0))
                })?;
                (found.lines[handed..].to_vec(), found.exit)
            };
            handed += lines.len();
            lines.into_iter().for_each(|(stream, text)| on_line(stream, text));
            match exit {
                Some(exit) => return Ok(exit),
                None => changed.await,
            }
        }
    }

    async fn ended_at(&self, container: &ContainerId) -> Result<Option<u64>, ContainerError> {
        let state = self.called(None)?;
        let found = state.containers.get(&container.0);
        let found = found
            .ok_or_else(|| ContainerError::NotFound(format!("the container {} is not there", container.0)))?;
        Ok(found.exit.and(found.ended_at))
    }

    async fn bring_back(&self, _: &ContainerId, _: &[Mount]) -> Result<(), ContainerError> {
        // It sees the files of this machine.
        Ok(())
    }

    async fn stop(&self, container: &ContainerId, grace: Duration) -> Result<(), ContainerError> {
        let mut state = self.called(Some(Call::Stop(container.clone(), grace)))?;
        let ended_at = state.next_end();
        if let Some(found) = state.containers.get_mut(&container.0) {
            found.ended_at.get_or_insert(ended_at);
            found.exit.get_or_insert(Exit { code: KILLED, is_out_of_memory: false });
        }
        self.changed.notify_waiters();
        Ok(())
    }

    async fn remove(&self, container: &ContainerId) -> Result<(), ContainerError> {
        self.called(Some(Call::Remove(container.clone())))?.remove_container(&container.0);
        self.changed.notify_waiters();
        Ok(())
    }

    async fn probe(&self, container: &ContainerId, _: &Probe) -> Result<Probed, ContainerError> {
        self.called(None)?.probed(container)
    }

    async fn prepare(&self, container: &ContainerId, command: &Command) -> Result<Execution, ContainerError> {
        self.prepare_command(container, command)
    }

    async fn execute(
        &self,
        execution: &Execution,
        command: &Command,
        input: Vec<u8>,
        on_line: OnLine<'_>,
    ) -> Result<Executed, ContainerError> {
        self.run_command(execution, command, (input, false), on_line).await
    }

    async fn execute_again(
        &self,
        execution: &Execution,
        command: &Command,
        input: Vec<u8>,
        on_line: OnLine<'_>,
    ) -> Result<Executed, ContainerError> {
        self.run_command(execution, command, (input, true), on_line).await
    }

    async fn remove_all(&self, engine: EngineId, attempt: Option<&AttemptId>) -> Result<u64, ContainerError> {
        drop(self.called(Some(Call::RemoveAll(engine, attempt.cloned())))?);
        Ok(self.discard_where(|found| {
            found.engine == engine && attempt.is_none_or(|attempt| found.attempt == *attempt)
        }))
    }

    async fn remove_others(
        &self,
        engine: EngineId,
        kept: &HashSet<AttemptId>,
    ) -> Result<u64, ContainerError> {
        drop(self.called(None)?);
        Ok(self.discard_where(|found| found.engine == engine && !kept.contains(&found.attempt)))
    }
}

#[async_trait]
impl Images for FakeDocker {
    async fn build(
        &self,
        request: &BuildRequest,
        progress: &(dyn Fn(String) + Send + Sync),
        cancel: &Cancellation,
    ) -> Result<Image, ContainerError> {
        let behaviour = self.called(Some(Call::Build(request.clone())))?.build.clone();
        if cancel.is_cancelled() {
            return Err(ContainerError::Cancelled);
        }
        for tag in &request.tags {
            reference::parse_tag(tag)?;
        }
        let context = crate::context::Context::open(&request.context, &request.dockerfile)?;
        let lines = match behaviour {
            None => Vec::new(),
            Some(BuildBehaviour::Succeeds { lines }) => lines,
            Some(BuildBehaviour::Fails { lines, error }) => {
                lines.into_iter().for_each(progress);
                return Err(error);
            }
            Some(BuildBehaviour::RunsUntilCancelled { lines }) => {
                lines.into_iter().for_each(progress);
                cancel.cancelled().await;
                return Err(ContainerError::Cancelled);
            }
        };
        lines.into_iter().for_each(progress);
        let dockerfile = std::fs::read(request.context.join(context.dockerfile())).unwrap_or_default();
        let mut labels = request.labels.clone();
        labels.sort();
        let recipe = format!("{:?}", (dockerfile, &request.target, &request.arguments, &labels));
        let tags = request.tags.iter().map(|tag| full_name(tag)).collect();
        let image = Image { id: Digest::of(recipe.as_bytes()).to_string(), tags, size: 1, labels };
        self.state().put_image(image.clone());
        Ok(image)
    }

    async fn inspect(&self, image: &str) -> Result<Image, ContainerError> {
        self.called(None)?.image(image).cloned()
    }

    async fn read_files(
        &self,
        _: &OperationId,
        image: &str,
        paths: &[String],
        _: u64,
    ) -> Result<Vec<Option<Vec<u8>>>, ContainerError> {
        let state = self.called(None)?;
        state.image(image)?;
        Ok(paths.iter().map(|path| state.files.get(path).cloned()).collect())
    }

    async fn save(&self, images: &[String], mut to: File) -> Result<u64, ContainerError> {
        let state = self.called(None)?;
        let found = images.iter().map(|name| Ok(format!("{}\t{name}\n", state.image(name)?.id)));
        let archive = found.collect::<Result<String, ContainerError>>()?;
        to.write_all(archive.as_bytes()).map_err(|error| ContainerError::Engine(error.to_string()))?;
        Ok(archive.len() as u64)
    }

    async fn load(&self, mut from: File) -> Result<Vec<Image>, ContainerError> {
        let mut state = self.called(None)?;
        let mut archive = String::new();
        from.read_to_string(&mut archive).map_err(|error| ContainerError::Engine(error.to_string()))?;
        let mut images = Vec::new();
        for line in archive.lines() {
            let (id, name) = line
                .split_once('\t')
                .ok_or_else(|| ContainerError::Invalid("it is no archive of images".to_owned()))?;
            let tags = if name.starts_with("sha256:") { Vec::new() } else { vec![full_name(name)] };
            state.put_image(Image { id: id.to_owned(), tags, size: 1, labels: Vec::new() });
            images.push(state.image(id)?.clone());
        }
        Ok(images)
    }

    async fn tag(&self, image: &str, tag: &str) -> Result<(), ContainerError> {
        let mut state = self.called(None)?;
        reference::parse_tag(tag)?;
        let mut image = state.image(image)?.clone();
        image.tags.push(full_name(tag));
        state.put_image(image);
        Ok(())
    }

    async fn remove(&self, image: &str) -> Result<(), ContainerError> {
        let mut state = self.called(None)?;
        reference::check(image)?;
        let Ok(found) = state.image(image).cloned() else { return Ok(()) };
        let is_id = found.id == image;
        if is_id {
            found.tags.iter().for_each(|tag| state.remove_tag(tag));
            state.images.remove(&found.id);
        } else {
            state.remove_tag(&full_name(image));
        }
        Ok(())
    }
}
