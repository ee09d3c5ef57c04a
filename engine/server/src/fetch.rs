//! Components from elsewhere: over https, or in clear where nobody stands between or their digest is known.

use std::io::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::Context as _;
use tempfile::NamedTempFile;
use url::{Host as UrlHost, Url};
use yuanli_model::Digest;
use yuanli_model::http::{HostPattern, HttpScope, closed};
use yuanli_ports::Http;
use yuanli_ports::http::{HttpError, HttpRequest};

use crate::document::Unread;

/// Largest component that is fetched, in bytes: as large as one from a file may be.
const MAX_BYTES: usize = 256 * 1024 * 1024;
/// Most redirects that are followed; code hosts take two.
const MAX_REDIRECTS: usize = 10;
/// How long each request may take: the largest component over a slow line.
const TIMEOUT: Duration = Duration::from_mins(10);

/// A component that was fetched, in a file that goes with this.
#[derive(Debug)]
pub struct Fetched {
    file: NamedTempFile,
    /// Where it came from in the end.
    pub url: String,
    /// Its digest.
    pub digest: String,
    /// Its size.
    pub size_bytes: u64,
}

impl Fetched {
    /// The file.
    #[must_use]
    pub fn path(&self) -> &std::path::Path {
        self.file.path()
    }
}

/// Whether a text names something to be fetched, and not a file.
#[must_use]
pub fn is_url(text: &str) -> bool {
    let scheme = text.split_once("://").map(|(scheme, _)| scheme);
    scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("http"))
}

/// Fetches a component. With `pin` it has to be the one of that digest.
///
/// # Errors
/// When it cannot be had, or is another one: a sentence.
pub(crate) async fn fetch(http: &dyn Http, url: &str, pin: Option<&Digest>) -> Result<Fetched, Unread> {
    let (url, body) = follow(http, url, pin.is_some()).await.map_err(Unread::File)?;
    let digest = Digest::of(&body);
    if let Some(pin) = pin
        && *pin != digest
    {
        let why = format!(
            "`{url}` gave {digest}, and {pin} was asked for: it is another component, or a damaged one"
        );
        return Err(Unread::File(why));
    }
    let store = || -> anyhow::Result<NamedTempFile> {
        let mut file = NamedTempFile::with_suffix(".wasm")?;
        file.write_all(&body)?;
        Ok(file)
    };
    let file = store().context("what was fetched cannot be kept").map_err(Unread::Machine)?;
    Ok(Fetched { file, url: url.into(), digest: digest.to_string(), size_bytes: body.len() as u64 })
}

/// Follows a URL to what is there, and says where that is.
async fn follow(http: &dyn Http, text: &str, is_pinned: bool) -> Result<(Url, Vec<u8>), String> {
    let mut url = Url::parse(text).map_err(|e| format!("`{text}` is no URL: {e}"))?;
    let typed = url.host_str().map(str::to_owned);
    for _ in 0..=MAX_REDIRECTS {
        // Whoever types it reaches what this machine reaches; where a server sends him, he has not said that.
        let is_private = url.host_str().map(str::to_owned) == typed;
        // The scope below names the host, which for an address is all that would be asked for.
        if !is_private && let Some(what) = address_of(&url).and_then(closed) {
            return Err(format!(
                "`{text}` leads to `{url}`, which is not fetched: it is {what}, where no server should send anybody; name that \
                 URL yourself if it is the one that is meant"
            ));
        }
        let scope = HttpScope { is_private, ..scope_of(&url, is_pinned)? };
        let request = HttpRequest {
            method: "GET".to_owned(),
            url: url.to_string(),
            is_url_secret: false,
            headers: Vec::new(),
            body: Vec::new(),
            timeout: TIMEOUT,
            // Each is looked at here: where one leads decides whether it may be followed.
            max_redirects: 0,
            max_body_bytes: MAX_BYTES,
        };
        let response = http.send(request, &[scope]).await;
        let response = response.map_err(|e| match e {
            HttpError::Tls(why) => format!(
                "`{url}` cannot be fetched: {why}; if its server has a certificate of your own authority, name the file of \
                 that with `--ca FILE`, or among `authorities` in the configuration of the engine"
            ),
            other => format!("`{url}` cannot be fetched: {other}"),
        })?;
        let location = response.headers.iter().find(|(name, _)| name == "location").map(|(_, value)| value);
        match (response.status, location) {
            (200, _) => return Ok((url, response.body)),
            (301 | 302 | 303 | 307 | 308, Some(location)) => {
                let next = url.join(location);
                let next =
                    next.map_err(|e| format!("`{url}` redirects to `{location}`, which is no URL: {e}"))?;
                if url.scheme() == "https" && next.scheme() == "http" && !is_pinned {
                    return Err(format!("`{url}` redirects to `{next}`, which is not encrypted: {PIN}"));
                }
                url = next;
            }
            (status, _) => return Err(format!("`{url}` answered with status {status}, and no component")),
        }
    }
    Err(format!("`{text}` was redirected more than {MAX_REDIRECTS} times, last to `{url}`"))
}

const PIN: &str = "use https, or say with `--sha256 DIGEST` which component it is";

