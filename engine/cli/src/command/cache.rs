//! `yuanli cache`: what is cached of stages.

use yuanli_api_types::{CacheCleared, CacheForeseen, CacheOutlook, CacheQuestion, CachedStages, List};
use yuanli_server::Engine;

use super::{data, locations};
use crate::access::{Access, client, escaped};
use crate::arguments::{CacheCommand, Global};
use crate::exit::{Exit, Misuse};
use crate::output;

pub(crate) async fn perform(global: &Global, command: CacheCommand) -> anyhow::Result<Exit> {
    let access = Access::of(global).await?;
    let outcome = match command {
        CacheCommand::List => list(global, &access).await,
        CacheCommand::Clear(arguments) => clear(global, &access, arguments.workflow).await,
    };
    if let Access::Here(engine) = access {
        engine.close().await;
    }
    outcome.map(|()| Exit::Done)
}

/// What of earlier attempts would stand for stages of a workflow. Where no engine is meant and there is no data directory,
/// nothing is kept, and none is made.
pub(super) async fn outlook(
    global: &Global,
    workflow: &str,
    question: CacheQuestion,
) -> anyhow::Result<Vec<CacheOutlook>> {
    if let Some(client) = client(global).await? {
        let path = format!("/api/v1/cache/{}/outlook", escaped(workflow));
        return Ok(client.post::<List<CacheOutlook>>(&path, &question, None).await?.items);
    }
    if !data(global)?.join("engine.json").exists() {
        let nothing =
            |stage| CacheOutlook { stage, finding: CacheForeseen::Nothing, run: None, parts: Vec::new() };
        return Ok(question.stages.into_iter().map(|asked| nothing(asked.stage)).collect());
    }
    let engine = Engine::open(&locations(global)?).await?;
    let outlooks = engine.foresee(workflow, question).await;
    engine.close().await;
    Ok(outlooks?.map_err(Misuse)?)
}

async fn cached(access: &Access) -> anyhow::Result<Vec<CachedStages>> {
    match access {
        Access::Here(engine) => engine.cached().await,
        Access::There(client) => Ok(client.get::<List<CachedStages>>("/api/v1/cache").await?.items),
    }
}

async fn list(global: &Global, access: &Access) -> anyhow::Result<()> {
    let items = cached(access).await?;
    if global.json {
        return output::json(&List { items, next: None });
    }
    let rows = items.into_iter().map(|of| vec![of.workflow, of.entries.to_string()]);
    output::table(&["WORKFLOW", "CACHED STAGES"], rows)
}

/// Those of one workflow, or of all.
async fn clear(global: &Global, access: &Access, workflow: Option<String>) -> anyhow::Result<()> {
    let workflows = match workflow {
        Some(workflow) => vec![workflow],
        None => cached(access).await?.into_iter().map(|of| of.workflow).collect(),
    };
    let mut entries = 0;
    for workflow in workflows {
        let cleared: CacheCleared = match access {
            Access::Here(engine) => engine.clear_cache(&workflow).await?.map_err(Misuse)?,
            Access::There(client) => client.delete(&format!("/api/v1/cache/{}", escaped(&workflow))).await?,
        };
        entries += cleared.entries;
    }
    if global.json {
        return output::json(&CacheCleared { entries });
    }
    output::note(format_args!("{} removed", output::count(entries as usize, "cached stage")));
    Ok(())
}
