//! YAML documents of other kinds than workflows and apps, as JSON values that know the lines they came from: what reads them
//! can say where a mistake is.

use std::collections::HashMap;

use serde_json::Value;

use crate::diagnostic::{Diagnostics, Severity};
use crate::node::{Kind, Node};
use crate::{value, yaml};

/// A document.
#[derive(Debug, Clone, PartialEq)]
pub struct Plain {
    /// All of it.
    pub value: Value,
    /// The line of each value, from 1, by its JSON pointer; that of a map or a list is where its key stands.
    lines: HashMap<String, usize>,
}

impl Plain {
    /// The line of the value at a JSON pointer, or of the nearest around it.
    #[must_use]
    pub fn line(&self, pointer: &str) -> usize {
        let mut at = pointer;
        loop {
            if let Some(line) = self.lines.get(at) {
                return *line;
            }
            match at.rfind('/') {
                Some(parent) => at = &at[..parent],
                None => return 1,
            }
        }
    }
}

/// Reads a document in the YAML that workflows are written in.
///
/// # Errors
/// What is wrong with it, for a person, with the line.
pub fn read_plain(text: &str) -> Result<Plain, String> {
    let mut diagnostics = Diagnostics::new(text);
    let mut root = yaml::parse(&mut diagnostics);
    let mut lines = HashMap::new();
    if let Some(root) = &mut root {
        yaml::deduplicate(root, &mut diagnostics);
        note_lines(root, &mut String::new(), &diagnostics, &mut lines);
    }
    let value = root.map(|root| value::plain(&root));
    let first = diagnostics.finish().into_iter().find(|found| found.severity == Severity::Error);
    match (first, value) {
        (Some(first), _) => Err(format!("line {}: {}", first.line, first.message)),
        (None, Some(value)) => Ok(Plain { value, lines }),
        (None, None) => Err("it is no YAML".to_owned()),
    }
}

fn note_lines(
    node: &Node,
    pointer: &mut String,
    diagnostics: &Diagnostics<'_>,
    lines: &mut HashMap<String, usize>,
) {
    let length = pointer.len();
    match &node.kind {
        Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Text(_) => {}
        Kind::List(items) => {
            for (index, item) in items.iter().enumerate() {
                pointer.push_str(&format!("/{index}"));
                lines.insert(pointer.clone(), diagnostics.line(item.place()));
                note_lines(item, pointer, diagnostics, lines);
                pointer.truncate(length);
            }
        }
        Kind::Map(entries) => {
            for entry in entries {
                pointer.push('/');
                pointer.push_str(&entry.key.replace('~', "~0").replace('/', "~1"));
                lines.insert(pointer.clone(), diagnostics.line(entry.key_span));
                note_lines(&entry.value, pointer, diagnostics, lines);
                pointer.truncate(length);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_know_their_lines() {
        let plain = read_plain("a: 1\nb:\n  - x\n  - y/z: [2,\n    3]\n").expect("it is YAML");
        assert_eq!(plain.value, json!({ "a": 1, "b": ["x", { "y/z": [2, 3] }] }));
        let lines = ["/a", "/b", "/b/0", "/b/1/y~1z", "/b/1/y~1z/1", "/b/1/y~1z/1/none", "/none"];
        assert_eq!(lines.map(|pointer| plain.line(pointer)), [1, 2, 3, 4, 5, 5, 1]);
    }

    #[test]
    fn what_is_no_document_is_told_with_its_line() {
        assert!(read_plain("a: 1\na: 2\n").expect_err("twice").starts_with("line 2: `a` is there twice"));
        assert!(read_plain("a: [1\n").expect_err("open").starts_with("line "));
    }
}
