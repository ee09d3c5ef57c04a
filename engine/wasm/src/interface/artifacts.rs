//! `yuanli:artifacts`: what a stage leaves, and what those before it have left.

use std::io::{self, Read as _, Write as _};

use bytes::Bytes;
use cap_std::fs::{Dir, File};
use futures::FutureExt;
use sha2::{Digest as _, Sha256};
use wasmtime::component::Linker;
use yuanli_bindings::artifacts::{Artifact, Error};
use yuanli_model::Digest;
use yuanli_ports::blobs::Hold;
use yuanli_ports::journal::Staged;
use yuanli_ports::records::{self as port, ARTIFACT_PART_BYTES, NewArtifact, Part, RecordError};

use super::file::{self, DENIED, Undone};
use super::workspace::READ_ONLY;
use crate::argument::shown;
use crate::call::{Answer, Function, Interface, Policy};
use crate::guest::{Guest, State};

/// Most bytes that pass through the contract at once into an artifact, as it says.
const MAX_PUT_BYTES: usize = 16 * 1024 * 1024;
/// Most bytes that pass at once out of one, as it says.
const MAX_READ_BYTES: u32 = 4 * 1024 * 1024;
/// What stands for the media type of an artifact that says none.
const OCTETS: &str = "application/octet-stream";

/// Name, media type, and content or path.
type Put<T> = (String, String, T);
/// Stage, instance, name, and a range.
type Range = (String, u32, String, u64, u32);
/// Stage, instance, name, and a path.
type Target = (String, u32, String, String);

pub(super) fn link(linker: &mut Linker<Guest>, declared: &mut Vec<Function>) -> wasmtime::Result<()> {
    Interface::open(linker, "yuanli:artifacts/artifacts@0.1.0", declared)?
        .local("put", put)?
        .local("put-file", put_file)?
        .read("list", list)?
        .read("read", read)?
        .effect("read-to-file", Policy::Files, read_to_file)?;
    Ok(())
}

/// The parts of an artifact as they are kept, and what is known of the whole.
#[derive(Default)]
struct Kept {
    parts: Vec<Part>,
    holds: Vec<Hold>,
    hash: Sha256,
    /// The end of the last part.
    border: Vec<u8>,
}

impl Kept {
    async fn add(&mut self, state: &State, bytes: Bytes) -> Result<(), Error> {
        let mask = &state.held.mask;
        // Between two parts secrets are looked for as far as one can reach into each.
        let reach = mask.reach();
        let begin = &bytes[..bytes.len().min(reach)];
        if mask.is_in(&bytes) || mask.is_in(&[&self.border, begin].concat()) {
            return Err(Error::Invalid(
                "it holds the value of a secret; people can read what is kept: leave it out".to_owned(),
            ));
        }
        self.border = bytes[bytes.len().saturating_sub(reach)..].to_vec();
        self.hash.update(&bytes);
        let (part, hold) = state.attempt.records.keep(bytes).await.map_err(of_port)?;
        self.parts.push(part);
        self.holds.push(hold);
        Ok(())
    }

    async fn put(self, state: &State, name: &str, media_type: &str) -> Result<(Artifact, Staged), Error> {
        let digest = Digest::from_bytes(self.hash.finalize().into());
        let (name, media_type) = (name.to_owned(), media_type.to_owned());
        let artifact = NewArtifact { name, media_type, digest, parts: self.parts };
        let put = Artifact {
            stage: state.attempt.id.stage.to_string(),
            instance: state.attempt.id.instance,
            name: artifact.name.clone(),
            media_type: artifact.media_type.clone(),
            size: artifact.size(),
            digest: digest.to_string(),
        };
        let staged = state.attempt.records.put_artifact(artifact, self.holds).await.map_err(of_port)?;
        Ok((put, staged))
    }
}

fn decided(outcome: Result<(Artifact, Staged), Error>) -> ((Result<Artifact, Error>,), Staged) {
    match outcome {
        Ok((artifact, staged)) => ((Ok(artifact),), staged),
        Err(error) => ((Err(error),), Staged::default()),
    }
}

