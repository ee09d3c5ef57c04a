//! Containers that run to their end.

mod execution;
mod option;
mod probe;

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use yuanli_model::{AttemptId, EngineId, OperationId, Stream, VolumeName};

pub use crate::images::ContainerError;
pub use execution::{Command, Executed, Execution};
pub use option::{ContainerOptions, Member, Tmpfs, Ulimit};
pub use probe::{Probe, Probed};

/// What to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerRequest {
    /// Who asks; the container's name and labels come from it.
    pub operation: OperationId,
    /// Name or id of the image; it has to be there, nothing is pulled.
    pub image: String,
    /// The command with its arguments; the image's own when empty.
    pub command: Vec<String>,
    /// Replaces the image's entry point; `Some` of an empty list takes it away.
    pub entrypoint: Option<Vec<String>>,
    /// Environment variables.
    pub environment: Vec<(String, String)>,
    /// The folder to start in; the image's own when absent.
    pub working_folder: Option<String>,
    /// User, as `name`, `uid` or `uid:gid`; the image's own when absent.
    pub user: Option<String>,
    /// What is mounted in it.
    pub mounts: Vec<Mount>,
    /// The network that it is in.
    pub network: ContainerNetwork,
    /// Whether it has all rights of the machine's kernel and all its devices. Whoever asks has checked that it may.
    pub is_privileged: bool,
    /// The most memory it may use, in bytes.
    pub memory_bytes: Option<u64>,
    /// How many processors it may use, in thousandths.
    pub cpu_millis: Option<u32>,
    /// What it is in the network of its attempt; not in it when absent. With [`ContainerNetwork::Own`] it is in both.
    pub member: Option<Member>,
    /// What else there is to say of it.
    pub options: ContainerOptions,
}

/// Something of the outside in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// What it is.
    pub source: MountSource,
    /// Where it appears in the container; absolute.
    pub target: String,
    /// Whether the container may not write to it.
    pub is_read_only: bool,
}

/// What is mounted in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MountSource {
    /// This folder or file of the machine, which has to be there.
    Path(PathBuf),
    /// This folder of the engine itself. Where containers cannot see the files of this machine, it is sent to the container
    /// before it is started, and what that has changed of it comes by [`Containers::bring_back`]. One that is read-only is a
    /// copy then, of which nothing comes back.
    Carried {
        /// The folder.
        folder: PathBuf,
        /// Where it is noted what was sent: a file, and others with its name and an extension, in a folder that the container
        /// does not see, on the same file system, as long as the container is there.
        note: PathBuf,
    },
    /// A volume of the engine, which has to be there.
    Volume(VolumeName),
}

/// The network of a container.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ContainerNetwork {
    /// None but its own loopback.
    #[default]
    None,
    /// One of its own, with a way out.
    Own,
    /// That of the machine.
    Host,
}

/// A container that was started.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ContainerId(pub String);

/// How a container ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    /// The exit code of its first process; 128 plus the signal's number when a signal ended it.
    pub code: i64,
    /// Whether it was ended for using too much memory.
    pub is_out_of_memory: bool,
}

/// Called for each line of a container's output, without its line end.
pub type OnLine<'a> = &'a (dyn Fn(Stream, String) + Send + Sync);

/// Runs containers.
#[async_trait]
pub trait Containers: Send + Sync + std::fmt::Debug {
    /// Creates and starts a container. Its name is the operation id, so that it can be found again.
    ///
    /// # Errors
    /// See [`ContainerError`]; nothing is left behind when it was created but did not start.
    async fn start(&self, request: &ContainerRequest) -> Result<ContainerId, ContainerError>;

    /// What [`Self::start`] does, when nobody knows whether it was done already: a container of this operation that has ever
    /// run is taken as it is, also when it has ended; one that was made and not started is removed, and another one made, so
    /// that a start which is still on its way finds none.
    ///
    /// # Errors
    /// See [`ContainerError`]; there may be a container of the operation.
    async fn adopt(&self, request: &ContainerRequest) -> Result<ContainerId, ContainerError>;

