//! Runs whose command was killed: gone on with here, as if it had not been, or ended.

use hyper::Method;
use yuanli_server::{Engine, RunId};

use super::super::interrupt::Interrupts;
use super::super::question::Questions;
use super::{Watch, read_secrets};
use crate::access;
use crate::arguments::{Global, Resume, Select};
use crate::exit::{Exit, Misuse};
use crate::output;
use crate::view::{self, Screen};

/// `yuanli runs resume`.
pub(crate) async fn resume(global: &Global, mut arguments: Resume) -> anyhow::Result<Exit> {
    if let Some(engine) = access::client(global).await? {
        let Some(run) = &arguments.run else {
            return Err(Misuse(
                "the engine that serves goes on with its runs by itself; `yuanli runs list` shows them"
                    .to_owned(),
            )
            .into());
        };
        let path = format!("/api/v1/runs/{}/resume", access::escaped(run));
        engine.tell(Method::POST, &path, None::<&()>).await?;
        output::note(format_args!("run {run} goes on: yuanli runs logs {run} --follow"));
        return Ok(Exit::Done);
    }
    let secrets = read_secrets(std::mem::take(&mut arguments.secrets))?;
    let mut interrupts = Interrupts::listen()?;
    let engine = Engine::open_with(&super::super::locations(global)?, secrets).await?;
    let outcome = go_on(global, &engine, &arguments, &mut interrupts).await;
    engine.close().await;
    outcome
}

/// Goes on with runs, all at the same time, and shows them one after the other.
async fn go_on(
    global: &Global,
    engine: &Engine,
    arguments: &Resume,
    interrupts: &mut Interrupts,
) -> anyhow::Result<Exit> {
    let runs = chosen(engine, arguments.run.as_deref()).await?;
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
        for run in chosen(&engine, Some(&arguments.run)).await? {
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
async fn chosen(engine: &Engine, run: Option<&str>) -> anyhow::Result<Vec<RunId>> {
    let left = engine.recover().await?;
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