/// The media type, where neither it nor the name has a secret in it: both are shown to whoever asks.
fn named<'a>(state: &State, name: &str, media_type: &'a str) -> Result<&'a str, Error> {
    if [name, media_type].iter().any(|text| state.held.mask.is_in(text.as_bytes())) {
        return Err(Error::Invalid(
            "the name or the media type of the artifact has a secret in it".to_owned(),
        ));
    }
    Ok(if media_type.is_empty() { OCTETS } else { media_type })
}

/// That the attempt and its run may put so much more, before any of it is kept.
async fn room_for(state: &State, name: &str, media_type: &str, size: u64) -> Result<(), Error> {
    let records = &state.attempt.records;
    records.room_for(name, media_type, size).await.map_err(of_port)?;
    let (put, limit) = (records.artifact_bytes().await.map_err(of_port)?, &state.max_artifact_bytes);
    if put.saturating_add(size) > limit.most {
        return Err(Error::TooLarge(format!(
            "artifact {} has {size} bytes and the attempt has put {put}, replaced ones counted; together it may put {}, {}",
            shown(name),
            limit.most,
            limit.by.in_words("artifacts")
        )));
    }
    Ok(())
}

fn put<'s>(
    state: &'s mut State,
    (name, media_type, content): &'s Put<Vec<u8>>,
) -> Answer<'s, ((Result<Artifact, Error>,), Staged)> {
    let work = async move {
        let media_type = named(state, name, media_type)?;
        let length = content.len();
        if length > MAX_PUT_BYTES {
            return Err(Error::TooLarge(format!(
                "{} has {length} bytes; at most {MAX_PUT_BYTES} pass at once: put it as a file",
                shown(name)
            )));
        }
        room_for(state, name, media_type, length as u64).await?;
        let mut kept = Kept::default();
        for part in content.chunks(ARTIFACT_PART_BYTES) {
            kept.add(state, Bytes::copy_from_slice(part)).await?;
        }
        if content.is_empty() {
            kept.add(state, Bytes::new()).await?;
        }
        kept.put(state, name, media_type).await
    };
    async move { decided(work.await) }.boxed()
}

fn put_file<'s>(
    state: &'s mut State,
    (name, media_type, path): &'s Put<String>,
) -> Answer<'s, ((Result<Artifact, Error>,), Staged)> {
    let work = async move {
        let media_type = named(state, name, media_type)?;
        let (mut file, size) = on_files(state, path, file::open).await?;
        room_for(state, name, media_type, size).await?;
        let mut kept = Kept::default();
        let mut left = size;
        loop {
            let wanted = left.min(ARTIFACT_PART_BYTES as u64);
            let (part, opened) = on_thread(path, move || read_part(file, wanted)).await?;
            file = opened;
            // One that became shorter meanwhile is what it is now; one that grew is as long as it was.
            let is_last = (part.len() as u64) < wanted || part.len() as u64 == left;
            left -= part.len() as u64;
            if !part.is_empty() || kept.parts.is_empty() {
                kept.add(state, part).await?;
            }
            if is_last {
                return kept.put(state, name, media_type).await;
            }
        }
    };
    async move { decided(work.await) }.boxed()
}

fn list(state: &mut State, (): ()) -> Answer<'_, (Result<Vec<Artifact>, Error>,)> {
    async move {
        let found = state.attempt.records.artifacts().await.map_err(of_port);
        (found.map(|found| found.into_iter().map(artifact).collect()),)
    }
    .boxed()
}

fn read(
    state: &mut State,
    (stage, instance, name, offset, length): Range,
) -> Answer<'_, (Result<Vec<u8>, Error>,)> {
    let work = async move {
        if length > MAX_READ_BYTES {
            return Err(Error::Invalid(format!(
                "{length} bytes were asked for; one call gives {MAX_READ_BYTES}: ask several times"
            )));
        }
        let found = find(state, &stage, instance, &name).await?;
        let end = offset.saturating_add(u64::from(length));
        let (mut content, mut begin) = (Vec::new(), 0_u64);
        for part in found.content.parts {
            let (from, to) = (offset.max(begin), end.min(begin + part.size));
            if from < to {
                let bytes = state.attempt.records.part(part).await.map_err(of_port)?;
                let range = (from - begin) as usize..(to - begin) as usize;
                content.extend_from_slice(bytes.get(range).ok_or_else(|| damaged(&name))?);
            }
            begin += part.size;
        }
        Ok(content)
    };
    async move { (work.await,) }.boxed()
}

