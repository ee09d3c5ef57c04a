//! Speaks to an engine over HTTP: through the socket of its data directory, or over TCP, with TLS or without.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{CertificateError, ClientConfig};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use yuanli_api_types::Problem;

use crate::exit::Misuse;
use crate::{output, tls};

/// That an engine answered that it cannot do something for now, such as because it ends.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Unavailable(String);

/// That an engine does not take the token, or the code, that it was given.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Unauthorized(String);

/// Longest answer that is read as a whole.
const MAX_ANSWER: usize = 64 << 20;

/// How long a connection may take to be there, with its TLS.
const CONNECTING: Duration = Duration::from_secs(30);
const HTTP: u16 = 80;
const HTTPS: u16 = 443;

/// An engine that answers.
#[derive(Debug, Clone)]
pub(crate) enum Client {
    /// Through the socket in this data directory.
    Socket(PathBuf),
    /// Over TCP.
    Remote(Arc<Remote>),
}

/// An engine that is reached over TCP.
#[derive(Debug)]
pub(crate) struct Remote {
    /// Its host and port, as requests name it.
    authority: String,
    host: String,
    port: u16,
    /// Whom its certificate has to be for, and who may vouch for it.
    tls: Option<(ServerName<'static>, Arc<ClientConfig>)>,
    token: Option<String>,
}

/// A connection, and the task that moves its bytes.
type Connection = (SendRequest<Full<Bytes>>, JoinSet<()>);

/// An answer that comes line by line. The connection lives as long as this.
pub(crate) struct Lines {
    body: Incoming,
    buffer: Vec<u8>,
    _connection: JoinSet<()>,
}

/// An answer that comes in pieces. The connection lives as long as this.
pub(crate) struct Content {
    body: Incoming,
    _connection: JoinSet<()>,
}

impl Content {
    /// The next piece; `None` at the end.
    pub(crate) async fn next(&mut self) -> anyhow::Result<Option<Bytes>> {
        while let Some(frame) = self.body.frame().await {
            let frame = frame.context("the connection to the engine broke")?;
            if let Ok(bytes) = frame.into_data() {
                return Ok(Some(bytes));
            }
        }
        Ok(None)
    }
}

impl Client {
    /// The engine at a URL such as `https://ci.example.com`, with those who vouch for it beside those whom the machine trusts.
    pub(crate) fn at(url: &str, token: Option<String>, authorities: Option<&Path>) -> anyhow::Result<Self> {
        let wrong = || {
            Misuse(format!(
                "`{url}` is no URL of an engine: give one like `https://ci.example.com` or `http://127.0.0.1:7100`"
            ))
        };
        let read: Uri = url.parse().map_err(|_| wrong())?;
        let authority = read.authority().ok_or_else(wrong)?;
        let is_whole = read.path() == "/" && read.query().is_none() && !authority.as_str().contains('@');
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let tls = match read.scheme_str() {
            Some("http") if is_whole => None,
            Some("https") if is_whole => {
                let name = ServerName::try_from(host.clone()).map_err(|_| wrong())?;
                Some((name, tls::configuration(authorities)?))
            }
            _ => return Err(wrong().into()),
        };
        let port = authority.port_u16().unwrap_or(if tls.is_some() { HTTPS } else { HTTP });
        Ok(Self::Remote(Arc::new(Remote { authority: authority.to_string(), host, port, tls, token })))
    }

    /// Whether it is reached through its data directory, so that folders are the same for it.
    pub(crate) const fn is_here(&self) -> bool {
        matches!(self, Self::Socket(_))
    }

    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        self.ask(Method::GET, path, None::<&()>, None).await
    }

