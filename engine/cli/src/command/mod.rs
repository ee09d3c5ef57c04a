//! The commands.

pub(crate) mod admin;
pub(crate) mod app;
pub(crate) mod audit;
pub(crate) mod author;
pub(crate) mod cache;
pub(crate) mod context;
mod delivery;
pub(crate) mod explain;
pub(crate) mod interrupt;
pub(crate) mod login;
pub(crate) mod plan;
pub(crate) mod plugin;
mod question;
pub(crate) mod record;
pub(crate) mod replay;
pub(crate) mod run;
pub(crate) mod runs;
pub(crate) mod schedule;
pub(crate) mod schema;
pub(crate) mod secret;
pub(crate) mod serve;
pub(crate) mod shell;
pub(crate) mod test;
pub(crate) mod token;
pub(crate) mod validate;
pub(crate) mod why;
pub(crate) mod workflow;

use std::path::PathBuf;

use anyhow::Context;
use yuanli_server::{Library, Locations, Unread};

use crate::arguments::Global;
use crate::exit::Misuse;

/// The data directory: by flag or environment, else in the user's data home.
pub(crate) fn data(global: &Global) -> anyhow::Result<PathBuf> {
    if let Some(data) = &global.data {
        return Ok(data.clone());
    }
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = set("XDG_DATA_HOME").or_else(|| set("HOME").map(|home| home.join(".local/share")));
    let home = home.context("neither HOME nor XDG_DATA_HOME is set: name a folder with --data")?;
    Ok(home.join("yuanli"))
}

/// Where the engine keeps what. An empty name of the configuration in the environment is none, as that of a data directory.
pub(crate) fn locations(global: &Global) -> anyhow::Result<Locations> {
    let configuration = global.config.clone().filter(|file| !file.as_os_str().is_empty());
    Ok(Locations { data: data(global)?, configuration })
}

fn library(global: &Global) -> anyhow::Result<Library> {
    Library::open(&locations(global)?)
}

/// A file that cannot be read is the caller's mistake, not the engine's.
fn unread(unread: Unread) -> anyhow::Error {
    match unread {
        Unread::File(why) => Misuse(why).into(),
        Unread::Machine(error) => error,
    }
}
