//! `yuanli:http`: requests, with the secrets of their headers put in.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::FutureExt;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use wasmtime::component::{Linker, Resource};
use yuanli_bindings::http::{Error, HeaderValue, Part, Request, Response};
use yuanli_bindings::secrets::Secret;
use yuanli_model::Timestamp;
use yuanli_ports::http::{Header, HttpError, HttpRequest, HttpResponse};

use crate::call::{Answer, Function, Interface};
use crate::guest::{Guest, State};
use crate::mask::{Edges, Mask};

/// Most redirects of a request, as the contract says: more are a circle.
const MAX_REDIRECTS: u32 = 10;

/// The header by which a server knows a request that it has had already.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// The header with the id of what is signed after Standard Webhooks.
const WEBHOOK_ID: &str = "webhook-id";

/// Largest body of a request or a response, in bytes, as the contract says: it is in the guest's memory and in ours.
const MAX_BODY_BYTES: usize = 16 * 1024 * 1024;

pub(super) fn link(linker: &mut Linker<Guest>, declared: &mut Vec<Function>) -> wasmtime::Result<()> {
    Interface::open(linker, "yuanli:http/http@0.1.1", declared)?.effect_once("send", may_repeat, send)?;
    Ok(())
}

type Parameters = (Request, Vec<Resource<Secret>>);

/// Whether a request that may have arrived can be sent again: it changes nothing, or the server knows it by its key.
fn may_repeat((request, _): &Parameters) -> bool {
    let is_safe = ["GET", "HEAD", "OPTIONS"].contains(&request.method.to_ascii_uppercase().as_str());
    is_safe || request.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(IDEMPOTENCY_KEY))
}

fn send(state: &mut State, (request, secrets): Parameters) -> Answer<'_, (Result<Response, Error>,)> {
    async move {
        let sent = async {
            let request = translate(state, request, &secrets)?;
            let mask = &state.held.mask;
            let sent = state.outside.http.send(request, &state.rights.http).await;
            sent.map(|response| shown(response, mask)).map_err(|error| of_port(error, mask))
        };
        (sent.await,)
    }
    .boxed()
}

fn translate(state: &State, request: Request, secrets: &[Resource<Secret>]) -> Result<HttpRequest, Error> {
    let options = Options::read(&request.options)?;
    if request.body.len() > MAX_BODY_BYTES {
        let bytes = request.body.len();
        return Err(Error::Invalid(format!("the body has {bytes} bytes; at most {MAX_BODY_BYTES} are sent")));
    }
    let max_redirects = request.max_redirects.unwrap_or(MAX_REDIRECTS);
    if max_redirects > MAX_REDIRECTS {
        return Err(Error::Invalid(format!(
            "at most {MAX_REDIRECTS} redirects are followed, not {max_redirects}"
        )));
    }
    let headers = request.headers.into_iter().map(|(name, value)| {
        let (value, is_secret) = header_value(state, value, secrets)?;
        Ok(Header { name, value, is_secret })
    });
    let mut headers = headers.collect::<Result<Vec<_>, Error>>()?;
    if let Some(place) = options.sign_with {
        let signed =
            sign(value_of(state, place, secrets)?, &headers, &request.body, state.outside.clock.now())?;
        headers.extend(signed);
    }
    let mut url = request.url;
    if let Some(place) = options.url_secret {
        if !has_host(&url) {
            return Err(Error::Invalid(format!(
                "a secret that is the rest of a URL begins behind the host and a `/`, and `{url}` has none: end it with `/`"
            )));
        }
        url.push_str(rest_of_url(value_of(state, place, secrets)?)?);
    }
    let asked = request.timeout_ms.map_or(Duration::MAX, Duration::from_millis);
    let max_body_bytes = request.max_body_bytes.map_or(MAX_BODY_BYTES, |bytes| bytes as usize);
    Ok(HttpRequest {
        method: request.method,
        url,
        is_url_secret: options.url_secret.is_some(),
        headers,
        body: request.body,
        timeout: asked.min(state.rest()),
        max_redirects,
        max_body_bytes: max_body_bytes.min(MAX_BODY_BYTES),
    })
}

/// What a request is to have beside its fields: places of secrets.
#[derive(Debug, Default)]
struct Options {
    sign_with: Option<u32>,
    url_secret: Option<u32>,
}

