//! One writer at a time: `yuanli/lock` in the repository's folder, and the locks that restic leaves. Readers wait only
//! while the writer repairs the index (`yuanli/index`), which replaces files of it.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use yuanli_ports::backups::BackupError;

use crate::fault;

/// Our folder in a repository.
pub(crate) const OURS: &str = "yuanli";
const LOCK: &str = "lock";
const INDEX: &str = "index";
/// restic renews a lock every 5 minutes and ignores one that is older than this.
/// <https://restic.readthedocs.io/en/stable/100_references.html#locks>
const STALE: Duration = Duration::from_secs(30 * 60);

/// The right to write into a repository, until it is dropped. The system gives it back however the process ends.
#[derive(Debug)]
pub(crate) struct Lock(File);

impl Drop for Lock {
    /// A process that is being started has this file open until its program begins: closing alone would leave the lock
    /// with it for that long.
    fn drop(&mut self) {
        // Whoever takes it next is told what is wrong.
        let _ = flock(&self.0, FlockOperation::Unlock);
    }
}

impl Lock {
    /// Becomes the writer of the repository in a folder, which is made when it is not there, and clears away what a
    /// writer before has left half-written.
    ///
    /// # Errors
    /// [`BackupError::Busy`] when somebody else writes, or restic works on the repository; [`BackupError::Local`].
    pub(crate) fn take(repository: &Path) -> Result<Self, BackupError> {
        let folder = repository.join(OURS);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)
            .map_err(fault::local("made", &folder))?;
        let path = folder.join(LOCK);
        let io = |error| fault::local("locked", &path)(error);
        let file = open(&path).map_err(io)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let text = format!("another backup writes to the repository {}", repository.display());
                return Err(BackupError::Busy(text));
            }
            Err(error) => return Err(io(error.into())),
        }
        let now = touch(&file).map_err(io)?;
        refuse_restic(repository, now)?;
        clear(&folder).map_err(fault::local("cleared", &folder))?;
        Ok(Self(file))
    }
}

/// The index as it is, while this is held. The system gives it back however the process ends.
#[derive(Debug)]
pub(crate) struct Index(#[allow(dead_code, reason = "holds the lock by being open")] File);

impl Index {
    /// Waits until the writer is not repairing the index; `None` where no writer of ours ever was.
    ///
    /// # Errors
    /// [`BackupError::Local`].
    pub(crate) fn keep(repository: &Path) -> Result<Option<Self>, BackupError> {
        let path = repository.join(OURS).join(INDEX);
        let io = |error| fault::local("locked", &path)(error);
        match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            file => {
                let file = file.map_err(io)?;
                flock(&file, FlockOperation::LockShared).map_err(|error| io(error.into()))?;
                Ok(Some(Self(file)))
            }
        }
    }

    /// Waits until nobody reads the index, which takes moments.
    ///
    /// # Errors
    /// [`BackupError::Local`].
    pub(crate) fn change(repository: &Path) -> Result<Self, BackupError> {
        let path = repository.join(OURS).join(INDEX);
        let io = |error| fault::local("locked", &path)(error);
        let file = open(&path).map_err(io)?;
        flock(&file, FlockOperation::LockExclusive).map_err(|error| io(error.into()))?;
        Ok(Self(file))
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)
}

/// What time it is on the repository's own file system, whose times the locks of restic carry.
fn touch(mut file: &File) -> io::Result<SystemTime> {
    file.set_len(0)?;
    file.write_all(format!("{}\n", std::process::id()).as_bytes())?;
    file.metadata()?.modified()
}

/// A `restic prune` that runs may remove what a new snapshot is about to refer to.
fn refuse_restic(repository: &Path, now: SystemTime) -> Result<(), BackupError> {
    let folder = repository.join("locks");
    let io = |error| fault::local("read", &folder)(error);
    let entries = match fs::read_dir(&folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(io)?,
    };
    for entry in entries {
        let modified = match entry.and_then(|entry| entry.metadata()?.modified()) {
            // It was released meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            modified => modified.map_err(io)?,
        };
        // One from the future counts as new.
        if now.duration_since(modified).unwrap_or_default() < STALE {
            let text = format!(
                "restic works on the repository {path}: wait for it, or, if it was killed, run \
                 `restic -r {path} unlock`",
                path = repository.display()
            );
            return Err(BackupError::Busy(text));
        }
    }
    Ok(())
}

fn clear(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if ![LOCK, INDEX].iter().any(|kept| entry.file_name() == *kept) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
