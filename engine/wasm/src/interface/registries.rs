//! `yuanli:registries`: pushes and pulls container images.

use std::sync::Arc;

use futures::FutureExt;
use wasmtime::component::{Linker, Resource};
use yuanli_bindings::registries::{Error, Published, Pulled, Throttling};
use yuanli_bindings::secrets::Secret;
use yuanli_model::Stream;
use yuanli_model::trigger::Happened;
use yuanli_ports::containers::ContainerError;
use yuanli_ports::registries::{self as port, RegistryError};

use super::{login, used};
use crate::call::{Answer, Function, Interface, Policy};
use crate::guest::{Guest, State};
use crate::mask::Mask;

/// The option of a push that says which image it is.
const IMAGE: &str = "image";
/// The option of a pull that names another platform than the engine's.
const PLATFORM: &str = "platform";
/// The option of a pull that says when anything is fetched, and its only value.
const WHEN: &str = "when";
const MISSING: &str = "missing";

pub(super) fn link(linker: &mut Linker<Guest>, declared: &mut Vec<Function>) -> wasmtime::Result<()> {
    Interface::open(linker, "yuanli:registries/registries@0.1.1", declared)?
        .effect("push", Policy::Redo, push)?
        .effect("pull", Policy::Redo, pull)?
        .read("find", find)?;
    Ok(())
}

type Parameters = (String, Option<String>, Option<Resource<Secret>>, Vec<(String, String)>);

fn push(
    state: &mut State,
    (image, username, password, options): Parameters,
) -> Answer<'_, (Result<Published, Error>,)> {
    async move {
        let pushed = async {
            let login = login::of(state, username, password).map_err(Error::Invalid)?;
            known(&options, &[IMAGE])?;
            let source = options.iter().find(|(key, _)| key == IMAGE).map(|(_, value)| value.clone());
            used::used(state, source.as_deref().unwrap_or(&image)).await;
            let output = state.lines.channel_of_effect(Stream::Build, None, &state.said);
            let (registries, name) = (Arc::clone(&state.outside.registries), image.clone());
            let push = |cancel| {
                async move {
                    let progress = |line: String| {
                        output.line(&line);
                    };
                    let push = port::Push { name: &image, image: source.as_deref(), login: login.as_ref() };
                    registries.push(push, &progress, &cancel).await
                }
                .boxed()
            };
            // The name that it lends is given back whatever comes, also when the attempt is cut off.
            let pushed = state.begun.carefully(&state.attempt.cancel, push).await;
            let pushed =
                pushed.unwrap_or_else(|| Err(RegistryError::Failed("the push was abandoned".to_owned())));
            let digest = pushed.map_err(|error| of_port(error, &state.held.mask))?;
            announce(state, name, &digest).await?;
            Ok(published(digest))
        };
        (pushed.await,)
    }
    .boxed()
}

/// Tells that an image was pushed. When that cannot be kept, the push is not known to have ended: told again, it is the same one.
async fn announce(state: &State, image: String, digest: &str) -> Result<(), Error> {
    let (digest, operation) = (digest.to_owned(), state.operation().to_string());
    let happened = Happened::ImagePushed { image, digest, operation };
    let told = state.outside.announcements.tell(&happened).await;
    told.map_err(|error| {
        Error::Failed(format!("the image was pushed, and nobody could be told of it: {error}"))
    })
}

fn pull(
    state: &mut State,
    (image, username, password, options): Parameters,
) -> Answer<'_, (Result<Pulled, Error>,)> {
    async move {
        let fetched = async {
            let login = login::of(state, username, password).map_err(Error::Invalid)?;
            known(&options, &[PLATFORM, WHEN])?;
            let value =
                |wanted| options.iter().find(|(key, _)| key == wanted).map(|(_, value)| value.as_str());
            let platform = value(PLATFORM);
            if let Some(found) = present(state, &image, value(WHEN)).await? {
                used::used(state, &image).await;
                return Ok(found);
            }
            let output = state.lines.channel_of_effect(Stream::Build, None, &state.said);
            let progress = |line: String| {
                output.line(&line);
            };
            let (registries, cancel) = (&state.outside.registries, &state.attempt.cancel);
            let fetched = registries.pull(&image, platform, login.as_ref(), &progress, cancel).await;
            used::made(state, &image).await;
            fetched.map(pulled).map_err(|error| of_port(error, &state.held.mask))
        };
        (fetched.await,)
    }
    .boxed()
}

/// The image that the engine has, where it is to be fetched only when it is missing.
async fn present(state: &State, image: &str, when: Option<&str>) -> Result<Option<Pulled>, Error> {
    match when {
        None => return Ok(None),
        Some(MISSING) => {}
        Some(other) => return Err(Error::Invalid(format!("`{WHEN}` takes `{MISSING}`, not `{other}`"))),
    }
    match state.outside.images.inspect(image).await {
        Ok(found) => Ok(Some(pulled(port::Pulled { id: found.id, digest: None, is_new: false }))),
        Err(ContainerError::NotFound(_)) => Ok(None),
        Err(error) => Err(of_port(error.into(), &state.held.mask)),
    }
}

fn find(
    state: &mut State,
    (image, username, password, options): Parameters,
) -> Answer<'_, (Result<Published, Error>,)> {
    async move {
        let found = async {
            let login = login::of(state, username, password).map_err(Error::Invalid)?;
            known(&options, &[])?;
            let found = state.outside.registries.find(&image, login.as_ref()).await;
            found.map(published).map_err(|error| of_port(error, &state.held.mask))
        };
        (found.await,)
    }
    .boxed()
}

fn known(options: &[(String, String)], known: &[&str]) -> Result<(), Error> {
    match options.iter().find(|(key, _)| !known.contains(&key.as_str())) {
        Some((key, _)) => Err(Error::Invalid(format!("this engine knows no registry option `{key}`"))),
        None => Ok(()),
    }
}

fn published(digest: String) -> Published {
    Published { digest, details: Vec::new() }
}

fn pulled(port::Pulled { id, digest, is_new }: port::Pulled) -> Pulled {
    Pulled { id, digest, is_new, details: Vec::new() }
}

/// The error as the guest sees it: a registry may repeat what it was sent.
fn of_port(error: RegistryError, mask: &Mask) -> Error {
    let (of, message): (fn(String) -> Error, String) = match error {
        RegistryError::Unreachable(message) => (Error::Unreachable, message),
        RegistryError::NotFound(message) => (Error::NotFound, message),
        RegistryError::Denied(message) => (Error::Denied, message),
        RegistryError::Throttled { message, after } => {
            let retry_after_ms = after.map(|after| u64::try_from(after.as_millis()).unwrap_or(u64::MAX));
            return Error::Throttled(Throttling { message: mask.owned(message), retry_after_ms });
        }
        RegistryError::Invalid(message) => (Error::Invalid, message),
        RegistryError::Failed(message) => (Error::Failed, message),
        RegistryError::Cancelled => (Error::Other, "the run was cancelled".to_owned()),
    };
    of(mask.owned(message))
}
