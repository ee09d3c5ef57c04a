//! Snapshots of folders in repositories of restic's format, by the library `rustic_core`.
//!
//! [`RusticBackups`] is the port's [`Backups`]; what it does stands in `back_up`, `verify`, `restore` and `list`.
//! `files` is the repository as a folder, `repository` opens and makes it, `source` walks what is kept, `node` is how
//! the format notes owners, modes and times. Each call is an `operation`: it may be asked to stop, and remembers its first
//! failure, as the library only logs most of what goes wrong below it.
//!
//! Beside restic's files a repository has one folder, `yuanli`, that restic does not look at: the file `lock` in it is
//! locked by the one writer, `index` by who reads or repairs the index, and the other files are half-written ones of a
//! writer that died, removed by the next.
//!
//! Absent on purpose: the library's own walk and restore, which pass over what they cannot read or set; its cache; any
//! way to remove a snapshot, which comes with retention.

mod back_up;
mod compare;
mod fault;
mod files;
mod key;
mod list;
mod lock;
mod node;
mod operation;
mod reader;
mod repository;
mod restore;
mod source;
mod verify;

use std::any::Any;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use yuanli_ports::backups::{BackupError, BackupRequest, Repository, Restored, Snapshot};
use yuanli_ports::{Backups, Cancellation};

pub use crate::key::key_file;
use crate::operation::Operation;

/// Keeps snapshots in folders of this machine.
#[derive(Debug, Default, Clone, Copy)]
pub struct RusticBackups;

impl RusticBackups {
    /// Has no state: everything is in the repositories.
    #[must_use]
    pub fn new() -> Self {
        Self
    }
}

#[async_trait]
impl Backups for RusticBackups {
    async fn back_up(
        &self,
        repository: &Repository,
        request: &BackupRequest,
        cancel: &Cancellation,
    ) -> Result<Snapshot, BackupError> {
        let request = request.clone();
        blocking(repository, cancel, move |operation| back_up::back_up(operation, &request)).await
    }

    async fn list(&self, repository: &Repository, tags: &[String]) -> Result<Vec<Snapshot>, BackupError> {
        let tags = tags.to_vec();
        blocking(repository, &Cancellation::new(), move |operation| list::list(operation, &tags)).await
    }

    async fn verify(
        &self,
        repository: &Repository,
        snapshot: &str,
        cancel: &Cancellation,
    ) -> Result<Restored, BackupError> {
        let snapshot = snapshot.to_owned();
        blocking(repository, cancel, move |operation| verify::verify(operation, &snapshot)).await
    }

    async fn restore(
        &self,
        repository: &Repository,
        snapshot: &str,
        into: &Path,
        cancel: &Cancellation,
    ) -> Result<Restored, BackupError> {
        let (snapshot, into) = (snapshot.to_owned(), into.to_owned());
        blocking(repository, cancel, move |operation| restore::restore(operation, &snapshot, &into)).await
    }
}

/// Does `work` on a thread where waiting for a disk disturbs nobody. It is asked to stop when the caller is dropped.
async fn blocking<T: Send + 'static>(
    repository: &Repository,
    cancel: &Cancellation,
    work: impl FnOnce(&Arc<Operation>) -> Result<T, BackupError> + Send + 'static,
) -> Result<T, BackupError> {
    let stop = cancel.child_token();
    let operation = Arc::new(Operation::new(repository.clone(), stop.clone()));
    let _stopped_when_dropped = stop.drop_guard();
    let work = move || {
        operation.go_on()?;
        work(&operation)
    };
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => Err(panicked(repository, panic.as_ref())),
            // The runtime is shutting down.
            Err(_) => Err(BackupError::Cancelled),
        },
    }
}

/// The library panics at some damage, such as a pack that is shorter than its index says that its header is.
fn panicked(repository: &Repository, panic: &(dyn Any + Send)) -> BackupError {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("unknown");
    let path = repository.path.display();
    BackupError::Damaged(format!(
        "the repository {path} cannot be used ({text}): look at it with `restic -r {path} check --read-data`"
    ))
}
