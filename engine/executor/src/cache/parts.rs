//! What counts when it is looked whether an earlier attempt stands for one: named parts, so that it can be told which differs.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use serde_json::Value;
use yuanli_model::Digest;
use yuanli_model::workspace::{Manifest, Node};
use yuanli_ports::used::ImageNames;

/// Most files, and keys of a map, that are parts of their own; more are one part together, so that an entry stays small.
const MOST_NAMED: usize = 256;

/// Names and digests, in the order in which they are compared.
pub(super) type Parts = Vec<(String, [u8; 32])>;

/// What the names of parts about images begin with.
const IMAGE: &str = "images.";

/// That an entry knows its images by what their names stood for; one without it does not stand for anything.
const IMAGES: (&str, &str) = ("images", "by what their names stand for");

/// The parts of a stage whose plugin is this component, without its images: those are known once it has run.
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
    parts.push((IMAGES.0.to_owned(), *Digest::of(IMAGES.1.as_bytes()).as_bytes()));
    Ok(parts)
}

/// Those of the images that an attempt has used and made.
pub(super) fn of_images(images: &ImageNames) -> Parts {
    images.iter().map(|(name, id)| (format!("{IMAGE}{name}"), of_image(id.as_deref()))).collect()
}

/// What counts of an image with this id, or of none.
pub(super) fn of_image(id: Option<&str>) -> [u8; 32] {
    *Digest::of(id.unwrap_or("none").as_bytes()).as_bytes()
}

/// The names of images among the parts, with what they stood for.
pub(super) fn images(parts: &Parts) -> impl Iterator<Item = (&str, &[u8; 32])> {
    parts.iter().filter_map(|(name, digest)| Some((name.strip_prefix(IMAGE)?, digest)))
}

/// The name of the part of an image.
pub(super) fn image_part(name: &str) -> String {
    format!("{IMAGE}{name}")
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

/// The first part that is another one than in `other`, or in one of them only, images aside, and those that are not known yet.
pub(super) fn first_difference(parts: &Parts, open: &[String], other: &Parts) -> Option<String> {
    let is_open = |name: &str| {
        let below = |open: &String| {
            name.strip_prefix(open).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        open.iter().any(below)
    };
    let counts = |(name, _): &&(String, [u8; 32])| !name.starts_with(IMAGE) && !is_open(name);
    let (parts, other): (Vec<_>, Vec<_>) =
        (parts.iter().filter(counts).collect(), other.iter().filter(counts).collect());
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
