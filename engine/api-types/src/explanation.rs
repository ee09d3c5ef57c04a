//! What the codes of diagnostics mean.

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
