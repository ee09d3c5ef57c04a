//! `/api/v1/workflows`.

use std::sync::Arc;

use axum::extract::{Extension, Path, State};
use axum::http::StatusCode;
use axum::http::header::{ETAG, HeaderMap, HeaderName, IF_MATCH, IF_NONE_MATCH};
use axum::response::{IntoResponse, Json, Response};
use similar::TextDiff;
use yuanli_api_types as api;
use yuanli_model::trigger::MetricTrigger;
use yuanli_triggers::{Level, RuleId};

use super::gate::About;
use super::table::WEAK;
use super::{Answer, Asks, Engine};
use crate::body::rfc3339;
use crate::kept::{Expected, Kept, Timing, id_of};
use crate::refusal::Refusal;
use crate::service::Shared;

pub(super) async fn list(State(shared): Engine, Extension(caller): Asks) -> Json<api::List<api::Workflow>> {
    let kept = shared.registry.list();
    let theirs = kept.iter().filter(|kept| caller.has(&kept.name));
    let items = theirs.map(|kept| body(&shared, kept)).collect();
    Json(api::List { items, next: None })
}

pub(super) async fn show(State(shared): Engine, Path(name): Path<String>) -> Answer<impl IntoResponse> {
    let kept = shared.find(&name)?;
    Ok((tagged(&kept), Json(api::Workflow { text: Some(kept.text.clone()), ..body(&shared, &kept) })))
}

/// Keeps a workflow, or says what that would change.
pub(super) async fn apply(
    State(shared): Engine,
    Extension(caller): Asks,
    headers: HeaderMap,
    Json(document): Json<api::WorkflowDocument>,
) -> Answer<Response> {
    let is_dry = document.dry_run;
    let document = shared.read(document, &caller).await?;
    let before = document.workflow().and_then(|workflow| shared.registry.get(workflow.name()));
    let old = before.as_ref().map_or("", |before| before.text.as_str());
    let diff =
        TextDiff::from_lines(old, document.text()).unified_diff().header("kept", "applied").to_string();
    let kept = match is_dry {
        true => Arc::new(shared.registry.draft(&document, shared.clock.now())?),
        false => shared.apply(&document, &expected(&headers)?).await?,
    };
    let change = api::WorkflowChange { workflow: body(&shared, &kept), is_new: before.is_none(), diff };
    let did = if is_dry { "looked at" } else { "applied" };
    let about = Extension(About(format!("{did} workflow {}, version {}", kept.name, kept.version())));
    Ok(match is_dry {
        true => (about, Json(change)).into_response(),
        false => (about, tagged(&kept), Json(change)).into_response(),
    })
}

/// The texts that it has had, the newest first.
pub(super) async fn history(
    State(shared): Engine,
    Path(name): Path<String>,
) -> Answer<Json<api::List<api::WorkflowVersion>>> {
    let versions = shared.registry.versions(&shared.find(&name)?.name).await?;
    let version = |kept: Kept| api::WorkflowVersion {
        version: kept.version().to_string(),
        applied_at: rfc3339(kept.applied),
        text: kept.text,
    };
    Ok(Json(api::List { items: versions.into_iter().map(version).collect(), next: None }))
}

