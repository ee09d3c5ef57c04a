//! Runs that take over from others: started here, or by the engine that serves.

use std::io::{self, IsTerminal as _};

use yuanli_api_types::{RetryRequest, RunStarted};
use yuanli_server::{Owner, SharedEngine, Unretried};

use super::super::interrupt::Interrupts;
use super::super::question::Questions;
use super::super::workflow;
use super::there::{self, Showing};
use super::{Watch, read_once, refuse_doubles};
use crate::access::{self, escaped};
use crate::arguments::{Global, Retry};
use crate::client::Client;
use crate::exit::{Exit, Misuse};
use crate::output;
use crate::succession::{self, Succession};
use crate::view::{self, Screen};

/// `yuanli runs retry`.
pub(crate) async fn retry(global: &Global, mut arguments: Retry) -> anyhow::Result<Exit> {
    refuse_doubles(&arguments.inputs)?;
    let request = RetryRequest {
        from: std::mem::take(&mut arguments.from),
        inputs: std::mem::take(&mut arguments.inputs).into_iter().collect(),
        latest: arguments.latest,
        no_cache: arguments.no_cache,
    };
    let mut secrets = None;
    access::patiently(async || match access::owner(global).await? {
        Some((owner, engine)) => there(global, (owner, &engine), &arguments, &request).await,
        None => {
            let secrets = read_once(&mut secrets, &arguments.secrets)?;
            let mut interrupts = Interrupts::listen()?;
            let engine = SharedEngine::open(&super::super::locations(global)?, secrets).await?;
            let outcome = here(global, &engine, &arguments, request.clone(), &mut interrupts).await;
            succession::end(engine, &mut interrupts).await;
            outcome
        }
    })
    .await
}

/// In an engine that serves the run goes on by itself; in that of another command it is shown as if it ran here.
async fn there(
    global: &Global,
    (owner, engine): (Owner, &Client),
    arguments: &Retry,
    request: &RetryRequest,
) -> anyhow::Result<Exit> {
    match owner {
        _ if arguments.secrets.is_empty() => {}
        Owner::Command => return Err(there::needs_own_engine("--secret")),
        Owner::Service => {
            let why = "an engine that serves has secrets of its own: `yuanli secret set` gives it one";
            return Err(Misuse(why.to_owned()).into());
        }
    }
    let path = format!("/api/v1/runs/{}/retry", escaped(&arguments.run));
    let started: RunStarted = engine.post(&path, request, arguments.key.as_deref()).await?;
    if owner == Owner::Service {
        return workflow::tell_started(global, engine, &started, arguments.follow, arguments.verbose).await;
    }
    let mut interrupts = Interrupts::listen()?;
    let succession = Succession::new(super::super::locations(global)?);
    there::tell_run(global, &started.id);
    let questions = Questions::new(arguments.approve.clone(), global.json);
    let showing = Showing { is_verbose: arguments.verbose, questions };
    let outcome =
        there::follow(global, (engine, Some(&succession)), started.id, showing, &mut interrupts).await;
    succession.end(&mut interrupts).await;
    outcome
}

async fn here(
    global: &Global,
    engine: &SharedEngine,
    arguments: &Retry,
    request: RetryRequest,
    interrupts: &mut Interrupts,
) -> anyhow::Result<Exit> {
    engine.recover().await?;
    let run = access::select(engine, &arguments.run).await?;
    let run = match engine.retry_here(run, request).await? {
        Ok(run) => run,
        Err(Unretried::NotNow(why) | Unretried::Wrong(why)) => return Err(Misuse(why).into()),
        Err(Unretried::Document(document)) => {
            super::tell(global.json, &document)?;
            return Ok(Exit::Usage);
        }
    };
    if !global.json && !io::stdout().is_terminal() {
        output::unless_closed(output::line(run))?;
    }
    let screen = Screen::new(view::choose(global.json, arguments.verbose));
    let questions = Questions::new(arguments.approve.clone(), global.json);
    let mut watch =
        Watch { engine, run, screen, interrupts, changes: None, questions, is_interrupted: false };
    watch.exit().await
}
