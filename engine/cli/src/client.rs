//! Speaks to an engine over HTTP: through the socket of its data directory, or over TCP.

use std::path::PathBuf;

use anyhow::{Context, bail};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderName};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use yuanli_api_types::Problem;

use crate::exit::Misuse;
use crate::output;

/// Longest answer that is read as a whole.
const MAX_ANSWER: usize = 64 << 20;

/// An engine that answers.
#[derive(Debug, Clone)]
pub(crate) enum Client {
    /// Through the socket in this data directory.
    Socket(PathBuf),
    /// At this host and port, with this token.
    Tcp { authority: String, token: Option<String> },
}

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
    /// The engine at a URL such as `http://127.0.0.1:7100`.
    pub(crate) fn at(url: &str, token: Option<String>) -> anyhow::Result<Self> {
        let authority = url.strip_prefix("http://").map(|rest| rest.trim_end_matches('/'));
        match authority.filter(|authority| !authority.is_empty() && !authority.contains('/')) {
            Some(authority) => Ok(Self::Tcp { authority: authority.to_owned(), token }),
            None => {
                Err(Misuse(format!("`{url}` is no URL of an engine: give one like `http://127.0.0.1:7100`"))
                    .into())
            }
        }
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
        let mut connections = JoinSet::new();
        let mut sender = match self {
            Self::Socket(data) => {
                request = request.header(HOST, "engine");
                let stream = yuanli_server::connect(data).await.with_context(away)?;
                let stream = stream.with_context(|| format!("no engine serves {}", data.display()))?;
                let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.with_context(away)?;
                connections.spawn(async move { drop(connection.await) });
                sender
            }
            Self::Tcp { authority, token } => {
                request = request.header(HOST, authority);
                if let Some(token) = token {
                    request = request.header(AUTHORIZATION, format!("Bearer {token}"));
                }
                let address =
                    if authority.contains(':') { authority.clone() } else { format!("{authority}:80") };
                let stream = TcpStream::connect(address).await.with_context(away)?;
                let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.with_context(away)?;
                connections.spawn(async move { drop(connection.await) });
                sender
            }
        };
        let request = request.body(Full::<Bytes>::from(bytes))?;
        let response = sender.send_request(request).await.with_context(away)?;
        Ok((response, connections))
    }

    fn name(&self) -> String {
        match self {
            Self::Socket(data) => format!("of {}", data.display()),
            Self::Tcp { authority, .. } => format!("at {authority}"),
        }
    }
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
    let is_misuse =
        status.is_client_error() && ![StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN].contains(&status);
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
