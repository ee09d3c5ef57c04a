//! `/api/v1/secrets`: values come in and never go out.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Json;
use yuanli_api_types::{List, SecretValue};
use yuanli_model::SecretName;
use yuanli_ports::secrets::MAX_SECRET_BYTES;

use super::{Answer, Engine};
use crate::service::Refusal;

pub(super) async fn list(State(shared): Engine) -> Answer<Json<List<String>>> {
    let items = shared.secrets.names().map_err(anyhow::Error::from)?;
    Ok(Json(List { items, next: None }))
}

pub(super) async fn set(
    State(shared): Engine,
    Path(name): Path<String>,
    Json(secret): Json<SecretValue>,
) -> Answer<StatusCode> {
    if secret.value.is_empty() {
        return Err(Refusal::Invalid("the secret is empty".to_owned()));
    }
    if secret.value.len() > MAX_SECRET_BYTES {
        return Err(Refusal::Invalid(format!("a secret has at most {MAX_SECRET_BYTES} bytes")));
    }
    shared.secrets.set(&parse(&name)?, &secret.value).map_err(anyhow::Error::from)?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn delete(State(shared): Engine, Path(name): Path<String>) -> Answer<StatusCode> {
    if !shared.secrets.delete(&parse(&name)?).map_err(anyhow::Error::from)? {
        return Err(Refusal::NotFound(format!("there is no secret `{name}`")));
    }
    Ok(StatusCode::NO_CONTENT)
}

fn parse(name: &str) -> Result<SecretName, Refusal> {
    name.parse().map_err(|error: yuanli_model::id::InvalidId| Refusal::Invalid(error.to_string()))
}