fn read_to_file(
    state: &mut State,
    (stage, instance, name, path): Target,
) -> Answer<'_, (Result<u64, Error>,)> {
    let work = async move {
        let found = find(state, &stage, instance, &name).await?;
        if !state.rights.may_write_workspace() {
            return Err(Error::Denied(READ_ONLY.to_owned()));
        }
        let mut file = on_files(state, &path, file::create).await?;
        for part in &found.content.parts {
            let bytes = state.attempt.records.part(*part).await.map_err(of_port)?;
            let write = move || file.write_all(&bytes).map(|()| file);
            file = on_thread(&path, write).await?;
        }
        Ok(found.content.size())
    };
    async move { (work.await,) }.boxed()
}

async fn find(state: &State, stage: &str, instance: u32, name: &str) -> Result<port::Artifact, Error> {
    let all = state.attempt.records.artifacts().await.map_err(of_port)?;
    let is_meant = |found: &port::Artifact| {
        (found.stage.as_str(), found.instance, found.content.name.as_str()) == (stage, instance, name)
    };
    all.into_iter().find(is_meant).ok_or_else(|| {
        Error::NotFound(format!(
            "stage {}, instance {instance} has no artifact {} that this stage sees: it sees those of the stages that it needs",
            shown(stage),
            shown(name)
        ))
    })
}

/// Does `work` on the workspace and a path in it, if the stage has it.
async fn on_files<T: Send + 'static>(
    state: &State,
    path: &str,
    work: impl FnOnce(&Dir, &std::path::Path) -> io::Result<T> + Send + 'static,
) -> Result<T, Error> {
    file::on_workspace(state, path, work).await.map_err(|undone| match undone {
        Undone::Denied => Error::Denied(DENIED.to_owned()),
        Undone::Outside(outside) => Error::Invalid(outside.to_string()),
        Undone::Away(error) => Error::Unavailable(error.to_string()),
        Undone::Ending => ending(),
        Undone::Io(error) => of_io(path, &error),
    })
}

async fn on_thread<T: Send + 'static>(
    path: &str,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome.map_err(|error| of_io(path, &error)),
        Err(_) => Err(ending()),
    }
}

fn ending() -> Error {
    Error::Unavailable("the engine is shutting down".to_owned())
}

fn read_part(file: File, wanted: u64) -> io::Result<(Bytes, File)> {
    let mut part = Vec::new();
    (&file).take(wanted).read_to_end(&mut part)?;
    Ok((part.into(), file))
}

fn artifact(found: port::Artifact) -> Artifact {
    Artifact {
        stage: found.stage.to_string(),
        instance: found.instance,
        size: found.content.size(),
        digest: found.content.digest.to_string(),
        name: found.content.name,
        media_type: found.content.media_type,
    }
}

fn damaged(name: &str) -> Error {
    Error::Unavailable(format!("artifact `{name}` is shorter than it was: it is damaged"))
}

fn of_io(path: &str, error: &io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::NotFound => Error::NotFound(format!("`{path}` does not exist in the workspace")),
        io::ErrorKind::IsADirectory | io::ErrorKind::NotADirectory => {
            Error::Invalid(format!("`{path}` is no file"))
        }
        // cap-std refuses a path that leaves its folder with this kind.
        io::ErrorKind::PermissionDenied if error.raw_os_error().is_none() => {
            Error::Invalid(format!("`{path}` leads out of the workspace"))
        }
        _ => Error::Unavailable(format!("`{path}`: {error}")),
    }
}

fn of_port(error: RecordError) -> Error {
    match error {
        RecordError::NotFound(message) => Error::NotFound(message),
        RecordError::Invalid(message) => Error::Invalid(message),
        RecordError::TooLarge(message) => Error::TooLarge(message),
        RecordError::TooMany(message) => Error::TooMany(message),
        RecordError::Unavailable(message) => Error::Unavailable(message),
        RecordError::Conflict(message) => Error::Other(message),
    }
}