/// The address that a URL has in the place of a name.
fn address_of(url: &Url) -> Option<IpAddr> {
    match url.host()? {
        UrlHost::Domain(_) => None,
        UrlHost::Ipv4(address) => Some(IpAddr::V4(address)),
        UrlHost::Ipv6(address) => Some(IpAddr::V6(address)),
    }
}

/// What a request to a URL has to be allowed. Whoever types it reaches what this machine reaches, private addresses too.
fn scope_of(url: &Url, is_pinned: bool) -> Result<HttpScope, String> {
    let is_loopback =
        url.host_str() == Some("localhost") || address_of(url).is_some_and(|address| address.is_loopback());
    match url.scheme() {
        "https" => {}
        "http" if is_loopback || is_pinned => {}
        "http" => {
            return Err(format!(
                "`{url}` is not encrypted, so that anybody on the way could change it: {PIN}"
            ));
        }
        other => return Err(format!("`{url}` is fetched neither by https nor by http, but by `{other}`")),
    }
    let port = url.port().map_or_else(String::new, |port| format!(":{port}"));
    let host = format!("{}{port}", url.host_str().unwrap_or_default());
    let host: HostPattern = host.parse().map_err(|e: yuanli_model::http::InvalidPattern| e.message)?;
    Ok(HttpScope { hosts: vec![host], methods: vec!["GET"], paths: Vec::new(), is_private: true })
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Mutex;

    use async_trait::async_trait;
    use yuanli_ports::http::HttpResponse;

    use super::*;

    /// Answers by URL: a body, or where to go.
    #[derive(Debug, Default)]
    struct Servers {
        answers: HashMap<&'static str, (u16, &'static str)>,
        asked: Mutex<Vec<String>>,
    }

    #[async_trait]
    impl Http for Servers {
        async fn send(&self, request: HttpRequest, scopes: &[HttpScope]) -> Result<HttpResponse, HttpError> {
            assert_eq!((request.max_redirects, scopes.len()), (0, 1));
            self.asked.lock().unwrap().push(request.url.clone());
            let (status, text) = self.answers.get(request.url.as_str()).copied().unwrap_or((404, ""));
            let is_redirect = (300..400).contains(&status);
            let headers = if is_redirect { vec![("location".to_owned(), text.to_owned())] } else { vec![] };
            Ok(HttpResponse { status, headers, body: text.into(), url: request.url })
        }
    }

    fn servers() -> Servers {
        let answers = HashMap::from([
            ("https://a.example/x.wasm", (200, "one")),
            ("https://a.example/moved", (302, "../x.wasm")),
            ("https://a.example/down", (301, "http://b.example/x.wasm")),
            ("https://a.example/round", (307, "/round")),
            ("http://b.example/x.wasm", (200, "one")),
            ("http://127.0.0.1:99/x.wasm", (200, "one")),
            ("http://[::1]/x.wasm", (200, "one")),
        ]);
        Servers { answers, asked: Mutex::default() }
    }

    async fn fetched(url: &str, pin: Option<&str>) -> Result<String, String> {
        let pin = pin.map(|content| Digest::of(content.as_bytes()));
        match fetch(&servers(), url, pin.as_ref()).await {
            Ok(fetched) => {
                assert_eq!(std::fs::read(fetched.path()).unwrap().len() as u64, fetched.size_bytes);
                Ok(fetched.url)
            }
            Err(Unread::File(why)) => Err(why),
            Err(Unread::Machine(error)) => panic!("{error:#}"),
        }
    }

    #[tokio::test]
    async fn encrypted_ones_are_fetched_through_redirects() {
        assert_eq!(fetched("https://a.example/x.wasm", None).await.unwrap(), "https://a.example/x.wasm");
        assert_eq!(fetched("https://a.example/moved", None).await.unwrap(), "https://a.example/x.wasm");
        let why = fetched("https://a.example/round", None).await.unwrap_err();
        assert!(why.contains("redirected more than 10 times"), "{why}");
        let why = fetched("https://a.example/gone", None).await.unwrap_err();
        assert!(why.contains("answered with status 404"), "{why}");
    }

    #[tokio::test]
    async fn those_in_clear_only_from_here_or_with_a_digest() {
        for here in ["http://127.0.0.1:99/x.wasm", "http://[::1]/x.wasm"] {
            assert_eq!(fetched(here, None).await.unwrap(), here);
        }
        for clear in ["http://b.example/x.wasm", "https://a.example/down"] {
            let why = fetched(clear, None).await.unwrap_err();
            assert!(why.contains("not encrypted") && why.contains("--sha256"), "{why}");
            assert_eq!(fetched(clear, Some("one")).await.unwrap(), "http://b.example/x.wasm");
            let why = fetched(clear, Some("other")).await.unwrap_err();
            assert!(why.contains("was asked for"), "{why}");
        }
        let why = fetched("ftp://b.example/x.wasm", Some("one")).await.unwrap_err();
        assert!(why.contains("neither by https nor by http"), "{why}");
    }

    #[test]
    fn urls_are_told_from_files() {
        assert!(is_url("https://a/b") && is_url("HTTP://a"));
        assert!(!is_url("./https/a.wasm") && !is_url("a.wasm") && !is_url("ftp://a"));
    }
}
