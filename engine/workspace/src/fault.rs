//! Errors of the file system in words that name the path as the author of a workflow knows it.

use std::fmt::Display;
use std::io::{self, ErrorKind};
use std::path::Path;

use yuanli_ports::workspaces::WorkspaceError;

/// `path` is relative to the workspace; empty means the workspace itself.
pub(crate) fn other(action: &'static str, path: impl AsRef<Path>, reason: impl Display) -> WorkspaceError {
    let path = path.as_ref();
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    WorkspaceError::Io { action, path: path.display().to_string(), reason: reason.to_string() }
}

/// Turns an error of the system into ours; for use with `map_err`.
pub(crate) fn at(action: &'static str, path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> WorkspaceError {
    move |error| other(action, path, error)
}

/// The same for what stages leave: their containers often run as root where the engine does not.
pub(crate) fn left(action: &'static str, path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> WorkspaceError {
    move |error| match error.kind() {
        ErrorKind::PermissionDenied => {
            let reason = format!(
                "{error}; a container made it as another user, or its mode forbids it: \
                 let the stage leave files that the user of the engine may read and remove"
            );
            other(action, path, reason)
        }
        _ => other(action, path, error),
    }
}
