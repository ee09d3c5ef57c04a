//! Backups of volumes: replicas that use the volume stand still while its files are read, and go on on every way out.
//!
//! The pause is kept with the app before anything is paused, with a time until which it may last: whoever finds it later,
//! this engine or the next, lets the replicas go on.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use yuanli_model::{App, AppName, VolumeName};
use yuanli_ports::Cancellation;
use yuanli_ports::apps::{AppError, Asker, VolumeSnapshot};
use yuanli_ports::backups::{BackupError, BackupRequest, Repository, Restored, Snapshot};
use yuanli_ports::images::ContainerError;
use yuanli_ports::store::{Batch, StoreError};

use crate::handle::Apps;
use crate::message::Request;
use crate::record;

/// The mark of a snapshot that names its volume.
const VOLUME: &str = "volume=";
/// The mark of a snapshot that names who asked for it.
const OPERATION: &str = "operation=";
/// What an app gets of the time of a pause before its replicas have to be quiet.
const QUIET_DEADLINE: Duration = Duration::from_secs(15);

impl Apps {
    pub(crate) async fn take_snapshot(
        &self,
        asker: &Asker,
        volume: &VolumeName,
        repository: PathBuf,
        pause: Duration,
        cancel: &Cancellation,
    ) -> Result<VolumeSnapshot, AppError> {
        let repository = self.repository(repository)?;
        let operation = format!("{OPERATION}{}", asker.0);
        // After a crash: it was taken, and nobody heard of it.
        let taken = self
            .ports
            .backups
            .list(&repository, std::slice::from_ref(&operation))
            .await
            .map_err(of_backup)?;
        if let Some(snapshot) = taken.into_iter().next_back() {
            return Ok(of_volume(snapshot, volume.clone()));
        }
        let folder = self.folder(volume).await?;
        let mut request = BackupRequest {
            folder,
            shown_as: format!("/volumes/{volume}"),
            tags: vec![format!("{VOLUME}{volume}"), operation],
            time: self.ports.clock.now(),
        };
        if pause.is_zero() {
            let snapshot =
                self.ports.backups.back_up(&repository, &request, cancel).await.map_err(of_backup)?;
            return Ok(of_volume(snapshot, volume.clone()));
        }
        let began = self.ports.clock.now();
        let taken = self.while_quiet(volume, pause, cancel, async |within: Cancellation| {
            request.time = self.ports.clock.now();
            self.ports.backups.back_up(&repository, &request, &within).await.map_err(of_backup)
        });
        let snapshot = taken.await?;
        let paused = self.ports.clock.now().since(began);
        Ok(VolumeSnapshot { paused, ..of_volume(snapshot, volume.clone()) })
    }

    /// Does something while the replicas that use a volume stand still; they go on whatever comes of it.
    async fn while_quiet<T>(
        &self,
        volume: &VolumeName,
        at_most: Duration,
        cancel: &Cancellation,
        job: impl AsyncFnOnce(Cancellation) -> Result<T, AppError>,
    ) -> Result<T, AppError> {
        let noise = Noise { apps: self, volume };
        let quiet = self.ask(|reply| Request::Pause { volume: volume.clone(), at_most, reply });
        let quiet = tokio::time::timeout(QUIET_DEADLINE.min(at_most), quiet).await;
        let outcome = match quiet {
            Ok(Ok(())) => {
                let within = cancel.child_token();
                let job = job(within.clone());
                match tokio::time::timeout(at_most, job).await {
                    Ok(done) => done,
                    Err(_) => {
                        within.cancel();
                        Err(AppError::Unavailable(format!(
                            "volume `{volume}` was not read within {at_most:?}, which is how long the replicas that use it \
                             may be paused; give it more, or 0 to read it while they run"
                        )))
                    }
                }
            }
            // Busy: somebody else's pause is not ended here.
            Ok(Err(error)) => {
                std::mem::forget(noise);
                return Err(error);
            }
            Err(_) => Err(AppError::Unavailable(format!(
                "the replicas that use volume `{volume}` could not be paused in time"
            ))),
        };
        // And this waits until it is known.
        self.ask(|reply| Request::Resume { volume: volume.clone(), reply }).await?;
        drop(noise);
        outcome
    }

    pub(crate) async fn list_snapshots(
        &self,
        repository: PathBuf,
        volume: &VolumeName,
    ) -> Result<Vec<VolumeSnapshot>, AppError> {
        let repository = self.repository(repository)?;
        let found = self.ports.backups.list(&repository, &[format!("{VOLUME}{volume}")]).await;
        let found = found.map_err(of_backup)?;
        Ok(found.into_iter().map(|snapshot| of_volume(snapshot, volume.clone())).collect())
    }

    pub(crate) async fn verify_snapshot(
        &self,
        repository: PathBuf,
        snapshot: &str,
        cancel: &Cancellation,
    ) -> Result<Restored, AppError> {
        let repository = self.repository(repository)?;
        self.ports.backups.verify(&repository, snapshot, cancel).await.map_err(of_backup)
    }

