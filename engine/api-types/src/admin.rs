//! What the administration of a data directory tells.

use serde::{Deserialize, Serialize};

/// Whether everything in a data directory is as it should be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// Whether nothing is wrong.
    pub is_sound: bool,
    /// The last commit that can be read.
    pub revision: u64,
    /// Runs that were looked at.
    pub runs: u64,
    /// Runs that were found in the archive.
    pub archived_runs: u64,
    /// Plugins of the store of plugins that were looked at.
    #[serde(default)]
    pub plugins: u64,
    /// What is wrong.
    pub findings: Vec<String>,
    /// What a repair does about it, or has done.
    pub repairs: Vec<String>,
    /// Whether the repairs were done.
    pub is_repaired: bool,
}

/// What was written to a stream or read from it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transferred {
    /// The last commit.
    pub revision: u64,
    /// Entries of the store.
    pub entries: u64,
    /// Files beside the store.
    pub files: u64,
    /// Bytes of those files.
    pub files_bytes: u64,
}

/// Where the space of a data directory goes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// By part, largest first.
    pub parts: Vec<Part>,
    /// Bytes of all parts.
    pub size_bytes: u64,
    /// Bytes that are free on the disk.
    pub free_bytes: u64,
    /// By workflow: runs that are in the archive, before they are packed, largest first.
    pub workflows: Vec<WorkflowUsage>,
    /// What the store of plugins has.
    #[serde(default)]
    pub plugins: PluginUsage,
    /// What plugins keep; absent while an engine uses the directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records: Option<RecordUsage>,
    /// What is kept of the workspaces of runs that have ended; absent while an engine uses the directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspaces: Option<WorkspaceUsage>,
}

/// What is kept of the workspaces of runs that have ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkspaceUsage {
    /// Runs that something is kept of.
    pub runs: u64,
    /// Its bytes. What runs share that took over from each other counts for each of them here, and once among the parts.
    pub size_bytes: u64,
}

/// What the store of plugins has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PluginUsage {
    /// Plugins that were added, each version for itself.
    pub added: u64,
    /// Components that are kept: of those, of plugins that were used from files, and of some that were taken out again and
    /// that a run may still be pinned to.
    pub components: u64,
}

/// What plugins keep, of all runs and workflows together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordUsage {
    /// Artifacts of runs, replaced ones counted.
    pub artifacts: u64,
    /// Their bytes, before they are packed; they are among the blobs.
    pub artifacts_bytes: u64,
    /// Events.
    pub events: u64,
    /// Their bytes.
    pub events_bytes: u64,
    /// State keys of plugins.
    pub state_keys: u64,
    /// Bytes of keys and values.
    pub state_bytes: u64,
    /// Attempts that have ended and whose calls are kept.
    pub journals: u64,
    /// Their bytes; those of long answers are among the blobs.
    pub journals_bytes: u64,
    /// Attempts that may stand for stages that are cached.
    pub cached: u64,
    /// The bytes of what says so; what they gave is among the rest.
    pub cached_bytes: u64,
}

/// A part of a data directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Its folder.
    pub name: String,
    /// What it is.
    pub what: String,
    /// Its size on the disk.
    pub size_bytes: u64,
}

/// What the archived runs of a workflow take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkflowUsage {
    /// The workflow.
    pub workflow: String,
    /// Its runs.
    pub runs: u64,
    /// Bytes of their events and logs, before they are packed.
    pub size_bytes: u64,
}

/// What a compaction came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compacted {
    /// Bytes before.
    pub before_bytes: u64,
    /// Bytes after.
    pub after_bytes: u64,
}

/// Whether an engine can work here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnosis {
    /// What was looked at.
    pub name: String,
    /// How it is.
    pub state: Health,
    /// What was found, and what to do about it.
    pub detail: String,
}

/// What the runs of an engine have left on Docker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pruned {
    /// All of it.
    pub items: Vec<Leftover>,
    /// Whether it is gone now.
    pub is_removed: bool,
}

/// Something that a run has left on Docker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leftover {
    /// `container` or `network`.
    pub kind: String,
    /// Its name there.
    pub name: String,
    /// The run.
    pub run: String,
    /// The stage of the run.
    pub stage: String,
    /// How it is, in Docker's words; empty for what has no state.
    pub state: String,
}

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Health {
    /// As it should be.
    Good,
    /// It works, and something is to be known.
    Warning,
    /// It does not work.
    Bad,
}

impl Health {
    /// Its name, as in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Warning => "warning",
            Self::Bad => "bad",
        }
    }
}
