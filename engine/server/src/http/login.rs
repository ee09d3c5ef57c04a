//! `/api/v1/login`, and where a browser comes back to: people log in by a provider of OpenID Connect.

use axum::extract::{Extension, Query, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY};
use axum::http::{StatusCode, Uri};
use axum::response::{Html, IntoResponse as _, Json, Response};
use serde::Deserialize;
use yuanli_api_types as api;

use super::gate::{About, Peer};
use super::{Answer, Asks, Engine};
use crate::audit::{Entry, Signed};
use crate::login::{Back, Come, Logins, Refused};
use crate::refusal::Refusal;
use crate::service::Shared;

#[derive(Deserialize)]
pub(super) struct Begin {
    challenge: String,
    port: Option<u16>,
}

fn logins(shared: &Shared) -> Result<&Logins, Refusal> {
    shared.logins.as_ref().ok_or_else(|| {
        Refusal::NotFound(
            "nobody logs in here: `serve: oidc:` of the configuration names no provider".to_owned(),
        )
    })
}

/// Says where a browser is to go. Nothing is kept of it.
pub(super) async fn begin(
    State(shared): Engine,
    Query(begin): Query<Begin>,
) -> Answer<Json<api::LoginBegun>> {
    Ok(Json(logins(&shared)?.begin(&begin.challenge, begin.port).await?))
}

/// A browser that comes back from the provider. It goes on by itself to nobody who waits: whoever began the login chose where that
/// is, so the person looks whether it was they.
pub(super) async fn callback(
    State(shared): Engine,
    Extension(peer): Extension<Peer>,
    Query(back): Query<Back>,
    uri: Uri,
) -> Response {
    let come = match logins(&shared) {
        Ok(logins) => logins.come(back).await,
        Err(refusal) => Err(refusal.into()),
    };
    let come = match come {
        Ok(come) => come,
        Err(Refused { person, refusal }) => {
            let told = refusal.told();
            let status = refusal.into_response().status();
            if let Some(by) = person {
                note_refused(&shared, by, peer, &uri, status).await;
            }
            return page(status, "Not logged in", &escaped(&told));
        }
    };
    page(StatusCode::OK, "Is this login yours?", &asked(&come))
}

/// What a person is asked who has come back, as HTML.
fn asked(come: &Come) -> String {
    let Come { code, port, phrase, person, rights } = come;
    let then = match port {
        Some(port) => format!(
            "<p><a href=\"http://127.0.0.1:{port}/?code={}\">It shows the same: let it in</a></p>",
            escaped(code)
        ),
        None => format!("<p>If it shows the same, type this code there: <code>{}</code></p>", escaped(code)),
    };
    format!(
        "You are <b>{}</b>. A command asks to be let in by your name, as <b>{}</b>. It says that it shows</p>\
         <p><strong>{}</strong></p>{then}\
         <p>If you did not run <code>yuanli login</code> just now, or it shows something else, somebody else asks: \
         close this window, and nobody is let in. Nobody but your own terminal is to be given what stands here.",
        escaped(person),
        escaped(rights),
        escaped(phrase),
    )
}

/// Somebody whom the provider knows was let in nowhere.
async fn note_refused(shared: &Shared, by: String, peer: Peer, uri: &Uri, status: StatusCode) {
    let (at_ms, path) = (shared.clock.now().as_millis(), uri.path().to_owned());
    let entry = Entry {
        at_ms,
        by,
        from: peer.in_words(),
        method: "GET".to_owned(),
        path,
        about: None,
        status: 0,
        place: None,
    };
    shared.audit.begin(entry).answered(status.as_u16(), Some("login".to_owned())).await;
}

/// Gives whoever began a login its token.
pub(super) async fn redeem(
    State(shared): Engine,
    Extension(signed): Extension<Signed>,
    Json(request): Json<api::LoginRequest>,
) -> Answer<(StatusCode, Extension<About>, Json<api::TokenMade>)> {
    let granted = logins(&shared)?.redeem(&request)?;
    // From here on it is in the audit log, also if the client goes away.
    signed.set_by(granted.person.clone());
    signed.set("login".to_owned());
    let about = format!("login of subject {}", granted.subject);
    let (token, secret) = shared.tokens.log_in(granted, shared.clock.now()).await?;
    let token = token.body();
    let about = Extension(About(format!("{about} as {}, {}", token.name, token.role.name())));
    Ok((StatusCode::CREATED, about, Json(api::TokenMade { secret, token })))
}

/// Ends the login that the caller has come with.
pub(super) async fn end(State(shared): Engine, Extension(caller): Asks) -> Answer<StatusCode> {
    let Some(login) = caller.login else {
        return Err(Refusal::Conflict(
            "this is no login, and does not end: `yuanli token revoke`".to_owned(),
        ));
    };
    shared.tokens.revoke(&login).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A page for a person; `told` is HTML.
fn page(status: StatusCode, title: &str, told: &str) -> Response {
    let page =
        format!("<!doctype html><meta charset=utf-8><title>{title}</title><h1>{title}</h1><p>{told}</p>\n");
    plain((status, Html(page)).into_response())
}

/// Nobody keeps it, nothing in it runs, and where it was is told to nobody.
fn plain(mut answer: Response) -> Response {
    let policy = [
        (CACHE_CONTROL, "no-store"),
        (CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'; base-uri 'none'"),
        (REFERRER_POLICY, "no-referrer"),
    ];
    for (name, value) in policy {
        answer.headers_mut().insert(name, axum::http::HeaderValue::from_static(value));
    }
    answer
}

fn escaped(text: &str) -> String {
    let one = |c: char| match c {
        '&' => "&amp;".to_owned(),
        '<' => "&lt;".to_owned(),
        '>' => "&gt;".to_owned(),
        '"' => "&quot;".to_owned(),
        '\'' => "&#39;".to_owned(),
        c => c.to_string(),
    };
    text.chars().map(one).collect()
}
