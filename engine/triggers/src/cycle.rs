//! Workflows that would start each other for ever.

use std::collections::{BTreeMap, BTreeSet};

use yuanli_model::WorkflowName;

/// What follows from a run of a workflow, or leads to one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Leads {
    /// The workflows whose runs start one of it when they end.
    pub after: BTreeSet<WorkflowName>,
    /// The workflows that its stages run.
    pub runs: BTreeSet<WorkflowName>,
}

/// The workflows that lead from this one back to it, each of which a run of the one before starts; `None` when none do. A circle
/// counts only with the end of a run in it: that stages do not run their own workflow is found elsewhere.
#[must_use]
pub fn cycle(of: &WorkflowName, all: &BTreeMap<WorkflowName, Leads>) -> Option<Vec<WorkflowName>> {
    let mut next: BTreeMap<&WorkflowName, Vec<(&WorkflowName, bool)>> = BTreeMap::new();
    for (name, leads) in all {
        next.entry(name).or_default().extend(leads.runs.iter().map(|inner| (inner, false)));
        for earlier in &leads.after {
            next.entry(earlier).or_default().push((name, true));
        }
    }
    // By workflow, and whether an end of a run was on the way to it.
    let mut seen = BTreeSet::from([(of, false)]);
    let mut paths = vec![(of, false, vec![of])];
    while let Some((name, has_end, path)) = paths.pop() {
        for &(follower, is_end) in next.get(name).into_iter().flatten() {
            let has_end = has_end || is_end;
            if follower == of && has_end {
                return Some(path.iter().copied().chain([of]).cloned().collect());
            }
            if seen.insert((follower, has_end)) {
                let path = path.iter().copied().chain([follower]).collect();
                paths.push((follower, has_end, path));
            }
        }
    }
    None
}
