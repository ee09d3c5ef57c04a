//! Making the folder of an attempt, and remembering what was made so that unchanged files need not be read again.

use std::collections::{HashMap, HashSet};
use std::fs::{self, Metadata, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use yuanli_model::Digest;
use yuanli_model::workspace::{Manifest, Node};
use yuanli_ports::workspaces::WorkspaceError;

use crate::depot::Depot;
use crate::{fault, removal, sync};

/// The modes that files get; the engine keeps one bit of them.
const PLAIN: u32 = 0o644;
const EXECUTABLE: u32 = 0o755;

/// What tells that a file was touched without reading it. Whoever changes a file can set all of it back but the
/// time of the last change of the inode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stamp {
    size: u64,
    inode: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// The files that were made in a folder, as they were then.
#[derive(Debug, Default)]
pub(crate) struct Made {
    stamps: HashMap<String, Stamp>,
}

struct Writer<'a> {
    depot: &'a Depot,
    folder: &'a Path,
    /// Folders that exist, so that one with many files is made once.
    parents: HashSet<PathBuf>,
    /// Whether the file system may be able to share blocks between files; asked once, not once for each file.
    can_clone: bool,
}

impl Stamp {
    pub(crate) fn of(metadata: &Metadata) -> Self {
        Self {
            size: metadata.size(),
            inode: metadata.ino(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

impl Made {
    /// Whether the file at `path` is for certain the one that was made.
    pub(crate) fn is_untouched(&self, path: &str, now: &Stamp) -> bool {
        self.stamps.get(path) == Some(now)
    }
}

/// Makes `folder` hold what `manifest` says; what a crashed engine left there is removed first. The folder appears when it
/// is whole.
pub(crate) fn materialise(manifest: &Manifest, depot: &Depot, folder: &Path) -> Result<Made, WorkspaceError> {
    // No attempt has such a name: a stage's has no dot, and what comes after it is two numbers.
    let half = folder.with_extension("half");
    removal::remove(folder)?;
    removal::remove(&half)?;
    let made = fill(manifest, depot, &half)?;
    fs::rename(&half, folder).map_err(fault::at("made", ""))?;
    Ok(made)
}

fn fill(manifest: &Manifest, depot: &Depot, folder: &Path) -> Result<Made, WorkspaceError> {
    fs::create_dir_all(folder).map_err(fault::at("made", ""))?;
    let mut writer = Writer { depot, folder, parents: HashSet::new(), can_clone: true };
    let mut stamps = HashMap::with_capacity(manifest.entries.len());
    for (path, entry) in &manifest.entries {
        if let Some(stamp) = writer.write(path, &entry.node).map_err(fault::at("written", path))? {
            stamps.insert(path.clone(), stamp);
        }
    }
    if !stamps.is_empty() {
        let end = sync::now(&depot.attempts()).map_err(fault::at("made", ""))?;
        // A change in the same tick of the file system's clock as the making would leave no trace. Files that were
        // made in the last tick are read again; whatever happens from now on has this time or a later one.
        stamps.retain(|_, stamp| stamp.changed < end);
    }
    Ok(Made { stamps })
}

impl Writer<'_> {
    fn write(&mut self, path: &str, node: &Node) -> io::Result<Option<Stamp>> {
        let target = self.folder.join(path);
        if *node != Node::Removed {
            self.make_parent(&target)?;
        }
        match node {
            Node::File { content, is_executable, .. } => {
                self.copy(content, &target)?;
                let mode = if *is_executable { EXECUTABLE } else { PLAIN };
                fs::set_permissions(&target, Permissions::from_mode(mode))?;
                Ok(Some(Stamp::of(&fs::symlink_metadata(&target)?)))
            }
            Node::Link { target: to } => symlink(to, &target).map(|()| None),
            Node::Folder => fs::create_dir_all(&target).map(|()| None),
            Node::Removed => Ok(None),
        }
    }

    fn make_parent(&mut self, target: &Path) -> io::Result<()> {
        let Some(parent) = target.parent() else { return Ok(()) };
        if parent != self.folder && !self.parents.contains(parent) {
            fs::create_dir_all(parent)?;
            self.parents.insert(parent.to_owned());
        }
        Ok(())
    }

    fn copy(&mut self, content: &Digest, target: &Path) -> io::Result<()> {
        let blob = self.depot.blob(content);
        let copied = if self.can_clone {
            reflink_copy::reflink_or_copy(&blob, target)
        } else {
            fs::copy(&blob, target).map(Some)
        };
        match copied {
            Ok(None) => Ok(()),
            Ok(Some(_)) => {
                self.can_clone = false;
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::NotFound && !blob.exists() => {
                Err(io::Error::other(format!("its content {content} is gone")))
            }
            Err(error) => Err(error),
        }
    }
}
