//! Volumes: folders that outlive containers.

use std::path::PathBuf;

use async_trait::async_trait;
use yuanli_model::{EngineId, VolumeName, WorkflowName};

use crate::images::ContainerError;

/// A volume that is there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FoundVolume {
    /// Its name.
    pub name: VolumeName,
    /// The workflow whose stage made it; `None` when an app or a restore did.
    pub maker: Option<WorkflowName>,
}

/// How much of the machine a volume takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VolumeUsage {
    /// What its files have together, in bytes; `None` where they cannot be reached from here.
    pub size_bytes: Option<u64>,
    /// The containers that have it, ended ones too.
    pub containers: u32,
}

/// Keeps volumes. They are never removed but by [`Self::remove`].
#[async_trait]
pub trait Volumes: Send + Sync + std::fmt::Debug {
    /// Makes sure that a volume is there; says whether it was made now. `maker` is the workflow whose stage asks.
    ///
    /// # Errors
    /// See [`ContainerError`].
    async fn ensure(
        &self,
        engine: EngineId,
        volume: &VolumeName,
        maker: Option<&WorkflowName>,
    ) -> Result<bool, ContainerError>;

    /// What is known of a volume; `None` when there is none, or one of that name that this engine did not make.
    ///
    /// # Errors
    /// See [`ContainerError`].
    async fn inspect(
        &self,
        engine: EngineId,
        volume: &VolumeName,
    ) -> Result<Option<FoundVolume>, ContainerError>;

    /// How much a volume takes. Its files are counted for that, which takes as long as there are many.
    ///
    /// # Errors
    /// [`ContainerError::NotFound`] when there is none; see [`ContainerError`].
    async fn usage(&self, engine: EngineId, volume: &VolumeName) -> Result<VolumeUsage, ContainerError>;

    /// The folder of this machine in which its files lie; `None` when there is no such volume.
    ///
    /// # Errors
    /// [`ContainerError::Invalid`] when the files cannot be reached from here, as on a remote engine; see
    /// [`ContainerError`].
    async fn folder(&self, engine: EngineId, volume: &VolumeName) -> Result<Option<PathBuf>, ContainerError>;

    /// The volumes of an engine, sorted.
    ///
    /// # Errors
    /// See [`ContainerError`].
    async fn list(&self, engine: EngineId) -> Result<Vec<FoundVolume>, ContainerError>;

    /// Removes a volume with all that is in it. No error when it is gone.
    ///
    /// # Errors
    /// [`ContainerError::Invalid`] when containers use it; see [`ContainerError`].
    async fn remove(&self, engine: EngineId, volume: &VolumeName) -> Result<(), ContainerError>;
}
