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
    /// Where it came from.
    pub origin: PluginOrigin,
    /// What it may reach.
    pub rights: Vec<Right>,
    /// JSON Schema of its config.
    pub config_schema: Value,
    /// JSON Schema of its outputs.
    pub outputs_schema: Value,
}

/// Where a plugin came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PluginOrigin {
    /// It comes with the engine.
    BuiltIn,
    /// It was added to the store of plugins.
    Added,
    /// A file.
    File,
}

/// A plugin that was to be added.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AddedPlugin {
    /// What was done.
    pub outcome: AddOutcome,
    /// The plugin.
    #[serde(flatten)]
    pub plugin: Plugin,
}

/// What adding a plugin came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AddOutcome {
    /// It was not there.
    Added,
    /// It was there, the same component.
    Present,
    /// Another component of its name and version was there, and is not any more.
    Replaced,
}

/// What is known of a component without running a stage of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PluginInspection {
    /// Its name; absent, as all that it says of itself, when it says that wrongly or not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// What it does, in one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// The digest of the component.
    pub digest: String,
    /// The size of the component.
    pub size_bytes: u64,
    /// Where it came from.
    pub origin: PluginOrigin,
    /// Whether what it says of itself was read in the file, and not asked of it: whoever made it may have written anything.
    #[serde(default)]
    pub claimed: bool,
    /// What it may reach, from its imports.
    pub rights: Vec<Right>,
    /// The interfaces of WASI that it imports, which are linked to what is harmless and count as no right.
    pub wasi: Vec<String>,
    /// What it says that it uses at most.
    #[serde(default, skip_serializing_if = "PluginLimits::is_empty")]
    pub limits: PluginLimits,
    /// JSON Schema of its config.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_schema: Option<Value>,
    /// JSON Schema of its outputs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outputs_schema: Option<Value>,
    /// Why what it says of itself cannot be used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What a plugin says that it uses at most, as far as it says so.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PluginLimits {
    /// Wall-clock time of an attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// Memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Processor time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_ms: Option<u64>,
    /// What it writes to the log itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_bytes: Option<u64>,
    /// Its outputs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_bytes: Option<u64>,
    /// Handles that it has open at the same time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handles: Option<u32>,
    /// The artifacts that it puts, replaced ones counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub artifact_bytes: Option<u64>,
}

impl PluginLimits {
    /// Whether it says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A lock file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockFile {
    /// Where it lies.
    pub file: String,
    /// What it locks.
    pub plugins: Vec<LockedPlugin>,
}

/// A plugin that is locked to a component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockedPlugin {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The digest of its component.
    pub digest: String,
}

/// A right that a plugin imports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Right {
    /// The capability.
    pub name: String,
    /// What it allows.
    pub allows: String,
    /// What the plugin's author says that he needs it for; only of a plugin that is inspected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}
