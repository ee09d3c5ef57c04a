//! `yuanli workflow` and `yuanli trigger`.

use std::io::IsTerminal as _;

use hyper::Method;
use yuanli_api_types::{
    EventKind, List, MetricRule, RunRequest, RunStarted, RunStatus, Update, Workflow, WorkflowChange,
    WorkflowDocument,
};
use yuanli_server::source;

use super::interrupt::Interrupts;
use crate::access::{engine, escaped};
use crate::arguments::{Apply, Global, Named, Trigger, WorkflowCommand};
use crate::client::Client;
use crate::exit::Exit;
use crate::output;
use crate::stream::Updates;
use crate::view::{self, Screen};

pub(crate) async fn perform(global: &Global, command: WorkflowCommand) -> anyhow::Result<Exit> {
    match command {
        // What a run would do can be said without an engine.
        WorkflowCommand::Plan(arguments) => super::plan::plan(global, arguments, None).await,
        WorkflowCommand::Apply(arguments) => apply(global, &engine(global).await?, arguments).await,
        WorkflowCommand::List => list(global, &engine(global).await?).await,
        WorkflowCommand::Show(named) => show(global, &engine(global).await?, &named).await,
        WorkflowCommand::Pause(named) => set_paused(global, &named, "pause").await,
        WorkflowCommand::Resume(named) => set_paused(global, &named, "resume").await,
        WorkflowCommand::Deliveries(named) => super::delivery::list(global, &named.name).await,
        WorkflowCommand::Redeliver(arguments) => super::delivery::redeliver(global, &arguments).await,
        WorkflowCommand::Delete(Named { name }) => {
            let path = format!("/api/v1/workflows/{}", escaped(&name));
            engine(global).await?.tell(Method::DELETE, &path, None::<&()>).await?;
            output::note(format_args!("workflow {name} is deleted; its runs stay"));
            Ok(Exit::Done)
        }
    }
}

async fn apply(global: &Global, engine: &Client, arguments: Apply) -> anyhow::Result<Exit> {
    let source::Source { name, text, mut folder, mut root } =
        source::read(&arguments.file).await.map_err(super::unread)?;
    if let Some(named) = &arguments.folder {
        folder = named.display().to_string();
        root.clone_from(&folder);
    } else if !engine.is_here() {
        folder.clear();
        root.clear();
    }
    let dry_run = arguments.dry_run;
    let document = WorkflowDocument { file: name, text, folder, root, dry_run };
    let change: WorkflowChange = engine.post("/api/v1/workflows", &document, None).await?;
    if global.json {
        output::json(&change)?;
        return Ok(Exit::Done);
    }
    let WorkflowChange { workflow, is_new, diff } = change;
    let what = match (is_new, diff.is_empty()) {
        (true, _) => "is new",
        (_, true) => "stays as it is",
        _ if dry_run => "would change",
        _ => "has changed",
    };
    let version = output::short_digest(&workflow.version);
    output::note(format_args!("workflow {} ({version}) {what}", workflow.name));
    describe(&workflow);
    if dry_run {
        output::line(diff.trim_end())?;
    }
    Ok(Exit::Done)
}

async fn set_paused(global: &Global, Named { name }: &Named, verb: &str) -> anyhow::Result<Exit> {
    let path = format!("/api/v1/workflows/{}/{verb}", escaped(name));
    let workflow: Workflow = engine(global).await?.post(&path, &(), None).await?;
    if global.json {
        output::json(&workflow)?;
        return Ok(Exit::Done);
    }
    match &workflow.paused_at {
        Some(_) => output::note(format_args!(
            "workflow {name} is paused: schedules and webhooks start nothing; its runs go on"
        )),
        None => {
            output::note(format_args!("workflow {name} goes on; what was due meanwhile is not made up for"))
        }
    }
    describe(&workflow);
    Ok(Exit::Done)
}

fn describe(workflow: &Workflow) {
    if let Some(paused) = &workflow.paused_at {
        let why = if workflow.paused_by_failures { ": too many runs in a row have failed" } else { "" };
        output::note(format_args!("  paused since {} UTC{why}", output::time(paused)));
    }
    for schedule in &workflow.schedules {
        let next = match &schedule.next_at {
            Some(next) => format!("next {} UTC", output::time(next)),
            None if workflow.paused_at.is_some() || schedule.paused_at.is_some() => "paused".to_owned(),
            None => "never again".to_owned(),
        };
        output::note(format_args!("  at {} {}: {next}", schedule.cron, schedule.timezone));
        if let (Some(run), [_, ..]) = (&schedule.running, &schedule.waiting[..]) {
            let waiting: Vec<String> = schedule.waiting.iter().map(|due| output::time(due)).collect();
            output::note(format_args!("    waits for run {run}: {}", waiting.join(", ")));
        }
    }
    for metric in &workflow.metrics {
        output::note(format_args!("  when {} is {}: {}", metric.query, metric.threshold, measured(metric)));
    }
    for event in &workflow.events {
        output::note(format_args!("  when {event}"));
    }
    if let Some(path) = &workflow.webhook {
        output::note(format_args!("  by signed POST to {path}"));
    }
}

