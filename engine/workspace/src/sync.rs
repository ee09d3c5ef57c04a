//! Bringing to the device what was written since some moment: file by file when it is little, as other programs' writes are
//! none of ours; the whole file system when it is much.

use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;
use walkdir::WalkDir;

/// Files and folders that are synced one by one; beyond this, one pass over the file system is faster.
const MAX_SINGLE: usize = 64;

/// A moment of the file system's clock, in seconds and nanoseconds.
pub(crate) type Moment = (i64, i64);

/// What the file system takes for the present; its clock moves in steps of some milliseconds.
pub(crate) fn now(folder: &Path) -> io::Result<Moment> {
    let metadata = NamedTempFile::new_in(folder)?.as_file().metadata()?;
    Ok((metadata.ctime(), metadata.ctime_nsec()))
}

/// Syncs what changed below these folders since a moment, the folders themselves and those around them.
pub(crate) fn changed_below(folders: &[PathBuf], since: Moment) -> io::Result<()> {
    let mut changed = Vec::new();
    for folder in folders {
        changed.extend(folder.parent().map(Path::to_owned));
        // Names in it may be of others who have not brought them to the device yet.
        changed.push(folder.clone());
        for entry in WalkDir::new(folder) {
            let (metadata, path) = match entry.and_then(|entry| Ok((entry.metadata()?, entry.into_path()))) {
                Ok(found) => found,
                // Others work beside this one: theirs may have its name only now, or be removed.
                Err(error) if is_gone(&error) => continue,
                Err(error) => return Err(error.into()),
            };
            if (metadata.is_file() || metadata.is_dir()) && moment(&metadata) >= since {
                changed.push(path);
            }
            if changed.len() > MAX_SINGLE {
                return whole(folders);
            }
        }
    }
    match changed.iter().try_for_each(|path| single(path)) {
        // A container made it as another user.
        Err(error) if error.kind() == ErrorKind::PermissionDenied => whole(folders),
        synced => synced,
    }
}

fn moment(metadata: &Metadata) -> Moment {
    (metadata.ctime(), metadata.ctime_nsec())
}

fn single(path: &Path) -> io::Result<()> {
    match one(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        synced => synced,
    }
}

/// Syncs one file or folder.
pub(crate) fn one(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Syncs the file system that these folders lie in.
fn whole(folders: &[PathBuf]) -> io::Result<()> {
    let there = folders.iter().find(|folder| fs::exists(folder).unwrap_or_default());
    let Some(there) = there else { return Ok(()) };
    Ok(rustix::fs::syncfs(File::open(there)?)?)
}

/// Whether what was to be read has been removed meanwhile.
pub(crate) fn is_gone(error: &walkdir::Error) -> bool {
    error.io_error().is_some_and(|error| error.kind() == ErrorKind::NotFound)
}
