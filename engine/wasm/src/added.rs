//! The plugins that somebody added: for each version of a name an entry, a file of what is known of the component
//! without running it. Copies of the components lie beside, by digest; see `catalog.rs`.
//!
//! An entry is whole or not there: it is written under a temporary name, synced and renamed. Entries that belong
//! together are written as one file first, the batch, which is what makes them durable; whoever finds one that was left
//! makes entries of it. Nothing is held in memory: other processes change the folder too.

mod check;
mod entry;
pub(crate) mod files;

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::PathBuf;

use yuanli_model::plugin::{Name, NamedVersion, Requirement, Unfit, Version};
use yuanli_model::{Digest, PluginReference};
use yuanli_ports::plugins::PluginError;

pub use check::{Stocktaking, take_stock};
pub(crate) use entry::Entry;
use entry::{Unreadable, open, seal};

/// Entries that are to be there together, and are on their way. No entry is called so, as each has an `@`.
const BATCH: &str = "batch";

/// What adding a plugin came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was not there.
    Added,
    /// It was there, the same component.
    Present,
    /// Another component of that name and version was there, and is not any more.
    Replaced,
}

/// What there is for a reference.
#[derive(Debug, PartialEq)]
pub(crate) enum Found {
    /// The highest version that fits.
    Entry(Box<Entry>),
    /// The name is there, and nothing that fits.
    Unfit(Unfit),
    /// Nothing of that name.
    Nothing,
}

/// The folder of the entries.
#[derive(Debug)]
pub(crate) struct Added {
    folder: PathBuf,
}

