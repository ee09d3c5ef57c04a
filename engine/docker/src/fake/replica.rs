//! Replicas in memory: they run until they are removed, killed by [`FakeDocker::kill`], or end as a script says.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::Ipv4Addr;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::futures::Notified;
use yuanli_model::{EngineId, ReplicaId, Stream, VolumeName};
use yuanli_ports::Replicas;
use yuanli_ports::containers::ContainerError;
use yuanli_ports::replicas::{FoundReplica, Network, ReplicaRequest, ReplicaState, Usage};

use super::{Behaviour, FakeDocker, KILLED, State, full_name};
use crate::replica::{cut, not_running, request};

/// The network of every engine.
const NETWORK: Network =
    Network { first: Ipv4Addr::new(10, 83, 0, 8), last: Ipv4Addr::new(10, 83, 255, 254) };

/// The replicas that are there, and what is to happen to the next ones.
#[derive(Debug, Default)]
pub(super) struct Fleet {
    replicas: BTreeMap<(EngineId, ReplicaId), Replica>,
    /// What the next starts fail with, in order.
    failures: VecDeque<ContainerError>,
    changes: HashMap<EngineId, Changes>,
}

#[derive(Debug)]
struct Replica {
    request: ReplicaRequest,
    state: ReplicaState,
    lines: Vec<String>,
    usage: Usage,
}

/// What happened to an engine's replicas, and how much of that it was told.
#[derive(Debug, Default)]
struct Changes {
    happened: u64,
    told: Option<u64>,
}

impl FakeDocker {
    /// Makes the next start of a replica fail. Several of these apply to as many starts, in order.
    pub fn fail_next_start(&self, error: ContainerError) {
        self.state().fleet.failures.push_back(error);
    }

    /// Ends a running or paused replica with a code, as if its process had. No such replica: nothing happens.
    pub fn kill(&self, engine: EngineId, replica: &ReplicaId, code: i64) {
        let mut state = self.state();
        if let Ok(found) = state.fleet.running(engine, replica) {
            found.state = ReplicaState::Ended { code, is_out_of_memory: false };
            state.fleet.happened(engine);
        }
        self.changed.notify_waiters();
    }

    /// Says what a running replica has used from now on. No such replica: nothing happens.
    pub fn set_usage(&self, engine: EngineId, replica: &ReplicaId, usage: Usage) {
        if let Ok(found) = self.state().fleet.running(engine, replica) {
            found.usage = usage;
        }
    }

    /// What was asked for those replicas that run or are paused, by engine and replica.
    #[must_use]
    pub fn running(&self) -> Vec<ReplicaRequest> {
        let state = self.state();
        state.fleet.replicas.values().filter(|replica| replica.runs()).map(|r| r.request.clone()).collect()
    }

    /// Whether there was a change since the engine was told of one; the wait for the next if not.
    fn next_change(&self, engine: EngineId) -> Option<Notified<'_>> {
        // Before the look, so that no change falls between the two.
        let next = self.changed.notified();
        let mut state = self.state();
        let changes = state.fleet.changes.entry(engine).or_default();
        if changes.told == Some(changes.happened) {
            return Some(next);
        }
        changes.told = Some(changes.happened);
        None
    }
}

impl Fleet {
    fn running(&mut self, engine: EngineId, replica: &ReplicaId) -> Result<&mut Replica, ContainerError> {
        let found = self.replicas.get_mut(&(engine, replica.clone())).filter(|replica| replica.runs());
        found.ok_or_else(|| not_running(replica))
    }

    fn happened(&mut self, engine: EngineId) {
        self.changes.entry(engine).or_default().happened += 1;
    }

    /// How many replicas, ended or not, have a volume.
    pub(super) fn users(&self, engine: EngineId, volume: &VolumeName) -> usize {
        let replicas = self.replicas.values().filter(|replica| replica.request.engine == engine);
        let has =
            |replica: &&Replica| replica.request.volumes.iter().any(|mounted| mounted.volume == *volume);
        replicas.filter(has).count()
    }

    fn set(&mut self, engine: EngineId, id: &ReplicaId, wanted: ReplicaState) -> Result<(), ContainerError> {
        let replica = self.running(engine, id)?;
        if replica.state != wanted {
            replica.state = wanted;
            self.happened(engine);
        }
        Ok(())
    }
}

impl State {
    fn start_replica(&mut self, wanted: &ReplicaRequest) -> Result<(), ContainerError> {
        // The same checks as for the real engine.
        request::create_body(wanted)?;
        for mounted in &wanted.volumes {
            self.require_volume(wanted.engine, &mounted.volume)?;
        }
        let key = (wanted.engine, wanted.replica.clone());
        if self.fleet.replicas.get(&key).is_some_and(Replica::runs) {
            return Ok(());
        }
        self.image(&wanted.image_id)?;
        self.fleet.replicas.remove(&key);
        if let Some(error) = self.fleet.failures.pop_front() {
            return Err(error);
        }
        self.check_address(wanted)?;
        let replica = self.new_replica(wanted)?;
        self.fleet.happened(wanted.engine);
        self.fleet.replicas.insert(key, replica);
        Ok(())
    }

