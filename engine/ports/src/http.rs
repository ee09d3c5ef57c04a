//! HTTP requests of plugins: one whole request, one whole response, within what was granted.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use yuanli_model::http::{Denied, HttpScope};

/// A request.
#[derive(Clone)]
pub struct HttpRequest {
    /// The method, in capital letters.
    pub method: String,
    /// Where to.
    pub url: String,
    /// Whether a secret is in that: it is sent as a header with one is.
    pub is_url_secret: bool,
    /// The headers, in order.
    pub headers: Vec<Header>,
    /// The body.
    pub body: Vec<u8>,
    /// How long all of it may take, redirects included.
    pub timeout: Duration,
    /// How many redirects are followed; with 0 a redirect is a response as any other.
    pub max_redirects: u32,
    /// The most bytes of the response's body.
    pub max_body_bytes: usize,
}

impl fmt::Debug for HttpRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = if self.is_url_secret { "***" } else { self.url.as_str() };
        f.debug_struct("HttpRequest")
            .field("method", &self.method)
            .field("url", &url)
            .field("headers", &self.headers)
            .finish_non_exhaustive()
    }
}

/// A header.
#[derive(Clone)]
pub struct Header {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: Vec<u8>,
    /// Whether a secret is in it: it is sent encrypted, or to an address that the grant names, and to no other server.
    pub is_secret: bool,
}

impl fmt::Debug for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_secret {
            write!(f, "{}: ***", self.name)
        } else {
            write!(f, "{}: {}", self.name, self.value.escape_ascii())
        }
    }
}

/// A response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpResponse {
    /// Its status.
    pub status: u16,
    /// Name and value of its headers, in order.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: Vec<u8>,
    /// Where it came from, after all redirects.
    pub url: String,
}

/// Why there is no response.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HttpError {
    /// The grant does not allow it.
    #[error("{0}")]
    Denied(#[from] Denied),
    /// A secret would be sent so that others could read it.
    #[error("{0}")]
    Exposed(String),
    /// The name of the host cannot be looked up.
    #[error("{0}")]
    Dns(String),
    /// Nothing accepts connections there.
    #[error("{0}")]
    Connect(String),
    /// No secure connection.
    #[error("{0}")]
    Tls(String),
    /// It was not over in time.
    #[error("{0}")]
    TimedOut(String),
    /// The response is larger than it may be.
    #[error("{0}")]
    TooLarge(String),
    /// The request is wrong and will stay so.
    #[error("{0}")]
    Invalid(String),
    /// The connection broke off, or what came is no HTTP.
    #[error("{0}")]
    Io(String),
    /// There are more redirects than may be followed.
    #[error("{0}")]
    Redirects(String),
}

/// Sends requests.
#[async_trait]
pub trait Http: Send + Sync + fmt::Debug {
    /// Sends a request, as far as one of the scopes allows it, and waits for the response. Each redirect is asked for as
    /// the request itself. Dropping the future closes the connection.
    ///
    /// # Errors
    /// See [`HttpError`].
    async fn send(&self, request: HttpRequest, scopes: &[HttpScope]) -> Result<HttpResponse, HttpError>;
}
