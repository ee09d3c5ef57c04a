//! `/api/v1/workflows`.

use axum::extract::{Extension, Path, State};
use axum::http::StatusCode;
use axum::response::Json;
use yuanli_api_types as api;
use yuanli_model::trigger::MetricTrigger;
use yuanli_triggers::{Level, RuleId};

use super::{Answer, Asks, Engine};
use crate::body::rfc3339;
use crate::kept::{Kept, Timing};
use crate::service::{Refusal, Shared};

pub(super) async fn list(State(shared): Engine, Extension(caller): Asks) -> Json<api::List<api::Workflow>> {
    let kept = shared.registry.list();
    let theirs = kept.iter().filter(|kept| caller.has(&kept.name));
    let items = theirs.map(|kept| body(&shared, kept)).collect();
    Json(api::List { items, next: None })
}

pub(super) async fn show(State(shared): Engine, Path(name): Path<String>) -> Answer<Json<api::Workflow>> {
    let kept = shared.find(&name)?;
    Ok(Json(api::Workflow { text: Some(kept.text.clone()), ..body(&shared, &kept) }))
}

pub(super) async fn apply(
    State(shared): Engine,
    Extension(caller): Asks,
    Json(document): Json<api::WorkflowDocument>,
) -> Answer<Json<api::Workflow>> {
    let kept = shared.apply(document, &caller).await?;
    Ok(Json(body(&shared, &kept)))
}

pub(super) async fn delete(State(shared): Engine, Path(name): Path<String>) -> Answer<StatusCode> {
    let kept = shared.find(&name)?;
    if !shared.registry.delete(&kept.name).await? {
        return Err(Refusal::NotFound(format!("there is no workflow `{name}`")));
    }
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn pause(State(shared): Engine, Path(name): Path<String>) -> Answer<Json<api::Workflow>> {
    set_paused(&shared, &name, true).await
}

pub(super) async fn resume(State(shared): Engine, Path(name): Path<String>) -> Answer<Json<api::Workflow>> {
    set_paused(&shared, &name, false).await
}

async fn set_paused(shared: &Shared, name: &str, is_paused: bool) -> Answer<Json<api::Workflow>> {
    let kept = shared.find(name)?;
    let changed = shared.registry.pause(&kept.name, is_paused, shared.clock.now()).await?;
    let kept = changed.ok_or_else(|| Refusal::NotFound(format!("there is no workflow `{name}`")))?;
    Ok(Json(body(shared, &kept)))
}

fn body(shared: &Shared, kept: &Kept) -> api::Workflow {
    api::Workflow {
        name: kept.name.to_string(),
        version: kept.version().to_string(),
        applied_at: rfc3339(kept.applied),
        folder: kept.origin.folder.display().to_string(),
        schedules: kept.schedules.iter().map(|timing| schedule(shared, kept, timing)).collect(),
        paused_at: kept.paused.map(rfc3339),
        metrics: kept.metrics.iter().map(|rule| metric(shared, kept, rule)).collect(),
        events: kept.events.iter().map(ToString::to_string).collect(),
        webhook: kept.hook.as_ref().map(|_| format!("/hooks/{}", kept.name)),
        text: None,
    }
}

fn schedule(shared: &Shared, kept: &Kept, (schedule, policy): &Timing) -> api::Schedule {
    let line = shared.registry.mark_of(&kept.name, schedule).line;
    api::Schedule {
        cron: schedule.cron.clone(),
        timezone: schedule.timezone.clone(),
        next_at: shared.registry.due_of(&kept.name, schedule).map(rfc3339),
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
