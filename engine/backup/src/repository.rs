//! Opening and making repositories, and finding a snapshot in one.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use rustic_core::repofile::{KeyId, SnapshotFile, SnapshotId};
use rustic_core::{
    ConfigOptions, Credentials, FileType, IndexedFullStatus, KeyOptions, OpenStatus, Repository,
    RepositoryBackends, RepositoryOptions, WriteBackend,
};
use yuanli_ports::backups::BackupError;

use crate::fault;
use crate::files::Files;
use crate::lock::{Index, Lock, OURS};
use crate::operation::Operation;

/// A repository that the password has opened.
pub(crate) type Opened = Repository<OpenStatus>;
/// A repository of which it is known where each piece of content lies.
pub(crate) type Indexed = Repository<IndexedFullStatus>;

/// The fewest digits that name a snapshot; restic shows 8.
const SHORTEST_ID: usize = 8;
/// What a file system has of its own at its top.
const LOST_AND_FOUND: &str = "lost+found";
/// What a repository consists of.
const PARTS: [&str; 7] = ["config", "data", "index", "keys", "locks", "snapshots", OURS];

/// Opens a repository for reading; `None` when it is not there.
///
/// # Errors
/// See [`BackupError`].
pub(crate) fn open(operation: &Arc<Operation>) -> Result<Option<Opened>, BackupError> {
    check(operation.path())?;
    let (repository, files) = connect(operation, None)?;
    if !has_config(operation, &files)? {
        return Ok(None);
    }
    unlock(operation, repository, &files).map(Some)
}

/// Opens a repository that has to be there, with its index.
///
/// # Errors
/// [`BackupError::Invalid`] when it is not there; see [`BackupError`].
pub(crate) fn open_indexed(operation: &Arc<Operation>) -> Result<Indexed, BackupError> {
    let Some(repository) = open(operation)? else {
        let text = format!("there is no repository in {}", operation.path().display());
        return Err(BackupError::Invalid(text));
    };
    operation.go_on()?;
    indexed(operation, repository)
}

/// Reads the index.
///
/// # Errors
/// See [`BackupError`].
pub(crate) fn indexed(operation: &Operation, repository: Opened) -> Result<Indexed, BackupError> {
    let _as_it_is = Index::keep(operation.path())?;
    repository.to_indexed().map_err(|error| operation.explain(&error))
}

/// Opens a repository as its writer; makes it when it is not there.
///
/// # Errors
/// See [`BackupError`].
pub(crate) fn open_or_make(operation: &Arc<Operation>) -> Result<Opened, BackupError> {
    check(operation.path())?;
    check_nothing_else(operation.path())?;
    let lock = Lock::take(operation.path())?;
    let (repository, files) = connect(operation, Some(lock))?;
    if has_config(operation, &files)? {
        return unlock(operation, repository, &files);
    }
    remove_unfinished(operation, &files)?;
    repository
        .init(&credentials(operation), &KeyOptions::default(), &ConfigOptions::default())
        .map_err(|error| operation.explain(&error))
}

/// The snapshot with this id, or the only one whose id begins with it.
///
/// # Errors
/// [`BackupError::Invalid`] when there is none or more than one; see [`BackupError`].
pub(crate) fn find(
    operation: &Operation,
    repository: &Indexed,
    id: &str,
) -> Result<SnapshotFile, BackupError> {
    let explain = |error: Box<_>| operation.explain(&error);
    let all = repository.list::<SnapshotId>().map_err(explain)?;
    let mut matching = all.filter(|known| id.len() >= SHORTEST_ID && known.to_hex().starts_with(id));
    let (found, another) = (matching.next(), matching.next());
    let path = operation.path().display();
    match (found, another) {
        (None, _) => Err(BackupError::Invalid(format!("the repository {path} has no snapshot `{id}`"))),
        (Some(_), Some(_)) => Err(BackupError::Invalid(format!(
            "several snapshots of {path} begin with `{id}`: give more of it"
        ))),
        (Some(found), None) => {
            let mut snapshot: SnapshotFile = repository.get_file(&found).map_err(explain)?;
            snapshot.id = found;
            Ok(snapshot)
        }
    }
}

fn connect(
    operation: &Arc<Operation>,
    lock: Option<Lock>,
) -> Result<(Repository<()>, Arc<dyn WriteBackend>), BackupError> {
    let files: Arc<dyn WriteBackend> = Arc::new(Files::new(Arc::clone(operation), lock));
    let backends = RepositoryBackends::new(Arc::clone(&files), None);
    // A cache would be a second copy on the same machine, in the home of whoever runs the engine.
    let options = RepositoryOptions::default().no_cache(true);
    let repository = Repository::new(&options, &backends).map_err(|error| operation.explain(&error))?;
    Ok((repository, files))
}

fn has_config(operation: &Operation, files: &Arc<dyn WriteBackend>) -> Result<bool, BackupError> {
    has(operation, files, FileType::Config)
}

fn has(operation: &Operation, files: &Arc<dyn WriteBackend>, kind: FileType) -> Result<bool, BackupError> {
    files.list(kind).map(|ids| !ids.is_empty()).map_err(|error| operation.explain(&error))
}

fn unlock(
    operation: &Operation,
    repository: Repository<()>,
    files: &Arc<dyn WriteBackend>,
) -> Result<Opened, BackupError> {
    // The library would blame the password.
    if !has(operation, files, FileType::Key)? {
        let text = format!("the repository {} has lost its keys", operation.path().display());
        return Err(BackupError::Damaged(text));
    }
    repository.open(&credentials(operation)).map_err(|error| operation.explain(&error))
}

fn credentials(operation: &Operation) -> Credentials {
    Credentials::Password(operation.password().to_owned())
}

fn check(path: &Path) -> Result<(), BackupError> {
    if path.is_absolute() {
        return Ok(());
    }
    Err(BackupError::Invalid(format!("the repository {} has no absolute path", path.display())))
}

/// A repository is not made among other people's files.
fn check_nothing_else(path: &Path) -> Result<(), BackupError> {
    let io = |error| fault::local("read", path)(error);
    let entries = match fs::read_dir(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) if error.kind() == ErrorKind::NotADirectory => {
            return Err(BackupError::Invalid(format!("the repository {} is not a folder", path.display())));
        }
        entries => entries.map_err(io)?,
    };
    let (mut is_repository, mut stranger) = (false, None);
    for entry in entries {
        let name = entry.map_err(io)?.file_name();
        is_repository |= name == PARTS[0];
        if name != LOST_AND_FOUND && !PARTS.iter().any(|part| name == *part) {
            stranger = Some(name);
        }
    }
    match stranger {
        Some(name) if !is_repository => Err(BackupError::Invalid(format!(
            "{} is no repository and holds other things, such as {}: name an empty folder",
            path.display(),
            name.display()
        ))),
        _ => Ok(()),
    }
}

/// A repository that was not made to its end has keys and no config; a new key would stand beside one that opens nothing.
fn remove_unfinished(operation: &Operation, files: &Arc<dyn WriteBackend>) -> Result<(), BackupError> {
    for kind in [FileType::Snapshot, FileType::Index, FileType::Pack] {
        if has(operation, files, kind)? {
            let text = format!("the repository {} has lost its file `config`", operation.path().display());
            return Err(BackupError::Damaged(text));
        }
    }
    let explain = |error: Box<_>| operation.explain(&error);
    for key in files.list(FileType::Key).map_err(explain)? {
        files.remove(FileType::Key, &KeyId::from(key), false).map_err(explain)?;
    }
    Ok(())
}
