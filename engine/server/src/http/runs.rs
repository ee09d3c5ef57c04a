//! `/api/v1/runs`.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Extension, Path, Query, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, HeaderMap};
use axum::response::{IntoResponse, Json, Response};
use serde::Deserialize;
use yuanli_api_types as api;
use yuanli_executor::{Error, Started, Summary};
use yuanli_model::RunId;
use yuanli_model::id::InvalidId;

use super::gate::{About, of_caller};
use super::{Answer, Asks, Engine, OfRun};
use crate::engine::Updates;
use crate::manner::{RunFilter, label_of};
use crate::refusal::Refusal;
use crate::service::Shared;

/// One JSON text for each line.
const JSON_LINES: &str = "application/x-ndjson";
const MAX_PAGE: usize = 1_000;
const PAGE: usize = 20;
/// Longest key of a request: it is a part of a key of the store.
const MAX_KEY_BYTES: usize = 255;

#[derive(Deserialize)]
pub(super) struct Page {
    after: Option<String>,
    limit: Option<usize>,
    /// Only those of this workflow.
    workflow: Option<String>,
    /// Only those that stand so.
    status: Option<api::RunStatus>,
}

#[derive(Deserialize)]
pub(super) struct OfStage {
    pub(super) stage: Option<String>,
}

pub(super) async fn list(
    State(shared): Engine,
    Extension(caller): Asks,
    Query(page): Query<Page>,
    Query(all): Query<Vec<(String, String)>>,
) -> Answer<Json<api::List<api::RunSummary>>> {
    let limit = page.limit.unwrap_or(PAGE).clamp(1, MAX_PAGE);
    if let Some(Err(error)) = page.after.as_deref().map(str::parse::<RunId>) {
        return Err(Refusal::Invalid(format!("the cursor `after`: {error}")));
    }
    let labels = all.iter().filter(|(name, _)| name == "label").map(|(_, label)| label_of(label));
    let labels = labels.collect::<Result<_, _>>().map_err(Refusal::Invalid)?;
    let filter = RunFilter { workflow: page.workflow, status: page.status, labels };
    let is_meant = |run: &Summary| caller.has(&run.workflow) && filter.has(run);
    Ok(Json(shared.engine.list_among(page.after.as_deref(), limit, is_meant).await?))
}

pub(super) async fn start(
    State(shared): Engine,
    Extension(caller): Asks,
    headers: HeaderMap,
    Json(request): Json<api::RunRequest>,
) -> Answer<(StatusCode, Extension<About>, Json<api::RunStarted>)> {
    of_caller(&caller, &request.workflow)?;
    let (all, key) = (Arc::clone(&shared), key_of(&headers)?.map(str::to_owned));
    let workflow = request.workflow.clone();
    let work = async move { all.start_by_name(request, key.as_deref()).await };
    let begun = to_its_end(&shared, work).await?;
    Ok(started(begun, format!("workflow {workflow}, run {}", begun.run)))
}

/// What a request is known by when it is made again.
fn key_of(headers: &HeaderMap) -> Answer<Option<&str>> {
    let key = headers.get("idempotency-key").map(|value| value.to_str().unwrap_or_default());
    if key.is_some_and(|key| key.is_empty() || key.len() > MAX_KEY_BYTES) {
        return Err(Refusal::Invalid(format!(
            "`Idempotency-Key` has to be 1 to {MAX_KEY_BYTES} visible characters of ASCII"
        )));
    }
    Ok(key)
}

/// Does something to its end, also if whoever asked for it hangs up meanwhile: a run that is durable has an owner.
pub(super) fn to_its_end<T: Send + 'static>(
    shared: &Shared,
    work: impl Future<Output = Answer<T>> + Send + 'static,
) -> impl Future<Output = Answer<T>> {
    // Moved about as a pointer: what begins a run is large.
    let work = Box::pin(work);
    async move {
        let done = shared.work.finish(work).await;
        done.unwrap_or_else(|| Err(Refusal::Unavailable("the engine ends".to_owned())))
    }
}