    fn check_address(&self, wanted: &ReplicaRequest) -> Result<(), ContainerError> {
        let (replica, address) = (&wanted.replica, wanted.address);
        if !(NETWORK.first..=NETWORK.last).contains(&address) {
            return Err(ContainerError::Invalid(format!(
                "replica {replica} cannot be started: its address {address} is not on the engine's network"
            )));
        }
        let has_it = |other: &Replica| {
            other.runs() && other.request.engine == wanted.engine && other.request.address == address
        };
        match self.fleet.replicas.values().find(|other| has_it(other)) {
            Some(other) => Err(ContainerError::Engine(format!(
                "replica {replica} could not be started: {} has its address {address}",
                other.request.replica
            ))),
            None => Ok(()),
        }
    }

    /// A replica that does what was said for its command in an image of any of its names; without a script it runs and says nothing.
    fn new_replica(&self, wanted: &ReplicaRequest) -> Result<Replica, ContainerError> {
        let image = self.image(&wanted.image_id)?;
        let mut names = image.tags.iter().chain([&image.id]);
        let script = names.find_map(|name| self.scripts.get(&(full_name(name), wanted.command.clone())));
        let ended = |code, is_out_of_memory| ReplicaState::Ended { code, is_out_of_memory };
        let (lines, state) = match script.cloned() {
            None => (Vec::new(), ReplicaState::Running),
            Some(Behaviour::Ends { lines, code }) => (lines, ended(code, false)),
            Some(Behaviour::RunsUntilStopped { lines }) => (lines, ReplicaState::Running),
            Some(Behaviour::RunsOutOfMemory { lines }) => (lines, ended(KILLED, true)),
            Some(Behaviour::FailsToStart(error)) => return Err(error),
        };
        let lines = lines.into_iter().map(|(_, line): (Stream, String)| cut(line)).collect();
        let usage = Usage { cpu: Duration::ZERO, memory_bytes: 0 };
        Ok(Replica { request: wanted.clone(), state, lines, usage })
    }
}

impl Replica {
    fn runs(&self) -> bool {
        matches!(self.state, ReplicaState::Running | ReplicaState::Paused)
    }

    fn found(&self) -> FoundReplica {
        let address = self.runs().then_some(self.request.address);
        FoundReplica { replica: self.request.replica.clone(), state: self.state.clone(), address }
    }
}

#[async_trait]
impl Replicas for FakeDocker {
    async fn network(&self, _: EngineId) -> Result<Network, ContainerError> {
        self.called(None).map(|_| NETWORK)
    }

    async fn start(&self, request: &ReplicaRequest) -> Result<(), ContainerError> {
        let started = self.called(None)?.start_replica(request);
        self.changed.notify_waiters();
        started
    }

    async fn list(&self, engine: EngineId) -> Result<Vec<FoundReplica>, ContainerError> {
        let state = self.called(None)?;
        let replicas = state.fleet.replicas.values().filter(|replica| replica.request.engine == engine);
        Ok(replicas.map(Replica::found).collect())
    }

    async fn changed(&self, engine: EngineId) {
        while let Some(next) = self.next_change(engine) {
            next.await;
        }
    }

    async fn remove(&self, engine: EngineId, replica: &ReplicaId, _: Duration) -> Result<(), ContainerError> {
        let mut state = self.called(None)?;
        if state.fleet.replicas.remove(&(engine, replica.clone())).is_some() {
            state.fleet.happened(engine);
        }
        self.changed.notify_waiters();
        Ok(())
    }

    async fn pause(&self, engine: EngineId, replica: &ReplicaId) -> Result<(), ContainerError> {
        let result = self.called(None)?.fleet.set(engine, replica, ReplicaState::Paused);
        self.changed.notify_waiters();
        result
    }

    async fn resume(&self, engine: EngineId, replica: &ReplicaId) -> Result<(), ContainerError> {
        let result = self.called(None)?.fleet.set(engine, replica, ReplicaState::Running);
        self.changed.notify_waiters();
        result
    }

    async fn usage(&self, engine: EngineId, replica: &ReplicaId) -> Result<Usage, ContainerError> {
        Ok(self.called(None)?.fleet.running(engine, replica)?.usage)
    }

    async fn tail(
        &self,
        engine: EngineId,
        replica: &ReplicaId,
        lines: usize,
    ) -> Result<Vec<String>, ContainerError> {
        let state = self.called(None)?;
        let found = state.fleet.replicas.get(&(engine, replica.clone()));
        let said = &found.ok_or_else(|| not_running(replica))?.lines;
        Ok(said[said.len().saturating_sub(lines)..].to_vec())
    }
}
