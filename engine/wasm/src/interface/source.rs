//! `yuanli:source`: source trees into the workspace.

use futures::FutureExt;
use wasmtime::component::Linker;
use yuanli_bindings::source::{Checkout, Error, GitRequest};
use yuanli_model::Stream;
use yuanli_ports::source::{self as port, FolderRequest, SourceError};

use super::path;
use super::workspace::READ_ONLY;
use crate::call::{Answer, Function, Interface, Policy};
use crate::guest::{Guest, State};

pub(super) fn link(linker: &mut Linker<Guest>, declared: &mut Vec<Function>) -> wasmtime::Result<()> {
    Interface::open(linker, "yuanli:source/source@0.1.0", declared)?
        .effect("git", Policy::Files, git)?
        .effect("folder", Policy::Files, folder)?;
    Ok(())
}

fn git(state: &mut State, (request, into): (GitRequest, String)) -> Answer<'_, (Result<Checkout, Error>,)> {
    async move {
        let request =
            port::GitRequest { url: request.url, reference: request.reference, subfolder: request.subfolder };
        let fetched = async {
            let into = target(state, &into).await?;
            let State { outside, attempt, lines, said, .. } = &*state;
            let output = lines.channel_of_effect(Stream::Stderr, said);
            let progress = |line: String| {
                output.line(&line);
            };
            outside.sources.git(&request, &into, &progress, &attempt.cancel).await.map_err(of_port)
        };
        (fetched.await.map(checkout),)
    }
    .boxed()
}

fn folder(state: &mut State, (path, into): (String, String)) -> Answer<'_, (Result<Checkout, Error>,)> {
    async move {
        let origin = &state.attempt.origin;
        let request = FolderRequest { base: origin.folder.clone(), root: origin.root.clone(), path };
        let fetched = async {
            let into = target(state, &into).await?;
            state.outside.sources.folder(&request, &into, &state.attempt.cancel).await.map_err(of_port)
        };
        (fetched.await.map(checkout),)
    }
    .boxed()
}

/// The folder of the workspace to fetch into.
async fn target(state: &State, into: &str) -> Result<std::path::PathBuf, Error> {
    if !state.rights.may_write_workspace() {
        return Err(Error::Invalid(READ_ONLY.to_owned()));
    }
    let folder = state.folder().await.map_err(|e| Error::Local(e.to_string()))?;
    let target = path::below(&folder, into).map_err(|e| Error::Invalid(e.to_string()))?;
    let made = tokio::fs::create_dir_all(&target).await;
    made.map_err(|e| Error::Local(format!("`{into}` cannot be made in the workspace: {e}")))?;
    Ok(target)
}

fn checkout(fetched: port::Checkout) -> Checkout {
    Checkout {
        commit: fetched.commit,
        reference: fetched.reference,
        is_dirty: fetched.is_dirty,
        files: fetched.files,
        bytes: fetched.bytes,
    }
}

fn of_port(error: SourceError) -> Error {
    match error {
        SourceError::Invalid(message) => Error::Invalid(message),
        SourceError::Unreachable(message) => Error::Unreachable(message),
        SourceError::Unauthorized(message) => Error::Unauthorized(message),
        SourceError::Local(message) => Error::Local(message),
        SourceError::Cancelled => Error::Other("the run was cancelled".to_owned()),
    }
}
