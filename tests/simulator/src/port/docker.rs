//! Docker: each request takes its time on the way there and back, and goes on when the engine that sent it is gone: it may
//! arrive, late, or never.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::oneshot;
use yuanli_docker::fake::{FakeDocker, Made};
use yuanli_model::{AttemptId, EngineId, OperationId, VolumeName, WorkflowName};
use yuanli_ports::containers::{
    Command, ContainerError, ContainerId, ContainerRequest, Executed, Execution, Exit, Mount, OnLine, Probe,
    Probed,
};
use yuanli_ports::images::{BuildRequest, Image};
use yuanli_ports::registries::{Login, Pulled, Push, RegistryError};
use yuanli_ports::volumes::{FoundVolume, VolumeUsage};
use yuanli_ports::{Cancellation, Containers, Images, Registries, Volumes};

use super::Place;
use crate::world::{ENGINE, World};

/// How long nothing may be heard of a request before it is given up.
const DEADLINE: Duration = Duration::from_secs(60);
/// How often a container that somebody else makes and removes is looked at, as the adapter does.
const LOOKS: u32 = 10;

/// Docker as the engine reaches it.
#[derive(Debug)]
pub(crate) struct SimDocker(pub(crate) Place);

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It is done and answered.
    Done,
    /// It does not arrive, and its sender hears of that.
    Refused,
    /// It is done, and no answer comes.
    Unanswered,
}

impl World {
    fn fate(&self, one_in: u64) -> Fate {
        match self.faults.strikes(&self.chance, one_in) {
            false => Fate::Done,
            true if self.chance.one_in(2) => Fate::Refused,
            true => Fate::Unanswered,
        }
    }
}

impl SimDocker {
    /// Sends a request.
    async fn send<T: Send + 'static>(
        &self,
        what: String,
        work: impl FnOnce(&Arc<World>, &FakeDocker) -> Result<T, ContainerError> + Send + 'static,
    ) -> Result<T, ContainerError> {
        let (world, life) = self.0.now();
        life.pass(&world, &format!("before {what}")).await;
        let fate = world.fate(world.faults.docker);
        let (answer, answered) = oneshot::channel();
        let (sender, outside) = (Arc::clone(&life), Arc::clone(&world));
        world.spawn(async move {
            let chance = &outside.chance;
            tokio::time::sleep(chance.millis(0..=40)).await;
            let unreachable = || Err(ContainerError::Unreachable("the connection broke".to_owned()));
            if fate == Fate::Refused || sender.is_over() && chance.one_in(2) {
                let _ = answer.send(unreachable());
                return;
            }
            if sender.is_over() {
                // As late as requests of the dead are.
                tokio::time::sleep(chance.millis(0..=2_000)).await;
                outside.note("a late request arrives");
            }
            let outcome = work(&outside, &outside.docker);
            tokio::time::sleep(chance.millis(0..=40)).await;
            if fate == Fate::Unanswered {
                tokio::time::sleep(DEADLINE).await;
                let _ = answer.send(unreachable());
                return;
            }
            let _ = answer.send(outcome);
        });
        let Ok(outcome) = answered.await else { return std::future::pending().await };
        let told = if outcome.is_ok() { "done" } else { "failed" };
        life.pass(&world, &format!("after {what}: {told}")).await;
        outcome
    }

    /// What a removal may find that looks for containers first: whatever is there; when its sender has died on the way, what
    /// was there when it was sent, as the dead ask for no list.
    fn found(&self) -> impl Fn(&OperationId) -> bool + Send + use<> {
        let (world, sender) = self.0.now();
        let there: HashSet<String> = world.docker.containers().into_iter().collect();
        move |operation| !sender.is_over() || there.contains(&operation.to_string())
    }

    async fn create(&self, request: &ContainerRequest) -> Result<Made, ContainerError> {
        // Goes with this future, when nobody waits for it any more.
        let waits = Arc::new(());
        let (asked, is_waited_for) = (request.clone(), Arc::downgrade(&waits));
        let create = move |world: &Arc<World>, docker: &FakeDocker| {
            let made = docker.create(&asked)?;
            let mut ledger = world.ledger();
            let container = ledger.containers.entry(asked.operation.to_string()).or_default();
            (container.command, container.is_late) = (asked.command, is_waited_for.strong_count() == 0);
            Ok(made)
        };
        let made = self.send(format!("create {}", request.operation), create).await;
        drop(waits);
        made
    }

    /// Starts one that was made. As the adapter does: one that does not start is removed; with `is_left` one stays of which
    /// nobody knows whether it was started.
    async fn launch(&self, name: &str, made: Made, is_left: bool) -> Result<ContainerId, ContainerError> {
        let launch = move |world: &Arc<World>, docker: &FakeDocker| {
            let id = docker.launch(&made)?;
            world.launched(id.0.clone());
            Ok(id)
        };
        let started = self.send(format!("launch {name}"), launch).await;
        match &started {
            Ok(_) => self.know(name),
            Err(ContainerError::Unreachable(_)) if is_left => {}
            // What becomes of that is nobody's concern.
            Err(_) => drop(Containers::remove(self, &ContainerId(name.to_owned())).await),
        }
        started
    }

    /// The engine has heard that a container runs, or has run.
    fn know(&self, name: &str) {
        self.0.now().0.ledger().containers.entry(name.to_owned()).or_default().is_known = true;
    }

    async fn start_with(
        &self,
        request: &ContainerRequest,
        is_left: bool,
    ) -> Result<ContainerId, ContainerError> {
        let made = self.create(request).await?;
        self.launch(&request.operation.to_string(), made, is_left).await
    }
}