    /// Hands every line of the output, from the first on, to `on_line`; returns when the container has ended and all
    /// its output was handed over. Cancel-safe: dropping it leaves the container as it is.
    ///
    /// # Errors
    /// See [`ContainerError`].
    async fn follow(&self, container: &ContainerId, on_line: OnLine<'_>) -> Result<Exit, ContainerError>;

    /// When a container ended, in nanoseconds since 1970 by the clock of who runs it, which is to be compared only with its
    /// own; `None` while it runs.
    ///
    /// # Errors
    /// See [`ContainerError`].
    async fn ended_at(&self, container: &ContainerId) -> Result<Option<u64>, ContainerError>;

    /// Brings back what a container that has ended has changed of its [`MountSource::Carried`] folders, where they were sent to
    /// it. Durable when it returns. Nothing happens where they were mounted, or where it was done before.
    ///
    /// # Errors
    /// See [`ContainerError`]; it can be done again.
    async fn bring_back(&self, container: &ContainerId, mounts: &[Mount]) -> Result<(), ContainerError>;

    /// Asks the container to end with its stop signal and ends it by force after `grace`. No error when it has ended.
    ///
    /// # Errors
    /// See [`ContainerError`].
    async fn stop(&self, container: &ContainerId, grace: Duration) -> Result<(), ContainerError>;

    /// Removes a container, running or not, with its anonymous volumes. No error when it is gone.
    ///
    /// # Errors
    /// See [`ContainerError`].
    async fn remove(&self, container: &ContainerId) -> Result<(), ContainerError>;

    /// Asks once whether a container is ready.
    ///
    /// # Errors
    /// See [`ContainerError`]; [`ContainerError::Invalid`] where it cannot be asked at all, which another try does not change.
    async fn probe(&self, container: &ContainerId, probe: &Probe) -> Result<Probed, ContainerError>;

    /// Prepares a command in a container that runs. Nothing is begun by it, and what is never run goes with the container.
    ///
    /// # Errors
    /// See [`ContainerError`]; [`ContainerError::Invalid`] where the container does not run.
    async fn prepare(&self, container: &ContainerId, command: &Command) -> Result<Execution, ContainerError>;

    /// Runs a command that was prepared to its end, with this input, and hands every line of its output to `on_line`. It is begun
    /// at most once, however often this is called. Dropping it leaves the command as it is.
    ///
    /// # Errors
    /// See [`ContainerError`]; [`ContainerError::Invalid`] where it cannot be begun, as where there is no such program, and where
    /// it was begun before.
    async fn execute(
        &self,
        execution: &Execution,
        command: &Command,
        input: Vec<u8>,
        on_line: OnLine<'_>,
    ) -> Result<Executed, ContainerError>;

    /// What [`Self::execute`] does, when nobody knows whether it was done already: a command that was begun is waited for, and
    /// its output until then is gone.
    ///
    /// # Errors
    /// The same, but for a command that was begun before.
    async fn execute_again(
        &self,
        execution: &Execution,
        command: &Command,
        input: Vec<u8>,
        on_line: OnLine<'_>,
    ) -> Result<Executed, ContainerError>;

    /// Removes every container that this engine made for its runs, and the networks of their attempts, for one attempt or
    /// (`None`) for all; returns how many containers.
    ///
    /// # Errors
    /// See [`ContainerError`].
    async fn remove_all(&self, engine: EngineId, attempt: Option<&AttemptId>) -> Result<u64, ContainerError>;

    /// Removes every container that this engine made for attempts, but for these; returns how many.
    ///
    /// # Errors
    /// See [`ContainerError`].
    async fn remove_others(&self, engine: EngineId, kept: &HashSet<AttemptId>)
    -> Result<u64, ContainerError>;
}
