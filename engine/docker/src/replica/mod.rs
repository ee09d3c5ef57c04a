//! Replicas: containers on the engine's own network, which serve until they are stopped.
//!
//! A replica is found by its name, and all of them by their labels; nothing about them is kept here. Start with
//! `start`: what makes it safe to repeat is that a name is given once, so that whoever finds it taken looks at who
//! has it. `observation` is what is asked about replicas, `event` what Docker tells by itself.

mod event;
mod network;
mod observation;
pub(crate) mod request;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bollard::models::{ContainerCreateBody, ContainerState, ContainerStateStatusEnum};
use bollard::query_parameters::{CreateContainerOptions, RemoveContainerOptions};
use yuanli_model::{EngineId, ReplicaId};
use yuanli_ports::Replicas;
use yuanli_ports::containers::{ContainerError, ContainerId};
use yuanli_ports::replicas::{FoundReplica, Network, ReplicaRequest, Usage};

use self::network::Subnet;
#[cfg(feature = "fake")]
pub(crate) use self::observation::cut;
use crate::connection::Docker;
use crate::fault::{CONFLICT, Fault, NOT_FOUND};
use crate::refusal::{self, Asked};
use crate::{container, image};

/// How often a start begins anew because its container was made, started or removed by somebody else meanwhile. That
/// can only be the late call of an engine that is gone, which comes once.
const START_TRIES: u32 = 5;

/// How much longer than its grace time Docker may take to stop a replica before that is left to the removal by force.
const STOP_SLACK: Duration = Duration::from_secs(10);

/// What the calls of one adapter share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// The subnets of networks that were seen; held while one is looked for and made.
    subnets: tokio::sync::Mutex<HashMap<EngineId, Subnet>>,
    turns: Turns,
    watches: event::Watches,
}

/// The starts that are going on, by the container's name. Two of one replica would go on clearing away what the other
/// has just created.
#[derive(Debug, Default)]
struct Turns(Mutex<HashMap<ContainerId, Arc<tokio::sync::Mutex<()>>>>);

/// What came of a try to start.
enum Try {
    Runs,
    /// Somebody else had a hand in it: look again.
    Lost,
    /// The network is not there.
    NoNetwork,
}

#[async_trait]
impl Replicas for Docker {
    async fn network(&self, engine: EngineId) -> Result<Network, ContainerError> {
        self.ensure_network(engine).await
    }

    async fn start(&self, request: &ReplicaRequest) -> Result<(), ContainerError> {
        let body = request::create_body(request)?;
        for mounted in &request.volumes {
            self.require_volume(request.engine, &mounted.volume).await?;
        }
        let turn = self.replicas.turns.of(&request::name(request.engine, &request.replica));
        let _turn = turn.lock().await;
        for _ in 0..START_TRIES {
            match self.try_start(request, body.clone()).await? {
                Try::Runs => return Ok(()),
                Try::Lost => {}
                // `docker network prune` takes it while no replica runs.
                Try::NoNetwork => {
                    self.ensure_network(request.engine).await?;
                }
            }
        }
        Err(ContainerError::Engine(format!(
            "replica {} could not be started: its container was made and removed again by somebody else each time",
            request.replica
        )))
    }

    async fn list(&self, engine: EngineId) -> Result<Vec<FoundReplica>, ContainerError> {
        self.list_replicas(engine).await
    }

    async fn changed(&self, engine: EngineId) {
        self.next_change(engine).await;
    }

    async fn remove(
        &self,
        engine: EngineId,
        replica: &ReplicaId,
        grace: Duration,
    ) -> Result<(), ContainerError> {
        let Some((id, state)) = self.look(&request::name(engine, replica)).await? else { return Ok(()) };
        if runs(&state)
            && let Err(error) = self.stop_replica(&id, &state, grace).await
        {
            tracing::debug!(%replica, %error, "could not be stopped, is removed by force");
        }
        self.remove_container(&id).await
    }

    async fn pause(&self, engine: EngineId, replica: &ReplicaId) -> Result<(), ContainerError> {
        let client = self.client().await?;
        let name = request::name(engine, replica);
        let paused = self.call("pause a replica", client.pause_container(&name.0)).await;
        self.settle(replica, &name, paused, ContainerStateStatusEnum::PAUSED).await
    }

    async fn resume(&self, engine: EngineId, replica: &ReplicaId) -> Result<(), ContainerError> {
        let client = self.client().await?;
        let name = request::name(engine, replica);
        let resumed = self.call("resume a replica", client.unpause_container(&name.0)).await;
        self.settle(replica, &name, resumed, ContainerStateStatusEnum::RUNNING).await
    }

    async fn usage(&self, engine: EngineId, replica: &ReplicaId) -> Result<Usage, ContainerError> {
        self.use_of(engine, replica).await
    }

    async fn tail(
        &self,
        engine: EngineId,
        replica: &ReplicaId,
        lines: usize,
    ) -> Result<Vec<String>, ContainerError> {
        self.last_lines(engine, replica, lines).await
    }
}

