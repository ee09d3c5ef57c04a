//! Opening files of a workspace. Containers write there too, and may have made what is no file, or make it just now: a device
//! would be that of this machine, and a pipe would wait for ever. And doing it where the stage has the workspace only as a file
//! that another interface reads or writes.

use std::io;
use std::path::Path;

use cap_std::ambient_authority;
use cap_std::fs::{Dir, File, OpenOptions, OpenOptionsExt};
use yuanli_ports::workspaces::WorkspaceError;

use super::path::{self, Outside};
use crate::guest::State;

/// Does not wait for whoever is at the other end of a pipe.
const NONBLOCK: i32 = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();

/// What is said where a stage names a file and has no right to the workspace.
pub(super) const DENIED: &str = "files of the workspace need `workspace` among the grants of the stage";

/// Why nothing was done on the workspace, for an interface to say in its own errors.
pub(super) enum Undone {
    /// The stage has no right to it: [`DENIED`].
    Denied,
    /// The path leads out of it.
    Outside(Outside),
    /// It cannot be had.
    Away(WorkspaceError),
    /// The engine is shutting down.
    Ending,
    Io(io::Error),
}

/// Does `work` on the workspace and a path in it, if the stage has it, on a thread where waiting for a disk disturbs nobody.
pub(super) async fn on_workspace<T: Send + 'static>(
    state: &State,
    path: &str,
    work: impl FnOnce(&Dir, &Path) -> io::Result<T> + Send + 'static,
) -> Result<T, Undone> {
    if state.rights.workspace.is_none() {
        return Err(Undone::Denied);
    }
    let mut normal = path::normal(path).map_err(Undone::Outside)?;
    if normal.as_os_str().is_empty() {
        normal.push(".");
    }
    let folder = state.folder().await.map_err(Undone::Away)?;
    let work = move || work(&Dir::open_ambient_dir(folder, ambient_authority())?, &normal);
    tokio::task::spawn_blocking(work).await.map_err(|_| Undone::Ending)?.map_err(Undone::Io)
}

/// Opens a file for reading, with its size.
pub(super) fn open(dir: &Dir, path: &Path) -> io::Result<(File, u64)> {
    let file = dir.open_with(path, OpenOptions::new().read(true).custom_flags(NONBLOCK))?;
    let size = check(&file)?;
    Ok((file, size))
}

/// Opens a file for writing, empty, and makes the folders on the way.
pub(super) fn create(dir: &Dir, path: &Path) -> io::Result<File> {
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        dir.create_dir_all(parent)?;
    }
    let options = &mut OpenOptions::new();
    let file = dir.open_with(path, options.write(true).create(true).custom_flags(NONBLOCK))?;
    // Cut only when it is known to be one.
    check(&file)?;
    file.set_len(0)?;
    Ok(file)
}

/// The size of a file, which is what was opened and not what lies at its path by now.
fn check(file: &File) -> io::Result<u64> {
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is neither file nor folder"));
    }
    Ok(metadata.len())
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::process::Command;

    use super::*;

    #[test]
    fn what_is_no_file_is_refused_at_once_and_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let dir = Dir::open_ambient_dir(folder.path(), ambient_authority()).expect("it opens");
        let made = Command::new("mkfifo").arg(folder.path().join("pipe")).status().expect("mkfifo");
        assert!(made.success());
        assert!(open(&dir, Path::new("pipe")).is_err());
        assert!(create(&dir, Path::new("pipe")).is_err());
        assert!(open(&dir, Path::new(".")).is_err());
        create(&dir, Path::new("a/b")).and_then(|mut file| file.write_all(b"longer")).expect("written");
        create(&dir, Path::new("a/b")).and_then(|mut file| file.write_all(b"new")).expect("written over");
        let (mut file, size) = open(&dir, Path::new("a/b")).expect("it opens");
        let mut text = String::new();
        file.read_to_string(&mut text).expect("it is read");
        assert_eq!((text.as_str(), size), ("new", 3));
    }
}
