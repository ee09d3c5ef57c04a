//! `yuanli runs`.

use hyper::Method;
use yuanli_api_types::{RetryOf, Run, Stage};
use yuanli_server::{RunFilter, printable_line};

use super::record;
use crate::access::Access;
use crate::arguments::{Approval, Global, List, Logs, Select};
use crate::exit::{Exit, Misuse};
use crate::output;
use crate::view::{Labels, plain_line};

/// How a run is shown that has not ended and that no engine drives.
const INTERRUPTED: &str = "interrupted";
/// And one that was open when its data directory was imported or adopted.
const RESTORED: &str = "restored";

pub(crate) async fn list(global: &Global, arguments: List) -> anyhow::Result<Exit> {
    let List { limit, after, workflow, status, labels } = arguments;
    let filter = RunFilter { workflow, status: status.map(Into::into), labels };
    let page = Access::of(global).await?.list(&filter, after.as_deref(), limit).await?;
    if global.json {
        output::json(&page)?;
        return Ok(Exit::Done);
    }
    let rows = page.items.into_iter().map(|run| {
        let took = run.duration_ms.map(output::duration).unwrap_or_default();
        let status = match (run.restored, run.resumable) {
            (true, _) => RESTORED,
            (false, true) => INTERRUPTED,
            (false, false) => run.status.name(),
        };
        vec![run.id, run.workflow, status.to_owned(), output::time(&run.created_at), took]
    });
    output::table(&["RUN", "WORKFLOW", "STATUS", "CREATED (UTC)", "TOOK"], rows)?;
    if let Some(next) = page.next {
        output::note(format_args!("more: the same with --after {next}"));
    }
    Ok(Exit::Done)
}

pub(crate) async fn show(global: &Global, arguments: Select) -> anyhow::Result<Exit> {
    let run = Access::of(global).await?.show(&arguments.run).await?;
    if global.json {
        output::json(&run)?;
        return Ok(Exit::Done);
    }
    show_run(&run)?;
    Ok(Exit::Done)
}

fn show_run(run: &Run) -> anyhow::Result<()> {
    let row = &run.summary;
    output::line(format_args!("run       {}", row.id))?;
    output::line(format_args!("workflow  {} ({})", row.workflow, output::short_digest(&row.version)))?;
    let took = row.duration_ms.map(|took| format!(" in {}", output::duration(took))).unwrap_or_default();
    match row.resumable {
        true => output::line(format_args!(
            "status    {}; `yuanli runs resume {}` goes on with it",
            if row.restored { RESTORED } else { INTERRUPTED },
            row.id
        ))?,
        false => output::line(format_args!("status    {}{took}", row.status.name()))?,
    }
    output::line(format_args!("created   {} UTC", output::time(&row.created_at)))?;
    show_cause(run)?;
    for (name, text) in &row.labels {
        output::line(format_args!("label     {} = {}", printable_line(name), printable_line(text)))?;
    }
    if let Some(priority) = run.priority {
        output::line(format_args!("priority  {priority}"))?;
    }
    for (name, value) in &run.inputs {
        output::line(format_args!("input     {name} = {}{}", output::value(value), before(run, name)))?;
    }
    output::line("")?;
    let rows = run.stages.iter().map(|stage| {
        let took = stage.attempts.last().and_then(|attempt| attempt.duration_ms);
        let plugin = format!("{} ({})", stage.pinned.plugin, output::short_digest(&stage.pinned.component));
        let took = took.map(output::duration).unwrap_or_default();
        let is_taken = stage.taken_from.is_some() && stage.attempts.is_empty();
        let is_cached = stage.attempts.last().is_some_and(|attempt| attempt.cached_from.is_some());
        let taken = match (is_taken, is_cached) {
            (true, _) => " (taken over)",
            (false, true) => " (from the cache)",
            (false, false) => "",
        };
        vec![
            stage.pinned.name.clone(),
            format!("{}{taken}", stage.status.name()),
            took,
            plugin,
            stage.pinned.needs.join(", "),
        ]
    });
    output::table(&["STAGE", "STATUS", "TOOK", "PLUGIN", "NEEDS"], rows)?;
    for stage in &run.stages {
        show_end(stage)?;
    }
    for summary in &run.summaries {
        output::line(format_args!("\n{} says:", summary.stage))?;
        for line in summary.text.lines() {
            output::line(format_args!("  {}", printable_line(line)))?;
        }
    }
    if !run.artifacts.is_empty() {
        output::line("")?;
        record::table_of(&run.artifacts)?;
    }
    if !run.emitted.is_empty() {
        output::line("")?;
        record::table_of_events(&run.emitted)?;
    }
    Ok(())
}

