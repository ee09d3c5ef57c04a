//! `yuanli:images`: builds, names, saves, loads and removes container images.

use std::future::ready;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use cap_std::fs::{Dir, File};
use futures::FutureExt;
use tokio::sync::watch;
use wasmtime::component::{Linker, Resource};
use yuanli_bindings::images::{Build, BuildRequest, Error, Image};
use yuanli_model::Stream;
use yuanli_ports::containers::ContainerError;
use yuanli_ports::images as port;

use super::file::{self, DENIED, Undone};
use super::workspace::READ_ONLY;
use super::{path, used};
use crate::call::{Answer, Class, Function, Interface, Opened, Policy};
use crate::guest::{Guest, State};
use crate::logline::Said;
use crate::wait::Waiting;

/// Most files that are read of an image at once, and the most bytes of all of them, as the contract says.
const MAX_PATHS: usize = 64;
const MAX_FILE_BYTES: u64 = 16 << 20;

/// Most images of an archive, as the contract says.
const MAX_IMAGES: usize = 64;

/// The outcome of a build, once there is one.
type Outcome = watch::Receiver<Option<Result<Image, Error>>>;

/// A build that was started.
#[derive(Debug, Clone)]
pub(crate) enum Running {
    /// Its outcome, once there is one, and what it says meanwhile.
    Begun(Outcome, Said),
    /// It was started before the attempt was begun again. Whoever waits for it starts it again: what was built is built
    /// already.
    Before(port::BuildRequest),
}

pub(super) fn link(linker: &mut Linker<Guest>, declared: &mut Vec<Function>) -> wasmtime::Result<()> {
    Interface::open(linker, "yuanli:images/images@0.1.3", declared)?
        .resource::<Build>("build")?
        .opens::<_, Build, _, _>("start-build", (Class::Effect, Some(Policy::Redo)), start_build, note)?
        .waits("[method]build.wait", wait)?
        .read("inspect", inspect)?
        .read("read-files", read_files)?
        .effect("save", Policy::Files, save)?
        .effect("load", Policy::Redo, load)?
        .effect("tag", Policy::Redo, tag)?
        .effect("remove", Policy::Redo, remove)?;
    Ok(())
}

/// Where what is built lies.
fn start_build<'s>(
    state: &'s mut State,
    (request,): &'s (BuildRequest,),
) -> Answer<'s, Result<PathBuf, Error>> {
    async move {
        extras(&request.options)?;
        let folder = state.folder().await.map_err(|e| Error::Engine(e.to_string()))?;
        path::below(&folder, &request.context).map_err(|e| Error::Invalid(e.to_string()))
    }
    .boxed()
}

/// What the options say, in a request that has nothing else.
fn extras(options: &[(String, String)]) -> Result<port::BuildRequest, Error> {
    let mut request = port::BuildRequest::default();
    for (key, value) in options {
        match (key.as_str(), value.as_str()) {
            ("builder", "auto") => request.builder = port::Builder::Auto,
            ("builder", "classic") => request.builder = port::Builder::Classic,
            ("builder", "buildkit") => request.builder = port::Builder::BuildKit,
            ("builder", other) => {
                return Err(Error::Invalid(format!(
                    "there is no builder `{other}`: it is `auto`, `classic` or `buildkit`"
                )));
            }
            ("platform", value) => request.platform = Some(value.to_owned()),
            ("cache-from", value) => request.cache_from.push(value.to_owned()),
            ("inline-cache", "true") => request.has_inline_cache = true,
            ("inline-cache", other) => {
                return Err(Error::Invalid(format!("`inline-cache` takes `true`, not `{other}`")));
            }
            (key, _) => return Err(Error::Invalid(format!("this engine knows no build option `{key}`"))),
        }
    }
    Ok(request)
}

fn note(state: &mut State, (request,): &(BuildRequest,), opened: Opened<PathBuf>) {
    let request = request.clone();
    // They were read before anything was begun.
    let extras = extras(&request.options).unwrap_or_default();
    let request = port::BuildRequest {
        context: opened.what,
        dockerfile: request.dockerfile,
        tags: request.tags,
        target: request.target,
        arguments: request.arguments,
        labels: request.labels,
        no_cache: request.no_cache,
        ..extras
    };
    let running = match (state.begun.build(opened.handle), opened.is_again) {
        // An instance before this one has begun it.
        (Some(running), _) => running,
        (None, true) => Running::Before(request),
        (None, false) => {
            let (outcome, said) = begin(state, request);
            Running::Begun(outcome, said)
        }
    };
    remember(state, opened.handle, running);
}

fn remember(state: &mut State, handle: u32, running: Running) {
    state.begun.add_build(handle, running.clone());
    state.builds.insert(handle, running);
}

