//! Asks replicas whether they serve, from outside: no tool inside the image is needed.

use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::Request;
use http::header::{CONNECTION, HOST, USER_AGENT};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use yuanli_model::app::Probe;
use yuanli_ports::Prober;

/// Asks over the network, with a new connection each time.
#[derive(Debug, Clone, Copy, Default)]
pub struct HttpProber;

#[async_trait]
impl Prober for HttpProber {
    async fn probe(&self, address: SocketAddr, probe: &Probe, timeout: Duration) -> Result<(), String> {
        let asked = async {
            let stream = TcpStream::connect(address)
                .await
                .map_err(|error| format!("cannot be connected to: {error}"))?;
            match probe {
                Probe::Tcp => Ok(()),
                Probe::Http { path } => get(stream, address, path).await,
            }
        };
        match tokio::time::timeout(timeout, asked).await {
            Ok(answer) => answer,
            Err(_) => Err(format!("did not answer within {timeout:?}")),
        }
    }
}

async fn get(stream: TcpStream, address: SocketAddr, path: &str) -> Result<(), String> {
    let broken = |error: hyper::Error| format!("broke off: {error}");
    let request = Request::get(path)
        .header(HOST, address.to_string())
        .header(USER_AGENT, "yuanli-probe")
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| format!("the path `{path}` cannot be asked for: {error}"))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let mut answer = pin!(sender.send_request(request));
    // Both end with this probe. A connection that ends has said what it had to say.
    let answer = tokio::select! {
        biased;
        answer = &mut answer => answer,
        _ = connection => answer.await,
    };
    let status = answer.map_err(broken)?.status();
    if status.is_success() || status.is_redirection() { Ok(()) } else { Err(format!("answered {status}")) }
}
