//! The process of the gateway: takes its addresses, serves what comes, ends in order.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};
use tokio_util::task::TaskTracker;
use yuanli_ports::Cancellation;

use crate::clients::Waiting;
use crate::control::Control;
use crate::folder::Folder;
use crate::proxy::Proxy;
use crate::routes::State;
use crate::task;

/// How long a client may take to send the head of a request, and how long a connection may be idle between two.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// Wait after a connection could not be taken for a reason that concerns all, such as no file descriptors.
const ACCEPT_GAP: Duration = Duration::from_millis(50);

/// What a gateway is given.
#[derive(Debug, Clone)]
pub struct Options {
    /// Its folder: lock, private socket, last table, log. Made when it is not there.
    pub folder: PathBuf,
    /// Where it listens for HTTP.
    pub listen: Vec<SocketAddr>,
    /// How long requests may take to finish when it ends. Default 10 s.
    pub drain: Duration,
}

/// Why a gateway does not serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Another one has the folder.
    #[error("another gateway serves from `{}`", .0.display())]
    Running(PathBuf),
    /// The folder cannot be used.
    #[error("the folder `{}` cannot be used: {error}", folder.display())]
    Folder {
        /// Which one.
        folder: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {error}")]
    Bind {
        /// Which one.
        address: SocketAddr,
        /// Why.
        error: io::Error,
    },
}

/// Serves until `stop` fires, an engine tells it to end, or nothing is left to be there for: no route and no engine, or no
/// folder. Requests that it has are finished first.
///
/// # Errors
/// See [`ServeError`].
pub async fn serve(options: Options, stop: Cancellation) -> Result<(), ServeError> {
    let folder = Folder::new(options.folder.clone());
    let unusable = |error| ServeError::Folder { folder: options.folder.clone(), error };
    folder.make().map_err(unusable)?;
    let lock = folder.lock().map_err(unusable)?.ok_or_else(|| ServeError::Running(options.folder.clone()))?;
    raise_file_limit();
    let (waiting, wanted) = Waiting::new();
    let state = Arc::new(State::new(incarnation()));
    // What it served before it ended is served again at once; the engine's next table replaces it.
    if let Some(table) = folder.table() {
        tracing::info!(version = table.version, apps = table.apps.len(), "goes on with the last table");
        // No table is older than none.
        let _ = state.apply(&table);
    }
    let mut listeners = Vec::new();
    for address in &options.listen {
        let bound = TcpListener::bind(address).await;
        listeners.push(bound.map_err(|error| ServeError::Bind { address: *address, error })?);
    }
    let listen = listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect();
    let control = Control::bind(&folder).map_err(unusable)?;
    tracing::info!(?listen, pid = std::process::id(), "the gateway serves");

    let connections = TaskTracker::new();
    let proxy = Proxy { state: Arc::clone(&state), waiting, began: Instant::now() };
    for listener in listeners {
        let accepting = accept(listener, proxy.clone(), connections.clone(), stop.clone());
        task::spawn("accept", connections.track_future(accepting));
    }
    Control { state, folder, lock, listen, wanted, stop: stop.clone() }.run(control).await;
    connections.close();
    if timeout(options.drain, connections.wait()).await.is_err() {
        tracing::warn!(left = connections.len(), "connections are cut off");
    }
    Ok(())
}

async fn accept(listener: TcpListener, proxy: Proxy, connections: TaskTracker, stop: Cancellation) {
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, client)) => {
                let connection = connection(stream, client, proxy.clone(), stop.clone());
                task::spawn("client", connections.track_future(connection));
            }
            Err(error) => {
                tracing::warn!(%error, "a connection cannot be taken");
                tokio::time::sleep(ACCEPT_GAP).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, client: SocketAddr, proxy: Proxy, stop: Cancellation) {
    // Without it an answer may wait for the client's acknowledgement of the one before it.
    let _ = stream.set_nodelay(true);
    let proxy = Arc::new(proxy);
    let service = service_fn(move |request| {
        let proxy = Arc::clone(&proxy);
        async move { Ok::<_, Infallible>(proxy.answer(request, client).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%client, %error, "a connection broke");
    }
}

/// Every connection takes a file descriptor, and every request that goes on one more.
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        tracing::debug!(%error, "the limit of open files stays");
    }
}

/// A number that no other process of a gateway had.
fn incarnation() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "a name, not a time that something is decided by")]
    let now = std::time::SystemTime::now();
    let since = now.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX) ^ u64::from(std::process::id())
}
