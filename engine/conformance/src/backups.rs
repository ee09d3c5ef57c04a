//! The volumes of a case that can be backed up, with their snapshots.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use yuanli_model::{Digest, Timestamp, VolumeName};
use yuanli_ports::apps::{AppError, VolumeSnapshot};
use yuanli_ports::backups::{Restored, Snapshot};

/// A volume.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct VolumeOfCase {
    files: u64,
    bytes: u64,
    /// How long its replicas are paused for a snapshot.
    paused_ms: u64,
    /// Those that there are, oldest first.
    snapshots: Vec<SnapshotOfCase>,
    /// What is wrong with its snapshots.
    damaged: Option<String>,
    /// Why it cannot be backed up.
    fails: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct SnapshotOfCase {
    id: String,
    #[serde(default)]
    files: u64,
    #[serde(default)]
    bytes: u64,
}

/// All volumes, and what is done with them.
#[derive(Debug, Default)]
pub(crate) struct Volumes {
    kept: BTreeMap<String, VolumeOfCase>,
    calls: Vec<String>,
}

impl Volumes {
    pub(crate) fn of(volumes: &BTreeMap<String, VolumeOfCase>) -> Self {
        Self { kept: volumes.clone(), calls: Vec::new() }
    }

    pub(crate) fn take_calls(&mut self) -> Vec<String> {
        std::mem::take(&mut self.calls)
    }

    /// Takes a snapshot; its id follows from the volume and from how many there are.
    pub(crate) fn back_up(
        &mut self,
        volume: &VolumeName,
        repository: &Path,
        pause: Duration,
        time: Timestamp,
    ) -> Result<VolumeSnapshot, AppError> {
        let paused = if pause.is_zero() { String::new() } else { format!(", paused for {pause:?}") };
        self.calls.push(format!("back up {volume} to {}{paused}", repository.display()));
        let kept = self.find(volume)?;
        if let Some(why) = &kept.fails {
            return Err(AppError::Unavailable(why.clone()));
        }
        let id = Digest::of(format!("{volume} {}", kept.snapshots.len()).as_bytes()).hex().to_string();
        let taken = SnapshotOfCase { id, files: kept.files, bytes: kept.bytes };
        kept.snapshots.push(taken.clone());
        let paused = if pause.is_zero() { Duration::ZERO } else { Duration::from_millis(kept.paused_ms) };
        Ok(VolumeSnapshot { paused, ..taken.of(volume, time) })
    }

    pub(crate) fn snapshots(
        &mut self,
        volume: &VolumeName,
        time: Timestamp,
    ) -> Result<Vec<VolumeSnapshot>, AppError> {
        let kept = self.kept.get(volume.as_str()).cloned().unwrap_or_default();
        Ok(kept.snapshots.into_iter().map(|snapshot| snapshot.of(volume, time)).collect())
    }

    pub(crate) fn verify(&mut self, snapshot: &str) -> Result<Restored, AppError> {
        self.calls.push(format!("verify {snapshot}"));
        self.restored(snapshot)
    }

    pub(crate) fn restore(&mut self, snapshot: &str, volume: &VolumeName) -> Result<Restored, AppError> {
        self.calls.push(format!("restore {snapshot} into {volume}"));
        let is_empty = |kept: &VolumeOfCase| kept.files == 0 && kept.bytes == 0;
        if self.kept.get(volume.as_str()).is_some_and(|kept| !is_empty(kept)) {
            return Err(AppError::Invalid(format!("the volume `{volume}` exists: name one that does not")));
        }
        let restored = self.restored(snapshot)?;
        let made = VolumeOfCase { files: restored.files, bytes: restored.bytes, ..VolumeOfCase::default() };
        self.kept.insert(volume.to_string(), made);
        Ok(restored)
    }

    fn find(&mut self, volume: &VolumeName) -> Result<&mut VolumeOfCase, AppError> {
        let none = || AppError::NotFound(format!("the case has no volume `{volume}` among its `backups`"));
        self.kept.get_mut(volume.as_str()).ok_or_else(none)
    }

    /// What is in a snapshot, of whatever volume it is.
    fn restored(&self, id: &str) -> Result<Restored, AppError> {
        let with_it = |kept: &&VolumeOfCase| kept.snapshots.iter().any(|snapshot| snapshot.id == id);
        let none = || AppError::NotFound(format!("the case has no snapshot `{id}`"));
        let kept = self.kept.values().find(with_it).ok_or_else(none)?;
        if let Some(why) = &kept.damaged {
            return Err(AppError::Damaged(why.clone()));
        }
        let found = kept.snapshots.iter().find(|snapshot| snapshot.id == id).ok_or_else(none)?;
        Ok(Restored { files: found.files, bytes: found.bytes })
    }
}

impl SnapshotOfCase {
    fn of(self, volume: &VolumeName, time: Timestamp) -> VolumeSnapshot {
        let Self { id, files, bytes } = self;
        let snapshot = Snapshot { id, time, tags: Vec::new(), files, bytes, added_bytes: bytes };
        VolumeSnapshot { snapshot, volume: volume.clone(), paused: Duration::ZERO }
    }
}
