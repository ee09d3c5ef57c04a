//! `/api/v1/workflows`.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Json;
use yuanli_api_types as api;

use super::{Answer, Engine};
use crate::body::rfc3339;
use crate::kept::Kept;
use crate::service::{Refusal, Shared};

pub(super) async fn list(State(shared): Engine) -> Json<api::List<api::Workflow>> {
    let items = shared.registry.list().iter().map(|kept| body(&shared, kept)).collect();
    Json(api::List { items, next: None })
}

pub(super) async fn show(State(shared): Engine, Path(name): Path<String>) -> Answer<Json<api::Workflow>> {
    let kept = shared.find(&name)?;
    Ok(Json(api::Workflow { text: Some(kept.text.clone()), ..body(&shared, &kept) }))
}

pub(super) async fn apply(
    State(shared): Engine,
    Json(document): Json<api::WorkflowDocument>,
) -> Answer<Json<api::Workflow>> {
    let kept = shared.apply(document).await?;
    Ok(Json(body(&shared, &kept)))
}

pub(super) async fn delete(State(shared): Engine, Path(name): Path<String>) -> Answer<StatusCode> {
    let kept = shared.find(&name)?;
    if !shared.registry.delete(&kept.name).await? {
        return Err(Refusal::NotFound(format!("there is no workflow `{name}`")));
    }
    Ok(StatusCode::NO_CONTENT)
}

fn body(shared: &Shared, kept: &Kept) -> api::Workflow {
    let schedule = |schedule: &yuanli_model::Schedule| api::Schedule {
        cron: schedule.cron.clone(),
        timezone: schedule.timezone.clone(),
        next_at: shared.next_of(schedule).map(rfc3339),
    };
    api::Workflow {
        name: kept.name.to_string(),
        version: kept.version().to_string(),
        applied_at: rfc3339(kept.applied),
        folder: kept.origin.folder.display().to_string(),
        schedules: kept.schedules.iter().map(schedule).collect(),
        webhook: kept.secret.as_ref().map(|_| format!("/hooks/{}", kept.name)),
        text: None,
    }
}
