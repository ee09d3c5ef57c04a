//! Whether what was restored is what was kept: read once more, from the disk, not from memory.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use rustic_core::repofile::Node;
use rustix::fs::{Advice, fadvise};
use yuanli_ports::backups::BackupError;

use crate::reader::{Reader, is_of};
use crate::{fault, node};

/// Compares a folder and all that is in it with the node of a snapshot.
///
/// # Errors
/// [`BackupError::Local`] with the first thing that differs; see [`BackupError`].
pub(crate) fn compare(reader: &Reader<'_>, top: &Node, into: &Path) -> Result<(), BackupError> {
    compare_one(reader, top, Path::new(""), into)?;
    for entry in reader.entries(top)? {
        let (shown, node) = entry?;
        compare_one(reader, &node, &shown, &into.join(&shown))?;
    }
    Ok(())
}

fn compare_one(reader: &Reader<'_>, node: &Node, shown: &Path, path: &Path) -> Result<(), BackupError> {
    if let Some(what) = node::difference(node, path).map_err(fault::local("compared", path))? {
        return Err(differs(path, what));
    }
    if node.is_file() {
        compare_content(reader, node, shown, path)?;
    }
    Ok(())
}

fn compare_content(reader: &Reader<'_>, node: &Node, shown: &Path, path: &Path) -> Result<(), BackupError> {
    let io = |error| fault::local("compared", path)(error);
    let mut file = File::open(path).map_err(io)?;
    // Only advice: where the system does not take it, memory is compared.
    let _ = fadvise(&file, 0, None, Advice::DontNeed);
    let mut part = Vec::new();
    for id in node.content.iter().flatten() {
        let length = reader.length(shown, id)?;
        part.resize(usize::try_from(length).map_err(|_| differs(path, "length"))?, 0);
        match file.read_exact(&mut part) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Err(differs(path, "length")),
            read => read.map_err(io)?,
        }
        if !is_of(&part, id) {
            return Err(differs(path, "content"));
        }
    }
    match file.read(&mut [0]).map_err(io)? {
        0 => Ok(()),
        _ => Err(differs(path, "length")),
    }
}

fn differs(path: &Path, what: &str) -> BackupError {
    let text = format!("{} was restored with another {what} than it was kept with", path.display());
    BackupError::Local(text)
}
