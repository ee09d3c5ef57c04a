//! Connections to a replica: made when they are needed, kept while they are good for another request.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use yuanli_model::ReplicaId;

use crate::count::ReplicaCounter;
use crate::task;
use crate::upload::Upload;

/// How long a connection may take to be made: replicas are on this machine.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Most idle connections that are kept for a replica; more are closed after their request.
const MAX_IDLE: usize = 256;

/// A connection that takes one request at a time.
pub(crate) type Connection = SendRequest<Upload>;

/// A replica with its connections and counts; the same one in every table that holds it.
#[derive(Debug)]
pub(crate) struct Replica {
    pub(crate) id: ReplicaId,
    pub(crate) address: SocketAddr,
    pub(crate) counter: Arc<ReplicaCounter>,
    idle: Mutex<Vec<Connection>>,
}

impl Replica {
    pub(crate) fn new(id: ReplicaId, address: SocketAddr) -> Self {
        Self { id, address, counter: Arc::default(), idle: Mutex::default() }
    }

    /// An idle connection that was not closed, as far as is known here.
    pub(crate) fn idle(&self) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        // The one that was used last is the least likely to be closed.
        while let Some(connection) = idle.pop() {
            if connection.is_ready() {
                return Some(connection);
            }
        }
        None
    }

    /// Keeps a connection once it is ready for the next request.
    pub(crate) fn keep(self: &Arc<Self>, mut connection: Connection) {
        if connection.is_ready() {
            return self.put(connection);
        }
        let replica = Arc::clone(self);
        task::spawn("upstream-idle", async move {
            if connection.ready().await.is_ok() {
                replica.put(connection);
            }
        });
    }

    fn put(&self, connection: Connection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MAX_IDLE {
            idle.push(connection);
        }
    }

    /// Makes a new connection.
    pub(crate) async fn connect(&self) -> io::Result<Connection> {
        let connecting = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(self.address));
        let stream = connecting.await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        stream.set_nodelay(true)?;
        let (sender, connection) =
            http1::Builder::new().handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        task::spawn("upstream", async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%error, "a connection to a replica broke");
            }
        });
        Ok(sender)
    }

    /// Closes idle connections; those in use end with their requests.
    pub(crate) fn close_idle(&self) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
