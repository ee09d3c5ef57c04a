//! `yuanli:source`: source trees into the workspace.

use futures::FutureExt;
use wasmtime::component::{Linker, Resource};
use yuanli_bindings::secrets::Secret;
use yuanli_bindings::source::{Checkout, Error, Fetched, GitRequest};
use yuanli_model::Stream;
use yuanli_ports::source::{self as port, About, FolderRequest, SourceError};

use super::workspace::READ_ONLY;
use super::{login, path};
use crate::call::{Answer, Function, Interface, Policy};
use crate::guest::{Guest, State};
use crate::mask::Mask;

pub(super) fn link(linker: &mut Linker<Guest>, declared: &mut Vec<Function>) -> wasmtime::Result<()> {
    Interface::open(linker, "yuanli:source/source@0.1.1", declared)?
        .effect("git", Policy::Files, git)?
        .effect("folder", Policy::Files, folder)?
        .effect("fetch", Policy::Files, fetch)?
        .effect("copy", Policy::Files, copy)?;
    Ok(())
}

fn git(state: &mut State, (request, into): (GitRequest, String)) -> Answer<'_, (Result<Checkout, Error>,)> {
    async move { (from_git(state, of_guest(request), &into).await.map(checkout),) }.boxed()
}

fn folder(state: &mut State, (path, into): (String, String)) -> Answer<'_, (Result<Checkout, Error>,)> {
    async move { (from_folder(state, path, &into).await.map(checkout),) }.boxed()
}

type Parameters = (GitRequest, String, Option<String>, Option<Resource<Secret>>, Vec<(String, String)>);

fn fetch(
    state: &mut State,
    (request, into, username, password, options): Parameters,
) -> Answer<'_, (Result<Fetched, Error>,)> {
    async move {
        let fetching = async {
            let mut request = asked(of_guest(request), &options)?;
            request.login = login::of(state, username, password).map_err(Error::Invalid)?;
            from_git(state, request, &into).await
        };
        (fetching.await.map(fetched),)
    }
    .boxed()
}

fn copy(state: &mut State, (path, into): (String, String)) -> Answer<'_, (Result<Fetched, Error>,)> {
    async move { (from_folder(state, path, &into).await.map(fetched),) }.boxed()
}

fn of_guest(GitRequest { url, reference, subfolder }: GitRequest) -> port::GitRequest {
    port::GitRequest { url, reference, subfolder, ..port::GitRequest::default() }
}

/// A request with what its options say.
fn asked(mut request: port::GitRequest, options: &[(String, String)]) -> Result<port::GitRequest, Error> {
    for (key, value) in options {
        match (key.as_str(), value.as_str()) {
            ("submodules", "true") => request.has_submodules = true,
            ("sparse", path) => request.sparse.push(path.to_owned()),
            ("lfs", "refuse") => request.refuses_pointers = true,
            ("lfs", "pointers") => request.refuses_pointers = false,
            ("submodules" | "lfs", value) => {
                return Err(Error::Invalid(format!("the option `{key}` of a source cannot be `{value}`")));
            }
            (key, _) => return Err(Error::Invalid(format!("this engine knows no source option `{key}`"))),
        }
    }
    Ok(request)
}

async fn from_git(state: &State, request: port::GitRequest, into: &str) -> Result<port::Checkout, Error> {
    let into = target(state, into).await?;
    let State { outside, attempt, lines, said, .. } = state;
    let output = lines.channel_of_effect(Stream::Stderr, None, said);
    let progress = |line: String| {
        output.line(&line);
    };
    let fetched = outside.sources.git(&request, &into, &progress, &attempt.cancel).await;
    fetched.map_err(|error| of_port(error, &state.held.mask))
}

async fn from_folder(state: &State, path: String, into: &str) -> Result<port::Checkout, Error> {
    let origin = &state.attempt.origin;
    let request = FolderRequest { base: origin.folder.clone(), root: origin.root.clone(), path };
    let into = target(state, into).await?;
    let taken = state.outside.sources.folder(&request, &into, &state.attempt.cancel).await;
    taken.map_err(|error| of_port(error, &state.held.mask))
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

fn fetched(mut fetched: port::Checkout) -> Fetched {
    let details = fetched.about.take().map(|About { author, committed, message }| {
        [("author", author), ("committed", committed), ("message", message)]
    });
    let details = details.into_iter().flatten().map(|(key, value)| (key.to_owned(), value)).collect();
    Fetched { checkout: checkout(fetched), details }
}

/// The error as the guest sees it: a server may repeat what it was sent.
fn of_port(error: SourceError, mask: &Mask) -> Error {
    match error {
        SourceError::Invalid(message) => Error::Invalid(mask.owned(message)),
        SourceError::Unreachable(message) => Error::Unreachable(mask.owned(message)),
        SourceError::Unauthorized(message) => Error::Unauthorized(mask.owned(message)),
        SourceError::Local(message) => Error::Local(mask.owned(message)),
        SourceError::Cancelled => Error::Other("the run was cancelled".to_owned()),
    }
}
