//! Writing a snapshot back into a folder.

use std::collections::HashMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustic_core::repofile::{Node, NodeType};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use yuanli_ports::backups::{BackupError, Restored};

use crate::operation::Operation;
use crate::reader::{Reader, add};
use crate::{compare, fault, node, repository};

/// A folder that is being filled.
struct Restore<'a> {
    reader: &'a Reader<'a>,
    into: &'a Path,
    /// The first path of each file that has several, by device and inode where it was kept.
    linked: HashMap<(u64, u64), PathBuf>,
    /// Folders get their modes and times when nothing more is written into them.
    folders: Vec<(PathBuf, Node)>,
}

/// See [`yuanli_ports::Backups::restore`]. The folder is made when it is not there.
pub(crate) fn restore(operation: &Arc<Operation>, id: &str, into: &Path) -> Result<Restored, BackupError> {
    check_empty(into)?;
    let repository = repository::open_indexed(operation)?;
    let snapshot = repository::find(operation, &repository, id)?;
    let reader = Reader::new(&repository, operation);
    let top = reader.folder(&snapshot)?;
    make_folder(into)?;
    let mut restore = Restore { reader: &reader, into, linked: HashMap::new(), folders: Vec::new() };
    let restored = restore.run(&top)?;
    compare::compare(&reader, &top, into)?;
    Ok(restored)
}

impl Restore<'_> {
    fn run(&mut self, top: &Node) -> Result<Restored, BackupError> {
        let mut restored = Restored { files: 0, bytes: 0 };
        self.folders.push((self.into.to_owned(), top.clone()));
        for entry in self.reader.entries(top)? {
            let (path, node) = entry?;
            add(&mut restored, &node);
            self.write(&path, node)?;
        }
        // The innermost first: what is done in a folder changes its time.
        for (path, node) in self.folders.drain(..).rev() {
            node::apply(&node, &path).map_err(fault::local("restored", &path))?;
        }
        sync(self.into).map_err(fault::local("written", self.into))?;
        Ok(restored)
    }

    fn write(&mut self, shown: &Path, node: Node) -> Result<(), BackupError> {
        let path = self.into.join(shown);
        let io = |error| fault::local("restored", &path)(error);
        match &node.node_type {
            NodeType::Dir => {
                DirBuilder::new().mode(0o700).create(&path).map_err(io)?;
                self.folders.push((path, node));
                return Ok(());
            }
            NodeType::File => match self.first(&node, &path) {
                Some(first) => return fs::hard_link(first, &path).map_err(io),
                None => self.write_file(shown, &node, &path)?,
            },
            NodeType::Symlink { .. } => symlink(node.node_type.to_link(), &path).map_err(io)?,
            NodeType::Fifo => special(&path, FileType::Fifo, 0).map_err(io)?,
            NodeType::Socket => special(&path, FileType::Socket, 0).map_err(io)?,
            NodeType::Chardev { device } => special(&path, FileType::CharacterDevice, *device).map_err(io)?,
            NodeType::Dev { device } => special(&path, FileType::BlockDevice, *device).map_err(io)?,
        }
        node::apply(&node, &path).map_err(io)
    }

    /// Where the same file is already, when this path is another one of it.
    fn first(&mut self, node: &Node, path: &Path) -> Option<PathBuf> {
        let key = (node.meta.device_id, node.meta.inode);
        if node.meta.links < 2 || key.0 == 0 || key.1 == 0 {
            return None;
        }
        let first = self.linked.get(&key).cloned();
        if first.is_none() {
            self.linked.insert(key, path.to_owned());
        }
        first
    }

    /// Zeros become holes.
    fn write_file(&self, shown: &Path, node: &Node, path: &Path) -> Result<(), BackupError> {
        let io = |error| fault::local("written", path)(error);
        // Nothing may be in its place: an older node of the same name could be a link to elsewhere.
        let open = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        let mut file = open.map_err(io)?;
        let mut length = 0;
        for id in node.content.iter().flatten() {
            let content = self.reader.content(shown, id)?;
            length += content.len() as u64;
            if content.iter().all(|byte| *byte == 0) {
                file.seek(SeekFrom::Start(length)).map_err(io)?;
            } else {
                file.write_all(&content).map_err(io)?;
            }
        }
        file.set_len(length).map_err(io)
    }
}

fn check_empty(into: &Path) -> Result<(), BackupError> {
    let invalid = |reason: &str| {
        Err(BackupError::Invalid(format!("{} cannot be restored into: {reason}", into.display())))
    };
    match fs::read_dir(into) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => invalid("it is not empty"),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotADirectory => invalid("it is not a folder"),
        Err(error) => Err(fault::local("read", into)(error)),
    }
}

fn make_folder(into: &Path) -> Result<(), BackupError> {
    DirBuilder::new().recursive(true).mode(0o700).create(into).map_err(fault::local("made", into))
}

fn special(path: &Path, kind: FileType, device: u64) -> io::Result<()> {
    Ok(mknodat(CWD, path, kind, Mode::RUSR | Mode::WUSR, device)?)
}

/// Everything at once: a call per file would be the larger part of restoring many small ones.
fn sync(folder: &Path) -> io::Result<()> {
    Ok(rustix::fs::syncfs(File::open(folder)?)?)
}
