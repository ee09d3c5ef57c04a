//! Runs whose command was killed: gone on with here, as if it had not been, or ended.

use hyper::Method;
use yuanli_api_types::{List, Run, RunSummary};
use yuanli_server::{Engine, Owner, RunId, SharedEngine};

use super::super::interrupt::Interrupts;
use super::super::question::Questions;
use super::there::{self, Showing};
use super::{Watch, read_once};
use crate::access;
use crate::arguments::{Global, Resume, Select};
use crate::client::Client;
use crate::exit::{Exit, Misuse};
use crate::output;
use crate::succession::{self, Succession};
use crate::view::{self, Screen};

/// `yuanli runs resume`.
pub(crate) async fn resume(global: &Global, arguments: Resume) -> anyhow::Result<Exit> {
    let mut secrets = None;
    access::patiently(async || match access::owner(global).await? {
        Some((Owner::Service, engine)) => tell(&engine, arguments.run.as_deref()).await,
        Some((Owner::Command, engine)) => beside(global, &engine, &arguments).await,
        None => {
            let secrets = read_once(&mut secrets, &arguments.secrets)?;
            let mut interrupts = Interrupts::listen()?;
            let engine = SharedEngine::open(&super::super::locations(global)?, secrets).await?;
            let outcome = go_on(global, &engine, &arguments, &mut interrupts).await;
            succession::end(engine, &mut interrupts).await;
            outcome
        }
    })
    .await
}

/// Has an engine that serves go on with a run.
async fn tell(engine: &Client, run: Option<&str>) -> anyhow::Result<Exit> {
    let Some(run) = run else {
        return Err(Misuse(
            "the engine that serves goes on with its runs by itself; `yuanli runs list` shows them"
                .to_owned(),
        )
        .into());
    };
    go_on_there(engine, run).await?;
    output::note(format_args!("run {run} goes on: yuanli runs logs {run} --follow"));
    Ok(Exit::Done)
}

async fn go_on_there(engine: &Client, run: &str) -> anyhow::Result<()> {
    let path = format!("/api/v1/runs/{}/resume", access::escaped(run));
    engine.tell(Method::POST, &path, None::<&()>).await.map(drop)
}

/// Goes on with runs in the engine of another command, and shows them one after the other.
async fn beside(global: &Global, engine: &Client, arguments: &Resume) -> anyhow::Result<Exit> {
    if !arguments.secrets.is_empty() {
        return Err(there::needs_own_engine("--secret"));
    }
    let mut interrupts = Interrupts::listen()?;
    let succession = Succession::new(super::super::locations(global)?);
    let outcome = async {
        let mut exit = Exit::Done;
        for run in begun_there(engine, arguments.run.as_deref()).await? {
            let questions = Questions::new(arguments.approve.clone(), global.json);
            let showing = Showing { is_verbose: arguments.verbose, questions };
            match there::follow(global, (engine, Some(&succession)), run, showing, &mut interrupts).await? {
                Exit::Done => {}
                other => exit = other,
            }
        }
        Ok(exit)
    };
    let outcome = outcome.await;
    succession.end(&mut interrupts).await;
    outcome
}

/// The runs that are meant, once they go on.
async fn begun_there(engine: &Client, run: Option<&str>) -> anyhow::Result<Vec<String>> {
    if let Some(run) = run {
        let run: Run = engine.get(&format!("/api/v1/runs/{}", access::escaped(run))).await?;
        go_on_there(engine, &run.summary.id).await?;
        return Ok(vec![run.summary.id]);
    }
    let open: List<RunSummary> = engine.get("/api/v1/runs?status=running&limit=1000").await?;
    let mut begun = Vec::new();
    // Oldest first: those that stages of them have started go on with them.
    for run in open.items.into_iter().rev().filter(|run| run.resumable && !run.restored) {
        if go_on_there(engine, &run.id).await.is_ok() {
            begun.push(run.id);
        }
    }
    if begun.is_empty() {
        return Err(Misuse("there is no run to go on with".to_owned()).into());
    }
    Ok(begun)
}

/// Goes on with runs, all at the same time, and shows them one after the other.
async fn go_on(
    global: &Global,
    engine: &SharedEngine,
    arguments: &Resume,
    interrupts: &mut Interrupts,
) -> anyhow::Result<Exit> {
    let left = engine.recover().await?;
    let runs = chosen(engine, left, arguments.run.as_deref()).await?;
    for &run in &runs {
        engine.resume_run(run).await?;
    }
    let mut exit = Exit::Done;
    for run in runs {
        let screen = Screen::new(view::choose(global.json, arguments.verbose));
        let questions = Questions::new(arguments.approve.clone(), global.json);
        let mut watch =
            Watch { engine, run, screen, interrupts, changes: None, questions, is_interrupted: false };
        match watch.exit().await? {
            Exit::Done => {}
            other => exit = other,
        }
    }
    Ok(exit)
}

/// Ends a run that no engine drives.
pub(crate) async fn end(global: &Global, arguments: &Select) -> anyhow::Result<Exit> {
    let engine = Engine::open(&super::super::locations(global)?).await?;
    let ended = async {
        for run in chosen(&engine, engine.recover().await?, Some(&arguments.run)).await? {
            // Of one that came from elsewhere nothing begins again, not even to be ended.
            if !engine.close_restored(run).await? {
                engine.resume_run(run).await?;
                engine.cancel_durably(run, "somebody asked").await?;
                engine.settle(run).await?;
            }
            output::note(format_args!("run {run} is ended"));
        }
        Ok(Exit::Done)
    };
    let ended = ended.await;
    engine.close().await;
    ended
}

/// The runs that are meant, of those that were left.
async fn chosen(engine: &Engine, left: Vec<RunId>, run: Option<&str>) -> anyhow::Result<Vec<RunId>> {
    let Some(run) = run else {
        // On those that came from elsewhere people decide one by one.
        let (restored, own): (Vec<RunId>, Vec<RunId>) =
            left.into_iter().partition(|run| engine.is_restored(*run));
        if own.is_empty() {
            let restored: Vec<String> = restored.iter().map(ToString::to_string).collect();
            let why = match restored.as_slice() {
                [] => "there is no run to go on with".to_owned(),
                ids => format!(
                    "all runs to go on with came with a copy or an import; name the one that is meant: {}",
                    ids.join(", ")
                ),
            };
            return Err(Misuse(why).into());
        }
        return Ok(own);
    };
    let run = access::select(engine, run).await?;
    if left.contains(&run) {
        return Ok(vec![run]);
    }
    let others = match &left[..] {
        [] => "no run does".to_owned(),
        left => format!("these do: {}", left.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
    };
    Err(Misuse(format!("run {run} does not wait to be gone on with; {others}")).into())
}
