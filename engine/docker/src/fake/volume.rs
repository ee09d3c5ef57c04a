//! Volumes as folders in a temporary one, which goes with the fake.

use std::collections::BTreeMap;
use std::path::PathBuf;

use async_trait::async_trait;
use tempfile::TempDir;
use yuanli_model::{EngineId, VolumeName, WorkflowName};
use yuanli_ports::Volumes;
use yuanli_ports::containers::ContainerError;
use yuanli_ports::volumes::{FoundVolume, VolumeUsage};

use super::{FakeDocker, State};
use crate::volume;

/// The folders of volumes.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    /// Made for the first volume.
    folder: Option<TempDir>,
    volumes: BTreeMap<(EngineId, VolumeName), Shelved>,
}

#[derive(Debug)]
struct Shelved {
    folder: PathBuf,
    maker: Option<WorkflowName>,
}

impl State {
    fn make_volume(
        &mut self,
        engine: EngineId,
        name: &VolumeName,
        maker: Option<&WorkflowName>,
    ) -> std::io::Result<bool> {
        let key = (engine, name.clone());
        if self.shelf.volumes.contains_key(&key) {
            return Ok(false);
        }
        let folder = match &mut self.shelf.folder {
            Some(folder) => folder,
            none => none.insert(tempfile::tempdir()?),
        };
        let folder = folder.path().join(volume::name(engine, name));
        std::fs::create_dir(&folder)?;
        self.shelf.volumes.insert(key, Shelved { folder, maker: maker.cloned() });
        Ok(true)
    }

    /// As Docker: a container that names a volume which is not there is refused.
    pub(super) fn require_volume(&self, engine: EngineId, volume: &VolumeName) -> Result<(), ContainerError> {
        match self.shelf.volumes.contains_key(&(engine, volume.clone())) {
            true => Ok(()),
            false => Err(volume::missing(volume)),
        }
    }

    /// How many containers of runs and replicas have a volume.
    fn users(&self, engine: EngineId, volume: &VolumeName) -> usize {
        let has = |container: &&super::Container| {
            container.operation.engine == engine && container.volumes.contains(volume)
        };
        self.containers.values().filter(has).count() + self.fleet.users(engine, volume)
    }
}

/// A fault of the folder under the fake.
fn failed(error: std::io::Error) -> ContainerError {
    ContainerError::Engine(format!("the folder of a volume: {error}"))
}

#[async_trait]
impl Volumes for FakeDocker {
    async fn ensure(
        &self,
        engine: EngineId,
        volume: &VolumeName,
        maker: Option<&WorkflowName>,
    ) -> Result<bool, ContainerError> {
        self.called(None)?.make_volume(engine, volume, maker).map_err(failed)
    }

    async fn folder(&self, engine: EngineId, volume: &VolumeName) -> Result<Option<PathBuf>, ContainerError> {
        let state = self.called(None)?;
        Ok(state.shelf.volumes.get(&(engine, volume.clone())).map(|shelved| shelved.folder.clone()))
    }

    async fn inspect(
        &self,
        engine: EngineId,
        volume: &VolumeName,
    ) -> Result<Option<FoundVolume>, ContainerError> {
        let state = self.called(None)?;
        let found = state.shelf.volumes.get(&(engine, volume.clone()));
        Ok(found.map(|shelved| FoundVolume { name: volume.clone(), maker: shelved.maker.clone() }))
    }

    async fn usage(&self, engine: EngineId, volume: &VolumeName) -> Result<VolumeUsage, ContainerError> {
        let state = self.called(None)?;
        let found =
            state.shelf.volumes.get(&(engine, volume.clone())).ok_or_else(|| volume::missing(volume))?;
        let containers = u32::try_from(state.users(engine, volume)).unwrap_or(u32::MAX);
        Ok(VolumeUsage { size_bytes: volume::size_of(&found.folder), containers })
    }

    async fn list(&self, engine: EngineId) -> Result<Vec<FoundVolume>, ContainerError> {
        let state = self.called(None)?;
        let own = state.shelf.volumes.iter().filter(|((owner, _), _)| *owner == engine);
        let found = |((_, name), shelved): (&(EngineId, VolumeName), &Shelved)| FoundVolume {
            name: name.clone(),
            maker: shelved.maker.clone(),
        };
        Ok(own.map(found).collect())
    }

    async fn remove(&self, engine: EngineId, volume: &VolumeName) -> Result<(), ContainerError> {
        let mut state = self.called(None)?;
        if state.users(engine, volume) > 0 {
            return Err(volume::in_use(volume, "a container has it"));
        }
        match state.shelf.volumes.remove(&(engine, volume.clone())) {
            Some(shelved) => std::fs::remove_dir_all(shelved.folder).map_err(failed),
            None => Ok(()),
        }
    }
}
