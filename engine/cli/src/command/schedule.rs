//! `yuanli schedule`.

use yuanli_api_types::{
    Backfill, BackfillRequest, List, ScheduleLast, ScheduleRun as Answer, ScheduleRunRequest, ScheduleState,
};

use crate::access::{engine, escaped};
use crate::arguments::{Global, ScheduleBackfill, ScheduleCommand, ScheduleList, ScheduleRun};
use crate::client::Client;
use crate::exit::{Exit, Misuse};
use crate::output;

/// Most schedules that are asked for at once.
const PAGE: usize = 1_000;

pub(crate) async fn perform(global: &Global, command: ScheduleCommand) -> anyhow::Result<Exit> {
    let engine = engine(global).await?;
    match command {
        ScheduleCommand::List(arguments) => list(global, &engine, arguments).await,
        ScheduleCommand::Show(one) => show(global, &engine, &one.schedule).await,
        ScheduleCommand::Pause(one) => set_paused(global, &engine, &one.schedule, "pause").await,
        ScheduleCommand::Resume(one) => set_paused(global, &engine, &one.schedule, "resume").await,
        ScheduleCommand::Run(arguments) => run(global, &engine, arguments).await,
        ScheduleCommand::Backfill(arguments) => backfill(global, &engine, arguments).await,
    }
}

async fn list(global: &Global, engine: &Client, arguments: ScheduleList) -> anyhow::Result<Exit> {
    let ScheduleList { workflow, paused, limit, after } = arguments;
    let part = |name: &str, value: Option<&str>| {
        value.map(|value| format!("&{name}={}", escaped(value))).unwrap_or_default()
    };
    let of = part("workflow", workflow.as_deref()) + if paused { "&paused=true" } else { "" };
    let mut all = List { items: Vec::new(), next: after };
    loop {
        let size = (limit - all.items.len()).min(PAGE);
        let path = format!("/api/v1/schedules?limit={size}{of}{}", part("after", all.next.as_deref()));
        let page: List<ScheduleState> = engine.get(&path).await?;
        all.items.extend(page.items);
        all.next = page.next;
        if all.next.is_none() || all.items.len() >= limit {
            break;
        }
    }
    if global.json {
        output::json(&all)?;
        return Ok(Exit::Done);
    }
    let rows = all.items.into_iter().map(|schedule| {
        let next = match &schedule.paused_at {
            Some(_) => "paused".to_owned(),
            None => schedule.next.first().map_or_else(|| "never again".to_owned(), |next| output::time(next)),
        };
        vec![
            format!("{}/{}", schedule.workflow, schedule.schedule),
            format!("{} {}", schedule.cron, schedule.timezone),
            next,
            schedule.last.as_ref().map(|last| output::time(&last.due_at)).unwrap_or_default(),
            schedule.last.as_ref().map(became).unwrap_or_default(),
            schedule.overlap,
        ]
    });
    output::table(&["SCHEDULE", "DUE", "NEXT (UTC)", "LAST (UTC)", "BECAME", "OVERLAP"], rows)?;
    if let Some(next) = all.next {
        output::note(format_args!("there are more: --after {next}"));
    }
    Ok(Exit::Done)
}

/// What became of a due time, for a cell.
fn became(last: &ScheduleLast) -> String {
    match (&last.run, &last.reason) {
        (Some(run), _) => format!("run {run}"),
        (None, Some(reason)) => format!("{}: {reason}", last.became),
        (None, None) => last.became.clone(),
    }
}

async fn show(global: &Global, engine: &Client, schedule: &str) -> anyhow::Result<Exit> {
    let state: ScheduleState = engine.get(&place(engine, schedule).await?).await?;
    tell(global, &state)
}

async fn set_paused(global: &Global, engine: &Client, schedule: &str, verb: &str) -> anyhow::Result<Exit> {
    let path = format!("{}/{verb}", place(engine, schedule).await?);
    let state: ScheduleState = engine.post(&path, &(), None).await?;
    tell(global, &state)
}