impl Added {
    pub(crate) const fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// What is there, sorted; no entry is opened for it.
    pub(crate) fn keys(&self) -> Result<Vec<NamedVersion>, PluginError> {
        if self.folder.join(BATCH).exists() {
            let _lock = self.lock()?;
            self.finish()?;
        }
        let mut keys = BTreeSet::new();
        match fs::read_dir(&self.folder) {
            Ok(files) => {
                for file in files {
                    let name = file.map_err(|e| self.cannot_read(&e))?.file_name();
                    keys.extend(name.to_str().and_then(|name| name.parse::<NamedVersion>().ok()));
                }
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(self.cannot_read(&e)),
        }
        Ok(keys.into_iter().collect())
    }

    /// What is there of a name, the lowest version first.
    pub(crate) fn versions(&self, name: &str) -> Result<Vec<NamedVersion>, PluginError> {
        Ok(self.keys()?.into_iter().filter(|key| key.name.as_str() == name).collect())
    }

    /// The plugin of that name that a reference stands for.
    pub(crate) fn find(&self, reference: &PluginReference, name: &str) -> Result<Found, PluginError> {
        let keys = self.versions(name)?;
        if let PluginReference::Pinned(_, digest) = reference {
            return self.pinned(name, digest, &keys);
        }
        match (reference.choose(&keys), reference) {
            (Some(key), _) => Ok(Found::Entry(Box::new(self.entry(key)?))),
            (None, PluginReference::Versioned(_, wanted)) if !keys.is_empty() => {
                Ok(Found::Unfit(unfit(name, keys, wanted)))
            }
            _ => Ok(Found::Nothing),
        }
    }

    fn pinned(&self, name: &str, digest: &Digest, keys: &[NamedVersion]) -> Result<Found, PluginError> {
        let mut other = None;
        let mut damaged = None;
        for key in keys {
            match self.entry(key) {
                Ok(entry) if entry.digest == *digest => return Ok(Found::Entry(Box::new(entry))),
                Ok(entry) => other = Some(entry.digest),
                Err(error) => damaged = Some(error),
            }
        }
        match (damaged, other) {
            // It may be the one that is asked for.
            (Some(error), _) => Err(error),
            (None, Some(found)) => Ok(Found::Unfit(Unfit::Component { name: name.to_owned(), found })),
            (None, None) => Ok(Found::Nothing),
        }
    }

    /// An entry.
    ///
    /// # Errors
    /// When it is damaged or cannot be read.
    pub(crate) fn entry(&self, key: &NamedVersion) -> Result<Entry, PluginError> {
        let about = |why: &dyn std::fmt::Display| {
            PluginError::Invalid(format!("the entry of `{key}` in the store of plugins {why}"))
        };
        match self.read(key).map_err(|e| self.cannot_read(&e))? {
            Some(Ok(entry)) => Ok(entry),
            Some(Err(unreadable)) => Err(about(&unreadable)),
            None => Err(about(&"is not there any more")),
        }
    }

    fn read(&self, key: &NamedVersion) -> io::Result<Option<Result<Entry, Unreadable>>> {
        let bytes = match fs::read(self.folder.join(key.to_string())) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e),
        };
        let entry = open::<Entry>(&bytes).and_then(|entry| {
            // One that was given another name is as good as damaged.
            if entry.key == *key { Ok(entry) } else { Err(Unreadable::Damaged) }
        });
        Ok(Some(entry))
    }

    /// Makes entries, all or none. `keep` is called once nothing speaks against them, before the first is there.
    ///
    /// # Errors
    /// When one of that name and version is there with another component, unless `may_replace`; nothing is changed.
    pub(crate) fn add(
        &self,
        entries: &[Entry],
        may_replace: bool,
        keep: impl FnOnce() -> Result<(), PluginError>,
    ) -> Result<Vec<Outcome>, PluginError> {
        files::make_folder(&self.folder).map_err(|e| self.cannot_write(&e))?;
        let _lock = self.lock()?;
        self.finish()?;
        files::sweep(&self.folder).map_err(|e| self.cannot_write(&e))?;
        let outcomes = entries.iter().map(|entry| self.outcome(entry, may_replace));
        let outcomes = outcomes.collect::<Result<Vec<_>, _>>()?;
        keep()?;
        let is_new =
            |(entry, outcome): (&Entry, &Outcome)| (*outcome != Outcome::Present).then(|| entry.clone());
        let new: Vec<Entry> = entries.iter().zip(&outcomes).filter_map(is_new).collect();
        self.commit(&new).map_err(|e| self.cannot_write(&e))?;
        Ok(outcomes)
    }

    fn outcome(&self, entry: &Entry, may_replace: bool) -> Result<Outcome, PluginError> {
        let NamedVersion { name, version } = &entry.key;
        match self.read(&entry.key).map_err(|e| self.cannot_read(&e))? {
            Some(Ok(found)) if found.digest == entry.digest => Ok(Outcome::Present),
            Some(Ok(_)) if may_replace => Ok(Outcome::Replaced),
            Some(Ok(found)) => Err(PluginError::Invalid(format!(
                "`{name}` {version} is there already, as another component ({}): give this one a version of its own, \
                 or put it in the place of the other with `--replace`",
                found.digest
            ))),
            Some(Err(newer @ Unreadable::Newer(_))) => Err(PluginError::Invalid(format!(
                "the entry of `{}` in the store of plugins {newer}",
                entry.key
            ))),
            // What is damaged is made again.
            Some(Err(Unreadable::Damaged)) | None => Ok(Outcome::Added),
        }
    }

    fn commit(&self, entries: &[Entry]) -> io::Result<()> {
        match entries {
            [] => Ok(()),
            [only] => self.write(only),
            several => {
                files::write_whole(&self.folder, BATCH, &seal(&several))?;
                self.unpack(several)
            }
        }
    }

    fn unpack(&self, entries: &[Entry]) -> io::Result<()> {
        entries.iter().try_for_each(|entry| self.write(entry))?;
        files::remove(&self.folder, BATCH)
    }

    fn write(&self, entry: &Entry) -> io::Result<()> {
        files::write_whole(&self.folder, &entry.key.to_string(), &seal(entry))
    }

    /// Makes entries of a batch that was left. Whoever calls holds the lock.
    fn finish(&self) -> Result<(), PluginError> {
        let bytes = match fs::read(self.folder.join(BATCH)) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(self.cannot_read(&e)),
        };
        match open::<Vec<Entry>>(&bytes) {
            Ok(entries) => self.unpack(&entries).map_err(|e| self.cannot_write(&e)),
            Err(Unreadable::Damaged) => {
                let folder = self.folder.display();
                tracing::warn!(%folder, "plugins that were being added are lost, as what was kept of them is damaged: add them again");
                files::remove(&self.folder, BATCH).map_err(|e| self.cannot_write(&e))
            }
            Err(newer) => {
                Err(PluginError::Local(format!("what is being added to the store of plugins {newer}")))
            }
        }
    }

    /// Removes the entries of a name that `choose` takes; the components stay for whoever is pinned to them. Returns
    /// what was removed.
    pub(crate) fn remove(
        &self,
        name: &Name,
        choose: impl Fn(&NamedVersion) -> bool,
    ) -> Result<Vec<NamedVersion>, PluginError> {
        if !self.folder.exists() {
            return Ok(Vec::new());
        }
        let _lock = self.lock()?;
        self.finish()?;
        let mut removed = self.versions(name.as_str())?;
        removed.retain(choose);
        for key in &removed {
            files::remove(&self.folder, &key.to_string()).map_err(|e| self.cannot_write(&e))?;
        }
        Ok(removed)
    }

    fn lock(&self) -> Result<fs::File, PluginError> {
        files::lock(&self.folder).map_err(|e| self.cannot_write(&e))
    }

    fn cannot_read(&self, error: &io::Error) -> PluginError {
        PluginError::Local(format!("the store of plugins {} cannot be read: {error}", self.folder.display()))
    }

    fn cannot_write(&self, error: &io::Error) -> PluginError {
        PluginError::Local(format!(
            "the store of plugins {} cannot be written: {error}",
            self.folder.display()
        ))
    }
}

fn unfit(name: &str, keys: Vec<NamedVersion>, wanted: &Requirement) -> Unfit {
    let (name, wanted) = (name.to_owned(), wanted.clone());
    let versions: Vec<Version> = keys.into_iter().map(|key| key.version).collect();
    match versions.as_slice() {
        [only] => Unfit::Version { name, version: only.to_string(), wanted },
        _ => Unfit::Versions { name, versions, wanted },
    }
}

#[cfg(test)]
mod tests;
