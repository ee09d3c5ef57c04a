//! What the codes of diagnostics mean.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A code in full.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// The code, such as `WF012`.
    pub code: String,
    /// What is wrong, in a few words.
    pub title: String,
    /// Why it is a mistake, and how to mend it.
    pub text: String,
    /// A document that has the mistake; absent where none is short enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wrong: Option<String>,
    /// The same document without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub right: Option<String>,
}

/// Why a run, or a stage of it, is as it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunWhy {
    /// The run.
    pub run: String,
    /// Its workflow.
    pub workflow: String,
    /// The stage, as `STAGE` or `STAGE[INSTANCE]`, when that is what is explained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<String>,
    /// Where it is: the word for it.
    pub status: String,
    /// What there is to say, in the order in which it was so.
    pub reasons: Vec<Reason>,
}

/// One thing that explains something.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Reason {
    /// When it was so; absent for what is so now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// A word for machines, such as `condition`, `needs`, `attempt-ended`.
    pub kind: String,
    /// For a person.
    pub text: String,
    /// What a condition read, by name, as text, each shortened.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub values: serde_json::Map<String, serde_json::Value>,
}
