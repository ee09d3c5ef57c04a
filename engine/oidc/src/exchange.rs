//! A code for tokens: the request of RFC 6749, 4.1.3, with the verifier of RFC 7636, and what comes back.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use url::form_urlencoded::{Serializer, byte_serialize};
use yuanli_ports::http::Header;

use crate::discovery::Proof;

/// What is asked with.
pub(crate) struct Exchange<'e> {
    pub(crate) client: &'e str,
    pub(crate) callback: &'e str,
    pub(crate) code: &'e str,
    pub(crate) verifier: &'e str,
    /// What the engine proves that it is itself with, if it is to, and how.
    pub(crate) secret: Option<&'e str>,
    pub(crate) proof: Proof,
}

/// What the provider gives.
#[derive(Deserialize)]
pub(crate) struct Tokens {
    pub(crate) id_token: String,
    #[serde(default)]
    pub(crate) access_token: Option<String>,
}

#[derive(Deserialize)]
struct Refused {
    error: String,
    #[serde(default)]
    error_description: Option<String>,
}

/// Headers and body of the request.
pub(crate) fn request(exchange: &Exchange<'_>) -> (Vec<Header>, Vec<u8>) {
    let Exchange { client, callback, code, verifier, secret, proof } = exchange;
    let mut headers = vec![
        header("content-type", "application/x-www-form-urlencoded"),
        header("accept", "application/json"),
    ];
    let mut form = Serializer::new(String::new());
    form.append_pair("grant_type", "authorization_code")
        .append_pair("code", code)
        .append_pair("redirect_uri", callback)
        .append_pair("code_verifier", verifier);
    match (secret, proof) {
        (Some(secret), Proof::Header) => headers.push(basic(client, secret)),
        (Some(secret), Proof::Body) => {
            form.append_pair("client_id", client).append_pair("client_secret", secret);
        }
        (None, _) => {
            form.append_pair("client_id", client);
        }
    }
    (headers, form.finish().into_bytes())
}

/// Why the provider gives nothing, in its own words, if it says it as RFC 6749, 5.2, has it.
pub(crate) fn refusal(body: &[u8]) -> Option<String> {
    let Refused { error, error_description } = serde_json::from_slice(body).ok()?;
    Some(match error_description {
        Some(why) => format!("{error}: {why}"),
        None => error,
    })
}

/// A header that may be shown.
pub(crate) fn header(name: &str, value: &str) -> Header {
    Header { name: name.to_owned(), value: value.as_bytes().to_vec(), is_secret: false }
}

/// As RFC 6749 has it, both are encoded as in a form before they are put together.
fn basic(client: &str, secret: &str) -> Header {
    let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
    let both = STANDARD.encode(format!("{}:{}", encoded(client), encoded(secret)));
    Header { name: "authorization".to_owned(), value: format!("Basic {both}").into_bytes(), is_secret: true }
}