fn started(run: Started, about: String) -> (StatusCode, Extension<About>, Json<api::RunStarted>) {
    let status = if run.is_new { StatusCode::CREATED } else { StatusCode::OK };
    let body = api::RunStarted { id: run.run.to_string(), is_new: run.is_new };
    (status, Extension(About(about)), Json(body))
}

pub(super) async fn start_document(
    State(shared): Engine,
    Extension(caller): Asks,
    headers: HeaderMap,
    Json(request): Json<api::DocumentRun>,
) -> Answer<(StatusCode, Extension<About>, Json<api::RunStarted>)> {
    let (all, key) = (Arc::clone(&shared), key_of(&headers)?.map(str::to_owned));
    let work = async move { all.run_document(request, &caller, key.as_deref()).await };
    let (workflow, begun) = to_its_end(&shared, work).await?;
    Ok(started(begun, format!("workflow {workflow}, which is not kept, run {}", begun.run)))
}

pub(super) async fn show(State(shared): Engine, Extension(run): OfRun) -> Answer<Json<api::Run>> {
    let shown = shared.engine.show(run).await?;
    shown.map(Json).ok_or_else(|| Refusal::NotFound(format!("run {run} has no events")))
}

/// Goes on with a run that waits for somebody: one that came with a data directory from elsewhere, or where a command is the
/// engine, any that was left. With all others the engine does by itself.
pub(super) async fn resume(State(shared): Engine, Extension(run): OfRun) -> Answer<StatusCode> {
    shared.recovered.wait().await;
    if !waits(&shared, run).await? {
        return Err(Refusal::Conflict(match shared.is_of_command() {
            true => format!("run {run} does not wait to be gone on with"),
            false => format!(
                "run {run} does not wait for anybody: the engine that serves goes on with its runs by itself"
            ),
        }));
    }
    let all = Arc::clone(&shared);
    let work = async move {
        let resumed = all.engine.resume_run(run).await;
        resumed.map_err(|error| Refusal::Conflict(format!("run {run} cannot be gone on with: {error:#}")))
    };
    to_its_end(&shared, work).await?;
    Ok(StatusCode::ACCEPTED)
}

/// Whether somebody has to say that a run is to go on.
async fn waits(shared: &Shared, run: RunId) -> anyhow::Result<bool> {
    if shared.engine.is_restored(run) {
        return Ok(true);
    }
    Ok(shared.is_of_command() && shared.engine.is_left(run).await?)
}

pub(super) async fn cancel(State(shared): Engine, Extension(run): OfRun) -> Answer<StatusCode> {
    if shared.engine.close_restored(run).await? {
        return Ok(StatusCode::ACCEPTED);
    }
    match shared.engine.cancel_durably(run, "cancelled by request").await {
        Ok(()) => Ok(StatusCode::ACCEPTED),
        // One that was left, with which nobody goes on by himself: it does, to be ended.
        Err(Error::NotActive(_)) if waits(&shared, run).await? => {
            resume(State(Arc::clone(&shared)), Extension(run)).await?;
            let cancelled = shared.engine.cancel_durably(run, "cancelled by request").await;
            cancelled.map(|()| StatusCode::ACCEPTED).map_err(|error| Refusal::Internal(error.into()))
        }
        // One that was left, and is not read yet.
        Err(Error::NotActive(_)) if shared.engine.is_open(run).await? => {
            Err(Refusal::Unavailable(format!("run {run} is about to go on; try again in a moment")))
        }
        Err(Error::NotActive(_) | Error::Illegal(_)) => {
            Err(Refusal::Conflict(format!("run {run} does not go on, so there is nothing to end")))
        }
        Err(error) => Err(Refusal::Internal(error.into())),
    }
}

pub(super) async fn why(
    State(shared): Engine,
    Extension(run): OfRun,
    Query(of): Query<OfStage>,
) -> Answer<Json<api::RunWhy>> {
    let mut why = shared.engine.why(run, of.stage.as_deref()).await?.map_err(Refusal::NotFound)?;
    if of.stage.is_none() {
        why.reasons.extend(shared.why_paused(run, &why.workflow).await?);
    }
    Ok(Json(why))
}

