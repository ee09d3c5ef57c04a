//! What a provider says of itself, at `/.well-known/openid-configuration` (OpenID Connect Discovery 1.0).

use serde::Deserialize;
use url::{Host, Url};

use crate::signature;

/// How a client proves that it is itself when it asks for tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Proof {
    /// By a header, as everybody who says nothing else.
    Header,
    /// In the body.
    Body,
}

#[derive(Deserialize)]
struct Published {
    issuer: String,
    authorization_endpoint: Url,
    token_endpoint: Url,
    jwks_uri: Url,
    #[serde(default)]
    userinfo_endpoint: Option<Url>,
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
    #[serde(default)]
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    #[serde(default)]
    id_token_signing_alg_values_supported: Option<Vec<String>>,
}

/// Where a provider is asked what.
#[derive(Debug, Clone)]
pub(crate) struct Discovered {
    pub(crate) authorization: Url,
    pub(crate) token: Url,
    pub(crate) keys: Url,
    /// Where more is told of somebody than in the token.
    pub(crate) more: Option<Url>,
    pub(crate) proof: Proof,
    /// Whether it says who it is with each code.
    pub(crate) says_issuer: bool,
}

/// Where a provider says it.
pub(crate) fn address(issuer: &str) -> String {
    format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'))
}

/// Reads what the provider with this issuer says; why it cannot be used.
pub(crate) fn read(issuer: &str, published: &[u8]) -> Result<Discovered, String> {
    let published: Published = serde_json::from_slice(published)
        .map_err(|error| format!("what it says of itself is no discovery document: {error}"))?;
    if published.issuer != issuer {
        return Err(format!("it calls itself `{}`: configure the issuer exactly so", published.issuer));
    }
    let known = |algorithm: &String| signature::TAKEN.contains(&algorithm.as_str());
    if published.id_token_signing_alg_values_supported.is_some_and(|all| !all.iter().any(known)) {
        return Err(format!("it signs by none of {}", signature::TAKEN.join(", ")));
    }
    let asked = [&published.authorization_endpoint, &published.token_endpoint, &published.jwks_uri];
    for url in asked.into_iter().chain(&published.userinfo_endpoint) {
        if !is_secure(url) {
            return Err(format!("it would be asked in clear at {url}"));
        }
    }
    let methods = published.token_endpoint_auth_methods_supported;
    let has = |name: &str| methods.as_ref().is_none_or(|all| all.iter().any(|method| method == name));
    let proof = if has("client_secret_basic") { Proof::Header } else { Proof::Body };
    Ok(Discovered {
        authorization: published.authorization_endpoint,
        token: published.token_endpoint,
        keys: published.jwks_uri,
        more: published.userinfo_endpoint,
        proof,
        says_issuer: published.authorization_response_iss_parameter_supported,
    })
}

/// Whether what is said to a URL is heard by nobody else: by TLS, or on this machine.
pub(crate) fn is_secure(url: &Url) -> bool {
    let is_here = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    url.scheme() == "https" || url.scheme() == "http" && is_here
}

#[cfg(test)]
mod tests {
    use super::*;

    const ISSUER: &str = "https://id.example.com/realm";

    fn read_with(more: &str) -> Result<Discovered, String> {
        let text = format!(
            r#"{{"issuer":"{ISSUER}","authorization_endpoint":"https://id.example.com/a",
            "token_endpoint":"https://id.example.com/t","jwks_uri":"https://keys.example.com/k"{more}}}"#
        );
        read(ISSUER, text.as_bytes())
    }

    #[test]
    fn another_issuer_or_a_way_in_clear_is_refused() {
        assert_eq!(
            address("https://id.example.com/"),
            "https://id.example.com/.well-known/openid-configuration"
        );
        let read_it = read_with("").expect("it is one");
        assert_eq!((read_it.keys.as_str(), read_it.proof), ("https://keys.example.com/k", Proof::Header));
        let post = read_with(r#","token_endpoint_auth_methods_supported":["client_secret_post"]"#);
        assert_eq!(post.expect("it is one").proof, Proof::Body);
        let none = read_with(r#","id_token_signing_alg_values_supported":["HS256","none"]"#);
        assert!(none.is_err_and(|why| why.contains("signs by none of RS256")));
        let other = read("https://id.example.com", br#"{"issuer":"https://evil","authorization_endpoint":"https://a","token_endpoint":"https://a","jwks_uri":"https://a"}"#);
        assert!(other.is_err_and(|why| why.contains("`https://evil`")));
        let clear = read("i", br#"{"issuer":"i","authorization_endpoint":"https://a","token_endpoint":"http://a","jwks_uri":"https://a"}"#);
        assert!(clear.is_err_and(|why| why.contains("in clear at http://a")));
        assert!(read("i", b"<html>").is_err());
    }

    #[test]
    fn the_loopback_needs_no_tls() {
        let is = |text: &str| is_secure(&text.parse().expect("a URL"));
        for secure in ["https://a", "http://localhost:1", "http://127.0.0.1:1/x", "http://[::1]/"] {
            assert!(is(secure), "{secure}");
        }
        for open in ["http://a", "http://localhost.example.com", "http://10.0.0.1", "ftp://localhost"] {
            assert!(!is(open), "{open}");
        }
    }
}
