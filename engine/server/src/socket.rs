//! The sockets in a data directory through which commands reach the engine that owns it: one that serves has another than one
//! of a command, so that whoever finds it knows whether it stays.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::Context;
use tokio::net::{UnixListener, UnixStream};
use yuanli_gateway::SocketPath;

/// What owns a data directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// An engine that serves.
    Service,
    /// A command, for as long as it lasts.
    Command,
}

impl Owner {
    const fn socket(self) -> &'static str {
        match self {
            Self::Service => "engine.sock",
            Self::Command => "command.sock",
        }
    }
}

/// Takes the socket; whoever owns the data directory may.
pub(crate) fn bind(data: &Path, owner: Owner) -> anyhow::Result<UnixListener> {
    let name = owner.socket();
    let bind = || -> io::Result<UnixListener> {
        let socket = SocketPath::of(data, name)?;
        clear(&socket)?;
        let listener = UnixListener::bind(socket.path())?;
        std::fs::set_permissions(socket.path(), std::fs::Permissions::from_mode(0o600))?;
        Ok(listener)
    };
    bind().with_context(|| format!("the socket `{}` cannot be made", data.join(name).display()))
}

/// Takes the socket away; whoever owns the data directory may, before it is given back.
pub(crate) fn remove(data: &Path, owner: Owner) {
    if let Err(error) = SocketPath::of(data, owner.socket()).and_then(|socket| clear(&socket)) {
        tracing::debug!(%error, "a socket stays, at which nobody answers");
    }
}

fn clear(socket: &SocketPath) -> io::Result<()> {
    match std::fs::remove_file(socket.path()) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// A connection to the engine that owns a data directory; `None` when none answers.
///
/// # Errors
/// When there is a socket that may not be used.
pub async fn connect(data: &Path) -> io::Result<Option<(Owner, UnixStream)>> {
    use io::ErrorKind::{ConnectionRefused, ConnectionReset, NotADirectory, NotFound};
    for owner in [Owner::Service, Owner::Command] {
        let connected = async { UnixStream::connect(SocketPath::of(data, owner.socket())?.path()).await };
        match connected.await {
            Ok(stream) => return Ok(Some((owner, stream))),
            // The socket of an engine that was killed refuses; that of one that dies meanwhile is reset.
            Err(error)
                if matches!(error.kind(), NotFound | NotADirectory | ConnectionRefused | ConnectionReset) => {
            }
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}
