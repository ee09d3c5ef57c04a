//! Plugins.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A plugin that the engine has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plugin {
    /// What `uses:` takes.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What it does, in one line.
    pub summary: String,
    /// The digest of its component.
    pub digest: String,
    /// Whether it came with the engine.
    pub builtin: bool,
    /// What it may reach.
    pub rights: Vec<Right>,
    /// JSON Schema of its config.
    pub config_schema: Value,
    /// JSON Schema of its outputs.
    pub outputs_schema: Value,
}

/// A right that a plugin imports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Right {
    /// The capability.
    pub name: String,
    /// What it allows.
    pub allows: String,
}
