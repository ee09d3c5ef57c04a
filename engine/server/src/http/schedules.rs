//! `/api/v1/schedules`, and what is asked of one schedule of a workflow.

use std::sync::Arc;

use axum::extract::{Extension, Path, Query, State};
use axum::http::StatusCode;
use axum::response::Json;
use serde::Deserialize;
use yuanli_api_types as api;
use yuanli_model::trigger::Missed;
use yuanli_model::{Timestamp, WorkflowName};
use yuanli_triggers::Times;

use super::gate::About;
use super::runs::to_its_end;
use super::{Answer, Asks, Engine};
use crate::body::rfc3339;
use crate::kept::{Fate, Kept, Last, PausedBy, Timing, id_of};
use crate::refusal::Refusal;
use crate::schedules::{Became, MAX_BACKFILL, Wanted};
use crate::service::Shared;

const PAGE: usize = 50;
const MAX_PAGE: usize = 1_000;
/// Next due times that are told of one schedule when nobody says, and at most.
const TIMES: usize = 5;
const MAX_TIMES: usize = 100;
/// Workflows that are looked at at once.
const WORKFLOWS: usize = 256;
/// Most workflows that are looked at for one page of what is meant.
const MAX_LOOKED_AT: usize = 20_000;
/// Due times of a backfill when nobody says.
const BACKFILL: u32 = 100;

#[derive(Deserialize)]
pub(super) struct Page {
    after: Option<String>,
    limit: Option<usize>,
    /// Only those of this workflow.
    workflow: Option<String>,
    /// Only those that are paused, or are not.
    paused: Option<bool>,
    times: Option<usize>,
}

#[derive(Deserialize)]
pub(super) struct Look {
    times: Option<usize>,
}

/// A schedule in a path: of which workflow, and what it is called there.
type Named = Path<(String, String)>;

pub(super) async fn list(
    State(shared): Engine,
    Extension(caller): Asks,
    Query(page): Query<Page>,
) -> Answer<Json<api::List<api::ScheduleState>>> {
    let limit = page.limit.unwrap_or(PAGE).clamp(1, MAX_PAGE);
    let times = page.times.unwrap_or(1).min(MAX_TIMES);
    // Behind this one of its workflow; from the first one of the workflow on, where it is there no more.
    let mut behind = page.after.as_deref().map(cursor).transpose()?;
    let mut from = behind.as_ref().map(|(name, _)| name.clone());
    let mut items: Vec<api::ScheduleState> = Vec::new();
    let mut looked_at = 0;
    loop {
        let (kept, is_last) = match &page.workflow {
            Some(name) => {
                (name.parse().ok().and_then(|name| shared.registry.get(&name)).into_iter().collect(), true)
            }
            None => {
                let kept = shared.registry.page(from.as_ref(), WORKFLOWS);
                let is_last = kept.len() < WORKFLOWS;
                (kept, is_last)
            }
        };
        for kept in &kept {
            let skipped = match behind.take() {
                Some((name, id)) if name == kept.name => {
                    kept.schedules.iter().position(|(own, _)| id_of(own) == id).map_or(0, |at| at + 1)
                }
                _ => 0,
            };
            if !caller.has(&kept.name) {
                continue;
            }
            for timing in kept.schedules.iter().skip(skipped) {
                let state = state(&shared, kept, timing, times);
                if page.paused.is_some_and(|paused| paused != state.paused_at.is_some()) {
                    continue;
                }
                if items.len() == limit {
                    let next = items.last().map(|last| format!("{}/{}", last.workflow, last.schedule));
                    return Ok(Json(api::List { items, next }));
                }
                items.push(state);
            }
        }
        looked_at += kept.len();
        let Some(last) = kept.last().filter(|_| !is_last) else {
            return Ok(Json(api::List { items, next: None }));
        };
        if looked_at >= MAX_LOOKED_AT {
            let last = last.schedules.last().map(|(own, _)| id_of(own)).unwrap_or_default();
            let name = kept.last().map(|kept| kept.name.to_string()).unwrap_or_default();
            return Ok(Json(api::List { items, next: Some(format!("{name}/{last}")) }));
        }
        // The last one once more, which is passed over.
        behind =
            Some((last.name.clone(), last.schedules.last().map(|(own, _)| id_of(own)).unwrap_or_default()));
        from = Some(last.name.clone());
    }
}

fn cursor(text: &str) -> Answer<(WorkflowName, String)> {
    let read = text.split_once('/').and_then(|(name, id)| Some((name.parse().ok()?, id.to_owned())));
    read.ok_or_else(|| Refusal::Invalid("the cursor `after` is not the `next` of a page".to_owned()))
}

pub(super) async fn show(
    State(shared): Engine,
    Path((name, id)): Named,
    Query(look): Query<Look>,
) -> Answer<Json<api::ScheduleState>> {
    let (kept, timing) = shared.find_schedule(&name, &id)?;
    Ok(Json(state(&shared, &kept, &timing, look.times.unwrap_or(TIMES).min(MAX_TIMES))))
}

