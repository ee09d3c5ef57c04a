//! What counts when it is looked whether an earlier attempt stands for one: named parts, so that it can be told which differs.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use serde_json::Value;
use yuanli_model::Digest;
use yuanli_model::workspace::{Manifest, Node};

/// Most files, and keys of a map, that are parts of their own; more are one part together, so that an entry stays small.
const MOST_NAMED: usize = 256;

/// Names and digests, in the order in which they are compared.
pub(super) type Parts = Vec<(String, [u8; 32])>;

/// The parts of a stage whose plugin is this component.
pub(super) fn parts(
    component: Digest,
    config: &Value,
    values: &Value,
    patterns: &[String],
    files: &Manifest,
) -> Result<Parts, globset::Error> {
    let mut parts = vec![("plugin".to_owned(), *component.as_bytes())];
    of_value("config", config, &mut parts);
    of_value("values", values, &mut parts);
    of_files(&matching(patterns)?, files, &mut parts);
    Ok(parts)
}

/// The digest of all of them.
pub(super) fn key(parts: &Parts) -> Digest {
    let mut text = String::new();
    for (name, digest) in parts {
        // A string never fails to be written to.
        let _ = write!(text, "{}:{name}={};", name.len(), Digest::from_bytes(*digest));
    }
    Digest::of(text.as_bytes())
}

/// The first part that is another one than in `other`, or in one of them only.
pub(super) fn first_difference(parts: &Parts, other: &Parts) -> Option<String> {
    let before: BTreeMap<&str, &[u8; 32]> =
        other.iter().map(|(name, digest)| (name.as_str(), digest)).collect();
    let now: BTreeMap<&str, &[u8; 32]> = parts.iter().map(|(name, digest)| (name.as_str(), digest)).collect();
    let changed = parts.iter().find(|(name, digest)| before.get(name.as_str()) != Some(&digest));
    let gone = || other.iter().find(|(name, _)| !now.contains_key(name.as_str()));
    changed.or_else(gone).map(|(name, _)| name.clone())
}

/// A map is a part for each of its keys.
fn of_value(name: &str, value: &Value, parts: &mut Parts) {
    let entries = match value {
        Value::Object(entries) if entries.len() <= MOST_NAMED => entries,
        _ => {
            parts.push((name.to_owned(), *digest(value).as_bytes()));
            return;
        }
    };
    let sorted: BTreeMap<&String, &Value> = entries.iter().collect();
    parts.extend(sorted.into_iter().map(|(key, value)| (format!("{name}.{key}"), *digest(value).as_bytes())));
}

fn of_files(matching: &GlobSet, files: &Manifest, parts: &mut Parts) {
    let matched = files.entries.iter().filter(|(path, _)| matching.is_match(path));
    let of_node = |node: &Node| match node {
        Node::File { content, is_executable, .. } => Some(format!("file {content} {is_executable}")),
        Node::Link { target } => Some(format!("link {target}")),
        Node::Folder => Some("folder".to_owned()),
        Node::Removed => None,
    };
    let found: Parts = matched
        .filter_map(|(path, entry)| {
            Some((format!("files.{path}"), *Digest::of(of_node(&entry.node)?.as_bytes()).as_bytes()))
        })
        .collect();
    match found.len() {
        0..=MOST_NAMED => parts.extend(found),
        _ => parts.push(("files".to_owned(), *key(&found).as_bytes())),
    }
}

fn matching(patterns: &[String]) -> Result<GlobSet, globset::Error> {
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        set.add(GlobBuilder::new(pattern).literal_separator(true).build()?);
    }
    set.build()
}

/// Of a text in which maps are sorted.
fn digest(value: &Value) -> Digest {
    Digest::of(sorted(value).to_string().as_bytes())
}

fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(entries) => {
            let sorted: BTreeMap<&String, Value> =
                entries.iter().map(|(key, value)| (key, self::sorted(value))).collect();
            Value::Object(sorted.into_iter().map(|(key, value)| (key.clone(), value)).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(sorted).collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}
