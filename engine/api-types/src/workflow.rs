//! Workflows that an engine keeps, and what starts them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Diagnostic;

/// A workflow that is to be kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WorkflowDocument {
    /// What the document is called in messages.
    pub file: String,
    /// The document.
    pub text: String,
    /// The absolute path of the folder on the engine's machine that its paths begin at, which only an admin may name; an empty
    /// folder when absent.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub folder: String,
    /// The absolute path of the folder that they may not leave.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub root: String,
    /// Only say what would change.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
}

/// A workflow that is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Workflow {
    /// Its name.
    pub name: String,
    /// The digest of its text.
    pub version: String,
    /// When this version came.
    pub applied_at: String,
    /// The folder that its paths begin at.
    pub folder: String,
    /// When it runs by itself.
    pub schedules: Vec<Schedule>,
    /// Since when nothing starts it but people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused_at: Option<String>,
    /// Whether that is because so many of its runs in a row have failed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub paused_by_failures: bool,
    /// The path that a signed request goes to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<String>,
    /// What is measured for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<MetricRule>,
    /// What has to happen for a run to start, each in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<String>,
    /// Its text; not in lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// What applying a document changes, or would change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WorkflowChange {
    /// The workflow: as it is now, or as it would be.
    #[serde(flatten)]
    pub workflow: Workflow,
    /// Whether there was none of its name.
    pub is_new: bool,
    /// The lines that differ, as a unified diff; empty where none do.
    pub diff: String,
}

/// A text that a workflow has had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WorkflowVersion {
    /// The digest of the text.
    pub version: String,
    /// When it came.
    pub applied_at: String,
    /// The text.
    pub text: String,
}

/// A schedule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Schedule {
    /// What it is called in its workflow.
    #[serde(default)]
    pub id: String,
    /// The cron expression.
    pub cron: String,
    /// Its time zone.
    pub timezone: String,
    /// When it is due next; absent when it never is, and while the workflow is paused. A run starts up to the jitter later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_at: Option<String>,
    /// Since when it starts nothing, where it alone is paused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused_at: Option<String>,
    /// What happens at a due time when a run that it has started has not ended.
    pub overlap: String,
    /// The run that it has started last, as far as that matters and until it was seen to have ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<String>,
    /// The due times that wait for its end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waiting: Vec<String>,
}

/// A measured value that starts a run when it crosses a threshold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MetricRule {
    /// What is measured.
    pub query: String,
    /// The Prometheus that is asked; the engine itself when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The threshold in words: `above 5`.
    pub threshold: String,
    /// `clear`, `pending` (beyond the threshold, not long enough or too soon after the last start) or `raised`.
    pub state: String,
    /// When it was measured last; absent before the first time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured_at: Option<String>,
    /// The value then; absent when there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// Why it could not be measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// When a run was started by it last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
}

/// A run that is to be started.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunRequest {
    /// The workflow's name.
    pub workflow: String,
    /// Inputs as text, each read as the type that the workflow declares.
    #[serde(default)]
    pub inputs: BTreeMap<String, String>,
    /// Whether stages with `cache` run as well, whatever earlier runs gave.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub no_cache: bool,
    /// Words to find the run by, over those of its workflow: at most 64, each with at most 255 characters.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// How early it begins among those of its concurrency group that wait, from -1000 to 1000, the highest first; what the
    /// workflow says when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<i64>,
}

/// A run of a workflow that is not kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DocumentRun {
    /// The workflow. What starts workflows by itself does not count.
    pub document: WorkflowDocument,
    /// Inputs as text, each read as the type that the workflow declares.
    #[serde(default)]
    pub inputs: BTreeMap<String, String>,
    /// Run stages with `cache` as well, whatever earlier runs gave.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub no_cache: bool,
    /// Words to find the run by, over those of its workflow: at most 64, each with at most 255 characters.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// How early it begins among those of its concurrency group that wait, from -1000 to 1000, the highest first; what the
    /// workflow says when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<i64>,
}

/// A run that was started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunStarted {
    /// Its id.
    pub id: String,
    /// Whether it was started now; else the same request had started it before.
    pub is_new: bool,
}

/// What became of a request to a webhook.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HookAnswer {
    /// The run that it started, or had started before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Whether the run was started now.
    pub is_new: bool,
    /// Why none was started: the request does not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How the run has ended, where the webhook waits for it and it did in time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<crate::RunStatus>,
    /// What it gave then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outputs: Option<Value>,
}

/// What came to a webhook: signed requests, newest first, and those that were refused since the engine was started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Deliveries {
    /// The last ones that were signed as they have to be.
    pub items: Vec<Delivery>,
    /// Always absent: all that is kept is in one answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// The last ones that were not.
    pub refused: Vec<RefusedDelivery>,
}

/// A signed request and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Delivery {
    /// Its number in the workflow.
    pub number: u64,
    /// When it came.
    pub at: String,
    /// What its sender calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// What has happened, as its sender calls that.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<String>,
    /// The number of the delivery that it repeats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repeats: Option<u64>,
    /// The run that it started, or had started before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// Whether the run was started by it.
    pub is_new: bool,
    /// Why it started none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Whether its body is kept, so that it can be delivered again.
    pub is_kept: bool,
}

/// A request that was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RefusedDelivery {
    /// When it came.
    pub at: String,
    /// Why.
    pub reason: String,
}

/// A secret that is to be kept.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SecretValue {
    /// Its value.
    pub value: String,
    /// The workflows that may have it, by name or as `shop-*`; all, where there are none.
    #[serde(default)]
    pub workflows: Vec<String>,
}

/// A secret that is kept, without its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Secret {
    /// Its name.
    pub name: String,
    /// The workflows that may have it, by name or as `shop-*`; all, where there are none.
    pub workflows: Vec<String>,
    /// When its value was given: RFC 3339, in UTC.
    pub changed_at: String,
}

/// How the secrets are to be sealed from now on.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SecretsKey {
    /// By what is made of this passphrase; by a new key in the file where the engine has it, when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passphrase: Option<String>,
}

impl std::fmt::Debug for SecretsKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretsKey")
    }
}

/// How many secrets were sealed anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SecretsSealed {
    /// Their number.
    pub sealed: usize,
}

impl std::fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretValue")
    }
}

/// Why a request was not done, as RFC 9457 has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// The HTTP status.
    pub status: u16,
    /// What is wrong, for a person.
    pub detail: String,
    /// What is wrong with the document that was sent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub diagnostics: Vec<Diagnostic>,
    /// The same for a person, with excerpts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rendered: Option<String>,
    /// More.
    #[serde(flatten)]
    pub more: BTreeMap<String, Value>,
}
