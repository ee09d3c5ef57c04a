//! What can be known of a component without running a stage of it. Its imports are read first, and are told also when
//! `describe` fails or says what cannot be.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use yuanli_model::plugin::{InvalidIdentity, NamedVersion, Version};
use yuanli_model::{Capability, Digest, PluginDescription, PluginReference};
use yuanli_ports::Plugins as _;
use yuanli_ports::plugins::{Origin, PluginError};

use crate::catalog::{StoredDescription, on_thread};
use crate::host::{Host, about};
use crate::pack::Said;
use crate::{component, description, pack};

/// Where a component came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// It came with the engine.
    Builtin,
    /// It was added to the store of plugins.
    Added,
    /// A file.
    File,
}

/// Rights, each with what it is needed for.
pub type Reasons = BTreeMap<Capability, String>;

/// Longest reason that is told whole, in characters: it is one line for a person.
const MAX_REASON_CHARS: usize = 500;

/// What is known of a component.
#[derive(Debug, Clone, PartialEq)]
pub struct Inspection {
    /// Where it came from.
    pub source: Source,
    /// Its SHA-256.
    pub digest: Digest,
    /// Its size.
    pub size_bytes: u64,
    /// The rights that it imports, free ones included.
    pub capabilities: Vec<Capability>,
    /// What its author says that he needs them for, as far as he says so.
    pub reasons: Reasons,
    /// The interfaces of WASI that it imports, which count as no right.
    pub wasi: Vec<String>,
    /// Whether what it says of itself was read in the file, where whoever made it may have written anything, and not asked
    /// of it.
    pub is_claimed: bool,
    /// What it says of itself, or why that cannot be used.
    pub description: Result<Arc<PluginDescription>, PluginError>,
}

impl Host {
    /// Looks at the component that a reference stands for. Nothing of it is kept but compiled code.
    ///
    /// # Errors
    /// When there is none, or it cannot be used whatever it says of itself.
    pub async fn inspect(
        &self,
        reference: &PluginReference,
        origin: &Origin,
    ) -> Result<Inspection, PluginError> {
        let (source, digest, binary, description) = if let PluginReference::File(path) = reference {
            let (digest, binary) = self.component_file(path, origin).await?;
            let described = self.examined(&digest, &binary).await.map(|(_, described)| described);
            (Source::File, digest, binary, described.map_err(|e| about(path, e)))
        } else {
            let described = self.resolve(reference, origin).await?;
            let source = if described.is_builtin { Source::Builtin } else { Source::Added };
            let binary = self.catalog.bytes(&described.digest).await?;
            (source, described.digest, binary, Ok(described))
        };
        // One that cannot be asked any more says nothing of it; its rights are known all the same.
        let said = match description {
            Ok(_) => self.catalog.said(&digest, Some(&binary)).await.ok(),
            Err(_) => None,
        };
        inspection(source, digest, binary, false, description, said).await
    }

    /// The same of a file, of which nothing is compiled or run: what it says of itself is what it claims.
    ///
    /// # Errors
    /// When there is none, or it cannot be used whatever it claims.
    pub async fn inspect_unrun(&self, path: &str, origin: &Origin) -> Result<Inspection, PluginError> {
        let (digest, binary) = self.component_file(path, origin).await?;
        let description = claimed(&digest, &binary).map(Arc::new).map_err(|e| about(path, e));
        let said = pack::claim(&binary).ok().flatten().filter(|_| description.is_ok());
        inspection(Source::File, digest, binary, true, description, said).await
    }

    /// The component in a file.
    ///
    /// # Errors
    /// When there is none, or it cannot be used whatever it says of itself.
    pub async fn component(
        &self,
        reference: &PluginReference,
        origin: &Origin,
    ) -> Result<Bytes, PluginError> {
        match reference {
            PluginReference::File(path) => Ok(self.component_file(path, origin).await?.1),
            other => Err(PluginError::Unknown(format!("`{other}` is no file"))),
        }
    }

