//! Volumes: Docker's named ones, on its own disk.

use std::path::PathBuf;

use async_trait::async_trait;
use bollard::models::{Volume, VolumeCreateRequest};
use bollard::query_parameters::{ListVolumesOptions, RemoveVolumeOptions};
use yuanli_model::{EngineId, VolumeName};
use yuanli_ports::Volumes;
use yuanli_ports::containers::ContainerError;

use crate::connection::Docker;
use crate::fault::{CONFLICT, Fault, NOT_FOUND};
use crate::label;

/// What Docker calls a volume of an engine.
pub(crate) fn name(engine: EngineId, volume: &VolumeName) -> String {
    format!("yuanli-{engine}-{volume}")
}

/// The error for a volume that is not there.
pub(crate) fn missing(volume: &VolumeName) -> ContainerError {
    ContainerError::NotFound(format!("there is no volume `{volume}`; it was not made yet, or was removed"))
}

/// The error for a volume that cannot be removed.
pub(crate) fn in_use(volume: &VolumeName, message: &str) -> ContainerError {
    ContainerError::Invalid(format!(
        "volume `{volume}` cannot be removed: containers use it; delete their app first ({message})"
    ))
}

#[async_trait]
impl Volumes for Docker {
    async fn ensure(&self, engine: EngineId, volume: &VolumeName) -> Result<bool, ContainerError> {
        if self.find_volume(engine, volume).await?.is_some() {
            return Ok(false);
        }
        let request = VolumeCreateRequest {
            name: Some(name(engine, volume)),
            labels: Some(label::of_volume(engine, volume)),
            ..VolumeCreateRequest::default()
        };
        let client = self.client().await?;
        self.call("create a volume", client.create_volume(request)).await?;
        Ok(true)
    }

    async fn folder(&self, engine: EngineId, volume: &VolumeName) -> Result<Option<PathBuf>, ContainerError> {
        let Some(found) = self.find_volume(engine, volume).await? else { return Ok(None) };
        let folder = PathBuf::from(found.mountpoint);
        match std::fs::metadata(&folder) {
            Ok(found) if found.is_dir() => Ok(Some(folder)),
            result => {
                let why =
                    result.err().map_or_else(|| "it is no folder".to_owned(), |error| error.to_string());
                Err(ContainerError::Invalid(format!(
                    "the files of volume `{volume}` cannot be reached: Docker at {} has them in `{}`, which is not \
                     there for this process ({why}); run the engine on the machine of Docker, as a user who may read \
                     that folder",
                    self.host(),
                    folder.display()
                )))
            }
        }
    }

    async fn list(&self, engine: EngineId) -> Result<Vec<VolumeName>, ContainerError> {
        let options = ListVolumesOptions { filters: Some(label::kind_filter(engine, label::VOLUME)) };
        let client = self.client().await?;
        let found = self.call("list volumes", client.list_volumes(Some(options))).await?;
        let found = found.volumes.unwrap_or_default();
        let mut names: Vec<VolumeName> = found.iter().filter_map(|found| named(engine, found)).collect();
        names.sort();
        Ok(names)
    }

    async fn remove(&self, engine: EngineId, volume: &VolumeName) -> Result<(), ContainerError> {
        let client = self.client().await?;
        let (name, options) = (name(engine, volume), RemoveVolumeOptions { force: false });
        match self.call("remove a volume", client.remove_volume(&name, Some(options))).await {
            Err(fault) if fault.status() == Some(NOT_FOUND) => Ok(()),
            Err(Fault::Refused { status: CONFLICT, message, .. }) => Err(in_use(volume, &message)),
            result => Ok(result?),
        }
    }
}

impl Docker {
    async fn find_volume(
        &self,
        engine: EngineId,
        volume: &VolumeName,
    ) -> Result<Option<Volume>, ContainerError> {
        let client = self.client().await?;
        match self.call("inspect a volume", client.inspect_volume(&name(engine, volume))).await {
            Ok(found) => Ok(Some(found)),
            Err(fault) if fault.status() == Some(NOT_FOUND) => Ok(None),
            Err(fault) => Err(fault.into()),
        }
    }

    /// A container that names a volume which is not there makes it: so it is looked for before.
    pub(crate) async fn require_volume(
        &self,
        engine: EngineId,
        volume: &VolumeName,
    ) -> Result<(), ContainerError> {
        self.find_volume(engine, volume).await?.map(|_| ()).ok_or_else(|| missing(volume))
    }
}

/// The name of a volume that Docker listed; a volume with labels of ours and another name is somebody's copy of one.
fn named(engine: EngineId, found: &Volume) -> Option<VolumeName> {
    let volume = found.labels.get(label::VOLUME)?.parse().ok()?;
    (found.name == name(engine, &volume)).then_some(volume)
}
