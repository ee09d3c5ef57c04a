//! `yuanli plugin`.

mod add;
mod keys;
mod test;

pub(crate) use test::told;

use serde_json::Value;
use yuanli_api_types::{List, LockFile, LockedPlugin, PluginInspection, PluginLimits, PluginOrigin, Right};
use yuanli_server::printable_line;

use crate::arguments::{Global, Inspect, NamedPlugin, PluginCommand, PluginLock};
use crate::exit::{Exit, Misuse};
use crate::output;

pub(crate) async fn perform(global: &Global, command: PluginCommand) -> anyhow::Result<Exit> {
    match command {
        PluginCommand::List => list(global).await,
        PluginCommand::Inspect(arguments) => inspect(global, &arguments).await,
        PluginCommand::Add(arguments) => add::add(global, &arguments).await,
        PluginCommand::Remove(plugin) => remove(global, &plugin).await,
        PluginCommand::Lock(arguments) => lock(global, &arguments).await,
        PluginCommand::New(arguments) => super::author::new(global, arguments),
        PluginCommand::State { command } => super::record::state(global, command).await,
        PluginCommand::Build(arguments) => super::author::build(global, arguments).await,
        PluginCommand::Test(arguments) => test::test(global, arguments).await,
        PluginCommand::Pack(arguments) => super::author::pack(global, arguments).await,
    }
}

async fn list(global: &Global) -> anyhow::Result<Exit> {
    let listing = super::library(global)?.list().await?;
    for why in &listing.damaged {
        output::note(format_args!("left out: {why}"));
    }
    if global.json {
        output::json(&List { items: listing.plugins, next: None })?;
        return Ok(Exit::Done);
    }
    let rows = listing.plugins.into_iter().map(|plugin| {
        let digest = output::short_digest(&plugin.digest).to_owned();
        let rights = names(&plugin.rights);
        vec![plugin.name, plugin.version, origin(plugin.origin).to_owned(), rights, plugin.summary, digest]
    });
    output::table(&["NAME", "VERSION", "ORIGIN", "RIGHTS", "WHAT IT DOES", "DIGEST"], rows)?;
    Ok(Exit::Done)
}

async fn inspect(global: &Global, arguments: &Inspect) -> anyhow::Result<Exit> {
    let library = super::library(global)?;
    let found = match arguments.claimed {
        true => library.inspect_unrun(&arguments.plugin).await,
        false => library.inspect(&arguments.plugin).await,
    };
    let found = found.map_err(super::unread)?;
    let printed = if global.json { output::json(&found) } else { tell(&found) };
    output::unless_closed(printed)?;
    let Some(error) = found.error else { return Ok(Exit::Done) };
    output::note(format_args!("error: {error}"));
    Ok(Exit::Failed)
}

fn tell(found: &PluginInspection) -> anyhow::Result<()> {
    if let (Some(name), Some(version)) = (&found.name, &found.version) {
        output::line(format_args!("{} {}", printable_line(name), printable_line(version)))?;
    }
    if let Some(summary) = &found.summary {
        output::line(format_args!("  {}", printable_line(summary)))?;
    }
    if found.claimed {
        output::line("  claimed: this is what its file says of it; it was not asked itself")?;
    }
    output::line(format_args!("origin  {}", origin(found.origin)))?;
    output::line(format_args!("digest  {}", found.digest))?;
    output::line(format_args!("size    {}", output::size(found.size_bytes)))?;
    if !found.limits.is_empty() {
        output::line(format_args!("at most {}", limits(&found.limits)))?;
    }
    if !found.wasi.is_empty() {
        let interfaces = output::count(found.wasi.len(), "interface");
        output::line(format_args!("WASI    {interfaces}, linked to what is harmless: no right"))?;
    }
    output::line("")?;
    if found.rights.is_empty() {
        output::line("It has no rights.")?;
    } else {
        tell_rights(&found.rights)?;
    }
    tell_keys("CONFIG", found.config_schema.as_ref())?;
    tell_keys("OUTPUTS", found.outputs_schema.as_ref())
}

