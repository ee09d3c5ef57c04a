//! Errors of the file system in words that say what was done to which path.

use std::io::{self, ErrorKind};
use std::path::Path;

use rustix::io::Errno;
use yuanli_ports::backups::BackupError;

/// For use with `map_err`: `path` cannot be `action` ("read", "written", …).
pub(crate) fn local(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BackupError {
    move |error| BackupError::Local(format!("{} cannot be {action}: {}", path.display(), with_advice(&error)))
}

/// The same for a file of the repository that is being read: what is not there, or not whole, is damage.
pub(crate) fn stored(path: &Path) -> impl FnOnce(io::Error) -> BackupError {
    move |error| {
        let is_device_error = error.raw_os_error() == Some(Errno::IO.raw_os_error());
        match error.kind() {
            ErrorKind::NotFound => {
                BackupError::Damaged(format!("{} is missing from the repository", path.display()))
            }
            ErrorKind::UnexpectedEof => {
                BackupError::Damaged(format!("{} of the repository is too short", path.display()))
            }
            _ if is_device_error => {
                BackupError::Damaged(format!("{} of the repository cannot be read: {error}", path.display()))
            }
            _ => local("read", path)(error),
        }
    }
}

fn with_advice(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::PermissionDenied => {
            format!("{error}; files of other users need an engine that runs as root")
        }
        ErrorKind::StorageFull => format!("{error}; make room, what was written stays and is used again"),
        _ => error.to_string(),
    }
}
