//! Adding components to the store of plugins, and taking them out. What is added is described before; what was taken
//! out can be run on by whoever is pinned to its digest, as copies of components stay.

use std::path::PathBuf;
use std::sync::Arc;

use yuanli_model::plugin::{Name, NamedVersion};
use yuanli_model::{Digest, PluginDescription};
use yuanli_ports::plugins::PluginError;

use crate::added::{Entry, Outcome};
use crate::catalog::on_thread;
use crate::component;
use crate::description::StoredBounds;
use crate::host::{Host, about};
use crate::inspection::Source;

/// A plugin that is there, by name.
#[derive(Debug, Clone, PartialEq)]
pub struct Listed {
    /// Where it came from.
    pub source: Source,
    /// What it says of itself.
    pub description: Arc<PluginDescription>,
}

/// A file whose component is to be added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The file.
    pub path: PathBuf,
    /// What it is called when something is said of it.
    pub shown: String,
}

/// What became of a candidate.
#[derive(Debug, Clone, PartialEq)]
pub struct Addition {
    /// What was done.
    pub outcome: Outcome,
    /// What the plugin says of itself.
    pub description: Arc<PluginDescription>,
}

/// A candidate that can be added.
struct Examined {
    candidate: Candidate,
    entry: Entry,
    description: Arc<PluginDescription>,
}

impl Host {
    /// All plugins that have a name, sorted by it and by version; and why others that were added are left out.
    ///
    /// # Errors
    /// When the store of plugins cannot be read.
    pub async fn all(&self) -> Result<(Vec<Listed>, Vec<PluginError>), PluginError> {
        let added = Arc::clone(&self.added);
        let read =
            move || added.keys().map(|keys| keys.iter().map(|key| added.entry(key)).collect::<Vec<_>>());
        let entries = on_thread(read).await?;
        let mut listed = Vec::new();
        let mut damaged = Vec::new();
        for builtin in self.catalog.builtins() {
            let description = self.catalog.description(&builtin.digest).await?;
            listed.push(Listed { source: Source::Builtin, description });
        }
        for entry in entries {
            let described = match entry {
                Ok(entry) => self.catalog.of_entry(&entry).await,
                Err(error) => Err(error),
            };
            match described {
                Ok(description) => listed.push(Listed { source: Source::Added, description }),
                Err(error) => damaged.push(error),
            }
        }
        // Entries are sorted by version among themselves.
        listed.sort_by(|a, b| a.description.name.cmp(&b.description.name));
        Ok((listed, damaged))
    }

    /// Adds components to the store of plugins, all or none. `may_replace` lets one take the place of another with its
    /// name and version.
    ///
    /// # Errors
    /// When one of them cannot be used or added; nothing of any is kept then.
    pub async fn add(
        &self,
        candidates: Vec<Candidate>,
        may_replace: bool,
    ) -> Result<Vec<Addition>, PluginError> {
        let mut examined: Vec<Examined> = Vec::new();
        for candidate in candidates {
            let next = self.examine_candidate(candidate).await?;
            if let Some(same) = examined.iter().find(|before| before.entry.key == next.entry.key)
                && same.entry.digest != next.entry.digest
            {
                let (key, one, other) = (&next.entry.key, &same.candidate.shown, &next.candidate.shown);
                return Err(PluginError::Invalid(format!(
                    "`{one}` and `{other}` are both `{key}` and not the same component: give one a version of its own"
                )));
            }
            examined.push(next);
        }
        let descriptions: Vec<_> = examined.iter().map(|next| Arc::clone(&next.description)).collect();
        let (added, catalog) = (Arc::clone(&self.added), Arc::clone(&self.catalog));
        let outcomes = on_thread(move || {
            let entries: Vec<Entry> = examined.iter().map(|next| next.entry.clone()).collect();
            added.add(&entries, may_replace, || {
                // Read again one by one: all of them may be more than there is memory.
                examined.iter().try_for_each(|next| {
                    let binary = next.candidate.read()?;
                    if Digest::of(&binary) == next.entry.digest {
                        catalog.keep(&next.entry.digest, &binary)
                    } else {
                        let why = format!("`{}` changed while it was read", next.candidate.shown);
                        Err(PluginError::Invalid(why))
                    }
                })
            })
        })
        .await?;
        let addition = |(outcome, description)| Addition { outcome, description };
        Ok(outcomes.into_iter().zip(descriptions).map(addition).collect())
    }

    async fn examine_candidate(&self, candidate: Candidate) -> Result<Examined, PluginError> {
        let shown = candidate.shown.clone();
        let named = |why: String| about(&shown, PluginError::Invalid(why));
        let read = candidate.clone();
        let (digest, imports, binary) = on_thread(move || {
            let binary = read.read()?;
            let unusable = |e: component::Unusable| about(&read.shown, PluginError::Invalid(e.to_string()));
            let imports = component::imports(&binary).map_err(unusable)?;
            component::capabilities_of(&imports).map_err(unusable)?;
            Ok((Digest::of(&binary), imports, bytes::Bytes::from(binary)))
        })
        .await?;
        let (key, description) = self.examined(&digest, &binary).await.map_err(|e| about(&shown, e))?;
        if self.catalog.builtins().iter().any(|builtin| builtin.name == key.name.as_str()) {
            let why = format!(
                "it calls itself `{}`, as a plugin that comes with the engine: give it another name",
                key.name
            );
            return Err(named(why));
        }
        let entry = Entry {
            key,
            summary: description.summary.clone(),
            digest,
            size_bytes: binary.len() as u64,
            imports,
            config_schema: description.config_schema.clone(),
            outputs_schema: description.outputs_schema.clone(),
            bounds: StoredBounds::of(&description.bounds),
        };
        Ok(Examined { candidate, entry, description })
    }

    /// Takes plugins out of the store: those of a name that `choose` takes. Runs and kept workflows that
    /// have their components go on with them. Returns what was taken out.
    ///
    /// # Errors
    /// When the store of plugins cannot be read or written.
    pub async fn remove(
        &self,
        name: Name,
        choose: impl Fn(&NamedVersion) -> bool + Send + 'static,
    ) -> Result<Vec<NamedVersion>, PluginError> {
        let added = Arc::clone(&self.added);
        on_thread(move || added.remove(&name, choose)).await
    }

    /// The versions of a name that were added, the lowest first.
    ///
    /// # Errors
    /// When the store of plugins cannot be read.
    pub async fn versions(&self, name: &Name) -> Result<Vec<NamedVersion>, PluginError> {
        let (added, name) = (Arc::clone(&self.added), name.clone());
        on_thread(move || added.versions(name.as_str())).await
    }
}

impl Candidate {
    fn read(&self) -> Result<Vec<u8>, PluginError> {
        crate::file::read(&self.path, &self.shown)
    }
}