    /// That a volume is being filled is kept before it is, and forgotten once it is whole or gone: what a restore left that
    /// was cut off is cleared away by the next one, and no app gets it.
    pub(crate) async fn restore_snapshot(
        &self,
        asker: &Asker,
        repository: PathBuf,
        snapshot: &str,
        volume: &VolumeName,
        cancel: &Cancellation,
    ) -> Result<Restored, AppError> {
        let repository = self.repository(repository)?;
        let (engine, volumes) = (self.options.engine, &self.ports.volumes);
        self.require_unused(volume)?;
        let _turn = Turn::take(&self.restoring, volume)?;
        if self.is_partial(volume).await? {
            tracing::info!(%volume, "a restore into it was cut off; it is begun anew");
            volumes.remove(engine, volume).await.map_err(of_containers)?;
        }
        let is_new = volumes.ensure(engine, volume, None).await.map_err(of_containers)?;
        let folder = self.folder(volume).await?;
        if !is_new && !is_empty(&folder) {
            return Err(AppError::Invalid(format!(
                "volume `{volume}` exists and is not empty; restore into a new one, and let the app use that"
            )));
        }
        let mut begun = Batch::default();
        begun.put(record::restore(volume), Bytes::from(format!("{snapshot} for {}", asker.0)));
        self.ports.store.commit(begun).await.map_err(of_store)?;
        let restored = self.ports.backups.restore(&repository, snapshot, &folder, cancel).await;
        if restored.is_err() {
            // What a part of a restore left must not look like a volume.
            volumes.remove(engine, volume).await.map_err(of_containers)?;
        }
        let mut ended = Batch::default();
        ended.delete(record::restore(volume));
        self.ports.store.commit(ended).await.map_err(of_store)?;
        restored.map_err(of_backup)
    }

    async fn is_partial(&self, volume: &VolumeName) -> Result<bool, AppError> {
        let begun = self.ports.store.get(&record::restore(volume)).await.map_err(of_store)?;
        Ok(begun.is_some())
    }

    /// Refuses an app whose volume holds only a part of what is restored into it.
    pub(crate) async fn require_whole(&self, app: &App) -> Result<(), AppError> {
        for mount in &app.spec.volumes {
            let volume = &mount.volume;
            if self.is_partial(volume).await? {
                return Err(AppError::Busy(format!(
                    "volume `{volume}` is being restored into, or a restore into it was cut off: wait for it, or restore \
                     into it again"
                )));
            }
        }
        Ok(())
    }

    fn require_unused(&self, volume: &VolumeName) -> Result<(), AppError> {
        match self.declared_with(volume) {
            Some(app) => Err(AppError::Invalid(format!(
                "volume `{volume}` is used by app `{app}`; restore into a new one, and let the app use that"
            ))),
            None => Ok(()),
        }
    }

    /// The app that is declared with a volume.
    pub(crate) fn declared_with(&self, volume: &VolumeName) -> Option<AppName> {
        let view = self.view();
        let uses = |app: &&std::sync::Arc<crate::AppView>| {
            app.status.app.spec.volumes.iter().any(|mount| mount.volume == *volume)
        };
        view.apps.values().find(uses).map(|app| app.status.app.name.clone())
    }

    async fn folder(&self, volume: &VolumeName) -> Result<PathBuf, AppError> {
        let folder = self.ports.volumes.folder(self.options.engine, volume).await.map_err(of_containers)?;
        folder.ok_or_else(|| AppError::NotFound(format!("there is no volume `{volume}`")))
    }

    fn repository(&self, path: PathBuf) -> Result<Repository, AppError> {
        if !path.is_absolute() {
            return Err(AppError::Invalid(format!(
                "the repository `{}` is to be given by an absolute path",
                path.display()
            )));
        }
        Ok(Repository { path, password: self.options.backup_password.clone() })
    }
}

/// Lets the replicas go on also when whoever paused them is dropped.
struct Noise<'a> {
    apps: &'a Apps,
    volume: &'a VolumeName,
}

impl Drop for Noise<'_> {
    fn drop(&mut self) {
        self.apps.tell(|reply| Request::Resume { volume: self.volume.clone(), reply });
    }
}

/// The right to restore into a volume, which one at a time has.
struct Turn<'a> {
    all: &'a Mutex<HashSet<VolumeName>>,
    volume: &'a VolumeName,
}

impl<'a> Turn<'a> {
    fn take(all: &'a Mutex<HashSet<VolumeName>>, volume: &'a VolumeName) -> Result<Self, AppError> {
        if !all.lock().unwrap_or_else(PoisonError::into_inner).insert(volume.clone()) {
            return Err(AppError::Busy(format!("volume `{volume}` is being restored into already")));
        }
        Ok(Self { all, volume })
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).remove(self.volume);
    }
}

fn is_empty(folder: &Path) -> bool {
    std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none())
}

fn of_volume(snapshot: Snapshot, volume: VolumeName) -> VolumeSnapshot {
    VolumeSnapshot { paused: Duration::ZERO, volume, snapshot }
}

fn of_backup(error: BackupError) -> AppError {
    match error {
        BackupError::Invalid(message) | BackupError::WrongPassword(message) => AppError::Invalid(message),
        BackupError::Busy(message) => AppError::Busy(message),
        BackupError::Damaged(message) => AppError::Damaged(message),
        BackupError::Local(message) => AppError::Unavailable(message),
        BackupError::Cancelled => AppError::Cancelled,
    }
}

fn of_store(error: StoreError) -> AppError {
    AppError::Unavailable(error.to_string())
}

fn of_containers(error: ContainerError) -> AppError {
    match error {
        ContainerError::NotFound(message) => AppError::NotFound(message),
        ContainerError::Invalid(message) => AppError::Invalid(message),
        ContainerError::Cancelled => AppError::Cancelled,
        other => AppError::Unavailable(other.to_string()),
    }
}