fn tell(global: &Global, state: &ScheduleState) -> anyhow::Result<Exit> {
    if global.json {
        output::json(state)?;
        return Ok(Exit::Done);
    }
    output::line(format_args!("{}/{}: {} {}", state.workflow, state.schedule, state.cron, state.timezone))?;
    let told = |what: &str, value: Option<String>| match value {
        Some(value) => output::line(format_args!("  {what:<9}{value}")),
        None => Ok(()),
    };
    let time = |time: &String| format!("{} UTC", output::time(time));
    let times = |times: &[String]| {
        let all: Vec<String> = times.iter().map(|time| output::time(time)).collect();
        (!all.is_empty()).then(|| format!("{} UTC", all.join(", ")))
    };
    let because = state.paused_because.as_deref().map(|why| format!(": {why}")).unwrap_or_default();
    told("paused", state.paused_at.as_ref().map(|at| format!("since {}{because}", time(at))))?;
    told("next", times(&state.next))?;
    told("last", state.last.as_ref().map(|last| format!("{}: {}", time(&last.due_at), became(last))))?;
    told("from", state.from.as_ref().map(time))?;
    told("until", state.until.as_ref().map(time))?;
    told("jitter", (state.jitter_seconds > 0).then(|| format!("up to {} s", state.jitter_seconds)))?;
    let limit = state.missed_limit.map(|limit| format!(", at most {limit}")).unwrap_or_default();
    told("missed", Some(format!("{}{limit}", state.missed)))?;
    told("overlap", Some(state.overlap.clone()))?;
    let failures = |most| format!("paused after {most} in a row, now {}", state.failures);
    told("failures", state.pause_after_failures.map(failures))?;
    told("running", state.running.clone())?;
    told("waiting", times(&state.waiting))?;
    let count = state.backfill.len();
    told("backfill", (count > 0).then(|| output::count(count, "due time") + " to be made up for"))?;
    Ok(Exit::Done)
}

async fn run(global: &Global, engine: &Client, arguments: ScheduleRun) -> anyhow::Result<Exit> {
    let path = format!("{}/run", place(engine, &arguments.schedule).await?);
    let request = ScheduleRunRequest { due_at: arguments.due };
    let answer: Answer = engine.post(&path, &request, None).await?;
    if global.json {
        output::json(&answer)?;
        return Ok(Exit::Done);
    }
    match &answer.run {
        Some(run) => {
            if !answer.is_new {
                output::note("this time has had its run before");
            }
            output::line(run)?;
        }
        None => output::note("it waits for the run that the schedule has started before"),
    }
    Ok(Exit::Done)
}

async fn backfill(global: &Global, engine: &Client, arguments: ScheduleBackfill) -> anyhow::Result<Exit> {
    let path = format!("{}/backfill", place(engine, &arguments.schedule).await?);
    let ScheduleBackfill { from, until, missed: missed_only, limit, dry_run, .. } = arguments;
    let request = BackfillRequest { from, until, missed_only, limit: Some(limit), dry_run };
    let answer: Backfill = engine.post(&path, &request, None).await?;
    if global.json {
        output::json(&answer)?;
        return Ok(Exit::Done);
    }
    for due in &answer.times {
        output::line(due)?;
    }
    let what = if dry_run { "would get a run" } else { "get a run each" };
    output::note(format_args!(
        "{} {what}; {} had one, or wait already",
        output::count(answer.times.len(), "due time"),
        answer.done
    ));
    if let Some(more) = &answer.more_from {
        output::note(format_args!("there are more: --from {more}"));
    }
    Ok(Exit::Done)
}

/// The path of a schedule; of a workflow that has one, of that.
async fn place(engine: &Client, schedule: &str) -> anyhow::Result<String> {
    let (workflow, id) = match schedule.split_once('/') {
        Some((workflow, id)) => (workflow, id.to_owned()),
        None => (schedule, only(engine, schedule).await?),
    };
    Ok(format!("/api/v1/workflows/{}/schedules/{}", escaped(workflow), escaped(&id)))
}

async fn only(engine: &Client, workflow: &str) -> anyhow::Result<String> {
    let path = format!("/api/v1/schedules?limit={PAGE}&workflow={}", escaped(workflow));
    let mut found: List<ScheduleState> = engine.get(&path).await?;
    match (found.items.pop(), found.items.is_empty()) {
        (Some(one), true) => Ok(one.schedule),
        (None, _) => {
            Err(Misuse(format!("no workflow `{workflow}` with a schedule is kept: `yuanli schedule list`"))
                .into())
        }
        (Some(last), false) => {
            found.items.push(last);
            let one = |schedule: &ScheduleState| {
                format!("  {workflow}/{}  {} {}", schedule.schedule, schedule.cron, schedule.timezone)
            };
            let all: Vec<String> = found.items.iter().map(one).collect();
            Err(Misuse(format!("workflow `{workflow}` has several schedules, name one:\n{}", all.join("\n")))
                .into())
        }
    }
}
