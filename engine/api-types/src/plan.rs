//! What a run would do.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::CacheOutlook;

/// The plan of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The workflow's name.
    pub workflow: String,
    /// The digest of its text.
    pub version: String,
    /// The inputs that are known, defaults filled in.
    pub inputs: Map<String, Value>,
    /// The inputs that a run has to be given, and this plan was not.
    pub missing_inputs: Vec<String>,
    /// What is done one after the other.
    pub steps: Vec<PlannedStep>,
}

/// Stages that can run at the same time; each starts as soon as what it needs has ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlannedStep {
    /// The part of the run: `stages`, `on_failure` or `finally`.
    pub part: String,
    /// Its stages.
    pub stages: Vec<PlannedStage>,
}

/// What a stage would do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlannedStage {
    /// Its name.
    pub name: String,
    /// What has to end before it starts.
    pub needs: Vec<String>,
    /// Whether it runs, when nothing fails.
    pub outlook: Outlook,
    /// Why it is skipped, or fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The condition that decides whether it runs, when that is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// What that condition waits for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waits_for: Vec<String>,
    /// The plugin that it runs, if it runs one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plugin: Option<PlannedPlugin>,
    /// The workflow that it runs, if it runs one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow: Option<PlannedWorkflow>,
    /// The config, with `…` in the places that are open.
    pub with: Value,
    /// The expressions of the config that have no value yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub open: Vec<OpenValue>,
    /// What it runs for, each in an instance of its own; absent when it runs once, or that is not known yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instances: Option<Vec<Value>>,
    /// Why the instances are not known yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub instances_open: Vec<OpenValue>,
    /// What a person is asked before it starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<String>,
    /// Most attempts.
    pub attempts: u32,
    /// How long an attempt may take; the engine's default when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// What of earlier attempts would stand for it, where it is cached and that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<CacheOutlook>,
}

/// Whether a stage runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outlook {
    /// It does.
    Runs,
    /// That depends on a condition that is not known yet.
    Depends,
    /// It does not.
    Skipped,
    /// Its condition has no value, so that it fails.
    Fails,
}

/// The plugin of a stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedPlugin {
    /// What the document calls it.
    pub uses: String,
    /// Its own name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The digest of its component.
    pub digest: String,
    /// The rights that it has there.
    pub rights: Vec<String>,
    /// The HTTP requests that it may send there; any of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub http: Vec<HttpGrant>,
    /// Whether it may read its workspace and not change it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub workspace_read_only: bool,
    /// What its containers may be beyond ordinary ones, if they may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub containers: Option<ContainerGrant>,
    /// The volumes that it may use there; any of these. All of the engine when it has the right and this is empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<VolumeGrant>,
}

/// What containers of a plugin may be beyond ordinary ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerGrant {
    /// Whether they may have all rights on the machine.
    pub privileged: bool,
    /// Whether they may be in the network of the machine.
    pub host_network: bool,
    /// The folders and files of the machine that they may have: `PATH`, or `PATH:rw`.
    pub mounts: Vec<String>,
}

/// Volumes that a plugin may use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeGrant {
    /// Their names, or how they begin: `cache-*`; all when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// Whether it may remove them.
    pub remove: bool,
}

/// HTTP requests that a plugin may send.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpGrant {
    /// To these hosts.
    pub hosts: Vec<String>,
    /// With these methods.
    pub methods: Vec<String>,
    /// To these paths; all when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
    /// Whether addresses of this machine and of private networks are among them.
    pub private: bool,
}

/// The workflow of a stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedWorkflow {
    /// What the document calls it.
    pub uses: String,
    /// The digest of its text, when it is known here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// An expression without a value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenValue {
    /// The JSON pointer of the value that it stands in.
    pub pointer: String,
    /// Its source.
    pub expression: String,
    /// What it waits for, such as `stages.image.outputs.id`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waits_for: Vec<String>,
    /// Why it fails with these inputs, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fails: Option<String>,
}