pub(super) async fn pause(
    State(shared): Engine,
    Path((name, id)): Named,
) -> Answer<Json<api::ScheduleState>> {
    set_paused(&shared, &name, &id, true).await
}

pub(super) async fn resume(
    State(shared): Engine,
    Path((name, id)): Named,
) -> Answer<Json<api::ScheduleState>> {
    set_paused(&shared, &name, &id, false).await
}

async fn set_paused(
    shared: &Shared,
    name: &str,
    id: &str,
    is_paused: bool,
) -> Answer<Json<api::ScheduleState>> {
    let (kept, timing) = shared.find_schedule(name, id)?;
    shared.registry.pause_schedule(&kept.name, &timing.0, is_paused, shared.clock.now()).await?;
    Ok(Json(state(shared, &kept, &timing, TIMES)))
}

pub(super) async fn run(
    State(shared): Engine,
    Path((name, id)): Named,
    Json(request): Json<api::ScheduleRunRequest>,
) -> Answer<(StatusCode, Extension<About>, Json<api::ScheduleRun>)> {
    let found = shared.find_schedule(&name, &id)?;
    let due = due_of(&request, &found.1, shared.clock.now())?;
    let all = Arc::clone(&shared);
    let became = to_its_end(&shared, async move { all.run_schedule(&found, due).await }).await?;
    let body = |became: &str, run: Option<String>, is_new| api::ScheduleRun {
        due_at: rfc3339(due),
        became: became.to_owned(),
        run,
        is_new,
    };
    let (status, body) = match became {
        Became::Started(started) if started.is_new => {
            (StatusCode::CREATED, body("started", Some(started.run.to_string()), true))
        }
        Became::Started(started) => (StatusCode::OK, body("started", Some(started.run.to_string()), false)),
        Became::Waits => (StatusCode::ACCEPTED, body("waits", None, false)),
        Became::Skipped(run) => {
            let run = run.map(|run| format!(" {run}")).unwrap_or_default();
            return Err(Refusal::Conflict(format!(
                "the run{run} that the schedule has started goes on, and its `overlap` has this one skipped"
            )));
        }
        Became::Refused(why) => return Err(Refusal::Invalid(why)),
        Became::Paused => return Err(Refusal::Conflict("the schedule is paused".to_owned())),
    };
    let run = body.run.as_ref().map(|run| format!(", run {run}")).unwrap_or_default();
    let about = About(format!("schedule {id} of workflow {name}, due at {}{run}", body.due_at));
    Ok((status, Extension(about), Json(body)))
}

fn due_of(request: &api::ScheduleRunRequest, timing: &Timing, now: Timestamp) -> Answer<Timestamp> {
    let Some(text) = &request.due_at else { return Ok(now) };
    let due = moment(text, timing)?;
    if due > now {
        return Err(Refusal::Invalid(format!(
            "`{text}` is still to come: the schedule is due by itself then"
        )));
    }
    Ok(due)
}

fn moment(text: &str, (schedule, _): &Timing) -> Answer<Timestamp> {
    yuanli_calendar::moment(text, &schedule.timezone).ok_or_else(|| {
        Refusal::Invalid(format!(
            "`{text}` is no moment: write `2026-12-01`, `2026-12-01T08:00`, or one with an offset (RFC 3339)"
        ))
    })
}

pub(super) async fn backfill(
    State(shared): Engine,
    Path((name, id)): Named,
    Json(request): Json<api::BackfillRequest>,
) -> Answer<(StatusCode, Extension<About>, Json<api::Backfill>)> {
    let found = shared.find_schedule(&name, &id)?;
    let limit = request.limit.unwrap_or(BACKFILL);
    if limit == 0 || limit as usize > MAX_BACKFILL {
        return Err(Refusal::Invalid(format!("`limit` is 1 to {MAX_BACKFILL}")));
    }
    let now = shared.clock.now();
    let until = request.until.as_ref().map(|text| moment(text, &found.1)).transpose()?;
    let wanted = Wanted {
        from: moment(&request.from, &found.1)?,
        until: until.unwrap_or(now).min(now),
        missed_only: request.missed_only,
        limit: limit as usize,
        is_dry: request.dry_run,
    };
    if wanted.until < wanted.from {
        return Err(Refusal::Invalid("the stretch of time ends before it begins".to_owned()));
    }
    let all = Arc::clone(&shared);
    let done = to_its_end(&shared, async move { all.backfill(&found, wanted).await }).await?;
    let is_asked = !wanted.is_dry && !done.times.is_empty();
    let did = if is_asked { "asked for" } else { "looked at" };
    let about = format!("{did} {} due times of schedule {id} of workflow {name}", done.times.len());
    let body = api::Backfill {
        times: done.times.into_iter().map(rfc3339).collect(),
        done: done.done,
        more_from: done.more_from.map(rfc3339),
    };
    let status = if is_asked { StatusCode::ACCEPTED } else { StatusCode::OK };
    Ok((status, Extension(About(about)), Json(body)))
}

