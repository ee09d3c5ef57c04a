//! The ways to an engine: a socket, TCP with and without TLS, and the ssh program.
//!
//! One connection for each request, so there is none that could go stale when Docker restarts. Over ssh the program keeps the
//! connection to the other machine for a while, and each request is a session in it.

use std::fmt;
use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bollard::errors::Error;
use bollard::{API_DEFAULT_VERSION, BollardRequest};
use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connect, Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use yuanli_ports::containers::ContainerError;

use crate::figure::Figures;
use crate::place::Tls;
use crate::ssh::{self, Destination};
use crate::tls;

/// How long it may take until a connection is there, with TLS. ssh has a time-out of its own.
const DIAL_DEADLINE: Duration = Duration::from_secs(10);
/// When a peer that says nothing is asked whether it is still there, and how often: a machine that went away without a word
/// is noticed after some two minutes, also by who follows a quiet container.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// What stands in requests as the host, which Docker does not look at.
pub(crate) const NAME: &str = "http://docker";

/// The body of a request that bollard does not know.
pub(crate) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// A way to an engine.
#[derive(Clone)]
pub(crate) enum Way {
    Socket(PathBuf),
    Tcp(String),
    Tls { address: String, name: ServerName<'static>, config: Arc<ClientConfig> },
    Ssh(Arc<Destination>),
}

impl Way {
    /// The way to a host; certificates are read now.
    pub(crate) fn to(host: &str, tls: Option<&Tls>) -> Result<Self, ContainerError> {
        match host.split_once("://") {
            Some(("unix", path)) if path.starts_with('/') => Ok(Self::Socket(path.into())),
            Some(("tcp" | "http", address)) if is_address(address) => {
                let address = address.trim_end_matches('/').to_owned();
                let Some(files) = tls else { return Ok(Self::Tcp(address)) };
                let name = tls::name_of(&address)?;
                Ok(Self::Tls { address, name, config: Arc::new(tls::configuration(files)?) })
            }
            Some(("ssh", _)) => Ok(Self::Ssh(Arc::new(Destination::parse(host)?))),
            Some((scheme @ ("https" | "npipe" | "fd"), _)) => Err(ContainerError::Invalid(format!(
                "the address of Docker is `{host}`, and `{scheme}://` is not one that Yuanli takes: use \
                 `unix:///path/to/docker.sock`, `tcp://host:port` (with DOCKER_TLS_VERIFY=1 for TLS) or `ssh://user@host`"
            ))),
            _ => Err(ContainerError::Invalid(format!(
                "the address of Docker is `{host}`, which is none: use `unix:///path/to/docker.sock`, `tcp://host:port` or \
                 `ssh://user@host`"
            ))),
        }
    }

    /// Whether the engine is taken to be on this machine.
    pub(crate) fn is_local(&self) -> bool {
        matches!(self, Self::Socket(_))
    }

    /// A client that goes this way.
    pub(crate) fn client(self, timeout: Duration, figures: Arc<Figures>) -> Result<bollard::Docker, Error> {
        let client = self.over();
        let send = move |request: BollardRequest| {
            let client = client.clone();
            let pending = figures.ask(request.method(), request.uri().path());
            async move {
                let answer = client.request(request).await;
                pending.answered(answer.as_ref().ok().map(hyper::Response::status));
                answer.map_err(Error::from)
            }
        };
        bollard::Docker::connect_with_custom_transport(
            send,
            Some(NAME),
            timeout.as_secs(),
            API_DEFAULT_VERSION,
        )
    }

    /// One for requests that bollard does not know.
    pub(crate) fn raw(self) -> Client<impl Connect + Clone, Body> {
        self.over()
    }

    fn over<B>(self) -> Client<Dialer, B>
    where
        B: hyper::body::Body + Send,
        B::Data: Send,
    {
        Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(Dialer(self))
    }

    async fn dial(self) -> io::Result<Wire> {
        let dialled = async {
            let wire: Box<dyn Io> = match self {
                Self::Socket(path) => Box::new(UnixStream::connect(path).await?),
                Self::Tcp(address) => Box::new(tcp(&address).await?),
                Self::Tls { address, name, config } => {
                    let stream = tcp(&address).await?;
                    Box::new(TlsConnector::from(config).connect(name, stream).await?)
                }
                Self::Ssh(destination) => Box::new(ssh::open(&destination)?),
            };
            Ok(Wire(TokioIo::new(wire)))
        };
        let late = |_| io::Error::new(io::ErrorKind::TimedOut, "no connection in time");
        tokio::time::timeout(DIAL_DEADLINE, dialled).await.map_err(late)?
    }
}

impl fmt::Debug for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(path) => write!(f, "{}", path.display()),
            Self::Tcp(address) => f.write_str(address),
            Self::Tls { address, .. } => write!(f, "{address} with TLS"),
            Self::Ssh(destination) => write!(f, "{destination:?}"),
        }
    }
}

async fn tcp(address: &str) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE);
    SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
    Ok(stream)
}

fn is_address(text: &str) -> bool {
    let text = text.strip_suffix('/').unwrap_or(text);
    text.rsplit_once(':').is_some_and(|(host, port)| {
        let is_host = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
        !host.is_empty() && host.chars().all(is_host) && port.parse::<u16>().is_ok()
    })
}

/// What hyper asks for connections.
#[derive(Clone)]
struct Dialer(Way);

impl tower_service::Service<Uri> for Dialer {
    type Response = Wire;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Wire>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        Box::pin(self.0.clone().dial())
    }
}

/// What requests go over.
trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A connection as hyper takes it.
struct Wire(TokioIo<Box<dyn Io>>);

impl Connection for Wire {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl Write for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, parts)
    }
}
