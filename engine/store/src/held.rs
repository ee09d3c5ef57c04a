//! What an export holds while it is made: the files beside the store.
//!
//! An engine may remove a file as soon as no entry of its store names it any more, which the entries that are exported,
//! as of an earlier commit, may still do. So each file gets a second name before they are read. What is removed all the
//! same between being made and being held was named for some milliseconds only.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use tempfile::TempDir;

use crate::disk::TEMPORARY;

/// Folders of a data directory whose files belong to it, beside its store. Workspaces and caches do not. Entries of plugins
/// come before components: one that is there then has its component, which was there before it and is never removed.
pub(crate) const FOLDERS: [&str; 5] = ["history", "logs", "blobs", "plugins/added", COMPONENTS];
/// The folder of components, whose folder of entries stands alone.
const COMPONENTS: &str = "plugins";
/// How the names of folders begin that hold what is exported.
const HELD: &str = ".yuanli-export-";

/// The files beside a store under names of their own, in a folder that goes with this.
pub(crate) struct Held {
    folder: TempDir,
    /// Locked as long as the folder is needed: see [`sweep`].
    _lock: File,
}

impl Held {
    /// `None` where links cannot be made, such as in a directory that can only be read: nobody removes anything there.
    pub(crate) fn of(data: &Path) -> Option<Self> {
        sweep(data);
        let folder = tempfile::Builder::new().prefix(HELD).tempdir_in(data).ok()?;
        let lock = File::open(folder.path()).ok()?;
        flock(&lock, FlockOperation::NonBlockingLockShared).ok()?;
        let held = Self { folder, _lock: lock };
        held.hold(data).ok().map(|()| held)
    }

    /// Holds what is not held yet.
    pub(crate) fn hold(&self, data: &Path) -> io::Result<()> {
        for folder in FOLDERS {
            for path in files_of(data, folder)? {
                let link = self.folder.path().join(path.strip_prefix(data).map_err(io::Error::other)?);
                link.parent().map_or(Ok(()), fs::create_dir_all)?;
                match fs::hard_link(&path, &link) {
                    // Held already, or removed before anything was read that could name it.
                    Err(e) if matches!(e.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::NotFound) => {}
                    linked => linked?,
                }
            }
        }
        Ok(())
    }

    /// The folder that has the files at the places that they have in the data directory.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// Removes what exports have left that were killed.
pub(crate) fn sweep(data: &Path) {
    for entry in fs::read_dir(data).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(HELD)
            && let Ok(folder) = File::open(entry.path())
            && flock(&folder, FlockOperation::NonBlockingLockExclusive).is_ok()
        {
            // It only takes space; the next one tries again.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// The files of one of the [`FOLDERS`] in a data directory, by name.
pub(crate) fn files_of(data: &Path, folder: &str) -> io::Result<Vec<PathBuf>> {
    let path = data.join(folder);
    let mut found = files(&path)?;
    if folder.starts_with(COMPONENTS) {
        // Locks and what is still being written begin with a dot.
        let is_hidden =
            |path: &Path| path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        found.retain(|file| file.parent() == Some(&path) && !is_hidden(file));
    }
    Ok(found)
}

/// The files below a folder, by name, that are not only begun.
fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(e),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.extend(files(&entry.path())?);
        } else if !entry.file_name().to_string_lossy().ends_with(TEMPORARY) {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}
