//! What can be known of a component without running a stage of it. Its imports are read first, and are told also when
//! `describe` fails or says what cannot be.

use std::sync::Arc;

use yuanli_model::plugin::{InvalidIdentity, NamedVersion, Version};
use yuanli_model::{Capability, Digest, PluginDescription, PluginReference};
use yuanli_ports::Plugins as _;
use yuanli_ports::plugins::{Origin, PluginError};

use crate::catalog::on_thread;
use crate::component;
use crate::host::{Host, about};

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
    /// The interfaces of WASI that it imports, which count as no right.
    pub wasi: Vec<String>,
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
        let size_bytes = binary.len() as u64;
        let unusable = |e: component::Unusable| PluginError::Invalid(e.to_string());
        let imports = on_thread(move || component::imports(&binary).map_err(unusable)).await?;
        let capabilities = component::capabilities_of(&imports).map_err(unusable)?;
        let wasi = imports.into_iter().filter(|import| component::is_wasi(import)).collect();
        Ok(Inspection { source, digest, size_bytes, capabilities, wasi, description })
    }

    /// What a component from a file says of itself, when others can go by it.
    pub(crate) async fn examined(
        &self,
        digest: &Digest,
        binary: &bytes::Bytes,
    ) -> Result<(NamedVersion, Arc<PluginDescription>), PluginError> {
        let described = self.catalog.examine(digest, Some(binary)).await?;
        let key = identity(&described)?;
        Ok((key, described))
    }
}

/// The name and version that a plugin gives.
fn identity(described: &PluginDescription) -> Result<NamedVersion, PluginError> {
    let invalid = |why: InvalidIdentity| PluginError::Invalid(why.to_string());
    Ok(NamedVersion {
        name: described.name.parse().map_err(invalid)?,
        version: described.version.parse::<Version>().map_err(invalid)?,
    })
}