/// What it may reach, and what for, if its author says that.
fn tell_rights(rights: &[Right]) -> anyhow::Result<()> {
    let row = |right: &Right| {
        let Right { name, allows, reason } = right.clone();
        vec![name, allows, reason.unwrap_or_default()]
    };
    let width = if rights.iter().any(|right| right.reason.is_some()) { 3 } else { 2 };
    let header = &["RIGHT", "WHAT IT ALLOWS", "WHAT FOR, ITS AUTHOR SAYS"][..width];
    output::table(header, rights.iter().map(|right| row(right).into_iter().take(width).collect()))
}

/// What a plugin says that it uses at most.
fn limits(limits: &PluginLimits) -> String {
    let millis =
        |what: &str, millis: Option<u64>| millis.map(|millis| format!("{what} {}", output::duration(millis)));
    let bytes = |what: &str, bytes: Option<u64>| bytes.map(|bytes| format!("{what} {}", output::size(bytes)));
    let said = [
        millis("time", limits.timeout_ms),
        bytes("memory", limits.memory_bytes),
        millis("processor time", limits.cpu_ms),
        bytes("log", limits.log_bytes),
        bytes("outputs", limits.output_bytes),
        bytes("artifacts", limits.artifact_bytes),
        limits.handles.map(|handles| format!("{handles} handles")),
    ];
    said.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn tell_keys(title: &str, schema: Option<&Value>) -> anyhow::Result<()> {
    let Some(schema) = schema else { return Ok(()) };
    output::line("")?;
    let rows = keys::rows(schema);
    if rows.is_empty() {
        return output::line(format_args!("{title}: {}", keys::without_keys(schema)));
    }
    output::table(&[title, "TYPE", "", "WHAT IT IS"], rows)
}

async fn remove(global: &Global, named: &NamedPlugin) -> anyhow::Result<Exit> {
    must_be_here(global)?;
    let removed = super::library(global)?.remove(&named.plugin).await.map_err(super::unread)?;
    if global.json {
        output::json(&List { items: removed, next: None })?;
        return Ok(Exit::Done);
    }
    output::note(format_args!(
        "removed {}; runs and kept workflows that have it go on with it",
        removed.join(", ")
    ));
    Ok(Exit::Done)
}

async fn lock(global: &Global, arguments: &PluginLock) -> anyhow::Result<Exit> {
    let locks = super::library(global)?.lock(&arguments.files).await.map_err(super::unread)?;
    for LockFile { file, plugins } in &locks {
        if plugins.is_empty() {
            output::note(format_args!("{file}: no plugin to lock; those of the engine are never locked"));
        }
        for LockedPlugin { name, version, digest } in plugins {
            let digest = output::short_digest(digest);
            output::note(format_args!("{file}: {name} {version} ({digest})"));
        }
    }
    if global.json {
        output::json(&List { items: locks, next: None })?;
    }
    Ok(Exit::Done)
}

/// The store of plugins is a part of a data directory; the engine of another machine has its own.
fn must_be_here(global: &Global) -> anyhow::Result<()> {
    match &global.url {
        Some(url) => {
            let why = format!(
                "plugins are added and removed in a data directory, not at {url}: leave `--url` and YUANLI_URL out"
            );
            Err(Misuse(why).into())
        }
        None => Ok(()),
    }
}

fn names(rights: &[Right]) -> String {
    if rights.is_empty() {
        return "none".to_owned();
    }
    rights.iter().map(|right| right.name.as_str()).collect::<Vec<_>>().join(", ")
}

const fn origin(origin: PluginOrigin) -> &'static str {
    match origin {
        PluginOrigin::BuiltIn => "built-in",
        PluginOrigin::Added => "added",
        PluginOrigin::File => "file",
    }
}
