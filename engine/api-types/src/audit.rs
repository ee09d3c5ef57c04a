//! Who did what.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Something that somebody did over the API, or was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditEntry {
    /// Its number; it grows, and numbers can be missing.
    pub number: u64,
    /// When.
    pub at: String,
    /// Who: the name of the token, `owner` through the socket of the data directory, `anyone` where the engine asks nobody,
    /// `webhook` where a signature was looked at.
    pub by: String,
    /// From where: an address, or the socket with the user's number.
    pub from: String,
    /// What was asked for.
    pub method: String,
    /// Of what.
    pub path: String,
    /// What came of it, where the path does not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
    /// The HTTP status that it was answered with.
    pub status: u16,
}
