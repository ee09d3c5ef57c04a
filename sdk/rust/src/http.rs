//! Requests to HTTP services.
//!
//! ```ignore
//! let response = http::post("https://api.example.com/v1/items")
//!     .header("content-type", "application/json")
//!     .bearer(&config.token.get()?)
//!     .body(r#"{"name": "hammer"}"#)
//!     .timeout(Duration::from_secs(10))
//!     .send()?
//!     .successful()?;
//! ```

use std::time::Duration;

use crate::failure::Failure;
use crate::host::http as host;
use crate::secrets::Secret;

pub use host::{Error, Response};

/// A request that is being put together.
#[derive(Debug)]
#[must_use]
pub struct Request<'a> {
    request: host::Request,
    secrets: Vec<&'a Secret>,
}

/// A part of the value of a header.
#[derive(Debug, Clone, Copy)]
pub enum Part<'a> {
    /// This text.
    Text(&'a str),
    /// The value of this secret, which the stage does not see.
    Secret(&'a Secret),
}

/// A `GET` of a URL.
pub fn get<'a>(url: &str) -> Request<'a> {
    request("GET", url)
}

/// A `POST` to a URL.
pub fn post<'a>(url: &str) -> Request<'a> {
    request("POST", url)
}

/// A request with a method, in capital letters.
pub fn request<'a>(method: &str, url: &str) -> Request<'a> {
    let request = host::Request {
        method: method.to_owned(),
        url: url.to_owned(),
        headers: Vec::new(),
        body: Vec::new(),
        timeout_ms: None,
        max_redirects: None,
        max_body_bytes: None,
        options: Vec::new(),
    };
    Request { request, secrets: Vec::new() }
}

impl<'a> Request<'a> {
    /// The same with one more header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        let parts = vec![host::Part::Text(value.to_owned())];
        self.request.headers.push((name.to_owned(), host::HeaderValue::Joined(parts)));
        self
    }

    /// The same with one more header, whose value is made of these parts.
    pub fn header_of(mut self, name: &str, parts: impl IntoIterator<Item = Part<'a>>) -> Self {
        let parts = parts.into_iter().map(|part| self.part(part)).collect();
        self.request.headers.push((name.to_owned(), host::HeaderValue::Joined(parts)));
        self
    }

    /// The same with `authorization: Bearer …`.
    pub fn bearer(self, token: &'a Secret) -> Self {
        self.header_of("authorization", [Part::Text("Bearer "), Part::Secret(token)])
    }

    /// The same with `authorization: Basic …`.
    pub fn basic(mut self, user: Part<'a>, password: Part<'a>) -> Self {
        let both = (self.part(user), self.part(password));
        self.request.headers.push(("authorization".to_owned(), host::HeaderValue::Basic(both)));
        self
    }

    /// The same, signed with a secret after Standard Webhooks; `id` is the header `webhook-id`, by which whoever gets it twice
    /// knows that it is the same.
    pub fn signed(mut self, id: &str, secret: &'a Secret) -> Self {
        let place = self.place(secret).to_string();
        self.request.options.push(("sign-with".to_owned(), place));
        self.header("webhook-id", id)
    }

    /// The same to a URL whose rest is a secret.
    pub fn url_secret(mut self, secret: &'a Secret) -> Self {
        let place = self.place(secret).to_string();
        self.request.options.push(("url-secret".to_owned(), place));
        self
    }

    /// The same with this body.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.request.body = body.into();
        self
    }

    /// The same with a limit on how long all of it may take.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.request.timeout_ms = Some(u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX));
        self
    }

    /// The same with at most so many redirects, 0 to 10.
    pub fn max_redirects(mut self, most: u32) -> Self {
        self.request.max_redirects = Some(most);
        self
    }

    /// The same with a limit on the bytes of the response's body.
    pub fn max_body_bytes(mut self, most: u32) -> Self {
        self.request.max_body_bytes = Some(most);
        self
    }

    /// Sends it and waits for the response, whatever its status.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn send(self) -> Result<Response, Error> {
        host::send(&self.request, &self.secrets)
    }

    fn part(&mut self, part: Part<'a>) -> host::Part {
        match part {
            Part::Text(text) => host::Part::Text(text.to_owned()),
            Part::Secret(secret) => host::Part::Secret(self.place(secret)),
        }
    }

    /// The place of a secret in the list of the request's.
    fn place(&mut self, secret: &'a Secret) -> u32 {
        self.secrets.push(secret);
        // A request has at most 100 headers.
        self.secrets.len() as u32 - 1
    }
}

impl Response {
    /// The body as text; what is no UTF-8 is replaced.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The first header of that name, in small letters.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The response, when its status is 200 to 299.
    ///
    /// # Errors
    /// A failure of kind `http-status` else: for 429 and 503 throttled, with the time that `retry-after` asks for; for other
    /// 500s transient; permanent for all others.
    pub fn successful(self) -> Result<Self, Failure> {
        let message = format!("`{}` answered with status {}", self.url, self.status);
        let status = |failure: Failure| failure.with("status", self.status.to_string());
        match self.status {
            200..=299 => Ok(self),
            429 | 503 => {
                let seconds = self.header("retry-after").and_then(|text| text.trim().parse().ok());
                let class = crate::FailureClass::Throttled(seconds.map(Duration::from_secs));
                Err(status(Failure::new(class, "http-status", message)))
            }
            500..=599 => Err(status(Failure::transient("http-status", message))),
            _ => Err(status(Failure::permanent("http-status", message))),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Denied(message) => Self::permanent("denied", message),
            Error::Dns(message) => Self::transient("dns", message),
            Error::Connect(message) => Self::transient("connect", message),
            Error::Tls(message) => Self::permanent("tls", message),
            Error::TimedOut(message) => Self::transient("timed-out", message),
            Error::TooLarge(message) => Self::permanent("too-large", message),
            Error::Invalid(message) => Self::permanent("invalid-request", message),
            Error::Io(message) => Self::transient("io", message),
            Error::Other(message) => Self::permanent("http", message),
        }
    }
}
