//! Names that images have for as long as they are pushed: Docker pushes an image only under a name that it has.
//!
//! A name is lent to one image at a time, so that two stages that push under one name do not take it from each other. What is
//! lent is noted in files before it is, so that an engine that comes after one that was killed gives it back.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::OwnedMutexGuard;
use yuanli_model::Digest;
use yuanli_ports::Images;
use yuanli_ports::containers::ContainerError;
use yuanli_ports::images::Image;

use crate::connection::Docker;
use crate::file;
use crate::reference;

/// The names that are lent, each with who waits for it, and where it is noted which they are.
#[derive(Debug, Default)]
pub(crate) struct Lent {
    turns: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
    notes: Option<PathBuf>,
}

impl Lent {
    /// With a folder for the notes, which is made when it is needed; without, a killed engine gives nothing back.
    pub(crate) fn noted_in(notes: Option<PathBuf>) -> Self {
        Self { turns: Mutex::default(), notes }
    }

    /// Waits until nobody else has the name, and keeps it as long as what is returned.
    pub(crate) async fn alone(&self, name: &str) -> OwnedMutexGuard<()> {
        let turn = {
            let mut names = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
            // Those that nobody has or waits for.
            names.retain(|_, turn| Arc::strong_count(turn) > 1);
            Arc::clone(names.entry(full_name(name)).or_default())
        };
        turn.lock_owned().await
    }

    /// What is noted of a name.
    async fn noted(&self, name: &str) -> Option<Name> {
        let path = self.path(name)?;
        tokio::task::spawn_blocking(move || read(&path)).await.ok().flatten()
    }

    /// Notes that a name is about to be lent; durable when this returns.
    async fn note(&self, lent: &Name) -> Result<(), ContainerError> {
        let Some(path) = self.path(&lent.name) else { return Ok(()) };
        let failed = |why: String| ContainerError::Engine(format!("a name that is lent is not noted: {why}"));
        let text =
            serde_json::to_vec(&Version::V1(lent.clone())).map_err(|error| failed(error.to_string()))?;
        let written = tokio::task::spawn_blocking(move || file::write_whole(&path, &text)).await;
        written.map_err(|panic| failed(panic.to_string()))?.map_err(|error| failed(error.to_string()))
    }

    /// That it is lent no more. A note too many is looked at by the next engine, which finds that it is not so.
    async fn forget(&self, name: &str) {
        let Some(path) = self.path(name) else { return };
        let removed = tokio::task::spawn_blocking(move || std::fs::remove_file(path)).await;
        if let Ok(Err(error)) = removed {
            tracing::debug!(name, %error, "the note of a name that was lent stays");
        }
    }

    /// All that are noted.
    async fn all(&self) -> Vec<Name> {
        let Some(folder) = self.notes.clone() else { return Vec::new() };
        let read_all = move || {
            let paths = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
            paths
                .filter(|path| path.extension().is_some_and(|is| is == "json"))
                .filter_map(|path| read(&path))
                .collect()
        };
        tokio::task::spawn_blocking(read_all).await.unwrap_or_default()
    }

    fn path(&self, name: &str) -> Option<PathBuf> {
        // A name may be longer than that of a file, and has signs that it has not.
        Some(self.notes.as_ref()?.join(format!("{}.json", Digest::of(full_name(name).as_bytes()).hex())))
    }
}

/// A note; nothing for one that is torn, as its name was not lent then.
fn read(path: &Path) -> Option<Name> {
    let Version::V1(name) = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
    Some(name)
}

/// A name with its tag: `shop` and `shop:latest` are one.
fn full_name(name: &str) -> String {
    reference::parse_tag(name)
        .map_or_else(|_| name.to_owned(), |(repository, tag)| format!("{repository}:{tag}"))
}

/// A note as it is stored.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "version")]
enum Version {
    #[serde(rename = "1")]
    V1(Name),
}

/// A name that an image was lent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Name {
    name: String,
    /// The id of the image.
    to: String,
    after: After,
}

/// What becomes of the name afterwards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum After {
    /// It stays: the image had it before, or has no other.
    Stays,
    /// It goes.
    Goes,
    /// It goes back to the image of that id.
    GoesBack(String),
}

impl Docker {
    /// Gives an image a name for a while. Whoever asks has it alone.
    pub(crate) async fn lend(&self, image: &str, name: &str) -> Result<Name, ContainerError> {
        reference::parse_tag(name)?;
        let image: Image = Images::inspect(self, image).await?;
        // One that could not be taken back.
        let before = self.lent.noted(name).await;
        let after = match Images::inspect(self, name).await {
            Ok(found) => match before.filter(|before| before.to == found.id) {
                Some(before) => before.after,
                None if found.id == image.id => After::Stays,
                None => After::GoesBack(found.id),
            },
            Err(ContainerError::NotFound(_)) if image.tags.is_empty() => After::Stays,
            Err(ContainerError::NotFound(_)) => After::Goes,
            Err(error) => return Err(error),
        };
        let lent = Name { name: name.to_owned(), to: image.id, after };
        if lent.after != After::Stays {
            self.lent.note(&lent).await?;
        }
        if let Err(error) = Images::tag(self, &lent.to, name).await {
            // The image may have it all the same.
            if let Err(left) = self.insisting(|| self.give_back(&lent)).await {
                tracing::warn!(name, %left, "a name that was lent may be left; the next start of the engine takes it back");
            }
            return Err(error);
        }
        Ok(lent)
    }

    /// Takes it back. What was pushed is there: a name too many is worth a line.
    pub(crate) async fn take_back(&self, lent: Name, progress: &(dyn Fn(String) + Send + Sync)) {
        if let Err(error) = self.insisting(|| self.give_back(&lent)).await {
            progress(format!("the name {} stays: {error}", lent.name));
        }
    }

    /// A name that has another image by now, or none, was given away or taken by somebody, and is left alone. Docker has no
    /// way to ask and to name in one; what somebody does between the two calls counts as done before.
    async fn give_back(&self, Name { name, to, after }: &Name) -> Result<(), ContainerError> {
        if *after == After::Stays {
            return Ok(());
        }
        match (after, Images::inspect(self, name).await) {
            (_, Ok(found)) if found.id != *to => {}
            (After::GoesBack(id), Ok(_)) => match Images::tag(self, id, name).await {
                // Somebody has removed that image.
                Err(ContainerError::NotFound(_)) => Images::remove(self, name).await?,
                tagged => tagged?,
            },
            (_, Ok(found)) if found.tags.len() > 1 => Images::remove(self, name).await?,
            // The last one that the image has is not taken from it.
            (_, Ok(_)) | (_, Err(ContainerError::NotFound(_))) => {}
            (_, Err(error)) => return Err(error),
        }
        self.lent.forget(name).await;
        Ok(())
    }

    /// Whether names may still be lent by an engine before this one: Docker need not be asked where not.
    pub async fn has_lent_names(&self) -> bool {
        !self.lent.all().await.is_empty()
    }

    /// Takes back the names that an engine before this one lent and could not take back.
    ///
    /// # Errors
    /// See [`ContainerError`]; what is left is taken back by the next call.
    pub async fn take_names_back(&self) -> Result<(), ContainerError> {
        for lent in self.lent.all().await {
            let _alone = self.lent.alone(&lent.name).await;
            // Somebody who has had it meanwhile has given it back.
            let Some(lent) = self.lent.noted(&lent.name).await else { continue };
            self.give_back(&lent).await?;
        }
        Ok(())
    }
}
