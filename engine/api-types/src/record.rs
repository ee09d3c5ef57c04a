//! What plugins keep with the engine.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// An artifact of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Artifact {
    /// The stage that put it.
    pub stage: String,
    /// Which of its instances, from 0.
    pub instance: u32,
    /// Which attempt of that, from 1.
    pub attempt: u32,
    /// Its name within the attempt.
    pub name: String,
    /// What it is, such as `text/plain`.
    pub media_type: String,
    /// Its size.
    pub size_bytes: u64,
    /// The digest of its content.
    pub digest: String,
    /// When it was put.
    pub created_at: String,
}

/// What a stage wrote for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Summary {
    /// The stage that wrote it.
    pub stage: String,
    /// Which of its instances, from 0.
    pub instance: u32,
    /// Which attempt of that, from 1.
    pub attempt: u32,
    /// The text, in Markdown.
    pub text: String,
}

/// An event that a plugin has emitted. What a CloudEvent has as well is called as there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Emitted {
    /// Its number in the order of all events of the engine; numbers can be missing.
    pub number: u64,
    /// What no other event has.
    pub id: String,
    /// `/workflows/NAME/stages/STAGE`
    pub source: String,
    /// What happened.
    #[serde(rename = "type")]
    pub kind: String,
    /// What it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// When.
    pub time: String,
    /// Of the data: `application/json`.
    pub datacontenttype: String,
    /// What the plugin tells.
    pub data: Value,
    /// The run that emitted it.
    pub run: String,
    /// The workflow of the run.
    pub workflow: String,
    /// The stage.
    pub stage: String,
    /// Which of its instances, from 0.
    pub instance: u32,
    /// Which attempt of that, from 1.
    pub attempt: u32,
}

/// A plugin that keeps values in a workflow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StateOwner {
    /// The workflow.
    pub workflow: String,
    /// The name that the plugin gives itself.
    pub plugin: String,
    /// How many keys it has.
    pub keys: u32,
    /// Bytes of keys and values.
    pub size_bytes: u64,
}

/// A value that a plugin keeps from one run to the next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StateValue {
    /// Its key.
    pub key: String,
    /// The value, where it is text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The value in base64, where it is no text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base64: Option<String>,
    /// Bytes of the value.
    pub size_bytes: u64,
    /// Grows with every change of any key of the plugin in the workflow.
    pub revision: u64,
    /// When it was set.
    pub changed_at: String,
}

/// Values that were removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StateCleared {
    /// How many keys.
    pub keys: u64,
}

/// What is cached of the stages of a workflow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CachedStages {
    /// The workflow.
    pub workflow: String,
    /// How many attempts may stand for later ones.
    pub entries: u64,
    /// The bytes of what says so; what they gave is in their runs.
    pub size_bytes: u64,
}

/// Stages of a run that has not begun, of which is asked what of earlier attempts would stand for them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CacheQuestion {
    /// Those that are cached.
    pub stages: Vec<CacheProspect>,
}

/// A stage that is cached, as far as it is known before its run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CacheProspect {
    /// The stage.
    pub stage: String,
    /// The digest of its plugin.
    pub plugin: String,
    /// Its config.
    pub config: Value,
    /// The `values` of its `cache`; null without any.
    #[serde(default)]
    pub values: Value,
    /// The parts that are not known yet: `config.KEY`, `values.KEY`, or all of `config`, `values` or `files`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub open: Vec<String>,
    /// How old what stands for it may be; as old as it is kept when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age_ms: Option<u64>,
}

/// What of earlier attempts would stand for a stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CacheOutlook {
    /// The stage.
    pub stage: String,
    /// What would be found.
    pub finding: CacheForeseen,
    /// The run that it would be found in, or that was compared with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// The first part that differs, or those that are not known yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<String>,
}

/// What would be found when it is looked what stands for a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CacheForeseen {
    /// All that counts is as in that run, which stands for it.
    Hit,
    /// All that is known is as in that run, and some is not known yet.
    Open,
    /// A part is another one than in that run.
    Differs,
    /// What that run gave is too old.
    TooOld,
    /// Nothing is kept.
    Nothing,
}

/// What was removed of what was cached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CacheCleared {
    /// How many entries there were.
    pub entries: u64,
}
