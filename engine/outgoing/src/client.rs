//! Sends requests and follows redirects, each step as far as the policy allows it.

use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use tokio::time::timeout;
use yuanli_model::http::{Host, HttpScope, Permit, Scheme, decide};
use yuanli_ports::Http;
use yuanli_ports::http::{HttpError, HttpRequest, HttpResponse};

use crate::connection;
use crate::header::Headers;
use crate::resolve::{Resolve, SystemResolver};
use crate::target::Address;

/// What servers see of us unless the plugin says otherwise.
const USER_AGENT: &str = concat!("yuanli/", env!("CARGO_PKG_VERSION"));

/// How the client is set up.
#[derive(Debug, Clone)]
pub struct Options {
    /// Who vouches for servers beside those that everybody trusts.
    pub extra_roots: Vec<CertificateDer<'static>>,
    /// Looks names up.
    pub resolver: Arc<dyn Resolve>,
}

impl Default for Options {
    fn default() -> Self {
        Self { extra_roots: Vec::new(), resolver: Arc::new(SystemResolver) }
    }
}

/// Reads who vouches for servers: certificates as PEM, as many as there are.
///
/// # Errors
/// What is wrong with them, for a person.
pub fn authorities(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let read = read.map_err(|e| format!("it has no certificates as PEM: {e}"))?;
    if read.is_empty() {
        return Err("it has no certificate: one as PEM begins with `-----BEGIN CERTIFICATE-----`".to_owned());
    }
    let mut roots = RootCertStore::empty();
    for (position, certificate) in read.iter().enumerate() {
        let number = position + 1;
        roots
            .add(certificate.clone())
            .map_err(|e| format!("its certificate {number} cannot be used: {e}"))?;
    }
    Ok(read)
}

/// Sends requests.
#[derive(Debug)]
pub struct HttpClient {
    resolver: Arc<dyn Resolve>,
    tls: Arc<ClientConfig>,
}

/// A request on its way, through redirects.
struct Step {
    address: Address,
    /// Whether a secret is in the address.
    is_secret: bool,
    method: Method,
    headers: Headers,
    body: Bytes,
}

impl HttpClient {
    /// A client.
    ///
    /// # Errors
    /// When one of the extra roots is no certificate.
    pub fn new(options: Options) -> Result<Self, rustls::Error> {
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.into() };
        for root in options.extra_roots {
            roots.add(root)?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { resolver: options.resolver, tls: Arc::new(tls) })
    }

    /// Follows a request to its response.
    async fn follow(&self, request: HttpRequest, scopes: &[HttpScope]) -> Result<HttpResponse, HttpError> {
        let HttpRequest { method, url, is_url_secret, headers, body, max_redirects, max_body_bytes, .. } =
            request;
        let address = Address::parse(&url)?;
        let method = Method::from_bytes(method.as_bytes())
            .map_err(|_| HttpError::Invalid(format!("`{}` is no method", method.escape_debug())))?;
        let (headers, body) = (Headers::new(headers)?, body.into());
        let mut step = Step { address, is_secret: is_url_secret, method, headers, body };
        for _ in 0..=max_redirects {
            let response = self.exchange(&step, scopes, max_body_bytes).await?;
            let next = if max_redirects == 0 { None } else { step.redirected(&response)? };
            match next {
                None => return Ok(told(response, &step.address)),
                Some(next) => step = next,
            }
        }
        Err(HttpError::Redirects(format!(
            "`{url}` was redirected more than {max_redirects} times, last to `{}`",
            step.address.url
        )))
    }

    /// One request and its response. Everything that has to be allowed is asked for in here.
    async fn exchange(
        &self,
        step: &Step,
        scopes: &[HttpScope],
        max_body_bytes: usize,
    ) -> Result<Response<Bytes>, HttpError> {
        let Step { address, method, headers, .. } = step;
        let permit = decide(scopes, &address.target(method.as_str()))?;
        let has_secret = step.is_secret || headers.has_secret();
        if has_secret && address.scheme == Scheme::Http && !permit.is_named {
            let what = if step.is_secret { "the URL" } else { "a header" };
            return Err(HttpError::Exposed(format!(
                "{what} for `{}` has a secret in it, and `http` is not encrypted; use `https`, or an address that the \
                 grant names",
                address.host
            )));
        }
        let addresses = self.addresses(&address.host, permit).await?;
        let request = step.request()?;
        let stream = connection::connect(&addresses, address).await?;
        connection::exchange(stream, &self.tls, address, request, max_body_bytes).await
    }

    /// The addresses of a host that may be connected to.
    async fn addresses(&self, host: &Host, permit: Permit) -> Result<Vec<IpAddr>, HttpError> {
        let found = match host {
            Host::Address(address) => vec![*address],
            Host::Name(name) => self
                .resolver
                .resolve(name)
                .await
                .map_err(|e| HttpError::Dns(format!("`{name}` cannot be looked up: {e}")))?,
        };
        let (mut allowed, mut denied) = (Vec::new(), None);
        for address in found {
            match permit.check(host, address) {
                Ok(()) => allowed.push(address),
                Err(error) => denied = Some(error),
            }
        }
        match denied {
            Some(denied) if allowed.is_empty() => Err(denied.into()),
            _ if allowed.is_empty() => Err(HttpError::Dns(format!("`{host}` has no address"))),
            _ => Ok(allowed),
        }
    }
}

