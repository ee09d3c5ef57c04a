//! The socket in the data directory through which commands reach the engine that owns it.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::Context;
use tokio::net::{UnixListener, UnixStream};
use yuanli_gateway::SocketPath;

const NAME: &str = "engine.sock";

/// Takes the socket; whoever owns the data directory may.
pub(crate) fn bind(data: &Path) -> anyhow::Result<UnixListener> {
    let bind = || -> io::Result<UnixListener> {
        let socket = SocketPath::of(data, NAME)?;
        match std::fs::remove_file(socket.path()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(socket.path())?;
        std::fs::set_permissions(socket.path(), std::fs::Permissions::from_mode(0o600))?;
        Ok(listener)
    };
    bind().with_context(|| format!("the socket `{}` cannot be made", data.join(NAME).display()))
}

/// A connection to the engine that owns a data directory; `None` when none answers.
///
/// # Errors
/// When there is a socket that may not be used.
pub async fn connect(data: &Path) -> io::Result<Option<UnixStream>> {
    use io::ErrorKind::{ConnectionRefused, NotADirectory, NotFound};
    let connected = async { UnixStream::connect(SocketPath::of(data, NAME)?.path()).await };
    match connected.await {
        Ok(stream) => Ok(Some(stream)),
        // The socket of an engine that was killed refuses.
        Err(error) if matches!(error.kind(), NotFound | NotADirectory | ConnectionRefused) => Ok(None),
        Err(error) => Err(error),
    }
}
