//! The folder that is kept: a walk in the format's order, which ends at the first thing that cannot be read.
//!
//! The library passes over what a source reports as an error. So failures go to the operation, which lets no snapshot be
//! written after one.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustic_core::{ReadSource, ReadSourceEntry, ReadSourceOpen, RusticResult};
use rustix::fs::{Mode, OFlags};
use walkdir::WalkDir;
use yuanli_ports::backups::BackupError;

use crate::fault;
use crate::node;
use crate::operation::Operation;

/// See the module.
pub(crate) struct Folder {
    path: PathBuf,
    /// What the snapshot calls the folder itself.
    name: OsString,
    operation: Arc<Operation>,
}

/// The entries of a folder: first itself, so that its own owner and mode are kept, and each folder before what is in it.
pub(crate) struct Entries {
    walk: walkdir::IntoIter,
    name: OsString,
    operation: Arc<Operation>,
}

/// A file that is going to be read.
pub(crate) struct Unread {
    path: PathBuf,
    size: u64,
    operation: Arc<Operation>,
}

/// The first bytes of a file, as many as it had when its node was made: what a program appends meanwhile is not part of
/// the snapshot, and what it cuts off is a failure.
pub(crate) struct Reading {
    file: File,
    left: u64,
    path: PathBuf,
    operation: Arc<Operation>,
}

impl Folder {
    pub(crate) fn new(path: &Path, name: OsString, operation: &Arc<Operation>) -> Self {
        Self { path: path.to_owned(), name, operation: Arc::clone(operation) }
    }
}

impl ReadSource for Folder {
    type Open = Unread;
    type Iter = Entries;

    /// Not told: only a progress bar would need it.
    fn size(&self) -> RusticResult<Option<u64>> {
        Ok(None)
    }

    fn entries(&self) -> Entries {
        // By the bytes of the names: the format wants the nodes of a folder sorted so.
        let walk = WalkDir::new(&self.path).follow_links(false).sort_by_file_name().into_iter();
        Entries { walk, name: self.name.clone(), operation: Arc::clone(&self.operation) }
    }
}

impl Entries {
    fn entry(
        &self,
        found: walkdir::Result<walkdir::DirEntry>,
    ) -> Result<ReadSourceEntry<Unread>, BackupError> {
        let found = found.map_err(|error| {
            let path = error.path().map(Path::to_owned).unwrap_or_default();
            fault::local("read", &path)(error.into())
        })?;
        let is_top = found.depth() == 0;
        let name = if is_top { self.name.as_os_str() } else { found.file_name() };
        let node = node::of(found.path(), name).map_err(fault::local("read", found.path()))?;
        let path = found.into_path();
        let operation = Arc::clone(&self.operation);
        let open = node.is_file().then(|| Unread { path: path.clone(), size: node.meta.size, operation });
        Ok(ReadSourceEntry { path, node, open })
    }
}

impl Iterator for Entries {
    type Item = RusticResult<ReadSourceEntry<Unread>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.operation.go_on().ok()?;
        let found = self.walk.next()?;
        Some(self.entry(found).map_err(|failure| self.operation.fail(failure)))
    }
}

impl ReadSourceOpen for Unread {
    type Reader = Reading;

    fn open(self) -> RusticResult<Reading> {
        let Self { path, size, operation } = self;
        // What took the place of the file since then, say a pipe, is neither followed nor waited for.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        match rustix::fs::open(&path, flags, Mode::empty()) {
            Ok(file) => Ok(Reading { file: file.into(), left: size, path, operation }),
            Err(error) => Err(operation.fail(fault::local("read", &path)(error.into()))),
        }
    }
}

impl Read for Reading {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.operation.go_on().map_err(io::Error::other)?;
        let room = usize::try_from(self.left).map_or(buffer.len(), |left| left.min(buffer.len()));
        if room == 0 {
            return Ok(0);
        }
        let failure = match self.file.read(&mut buffer[..room]) {
            Ok(0) => {
                let text = format!("{} became shorter while it was read", self.path.display());
                BackupError::Local(text)
            }
            Ok(read) => {
                self.left -= read as u64;
                return Ok(read);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Err(error),
            Err(error) => fault::local("read", &self.path)(error),
        };
        Err(io::Error::other(self.operation.fail(failure)))
    }
}
