//! Volumes: Docker's named ones, on its own disk.

use std::collections::{HashMap, HashSet};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use bollard::models::{Volume, VolumeCreateRequest};
use bollard::query_parameters::{ListContainersOptions, ListVolumesOptions, RemoveVolumeOptions};
use yuanli_model::{EngineId, VolumeName, WorkflowName};
use yuanli_ports::Volumes;
use yuanli_ports::containers::ContainerError;
use yuanli_ports::volumes::{FoundVolume, VolumeUsage};

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
        "volume `{volume}` cannot be removed: containers use it; delete their app, or wait for their stage, first ({message})"
    ))
}

#[async_trait]
impl Volumes for Docker {
    async fn ensure(
        &self,
        engine: EngineId,
        volume: &VolumeName,
        maker: Option<&WorkflowName>,
    ) -> Result<bool, ContainerError> {
        if self.find_volume(engine, volume).await?.is_some() {
            return Ok(false);
        }
        let request = VolumeCreateRequest {
            name: Some(name(engine, volume)),
            labels: Some(label::of_volume(engine, volume, maker)),
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

    async fn inspect(
        &self,
        engine: EngineId,
        volume: &VolumeName,
    ) -> Result<Option<FoundVolume>, ContainerError> {
        let found = self.find_volume(engine, volume).await?;
        Ok(found.and_then(|found| ours(engine, &found)).filter(|found| found.name == *volume))
    }

    async fn usage(&self, engine: EngineId, volume: &VolumeName) -> Result<VolumeUsage, ContainerError> {
        let found = self.find_volume(engine, volume).await?.ok_or_else(|| missing(volume))?;
        let filters = HashMap::from([("volume".to_owned(), vec![found.name])]);
        let options =
            ListContainersOptions { all: true, filters: Some(filters), ..ListContainersOptions::default() };
        let client = self.client().await?;
        let having = self.call("list containers", client.list_containers(Some(options))).await?;
        // Docker says sizes only together with those of all images, and in another form in each version.
        let folder = PathBuf::from(found.mountpoint);
        let size_bytes = tokio::task::spawn_blocking(move || size_of(&folder)).await.ok().flatten();
        Ok(VolumeUsage { size_bytes, containers: u32::try_from(having.len()).unwrap_or(u32::MAX) })
    }

    async fn list(&self, engine: EngineId) -> Result<Vec<FoundVolume>, ContainerError> {
        let options = ListVolumesOptions { filters: Some(label::kind_filter(engine, label::VOLUME)) };
        let client = self.client().await?;
        let found = self.call("list volumes", client.list_volumes(Some(options))).await?;
        let found = found.volumes.unwrap_or_default();
        let mut found: Vec<FoundVolume> = found.iter().filter_map(|found| ours(engine, found)).collect();
        found.sort();
        Ok(found)
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

/// A volume that Docker has, if it is the engine's. One with labels of ours and another name is somebody's copy of one, one
/// with a name of ours and no labels was made by somebody else.
fn ours(engine: EngineId, found: &Volume) -> Option<FoundVolume> {
    let volume = found.labels.get(label::VOLUME)?.parse().ok()?;
    let is_ours = found.name == name(engine, &volume)
        && found.labels.get(label::ENGINE).is_some_and(|owner| *owner == engine.to_string());
    let maker = found.labels.get(label::WORKFLOW).and_then(|maker| maker.parse().ok());
    is_ours.then_some(FoundVolume { name: volume, maker })
}

/// What the files below a folder have together, each counted once however many names it has; `None` when one cannot be
/// looked at.
pub(crate) fn size_of(folder: &Path) -> Option<u64> {
    let (mut open, mut seen, mut sum) = (vec![folder.to_owned()], HashSet::new(), 0_u64);
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).ok()? {
            let entry = entry.ok()?;
            // Links are not followed: what they lead to is no part of it.
            match entry.metadata() {
                Ok(found) if found.is_dir() => open.push(entry.path()),
                Ok(found) if found.nlink() > 1 && !seen.insert((found.dev(), found.ino())) => {}
                Ok(found) => sum = sum.saturating_add(found.len()),
                // Whoever uses the volume goes on while it is counted.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(_) => return None,
            }
        }
    }
    Some(sum)
}
