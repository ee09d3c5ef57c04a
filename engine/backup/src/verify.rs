//! Reading a snapshot back without writing it anywhere.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use rustic_core::repofile::Node;
use rustic_core::{DataId, TreeId};
use yuanli_ports::backups::{BackupError, Restored};

use crate::operation::Operation;
use crate::reader::{Reader, add, damaged};
use crate::repository;

/// What has been read: what several files share is read once.
struct Verification<'a> {
    reader: &'a Reader<'a>,
    trees: HashSet<TreeId>,
    contents: HashSet<DataId>,
}

/// See [`yuanli_ports::Backups::verify`].
pub(crate) fn verify(operation: &Arc<Operation>, id: &str) -> Result<Restored, BackupError> {
    let repository = repository::open_indexed(operation)?;
    let snapshot = repository::find(operation, &repository, id)?;
    let reader = Reader::new(&repository, operation);
    let root = reader.root(&snapshot)?;
    let mut verification = Verification { reader: &reader, trees: HashSet::new(), contents: HashSet::new() };
    verification.folder(Path::new(""), &root)?;
    let mut verified = Restored { files: 0, bytes: 0 };
    for entry in reader.entries(&root)? {
        let (path, node) = entry?;
        if node.is_dir() {
            verification.folder(&path, &node)?;
        } else if node.is_file() {
            verification.file(&path, &node)?;
        }
        add(&mut verified, &node);
    }
    Ok(verified)
}

impl Verification<'_> {
    fn folder(&mut self, path: &Path, node: &Node) -> Result<(), BackupError> {
        let tree = node.subtree.ok_or_else(|| damaged(path, "what is in it was not kept"))?;
        if self.trees.insert(tree) {
            self.reader.tree(path, &tree)?;
        }
        Ok(())
    }

    fn file(&mut self, path: &Path, node: &Node) -> Result<(), BackupError> {
        let mut length = 0;
        for id in node.content.iter().flatten() {
            length += self.reader.length(path, id)?;
            if self.contents.insert(*id) {
                self.reader.content(path, id)?;
            }
        }
        if length != node.meta.size {
            return Err(damaged(path, "it is not as long as it was"));
        }
        Ok(())
    }
}
