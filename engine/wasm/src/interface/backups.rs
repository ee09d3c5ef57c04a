//! `yuanli:backups`: backs up volumes and restores them.

use std::path::PathBuf;
use std::time::Duration;

use futures::FutureExt;
use wasmtime::component::Linker;
use yuanli_bindings::backups::{Error, Extent, Snapshot};
use yuanli_model::VolumeName;
use yuanli_ports::apps::{AppError, VolumeSnapshot};
use yuanli_ports::backups::Restored;

use crate::call::{Answer, Function, Interface, Policy};
use crate::guest::{Guest, State};

pub(super) fn link(linker: &mut Linker<Guest>, declared: &mut Vec<Function>) -> wasmtime::Result<()> {
    Interface::open(linker, "yuanli:backups/backups@0.1.0", declared)?
        .effect("create", Policy::Adopt, create)?
        .read("snapshots", snapshots)?
        .read("verify", verify)?
        .effect("restore", Policy::Adopt, restore)?;
    Ok(())
}

fn create(
    state: &mut State,
    (volume, repository, pause_ms): (String, String, u64),
) -> Answer<'_, (Result<Snapshot, Error>,)> {
    async move {
        let created = async {
            let volume = parse(&volume)?;
            let pause = Duration::from_millis(pause_ms);
            let (asker, cancel) = (state.asker(), &state.attempt.cancel);
            let taken =
                state.outside.apps.back_up(&asker, &volume, PathBuf::from(repository), pause, cancel).await;
            taken.map(snapshot).map_err(of_port)
        };
        (created.await,)
    }
    .boxed()
}

fn snapshots(
    state: &mut State,
    (repository, volume): (String, String),
) -> Answer<'_, (Result<Vec<Snapshot>, Error>,)> {
    async move {
        let listed = async {
            let volume = parse(&volume)?;
            let found = state.outside.apps.snapshots(PathBuf::from(repository), &volume).await;
            Ok(found.map_err(of_port)?.into_iter().map(snapshot).collect())
        };
        (listed.await,)
    }
    .boxed()
}

fn verify(state: &mut State, (repository, id): (String, String)) -> Answer<'_, (Result<Extent, Error>,)> {
    async move {
        let verified = state.outside.apps.verify(PathBuf::from(repository), &id, &state.attempt.cancel).await;
        (verified.map(extent).map_err(of_port),)
    }
    .boxed()
}

fn restore(
    state: &mut State,
    (repository, id, volume): (String, String, String),
) -> Answer<'_, (Result<Extent, Error>,)> {
    async move {
        let restored = async {
            let volume = parse(&volume)?;
            let (asker, cancel) = (state.asker(), &state.attempt.cancel);
            let restored =
                state.outside.apps.restore(&asker, PathBuf::from(repository), &id, &volume, cancel).await;
            restored.map(extent).map_err(of_port)
        };
        (restored.await,)
    }
    .boxed()
}

fn parse(volume: &str) -> Result<VolumeName, Error> {
    volume.parse().map_err(|e: yuanli_model::id::InvalidId| Error::Invalid(e.to_string()))
}

fn snapshot(taken: VolumeSnapshot) -> Snapshot {
    let VolumeSnapshot { snapshot, volume, paused } = taken;
    Snapshot {
        id: snapshot.id,
        time_ms: snapshot.time.as_millis(),
        volume: volume.to_string(),
        files: snapshot.files,
        bytes: snapshot.bytes,
        added_bytes: snapshot.added_bytes,
        paused_ms: u64::try_from(paused.as_millis()).unwrap_or(u64::MAX),
    }
}

fn extent(restored: Restored) -> Extent {
    Extent { files: restored.files, bytes: restored.bytes }
}

fn of_port(error: AppError) -> Error {
    match error {
        AppError::NotFound(message) => Error::NotFound(message),
        AppError::Invalid(message) => Error::Invalid(message),
        AppError::Busy(message) => Error::Busy(message),
        AppError::Damaged(message) => Error::Damaged(message),
        AppError::Unavailable(message) => Error::Unavailable(message),
        AppError::Cancelled => Error::Other("the run was cancelled".to_owned()),
    }
}
