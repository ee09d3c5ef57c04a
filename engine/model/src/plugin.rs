//! What the engine knows of a plugin without running it.

use std::fmt;
use std::str::FromStr;

use serde_json::Value;

use crate::{Capability, Digest};

/// What `uses:` names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PluginReference {
    /// A plugin that the engine has, by name: `build`.
    Named(String),
    /// A component file, relative to the workflow's folder or absolute: `./my-stage.wasm`.
    File(String),
}

/// A text that names no plugin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no plugin: use the name of a plugin, such as `build`, or the path of a component file, such as `./my-stage.wasm`"
)]
pub struct InvalidReference(pub String);

impl FromStr for PluginReference {
    type Err = InvalidReference;

    fn from_str(text: &str) -> Result<Self, InvalidReference> {
        let is_name_byte = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if text.starts_with("./") || text.starts_with("../") || text.starts_with('/') {
            Ok(Self::File(text.to_owned()))
        } else if !text.is_empty() && text.bytes().all(is_name_byte) {
            Ok(Self::Named(text.to_owned()))
        } else {
            Err(InvalidReference(text.to_owned()))
        }
    }
}

impl fmt::Display for PluginReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Named(text) | Self::File(text)) = self;
        f.pad(text)
    }
}

/// What a plugin says of itself, and what was read from its component.
#[derive(Debug, Clone, PartialEq)]
pub struct PluginDescription {
    /// Its name, as it gives it.
    pub name: String,
    /// Its version, as it gives it.
    pub version: String,
    /// One line for a person.
    pub summary: String,
    /// The component's SHA-256.
    pub digest: Digest,
    /// JSON Schema (draft 2020-12) of its config.
    pub config_schema: Value,
    /// JSON Schema (draft 2020-12) of its outputs.
    pub outputs_schema: Value,
    /// The rights that it imports, free ones included, sorted, each once.
    pub capabilities: Vec<Capability>,
    /// Whether it came with the engine; such a plugin is granted what it imports.
    pub is_builtin: bool,
}
