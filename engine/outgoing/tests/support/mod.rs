//! Real servers on this machine, and a client that finds them by names.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use yuanli_model::http::{HttpScope, METHODS};
use yuanli_outgoing::{CertificateDer, HttpClient, Options, Resolve};
use yuanli_ports::http::{Header, HttpRequest};

/// This machine, where all the servers are.
pub(crate) const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// What servers were asked, whole requests as text.
#[derive(Debug, Clone, Default)]
pub(crate) struct Asked(Arc<Mutex<Vec<String>>>);

impl Asked {
    fn add(&self, request: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(request);
    }

    /// All of it until now.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What a server does with a request.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    /// Sends this and closes the connection.
    Answer(Vec<u8>),
    /// Sends this and never ends.
    Hang(Vec<u8>),
    /// Sends this over and over.
    Flood(Vec<u8>),
}

/// A response with this body.
pub(crate) fn ok(body: &str) -> Act {
    Act::Answer(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes())
}

/// A redirect with this status.
pub(crate) fn redirect(status: u16, to: &str) -> Act {
    Act::Answer(format!("HTTP/1.1 {status} Go\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n").into_bytes())
}

/// A server that does the same with every request; its address.
pub(crate) async fn serve(act: Act, asked: &Asked) -> SocketAddr {
    serve_with(act, asked, None).await
}

/// The same with TLS, if there is an acceptor.
pub(crate) async fn serve_with(act: Act, asked: &Asked, tls: Option<TlsAcceptor>) -> SocketAddr {
    let listener = TcpListener::bind((HERE, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked = asked.clone();
    tokio::task::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (act, asked) = (act.clone(), asked.clone());
            match tls.clone() {
                None => drop(tokio::task::spawn(answer(stream, act, asked))),
                Some(tls) => drop(tokio::task::spawn(async move {
                    if let Ok(stream) = tls.accept(stream).await {
                        answer(stream, act, asked).await;
                    }
                })),
            }
        }
    });
    address
}

async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin, act: Act, asked: Asked) {
    let Some(request) = read_request(&mut stream).await else { return };
    asked.add(request);
    // Whoever has heard enough closes the connection.
    match act {
        Act::Answer(bytes) => {
            let _ = stream.write_all(&bytes).await;
            let _ = stream.shutdown().await;
        }
        Act::Hang(bytes) => {
            let _ = stream.write_all(&bytes).await;
            std::future::pending::<()>().await;
        }
        Act::Flood(bytes) => while stream.write_all(&bytes).await.is_ok() {},
    }
}

/// Head and body, as far as `content-length` says.
async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let (mut request, mut buffer) = (Vec::new(), vec![0; 64 * 1024]);
    loop {
        let text = String::from_utf8_lossy(&request).into_owned();
        if let Some(end) = text.find("\r\n\r\n") {
            let length = text.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
            if request.len() >= end + 4 + length.unwrap_or(0) {
                return Some(text);
            }
        }
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return None,
            Ok(read) => request.extend_from_slice(&buffer[..read]),
        }
    }
}

/// Names with the addresses that they have, one list for each time they are asked for; the last one stays.
#[derive(Debug, Default)]
pub(crate) struct Names(Mutex<HashMap<String, Vec<Vec<IpAddr>>>>);

impl Names {
    pub(crate) fn with(names: &[(&str, &[&[IpAddr]])]) -> Arc<Self> {
        let lists = |lists: &[&[IpAddr]]| lists.iter().map(|list| list.to_vec()).collect();
        Arc::new(Self(Mutex::new(names.iter().map(|(name, all)| ((*name).to_owned(), lists(all))).collect())))
    }
}

#[async_trait]
impl Resolve for Names {
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let lists = names.get_mut(name).ok_or_else(|| io::Error::other("no such name"))?;
        Ok(if lists.len() > 1 { lists.remove(0) } else { lists[0].clone() })
    }
}

/// A client that looks names up there and trusts these beside everybody's.
pub(crate) fn client(names: Arc<Names>, extra_roots: Vec<CertificateDer<'static>>) -> HttpClient {
    HttpClient::new(Options { extra_roots, resolver: names }).expect("a client")
}

/// A certificate authority of one's own, and a server certificate of it for this name.
pub(crate) fn certificates(name: &str) -> (CertificateDer<'static>, TlsAcceptor) {
    let authority_key = KeyPair::generate().expect("a key");
    let mut authority = CertificateParams::new(Vec::new()).expect("parameters");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = authority.self_signed(&authority_key).expect("a certificate");
    let issuer = Issuer::new(authority, authority_key);
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec![name.to_owned()]).expect("parameters");
    let certificate = params.signed_by(&key, &issuer).expect("a certificate");
    let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .expect("a server");
    (root.der().clone(), TlsAcceptor::from(Arc::new(server)))
}

/// A grant of everything at these hosts.
pub(crate) fn scope(hosts: &[&str]) -> HttpScope {
    HttpScope {
        hosts: hosts.iter().map(|host| host.parse().expect("a host")).collect(),
        methods: METHODS.to_vec(),
        paths: Vec::new(),
        is_private: false,
    }
}

/// The same also where addresses are private, as those of all servers in here are.
pub(crate) fn private(hosts: &[&str]) -> HttpScope {
    HttpScope { is_private: true, ..scope(hosts) }
}

/// A `GET` with the usual limits.
pub(crate) fn get(url: impl Into<String>) -> HttpRequest {
    HttpRequest {
        method: "GET".to_owned(),
        url: url.into(),
        is_url_secret: false,
        headers: Vec::new(),
        body: Vec::new(),
        timeout: Duration::from_secs(20),
        max_redirects: 10,
        max_body_bytes: 1024 * 1024,
    }
}

pub(crate) fn header(name: &str, value: &str, is_secret: bool) -> Header {
    Header { name: name.to_owned(), value: value.as_bytes().to_vec(), is_secret }
}
