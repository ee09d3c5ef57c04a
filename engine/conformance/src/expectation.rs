//! What came of a case beside what was expected: each difference is a line.

use std::path::Path;

use serde_json::Value;
use yuanli_model::Failure;
use yuanli_ports::containers::{ContainerNetwork, ContainerRequest};

use crate::bench::Ended;
use crate::case::{Case, Expectation, ExpectedContainer, ExpectedEvent, ExpectedFailure};
use crate::world::Seen;

/// Longest value that is shown whole, in characters.
const MAX_SHOWN: usize = 300;
/// Differences of one value that are told.
const MAX_DIFFERENCES: usize = 20;

/// All that differs. `beside` is the folder of the case.
pub(crate) fn differences(case: &Case, ended: &Ended, beside: &Path) -> Vec<String> {
    let Expectation { outputs, failure, log, workspace, containers, builds, .. } = &case.expect;
    let mut found = Vec::new();
    match (&ended.outcome, failure) {
        (Ok(_), Some(_)) => found.push("it succeeded, and was to fail".to_owned()),
        (Ok(got), None) => {
            if let Some(expected) = outputs {
                compare("outputs", expected, got, &mut found);
            }
        }
        (Err(got), None) => found.push(format!("it failed: {}", in_words(got))),
        (Err(got), Some(expected)) => compare_failure(expected, got, &mut found),
    }
    compare_log(log, ended, &mut found);
    for (path, content) in workspace {
        let place = &ended.workspace;
        found.extend(match content {
            Some(content) => content.difference(("the workspace", "file"), place, path, beside),
            None => place.join(path).exists().then(|| format!("the workspace has a file `{path}`")),
        });
    }
    compare_kept(&case.expect, ended, beside, &mut found);
    if let Some(expected) = containers {
        compare_containers(expected, &ended.seen.containers, &mut found);
    }
    if let Some(expected) = builds {
        let got = ended.seen.builds.iter().map(|build| Value::from(build.tags.clone())).collect();
        let expected = expected.iter().map(|tags| Value::from(tags.clone())).collect();
        compare("builds", &Value::Array(expected), &Value::Array(got), &mut found);
    }
    let Expectation { commands, pushes, pulls, requests, apps, backups, sources, .. } = &case.expect;
    let Seen { requests: sent, apps: told, backups: done, sources: fetched, .. } = &ended.seen;
    for (what, expected, got) in [
        ("commands", commands, &ended.seen.commands),
        ("pushes", pushes, &ended.seen.pushes),
        ("pulls", pulls, &ended.seen.pulls),
        ("requests", requests, sent),
        ("apps", apps, told),
        ("backups", backups, done),
        ("sources", sources, fetched),
    ] {
        if let Some(expected) = expected {
            compare(what, &Value::from(expected.clone()), &Value::from(got.clone()), &mut found);
        }
    }
    found.extend(ended.seen.left.iter().map(|container| format!("the container `{container}` was left")));
    found
}

/// What it has kept with the engine: values, artifacts, events.
fn compare_kept(expected: &Expectation, ended: &Ended, beside: &Path, found: &mut Vec<String>) {
    for (key, expected) in &expected.state {
        match (expected, ended.left.state.get(key)) {
            (Some(expected), Some(got)) if expected == got => {}
            (None, None) => {}
            (Some(expected), got) => {
                let got = got.map_or_else(|| "nothing".to_owned(), |got| shown(got));
                found.push(format!("state.{key}: expected {}, got {got}", shown(expected)));
            }
            (None, Some(got)) => found.push(format!("state.{key}: expected nothing, got {}", shown(got))),
        }
    }
    for (name, content) in &expected.artifacts {
        let place = &ended.artifacts;
        found.extend(match content {
            Some(content) => content.difference(("the stage", "artifact"), place, name, beside),
            None => place.join(name).exists().then(|| format!("the stage has put an artifact `{name}`")),
        });
    }
    let Some(events) = &expected.events else { return };
    let mut got = ended.left.events.clone();
    let mut wanted = Vec::new();
    for (position, ExpectedEvent { kind, subject, data }) in events.iter().enumerate() {
        // What is not said of one may be anything.
        if let Some(got) = got.get_mut(position).and_then(Value::as_object_mut) {
            if subject.is_none() {
                got.remove("subject");
            }
            if data.is_none() {
                got.remove("data");
            }
        }
        let mut event = serde_json::Map::from_iter([("type".to_owned(), Value::from(kind.clone()))]);
        event.extend(subject.iter().map(|subject| ("subject".to_owned(), subject.clone().into())));
        event.extend(data.iter().map(|data| ("data".to_owned(), data.clone())));
        wanted.push(Value::Object(event));
    }
    compare("events", &Value::Array(wanted), &Value::Array(got), found);
}

/// A failure in one line.
pub(crate) fn in_words(failure: &Failure) -> String {
    format!("{} ({}): {}", failure.class.name(), failure.kind, shown(&failure.message))
}

/// A text for a person: quoted, on one line, and not too long.
pub(crate) fn shown(text: &str) -> String {
    let mut quoted = format!("{text:?}");
    if let Some((end, _)) = quoted.char_indices().nth(MAX_SHOWN) {
        quoted.truncate(end);
        quoted.push('…');
    }
    quoted
}

