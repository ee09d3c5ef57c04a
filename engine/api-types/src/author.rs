//! What the authors of plugins are told.

use serde::{Deserialize, Serialize};

use crate::Plugin;

/// A plugin that was written to begin with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewPlugin {
    /// Its name.
    pub name: String,
    /// `rust`, `python` or `javascript`.
    pub language: String,
    /// Where it was written.
    pub folder: String,
    /// Its files, relative to the folder, sorted.
    pub files: Vec<String>,
}

/// A plugin that was compiled.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BuiltPlugin {
    /// The file of its component.
    pub component: String,
    /// How large that is.
    pub size_bytes: u64,
    /// `rust`, `python` or `javascript`.
    pub language: String,
    /// The commands that were run for it, in its folder.
    pub commands: Vec<String>,
    /// What it says of itself, and what it may reach.
    pub plugin: Plugin,
    /// Of that, what a workflow has to grant.
    pub grants: Vec<String>,
}
