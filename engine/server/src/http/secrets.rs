//! `/api/v1/secrets`: values come in and never go out.

use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, Path, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Json, Response};
use serde::de::DeserializeOwned;
use yuanli_api_types::{List, Secret, SecretValue, SecretsKey, SecretsSealed};
use yuanli_model::SecretName;
use yuanli_ports::secrets::SecretValue as Value;
use yuanli_vault::{InvalidScope, Kept, KeyPlace, Passphrase, Scope, VaultError};

use super::{Answer, Engine};
use crate::body::rfc3339;
use crate::refusal::Refusal;
use crate::secret::key_place;

/// A body with a secret in it: what is wrong with one is told without repeating what it says.
pub(super) struct Concealed<T>(T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Concealed<T> {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        match Json::from_request(request, state).await {
            Ok(Json(body)) => Ok(Self(body)),
            Err(JsonRejection::JsonDataError(_)) => Err(Refusal::Invalid(
                "the body is JSON, and not what is asked for here (`/api/openapi.json`); it is not repeated, as a secret is in it"
                    .to_owned(),
            )
            .into_response()),
            Err(refused) => Err(refused.into_response()),
        }
    }
}

pub(super) async fn list(State(shared): Engine) -> Answer<Json<List<Secret>>> {
    let items = shared.secrets()?.list().map_err(refusal)?.into_iter().map(body).collect();
    Ok(Json(List { items, next: None }))
}

fn body(Kept { name, workflows, changed }: Kept) -> Secret {
    Secret {
        name: name.to_string(),
        workflows: workflows.iter().map(ToString::to_string).collect(),
        changed_at: rfc3339(changed),
    }
}

pub(super) async fn set(
    State(shared): Engine,
    Path(name): Path<String>,
    Concealed(secret): Concealed<SecretValue>,
) -> Answer<StatusCode> {
    let name = parse(&name)?;
    let scopes = secret.workflows.iter().map(|scope| scope.parse());
    let scopes = scopes.collect::<Result<Vec<Scope>, InvalidScope>>();
    let scopes = scopes.map_err(|error| Refusal::Invalid(error.to_string()))?;
    let value = Value::new(&name, secret.value.into_bytes());
    let value = value.map_err(|error| Refusal::Invalid(error.to_string()))?;
    let (vault, now) = (shared.secrets()?.clone(), shared.clock.now());
    // The first one makes a key, and each is synced.
    let kept = tokio::task::spawn_blocking(move || vault.set(&name, &value, scopes, now)).await;
    kept.map_err(anyhow::Error::from)?.map_err(refusal)?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn delete(State(shared): Engine, Path(name): Path<String>) -> Answer<StatusCode> {
    if !shared.secrets()?.delete(&parse(&name)?).map_err(refusal)? {
        return Err(Refusal::NotFound(format!("there is no secret `{name}`")));
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Seals all of them by a new key.
pub(super) async fn rotate(
    State(shared): Engine,
    Concealed(SecretsKey { passphrase }): Concealed<SecretsKey>,
) -> Answer<Json<SecretsSealed>> {
    let place = match passphrase {
        Some(passphrase) => KeyPlace::Passphrase(Passphrase::new(passphrase.into_bytes())),
        None => match key_place(shared.engine.data())? {
            place @ KeyPlace::File(_) => place,
            KeyPlace::Passphrase(_) => {
                return Err(Refusal::Invalid(
                    "the engine has its key from a passphrase: give the new one".to_owned(),
                ));
            }
        },
    };
    let vault = shared.secrets()?.clone();
    // Making a key of a passphrase takes a tenth of a second, on purpose.
    let rotated = tokio::task::spawn_blocking(move || vault.rotate(place)).await;
    let sealed = rotated.map_err(anyhow::Error::from)?.map_err(refusal)?;
    Ok(Json(SecretsSealed { sealed }))
}

fn refusal(error: VaultError) -> Refusal {
    match error {
        VaultError::WrongKey(why) => Refusal::Invalid(why),
        error => Refusal::Internal(error.into()),
    }
}

fn parse(name: &str) -> Result<SecretName, Refusal> {
    name.parse().map_err(|error: yuanli_model::id::InvalidId| Refusal::Invalid(error.to_string()))
}
