//! Containers of a data directory, also those that images are looked at with: that there may be some is noted before the first is made, so that whoever opens the
//! directory after a crash looks for what belongs to nothing, and nobody else has to ask Docker.

use std::collections::HashSet;
use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::OnceCell;
use yuanli_docker::Docker;
use yuanli_model::{AttemptId, EngineId, OperationId};
use yuanli_ports::containers::{
    Command, ContainerError, ContainerId, ContainerRequest, Executed, Execution, Exit, Mount, OnLine, Probe,
    Probed,
};
use yuanli_ports::images::{BuildRequest, Image};
use yuanli_ports::{Cancellation, Containers, Images};
use yuanli_store::ContainersMark;

/// See the module.
#[derive(Debug)]
pub(crate) struct NotedContainers {
    docker: Arc<Docker>,
    mark: ContainersMark,
    is_noted: OnceCell<()>,
}

impl NotedContainers {
    pub(crate) fn new(docker: Arc<Docker>, mark: ContainersMark) -> Self {
        Self { docker, mark, is_noted: OnceCell::new() }
    }

    async fn note(&self) -> Result<(), ContainerError> {
        let note = async {
            let mark = self.mark.clone();
            let noted = tokio::task::spawn_blocking(move || mark.set(true)).await;
            let failed = |why: String| ContainerError::Engine(format!("no container is made: {why}"));
            noted.map_err(|error| failed(error.to_string()))?.map_err(|error| failed(error.to_string()))
        };
        self.is_noted.get_or_try_init(|| note).await.copied()
    }
}

impl NotedContainers {
    /// What could not be removed is by the next engine.
    fn keep_unless(&self, is_removed: bool) {
        if !is_removed && let Err(error) = self.mark.keep() {
            tracing::warn!(%error, "that a container is left cannot be noted");
        }
    }
}

#[async_trait]
impl Containers for NotedContainers {
    async fn start(&self, request: &ContainerRequest) -> Result<ContainerId, ContainerError> {
        self.note().await?;
        let started = self.docker.start(request).await;
        // It may be made yet.
        self.keep_unless(!matches!(started, Err(ContainerError::Unreachable(_))));
        started
    }

    async fn adopt(&self, request: &ContainerRequest) -> Result<ContainerId, ContainerError> {
        self.note().await?;
        self.docker.adopt(request).await
    }

    async fn follow(&self, container: &ContainerId, on_line: OnLine<'_>) -> Result<Exit, ContainerError> {
        self.docker.follow(container, on_line).await
    }

    async fn ended_at(&self, container: &ContainerId) -> Result<Option<u64>, ContainerError> {
        self.docker.ended_at(container).await
    }

    async fn bring_back(&self, container: &ContainerId, mounts: &[Mount]) -> Result<(), ContainerError> {
        self.docker.bring_back(container, mounts).await
    }

    async fn stop(&self, container: &ContainerId, grace: Duration) -> Result<(), ContainerError> {
        self.docker.stop(container, grace).await
    }

    async fn remove(&self, container: &ContainerId) -> Result<(), ContainerError> {
        let removed = Containers::remove(&*self.docker, container).await;
        self.keep_unless(removed.is_ok());
        removed
    }

    async fn probe(&self, container: &ContainerId, probe: &Probe) -> Result<Probed, ContainerError> {
        self.docker.probe(container, probe).await
    }

    async fn prepare(&self, container: &ContainerId, command: &Command) -> Result<Execution, ContainerError> {
        self.docker.prepare(container, command).await
    }

    async fn execute(
        &self,
        execution: &Execution,
        command: &Command,
        input: Vec<u8>,
        on_line: OnLine<'_>,
    ) -> Result<Executed, ContainerError> {
        self.docker.execute(execution, command, input, on_line).await
    }

    async fn execute_again(
        &self,
        execution: &Execution,
        command: &Command,
        input: Vec<u8>,
        on_line: OnLine<'_>,
    ) -> Result<Executed, ContainerError> {
        self.docker.execute_again(execution, command, input, on_line).await
    }

    async fn remove_all(&self, engine: EngineId, attempt: Option<&AttemptId>) -> Result<u64, ContainerError> {
        let removed = self.docker.remove_all(engine, attempt).await;
        self.keep_unless(removed.is_ok());
        removed
    }

    async fn remove_others(
        &self,
        engine: EngineId,
        kept: &HashSet<AttemptId>,
    ) -> Result<u64, ContainerError> {
        self.docker.remove_others(engine, kept).await
    }
}

#[async_trait]
impl Images for NotedContainers {
    async fn build(
        &self,
        request: &BuildRequest,
        progress: &(dyn Fn(String) + Send + Sync),
        cancel: &Cancellation,
    ) -> Result<Image, ContainerError> {
        self.docker.build(request, progress, cancel).await
    }

    async fn inspect(&self, image: &str) -> Result<Image, ContainerError> {
        self.docker.inspect(image).await
    }

    async fn read_files(
        &self,
        operation: &OperationId,
        image: &str,
        paths: &[String],
        most: u64,
    ) -> Result<Vec<Option<Vec<u8>>>, ContainerError> {
        self.note().await?;
        self.docker.read_files(operation, image, paths, most).await
    }

    async fn save(&self, images: &[String], to: File) -> Result<u64, ContainerError> {
        self.docker.save(images, to).await
    }

    async fn load(&self, from: File) -> Result<Vec<Image>, ContainerError> {
        self.docker.load(from).await
    }

    async fn tag(&self, image: &str, tag: &str) -> Result<(), ContainerError> {
        self.docker.tag(image, tag).await
    }

    async fn remove(&self, image: &str) -> Result<(), ContainerError> {
        Images::remove(&*self.docker, image).await
    }
}