    pub(crate) async fn delete<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        self.ask(Method::DELETE, path, None::<&()>, None).await
    }

    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        key: Option<&str>,
    ) -> anyhow::Result<T> {
        self.ask(Method::POST, path, Some(body), key).await
    }

    /// Asks for something that is answered without a body.
    pub(crate) async fn tell(
        &self,
        method: Method,
        path: &str,
        body: Option<&(impl Serialize + Sync)>,
    ) -> anyhow::Result<StatusCode> {
        let (response, _connection) = self.send(method, path, body, &[]).await?;
        let status = response.status();
        read(response).await?;
        Ok(status)
    }

    /// An answer of one JSON text for each line, as they come.
    pub(crate) async fn lines(&self, path: &str) -> anyhow::Result<Lines> {
        let (response, connection) = self.send(Method::GET, path, None::<&()>, &[]).await?;
        if response.status().is_success() {
            return Ok(Lines { body: response.into_body(), buffer: Vec::new(), _connection: connection });
        }
        read(response).await?;
        bail!("the engine gave no answer")
    }

    /// An answer of server-sent events from behind the one with this id; `None` where there will be no more.
    pub(crate) async fn stream(&self, path: &str, last: Option<&str>) -> anyhow::Result<Option<Lines>> {
        let last = last.map(|last| (HeaderName::from_static("last-event-id"), last));
        let headers: Vec<_> = [(ACCEPT, "text/event-stream")].into_iter().chain(last).collect();
        let (response, connection) = self.send(Method::GET, path, None::<&()>, &headers).await?;
        match response.status() {
            StatusCode::NO_CONTENT => Ok(None),
            StatusCode::OK => {
                Ok(Some(Lines { body: response.into_body(), buffer: Vec::new(), _connection: connection }))
            }
            _ => {
                read(response).await?;
                bail!("the engine gave no answer")
            }
        }
    }

    /// An answer of any size, in pieces as they come.
    pub(crate) async fn content(&self, path: &str) -> anyhow::Result<Content> {
        let (response, connection) = self.send(Method::GET, path, None::<&()>, &[]).await?;
        if response.status().is_success() {
            return Ok(Content { body: response.into_body(), _connection: connection });
        }
        read(response).await?;
        bail!("the engine gave no answer")
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
        key: Option<&str>,
    ) -> anyhow::Result<T> {
        let key = key.map(|key| (HeaderName::from_static("idempotency-key"), key));
        let (response, _connection) = self.send(method, path, body, key.as_slice()).await?;
        let bytes = read(response).await?;
        serde_json::from_slice(&bytes)
            .context("the engine's answer is not what this command knows; is it of another version?")
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
        headers: &[(HeaderName, &str)],
    ) -> anyhow::Result<(Response<Incoming>, JoinSet<()>)> {
        let mut request = Request::builder().method(method).uri(path);
        if !headers.iter().any(|(name, _)| name == ACCEPT) {
            request = request.header(ACCEPT, "application/json");
        }
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        let bytes = match body {
            Some(body) => {
                request = request.header(CONTENT_TYPE, "application/json");
                serde_json::to_vec(body)?
            }
            None => Vec::new(),
        };
        let away = || format!("the engine {} cannot be reached", self.name());
        let host = match self {
            Self::Socket(_) => "engine",
            Self::Remote(remote) => &remote.authority,
        };
        request = request.header(HOST, host);
        if let Self::Remote(remote) = self
            && let Some(token) = &remote.token
        {
            let mut token = HeaderValue::try_from(format!("Bearer {token}"))
                .map_err(|_| Misuse("the token has what no token has, such as a line end".to_owned()))?;
            token.set_sensitive(true);
            request = request.header(AUTHORIZATION, token);
        }
        let (mut sender, connections) = self.connect().await.with_context(away)?;
        let request = request.body(Full::<Bytes>::from(bytes))?;
        let response = sender.send_request(request).await.with_context(away)?;
        Ok((response, connections))
    }

    async fn connect(&self) -> anyhow::Result<Connection> {
        match self {
            Self::Socket(data) => {
                let stream = yuanli_server::connect(data).await?;
                let (_, stream) = stream.with_context(|| format!("no engine serves {}", data.display()))?;
                handshake(stream).await
            }
            Self::Remote(remote) => {
                let connecting = tokio::time::timeout(CONNECTING, Box::pin(remote.connect()));
                connecting.await.context("it did not answer in time")?
            }
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Socket(data) => format!("of {}", data.display()),
            Self::Remote(remote) => format!("at {}", remote.authority),
        }
    }
}

impl Remote {
    async fn connect(&self) -> anyhow::Result<Connection> {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
        stream.set_nodelay(true)?;
        let Some((name, configuration)) = &self.tls else { return handshake(stream).await };
        let connector = TlsConnector::from(Arc::clone(configuration));
        match connector.connect(name.clone(), stream).await {
            Ok(stream) => handshake(stream).await,
            Err(error) => {
                let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
                let is_unknown =
                    matches!(cause, Some(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer)));
                let help = "nobody whom this machine trusts vouches for it: name who does with `--ca FILE`";
                Err(if is_unknown { anyhow::anyhow!(help) } else { error.into() })
            }
        }
    }
}

async fn handshake(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> anyhow::Result<Connection> {
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let mut connections = JoinSet::new();
    connections.spawn(async move { drop(connection.await) });
    Ok((sender, connections))
}

/// The body of an answer; a problem is an error.
async fn read(response: Response<Incoming>) -> anyhow::Result<Bytes> {
    let status = response.status();
    let body = http_body_util::Limited::new(response.into_body(), MAX_ANSWER);
    let bytes =
        body.collect().await.map_err(|error| anyhow::anyhow!("the answer broke off: {error}"))?.to_bytes();
    if status.is_success() {
        return Ok(bytes);
    }
    let problem: Result<Problem, _> = serde_json::from_slice(&bytes);
    let Ok(problem) = problem else {
        let text = String::from_utf8_lossy(&bytes).trim().to_owned();
        if status.is_client_error() {
            return Err(Misuse(text).into());
        }
        bail!("the engine answered {status}: {text}");
    };
    if let Some(rendered) = &problem.rendered {
        output::drawn(rendered);
    }
    if status == StatusCode::SERVICE_UNAVAILABLE {
        return Err(Unavailable(problem.detail).into());
    }
    if status == StatusCode::UNAUTHORIZED {
        return Err(Unauthorized(problem.detail).into());
    }
    let is_misuse = status.is_client_error() && status != StatusCode::FORBIDDEN;
    if is_misuse { Err(Misuse(problem.detail).into()) } else { bail!(problem.detail) }
}

impl Lines {
    /// The next line; `None` at the end.
    pub(crate) async fn next<T: DeserializeOwned>(&mut self) -> anyhow::Result<Option<T>> {
        let Some(line) = self.next_line().await? else { return Ok(None) };
        serde_json::from_slice(&line).context("the engine said what this command does not know").map(Some)
    }

    /// The bytes of the next line, without its end; `None` at the end.
    pub(crate) async fn next_line(&mut self) -> anyhow::Result<Option<Vec<u8>>> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let mut line: Vec<u8> = self.buffer.drain(..=end).collect();
                line.pop();
                return Ok(Some(line));
            }
            match self.body.frame().await.transpose().context("the connection to the engine broke")? {
                Some(frame) => self.buffer.extend(frame.into_data().unwrap_or_default()),
                None => return Ok(None),
            }
        }
    }
}
