//! `yuanli:http`: requests, with the secrets of their headers put in.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::FutureExt;
use wasmtime::component::{Linker, Resource};
use yuanli_bindings::http::{Error, HeaderValue, Part, Request, Response};
use yuanli_bindings::secrets::Secret;
use yuanli_ports::http::{Header, HttpError, HttpRequest, HttpResponse};

use crate::call::{Answer, Function, Interface};
use crate::guest::{Guest, State};
use crate::mask::{Edges, Mask};

/// Most redirects of a request, as the contract says: more are a circle.
const MAX_REDIRECTS: u32 = 10;

/// The header by which a server knows a request that it has had already.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// Largest body of a request or a response, in bytes, as the contract says: it is in the guest's memory and in ours.
const MAX_BODY_BYTES: usize = 16 * 1024 * 1024;

pub(super) fn link(linker: &mut Linker<Guest>, declared: &mut Vec<Function>) -> wasmtime::Result<()> {
    Interface::open(linker, "yuanli:http/http@0.1.0", declared)?.effect_once("send", may_repeat, send)?;
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
    if let Some((key, _)) = request.options.first() {
        return Err(Error::Invalid(format!("this engine knows no request option `{key}`")));
    }
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
    let asked = request.timeout_ms.map_or(Duration::MAX, Duration::from_millis);
    let max_body_bytes = request.max_body_bytes.map_or(MAX_BODY_BYTES, |bytes| bytes as usize);
    Ok(HttpRequest {
        method: request.method,
        url: request.url,
        headers: headers.collect::<Result<_, Error>>()?,
        body: request.body,
        timeout: asked.min(state.rest()),
        max_redirects,
        max_body_bytes: max_body_bytes.min(MAX_BODY_BYTES),
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
