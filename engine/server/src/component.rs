//! Components that are files of their authors.

use std::path::Path;

use anyhow::Context;
use yuanli_api_types as api;
use yuanli_model::PluginReference;
use yuanli_ports::plugins::Origin;
use yuanli_wasm::Source;

use crate::library::Library;
use crate::plugins::plugin_body;

/// A component as it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Component {
    /// What it says of itself, and its rights.
    pub plugin: api::Plugin,
    /// The rights that a workflow has to grant.
    pub grants: Vec<String>,
}

impl Library {
    /// What the component of a file says of itself, with its rights. It is compiled for that, so that whoever runs it
    /// next begins at once.
    ///
    /// # Errors
    /// When the file cannot be read, or has no component that this engine can run.
    pub async fn component(&self, file: &Path) -> anyhow::Result<Component> {
        let file = file.canonicalize().with_context(|| format!("{} cannot be read", file.display()))?;
        let folder = file.parent().unwrap_or(&file).to_owned();
        let origin = Origin { root: folder.clone(), folder };
        let reference = PluginReference::File(file.display().to_string());
        let described = self.plugins.inspect(&reference, &origin).await?.description?;
        let granted = described.capabilities.iter().filter(|right| !right.is_free());
        let grants = granted.map(ToString::to_string).collect();
        Ok(Component { grants, plugin: plugin_body(&described, Source::File) })
    }
}
