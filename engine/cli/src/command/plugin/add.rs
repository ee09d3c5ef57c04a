//! `yuanli plugin add`: from files, folders, and elsewhere.

use std::io::{self, BufRead as _, IsTerminal as _};
use std::path::Path;

use yuanli_api_types::{AddOutcome, AddedPlugin, List, Plugin};
use yuanli_server::{Fetched, Library, is_url};

use super::{must_be_here, names};
use crate::arguments::{Global, PluginAdd};
use crate::author::build;
use crate::exit::{Exit, Misuse};
use crate::output;

pub(super) async fn add(global: &Global, arguments: &PluginAdd) -> anyhow::Result<Exit> {
    must_be_here(global)?;
    let library = super::super::library(global)?;
    // Kept until it was added.
    let fetched = match is_url(&arguments.path) {
        true => Some(fetch(&library, arguments, global.json).await?),
        false => None,
    };
    let path = match &fetched {
        Some(fetched) => fetched.path().display().to_string(),
        None => local(arguments)?,
    };
    let added = library.add(&path, arguments.replace).await.map_err(super::super::unread)?;
    for AddedPlugin { outcome, plugin } in &added {
        let Plugin { name, version, rights, .. } = plugin;
        let digest = output::short_digest(&plugin.digest);
        output::note(match outcome {
            AddOutcome::Added => format!("added {name} {version} ({digest}); rights: {}", names(rights)),
            AddOutcome::Present => format!("{name} {version} ({digest}) was there already"),
            AddOutcome::Replaced => {
                format!(
                    "put {name} {version} ({digest}) in the place of another component; rights: {}",
                    names(rights)
                )
            }
        });
    }
    match (global.json, added.as_slice()) {
        (true, [only]) if !Path::new(&path).is_dir() => output::json(only)?,
        (true, _) => output::json(&List { items: added, next: None })?,
        (false, several) => {
            for AddedPlugin { plugin, .. } in several {
                output::line(format_args!("{}@{}", plugin.name, plugin.version))?;
            }
        }
    }
    Ok(Exit::Done)
}

/// A file or a folder, that of a plugin only when it was built.
fn local(arguments: &PluginAdd) -> anyhow::Result<String> {
    if arguments.sha256.is_some() {
        return Err(Misuse("`--sha256` is for what is fetched: name a URL".to_owned()).into());
    }
    if arguments.ca.is_some() {
        return Err(Misuse("`--ca` is for what is fetched: name a URL".to_owned()).into());
    }
    let path = Path::new(&arguments.path);
    if path.is_dir() && build::components_in(path)?.is_empty() {
        build::must_be_built(path)?;
    }
    Ok(arguments.path.clone())
}

/// Fetches a component. One whose digest was not named is asked for, by its digest.
async fn fetch(library: &Library, arguments: &PluginAdd, is_json: bool) -> anyhow::Result<Fetched> {
    let fetched = library.fetch(&arguments.path, arguments.sha256.as_deref(), arguments.ca.as_deref()).await;
    let fetched = fetched.map_err(super::super::unread)?;
    let Fetched { url, digest, size_bytes, .. } = &fetched;
    let size = output::size(*size_bytes);
    output::note(format_args!("fetched {url}: {size}, {digest}"));
    if arguments.sha256.is_some() {
        return Ok(fetched);
    }
    let hex = digest.trim_start_matches("sha256:");
    let again = format!("`--sha256 {hex}` agrees to it");
    if is_json || !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        let why = format!("nobody can be asked here whether that is the component that is meant: {again}");
        return Err(Misuse(why).into());
    }
    output::drawn("Is that the component that is meant, and may it be added? [y/N] ");
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(fetched),
        _ => Err(Misuse(format!("nothing was added; {again}")).into()),
    }
}
