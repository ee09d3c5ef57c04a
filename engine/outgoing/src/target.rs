//! URLs, as far as a request can be sent to them.

use std::net::IpAddr;

use url::{Host as UrlHost, Url};
use yuanli_model::http::{Host, Scheme, Target};
use yuanli_ports::http::HttpError;

/// Longest URL, in bytes: longer ones are refused by most servers.
const MAX_URL_BYTES: usize = 8 * 1024;

/// A URL that a request can be sent to.
#[derive(Debug, Clone)]
pub(crate) struct Address {
    pub(crate) url: Url,
    pub(crate) scheme: Scheme,
    pub(crate) host: Host,
    pub(crate) port: u16,
}

impl Address {
    pub(crate) fn parse(text: &str) -> Result<Self, HttpError> {
        if text.len() > MAX_URL_BYTES {
            return Err(HttpError::Invalid(format!("the URL has more than {MAX_URL_BYTES} bytes")));
        }
        Self::of(Url::parse(text).map_err(|e| HttpError::Invalid(format!("`{text}` is no URL: {e}")))?)
    }

    /// Where a redirect from here leads.
    pub(crate) fn redirected(&self, location: &str) -> Result<Self, HttpError> {
        let wrong = |why: String| HttpError::Io(format!("`{}` redirects to `{location}`: {why}", self.url));
        if location.len() > MAX_URL_BYTES {
            return Err(HttpError::Io(format!("`{}` redirects to a URL that is too long", self.url)));
        }
        let url = self.url.join(location).map_err(|e| wrong(e.to_string()))?;
        Self::of(url).map_err(|e| wrong(e.to_string()))
    }

    fn of(mut url: Url) -> Result<Self, HttpError> {
        let invalid = |why: &str| Err(HttpError::Invalid(format!("a request cannot be sent there: {why}")));
        let scheme = match url.scheme() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            other => return invalid(&format!("`{other}` is neither `http` nor `https`")),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return invalid("the URL has a user or a password; give them in a header");
        }
        let host = match url.host() {
            Some(UrlHost::Domain(name)) => Host::Name(name.strip_suffix('.').unwrap_or(name).to_owned()),
            Some(UrlHost::Ipv4(address)) => Host::Address(IpAddr::V4(address)),
            Some(UrlHost::Ipv6(address)) => Host::Address(IpAddr::V6(address)),
            None => return invalid("the URL has no host"),
        };
        if host == Host::Name(String::new()) {
            return invalid("the URL has no host");
        }
        url.set_fragment(None);
        let port = url.port().unwrap_or(scheme.usual_port());
        if port == 0 {
            return invalid("there is no port 0");
        }
        Ok(Self { url, scheme, host, port })
    }

    /// What the policy decides on.
    pub(crate) fn target<'a>(&'a self, method: &'a str) -> Target<'a> {
        Target { scheme: self.scheme, host: &self.host, port: self.port, method, path: self.url.path() }
    }

    /// Whether it is the same server, reached in the same way.
    pub(crate) fn is_same_server(&self, other: &Self) -> bool {
        (self.scheme, &self.host, self.port) == (other.scheme, &other.host, other.port)
    }

    /// What the request line has: path and query.
    pub(crate) fn path_and_query(&self) -> String {
        match self.url.query() {
            Some(query) => format!("{}?{query}", self.url.path()),
            None => self.url.path().to_owned(),
        }
    }

    /// What the header `host` has.
    pub(crate) fn authority(&self) -> String {
        match self.url.port() {
            Some(port) => format!("{}:{port}", self.host),
            None => self.host.to_string(),
        }
    }
}
