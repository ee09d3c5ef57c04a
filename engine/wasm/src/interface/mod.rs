//! The host interfaces, one module each. A module declares its functions in one place, `link`, and translates
//! between the contract's types and the ports.

mod apps;
mod artifacts;
mod backups;
mod clock;
pub(crate) mod containers;
mod context;
mod events;
mod file;
mod http;
pub(crate) mod images;
pub(crate) mod log;
mod login;
mod metrics;
mod path;
mod random;
mod registries;
mod secrets;
mod source;
mod state;
pub(crate) mod traffic;
mod used;
mod volumes;
mod workspace;

use wasmtime::component::Linker;

use crate::call::Function;
use crate::guest::Guest;

/// Declares every interface and returns what was declared.
pub(crate) fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<Vec<Function>> {
    let mut declared = Vec::new();
    log::link(linker, &mut declared)?;
    context::link(linker, &mut declared)?;
    clock::link(linker, &mut declared)?;
    random::link(linker, &mut declared)?;
    secrets::link(linker, &mut declared)?;
    http::link(linker, &mut declared)?;
    workspace::link(linker, &mut declared)?;
    source::link(linker, &mut declared)?;
    images::link(linker, &mut declared)?;
    registries::link(linker, &mut declared)?;
    containers::link(linker, &mut declared)?;
    volumes::link(linker, &mut declared)?;
    apps::link(linker, &mut declared)?;
    traffic::link(linker, &mut declared)?;
    metrics::link(linker, &mut declared)?;
    backups::link(linker, &mut declared)?;
    artifacts::link(linker, &mut declared)?;
    state::link(linker, &mut declared)?;
    events::link(linker, &mut declared)?;
    Ok(declared)
}
