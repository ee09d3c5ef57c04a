//! Containers of a data directory: that there may be some is noted before the first is made, so that whoever opens the
//! directory after a crash looks for what belongs to nothing, and nobody else has to ask Docker.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::OnceCell;
use yuanli_docker::Docker;
use yuanli_model::{AttemptId, EngineId};
use yuanli_ports::Containers;
use yuanli_ports::containers::{
    ContainerError, ContainerId, ContainerRequest, Exit, Mount, OnLine, Probe, Probed,
};
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
        self.docker.start(request).await
    }

    async fn adopt(&self, request: &ContainerRequest) -> Result<ContainerId, ContainerError> {
        self.note().await?;
        self.docker.adopt(request).await
    }

    async fn follow(&self, container: &ContainerId, on_line: OnLine<'_>) -> Result<Exit, ContainerError> {
        self.docker.follow(container, on_line).await
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
