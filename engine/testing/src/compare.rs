//! What came of a case beside what was expected: each difference is a line that says both.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;
use yuanli_flow::StageStatus;
use yuanli_lang::{Expectation, ExpectedFailure, ExpectedStage, written_duration};
use yuanli_model::run::StartingPoint;
use yuanli_model::{AttemptOutcome, Failure, StageName, Work};

use crate::observed::Observed;

/// Longest value that is shown whole, in characters.
const MAX_SHOWN: usize = 300;
/// Differences of one value that are told.
const MAX_DIFFERENCES: usize = 20;

/// What differs where no run started, for this reason.
#[must_use]
pub fn not_started(expect: &Expectation, why: &str) -> Vec<String> {
    if expect.starts {
        return vec![format!("no run starts: {why}")];
    }
    let because = expect.because.as_ref().filter(|because| !why.contains(because.as_str()));
    because
        .map(|because| format!("no run starts because of {}, expected: {because}", shown_text(why)))
        .into_iter()
        .collect()
}

/// All that differs of a run that has ended.
pub(crate) fn differences(expect: &Expectation, observed: &Observed<'_>) -> Vec<String> {
    if !expect.starts {
        return vec!["a run starts, and none was to".to_owned()];
    }
    let mut found = Vec::new();
    outcome(expect, observed, &mut found);
    if let Some(expected) = &expect.outputs {
        value("outputs", expected, observed.finish().0.unwrap_or(&Value::Null), Extent::Whole, &mut found);
    }
    if let Some(expected) = expect.failure.as_ref() {
        failure("the run", expected, observed.first_failure().map(|(_, failure)| failure), &mut found);
    }
    time("the run took", expect.took, Some(observed.took()), &mut found);
    if let Some(expected) = &expect.ran {
        ran(expected, &observed.began(), &mut found);
    }
    if let Some(expected) = &expect.skipped {
        skipped(expected, observed, &mut found);
    }
    for (point, expected) in &expect.stages {
        stage(point, expected, observed, &mut found);
    }
    found
}

fn outcome(expect: &Expectation, observed: &Observed<'_>, found: &mut Vec<String>) {
    let got = observed.run.outcome();
    if got == Some(expect.outcome) {
        return;
    }
    let got = got.map_or("nothing", yuanli_model::Outcome::name);
    let why = observed.first_failure().map_or_else(String::new, |(stage, failure)| {
        let stage = stage.map_or_else(String::new, |stage| format!(" stage `{stage}`,"));
        format!(":{stage} {}", in_words(failure))
    });
    found.push(format!("the run has {got}, expected: {}{why}", expect.outcome.name()));
}

/// The stages that began, in their order; those that stand in one list in any order.
fn ran(expected: &[Vec<StageName>], began: &[&StageName], found: &mut Vec<String>) {
    let mut rest = began;
    let is_so = expected.iter().all(|together| {
        let (now, later) = rest.split_at(together.len().min(rest.len()));
        rest = later;
        let (now, together): (BTreeSet<&StageName>, BTreeSet<&StageName>) =
            (now.iter().copied().collect(), together.iter().collect());
        now == together
    });
    if is_so && rest.is_empty() {
        return;
    }
    let names = |names: &[&StageName]| names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ");
    let expected: Vec<String> = expected
        .iter()
        .map(|together| match together.as_slice() {
            [only] => only.to_string(),
            several => format!("[{}]", names(&several.iter().collect::<Vec<_>>())),
        })
        .collect();
    found.push(format!("ran: [{}], expected: [{}]", names(began), expected.join(", ")));
}

fn skipped(expected: &[StageName], observed: &Observed<'_>, found: &mut Vec<String>) {
    let stages = observed.workflow.stages().iter().map(|stage| &stage.name);
    for stage in stages {
        let (is_expected, status) = (expected.contains(stage), observed.status(stage));
        match (is_expected, status) {
            (false, Some(StageStatus::Skipped(reason))) => {
                found.push(format!("stage `{stage}` is skipped, expected: not: {reason}"));
            }
            (true, Some(status)) if !matches!(status, StageStatus::Skipped(_)) => {
                found.push(format!("stage `{stage}` has {}, expected: skipped", result(status)));
            }
            _ => {}
        }
    }
}

fn stage(point: &StartingPoint, expected: &ExpectedStage, observed: &Observed<'_>, found: &mut Vec<String>) {
    let who = format!("stage `{point}`");
    let status = observed.status(&point.stage);
    if let Some(expected) = expected.result {
        let got = match point.instance {
            None => status.map_or("nothing", result),
            Some(_) => instance_result(point, observed),
        };
        if got != expected {
            let why = match (observed.failure(point), status) {
                (Some(failure), _) => format!(": {}", in_words(failure)),
                (None, Some(StageStatus::Skipped(reason))) => format!(": {reason}"),
                _ => String::new(),
            };
            found.push(format!("{who} has {got}, expected: {expected}{why}"));
        }
    }
    if let Some(expected) = &expected.because {
        match status {
            Some(StageStatus::Skipped(reason)) => {
                contains(&format!("{who} is skipped because"), expected, &reason.to_string(), found)
            }
            _ => found.push(format!("{who} is not skipped, expected: because {expected}")),
        }
    }
    config(point, expected, observed, found);
    if let Some(expected) = &expected.outputs {
        let got = observed.outputs(point).unwrap_or(&Value::Null);
        value(&format!("{point}.outputs"), expected, got, Extent::Whole, found);
    }
    if let Some(expected) = &expected.failure {
        failure(&who, expected, observed.failure(point), found);
    }
    let attempts = observed.attempts(point).map(|begun| begun.attempt).max().unwrap_or(0);
    number(&format!("{who} took"), "attempts", expected.attempts, attempts as usize, found);
    number(&format!("{who} has"), "instances", expected.instances, observed.instances(&point.stage), found);
    let began = observed.attempts(point).next().map(|begun| begun.at);
    time(&format!("{who} began after"), expected.began, began.map(|at| at.since(observed.begin)), found);
    let took = began.and_then(|began| Some(observed.ends(point).last()?.0.since(began)));
    time(&format!("{who} took"), expected.took, took, found);
    if let Some(expected) = &expected.asked {
        match observed.question(&point.stage) {
            Some(asked) => contains(&format!("{who} asks"), expected, asked, found),
            None => found.push(format!("{who} asks nobody, expected: {expected}")),
        }
    }
}

