//! Finding out what an attempt made of its workspace.
//!
//! Only files that were touched are read. What is as it was keeps its writer, so that a workspace nobody changed has
//! the digest it began with.

use std::collections::BTreeMap;
use std::fs::{self, FileType, Metadata};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;

use walkdir::WalkDir;
use yuanli_model::StageName;
use yuanli_model::workspace::{Entry, Manifest, Node};
use yuanli_ports::workspaces::WorkspaceError;

use crate::depot::Depot;
use crate::fault;
use crate::materialise::{Made, Stamp};

/// Anybody's permission to execute counts: containers run as users that the engine does not know.
const EXECUTE: u32 = 0o111;

/// What lies at a path, before any content is read.
enum Sight {
    File(Metadata),
    Link,
    Folder { is_empty: bool },
}

/// One look at a folder.
pub(crate) struct Survey<'a> {
    pub(crate) folder: &'a Path,
    pub(crate) depot: &'a Depot,
    /// What the attempt began with.
    pub(crate) before: &'a Manifest,
    /// The files that were made for it.
    pub(crate) made: &'a Made,
    /// Who is held to have written what is different.
    pub(crate) stage: &'a StageName,
}

impl Survey<'_> {
    /// Keeps what changed and says what is there now.
    pub(crate) fn take(&self) -> Result<Manifest, WorkspaceError> {
        let sights = look(self.folder)?;
        let mut entries = BTreeMap::new();
        for (path, sight) in &sights {
            let before = self.before.entries.get(path);
            let Some(node) = self.node(path, sight, before.map(|entry| &entry.node))? else { continue };
            let entry = match before {
                Some(before) if before.node == node => before.clone(),
                _ => self.written(node),
            };
            entries.insert(path.clone(), entry);
        }
        for (path, before) in &self.before.entries {
            if !entries.contains_key(path) {
                // Who removed it stays known: that it is gone has to win over stages that did not see it go.
                let is_old = before.node == Node::Removed;
                let entry = if is_old { before.clone() } else { self.written(Node::Removed) };
                entries.insert(path.clone(), entry);
            }
        }
        Ok(Manifest { entries })
    }

    fn written(&self, node: Node) -> Entry {
        Entry { node, writer: self.stage.clone() }
    }

    fn node(&self, path: &str, sight: &Sight, before: Option<&Node>) -> Result<Option<Node>, WorkspaceError> {
        match sight {
            Sight::File(metadata) => self.file(path, metadata, before).map(Some),
            Sight::Link => self.link(path).map(Some),
            // A folder that came with an entry of its own keeps it when something is put into it.
            Sight::Folder { is_empty } => {
                Ok((*is_empty || before == Some(&Node::Folder)).then_some(Node::Folder))
            }
        }
    }

    fn file(&self, path: &str, metadata: &Metadata, before: Option<&Node>) -> Result<Node, WorkspaceError> {
        let was = match before {
            Some(node @ Node::File { .. }) if self.made.is_untouched(path, &Stamp::of(metadata)) => {
                return Ok(node.clone());
            }
            Some(Node::File { content, size, .. }) if *size == metadata.len() => Some(content),
            _ => None,
        };
        let kept = self.depot.keep_file(&self.folder.join(path), was);
        let (content, size) = kept.map_err(fault::left("kept", path))?;
        let is_executable = metadata.permissions().mode() & EXECUTE != 0;
        Ok(Node::File { content, size, is_executable })
    }

    fn link(&self, path: &str) -> Result<Node, WorkspaceError> {
        let target = fs::read_link(self.folder.join(path)).map_err(fault::left("read", path))?;
        match target.into_os_string().into_string() {
            Ok(target) => Ok(Node::Link { target }),
            Err(_) => Err(fault::other("read", path, "the target of this link is not UTF-8")),
        }
    }
}

/// Everything below `folder`; no link is followed.
fn look(folder: &Path) -> Result<BTreeMap<String, Sight>, WorkspaceError> {
    let mut sights = BTreeMap::new();
    for entry in WalkDir::new(folder).min_depth(1) {
        let entry = entry.map_err(|error| unreadable(folder, error))?;
        let path = relative(folder, entry.path())?;
        let kind = entry.file_type();
        let sight = if kind.is_dir() {
            Sight::Folder { is_empty: true }
        } else if kind.is_symlink() {
            Sight::Link
        } else if kind.is_file() {
            Sight::File(entry.metadata().map_err(|error| unreadable(folder, error))?)
        } else {
            return Err(fault::other("read", path, special(kind)));
        };
        // A folder is walked before what is in it.
        if let Some(Sight::Folder { is_empty }) =
            path.rsplit_once('/').and_then(|(parent, _)| sights.get_mut(parent))
        {
            *is_empty = false;
        }
        sights.insert(path, sight);
    }
    Ok(sights)
}

fn relative(folder: &Path, path: &Path) -> Result<String, WorkspaceError> {
    let path = path.strip_prefix(folder).unwrap_or(path);
    let text = path.to_str().map(str::to_owned);
    text.ok_or_else(|| fault::other("read", path, "its name is not UTF-8: give it one that is"))
}

fn unreadable(folder: &Path, error: walkdir::Error) -> WorkspaceError {
    let path = error.path().unwrap_or(folder);
    let path = path.strip_prefix(folder).unwrap_or(path).to_owned();
    fault::left("read", path)(
        error.into_io_error().unwrap_or_else(|| std::io::Error::other("a loop of links")),
    )
}

/// What cannot be kept, in words that say what to do.
fn special(kind: FileType) -> String {
    let what = if kind.is_socket() {
        "a socket"
    } else if kind.is_fifo() {
        "a named pipe"
    } else {
        "a device"
    };
    format!("it is {what}, which cannot be handed to another stage: remove it before the stage ends")
}