/// A container that the engine knows is asked to end before it is removed, where Docker answers.
fn check_asked(world: &World, docker: &FakeDocker, attempt: Option<&AttemptId>) {
    let Some(attempt) = attempt.filter(|_| world.faults.docker == 0) else { return };
    let prefix = format!("{}-", attempt_name(attempt));
    for name in docker.containers().into_iter().filter(|name| name.starts_with(&prefix)) {
        let is_unasked =
            world.ledger().containers.get(&name).is_some_and(|found| found.is_known && !found.is_asked);
        if docker.is_running(&name) && is_unasked {
            world.accuse(format!("{name} runs, and is removed without being asked to end"));
        }
    }
}

/// What the names of all containers of an attempt begin with.
pub(super) fn attempt_name(attempt: &AttemptId) -> String {
    let AttemptId { run, stage, instance, attempt } = attempt;
    format!("yuanli-{ENGINE}-{run}-{stage}-{instance}-{attempt}")
}

#[async_trait]
impl Containers for SimDocker {
    async fn start(&self, request: &ContainerRequest) -> Result<ContainerId, ContainerError> {
        self.start_with(request, true).await
    }

    async fn adopt(&self, request: &ContainerRequest) -> Result<ContainerId, ContainerError> {
        let (name, operation) = (request.operation.to_string(), request.operation.clone());
        for _ in 0..LOOKS {
            let looked_for = operation.clone();
            let look = move |_: &Arc<World>, docker: &FakeDocker| docker.look(&looked_for);
            match self.send(format!("look for {name}"), look.clone()).await? {
                Some((_, true)) => {
                    self.know(&name);
                    return Ok(ContainerId(name));
                }
                Some((made, false)) => {
                    let remove = move |_: &Arc<World>, docker: &FakeDocker| docker.remove_unstarted(&made);
                    self.send(format!("remove unstarted {name}"), remove).await?;
                }
                None => match self.start_with(request, true).await {
                    Err(ContainerError::Engine(_))
                        if self.send(format!("look again for {name}"), look).await?.is_some() => {}
                    started => return started,
                },
            }
        }
        Err(ContainerError::Engine(format!("somebody else makes and removes `{name}`")))
    }

