//! Replicas: containers that serve until they are stopped, with addresses that the engine assigns.

use std::net::Ipv4Addr;
use std::time::Duration;

use async_trait::async_trait;
use yuanli_model::app::Probe;
use yuanli_model::{EngineId, ReplicaId, VolumeName};

pub use crate::images::ContainerError;

/// What to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaRequest {
    /// The engine that asks.
    pub engine: EngineId,
    /// Which replica; with the engine's id the container's name and labels.
    pub replica: ReplicaId,
    /// The id of the image; it has to be there, nothing is pulled.
    pub image_id: String,
    /// The command with its arguments; the image's own when empty.
    pub command: Vec<String>,
    /// Environment variables.
    pub environment: Vec<(String, String)>,
    /// Its address on the engine's network, out of [`Network`].
    pub address: Ipv4Addr,
    /// Volumes, which have to be there.
    pub volumes: Vec<ReplicaVolume>,
    /// The most memory it may use, in bytes.
    pub memory_bytes: Option<u64>,
    /// How many processors it may use, in thousandths.
    pub cpu_millis: Option<u32>,
}

/// A volume in a replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaVolume {
    /// Its name on this engine.
    pub volume: VolumeName,
    /// Where it appears; absolute.
    pub target: String,
    /// Whether the replica may not write to it.
    pub is_read_only: bool,
}

/// The engine's own network, from which it assigns addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    /// The first address that a replica may have.
    pub first: Ipv4Addr,
    /// The last address that a replica may have.
    pub last: Ipv4Addr,
}

/// A container of this engine that is a replica, as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundReplica {
    /// Which replica.
    pub replica: ReplicaId,
    /// How it stands.
    pub state: ReplicaState,
    /// Its address on the engine's network; `None` when it has none any more.
    pub address: Option<Ipv4Addr>,
}

/// How the container of a replica stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReplicaState {
    /// It was created and has not been started. A late start of an engine that is gone may still come: remove it.
    Created,
    /// It runs.
    Running,
    /// It runs, and its processes are stopped in their tracks.
    Paused,
    /// It has ended.
    Ended {
        /// The exit code of its first process.
        code: i64,
        /// Whether it was ended for using too much memory.
        is_out_of_memory: bool,
    },
}

/// What a replica has used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Processor time since it started.
    pub cpu: Duration,
    /// Memory now, in bytes, without the page cache.
    pub memory_bytes: u64,
}

/// Runs replicas. All of it may be repeated: what is already so is no error.
#[async_trait]
pub trait Replicas: Send + Sync + std::fmt::Debug {
    /// Makes sure that the engine's network is there.
    ///
    /// # Errors
    /// See [`ContainerError`].
    async fn network(&self, engine: EngineId) -> Result<Network, ContainerError>;

    /// Creates the container of a replica and starts it. When one with this identity runs already it is left as it is;
    /// one that was only created or that ended is removed first and made anew.
    ///
    /// # Errors
    /// See [`ContainerError`]; nothing is left behind when it was created and did not start.
    async fn start(&self, request: &ReplicaRequest) -> Result<(), ContainerError>;

    /// All replicas of an engine, in no order.
    ///
    /// # Errors
    /// See [`ContainerError`].
    async fn list(&self, engine: EngineId) -> Result<Vec<FoundReplica>, ContainerError>;

    /// Returns when something may have happened to a replica of the engine since the last call returned, or the wait
    /// was long enough that looking is worth it. A hint only; [`Self::list`] is the truth.
    async fn changed(&self, engine: EngineId);

    /// Asks a replica to end with its stop signal, ends it by force after `grace`, and removes it with its anonymous
    /// volumes. No error when it is gone.
    ///
    /// # Errors
    /// See [`ContainerError`].
    async fn remove(
        &self,
        engine: EngineId,
        replica: &ReplicaId,
        grace: Duration,
    ) -> Result<(), ContainerError>;

    /// Stops the processes of a replica in their tracks; they do not notice.
    ///
    /// # Errors
    /// See [`ContainerError`].
    async fn pause(&self, engine: EngineId, replica: &ReplicaId) -> Result<(), ContainerError>;

    /// Lets them go on.
    ///
    /// # Errors
    /// See [`ContainerError`].
    async fn resume(&self, engine: EngineId, replica: &ReplicaId) -> Result<(), ContainerError>;

    /// What a replica has used.
    ///
    /// # Errors
    /// See [`ContainerError`].
    async fn usage(&self, engine: EngineId, replica: &ReplicaId) -> Result<Usage, ContainerError>;

    /// The last lines of its output, oldest first, standard output and error together; at most `lines`.
    ///
    /// # Errors
    /// See [`ContainerError`].
    async fn tail(
        &self,
        engine: EngineId,
        replica: &ReplicaId,
        lines: usize,
    ) -> Result<Vec<String>, ContainerError>;
}

/// Asks replicas, from outside, whether they serve.
#[async_trait]
pub trait Prober: Send + Sync + std::fmt::Debug {
    /// Asks once.
    ///
    /// # Errors
    /// Why the answer is not good, for a person.
    async fn probe(
        &self,
        address: std::net::SocketAddr,
        probe: &Probe,
        timeout: Duration,
    ) -> Result<(), String>;
}
