//! Reading a snapshot's trees and contents back, each checked against the checksum that it is named by.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use rustic_core::repofile::{BlobType, Node, SnapshotFile};
use rustic_core::{BlobId, DataId, Id, LsOptions, RusticError, TreeId};
use sha2::{Digest, Sha256};
use yuanli_ports::backups::{BackupError, Restored};

use crate::operation::Operation;
use crate::repository::Indexed;

/// See the module.
pub(crate) struct Reader<'a> {
    repository: &'a Indexed,
    operation: &'a Operation,
    /// Everything, at every depth.
    all: LsOptions,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(repository: &'a Indexed, operation: &'a Operation) -> Self {
        Self { repository, operation, all: LsOptions::default() }
    }

    /// Where what a snapshot was taken of begins in it: at the one folder that it shows, or else at its root.
    pub(crate) fn folder(&self, snapshot: &SnapshotFile) -> Result<Node, BackupError> {
        let mut paths = snapshot.paths.iter();
        if let (Some(path), None) = (paths.next(), paths.next()) {
            // restic notes where a relative path led to, and shows it as it was given.
            let node = self.repository.node_from_snapshot_and_path(snapshot, path);
            if let Ok(node) = node
                && node.is_dir()
            {
                return Ok(node);
            }
            self.operation.go_on()?;
        }
        self.root(snapshot)
    }

    /// The root of all that a snapshot shows.
    pub(crate) fn root(&self, snapshot: &SnapshotFile) -> Result<Node, BackupError> {
        let root = self.repository.node_from_snapshot_and_path(snapshot, "");
        root.map_err(|error| self.operation.explain(&error))
    }

    /// What is in a folder, with paths relative to it, each folder before what is in it.
    pub(crate) fn entries(
        &self,
        folder: &Node,
    ) -> Result<impl Iterator<Item = Result<(PathBuf, Node), BackupError>> + '_, BackupError> {
        let explain = |error: Box<RusticError>| self.operation.explain(&error);
        let entries = self.repository.ls(folder, &self.all).map_err(explain)?;
        Ok(entries.map(move |entry| {
            self.operation.go_on()?;
            let (path, node) = entry.map_err(explain)?;
            // Nothing that a repository says leads out of the folder that it is restored into.
            if matches!(node.name().as_encoded_bytes(), b"" | b"." | b"..")
                || node.name().as_encoded_bytes().contains(&b'/')
            {
                return Err(damaged(&path, "it has an impossible name"));
            }
            Ok((path, node))
        }))
    }

    /// How many files and bytes a snapshot holds, by what its trees say.
    pub(crate) fn count(&self, snapshot: &SnapshotFile) -> Result<Restored, BackupError> {
        let mut counted = Restored { files: 0, bytes: 0 };
        for entry in self.entries(&self.root(snapshot)?)? {
            add(&mut counted, &entry?.1);
        }
        Ok(counted)
    }

    /// A piece of a file's content.
    pub(crate) fn content(&self, path: &Path, id: &DataId) -> Result<Bytes, BackupError> {
        self.blob(path, &BlobId::from(*id), BlobType::Data)
    }

    /// What is written down of a folder.
    pub(crate) fn tree(&self, path: &Path, id: &TreeId) -> Result<Bytes, BackupError> {
        self.blob(path, &BlobId::from(*id), BlobType::Tree)
    }

    /// How long a piece of content is, in bytes.
    pub(crate) fn length(&self, path: &Path, id: &DataId) -> Result<u64, BackupError> {
        match self.repository.get_index_entry(id) {
            Ok(entry) => Ok(entry.data_length().into()),
            Err(_) => Err(damaged(path, "a part of it is not in the index")),
        }
    }

    fn blob(&self, path: &Path, id: &BlobId, kind: BlobType) -> Result<Bytes, BackupError> {
        self.operation.go_on()?;
        let blob = self.repository.get_blob_cached(id, kind).map_err(|error| {
            match self.operation.explain(&error) {
                BackupError::Damaged(reason) => damaged(path, &reason),
                other => other,
            }
        })?;
        if !is_of(&blob, id) {
            return Err(damaged(path, "the checksum of a part is wrong"));
        }
        Ok(blob)
    }
}

/// Whether this is what an id names.
pub(crate) fn is_of(content: &[u8], id: &Id) -> bool {
    hex::encode(Sha256::digest(content)) == *id.to_hex()
}

/// Counts a node, unless it is a folder.
pub(crate) fn add(counted: &mut Restored, node: &Node) {
    if !node.is_dir() {
        counted.files += 1;
        counted.bytes += node.meta.size;
    }
}

/// What is kept of a path cannot be used.
pub(crate) fn damaged(path: &Path, reason: &str) -> BackupError {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    BackupError::Damaged(format!("{} cannot be restored: {reason}", path.display()))
}
