//! What plugins keep: `/api/v1/runs/RUN/artifacts`, `/api/v1/runs/RUN/emitted`, `/api/v1/state`.

use std::ops::Range;

use axum::body::Body;
use axum::extract::{Extension, Path, Query, State};
use axum::http::header::{
    ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_NONE_MATCH,
    IF_RANGE, RANGE, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Json, Response};
use serde::Deserialize;
use yuanli_api_types as api;

use super::gate::of_caller;
use super::table::WEAK;
use super::{Answer, Asks, Engine, OfRun};
use crate::records::WantedArtifact;
use crate::refusal::Refusal;

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
    headers: HeaderMap,
    Query(wanted): Query<Wanted>,
) -> Answer<Response> {
    let Wanted { name, stage, instance, attempt } = wanted;
    let wanted = WantedArtifact { name, stage, instance, attempt };
    let mut content = shared.engine.artifact(run, &wanted).await?.map_err(Refusal::NotFound)?;
    let artifact = content.artifact.clone();
    let tag = format!("\"{}\"", artifact.digest);
    let told = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let is_it = |own: &str| own.trim().trim_start_matches(WEAK) == tag;
    if told(IF_NONE_MATCH).is_some_and(|tags| tags == "*" || tags.split(',').any(is_it)) {
        return Ok((StatusCode::NOT_MODIFIED, [(ETAG, tag)]).into_response());
    }
    let size = artifact.size_bytes;
    // Whoever has another one gets this one whole.
    let range = told(RANGE).filter(|_| told(IF_RANGE).is_none_or(|own| own == tag));
    let range = range.and_then(|range| bytes_of(range, size));
    let (status, bytes) = match range {
        None => (StatusCode::OK, 0..size),
        Some(Ok(bytes)) => (StatusCode::PARTIAL_CONTENT, bytes),
        Some(Err(())) => {
            let whole = [(CONTENT_RANGE, format!("bytes */{size}"))];
            let refused = Refusal::NotSatisfiable(format!("the artifact has {size} bytes")).into_response();
            return Ok((whole, refused).into_response());
        }
    };
    content.narrow(bytes.clone());
    let parts = futures::stream::try_unfold(content, |mut content| async move {
        let next = content.next().await.map_err(|error| std::io::Error::other(format!("{error:#}")))?;
        Ok::<_, std::io::Error>(next.map(|bytes| (bytes, content)))
    });
    let mut response = (status, [(ETAG, tag)], Body::from_stream(parts)).into_response();
    let headers = response.headers_mut();
    if let Ok(kind) = HeaderValue::from_str(&artifact.media_type) {
        headers.insert(CONTENT_TYPE, kind);
    }
    headers.insert(CONTENT_LENGTH, HeaderValue::from(bytes.end - bytes.start));
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if status == StatusCode::PARTIAL_CONTENT {
        let range = format!("bytes {}-{}/{size}", bytes.start, bytes.end - 1);
        headers.extend(HeaderValue::try_from(range).ok().map(|range| (CONTENT_RANGE, range)));
    }
    Ok(response)
}

/// The bytes that a range means: one that cannot be had is an error, one that is none or several is passed over, as the
/// standard allows.
fn bytes_of(range: &str, size: u64) -> Option<Result<Range<u64>, ()>> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let number = |text: &str| text.trim().parse::<u64>().ok();
    let bytes = match (first.trim(), last.trim()) {
        ("", last) => size.saturating_sub(number(last)?)..size,
        (first, "") => number(first)?..size,
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            if last < first {
                return None;
            }
            first..last.saturating_add(1).min(size)
        }
    };
    Some(if bytes.start < bytes.end { Ok(bytes) } else { Err(()) })
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

pub(super) async fn cached(
    State(shared): Engine,
    Extension(caller): Asks,
) -> Answer<Json<api::List<api::CachedStages>>> {
    let mut items = shared.engine.cached().await?;
    items.retain(|cached| of_caller(&caller, &cached.workflow).is_ok());
    Ok(Json(api::List { items, next: None }))
}

pub(super) async fn foresee(
    State(shared): Engine,
    Path(workflow): Path<String>,
    Json(question): Json<api::CacheQuestion>,
) -> Answer<Json<api::List<api::CacheOutlook>>> {
    let items = shared.engine.foresee(&workflow, question).await?.map_err(Refusal::Invalid)?;
    Ok(Json(api::List { items, next: None }))
}

pub(super) async fn clear_cache(
    State(shared): Engine,
    Path(workflow): Path<String>,
) -> Answer<Json<api::CacheCleared>> {
    Ok(Json(shared.engine.clear_cache(&workflow).await?.map_err(Refusal::Invalid)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_the_standard_has_them() {
        for (range, bytes) in [
            ("bytes=0-0", Some(Ok(0..1))),
            ("bytes=2-", Some(Ok(2..10))),
            ("bytes=-3", Some(Ok(7..10))),
            ("bytes=-99", Some(Ok(0..10))),
            ("bytes=8-99", Some(Ok(8..10))),
            ("bytes=10-", Some(Err(()))),
            ("bytes=-0", Some(Err(()))),
            ("bytes=3-2", None),
            ("bytes=0-1,4-5", None),
            ("lines=0-1", None),
            ("bytes=a-b", None),
        ] {
            assert_eq!(bytes_of(range, 10), bytes, "{range}");
        }
    }
}
