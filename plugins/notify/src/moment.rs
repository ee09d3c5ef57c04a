//! When something is told: how a run ends, beside how the one before ended.

use yuanli_sdk::prelude::*;

/// How a run ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Outcome {
    /// It did what it was to do.
    Succeeded,
    /// It did not.
    Failed,
    /// Somebody ended it.
    Cancelled,
}

impl Outcome {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// When it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Moment {
    /// Always.
    Always,
    /// A run failed.
    Failure,
    /// A run failed, and the one before did not.
    Broken,
    /// A run succeeded, and the one before failed.
    Fixed,
}

impl Moment {
    /// Whether this is it. Runs that somebody ended say nothing of what is broken.
    pub(crate) fn is_it(self, outcome: Outcome, previous: Option<Outcome>) -> bool {
        let was_failure = previous == Some(Outcome::Failed);
        match self {
            Self::Always => true,
            Self::Failure => outcome == Outcome::Failed,
            Self::Broken => outcome == Outcome::Failed && !was_failure,
            Self::Fixed => outcome == Outcome::Succeeded && was_failure,
        }
    }
}

/// What happened, after `it` or the name of a workflow.
pub(crate) fn in_words(outcome: Outcome, previous: Option<Outcome>) -> &'static str {
    match (outcome, previous) {
        (Outcome::Succeeded, Some(Outcome::Failed)) => "succeeded again",
        (Outcome::Succeeded, _) => "succeeded",
        (Outcome::Failed, Some(Outcome::Failed)) => "failed again",
        (Outcome::Failed, _) => "failed",
        (Outcome::Cancelled, _) => "was cancelled",
    }
}

/// What is kept from one run to the next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Memory {
    run: String,
    /// How the run before ended, of those that nobody ended.
    pub(crate) previous: Option<Outcome>,
    /// Who was told of this run.
    pub(crate) told: Vec<String>,
}

/// The same as it is written.
#[derive(Default, Deserialize, Serialize)]
struct Written {
    run: String,
    outcome: Option<Outcome>,
    previous: Option<Outcome>,
    told: Vec<String>,
}

impl Memory {
    /// What is known where this run comes. What cannot be read is not known.
    pub(crate) fn read(text: Option<&str>, run: &str) -> Self {
        let written: Written = text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        if written.run == run {
            return Self { run: written.run, previous: written.previous, told: written.told };
        }
        Self { run: run.to_owned(), previous: written.outcome, told: Vec::new() }
    }

    /// The same for the next run, when this one ended so.
    pub(crate) fn written(&self, outcome: Outcome) -> String {
        let Self { run, previous, told } = self;
        let kept = if outcome == Outcome::Cancelled { *previous } else { Some(outcome) };
        let written = Written { run: run.clone(), outcome: kept, previous: *previous, told: told.clone() };
        serde_json::to_string(&written).unwrap_or_default()
    }
}
