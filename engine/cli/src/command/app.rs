//! `yuanli app` and `yuanli why`.

use std::time::Duration;

use hyper::{Method, StatusCode};
use serde_json::Value;
use yuanli_api_types::{App, AppChange, AppDocument, AppSummary, Decision, List, Why};
use yuanli_server::{printable, source};

use crate::access::{engine, escaped};
use crate::arguments::{AppApply, AppCommand, Global, Named};
use crate::client::Client;
use crate::exit::Exit;
use crate::output;

/// How often the engine is asked how far a roll-out is.
const LOOK: Duration = Duration::from_millis(200);

pub(crate) async fn perform(global: &Global, command: AppCommand) -> anyhow::Result<Exit> {
    let engine = engine(global).await?;
    match command {
        AppCommand::Apply(arguments) => apply(global, &engine, arguments).await,
        AppCommand::List => list(global, &engine).await,
        AppCommand::Show(Named { name }) => {
            let app: App = engine.get(&path(&name)).await?;
            if global.json {
                output::json(&app)?
            } else {
                show(&app)?
            }
            Ok(Exit::Done)
        }
        AppCommand::Delete(Named { name }) => {
            let status = engine.tell(Method::DELETE, &path(&name), None::<&()>).await?;
            let is_gone = status == StatusCode::NO_CONTENT;
            let how = if is_gone { "is deleted" } else { "is on its way out" };
            output::note(format_args!("app {name} {how}; its volumes stay"));
            Ok(Exit::Done)
        }
    }
}

fn path(name: &str) -> String {
    format!("/api/v1/apps/{}", escaped(name))
}

async fn apply(global: &Global, engine: &Client, arguments: AppApply) -> anyhow::Result<Exit> {
    let source = source::read(&arguments.file).await.map_err(super::unread)?;
    let mut document = AppDocument { file: source.name, text: source.text, dry_run: true };
    let planned: AppChange = engine.post("/api/v1/apps", &document, None).await?;
    if !global.json {
        tell(&planned);
    }
    if arguments.dry_run {
        if global.json {
            output::json(&planned)?;
        }
        return Ok(Exit::Done);
    }
    document.dry_run = false;
    let applied: AppChange = engine.post("/api/v1/apps", &document, None).await?;
    if global.json {
        output::json(&applied)?;
    } else {
        let release = applied.release.map(|release| format!(", release #{release}")).unwrap_or_default();
        output::note(format_args!("app {}{release}", applied.app));
    }
    if arguments.wait {
        wait(engine, &applied.app, Duration::from_secs(arguments.timeout)).await
    } else {
        Ok(Exit::Done)
    }
}

/// What applying a document changes, as a list.
fn tell(change: &AppChange) {
    if change.is_new {
        output::note(format_args!("app {} is new", change.app));
    } else if change.changes.is_empty() {
        output::note(format_args!("app {} is as the document says", change.app));
    }
    for change in change.changes.iter().take(if change.is_new { 0 } else { usize::MAX }) {
        let path = printable(&change.path);
        if let Some(before) = &change.before {
            output::note(format_args!("  - {path}: {}", output::value(before)));
        }
        if let Some(after) = &change.after {
            output::note(format_args!("  + {path}: {}", output::value(after)));
        }
    }
}

/// Waits until all replicas serve, or it is known that they do not come to.
async fn wait(engine: &Client, name: &str, timeout: Duration) -> anyhow::Result<Exit> {
    let mut troubles = Vec::new();
    let waited = tokio::time::timeout(timeout, async {
        loop {
            let app: App = engine.get(&path(name)).await?;
            troubles.clone_from(&app.troubles);
            match app.summary.status.as_str() {
                "healthy" => return Ok(app),
                "failed" => {
                    let why = app.rollout.clone().unwrap_or_default();
                    anyhow::bail!("app {name} does not come to serve: {why}");
                }
                _ => tokio::time::sleep(LOOK).await,
            }
        }
    });
    match waited.await {
        Ok(Ok(app)) => {
            output::note(format_args!("{} replicas serve", app.summary.ready));
            Ok(Exit::Done)
        }
        Ok(Err(error)) => {
            output::note(format_args!("{error:#}"));
            Ok(Exit::Failed)
        }
        Err(_) => {
            output::note(format_args!(
                "app {name} does not serve after {} s; it is still tried",
                timeout.as_secs()
            ));
            troubles.iter().for_each(output::note);
            Ok(Exit::Failed)
        }
    }
}

