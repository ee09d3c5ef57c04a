//! Runs that take over from others: started here, or by the engine that serves.

use std::io::{self, IsTerminal as _};

use yuanli_api_types::{RetryRequest, RunStarted};
use yuanli_server::{Engine, Unretried};

use super::super::interrupt::Interrupts;
use super::super::question::Questions;
use super::super::workflow;
use super::{Watch, read_secrets, refuse_doubles};
use crate::access::{self, escaped};
use crate::arguments::{Global, Retry};
use crate::exit::{Exit, Misuse};
use crate::output;
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
    if let Some(client) = access::client(global).await? {
        if !arguments.secrets.is_empty() {
            let why = "an engine that serves has secrets of its own: `yuanli secret set` gives it one";
            return Err(Misuse(why.to_owned()).into());
        }
        let path = format!("/api/v1/runs/{}/retry", escaped(&arguments.run));
        let started: RunStarted = client.post(&path, &request, arguments.key.as_deref()).await?;
        return workflow::tell_started(global, &client, &started, arguments.follow, arguments.verbose).await;
    }
    let secrets = read_secrets(std::mem::take(&mut arguments.secrets))?;
    let mut interrupts = Interrupts::listen()?;
    let engine = Engine::open_with(&super::super::locations(global)?, secrets).await?;
    let outcome = here(global, &engine, &arguments, request, &mut interrupts).await;
    engine.close().await;
    outcome
}

async fn here(
    global: &Global,
    engine: &Engine,
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
