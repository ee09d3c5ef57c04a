//! What may be said of a run when it is asked for, and which runs are meant by what was said of them.

use std::collections::BTreeMap;

use yuanli_api_types::RunStatus;
use yuanli_executor::{Manner, Summary};
use yuanli_model::workflow::{LONGEST_LABEL, Priority};

use crate::body;

/// Most labels that a run is started with: they stand in lists.
const MAX_LABELS: usize = 64;

/// How a run is started, from what a request or a command says.
///
/// # Errors
/// What is wrong with it, for a person.
pub fn manner(
    bypasses_cache: bool,
    labels: BTreeMap<String, String>,
    priority: Option<i64>,
) -> Result<Manner, String> {
    if labels.len() > MAX_LABELS {
        return Err(format!("a run has at most {MAX_LABELS} labels, and these are {}", labels.len()));
    }
    for (name, text) in &labels {
        check_label(name, text)?;
    }
    let of_number = |number| {
        let why = || format!("the priority {number} is none: it is {}", Priority::in_words());
        Priority::new(number).ok_or_else(why)
    };
    Ok(Manner { bypasses_cache, labels, priority: priority.map(of_number).transpose()? })
}

fn check_label(name: &str, text: &str) -> Result<(), String> {
    let is_short = |text: &str| text.chars().count() <= LONGEST_LABEL;
    if name.is_empty() || !is_short(name) || name.contains('=') {
        return Err(format!("the name of a label has 1 to {LONGEST_LABEL} characters and no `=`"));
    }
    match is_short(text) {
        true => Ok(()),
        false => Err(format!("the label `{name}` is too long: it has at most {LONGEST_LABEL} characters")),
    }
}

/// A label as it is asked for: `NAME=TEXT`, or `NAME` for whatever text it has.
///
/// # Errors
/// What is wrong with it, for a person.
pub fn label_of(text: &str) -> Result<(String, Option<String>), String> {
    let (name, text) = match text.split_once('=') {
        Some((name, text)) => (name, Some(text.to_owned())),
        None => (text, None),
    };
    match name.is_empty() {
        true => Err("a label that is looked for is written `NAME=TEXT`, or `NAME` for any text".to_owned()),
        false => Ok((name.to_owned(), text)),
    }
}

/// Which runs of a list are meant; all by default.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RunFilter {
    /// Only those of this workflow.
    pub workflow: Option<String>,
    /// Only those that stand so.
    pub status: Option<RunStatus>,
    /// Only those that have all of these labels, with this text where there is one.
    pub labels: Vec<(String, Option<String>)>,
}

impl RunFilter {
    /// Whether a run is meant.
    pub(crate) fn has(&self, run: &Summary) -> bool {
        let has_label = |(name, text): &(String, Option<String>)| {
            run.labels.get(name).is_some_and(|found| text.as_ref().is_none_or(|text| found == text))
        };
        self.workflow.as_ref().is_none_or(|workflow| run.workflow.as_str() == workflow)
            && self.status.is_none_or(|status| body::summary(run).status == status)
            && self.labels.iter().all(has_label)
    }
}