pub(super) async fn retry(
    State(shared): Engine,
    Extension(run): OfRun,
    headers: HeaderMap,
    Json(request): Json<api::RetryRequest>,
) -> Answer<(StatusCode, Extension<About>, Json<api::RunStarted>)> {
    let (all, key) = (Arc::clone(&shared), key_of(&headers)?.map(str::to_owned));
    let begun = to_its_end(&shared, async move { all.retry(run, request, key.as_deref()).await }).await?;
    Ok(started(begun, format!("run {}, in place of run {run}", begun.run)))
}

pub(super) async fn replay(
    State(shared): Engine,
    Extension(run): OfRun,
    Path((_, stage)): Path<(String, String)>,
    Json(request): Json<api::ReplayRequest>,
) -> Answer<Json<api::Replay>> {
    shared.engine.replay(run, &stage, &request, None).await?.map(Json).map_err(Refusal::NotFound)
}

pub(super) async fn answer(
    State(shared): Engine,
    Extension(caller): Asks,
    Extension(run): OfRun,
    Path((_, stage)): Path<(String, String)>,
    Json(mut answer): Json<api::ApprovalAnswer>,
) -> Answer<StatusCode> {
    let stage = stage.parse().map_err(|error: InvalidId| Refusal::Invalid(error.to_string()))?;
    if caller.is_known {
        answer.by = caller.name;
    }
    match shared.engine.answer(run, stage, answer).await {
        Ok(()) => Ok(StatusCode::NO_CONTENT),
        Err(error @ (Error::NotActive(_) | Error::Illegal(_))) => Err(Refusal::Conflict(error.to_string())),
        Err(error) => Err(Refusal::Internal(error.into())),
    }
}

/// What happens in the run, from its beginning to its end, as it happens: a JSON text for each line.
pub(super) fn updates(shared: Arc<Shared>, run: RunId) -> Response {
    let updates = shared.engine.follow(run);
    let lines = futures::stream::unfold((updates, shared), |(mut updates, shared)| async move {
        let line = next(&mut updates, &shared).await?;
        Some((Ok::<_, std::convert::Infallible>(line), (updates, shared)))
    });
    ([(CONTENT_TYPE, JSON_LINES)], Body::from_stream(lines)).into_response()
}

async fn next(updates: &mut Updates, shared: &Arc<Shared>) -> Option<Bytes> {
    let update = tokio::select! {
        () = shared.stop.cancelled() => return None,
        update = updates.next() => update,
    };
    match update {
        Ok(update) => update.and_then(|update| line(&update)),
        Err(error) => {
            tracing::debug!(error = format!("{error:#}"), "a follower is let go");
            None
        }
    }
}

fn line(body: &impl serde::Serialize) -> Option<Bytes> {
    let mut line = serde_json::to_vec(body).ok()?;
    line.push(b'\n');
    Some(line.into())
}

/// What the attempts have written that have ended, one after the other: a JSON text for each line.
pub(super) fn logs(shared: Arc<Shared>, run: RunId, of: OfStage) -> Response {
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
    // Lines go out as they are read; who hangs up ends the reading.
    let reading = async move {
        let tell = |read: api::LogLine| {
            let line = line(&read).ok_or_else(|| anyhow::anyhow!("a line cannot be written"))?;
            sender.send(line).map_err(|_| anyhow::anyhow!("nobody listens"))
        };
        if let Err(error) = shared.engine.logs(run, of.stage.as_deref(), tell).await {
            tracing::debug!(error = format!("{error:#}"), "a log is not read to its end");
        }
    };
    let reading = Box::pin(futures::FutureExt::fuse(reading));
    let lines = futures::stream::unfold((receiver, reading), |(mut receiver, mut reading)| async move {
        let line = tokio::select! {
            biased;
            line = receiver.recv() => line,
            () = &mut reading => receiver.recv().await,
        };
        line.map(|line| (Ok::<_, std::convert::Infallible>(line), (receiver, reading)))
    });
    ([(CONTENT_TYPE, JSON_LINES)], Body::from_stream(lines)).into_response()
}