impl Options {
    fn read(options: &[(String, String)]) -> Result<Self, Error> {
        let mut read = Self::default();
        for (key, value) in options {
            let option = match key.as_str() {
                "sign-with" => &mut read.sign_with,
                "url-secret" => &mut read.url_secret,
                _ => return Err(Error::Invalid(format!("this engine knows no request option `{key}`"))),
            };
            let wrong =
                || Error::Invalid(format!("`{key}` is the place of a secret in the list, not `{value}`"));
            if option.replace(value.parse().map_err(|_| wrong())?).is_some() {
                return Err(Error::Invalid(format!("the option `{key}` stands there twice")));
            }
        }
        Ok(read)
    }
}

/// The headers that sign a body after Standard Webhooks, for the id that stands in a header.
fn sign(secret: &[u8], headers: &[Header], body: &[u8], now: Timestamp) -> Result<[Header; 2], Error> {
    let id = headers.iter().find(|header| header.name.eq_ignore_ascii_case(WEBHOOK_ID));
    let id = id.ok_or_else(|| Error::Invalid(format!("what is signed needs a header `{WEBHOOK_ID}`")))?;
    let decoded = match secret.strip_prefix(b"whsec_") {
        Some(text) => Some(STANDARD.decode(text).map_err(|_| {
            Error::Invalid(
                "the secret to sign with begins with `whsec_`, and is no base64 after that".to_owned(),
            )
        })?),
        None => None,
    };
    let key = decoded.as_deref().unwrap_or(secret);
    if key.is_empty() {
        return Err(Error::Invalid(
            "the secret to sign with is empty, so that anybody could sign".to_owned(),
        ));
    }
    let time = (now.as_millis() / 1_000).to_string();
    let mut mac = Hmac::<Sha256>::new_from_slice(key).map_err(|error| Error::Invalid(error.to_string()))?;
    for part in [&id.value[..], b".", time.as_bytes(), b".", body] {
        mac.update(part);
    }
    let signature = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
    let header = |name: &str, value: String| Header {
        name: name.to_owned(),
        value: value.into_bytes(),
        is_secret: false,
    };
    Ok([header("webhook-timestamp", time), header("webhook-signature", signature)])
}

/// Whether the host of a URL is all there, so that whatever is put behind the URL is not of it.
fn has_host(url: &str) -> bool {
    url.split_once("://").is_some_and(|(_, rest)| rest.contains('/'))
}

/// A secret that is the rest of a URL. What would mean something else there is refused: the host stays what it is.
fn rest_of_url(secret: &[u8]) -> Result<&str, Error> {
    let is_taken = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(byte);
    let text = std::str::from_utf8(secret).ok().filter(|_| secret.iter().all(is_taken));
    let text =
        text.filter(|text| !text.is_empty() && !text.split('/').any(|part| part == "." || part == ".."));
    text.ok_or_else(|| {
        let message = "the secret that is the rest of the URL is empty, or has other characters than letters, digits and \
                       `-._~/`, or leads upwards";
        Error::Invalid(message.to_owned())
    })
}

/// The value of a header, and whether a secret is in it.
fn header_value(
    state: &State,
    value: HeaderValue,
    secrets: &[Resource<Secret>],
) -> Result<(Vec<u8>, bool), Error> {
    match value {
        HeaderValue::Joined(parts) => join(state, &parts, secrets),
        HeaderValue::Basic((user, password)) => {
            let parts = [user, Part::Text(":".to_owned()), password];
            let (bytes, is_secret) = join(state, &parts, secrets)?;
            Ok((format!("Basic {}", STANDARD.encode(bytes)).into_bytes(), is_secret))
        }
    }
}

fn join(state: &State, parts: &[Part], secrets: &[Resource<Secret>]) -> Result<(Vec<u8>, bool), Error> {
    let (mut bytes, mut is_secret) = (Vec::new(), false);
    for part in parts {
        match part {
            Part::Text(text) => bytes.extend_from_slice(text.as_bytes()),
            Part::Secret(place) => {
                bytes.extend_from_slice(value_of(state, *place, secrets)?);
                is_secret = true;
            }
        }
    }
    Ok((bytes, is_secret))
}

