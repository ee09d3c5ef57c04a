//! One connection for one exchange, to an address that was looked at.

use std::error::Error as _;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use yuanli_model::http::{Host, Scheme};
use yuanli_ports::http::HttpError;

use crate::header::MAX_HEADERS;
use crate::target::Address;

/// Longest head of a response, in bytes: as servers bound that of a request.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// How long one address may take to accept, before the next is tried.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Most addresses of a name that are tried.
const MAX_ADDRESSES: usize = 8;

/// Connects to the first of these addresses that accepts.
pub(crate) async fn connect(addresses: &[IpAddr], to: &Address) -> Result<TcpStream, HttpError> {
    let mut told = String::from("it has no address");
    for address in addresses.iter().take(MAX_ADDRESSES) {
        let socket = SocketAddr::new(*address, to.port);
        match timeout(CONNECT_TIMEOUT, TcpStream::connect(socket)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => told = format!("{socket}: {error}"),
            Err(_) => told = format!("{socket}: no answer in {CONNECT_TIMEOUT:?}"),
        }
    }
    Err(HttpError::Connect(format!("`{}` cannot be connected to: {told}", to.host)))
}

/// Sends a request over a connection and reads the whole response.
pub(crate) async fn exchange(
    stream: TcpStream,
    tls: &Arc<ClientConfig>,
    to: &Address,
    request: Request<Full<Bytes>>,
    max_body_bytes: usize,
) -> Result<Response<Bytes>, HttpError> {
    // What is sent is whole: there is nothing to wait for.
    stream.set_nodelay(true).map_err(|e| HttpError::Io(e.to_string()))?;
    match to.scheme {
        Scheme::Http => over(stream, to, request, max_body_bytes).await,
        Scheme::Https => {
            let name = match &to.host {
                Host::Name(name) => ServerName::try_from(name.clone()).map_err(|_| {
                    HttpError::Invalid(format!("`{name}` cannot be the name in a certificate"))
                })?,
                Host::Address(address) => ServerName::from(*address),
            };
            let connected = TlsConnector::from(Arc::clone(tls)).connect(name, stream).await;
            let stream = connected.map_err(|e| of_tls(to, &e))?;
            over(stream, to, request, max_body_bytes).await
        }
    }
}

async fn over(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    to: &Address,
    request: Request<Full<Bytes>>,
    max_body_bytes: usize,
) -> Result<Response<Bytes>, HttpError> {
    let mut builder = hyper::client::conn::http1::Builder::new();
    builder.max_buf_size(MAX_HEAD_BYTES).max_headers(MAX_HEADERS);
    let broken = |error: &hyper::Error| of_hyper(to, error);
    let (mut sender, connection) =
        builder.handshake::<_, Full<Bytes>>(TokioIo::new(stream)).await.map_err(|e| broken(&e))?;
    let exchanged = async {
        let response = sender.send_request(request).await.map_err(|e| broken(&e))?;
        whole(response, to, max_body_bytes).await
    };
    let (mut exchanged, mut connection) = (pin!(exchanged), pin!(connection));
    tokio::select! {
        response = &mut exchanged => response,
        // What was read until then is still to be had; of two errors that of the connection says more.
        ended = &mut connection => exchanged.await.map_err(|error| match ended {
            Err(ended) if matches!(error, HttpError::Io(_)) => broken(&ended),
            _ => error,
        }),
    }
}

/// The response with all of its body.
async fn whole(
    response: Response<Incoming>,
    to: &Address,
    max_body_bytes: usize,
) -> Result<Response<Bytes>, HttpError> {
    let (head, body) = response.into_parts();
    // The library bounds what it reads at once, which can be more than that.
    let bytes: usize = head.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if bytes > MAX_HEAD_BYTES {
        return Err(large_head(to));
    }
    match Limited::new(body, max_body_bytes).collect().await {
        Ok(collected) => Ok(Response::from_parts(head, collected.to_bytes())),
        Err(error) if error.is::<LengthLimitError>() => Err(HttpError::TooLarge(format!(
            "the body from `{}` has more than {max_body_bytes} bytes",
            to.host
        ))),
        Err(error) => Err(match error.downcast_ref::<hyper::Error>() {
            Some(error) => of_hyper(to, error),
            None => HttpError::Io(format!("the response of `{}` broke off: {error}", to.host)),
        }),
    }
}

fn of_tls(to: &Address, error: &io::Error) -> HttpError {
    // Else the connection broke off before there was anything to trust.
    let is_tls = error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>());
    let message = format!("no secure connection to `{}`: {error}", to.host);
    if is_tls { HttpError::Tls(message) } else { HttpError::Io(message) }
}

fn large_head(to: &Address) -> HttpError {
    HttpError::TooLarge(format!(
        "the headers of `{}` have more than {MAX_HEAD_BYTES} bytes, or are more than {MAX_HEADERS}",
        to.host
    ))
}

fn of_hyper(to: &Address, error: &hyper::Error) -> HttpError {
    let host = &to.host;
    if error.is_parse_too_large() {
        return large_head(to);
    }
    let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
    let what = if error.is_parse() { "does not answer with HTTP" } else { "broke off" };
    HttpError::Io(format!("`{host}` {what}: {error}{cause}"))
}
