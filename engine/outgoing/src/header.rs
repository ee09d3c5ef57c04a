//! The headers of a request: which may be set, and which go along with a redirect.

use http::header::{AUTHORIZATION, COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue};
use yuanli_ports::http::{Header, HttpError};

/// Most headers of a request and of a response: as many as servers take.
pub const MAX_HEADERS: usize = 100;

/// Most bytes of the headers of a request, names and values together: servers take 8 to 64 KiB.
const MAX_BYTES: usize = 32 * 1024;

/// Headers that say how a message is sent, by which two servers can be made to disagree on where it ends, or that are for
/// whoever is in between.
const OURS: [&str; 14] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
];

/// Headers of a body that is not sent again after a redirect.
const OF_BODY: [&str; 4] = ["content-type", "content-encoding", "content-language", "content-location"];

/// The headers that a plugin sets.
#[derive(Debug, Clone)]
pub(crate) struct Headers {
    map: HeaderMap,
}

impl Headers {
    pub(crate) fn new(headers: Vec<Header>) -> Result<Self, HttpError> {
        let invalid = |why: String| Err(HttpError::Invalid(why));
        if headers.len() > MAX_HEADERS {
            return invalid(format!(
                "the request has {} headers; at most {MAX_HEADERS} are sent",
                headers.len()
            ));
        }
        let bytes: usize = headers.iter().map(|header| header.name.len() + header.value.len()).sum();
        if bytes > MAX_BYTES {
            return invalid(format!("the headers have {bytes} bytes; at most {MAX_BYTES} are sent"));
        }
        let mut map = HeaderMap::new();
        for Header { name, value, is_secret } in headers {
            let Ok(parsed) = HeaderName::from_bytes(name.as_bytes()) else {
                return invalid(format!("`{}` is no name of a header", name.escape_debug()));
            };
            if OURS.contains(&parsed.as_str()) {
                return invalid(format!("the header `{name}` is set by the engine"));
            }
            // A name that servers with other rules take for one of these.
            if OURS.contains(&parsed.as_str().replace('_', "-").as_str()) {
                return invalid(format!(
                    "the header `{name}` can be taken for one that is set by the engine"
                ));
            }
            let Ok(mut value) = HeaderValue::from_bytes(&value) else {
                return invalid(format!(
                    "the value of the header `{name}` has signs that no header has, such as a line end"
                ));
            };
            value.set_sensitive(is_secret);
            map.append(parsed, value);
        }
        Ok(Self { map })
    }

    /// Whether a secret is in one of them.
    pub(crate) fn has_secret(&self) -> bool {
        self.map.values().any(HeaderValue::is_sensitive)
    }

    /// For another server: what is meant for one is not told to others.
    pub(crate) fn without_secrets(self) -> Self {
        let mut map = HeaderMap::new();
        for (name, value) in &self.map {
            if !value.is_sensitive() && name != AUTHORIZATION && name != COOKIE {
                map.append(name.clone(), value.clone());
            }
        }
        Self { map }
    }

    /// For a request without the body.
    pub(crate) fn without_body(mut self) -> Self {
        for name in OF_BODY {
            self.map.remove(name);
        }
        self
    }

    pub(crate) fn as_map(&self) -> &HeaderMap {
        &self.map
    }
}