    async fn follow(&self, container: &ContainerId, on_line: OnLine<'_>) -> Result<Exit, ContainerError> {
        let (world, life) = self.0.now();
        life.pass(&world, &format!("follow {}", container.0)).await;
        // A log is not read again in no time.
        tokio::time::sleep(world.chance.millis(0..=500)).await;
        let breaks = async {
            match world.faults.strikes(&world.chance, world.faults.docker) {
                true => tokio::time::sleep(world.chance.millis(0..=20_000)).await,
                false => std::future::pending().await,
            }
        };
        let followed = tokio::select! {
            biased;
            followed = world.docker.follow(container, on_line) => followed,
            () = breaks => Err(ContainerError::Unreachable("the connection broke".to_owned())),
        };
        life.pass(&world, &format!("followed {}: {followed:?}", container.0)).await;
        followed
    }

    async fn ended_at(&self, container: &ContainerId) -> Result<Option<u64>, ContainerError> {
        let (world, _) = self.0.now();
        Containers::ended_at(&world.docker, container).await
    }

    async fn bring_back(&self, _: &ContainerId, _: &[Mount]) -> Result<(), ContainerError> {
        Ok(())
    }

    async fn stop(&self, container: &ContainerId, _: Duration) -> Result<(), ContainerError> {
        let id = container.clone();
        let stop = move |world: &Arc<World>, docker: &FakeDocker| {
            world.ledger().containers.entry(id.0.clone()).or_default().is_asked = true;
            docker.end(&id.0, &[], 137);
            Ok(())
        };
        self.send(format!("stop {}", container.0), stop).await
    }

    async fn remove(&self, container: &ContainerId) -> Result<(), ContainerError> {
        let id = container.clone();
        let remove = move |_: &Arc<World>, docker: &FakeDocker| {
            docker.discard(&id.0);
            Ok(())
        };
        self.send(format!("remove {}", container.0), remove).await
    }

    async fn probe(&self, container: &ContainerId, probe: &Probe) -> Result<Probed, ContainerError> {
        let (world, _) = self.0.now();
        world.docker.probe(container, probe).await
    }

    async fn prepare(&self, container: &ContainerId, command: &Command) -> Result<Execution, ContainerError> {
        let (world, _) = self.0.now();
        world.docker.prepare(container, command).await
    }

    async fn execute(
        &self,
        execution: &Execution,
        command: &Command,
        input: Vec<u8>,
        on_line: OnLine<'_>,
    ) -> Result<Executed, ContainerError> {
        let (world, _) = self.0.now();
        world.docker.execute(execution, command, input, on_line).await
    }

    async fn execute_again(
        &self,
        execution: &Execution,
        command: &Command,
        input: Vec<u8>,
        on_line: OnLine<'_>,
    ) -> Result<Executed, ContainerError> {
        let (world, _) = self.0.now();
        world.docker.execute_again(execution, command, input, on_line).await
    }

    async fn remove_all(&self, engine: EngineId, attempt: Option<&AttemptId>) -> Result<u64, ContainerError> {
        let (of, is_meant) = (attempt.cloned(), self.found());
        let remove = move |world: &Arc<World>, docker: &FakeDocker| {
            check_asked(world, docker, of.as_ref());
            Ok(docker.discard_where(|found| {
                is_meant(found)
                    && found.engine == engine
                    && of.as_ref().is_none_or(|attempt| found.attempt == *attempt)
            }))
        };
        self.send(format!("remove all of {attempt:?}"), remove).await
    }

    async fn remove_others(
        &self,
        engine: EngineId,
        kept: &HashSet<AttemptId>,
    ) -> Result<u64, ContainerError> {
        let (kept, is_meant) = (kept.clone(), self.found());
        let remove = move |_: &Arc<World>, docker: &FakeDocker| {
            Ok(docker.discard_where(|found| {
                is_meant(found) && found.engine == engine && !kept.contains(&found.attempt)
            }))
        };
        self.send("remove all others".to_owned(), remove).await
    }
}

#[async_trait]
impl Images for SimDocker {
    async fn build(
        &self,
        request: &BuildRequest,
        progress: &(dyn Fn(String) + Send + Sync),
        cancel: &Cancellation,
    ) -> Result<Image, ContainerError> {
        let (world, _) = self.0.now();
        self.send(format!("build {:?}", request.tags), |_, _| Ok(())).await?;
        let built = world.docker.build(request, progress, cancel).await;
        self.send(format!("have built {:?}", request.tags), |_, _| Ok(())).await?;
        built
    }

