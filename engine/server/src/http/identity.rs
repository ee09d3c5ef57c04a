//! `/api/v1/identity`, `/api/v1/tokens`.

use std::time::Duration;

use axum::extract::{Extension, Path, State};
use axum::http::StatusCode;
use axum::response::Json;
use yuanli_api_types as api;

use super::gate::About;
use super::{Answer, Asks, Engine};
use crate::identity::Token;

/// Who asks.
pub(super) async fn show(Extension(caller): Asks) -> Json<api::Identity> {
    Json(caller.body())
}

pub(super) async fn list(State(shared): Engine) -> Json<api::List<api::Token>> {
    Json(api::List { items: shared.tokens.list().iter().map(Token::body).collect(), next: None })
}

pub(super) async fn create(
    State(shared): Engine,
    Extension(caller): Asks,
    Json(request): Json<api::TokenRequest>,
) -> Answer<(StatusCode, Extension<About>, Json<api::TokenMade>)> {
    let (token, secret) = shared.tokens.create(request, &caller.name, shared.clock.now()).await?;
    let token = token.body();
    let about = Extension(About(format!("token {}, {}", token.name, token.role.name())));
    Ok((StatusCode::CREATED, about, Json(api::TokenMade { secret, token })))
}

pub(super) async fn rotate(
    State(shared): Engine,
    Path(name): Path<String>,
    Json(rotation): Json<api::TokenRotation>,
) -> Answer<Json<api::TokenMade>> {
    let grace = Duration::from_secs(rotation.grace_seconds);
    let (token, secret) = shared.tokens.rotate(&name, grace, shared.clock.now()).await?;
    Ok(Json(api::TokenMade { secret, token: token.body() }))
}

pub(super) async fn revoke(State(shared): Engine, Path(name): Path<String>) -> Answer<StatusCode> {
    shared.tokens.revoke(&name).await?;
    Ok(StatusCode::NO_CONTENT)
}
