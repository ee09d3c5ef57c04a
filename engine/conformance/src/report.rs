//! What came of checking a component.

use std::time::Duration;

use yuanli_model::Digest;

/// All that was checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// What the component calls itself, as `NAME` and `VERSION`; `None` when it does not say that rightly.
    pub plugin: Option<(String, String)>,
    /// The digest of the component.
    pub digest: Digest,
    /// What was checked, in order.
    pub checked: Vec<Checked>,
}

/// One thing that was checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Checked {
    /// What holds, or does not: a statement, or the name of a case.
    pub name: String,
    /// Where it comes from.
    pub kind: Kind,
    /// What came of it.
    pub verdict: Verdict,
    /// How long it took.
    pub took: Duration,
}

/// Where a check comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// It holds for every plugin.
    General,
    /// From a file of the plugin's author.
    Own(String),
}

/// What came of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It holds.
    Passed,
    /// It does not.
    Failed {
        /// What differs and how, a line each.
        differences: Vec<String>,
        /// The last lines that the plugin wrote, for who looks for the reason.
        log: Vec<String>,
    },
    /// It cannot be known, and why.
    Skipped(String),
}

impl Verdict {
    /// That it holds when nothing differs.
    pub(crate) fn of(differences: Vec<String>) -> Self {
        if differences.is_empty() { Self::Passed } else { Self::Failed { differences, log: Vec::new() } }
    }
}

impl Report {
    /// Whether nothing failed.
    #[must_use]
    pub fn has_passed(&self) -> bool {
        !self.checked.iter().any(|checked| matches!(checked.verdict, Verdict::Failed { .. }))
    }
}
