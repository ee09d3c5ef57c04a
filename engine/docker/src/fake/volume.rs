//! Volumes as folders in a temporary one, which goes with the fake.

use std::collections::BTreeMap;
use std::path::PathBuf;

use async_trait::async_trait;
use tempfile::TempDir;
use yuanli_model::{EngineId, VolumeName};
use yuanli_ports::Volumes;
use yuanli_ports::containers::ContainerError;

use super::{FakeDocker, State};
use crate::volume;

/// The folders of volumes.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    /// Made for the first volume.
    folder: Option<TempDir>,
    pub(super) volumes: BTreeMap<(EngineId, VolumeName), PathBuf>,
}

impl State {
    fn make_volume(&mut self, engine: EngineId, name: &VolumeName) -> std::io::Result<bool> {
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
        self.shelf.volumes.insert(key, folder);
        Ok(true)
    }
}

/// A fault of the folder under the fake.
fn failed(error: std::io::Error) -> ContainerError {
    ContainerError::Engine(format!("the folder of a volume: {error}"))
}

#[async_trait]
impl Volumes for FakeDocker {
    async fn ensure(&self, engine: EngineId, volume: &VolumeName) -> Result<bool, ContainerError> {
        self.called(None)?.make_volume(engine, volume).map_err(failed)
    }

    async fn folder(&self, engine: EngineId, volume: &VolumeName) -> Result<Option<PathBuf>, ContainerError> {
        Ok(self.called(None)?.shelf.volumes.get(&(engine, volume.clone())).cloned())
    }

    async fn list(&self, engine: EngineId) -> Result<Vec<VolumeName>, ContainerError> {
        let state = self.called(None)?;
        let keys = state.shelf.volumes.keys().filter(|(owner, _)| *owner == engine);
        Ok(keys.map(|(_, volume)| volume.clone()).collect())
    }

    async fn remove(&self, engine: EngineId, volume: &VolumeName) -> Result<(), ContainerError> {
        let mut state = self.called(None)?;
        if state.fleet.uses(engine, volume) {
            return Err(volume::in_use(volume, "a replica has it"));
        }
        match state.shelf.volumes.remove(&(engine, volume.clone())) {
            Some(folder) => std::fs::remove_dir_all(folder).map_err(failed),
            None => Ok(()),
        }
    }
}