/// Compares two values, place by place.
fn compare(place: &str, expected: &Value, got: &Value, found: &mut Vec<String>) {
    if found.len() >= MAX_DIFFERENCES || expected == got {
        return;
    }
    match (expected, got) {
        (Value::Object(expected), Value::Object(got)) => {
            for (key, expected) in expected {
                let place = format!("{place}.{key}");
                match got.get(key) {
                    Some(got) => compare(&place, expected, got, found),
                    None => found.push(format!("{place}: expected {}, got nothing", value(expected))),
                }
            }
            let more = got.iter().filter(|(key, _)| !expected.contains_key(*key));
            found.extend(
                more.map(|(key, got)| format!("{place}.{key}: expected nothing, got {}", value(got))),
            );
        }
        (Value::Array(expected), Value::Array(got)) if expected.len() == got.len() => {
            for (index, (expected, got)) in expected.iter().zip(got).enumerate() {
                compare(&format!("{place}[{index}]"), expected, got, found);
            }
        }
        // Numbers are what they stand for: 5 and 5.0 are one.
        (Value::Number(one), Value::Number(other)) if one.as_f64() == other.as_f64() => {}
        _ => found.push(format!("{place}: expected {}, got {}", value(expected), value(got))),
    }
}

fn value(value: &Value) -> String {
    match value {
        Value::String(text) => shown(text),
        other => {
            let text = other.to_string();
            match text.char_indices().nth(MAX_SHOWN) {
                Some((end, _)) => format!("{}…", &text[..end]),
                None => text,
            }
        }
    }
}

fn compare_failure(expected: &ExpectedFailure, got: &Failure, found: &mut Vec<String>) {
    let ExpectedFailure { class, kind, message, details } = expected;
    let mut check = |what: &str, expected: &Option<String>, got: &str| {
        if let Some(expected) = expected
            && expected != got
        {
            found.push(format!("failure.{what}: expected {}, got {}", shown(expected), shown(got)));
        }
    };
    check("class", class, got.class.name());
    check("kind", kind, &got.kind);
    if let Some(part) = message
        && !got.message.contains(part)
    {
        found.push(format!("failure.message: {} is not in {}", shown(part), shown(&got.message)));
    }
    for (key, expected) in details {
        let value = got.details.iter().find(|(name, _)| name == key).map(|(_, value)| value);
        if value != Some(expected) {
            let value = value.map_or_else(|| "nothing".to_owned(), |value| shown(value));
            found.push(format!("failure.details.{key}: expected {}, got {value}", shown(expected)));
        }
    }
    if !found.is_empty() {
        found.push(format!("it failed: {}", in_words(got)));
    }
}

/// Each text is in a line, after that of the text before.
fn compare_log(expected: &[String], ended: &Ended, found: &mut Vec<String>) {
    let mut lines = ended.lines.iter();
    for text in expected {
        if lines.any(|line| line.text.contains(text.as_str())) {
            continue;
        }
        let is_there = ended.lines.iter().any(|line| line.text.contains(text.as_str()));
        let where_ =
            if is_there { "only before the lines that were to come before it" } else { "in no line" };
        found.push(format!("log: {} is {where_}", shown(text)));
        return;
    }
}

fn compare_containers(expected: &[ExpectedContainer], got: &[ContainerRequest], found: &mut Vec<String>) {
    if expected.len() != got.len() {
        let started: Vec<String> =
            got.iter().map(|request| format!("{} {:?}", request.image, request.command)).collect();
        let started = if started.is_empty() { "none".to_owned() } else { started.join("; ") };
        let expected = expected.len();
        found.push(format!("containers: expected {expected}, got {}: {started}", got.len()));
        return;
    }
    for (index, (expected, got)) in expected.iter().zip(got).enumerate() {
        let place = format!("containers[{index}]");
        let ExpectedContainer { image, command, environment, network } = expected;
        let mut check = |what: &str, expected: Option<Value>, got: Value| {
            if let Some(expected) = expected {
                compare(&format!("{place}.{what}"), &expected, &got, found);
            }
        };
        check("image", image.clone().map(Value::from), got.image.clone().into());
        check("command", command.clone().map(Value::from), got.command.clone().into());
        check("network", network.map(Value::from), (got.network != ContainerNetwork::None).into());
        for (name, expected) in environment {
            let value = got.environment.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
            check(&format!("environment.{name}"), Some(expected.clone().into()), value.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn differences_name_their_place() {
        let check = |expected: Value, got: Value, says: &[&str]| {
            let mut found = Vec::new();
            compare("outputs", &expected, &got, &mut found);
            assert_eq!(found, says);
        };
        check(json!({ "a": 5, "b": [1] }), json!({ "b": [1.0], "a": 5.0 }), &[]);
        check(json!({ "a": 1 }), json!({ "a": 2 }), &["outputs.a: expected 1, got 2"]);
        check(
            json!({ "a": { "b": [1, "x"] }, "c": 1 }),
            json!({ "a": { "b": [1, "y"] }, "d": null }),
            &[
                "outputs.a.b[1]: expected \"x\", got \"y\"",
                "outputs.c: expected 1, got nothing",
                "outputs.d: expected nothing, got null",
            ],
        );
        check(json!([1]), json!([1, 2]), &["outputs: expected [1], got [1,2]"]);
        let long = "x".repeat(1000);
        let mut found = Vec::new();
        compare("outputs", &json!(long), &json!(1), &mut found);
        assert!(found[0].len() < 400, "{found:?}");
    }
}