#[async_trait]
impl Http for HttpClient {
    async fn send(&self, request: HttpRequest, scopes: &[HttpScope]) -> Result<HttpResponse, HttpError> {
        let (limit, url) = (request.timeout, request.url.clone());
        let late = |_| HttpError::TimedOut(format!("`{url}` gave no whole response in {limit:?}"));
        timeout(limit, self.follow(request, scopes)).await.map_err(late)?
    }
}

impl Step {
    fn request(&self) -> Result<Request<Full<Bytes>>, HttpError> {
        let mut request = Request::builder()
            .method(self.method.clone())
            .uri(self.address.path_and_query())
            .header(header::HOST, self.address.authority());
        if !self.headers.as_map().contains_key(header::USER_AGENT) {
            request = request.header(header::USER_AGENT, USER_AGENT);
        }
        for (name, value) in self.headers.as_map() {
            request = request.header(name.clone(), value.clone());
        }
        // The connection serves this exchange only.
        request = request.header(header::CONNECTION, "close");
        request
            .body(Full::new(self.body.clone()))
            .map_err(|e| HttpError::Invalid(format!("no request can be made of this: {e}")))
    }

    /// What a response asks for in place of this; `None` when it is the answer.
    fn redirected(&self, response: &Response<Bytes>) -> Result<Option<Self>, HttpError> {
        let is_redirect = matches!(
            response.status(),
            StatusCode::MOVED_PERMANENTLY
                | StatusCode::FOUND
                | StatusCode::SEE_OTHER
                | StatusCode::TEMPORARY_REDIRECT
                | StatusCode::PERMANENT_REDIRECT
        );
        let Some(location) = response.headers().get(header::LOCATION).filter(|_| is_redirect) else {
            return Ok(None);
        };
        let location = String::from_utf8_lossy(location.as_bytes()).into_owned();
        let address = self.address.redirected(&location)?;
        let mut headers = self.headers.clone();
        if !address.is_same_server(&self.address) {
            headers = headers.without_secrets();
        }
        // As browsers do it, and RFC 9110 has come to allow.
        let becomes_get = match response.status() {
            StatusCode::SEE_OTHER => self.method != Method::HEAD && self.method != Method::GET,
            StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND => self.method == Method::POST,
            _ => false,
        };
        // The server may have told what it was asked for.
        let (is_secret, method) = (self.is_secret, self.method.clone());
        let next = Self { address, is_secret, method, headers, body: self.body.clone() };
        Ok(Some(match becomes_get {
            true => {
                let headers = next.headers.without_body();
                Self { method: Method::GET, headers, body: Bytes::new(), ..next }
            }
            false => next,
        }))
    }
}

fn told(response: Response<Bytes>, address: &Address) -> HttpResponse {
    let (head, body) = response.into_parts();
    let headers = head.headers.iter().map(|(name, value)| {
        (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    });
    HttpResponse {
        status: head.status.as_u16(),
        headers: headers.collect(),
        body: body.into(),
        url: address.url.to_string(),
    }
}