/// What a rule has seen, for a line.
fn measured(metric: &MetricRule) -> String {
    let seen = match (&metric.trouble, metric.value, &metric.measured_at) {
        (Some(trouble), _, _) => format!("not known, {trouble}"),
        (None, Some(value), _) => format!("now {value}"),
        (None, None, Some(_)) => "nothing is measured".to_owned(),
        (None, None, None) => "not measured yet".to_owned(),
    };
    match (&*metric.state, &metric.started_at) {
        ("clear", None) => seen,
        (state, None) => format!("{seen}, {state}"),
        (state, Some(started)) => format!("{seen}, {state}, last run {} UTC", output::time(started)),
    }
}

async fn list(global: &Global, engine: &Client) -> anyhow::Result<Exit> {
    let page: List<Workflow> = engine.get("/api/v1/workflows").await?;
    if global.json {
        output::json(&page)?;
        return Ok(Exit::Done);
    }
    let rows = page.items.into_iter().map(|workflow| {
        let next = workflow.schedules.iter().filter_map(|schedule| schedule.next_at.as_deref()).min();
        let next = match &workflow.paused_at {
            Some(_) => "paused".to_owned(),
            None => next.map(output::time).unwrap_or_default(),
        };
        let version = output::short_digest(&workflow.version).to_owned();
        vec![
            workflow.name,
            version,
            output::time(&workflow.applied_at),
            next,
            workflow.webhook.unwrap_or_default(),
        ]
    });
    output::table(&["WORKFLOW", "VERSION", "APPLIED (UTC)", "NEXT (UTC)", "WEBHOOK"], rows)?;
    Ok(Exit::Done)
}

async fn show(global: &Global, engine: &Client, named: &Named) -> anyhow::Result<Exit> {
    let workflow: Workflow = engine.get(&format!("/api/v1/workflows/{}", escaped(&named.name))).await?;
    if global.json {
        output::json(&workflow)?;
        return Ok(Exit::Done);
    }
    describe(&workflow);
    output::line(workflow.text.as_deref().unwrap_or_default().trim_end())?;
    Ok(Exit::Done)
}

/// Starts a run of a workflow that the engine keeps.
pub(crate) async fn trigger(global: &Global, arguments: Trigger) -> anyhow::Result<Exit> {
    super::run::refuse_doubles(&arguments.inputs)?;
    let engine = engine(global).await?;
    let Trigger { name: workflow, inputs, said, .. } = arguments;
    let (labels, inputs) = (said.labels(), inputs.into_iter().collect());
    let (no_cache, priority) = (said.no_cache, said.priority);
    let request = RunRequest { workflow, inputs, no_cache, labels, priority };
    let started: RunStarted = engine.post("/api/v1/runs", &request, arguments.key.as_deref()).await?;
    tell_started(global, &engine, &started, arguments.follow, arguments.verbose).await
}

/// Tells of a run that an engine has started, and watches it where that was asked for.
pub(super) async fn tell_started(
    global: &Global,
    engine: &Client,
    started: &RunStarted,
    follows: bool,
    is_verbose: bool,
) -> anyhow::Result<Exit> {
    if !follows {
        if global.json {
            output::json(started)?
        } else {
            output::line(&started.id)?
        }
        return Ok(Exit::Done);
    }
    // Before there is a run to be followed, a signal ends this as it ends any program.
    let mut interrupts = Interrupts::listen()?;
    if !global.json && !std::io::stdout().is_terminal() {
        output::unless_closed(output::line(&started.id))?;
    }
    let mut screen = Screen::new(view::choose(global.json, is_verbose));
    let followed = tokio::select! {
        followed = follow(engine, &started.id, &mut screen) => followed,
        _ = interrupts.next() => {
            screen.close();
            output::note(format_args!("the run goes on: yuanli runs show {}", started.id));
            return Ok(Exit::Interrupted);
        }
    };
    screen.close();
    match followed {
        Ok(Some(RunStatus::Succeeded)) => Ok(Exit::Done),
        Ok(Some(_)) => Ok(Exit::Failed),
        Ok(None) | Err(_) => {
            let why = followed.err().map(|error| format!(": {error:#}")).unwrap_or_default();
            output::note(format_args!(
                "the engine went away{why}; the run goes on when it is back: yuanli runs show {}",
                started.id
            ));
            Ok(Exit::Unreachable)
        }
    }
}

async fn follow(engine: &Client, run: &str, screen: &mut Screen) -> anyhow::Result<Option<RunStatus>> {
    let mut updates = Updates::of(engine, run);
    let mut status = None;
    while let Some(update) = updates.next(|notice| screen.notice(notice)).await? {
        if let Update::Event(event) = &update
            && let EventKind::Finished { status: ended, .. } = event.kind
        {
            status = Some(ended);
        }
        screen.show(&update);
    }
    Ok(status)
}
