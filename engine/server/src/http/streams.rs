//! What happens in a run, as it happens: `/api/v1/runs/RUN/events`, `…/logs` and `…/updates` (both together), as server-sent
//! events for whoever accepts those. Each has an id, from which a broken stream goes on without a gap and without a double.
//!
//! What is sent is read when the connection takes more, so nobody is held up by who reads slowly, and nothing piles up.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Extension, Query, State};
use axum::http::header::ACCEPT;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Json, Response};
use serde::Deserialize;
use yuanli_api_types as api;
use yuanli_executor::Position;

use super::runs::{self, OfStage};
use super::{Answer, Engine, OfRun};
use crate::engine::Updates;
use crate::refusal::Refusal;
use crate::service::Shared;

/// How often something is sent where nothing happens, so that who stands in between sees that the connection is used.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
const MAX_PAGE: usize = 1_000;

/// What of a run is told.
#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    Events,
    /// Of one stage, or of all.
    Lines(Option<String>),
    Both,
}

/// A part of the events of a run.
#[derive(Deserialize)]
pub(super) struct Page {
    /// The number of the last event that is known.
    after: Option<u32>,
    limit: Option<usize>,
}

pub(super) async fn events(
    State(shared): Engine,
    Extension(run): OfRun,
    headers: HeaderMap,
    Query(page): Query<Page>,
) -> Answer<Response> {
    if wants_stream(&headers) {
        return stream(shared, run, &headers, What::Events).await;
    }
    let first = page.after.map_or(0, |after| after.saturating_add(1));
    let limit = page.limit.unwrap_or(MAX_PAGE).clamp(1, MAX_PAGE);
    let (items, is_last) = shared.engine.events(run, first, limit).await?;
    let next = items.last().filter(|_| !is_last).map(|last| last.number.to_string());
    Ok(Json(api::List { items, next }).into_response())
}

pub(super) async fn logs(
    State(shared): Engine,
    Extension(run): OfRun,
    headers: HeaderMap,
    Query(of): Query<OfStage>,
) -> Answer<Response> {
    if wants_stream(&headers) {
        return stream(shared, run, &headers, What::Lines(of.stage)).await;
    }
    Ok(runs::logs(shared, run, of))
}

pub(super) async fn updates(
    State(shared): Engine,
    Extension(run): OfRun,
    headers: HeaderMap,
) -> Answer<Response> {
    if wants_stream(&headers) {
        return stream(shared, run, &headers, What::Both).await;
    }
    Ok(runs::updates(shared, run))
}

fn wants_stream(headers: &HeaderMap) -> bool {
    let accepts = |value: &HeaderValue| value.to_str().is_ok_and(|value| value.contains("text/event-stream"));
    headers.get_all(ACCEPT).iter().any(accepts)
}

/// Tells from behind `Last-Event-ID` on. Whoever has been told the end is told that there is no more, and comes no more.
async fn stream(
    shared: Arc<Shared>,
    run: yuanli_model::RunId,
    headers: &HeaderMap,
    what: What,
) -> Answer<Response> {
    let position = match headers.get("last-event-id") {
        Some(id) => {
            let id = String::from_utf8_lossy(id.as_bytes());
            id.parse::<Position>().map_err(|error| Refusal::Invalid(error.to_string()))?
        }
        None => Position::default(),
    };
    let mut updates = shared.engine.follow_from(run, position, what != What::Events);
    if updates.restore().await.map_err(refusal)? {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let following = shared.figures.follow();
    let told = futures::stream::unfold(Some((updates, shared, what, following)), |told| async move {
        let (mut updates, shared, what, following) = told?;
        let next = tokio::select! {
            () = shared.stop.cancelled() => return None,
            next = next(&mut updates, &what) => next,
        };
        match next {
            Ok(Some(event)) => Some((Ok::<_, Infallible>(event), Some((updates, shared, what, following)))),
            Ok(None) => Some((Ok(end(&updates)), None)),
            Err(error) => {
                tracing::debug!(error = format!("{error:#}"), "a follower is let go");
                None
            }
        }
    });
    let mut response = Sse::new(told).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response();
    // Proxies of this family would gather what is sent.
    let is_unbuffered = (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    response.headers_mut().extend([is_unbuffered]);
    Ok(response)
}

/// The next thing that is wanted; `None` after the end.
async fn next(updates: &mut Updates, what: &What) -> anyhow::Result<Option<Event>> {
    loop {
        let Some(update) = updates.next().await? else { return Ok(None) };
        let event = Event::default().id(updates.position().to_string());
        let event = match (&update, what) {
            (api::Update::Event(told), What::Events) => event.event("event").json_data(told),
            (api::Update::Log(line), What::Lines(stage))
                if stage.as_ref().is_none_or(|s| *s == line.stage) =>
            {
                event.event("log").json_data(line)
            }
            (api::Update::Event(_), What::Both) => event.event("event").json_data(&update),
            (api::Update::Log(_), What::Both) => event.event("log").json_data(&update),
            (api::Update::Event(_), What::Lines(_))
            | (api::Update::Log(_), What::Events | What::Lines(_)) => {
                continue;
            }
        };
        return Ok(Some(event?));
    }
}

/// Says that there will be no more.
fn end(updates: &Updates) -> Event {
    Event::default().id(updates.position().to_string()).event("end").data("{}")
}

fn refusal(error: yuanli_executor::Error) -> Refusal {
    match error {
        yuanli_executor::Error::Position(error) => Refusal::Invalid(error.to_string()),
        error => Refusal::Internal(error.into()),
    }
}
