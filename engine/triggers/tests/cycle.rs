//! Workflows that would start each other for ever.

use std::collections::BTreeMap;

use yuanli_model::WorkflowName;
use yuanli_triggers::{Leads, cycle};

fn name(text: &str) -> WorkflowName {
    text.parse().expect("a name")
}

/// Each line is a workflow, then `<` and those whose ends start it, or `>` and those that its stages run.
fn check(workflows: &[&str], of: &str) -> Option<String> {
    let mut all: BTreeMap<WorkflowName, Leads> = BTreeMap::new();
    for line in workflows {
        let mut words = line.split(' ');
        let leads = all.entry(name(words.next().expect("a workflow"))).or_default();
        while let (Some(how), Some(other)) = (words.next(), words.next()) {
            if how == "<" {
                leads.after.insert(name(other))
            } else {
                leads.runs.insert(name(other))
            };
        }
    }
    let found = cycle(&name(of), &all)?;
    Some(found.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
}

#[test]
fn a_circle_is_found_by_whoever_closes_it() {
    assert_eq!(check(&["a < b", "b < a"], "a").as_deref(), Some("a b a"));
    assert_eq!(check(&["a < c", "b < a", "c < b"], "b").as_deref(), Some("b c a b"));
    assert_eq!(check(&["a < b", "b < c"], "a"), None);
    assert_eq!(
        check(&["a < b", "b < a", "d < a"], "d"),
        None,
        "that there is one elsewhere is not its matter"
    );
    assert_eq!(
        check(&["a < b > b"], "a").as_deref(),
        Some("a b a"),
        "the end of a run that its own stage has started"
    );
    assert_eq!(check(&["a > b", "b > c", "a < c"], "a").as_deref(), Some("a b c a"));
    assert_eq!(check(&["a > b", "b < c"], "a"), None);
}