impl Docker {
    async fn try_start(
        &self,
        request: &ReplicaRequest,
        body: ContainerCreateBody,
    ) -> Result<Try, ContainerError> {
        let name = request::name(request.engine, &request.replica);
        let options = CreateContainerOptions { name: Some(name.0.clone()), platform: String::new() };
        let client = self.client().await?;
        let created = match self.call("create a replica", client.create_container(Some(options), body)).await
        {
            Ok(created) => ContainerId(created.id),
            Err(fault) if fault.status() == Some(CONFLICT) => return self.take_over(&name).await,
            Err(fault) if is_without_network(&fault) => return Ok(Try::NoNetwork),
            Err(fault) if fault.status() == Some(NOT_FOUND) => return Err(image::missing(&request.image_id)),
            Err(fault) => return Err(explain(fault, request)),
        };
        let fault = match self.call("start a replica", client.start_container(&created.0, None)).await {
            Ok(()) => return Ok(Try::Runs),
            // It is being removed, or was.
            Err(fault) if fault.status() == Some(CONFLICT) => return Ok(Try::Lost),
            // It may run, or will: whoever asks again finds it by its name.
            Err(Fault::Other(error @ ContainerError::Unreachable(_))) => return Err(error),
            Err(fault) => fault,
        };
        if let Err(left) = self.remove_container(&created).await {
            tracing::warn!(replica = %request.replica, %left, "a replica that did not start is left");
        }
        match fault {
            fault if is_without_network(&fault) => Ok(Try::NoNetwork),
            fault if fault.status() == Some(NOT_FOUND) => Ok(Try::Lost),
            fault => Err(explain(fault, request)),
        }
    }

    /// Looks at who has the name: one that runs is the replica, one that does not is cleared away without force, so
    /// that one which is being started at this moment stays.
    async fn take_over(&self, name: &ContainerId) -> Result<Try, ContainerError> {
        let Some((id, state)) = self.look(name).await? else { return Ok(Try::Lost) };
        if runs(&state) {
            return Ok(Try::Runs);
        }
        let client = self.client().await?;
        let options = RemoveContainerOptions { v: true, force: false, link: false };
        match self.call("remove the container", client.remove_container(&id.0, Some(options))).await {
            Err(fault) if fault.status() == Some(CONFLICT) => {
                // It runs now, or it is being removed; that takes a moment.
                self.is_gone_or_runs(&id).await?;
                Ok(Try::Lost)
            }
            Err(fault) if fault.status() == Some(NOT_FOUND) => Ok(Try::Lost),
            result => {
                result?;
                Ok(Try::Lost)
            }
        }
    }

    /// Waits for a removal that is under way; not for one that is none.
    async fn is_gone_or_runs(&self, id: &ContainerId) -> Result<(), ContainerError> {
        match self.look(id).await? {
            Some((_, state)) if !runs(&state) => {
                self.is_gone_within(container::REMOVAL_DEADLINE, id).await.map(|_| ())
            }
            _ => Ok(()),
        }
    }

    async fn stop_replica(
        &self,
        id: &ContainerId,
        state: &ContainerState,
        grace: Duration,
    ) -> Result<(), ContainerError> {
        if state.paused == Some(true) {
            // What stands still cannot end by itself.
            let client = self.client().await?;
            self.call("resume a replica", client.unpause_container(&id.0)).await?;
        }
        self.stop_container(id, grace, STOP_SLACK).await
    }

    /// What a refused pause or resume means: nothing when the replica is already so.
    async fn settle(
        &self,
        replica: &ReplicaId,
        name: &ContainerId,
        result: Result<(), Fault>,
        wanted: ContainerStateStatusEnum,
    ) -> Result<(), ContainerError> {
        let fault = match result {
            Ok(()) => return Ok(()),
            Err(Fault::Other(error)) => return Err(error),
            Err(fault) => fault,
        };
        match self.look(name).await? {
            Some((_, state)) if state.status == Some(wanted) => Ok(()),
            Some((_, state)) if runs(&state) => Err(fault.into()),
            _ => Err(not_running(replica)),
        }
    }
}

impl Turns {
    fn of(&self, name: &ContainerId) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|_, turn| Arc::strong_count(turn) > 1);
        turns.entry(name.clone()).or_default().clone()
    }
}

/// Whether it was started and has not ended; a paused one runs, too.
fn runs(state: &ContainerState) -> bool {
    state.running == Some(true) || state.paused == Some(true) || state.restarting == Some(true)
}

pub(crate) fn not_running(replica: &ReplicaId) -> ContainerError {
    ContainerError::NotFound(format!("replica {replica} does not run; it has ended or was removed"))
}

/// Docker 20.10 says so when it starts a container, later ones when they create it.
fn is_without_network(fault: &Fault) -> bool {
    let says = |message: &str| message.starts_with("network ") || message.starts_with("No such network");
    matches!(fault, Fault::Refused { status: NOT_FOUND, message, .. } if says(message))
}

fn explain(fault: Fault, request: &ReplicaRequest) -> ContainerError {
    let (replica, address) = (&request.replica, request.address);
    match &fault {
        Fault::Refused { message, .. } if message.contains("Address already in use") => {
            ContainerError::Engine(format!(
                "replica {replica} could not be started: another container on the engine's network has its address \
                 {address}"
            ))
        }
        Fault::Refused { message, .. } if message.contains("does not belong to any of this network") => {
            ContainerError::Invalid(format!(
                "replica {replica} cannot be started: its address {address} is not on the engine's network"
            ))
        }
        _ => {
            let program = request.command.first().map(String::as_str);
            refusal::explain(fault, &Asked { image: &request.image_id, program, user: None })
        }
    }
}
