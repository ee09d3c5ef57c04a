//! Apps.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// An app that is to be declared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AppDocument {
    /// What the document is called in messages.
    pub file: String,
    /// The document, YAML or JSON.
    pub text: String,
    /// Whether only to say what would change.
    #[serde(default)]
    pub dry_run: bool,
}

/// What declaring an app changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AppChange {
    /// The app.
    pub app: String,
    /// Whether there was none of this name.
    pub is_new: bool,
    /// What is different; empty when nothing is.
    pub changes: Vec<Change>,
    /// The release that it is brought to; absent in a dry run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<u32>,
    /// The release before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<u32>,
}

/// A difference between two documents.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Change {
    /// Where: keys with dots between them.
    pub path: String,
    /// What was there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// What is there now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
}

/// An app in a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AppSummary {
    /// Its name.
    pub name: String,
    /// How it stands: `healthy`, `changing`, `failed`, `releasing`, `deleting`.
    pub status: String,
    /// The image as its document names it.
    pub image: String,
    /// The release that serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<u32>,
    /// How many replicas there are to be.
    pub desired: u32,
    /// How many of that release serve.
    pub ready: u32,
    /// Where the gateway serves it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
}

/// An app.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct App {
    /// Its row in the list.
    #[serde(flatten)]
    pub summary: AppSummary,
    /// Its document.
    pub document: Value,
    /// Its replicas.
    pub replicas: Vec<Replica>,
    /// Its releases, oldest first.
    pub releases: Vec<Release>,
    /// How its last roll-out ended; absent while it is on its way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<String>,
    /// What keeps it from being as it is to be, as far as it is known: sentences for a person.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub troubles: Vec<String>,
    /// Its gray release, the one that is going on or the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gray: Option<Gray>,
    /// Requests that its replicas have now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_flight: Option<u64>,
    /// Processor time of its replicas in percent of what they request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_percent: Option<u32>,
}

/// A replica.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Replica {
    /// Its number.
    pub number: u64,
    /// Its release.
    pub release: u32,
    /// Its address on the engine's network.
    pub address: String,
    /// `planned`, `starting`, `serving`, `failing`, `draining` or `stopping`.
    pub phase: String,
}

/// A release.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Release {
    /// Its number.
    pub release: u32,
    /// The id of its image.
    pub image_id: String,
    /// Its part of the requests, in percent; absent when it was not measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
    /// Requests that have ended, since the gateway started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<u64>,
    /// Of these, those that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errors: Option<u64>,
    /// The time within which 95 of 100 answers came, in microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p95_us: Option<u64>,
}

/// A gray release.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Gray {
    /// The release that is tried.
    pub release: u32,
    /// What happened, from the beginning on.
    pub happenings: Vec<Happening>,
}

/// Something that happened to a gray release.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Happening {
    /// When.
    pub at: String,
    /// The release's part of the requests since then, in percent.
    pub weight: u32,
    /// What happened.
    pub message: String,
    /// Whether it was promoted; only with the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promoted: Option<bool>,
    /// The judge's numbers; only with the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Value>,
}

/// Why an app has as many replicas as it has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Why {
    /// The app.
    pub app: String,
    /// The number now, and why.
    pub now: Decision,
    /// The decisions that changed it, oldest first.
    pub decisions: Vec<Decision>,
}

/// A decision about the number of replicas.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Decision {
    /// When.
    pub at: String,
    /// How many.
    pub desired: u32,
    /// What went into it.
    pub reasons: Vec<String>,
}
