//! `yuanli runs artifacts`, `yuanli runs events`, `yuanli plugin state`.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use yuanli_api_types::{Artifact, Emitted, List};
use yuanli_server::{WantedArtifact, printable_line};

use crate::access::Access;
use crate::arguments::{Artifacts, Global, Select, StateCommand};
use crate::exit::Exit;
use crate::output;

/// Longest value that is told in a table, in characters.
const LONGEST: usize = 80;

pub(crate) async fn artifacts(global: &Global, arguments: Artifacts) -> anyhow::Result<Exit> {
    let access = Access::of(global).await?;
    let Artifacts { run, name, stage, instance, attempt, output } = arguments;
    if let (Some(name), Some(output)) = (name, output) {
        let wanted = WantedArtifact { name, stage, instance, attempt };
        return fetch(global, &access, &run, &wanted, &output).await;
    }
    let mut items = access.artifacts(&run).await?;
    items.retain(|artifact| stage.as_ref().is_none_or(|stage| artifact.stage == *stage));
    if global.json {
        output::json(&List { items, next: None })?;
    } else {
        table_of(&items)?;
    }
    Ok(Exit::Done)
}

pub(crate) fn table_of(artifacts: &[Artifact]) -> anyhow::Result<()> {
    let rows = artifacts.iter().map(|artifact| {
        vec![
            label(&artifact.stage, artifact.instance),
            artifact.attempt.to_string(),
            printable_line(&artifact.name).into_owned(),
            output::size(artifact.size_bytes),
            printable_line(&artifact.media_type).into_owned(),
            output::short_digest(&artifact.digest).to_owned(),
        ]
    });
    output::table(&["STAGE", "ATTEMPT", "ARTIFACT", "SIZE", "TYPE", "DIGEST"], rows)
}

async fn fetch(
    global: &Global,
    access: &Access,
    run: &str,
    wanted: &WantedArtifact,
    output: &str,
) -> anyhow::Result<Exit> {
    if output == "-" {
        let mut out = io::stdout().lock();
        access.artifact(run, wanted, &mut out).await?;
        out.flush().map_err(|error| anyhow::anyhow!("standard output: {error}"))?;
        return Ok(Exit::Done);
    }
    let target = Path::new(output);
    let beside = beside(target)?;
    let mut file =
        File::create(&beside).with_context(|| format!("{} cannot be written", beside.display()))?;
    let fetched = access.artifact(run, wanted, &mut file).await;
    let placed = fetched.and_then(|artifact| {
        std::fs::rename(&beside, target).with_context(|| format!("{output} cannot be written"))?;
        Ok(artifact)
    });
    let artifact = placed.inspect_err(|_| {
        // What came of it is of no use; that it cannot be removed either is not what went wrong.
        let _ = std::fs::remove_file(&beside);
    })?;
    if global.json {
        output::json(&artifact)?;
    } else {
        output::note(format_args!(
            "{} of stage `{}`: {}, in {output}",
            printable_line(&artifact.name),
            artifact.stage,
            output::size(artifact.size_bytes)
        ));
    }
    Ok(Exit::Done)
}

/// Where a file is written until it is whole.
fn beside(target: &Path) -> anyhow::Result<PathBuf> {
    let name = target.file_name().with_context(|| format!("{} is no file", target.display()))?;
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(format!(".{}.part", std::process::id()));
    Ok(target.with_file_name(hidden))
}

pub(crate) async fn events(global: &Global, arguments: Select) -> anyhow::Result<Exit> {
    let items = Access::of(global).await?.emitted(&arguments.run).await?;
    if global.json {
        output::json(&List { items, next: None })?;
    } else {
        table_of_events(&items)?;
    }
    Ok(Exit::Done)
}

pub(crate) fn table_of_events(events: &[Emitted]) -> anyhow::Result<()> {
    let rows = events.iter().map(|event| {
        vec![
            output::time(&event.time),
            label(&event.stage, event.instance),
            printable_line(&event.kind).into_owned(),
            printable_line(event.subject.as_deref().unwrap_or_default()).into_owned(),
            short(&event.data.to_string()),
        ]
    });
    output::table(&["TIME (UTC)", "STAGE", "EVENT", "SUBJECT", "DATA"], rows)
}

pub(crate) async fn state(global: &Global, command: StateCommand) -> anyhow::Result<Exit> {
    let access = Access::of(global).await?;
    match command {
        StateCommand::List { workflow: Some(workflow), plugin: Some(plugin) } => {
            values(global, &access, &workflow, &plugin).await
        }
        StateCommand::List { .. } => owners(global, &access).await,
        StateCommand::Clear { workflow, plugin } => {
            let cleared = access.clear_state(&workflow, &plugin).await?;
            if global.json {
                output::json(&cleared)?;
            } else {
                let keys = output::count(usize::try_from(cleared.keys).unwrap_or(usize::MAX), "key");
                output::note(format_args!("removed {keys} of plugin `{plugin}` in workflow `{workflow}`"));
            }
            Ok(Exit::Done)
        }
    }
}

async fn owners(global: &Global, access: &Access) -> anyhow::Result<Exit> {
    let items = access.state_owners().await?;
    if global.json {
        output::json(&List { items, next: None })?;
        return Ok(Exit::Done);
    }
    let rows = items.into_iter().map(|owner| {
        vec![owner.workflow, owner.plugin, owner.keys.to_string(), output::size(owner.size_bytes)]
    });
    output::table(&["WORKFLOW", "PLUGIN", "KEYS", "SIZE"], rows)?;
    Ok(Exit::Done)
}

async fn values(global: &Global, access: &Access, workflow: &str, plugin: &str) -> anyhow::Result<Exit> {
    let items = access.state_values(workflow, plugin).await?;
    if global.json {
        output::json(&List { items, next: None })?;
        return Ok(Exit::Done);
    }
    let rows = items.into_iter().map(|value| {
        let shown = match &value.text {
            Some(text) => short(text),
            None => format!("{} bytes", value.size_bytes),
        };
        vec![
            printable_line(&value.key).into_owned(),
            shown,
            value.revision.to_string(),
            output::time(&value.changed_at),
        ]
    });
    output::table(&["KEY", "VALUE", "REVISION", "CHANGED (UTC)"], rows)?;
    Ok(Exit::Done)
}

fn label(stage: &str, instance: u32) -> String {
    if instance == 0 { stage.to_owned() } else { format!("{stage}[{instance}]") }
}

/// A text on one line, and no longer than fits beside others.
fn short(text: &str) -> String {
    let shown = printable_line(text);
    if shown.chars().count() <= LONGEST {
        return shown.into_owned();
    }
    shown.chars().take(LONGEST - 1).chain(['…']).collect()
}
