//! Volumes: folders that outlive containers.

use std::path::PathBuf;

use async_trait::async_trait;
use yuanli_model::{EngineId, VolumeName};

use crate::images::ContainerError;

/// Keeps volumes. They are never removed but by [`Self::remove`].
#[async_trait]
pub trait Volumes: Send + Sync + std::fmt::Debug {
    /// Makes sure that a volume is there; says whether it was made now.
    ///
    /// # Errors
    /// See [`ContainerError`].
    async fn ensure(&self, engine: EngineId, volume: &VolumeName) -> Result<bool, ContainerError>;

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
    async fn list(&self, engine: EngineId) -> Result<Vec<VolumeName>, ContainerError>;

    /// Removes a volume with all that is in it. No error when it is gone.
    ///
    /// # Errors
    /// [`ContainerError::Invalid`] when containers use it; see [`ContainerError`].
    async fn remove(&self, engine: EngineId, volume: &VolumeName) -> Result<(), ContainerError>;
}
