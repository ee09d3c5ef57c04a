//! What is wrong with a document.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The outcome of validating files.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Validations {
    /// The files, in the order in which they were named or found.
    pub items: Vec<Validation>,
    /// Whether all of them can be used.
    pub valid: bool,
    /// How many of them are workflows.
    pub workflows: usize,
    /// How many of them are apps.
    pub apps: usize,
    /// How many of them are tests of workflows.
    pub tests: usize,
    /// How many errors there are, files that cannot be read included.
    pub errors: usize,
    /// How many warnings.
    pub warnings: usize,
    /// YAML files in named folders that are neither: they belong to other programs, and were not checked.
    pub passed_over: Vec<String>,
}

/// What a document declares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DocumentKind {
    /// A workflow.
    Workflow,
    /// An app.
    App,
    /// Tests of a workflow.
    Tests,
}

/// The outcome of validating one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Validation {
    /// The file, as it was named.
    pub file: String,
    /// What it declares; absent when it cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<DocumentKind>,
    /// Whether it can be used.
    pub valid: bool,
    /// Why the file cannot be read; nothing is known of what is in it then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Errors and warnings, in the order of the file.
    pub diagnostics: Vec<Diagnostic>,
}

/// One thing that is wrong, or looks wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Diagnostic {
    /// Its code, such as `WF012`.
    pub code: String,
    /// Whether it keeps the document from being used.
    pub severity: Severity,
    /// What is wrong, in one line.
    pub message: String,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// Where it ends: one past its last character. The same place for one between characters.
    #[serde(default)]
    pub end: Position,
    /// The same in bytes.
    #[serde(default)]
    pub span: Span,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

/// A place in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Position {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
}

/// A part of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Span {
    /// Where it begins, from 0.
    pub offset_bytes: usize,
    /// How long it is.
    pub length_bytes: usize,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// The document cannot be used.
    Error,
    /// It can, but probably does not mean what its author thinks.
    Warning,
}