fn show_cause(run: &Run) -> anyhow::Result<()> {
    if let Some(RetryOf { run, from, .. }) = &run.retry_of {
        let from = match &from[..] {
            [] => "what did not succeed there runs again".to_owned(),
            from => format!("begun with {}", from.join(", ")),
        };
        output::line(format_args!("retry of  {run}; {from}"))?;
    }
    Ok(())
}

/// What an input was in the run that this one takes over from, where it was another one.
fn before(run: &Run, name: &str) -> String {
    let changed = run.retry_of.iter().flat_map(|retry_of| &retry_of.changed);
    let before = changed.filter(|changed| changed.name == name).map(|changed| match &changed.before {
        Some(before) => format!(" (was {})", output::value(before)),
        None => " (another one than before)".to_owned(),
    });
    before.collect()
}

fn show_end(stage: &Stage) -> anyhow::Result<()> {
    let name = &stage.pinned.name;
    if let Some(failure) = &stage.failure {
        output::line(format_args!("\n{name} failed{}", output::failure(failure)))?;
    }
    if let Some(reason) = &stage.skipped {
        output::line(format_args!("\n{name} was skipped: {reason}"))?;
    }
    if let Some(outputs) = stage.outputs.as_ref().and_then(|outputs| outputs.as_object()) {
        if !outputs.is_empty() {
            output::line(format_args!("\n{name} gave:"))?;
        }
        for (key, value) in outputs {
            output::line(format_args!("  {} = {}", printable_line(key), output::value(value)))?;
        }
    }
    Ok(())
}

pub(crate) async fn logs(global: &Global, arguments: Logs) -> anyhow::Result<Exit> {
    let access = Access::of(global).await?;
    // The same one for both questions, also when another run begins in between.
    let run = access.show(&arguments.run).await?;
    if let Some(wanted) = &arguments.stage {
        let names: Vec<&str> = run.stages.iter().map(|stage| stage.pinned.name.as_str()).collect();
        if !names.contains(&wanted.as_str()) {
            let (run, known) = (&run.summary.id, names.join(", "));
            return Err(Misuse(format!("run {run} has no stage `{wanted}`; it has {known}")).into());
        }
    }
    let labels = Labels::of_stages(&run.stages);
    let tell =
        |line| if global.json { output::json(&line) } else { output::line(plain_line(&labels, &line)) };
    access.logs(&run.summary.id, arguments.stage.as_deref(), tell).await?;
    Ok(Exit::Done)
}

pub(crate) async fn cancel(global: &Global, arguments: Select) -> anyhow::Result<Exit> {
    let of_nobody = crate::access::patiently(async || match crate::access::client(global).await? {
        Some(engine) => Ok(Err(engine)),
        None => super::run::end(global, &arguments).await.map(Ok),
    });
    let engine = match of_nobody.await? {
        Ok(exit) => return Ok(exit),
        Err(engine) => engine,
    };
    let path = format!("/api/v1/runs/{}/cancel", crate::access::escaped(&arguments.run));
    engine.tell(Method::POST, &path, None::<&()>).await?;
    output::note("the run is asked to end");
    Ok(Exit::Done)
}

pub(crate) async fn answer(global: &Global, arguments: Approval, approved: bool) -> anyhow::Result<Exit> {
    let Some(engine) = crate::access::client(global).await? else {
        let data = super::data(global)?;
        anyhow::bail!("no engine drives runs of {}: start one with `yuanli serve`", data.display());
    };
    // What is no JSON is a text.
    let value = |text: String| serde_json::from_str(&text).unwrap_or(serde_json::Value::String(text));
    let answer = yuanli_api_types::ApprovalAnswer {
        approved,
        by: arguments.by,
        comment: arguments.comment,
        inputs: arguments.inputs.into_iter().map(|(name, text)| (name, value(text))).collect(),
    };
    let [run, stage] = [&arguments.run, &arguments.stage].map(|part| crate::access::escaped(part));
    engine.tell(Method::POST, &format!("/api/v1/runs/{run}/stages/{stage}/answer"), Some(&answer)).await?;
    let what = if approved { "approved" } else { "not approved" };
    output::note(format_args!("stage `{}` is {what}", arguments.stage));
    Ok(Exit::Done)
}
