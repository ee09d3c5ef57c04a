//! `yuanli plugin new` and `yuanli plugin build`.

use std::path::{Path, PathBuf};

use anyhow::Context;
use yuanli_api_types::{BuiltPlugin, NewPlugin, Plugin, Right};
use yuanli_server::{Component, InvalidIdentity, PluginName, Unread};

use crate::arguments::{Global, Language, PluginBuild, PluginNew, PluginPack};
use crate::author::build::{self, Failed};
use crate::author::template;
use crate::exit::{Exit, Misuse};
use crate::output;

/// Writes a plugin to begin with, and says what to do with it.
pub(crate) fn new(global: &Global, arguments: PluginNew) -> anyhow::Result<Exit> {
    let PluginNew { name, lang, folder } = arguments;
    let name: PluginName = name.parse().map_err(|e: InvalidIdentity| Misuse(e.to_string()))?;
    let name = name.to_string();
    let folder = folder.unwrap_or_else(|| PathBuf::from(&name));
    refuse_what_is_there(&folder)?;
    let files = template::files(lang, &name);
    template::write(&folder, &files)
        .with_context(|| format!("the plugin cannot be written to {}", folder.display()))?;
    if global.json {
        let files = files.into_iter().map(|(path, _)| path.to_owned()).collect();
        let folder = folder.display().to_string();
        output::json(&NewPlugin { name, language: word(lang).to_owned(), folder, files })?;
        return Ok(Exit::Done);
    }
    let place = folder.display();
    output::line(format_args!("{place} has a plugin in {} that works; its README says more", title(lang)))?;
    for line in std::iter::once(format!("cd {place}")).chain(steps(lang).map(str::to_owned)) {
        output::line(format_args!("  {line}"))?;
    }
    Ok(Exit::Done)
}

/// Compiles the plugin in a folder, and says what came out.
pub(crate) async fn build(global: &Global, arguments: PluginBuild) -> anyhow::Result<Exit> {
    let PluginBuild { folder, lang } = arguments;
    let language = build::language(&folder, lang)?;
    let place = folder.clone();
    // On a thread of its own: a compiler takes as long as it takes.
    let built = tokio::task::spawn_blocking(move || build::component(&place, language)).await?;
    let built = match built {
        Err(error) if error.is::<Failed>() => return Ok(failed(&error)),
        built => built?,
    };
    let described = described(global, &built.component).await;
    let Component { plugin, grants } = match described {
        Ok(described) => described,
        Err(error) => {
            build::discard(&built.component);
            return Ok(failed(&error.context("what was built is no plugin")));
        }
    };
    let component = build::keep(&built.component, &plugin.name)?;
    let size_bytes = std::fs::metadata(&component).context("the component cannot be read")?.len();
    let built = BuiltPlugin {
        component: component.display().to_string(),
        size_bytes,
        language: word(language).to_owned(),
        commands: built.commands,
        plugin,
        grants,
    };
    let printed = if global.json { output::json(&built) } else { tell(&built) };
    printed.map(|()| Exit::Done)
}

/// Packs what was built, and gives what it says of itself.
async fn described(global: &Global, component: &Path) -> anyhow::Result<Component> {
    let library = super::library(global)?;
    match library.pack(component, component).await {
        Ok(_) => library.component(component).await,
        Err(Unread::File(why)) => Err(anyhow::anyhow!(why)),
        Err(Unread::Machine(error)) => Err(error),
    }
}

/// Writes what a component says of itself into it.
pub(crate) async fn pack(global: &Global, arguments: PluginPack) -> anyhow::Result<Exit> {
    let PluginPack { file, output: to } = arguments;
    let out = to.as_ref().unwrap_or(&file);
    let packed = super::library(global)?.pack(&file, out).await.map_err(super::unread)?;
    if global.json {
        output::json(&packed)?;
        return Ok(Exit::Done);
    }
    let digest = output::short_digest(&packed.digest);
    output::note(format_args!("packed {} {} ({digest})", packed.name, packed.version));
    output::line(packed.component)?;
    Ok(Exit::Done)
}

fn failed(error: &anyhow::Error) -> Exit {
    output::note(format_args!("error: {error:#}"));
    Exit::Failed
}

fn tell(built: &BuiltPlugin) -> anyhow::Result<()> {
    let BuiltPlugin { component, size_bytes, plugin, grants, .. } = built;
    let Plugin { name, version, summary, .. } = plugin;
    output::line(format_args!("{name} {version}: {summary}"))?;
    output::line(format_args!("component  {component}, {}", output::size(*size_bytes)))?;
    for Right { name, allows, .. } in &plugin.rights {
        let condition = if grants.contains(name) { ", when a workflow grants it" } else { "" };
        output::line(format_args!("may        {allows} ({name}){condition}"))?;
    }
    match grants.as_slice() {
        [] => output::line("grants     none are needed"),
        grants => output::line(format_args!("grants     grants: [{}]", grants.join(", "))),
    }
}

/// A folder with something in it is somebody's.
fn refuse_what_is_there(folder: &Path) -> anyhow::Result<()> {
    let is_free = match std::fs::read_dir(folder) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    };
    if is_free {
        return Ok(());
    }
    let why = format!("{} is there already; name another folder with --folder", folder.display());
    Err(Misuse(why).into())
}

/// What to type in a new plugin's folder.
fn steps(language: Language) -> impl Iterator<Item = &'static str> {
    let own: &[&str] = match language {
        Language::Rust => &["cargo test"],
        Language::Python => {
            &["python3 -m venv .venv && .venv/bin/pip install componentize-py==0.25.1", "python3 -m unittest"]
        }
        Language::JavaScript => &["npm install", "npm test"],
    };
    own.iter().copied().chain(["yuanli plugin build", "yuanli plugin test", "yuanli run ."])
}

const fn title(language: Language) -> &'static str {
    match language {
        Language::Rust => "Rust",
        Language::Python => "Python",
        Language::JavaScript => "JavaScript",
    }
}

/// The word for it in what is typed and in JSON.
const fn word(language: Language) -> &'static str {
    match language {
        Language::Rust => "rust",
        Language::Python => "python",
        Language::JavaScript => "javascript",
    }
}
