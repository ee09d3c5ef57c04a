//! Taking folders away, also those that their makers did not want taken away.

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use yuanli_ports::workspaces::WorkspaceError;

use crate::fault;

/// What an owner needs to list a folder and take things out of it.
const OWNER_ALL: u32 = 0o700;

/// Removes a folder with all that is in it; nothing happens when it is not there. No link is followed.
pub(crate) fn remove(folder: &Path) -> Result<(), WorkspaceError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            // Package managers make read-only folders on purpose (the module cache of Go is one).
            open_up(folder, folder)?;
            gone(fs::remove_dir_all(folder)).map_err(fault::left("removed", ""))
        }
        result => gone(result).map_err(fault::left("removed", "")),
    }
}

fn gone(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// Lets the owner change every folder below; the error names the first one that belongs to somebody else.
fn open_up(folder: &Path, top: &Path) -> Result<(), WorkspaceError> {
    let fail = || fault::left("removed", folder.strip_prefix(top).unwrap_or(folder));
    let mode = fs::symlink_metadata(folder).map_err(fail())?.permissions().mode();
    if mode & OWNER_ALL != OWNER_ALL {
        fs::set_permissions(folder, Permissions::from_mode(mode | OWNER_ALL)).map_err(fail())?;
    }
    for entry in fs::read_dir(folder).map_err(fail())? {
        let entry = entry.map_err(fail())?;
        if entry.file_type().map_err(fail())?.is_dir() {
            open_up(&entry.path(), top)?;
        }
    }
    Ok(())
}
