//! Connections: who they come from, and how slow, how large and how many they may be.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tower::ServiceExt as _;
use yuanli_ports::Cancellation;

use super::gate::Peer;
use super::patience::Patient;
use super::tls::Tls;

/// How long the headers of a request may take to come, which is also how long a connection may be idle.
const HEADERS: Duration = Duration::from_secs(30);
/// Most headers of a request, and most bytes of them.
const MAX_HEADERS: usize = 64;
const MAX_HEADER_BYTES: usize = 64 << 10;
/// Most connections at once: what comes beyond them waits in the system's queue. Each takes a file.
const MAX_CONNECTIONS: usize = 4_096;
/// Wait after the system gave no connection, such as when there are no files left.
const AFTER_ERROR: Duration = Duration::from_millis(100);

/// How long a client may take for a handshake of TLS.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long requests may take to finish when the engine ends; then they are cut off.
const DRAIN: Duration = Duration::from_secs(5);

/// How connections are dealt with.
#[derive(Debug, Clone, Default)]
pub(super) struct Manner {
    /// What is proved to clients; there is no TLS without.
    pub(super) tls: Option<Arc<Tls>>,
    /// How long a client may take nothing of its answer.
    pub(super) patience: Option<Duration>,
}

/// Where connections come from.
pub(super) trait Listener: Send + 'static {
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    fn next(&self) -> impl Future<Output = io::Result<(Self::Stream, Peer)>> + Send;
}

impl Listener for UnixListener {
    type Stream = tokio::net::UnixStream;

    async fn next(&self) -> io::Result<(Self::Stream, Peer)> {
        let (stream, _) = self.accept().await?;
        let user = stream.peer_cred().ok().map(|peer| peer.uid());
        Ok((stream, Peer::Socket(user)))
    }
}

impl Listener for TcpListener {
    type Stream = tokio::net::TcpStream;

    async fn next(&self) -> io::Result<(Self::Stream, Peer)> {
        let (stream, address) = self.accept().await?;
        // Answers are small, and lines of a log are to be seen at once.
        stream.set_nodelay(true)?;
        Ok((stream, Peer::Tcp(address)))
    }
}

/// Answers connections until `stop`; then no more are taken, and this returns once the requests of those that are there have
/// ended, or were cut off.
pub(super) async fn serve(listener: impl Listener, manner: Manner, router: Router, stop: Cancellation) {
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let taken = async {
            // It is closed nowhere.
            let slot = Arc::clone(&slots).acquire_owned().await.ok();
            (slot, listener.next().await)
        };
        tokio::select! {
            () = stop.cancelled() => break,
            (slot, taken) = taken => match taken {
                Ok((stream, peer)) => {
                    let served = prepared(stream, peer, manner.clone(), router.clone(), stop.clone());
                    connections.spawn(async move {
                        served.await;
                        drop(slot);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection is not taken");
                    tokio::time::sleep(AFTER_ERROR).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
    let ended = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN, ended).await.is_err() {
        tracing::warn!(requests = connections.len(), "requests are cut off");
        // Waited for, so that whoever writes down that they were is not gone before them.
        connections.shutdown().await;
    }
}

/// Makes a connection ready for requests, and answers them. Whoever is slow at it holds up nobody else.
async fn prepared(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: Peer,
    manner: Manner,
    router: Router,
    stop: Cancellation,
) {
    let Manner { tls, patience } = manner;
    let stream = Patient::new(stream, patience);
    let Some(tls) = tls else { return connection(stream, peer, router, stop).await };
    let accepting = tokio::time::timeout(HANDSHAKE, tls.acceptor().accept(stream));
    let accepted = tokio::select! {
        accepted = accepting => accepted,
        () = stop.cancelled() => return,
    };
    match accepted {
        Ok(Ok(stream)) => connection(stream, peer, router, stop).await,
        Ok(Err(error)) => tracing::debug!(%error, "a connection has no TLS"),
        Err(_) => tracing::debug!("a handshake took too long"),
    }
}

async fn connection(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: Peer,
    router: Router,
    stop: Cancellation,
) {
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        router.clone().oneshot(request.map(Body::new))
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(HEADERS)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEADER_BYTES);
    let mut served = std::pin::pin!(http.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = &mut served => ended,
        () = stop.cancelled() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection broke");
    }
}
