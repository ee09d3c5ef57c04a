//! What plugins keep: `/api/v1/runs/RUN/artifacts`, `/api/v1/runs/RUN/emitted`, `/api/v1/state`.

use axum::body::Body;
use axum::extract::{Extension, Path, Query, State};
use axum::http::HeaderValue;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::response::{IntoResponse, Json, Response};
use serde::Deserialize;
use yuanli_api_types as api;

use super::gate::of_caller;
use super::{Answer, Asks, Engine, OfRun};
use crate::records::WantedArtifact;
use crate::service::Refusal;

#[derive(Deserialize)]
pub(super) struct Wanted {
    name: String,
    stage: Option<String>,
    instance: Option<u32>,
    attempt: Option<u32>,
}

pub(super) async fn artifacts(
    State(shared): Engine,
    Extension(run): OfRun,
) -> Answer<Json<api::List<api::Artifact>>> {
    Ok(Json(api::List { items: shared.engine.artifacts(run).await?, next: None }))
}

/// The content of an artifact. A plugin said what it is: no browser is to make a page of it.
pub(super) async fn artifact(
    State(shared): Engine,
    Extension(run): OfRun,
    Query(wanted): Query<Wanted>,
) -> Answer<Response> {
    let Wanted { name, stage, instance, attempt } = wanted;
    let wanted = WantedArtifact { name, stage, instance, attempt };
    let content = shared.engine.artifact(run, &wanted).await?.map_err(Refusal::NotFound)?;
    let artifact = content.artifact.clone();
    let parts = futures::stream::try_unfold(content, |mut content| async move {
        let next = content.next().await.map_err(|error| std::io::Error::other(format!("{error:#}")))?;
        Ok::<_, std::io::Error>(next.map(|bytes| (bytes, content)))
    });
    let mut response = Body::from_stream(parts).into_response();
    let headers = response.headers_mut();
    if let Ok(kind) = HeaderValue::from_str(&artifact.media_type) {
        headers.insert(CONTENT_TYPE, kind);
    }
    headers.insert(CONTENT_LENGTH, HeaderValue::from(artifact.size_bytes));
    headers.insert(CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    Ok(response)
}

pub(super) async fn emitted(
    State(shared): Engine,
    Extension(run): OfRun,
) -> Answer<Json<api::List<api::Emitted>>> {
    Ok(Json(api::List { items: shared.engine.emitted(run).await?, next: None }))
}

pub(super) async fn owners(
    State(shared): Engine,
    Extension(caller): Asks,
) -> Answer<Json<api::List<api::StateOwner>>> {
    let mut items = shared.engine.state_owners().await?;
    items.retain(|owner| of_caller(&caller, &owner.workflow).is_ok());
    Ok(Json(api::List { items, next: None }))
}

pub(super) async fn values(
    State(shared): Engine,
    Path((workflow, plugin)): Path<(String, String)>,
) -> Answer<Json<api::List<api::StateValue>>> {
    let items = shared.engine.state_values(&workflow, &plugin).await?.map_err(Refusal::Invalid)?;
    Ok(Json(api::List { items, next: None }))
}

pub(super) async fn clear(
    State(shared): Engine,
    Path((workflow, plugin)): Path<(String, String)>,
) -> Answer<Json<api::StateCleared>> {
    Ok(Json(shared.engine.clear_state(&workflow, &plugin).await?.map_err(Refusal::Invalid)?))
}