/// The config of the first attempt: of every instance, where none is named.
fn config(point: &StartingPoint, expected: &ExpectedStage, observed: &Observed<'_>, found: &mut Vec<String>) {
    let Some(expected) = &expected.with else { return };
    let mut firsts = observed.attempts(point).filter(|begun| begun.attempt == 1).peekable();
    if firsts.peek().is_none() {
        let is_gate =
            observed.workflow.stage(&point.stage).is_some_and(|stage| matches!(stage.work, Work::Gate));
        let why = if is_gate { "runs nothing" } else { "did not run" };
        found.push(format!("stage `{point}` {why}, expected: with {}", shown(expected)));
    }
    let has_several = point.instance.is_none() && observed.instances(&point.stage) > 1;
    for first in firsts {
        let place =
            if has_several { format!("{point}[{}].with", first.instance) } else { format!("{point}.with") };
        value(&place, expected, first.config, Extent::Part, found);
    }
}

/// How an instance ended, as far as its attempts tell.
fn instance_result(point: &StartingPoint, observed: &Observed<'_>) -> &'static str {
    let is_allowed = observed.workflow.stage(&point.stage).is_some_and(|stage| stage.allow_failure);
    match observed.ends(point).last() {
        Some((_, AttemptOutcome::Succeeded { .. })) => "succeeded",
        Some((_, AttemptOutcome::Failed(_))) if is_allowed => "allowed",
        Some((_, AttemptOutcome::Failed(_))) => "failed",
        Some((_, AttemptOutcome::Cancelled)) => "cancelled",
        None => "not run",
    }
}

fn result(status: &StageStatus) -> &'static str {
    match status {
        StageStatus::Allowed(_) => "allowed",
        other => other.name(),
    }
}

fn failure(who: &str, expected: &ExpectedFailure, got: Option<&Failure>, found: &mut Vec<String>) {
    let Some(got) = got else {
        found.push(format!("{who} has not failed"));
        return;
    };
    let ExpectedFailure { class, kind, message } = expected;
    for (what, expected, got) in [("class", class, got.class.name()), ("kind", kind, got.kind.as_str())] {
        if let Some(expected) = expected.as_ref().filter(|expected| expected.as_str() != got) {
            found.push(format!("{who} failed with {what} {got}, expected: {expected}"));
        }
    }
    if let Some(message) = message {
        contains(&format!("{who} failed with"), message, &got.message, found);
    }
}

fn contains(what: &str, expected: &str, got: &str, found: &mut Vec<String>) {
    if !got.contains(expected) {
        found.push(format!("{what}: {}, expected: {expected}", shown_text(got)));
    }
}

fn number(what: &str, unit: &str, expected: Option<u32>, got: usize, found: &mut Vec<String>) {
    if let Some(expected) = expected.filter(|expected| *expected as usize != got) {
        found.push(format!("{what} {got} {unit}, expected: {expected}"));
    }
}

fn time(what: &str, expected: Option<Duration>, got: Option<Duration>, found: &mut Vec<String>) {
    let Some(expected) = expected.filter(|expected| got != Some(*expected)) else { return };
    let got = got.map_or_else(|| "nothing".to_owned(), written_duration);
    found.push(format!("{what} {got}, expected: {}", written_duration(expected)));
}

/// How much of a value is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extent {
    Whole,
    /// Maps may have more.
    Part,
}

/// What differs between two values, by the places in them.
fn value(place: &str, expected: &Value, got: &Value, extent: Extent, found: &mut Vec<String>) {
    if found.len() >= MAX_DIFFERENCES {
        return;
    }
    match (expected, got) {
        (Value::Object(expected), Value::Object(got)) => {
            for (key, expected) in expected {
                let place = format!("{place}.{key}");
                match got.get(key) {
                    Some(got) => value(&place, expected, got, extent, found),
                    None => found.push(format!("{place} is not there, expected: {}", shown(expected))),
                }
            }
            let more = got.iter().filter(|(key, _)| extent == Extent::Whole && !expected.contains_key(*key));
            found.extend(
                more.map(|(key, got)| format!("{place}.{key} is {}, expected: not there", shown(got))),
            );
        }
        (Value::Array(expected), Value::Array(got)) if expected.len() == got.len() => {
            for (index, (expected, got)) in expected.iter().zip(got).enumerate() {
                value(&format!("{place}[{index}]"), expected, got, extent, found);
            }
        }
        (Value::Number(a), Value::Number(b)) if a.as_f64() == b.as_f64() => {}
        (expected, got) if expected == got => {}
        (expected, got) => found.push(format!("{place} is {}, expected: {}", shown(got), shown(expected))),
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        value => shown_text(&value.to_string()),
    }
}

fn shown_text(text: &str) -> String {
    match text.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn in_words(failure: &Failure) -> String {
    format!("{} ({}): {}", failure.class.name(), failure.kind, shown_text(&failure.message))
}
