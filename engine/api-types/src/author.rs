//! What the authors of plugins are told.

use serde::{Deserialize, Serialize};

use crate::{Diagnostic, Plugin};

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

/// A component with what it says of itself written into it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackedPlugin {
    /// The file.
    pub component: String,
    /// Its digest.
    pub digest: String,
    /// Its size.
    pub size_bytes: u64,
    /// The name that it gives itself.
    pub name: String,
    /// The version that it gives itself.
    pub version: String,
}

/// A component that was checked against the contract and the cases of its author.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PluginTest {
    /// The file of the component.
    pub component: String,
    /// Its digest.
    pub digest: String,
    /// What it calls itself; absent when it does not say that rightly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Whether nothing failed.
    pub passed: bool,
    /// What was checked, in order.
    pub cases: Vec<TestCase>,
}

/// A document of tests of a workflow, with what came of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkflowTests {
    /// The file.
    pub file: String,
    /// The file of the workflow.
    pub workflow: String,
    /// Whether both could be read without errors; nothing was tried otherwise.
    pub valid: bool,
    /// What is wrong with the document.
    pub diagnostics: Vec<Diagnostic>,
    /// What was tried, in order.
    pub cases: Vec<TestCase>,
}

/// Tests of workflows, with what came of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestedWorkflows {
    /// Whether nothing failed.
    pub passed: bool,
    /// The documents, in order.
    pub items: Vec<WorkflowTests>,
}

/// One thing that was checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestCase {
    /// What holds, or does not.
    pub name: String,
    /// The file of the case, of a workflow's with its line; absent for what holds for every plugin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// What came of it.
    pub outcome: TestOutcome,
    /// How long it took.
    pub duration_ms: u64,
    /// How long the run of a workflow's test took on its own clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_ms: Option<u64>,
    /// What differs and how, a line each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub differences: Vec<String>,
    /// The last lines that the plugin wrote, when something differs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<String>,
    /// Why it cannot be known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What came of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TestOutcome {
    /// It holds.
    Passed,
    /// It does not.
    Failed,
    /// It cannot be known.
    Skipped,
}