pub(super) async fn delete(
    State(shared): Engine,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Answer<StatusCode> {
    let kept = shared.find(&name)?;
    if !shared.registry.delete(&kept.name, &expected(&headers)?).await? {
        return Err(Refusal::no_workflow(&name));
    }
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn pause(
    State(shared): Engine,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Answer<impl IntoResponse> {
    set_paused(&shared, &name, true, &headers).await
}

pub(super) async fn resume(
    State(shared): Engine,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Answer<impl IntoResponse> {
    set_paused(&shared, &name, false, &headers).await
}

async fn set_paused(
    shared: &Shared,
    name: &str,
    is_paused: bool,
    headers: &HeaderMap,
) -> Answer<impl IntoResponse + use<>> {
    let kept = shared.find(name)?;
    let expected = expected(headers)?;
    let changed = shared.registry.pause(&kept.name, is_paused, &expected, shared.clock.now()).await?;
    let kept = changed.ok_or_else(|| Refusal::no_workflow(name))?;
    Ok((tagged(&kept), Json(body(shared, &kept))))
}

fn tagged(kept: &Kept) -> [(HeaderName, String); 1] {
    [(ETAG, format!("\"{}\"", kept.tag()))]
}

/// What somebody believes of a workflow, by `If-Match` and `If-None-Match`.
fn expected(headers: &HeaderMap) -> Answer<Expected> {
    let told = |name| headers.get(name).map(|value| value.to_str().unwrap_or_default().trim());
    match (told(IF_MATCH), told(IF_NONE_MATCH)) {
        (None, None) => Ok(Expected::Anything),
        (None, Some("*")) => Ok(Expected::Nothing),
        (Some("*"), None) => Ok(Expected::Something),
        (Some(tags), None) => {
            // One that came packed is that of the same content.
            let tag = |tag: &str| tag.trim().trim_start_matches(WEAK).trim_matches('"').to_owned();
            Ok(Expected::Tagged(tags.split(',').map(tag).collect()))
        }
        _ => Err(Refusal::Invalid(
            "what is changed takes `If-Match` with what `ETag` said, or `If-None-Match: *`".to_owned(),
        )),
    }
}

fn body(shared: &Shared, kept: &Kept) -> api::Workflow {
    api::Workflow {
        name: kept.name.to_string(),
        version: kept.version().to_string(),
        applied_at: rfc3339(kept.applied),
        folder: kept.origin.folder.display().to_string(),
        schedules: kept.schedules.iter().map(|timing| schedule(shared, kept, timing)).collect(),
        paused_at: kept.paused.map(rfc3339),
        paused_by_failures: kept.paused_by_failures,
        metrics: kept.metrics.iter().map(|rule| metric(shared, kept, rule)).collect(),
        events: kept.events.iter().map(ToString::to_string).collect(),
        webhook: kept.hook.as_ref().map(|_| format!("/hooks/{}", kept.name)),
        text: None,
    }
}

fn schedule(shared: &Shared, kept: &Kept, (schedule, policy): &Timing) -> api::Schedule {
    let mark = shared.registry.mark_of(&kept.name, schedule);
    let (line, paused) = (mark.line, mark.paused);
    api::Schedule {
        id: id_of(schedule),
        cron: schedule.cron.clone(),
        timezone: schedule.timezone.clone(),
        next_at: shared.registry.due_of(&kept.name, schedule).map(rfc3339),
        paused_at: paused.map(|pause| rfc3339(pause.at)),
        overlap: policy.overlap.name().to_owned(),
        running: line.running.map(|run| run.to_string()),
        waiting: line.waiting.into_iter().map(rfc3339).collect(),
    }
}

fn metric(shared: &Shared, kept: &Kept, rule: &MetricTrigger) -> api::MetricRule {
    let id = RuleId::of(rule);
    let alarm = shared.registry.alarm_of(&kept.name, id);
    let (measured_at, value) = match shared.registry.measured_of(&kept.name, id) {
        Some(measured) => (Some(rfc3339(measured.at)), measured.value),
        None => (None, Ok(None)),
    };
    let state = match alarm.level {
        Level::Clear => "clear",
        Level::Pending { .. } => "pending",
        Level::Raised { .. } => "raised",
    };
    api::MetricRule {
        query: rule.query.clone(),
        source: rule.source.clone(),
        threshold: rule.threshold.to_string(),
        state: state.to_owned(),
        measured_at,
        trouble: value.as_ref().err().cloned(),
        value: value.ok().flatten(),
        started_at: alarm.started.map(rfc3339),
    }
}