fn begin(state: &State, request: port::BuildRequest) -> (Outcome, Said) {
    let (done, outcome) = watch::channel(None);
    let (lines, images) = (state.lines.clone(), state.outside.images.clone());
    let (cancel, said) = (state.attempt.cancel.clone(), Said::default());
    let used = state.attempt.images.clone();
    let to_log = said.clone();
    state.begun.spawn(async move {
        let output = lines.channel_of_effect(Stream::Build, None, &to_log);
        let progress = |line: String| {
            output.line(&line);
        };
        let built = images.build(&request, &progress, &cancel).await;
        if let (Some(used), Ok(built)) = (&used, &built) {
            request.tags.iter().for_each(|tag| used.made(tag, Some(built.id.clone())));
        }
        // Nobody may be left to hear it.
        let _ = done.send(Some(built.map(image).map_err(of_port)));
    });
    (outcome, said)
}

fn wait(state: &mut State, (build,): (Resource<Build>,)) -> Waiting<(Result<Image, Error>,)> {
    let (mut outcome, said) = match state.builds.get(&build.rep()) {
        None => return ready((Err(Error::Invalid("no such build".to_owned())),)).boxed(),
        Some(Running::Begun(outcome, said)) => (outcome.clone(), said.clone()),
        Some(Running::Before(request)) => {
            let (outcome, said) = begin(state, request.clone());
            remember(state, build.rep(), Running::Begun(outcome.clone(), said.clone()));
            (outcome, said)
        }
    };
    let heard = state.said.clone();
    async move {
        let ended = outcome.wait_for(Option::is_some).await.ok().and_then(|outcome| outcome.clone());
        heard.append(&said);
        (ended.unwrap_or_else(|| Err(Error::Engine("the build was abandoned".to_owned()))),)
    }
    .boxed()
}

fn inspect(state: &mut State, (name,): (String,)) -> Answer<'_, (Result<Image, Error>,)> {
    async move {
        let found = state.outside.images.inspect(&name).await;
        if let (Some(used), Ok(found)) = (&state.attempt.images, &found) {
            used.used(&name, Some(found.id.clone()));
        }
        (found.map(image).map_err(of_port),)
    }
    .boxed()
}

/// The content of each file that was asked for, where there is one.
type Contents = Vec<Option<Vec<u8>>>;

fn read_files(
    state: &mut State,
    (image, paths): (String, Vec<String>),
) -> Answer<'_, (Result<Contents, Error>,)> {
    async move {
        if paths.len() > MAX_PATHS {
            return (Err(Error::Invalid(format!("one call reads at most {MAX_PATHS} files of an image"))),);
        }
        let is_absolute = |path: &&String| path.starts_with('/') && !path.contains('\0');
        if let Some(wrong) = paths.iter().find(|path| !is_absolute(path)) {
            return (Err(Error::Invalid(format!("`{wrong}` is no absolute path"))),);
        }
        used::used(state, &image).await;
        let (operation, images) = (state.operation(), Arc::clone(&state.outside.images));
        // What is made for it is removed whatever comes, also when the attempt is cut off.
        let read =
            |_| async move { images.read_files(&operation, &image, &paths, MAX_FILE_BYTES).await }.boxed();
        state.begun.has_containers.store(true, Ordering::Release);
        let read = state.begun.carefully(&state.attempt.cancel, read).await;
        // Its container may be there still.
        state.begun.is_unsure.fetch_or(!matches!(read, Some(Ok(_))), Ordering::AcqRel);
        let read =
            read.unwrap_or_else(|| Err(ContainerError::Engine("the reading was abandoned".to_owned())));
        (read.map_err(of_port),)
    }
    .boxed()
}

fn save(state: &mut State, (images, path): (Vec<String>, String)) -> Answer<'_, (Result<u64, Error>,)> {
    let work = async move {
        if images.is_empty() || images.len() > MAX_IMAGES {
            return Err(Error::Invalid(format!("one archive has 1 to {MAX_IMAGES} images")));
        }
        if state.rights.workspace.is_some() && !state.rights.may_write_workspace() {
            return Err(Error::Invalid(READ_ONLY.to_owned()));
        }
        // Before the file is touched, which may be an archive already.
        for image in &images {
            let found = state.outside.images.inspect(image).await.map_err(of_port)?;
            if let Some(used) = &state.attempt.images {
                used.used(image, Some(found.id));
            }
        }
        let file = open(state, &path, file::create).await?;
        let saved = state.outside.images.save(&images, file).await.map_err(of_port);
        if saved.is_err() {
            // A part of an archive is none, and takes the room that there is. What cannot be removed goes with the workspace.
            let _ = on_file(state, &path, |dir, path| dir.remove_file(path)).await;
        }
        saved
    };
    async move { (work.await,) }.boxed()
}