    /// All that a component says of itself, asked of a fresh instance.
    ///
    /// # Errors
    /// When it cannot describe itself, or says what cannot be.
    pub async fn said(&self, binary: &Bytes) -> Result<Said, PluginError> {
        self.catalog.said(&Digest::of(binary), Some(binary)).await
    }

    /// What a component from a file says of itself, when others can go by it.
    pub(crate) async fn examined(
        &self,
        digest: &Digest,
        binary: &Bytes,
    ) -> Result<(NamedVersion, Arc<PluginDescription>), PluginError> {
        let described = self.catalog.examine(digest, Some(binary)).await?;
        let key = identity(&described)?;
        if pack::claim(binary) != Ok(None) {
            pack::check(binary, &self.catalog.said(digest, Some(binary)).await?)?;
        }
        Ok((key, described))
    }
}

/// What is known of a component whose description is known.
async fn inspection(
    source: Source,
    digest: Digest,
    binary: Bytes,
    is_claimed: bool,
    description: Result<Arc<PluginDescription>, PluginError>,
    said: Option<Said>,
) -> Result<Inspection, PluginError> {
    let size_bytes = binary.len() as u64;
    let unusable = |e: component::Unusable| PluginError::Invalid(e.to_string());
    let imports = on_thread(move || component::imports(&binary).map_err(unusable)).await?;
    let capabilities = component::capabilities_of(&imports).map_err(unusable)?;
    let reasons = said.map(|said| reasons(said.capabilities, &capabilities)).unwrap_or_default();
    let wasi = imports.into_iter().filter(|import| component::is_wasi(import)).collect();
    Ok(Inspection { source, digest, size_bytes, capabilities, reasons, wasi, is_claimed, description })
}

/// What is said of the rights that there are; what is said of others gives none.
fn reasons(said: Vec<(String, String)>, rights: &[Capability]) -> Reasons {
    let mut reasons = Reasons::new();
    for (name, mut reason) in said {
        let right = rights.iter().find(|right| right.to_string() == name);
        let Some(right) = right.filter(|_| !reason.trim().is_empty()) else { continue };
        if let Some((end, _)) = reason.char_indices().nth(MAX_REASON_CHARS) {
            reason.truncate(end);
            reason.push('…');
        }
        reasons.entry(*right).or_insert(reason);
    }
    reasons
}

/// What a component claims of itself.
fn claimed(digest: &Digest, binary: &[u8]) -> Result<PluginDescription, PluginError> {
    let claim = pack::claim(binary).map_err(PluginError::Invalid)?;
    let said = claim.ok_or_else(|| {
        PluginError::Invalid("it claims nothing of itself; `yuanli plugin pack` writes it in".to_owned())
    })?;
    let StoredDescription { name, version, summary, config_schema, outputs_schema, bounds } =
        description::read(said)?;
    let capabilities = component::inspect(binary).map_err(|e| PluginError::Invalid(e.to_string()))?;
    let (digest, is_builtin) = (*digest, false);
    Ok(PluginDescription {
        name,
        version,
        summary,
        digest,
        config_schema,
        outputs_schema,
        capabilities,
        bounds: bounds.into_model(),
        is_builtin,
    })
}

/// The name and version that a plugin gives.
fn identity(described: &PluginDescription) -> Result<NamedVersion, PluginError> {
    let invalid = |why: InvalidIdentity| PluginError::Invalid(why.to_string());
    Ok(NamedVersion {
        name: described.name.parse().map_err(invalid)?,
        version: described.version.parse::<Version>().map_err(invalid)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_those_of_the_rights_that_there_are() {
        let said = |pairs: &[(&str, &str)]| {
            let pairs = pairs.iter().map(|(name, reason)| ((*name).to_owned(), (*reason).to_owned()));
            reasons(pairs.collect(), &[Capability::Images, Capability::Log])
        };
        assert_eq!(
            said(&[("images", "to build"), ("http", "to call home"), ("log", " "), ("images", "and more")]),
            Reasons::from([(Capability::Images, "to build".to_owned())])
        );
        let long = &said(&[("images", &"é".repeat(10_000))])[&Capability::Images];
        assert_eq!((long.chars().count(), long.ends_with('…')), (MAX_REASON_CHARS + 1, true));
    }
}
