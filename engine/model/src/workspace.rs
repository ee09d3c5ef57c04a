//! What is in a workspace, by content, and what several of them make together.
//!
//! A manifest names, for each path, what lies there and which stage put it there last. Two manifests disagree about
//! a path when they name different content for it; then the later writer wins if it saw the earlier one's work, and
//! nobody wins if neither did.

use std::collections::BTreeMap;
use std::fmt;

use crate::{Digest, StageName, Workflow};

/// The content of a workspace: relative path with `/` between its parts -> what is there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Manifest {
    /// Sorted by path, so that equal workspaces have equal manifests.
    pub entries: BTreeMap<String, Entry>,
}

/// One path of a workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What lies there.
    pub node: Node,
    /// The stage that put it there, or took it away.
    pub writer: StageName,
}

/// What lies at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// A regular file.
    File {
        /// Its content.
        content: Digest,
        /// Its size in bytes.
        size: u64,
        /// Whether it may be executed.
        is_executable: bool,
    },
    /// A symbolic link, as its target is written.
    Link {
        /// The target, not resolved.
        target: String,
    },
    /// A folder; only empty ones need an entry, others follow from what is in them.
    Folder,
    /// Something was here and the writer removed it.
    Removed,
}

/// Two needs that put different things at one path without knowing of each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The path.
    pub path: String,
    /// The stages that wrote there.
    pub writers: (StageName, StageName),
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, writers: (one, other) } = self;
        write!(
            f,
            "stages `{one}` and `{other}` both changed `{path}`, and neither needs the other: \
             let one need the other, or let them write to different paths"
        )
    }
}

impl std::error::Error for Conflict {}

impl Manifest {
    /// What a stage begins with that needs the stages which left `parts`.
    ///
    /// # Errors
    /// The first path (in their order) that two stages changed differently without one being after the other.
    pub fn merge<'a>(
        parts: impl IntoIterator<Item = &'a Self>,
        workflow: &Workflow,
    ) -> Result<Self, Conflict> {
        let mut parts = parts.into_iter();
        let mut merged = parts.next().cloned().unwrap_or_default();
        for part in parts {
            for (path, entry) in &part.entries {
                let winner = match merged.entries.get(path) {
                    None => entry,
                    Some(present) => later(path, present, entry, workflow)?,
                };
                merged.entries.insert(path.clone(), winner.clone());
            }
        }
        Ok(merged)
    }

    /// This one with what `writer` has put and taken away in `other`, where other stages have left other things.
    #[must_use]
    pub fn carry(&self, writer: &StageName, other: &Self) -> Self {
        let own = other.entries.iter().filter(|(_, entry)| entry.writer == *writer);
        let mut entries = self.entries.clone();
        entries.extend(own.map(|(path, entry)| (path.clone(), entry.clone())));
        Self { entries }
    }

    /// Whether there is no path in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

fn later<'a>(
    path: &str,
    one: &'a Entry,
    other: &'a Entry,
    workflow: &Workflow,
) -> Result<&'a Entry, Conflict> {
    if one.node == other.node || workflow.is_after(&one.writer, &other.writer) {
        Ok(one)
    } else if workflow.is_after(&other.writer, &one.writer) {
        Ok(other)
    } else {
        Err(Conflict { path: path.to_owned(), writers: (one.writer.clone(), other.writer.clone()) })
    }
}

#[cfg(test)]
mod tests {
    use indexmap::IndexMap;

    use super::*;
    use crate::{PluginReference, Stage};

    /// `source` is needed by `left` and `right`; `join` needs both.
    fn diamond() -> Workflow {
        let stage = |name: &str, needs: &[&str]| {
            let needs = needs.iter().map(|need| need.parse().expect("a name")).collect();
            let uses = PluginReference::Named("script".to_owned());
            Stage::new(name.parse().expect("a name"), uses).after(needs)
        };
        let stages = vec![
            stage("source", &[]),
            stage("left", &["source"]),
            stage("right", &["source"]),
            stage("join", &["left", "right"]),
        ];
        Workflow::new("w".parse().expect("a name"), None, IndexMap::new(), stages).expect("valid")
    }

    fn manifest(entries: &[(&str, &str, &str)]) -> Manifest {
        let entry = |(path, content, writer): &(&str, &str, &str)| {
            let node = match *content {
                "-" => Node::Removed,
                text => Node::File {
                    content: Digest::of(text.as_bytes()),
                    size: text.len() as u64,
                    is_executable: false,
                },
            };
            ((*path).to_owned(), Entry { node, writer: writer.parse().expect("a name") })
        };
        Manifest { entries: entries.iter().map(entry).collect() }
    }

    #[test]
    fn a_change_wins_over_what_it_changed() {
        let left = manifest(&[("a", "changed", "left"), ("b", "old", "source")]);
        let right = manifest(&[("a", "old", "source"), ("b", "-", "right")]);
        let merged = Manifest::merge([&left, &right], &diamond()).expect("no conflict");
        assert_eq!(merged, manifest(&[("a", "changed", "left"), ("b", "-", "right")]));
    }

    #[test]
    fn equal_changes_are_no_conflict_and_different_ones_name_both_stages() {
        let left = manifest(&[("a", "same", "left")]);
        assert!(Manifest::merge([&left, &manifest(&[("a", "same", "right")])], &diamond()).is_ok());
        let conflict = Manifest::merge([&left, &manifest(&[("a", "other", "right")])], &diamond());
        assert_eq!(
            conflict.expect_err("a conflict").to_string(),
            "stages `left` and `right` both changed `a`, and neither needs the other: \
             let one need the other, or let them write to different paths"
        );
    }
}