    async fn inspect(&self, image: &str) -> Result<Image, ContainerError> {
        let (world, _) = self.0.now();
        Images::inspect(&world.docker, image).await
    }

    async fn read_files(
        &self,
        operation: &OperationId,
        image: &str,
        paths: &[String],
        most: u64,
    ) -> Result<Vec<Option<Vec<u8>>>, ContainerError> {
        let (world, _) = self.0.now();
        world.docker.read_files(operation, image, paths, most).await
    }

    async fn save(&self, images: &[String], to: std::fs::File) -> Result<u64, ContainerError> {
        let (world, _) = self.0.now();
        world.docker.save(images, to).await
    }

    async fn load(&self, from: std::fs::File) -> Result<Vec<Image>, ContainerError> {
        let (world, _) = self.0.now();
        world.docker.load(from).await
    }

    async fn tag(&self, image: &str, tag: &str) -> Result<(), ContainerError> {
        let (world, _) = self.0.now();
        self.send(format!("tag {image} as {tag}"), |_, _| Ok(())).await?;
        Images::tag(&world.docker, image, tag).await?;
        self.send(format!("have tagged {image} as {tag}"), |_, _| Ok(())).await
    }

    async fn remove(&self, image: &str) -> Result<(), ContainerError> {
        let (world, _) = self.0.now();
        Images::remove(&world.docker, image).await
    }
}

#[async_trait]
impl Registries for SimDocker {
    async fn push(
        &self,
        push: Push<'_>,
        progress: &(dyn Fn(String) + Send + Sync),
        cancel: &Cancellation,
    ) -> Result<String, RegistryError> {
        let (world, _) = self.0.now();
        let of_docker = |error: ContainerError| RegistryError::Unreachable(error.to_string());
        self.send(format!("push {}", push.name), |_, _| Ok(())).await.map_err(of_docker)?;
        let pushed = world.docker.push(push, progress, cancel).await;
        self.send(format!("have pushed {}", push.name), |_, _| Ok(())).await.map_err(of_docker)?;
        pushed
    }

    async fn pull(
        &self,
        image: &str,
        platform: Option<&str>,
        login: Option<&Login>,
        progress: &(dyn Fn(String) + Send + Sync),
        cancel: &Cancellation,
    ) -> Result<Pulled, RegistryError> {
        let (world, _) = self.0.now();
        world.docker.pull(image, platform, login, progress, cancel).await
    }

    async fn find(&self, image: &str, login: Option<&Login>) -> Result<String, RegistryError> {
        let (world, _) = self.0.now();
        world.docker.find(image, login).await
    }
}

#[async_trait]
impl Volumes for SimDocker {
    async fn ensure(
        &self,
        engine: EngineId,
        volume: &VolumeName,
        maker: Option<&WorkflowName>,
    ) -> Result<bool, ContainerError> {
        self.0.now().0.docker.ensure(engine, volume, maker).await
    }

    async fn inspect(
        &self,
        engine: EngineId,
        volume: &VolumeName,
    ) -> Result<Option<FoundVolume>, ContainerError> {
        Volumes::inspect(&self.0.now().0.docker, engine, volume).await
    }

    async fn usage(&self, engine: EngineId, volume: &VolumeName) -> Result<VolumeUsage, ContainerError> {
        self.0.now().0.docker.usage(engine, volume).await
    }

    async fn folder(&self, engine: EngineId, volume: &VolumeName) -> Result<Option<PathBuf>, ContainerError> {
        self.0.now().0.docker.folder(engine, volume).await
    }

    async fn list(&self, engine: EngineId) -> Result<Vec<FoundVolume>, ContainerError> {
        self.0.now().0.docker.list(engine).await
    }

    async fn remove(&self, engine: EngineId, volume: &VolumeName) -> Result<(), ContainerError> {
        Volumes::remove(&self.0.now().0.docker, engine, volume).await
    }
}
