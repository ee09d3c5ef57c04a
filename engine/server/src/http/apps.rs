//! `/api/v1/apps`.

use std::time::Duration;

use axum::extract::{Extension, Path, State};
use axum::http::StatusCode;
use axum::http::header::HeaderMap;
use axum::response::Json;
use serde_json::Value;
use yuanli_api_types as api;
use yuanli_model::AppName;
use yuanli_ports::Apps as _;
use yuanli_ports::apps::{AppError, Asker};

use super::gate::About;
use super::{Answer, Engine};
use crate::app_body as body;
use crate::refusal::Refusal;
use crate::service::Shared;

/// How long the replicas of a deleted app may take to end before the request returns.
const DELETE: Duration = Duration::from_secs(60);

pub(super) async fn list(State(shared): Engine) -> Answer<Json<api::List<api::AppSummary>>> {
    let view = shared.apps()?.view();
    let items = view.apps.values().map(|app| body::app_summary(app)).collect();
    Ok(Json(api::List { items, next: None }))
}

pub(super) async fn show(State(shared): Engine, Path(name): Path<String>) -> Answer<Json<api::App>> {
    let app = shared.apps()?.app(&parse(&name)?)?;
    Ok(Json(body::app(&app)))
}

pub(super) async fn why(State(shared): Engine, Path(name): Path<String>) -> Answer<Json<api::Why>> {
    let app = shared.apps()?.app(&parse(&name)?)?;
    Ok(Json(body::why(&app)))
}

/// Declares an app, or says what that would change.
pub(super) async fn apply(
    State(shared): Engine,
    headers: HeaderMap,
    Json(document): Json<api::AppDocument>,
) -> Answer<(Extension<About>, Json<api::AppChange>)> {
    let (app, diagnostics) = yuanli_lang::compile_app(&document.text);
    let Some(app) = app else {
        return Err(Refusal::App { file: document.file, text: document.text, diagnostics });
    };
    let before = shared.apps()?.app(&app.name).ok().filter(|before| !before.is_deleted);
    let was = before.as_ref().map_or(Value::Null, |before| yuanli_lang::app_to_json(&before.status.app));
    let mut changes = body::changes(&was, &yuanli_lang::app_to_json(&app));
    match shared.apps()?.foresee(&app).await {
        Ok(foreseen) => changes.extend(body::moved_image(foreseen)),
        // What would be refused is refused before anybody is told what it would change.
        Err(error) if document.dry_run => return Err(error.into()),
        // Whoever asks again with the same key gets the same answer, whatever happens now.
        Err(_) => {}
    }
    let mut change = api::AppChange {
        app: app.name.to_string(),
        is_new: before.is_none(),
        changes,
        release: None,
        previous: None,
    };
    if !document.dry_run {
        let deployed = shared.apps()?.deploy(&asker(&shared, &headers), app).await?;
        change.release = Some(deployed.release.0);
        change.previous = deployed.previous.map(|number| number.0);
    }
    let did = if document.dry_run { "looked at" } else { "applied" };
    Ok((Extension(About(format!("{did} app {}", change.app))), Json(change)))
}

pub(super) async fn delete(State(shared): Engine, Path(name): Path<String>) -> Answer<StatusCode> {
    let name = parse(&name)?;
    shared.apps()?.delete(&name).await?;
    match shared.apps()?.wait_gone(&name, DELETE).await {
        Ok(()) => Ok(StatusCode::NO_CONTENT),
        // It goes on.
        Err(AppError::Unavailable(_)) => Ok(StatusCode::ACCEPTED),
        Err(error) => Err(error.into()),
    }
}

/// Whoever asks again with the same key gets the same answer.
fn asker(shared: &Shared, headers: &HeaderMap) -> Asker {
    let key = headers.get("idempotency-key").and_then(|value| value.to_str().ok());
    Asker(key.map_or_else(|| format!("request {}", shared.clock.new_run_id()), |key| format!("key {key}")))
}

fn parse(name: &str) -> Result<AppName, Refusal> {
    name.parse().map_err(|_| Refusal::NotFound(format!("there is no app `{name}`")))
}