fn value_of<'s>(state: &'s State, place: u32, secrets: &[Resource<Secret>]) -> Result<&'s [u8], Error> {
    let missing = || Error::Invalid(format!("the request is given no secret at place {place}"));
    let secret = secrets.get(place as usize).ok_or_else(missing)?;
    match state.secret(secret.rep()) {
        Some((_, Ok(value))) => Ok(value.expose()),
        Some((_, Err(error))) => Err(Error::Invalid(error.to_string())),
        None => Err(missing()),
    }
}

/// The response as the guest sees it: a server may repeat what it was sent.
fn shown(response: HttpResponse, mask: &Mask) -> Response {
    let HttpResponse { status, headers, body, url } = response;
    Response {
        status,
        headers: mask.pairs(headers),
        body: mask.piece(&body, Edges::default()).into_owned(),
        url: mask.owned(url),
    }
}

/// The error as the guest sees it: where a server redirects to can have in it what it was sent.
fn of_port(error: HttpError, mask: &Mask) -> Error {
    let (of, message): (fn(String) -> Error, String) = match error {
        HttpError::Denied(denied) => (Error::Denied, denied.to_string()),
        HttpError::Exposed(message) => (Error::Denied, message),
        HttpError::Dns(message) => (Error::Dns, message),
        HttpError::Connect(message) => (Error::Connect, message),
        HttpError::Tls(message) => (Error::Tls, message),
        HttpError::TimedOut(message) => (Error::TimedOut, message),
        HttpError::TooLarge(message) => (Error::TooLarge, message),
        HttpError::Invalid(message) => (Error::Invalid, message),
        HttpError::Io(message) => (Error::Io, message),
        HttpError::Redirects(message) => (Error::Other, message),
    };
    of(mask.owned(message))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_614_265_330_999);

    fn id() -> Vec<Header> {
        let value = b"msg_p5jXN8AQM9LWM0D4loKWxJek".to_vec();
        vec![Header { name: "Webhook-Id".to_owned(), value, is_secret: false }]
    }

    #[test]
    fn a_body_is_signed_as_the_example_of_the_specification_is() {
        let signed = sign(b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", &id(), br#"{"test": 2432232314}"#, NOW);
        let [time, signature] = signed.expect("it is signed").map(|header| (header.name, header.value));
        assert_eq!(time, ("webhook-timestamp".to_owned(), b"1614265330".to_vec()));
        let expected = b"v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=".to_vec();
        assert_eq!(signature, ("webhook-signature".to_owned(), expected));
    }

    #[test]
    fn a_secret_is_put_behind_a_url_only_where_the_host_is_all_there() {
        for (url, has_it) in [
            ("https://hooks.example.com/", true),
            ("https://hooks.example.com/services/", true),
            ("https://hooks.example.com", false),
            ("https://hooks.example.com:80", false),
            ("https://", false),
            ("hooks.example.com/", false),
            ("https:/hooks", false),
        ] {
            assert_eq!(has_host(url), has_it, "{url}");
        }
    }

    #[test]
    fn what_nobody_could_check_is_not_signed() {
        for (secret, headers, why) in [
            (&b""[..], id(), "anybody could sign"),
            (b"whsec_", id(), "anybody could sign"),
            (b"whsec_!", id(), "no base64"),
            (b"key", Vec::new(), "needs a header `webhook-id`"),
        ] {
            let Err(Error::Invalid(message)) = sign(secret, &headers, b"", NOW) else { panic!("{why}") };
            assert!(message.contains(why), "{message}");
        }
    }

    #[test]
    fn a_secret_in_a_url_leads_nowhere_else() {
        assert_eq!(rest_of_url(b"T000/B000/x-Y_z").unwrap(), "T000/B000/x-Y_z");
        for wrong in
            ["", "@example.com", "a?b", "a#b", "a%2f", "../x", "a/./b", "a b", "a\\b", "a:b", "\u{e9}"]
        {
            assert!(rest_of_url(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn options_are_places_of_secrets_each_once() {
        let read = |options: &[(&str, &str)]| {
            let options: Vec<_> =
                options.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
            Options::read(&options).map(|read| (read.sign_with, read.url_secret))
        };
        assert!(matches!(read(&[("sign-with", "1"), ("url-secret", "0")]), Ok((Some(1), Some(0)))));
        for wrong in [&[("sign-with", "x")][..], &[("sign-with", "1"), ("sign-with", "1")], &[("other", "1")]]
        {
            assert!(matches!(read(wrong), Err(Error::Invalid(_))), "{wrong:?}");
        }
    }
}