fn load(state: &mut State, (path,): (String,)) -> Answer<'_, (Result<Vec<Image>, Error>,)> {
    let work = async move {
        let file = open(state, &path, |dir, path| Ok(file::open(dir, path)?.0)).await?;
        let loaded = state.outside.images.load(file).await;
        if let Some(used) = &state.attempt.images {
            match &loaded {
                Ok(images) => images.iter().for_each(|image| {
                    let names = image.tags.iter().chain([&image.id]);
                    names.for_each(|name| used.made(name, Some(image.id.clone())));
                }),
                // Some names may stand for other images now.
                Err(_) => used.lose(),
            }
        }
        let images = loaded.map_err(of_port)?;
        Ok(images.into_iter().map(image).collect())
    };
    async move { (work.await,) }.boxed()
}

/// Opens a file of the workspace, if the stage has it.
async fn open(
    state: &State,
    path: &str,
    how: impl FnOnce(&Dir, &Path) -> io::Result<File> + Send + 'static,
) -> Result<std::fs::File, Error> {
    Ok(on_file(state, path, how).await?.into_std())
}

/// Does something with a file of the workspace, if the stage has it.
async fn on_file<T: Send + 'static>(
    state: &State,
    path: &str,
    how: impl FnOnce(&Dir, &Path) -> io::Result<T> + Send + 'static,
) -> Result<T, Error> {
    file::on_workspace(state, path, how).await.map_err(|undone| match undone {
        Undone::Denied => Error::Invalid(DENIED.to_owned()),
        Undone::Outside(outside) => Error::Invalid(outside.to_string()),
        Undone::Away(error) => Error::Engine(error.to_string()),
        Undone::Ending => Error::Engine("the engine is shutting down".to_owned()),
        Undone::Io(error) => of_io(path, &error),
    })
}

fn of_io(path: &str, error: &io::Error) -> Error {
    let why = || format!("`{path}` of the workspace cannot be opened: {error}");
    match error.kind() {
        io::ErrorKind::NotFound => Error::NotFound(format!("there is no file `{path}` in the workspace")),
        // A disk that is full is nobody's path.
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::Engine(why()),
        _ => Error::Invalid(why()),
    }
}

fn tag(state: &mut State, (source, name): (String, String)) -> Answer<'_, (Result<(), Error>,)> {
    async move {
        used::used(state, &source).await;
        let tagged = state.outside.images.tag(&source, &name).await;
        used::made(state, &name).await;
        (tagged.map_err(of_port),)
    }
    .boxed()
}

fn remove(state: &mut State, (name,): (String,)) -> Answer<'_, (Result<(), Error>,)> {
    async move {
        let removed = state.outside.images.remove(&name).await;
        used::made(state, &name).await;
        (removed.map_err(of_port),)
    }
    .boxed()
}

fn image(image: port::Image) -> Image {
    Image { id: image.id, tags: image.tags, size: image.size, labels: image.labels }
}

fn of_port(error: ContainerError) -> Error {
    match error {
        ContainerError::Unreachable(message) => Error::Unreachable(message),
        ContainerError::NotFound(message) => Error::NotFound(message),
        ContainerError::Invalid(message) => Error::Invalid(message),
        ContainerError::BuildFailed { message, .. } => Error::BuildFailed(message),
        ContainerError::Engine(message) => Error::Engine(message),
        ContainerError::Cancelled => Error::Other("the run was cancelled".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_more_there_is_of_a_build_is_read_or_refused() {
        let read = |options: &[(&str, &str)]| {
            let options: Vec<_> =
                options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
            extras(&options).map_err(|error| format!("{error:?}"))
        };
        assert_eq!(read(&[]), Ok(port::BuildRequest::default()));
        let all = [
            ("builder", "buildkit"),
            ("platform", "linux/arm64"),
            ("cache-from", "shop:1"),
            ("cache-from", "shop:2"),
            ("inline-cache", "true"),
        ];
        let request = port::BuildRequest {
            builder: port::Builder::BuildKit,
            platform: Some("linux/arm64".to_owned()),
            cache_from: vec!["shop:1".to_owned(), "shop:2".to_owned()],
            has_inline_cache: true,
            ..port::BuildRequest::default()
        };
        assert_eq!(read(&all), Ok(request));
        for (options, says) in
            [([("builder", "kaniko")], "no builder `kaniko`"), ([("squash", "1")], "`squash`")]
        {
            let error = read(&options).expect_err("refused");
            assert!(error.contains(says), "{error}");
        }
    }
}