/// A schedule as it is now.
fn state(shared: &Shared, kept: &Kept, timing: &Timing, times: usize) -> api::ScheduleState {
    let (schedule, policy) = timing;
    let mark = shared.registry.mark_of(&kept.name, schedule);
    let (paused_at, paused_because) = match (kept.paused, mark.paused) {
        (_, Some(pause)) => (Some(pause.at), Some(because(pause.by, "its"))),
        (Some(at), None) if kept.paused_by_failures => {
            (Some(at), Some(because(PausedBy::Failures(kept.failures), "the workflow's")))
        }
        (Some(at), None) => (Some(at), Some("somebody has paused the workflow".to_owned())),
        (None, None) => (None, None),
    };
    let (missed, missed_limit) = match policy.missed {
        Missed::Skip => ("skip", None),
        Missed::Once => ("once", None),
        Missed::All(limit) => ("all", Some(limit.get())),
    };
    api::ScheduleState {
        workflow: kept.name.to_string(),
        schedule: id_of(schedule),
        cron: schedule.cron.clone(),
        timezone: schedule.timezone.clone(),
        from: policy.from.map(rfc3339),
        until: policy.until.map(rfc3339),
        jitter_seconds: policy.jitter.as_secs(),
        missed: missed.to_owned(),
        missed_limit,
        overlap: policy.overlap.name().to_owned(),
        pause_after_failures: policy.pause_after_failures.map(std::num::NonZeroU32::get),
        failures: mark.failures,
        paused_at: paused_at.map(rfc3339),
        paused_because,
        next: next(shared, kept, timing, times),
        last: mark.last.map(last),
        running: mark.line.running.map(|run| run.to_string()),
        waiting: mark.line.waiting.into_iter().map(rfc3339).collect(),
        backfill: mark.backfill.into_iter().map(rfc3339).collect(),
    }
}

fn because(by: PausedBy, whose: &str) -> String {
    match by {
        PausedBy::Somebody => "somebody has paused it".to_owned(),
        PausedBy::Failures(failures) => format!("{failures} of {whose} runs in a row have failed"),
    }
}

/// The next due times; none while it is paused.
fn next(shared: &Shared, kept: &Kept, timing: &Timing, count: usize) -> Vec<String> {
    let Some(first) = shared.registry.due_of(&kept.name, &timing.0) else { return Vec::new() };
    let rest = match Times::parse(timing.clone()) {
        Ok(times) if count > 1 => times.all_after(first).take(count - 1).collect(),
        _ => Vec::new(),
    };
    std::iter::once(first).chain(rest).take(count).map(rfc3339).collect()
}

fn last(last: Last) -> api::ScheduleLast {
    let (became, run, reason) = match last.fate {
        Fate::Started(run) => ("started", Some(run.to_string()), None),
        Fate::Waits => ("waits", None, None),
        Fate::Skipped => ("skipped", None, None),
        Fate::Refused(why) => ("refused", None, Some(why)),
    };
    api::ScheduleLast { due_at: rfc3339(last.due), became: became.to_owned(), run, reason }
}

impl Shared {
    /// Why nothing follows a run, where its workflow or the schedule that has started it is paused.
    pub(super) async fn why_paused(
        &self,
        run: yuanli_model::RunId,
        workflow: &str,
    ) -> anyhow::Result<Option<api::Reason>> {
        let name = workflow.parse::<WorkflowName>().ok();
        let Some(kept) = name.and_then(|name| self.registry.get(&name)) else { return Ok(None) };
        let told = |at: Timestamp, text: String| api::Reason {
            at: Some(rfc3339(at)),
            kind: "paused".to_owned(),
            text,
            values: serde_json::Map::new(),
        };
        if let Some(at) = kept.paused {
            let why = match kept.paused_by_failures {
                true => format!("{} of its runs in a row have failed", kept.failures),
                false => "somebody has paused it".to_owned(),
            };
            let text = format!(
                "now: its workflow is paused, {why}; `yuanli workflow resume {workflow}` lets it go on"
            );
            return Ok(Some(told(at, text)));
        }
        let Some(schedule) = self.schedule_of(&kept, run).await? else { return Ok(None) };
        let Some(pause) = self.registry.mark_of(&kept.name, &schedule).paused else { return Ok(None) };
        let (why, id) = (because(pause.by, "its"), id_of(&schedule));
        let text = format!(
            "now: its schedule is paused, {why}; `yuanli schedule resume {workflow}/{id}` lets it go on"
        );
        Ok(Some(told(pause.at, text)))
    }
}
