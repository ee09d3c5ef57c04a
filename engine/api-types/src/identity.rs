//! Who asks: tokens and what they may.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What somebody may do. Each may do what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Look at everything but secrets, tokens and the audit log.
    Viewer,
    /// Start, cancel and answer runs; pause and resume workflows.
    Operator,
    /// Change workflows, apps, secrets and what plugins keep.
    Editor,
    /// Make tokens, read the audit log, name folders of the engine's machine.
    Admin,
}

impl Role {
    /// All of them, the one that may least first.
    pub const ALL: [Self; 4] = [Self::Viewer, Self::Operator, Self::Editor, Self::Admin];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Editor => "editor",
            Self::Admin => "admin",
        }
    }
}

impl std::str::FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|role| role.name() == text)
            .ok_or_else(|| format!("`{text}` is no role: viewer, operator, editor or admin"))
    }
}

/// A token that is to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TokenRequest {
    /// What it is called.
    pub name: String,
    /// What it may.
    pub role: Role,
    /// The workflows that it is for, by name or as `shop-*`; the whole engine, where there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub workflows: Vec<String>,
    /// For how long it is taken; for ever when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in_seconds: Option<u64>,
}

/// A token, without its text: that is kept by nobody but who was given it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Token {
    /// What it is called.
    pub name: String,
    /// What it may.
    pub role: Role,
    /// The workflows that it is for, by name or as `shop-*`; the whole engine, where there are none.
    pub workflows: Vec<String>,
    /// When it was made.
    pub created_at: String,
    /// By whom.
    pub created_by: String,
    /// Who logged in by it, where it is a login.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person: Option<String>,
    /// What the provider knows them by, where it is a login.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// When it was given its text, if that was later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotated_at: Option<String>,
    /// Until when it is taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// When it was used last, to the minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used_at: Option<String>,
}

/// A token that was made or given a new text, with the text.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TokenMade {
    /// What is sent as `Authorization: Bearer …`. It is told once.
    pub secret: String,
    /// What is known of it from now on.
    #[serde(flatten)]
    pub token: Token,
}

impl std::fmt::Debug for TokenMade {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenMade").field("token", &self.token).finish_non_exhaustive()
    }
}

/// How a token is to be given a new text.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TokenRotation {
    /// For how long the text that it has is taken as well.
    #[serde(default)]
    pub grace_seconds: u64,
}

/// A login that has begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LoginBegun {
    /// Where a browser is to go.
    pub url: String,
    /// What the page shows where the browser comes back to: who sees something else there did not begin this login.
    pub phrase: String,
    /// For how long it may come back.
    pub expires_in_seconds: u64,
}

/// What a browser came back with, by whoever began the login.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LoginRequest {
    /// The code that the browser was given.
    pub code: String,
    /// The text whose digest the login was begun with.
    pub verifier: String,
}

impl std::fmt::Debug for LoginRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoginRequest").finish_non_exhaustive()
    }
}

/// Who asks, as the engine sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Identity {
    /// The name of the token, `owner` through the socket of the data directory, `anyone` where the engine asks nobody.
    pub name: String,
    /// What they may.
    pub role: Role,
    /// The workflows that they may do it with, by name or as `shop-*`; the whole engine, where there are none.
    pub workflows: Vec<String>,
}