async fn list(global: &Global, engine: &Client) -> anyhow::Result<Exit> {
    let page: List<AppSummary> = engine.get("/api/v1/apps").await?;
    if global.json {
        output::json(&page)?;
        return Ok(Exit::Done);
    }
    let rows = page.items.into_iter().map(|app| {
        let release = app.release.map(|release| format!("#{release}")).unwrap_or_default();
        let ready = format!("{}/{}", app.ready, app.desired);
        vec![app.name, app.status, ready, release, app.image, app.route.unwrap_or_default()]
    });
    output::table(&["APP", "STATUS", "READY", "RELEASE", "IMAGE", "ROUTE"], rows)?;
    Ok(Exit::Done)
}

fn show(app: &App) -> anyhow::Result<()> {
    let row = &app.summary;
    output::line(format_args!("app       {}", row.name))?;
    output::line(format_args!("status    {}, {} of {} replicas serve", row.status, row.ready, row.desired))?;
    output::line(format_args!("image     {}", printable(&row.image)))?;
    if let Some(route) = &row.route {
        output::line(format_args!("route     {route}"))?;
    }
    if let Some(rollout) = &app.rollout {
        output::line(format_args!("roll-out  {}", printable(rollout)))?;
    }
    for trouble in &app.troubles {
        output::line(format_args!("trouble   {}", printable(trouble)))?;
    }
    if let Some(in_flight) = app.in_flight {
        let cpu = app.cpu_percent.map(|percent| format!(", cpu {percent} %")).unwrap_or_default();
        output::line(format_args!("load      {in_flight} requests in flight{cpu}"))?;
    }
    output::line("")?;
    let number = |number: Option<u64>| number.map(|number| number.to_string()).unwrap_or_default();
    let rows = app.releases.iter().map(|release| {
        let weight = release.weight.map(|weight| format!("{weight} %")).unwrap_or_default();
        let p95 = release.p95_us.map(|p95| format!("{} ms", p95 as f64 / 1_000.0)).unwrap_or_default();
        let image = output::short_digest(&release.image_id).to_owned();
        vec![
            format!("#{}", release.release),
            image,
            weight,
            number(release.requests),
            number(release.errors),
            p95,
        ]
    });
    output::table(&["RELEASE", "IMAGE", "WEIGHT", "REQUESTS", "ERRORS", "P95"], rows)?;
    output::line("")?;
    let rows = app.replicas.iter().map(|replica| {
        vec![
            replica.number.to_string(),
            format!("#{}", replica.release),
            replica.address.clone(),
            replica.phase.clone(),
        ]
    });
    output::table(&["REPLICA", "RELEASE", "ADDRESS", "PHASE"], rows)?;
    if let Some(gray) = &app.gray {
        output::line(format_args!("\ngray release #{}:", gray.release))?;
        for happening in &gray.happenings {
            let time = output::time(&happening.at);
            output::line(format_args!(
                "  {time}  {:>3} %  {}",
                happening.weight,
                printable(&happening.message)
            ))?;
            if let Some(evidence) = &happening.evidence {
                show_evidence(evidence)?;
            }
        }
    }
    Ok(())
}

fn show_evidence(evidence: &Value) -> anyhow::Result<()> {
    for kind in ["errors", "slow"] {
        let of = &evidence[kind];
        output::line(format_args!(
            "    {kind}: {} of the new release, {} of the old one; odds that it is worse {:.2} (20 turns it back)",
            of["canary"],
            of["stable"],
            of["worse_odds"].as_f64().unwrap_or_default(),
        ))?;
    }
    Ok(())
}

/// Why an app has as many replicas as it has.
pub(crate) async fn why(global: &Global, name: &str) -> anyhow::Result<Exit> {
    let engine = engine(global).await?;
    let why: Why = engine.get(&format!("{}/why", path(name))).await?;
    if global.json {
        output::json(&why)?;
        return Ok(Exit::Done);
    }
    let told = |decision: &Decision| -> anyhow::Result<()> {
        output::line(format_args!("{}  {} replicas", output::time(&decision.at), decision.desired))?;
        decision.reasons.iter().try_for_each(|reason| output::line(format_args!("    {}", printable(reason))))
    };
    output::line("now")?;
    told(&why.now)?;
    if !why.decisions.is_empty() {
        output::line("\nbefore, newest first")?;
    }
    why.decisions.iter().rev().try_for_each(told)?;
    Ok(Exit::Done)
}
