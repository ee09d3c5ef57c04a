//! A repository's folder, as the library wants to see it: files by kind and id, whole or not there.
//!
//! A file is on the device, under its name, before the library hears that it is written; so what refers to it, which is
//! written after it, never comes to be without it. The snapshot comes last: until then nothing has happened.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use rustic_core::{BytesList, FileType, Id, ReadBackend, RusticResult, WriteBackend};
use sha2::{Digest, Sha256};
use yuanli_ports::backups::BackupError;

use crate::fault;
use crate::lock::{Lock, OURS};
use crate::operation::Operation;

/// The mode of every folder, as restic has it.
const FOLDER_MODE: u32 = 0o700;
/// The mode of every file, as restic has it: none is ever written twice.
const FILE_MODE: u32 = 0o400;
/// A pack has a blob, a header with one entry (32 bytes of encryption each) and the header's length: whatever is shorter
/// is what a loss of power left, and counts as not there.
/// <https://restic.readthedocs.io/en/stable/100_references.html#pack-format>
const SHORTEST_PACK: u32 = 32 + 32 + 37 + 4;
/// Where restic keeps its own locks; it wants to find the folder.
const LOCKS: &str = "locks";

/// See the module.
#[derive(Debug)]
pub(crate) struct Files {
    operation: Arc<Operation>,
    /// Here, as threads of the library may write on for a moment after it gave up; a reader has none.
    _lock: Option<Lock>,
}

impl Files {
    pub(crate) fn new(operation: Arc<Operation>, lock: Option<Lock>) -> Self {
        Self { operation, _lock: lock }
    }

    fn root(&self) -> &Path {
        self.operation.path()
    }

    fn path(&self, kind: FileType, id: &Id) -> PathBuf {
        let root = self.root();
        let name = id.to_hex();
        match kind {
            FileType::Config => root.join(kind.dirname()),
            FileType::Pack => root.join(kind.dirname()).join(&name[..2]).join(name),
            _ => root.join(kind.dirname()).join(name),
        }
    }

    fn list(&self, kind: FileType) -> Result<Vec<(Id, u32)>, BackupError> {
        let root = self.root().join(kind.dirname());
        match kind {
            FileType::Config => match fs::metadata(&root) {
                Ok(config) => Ok(vec![(Id::default(), size(&root, config.len())?)]),
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
                Err(error) => Err(fault::local("read", &root)(error)),
            },
            FileType::Pack => {
                let mut packs = Vec::new();
                for (folder, _) in entries(&root, fs::FileType::is_dir)? {
                    packs.extend(ids(&folder)?.into_iter().filter(|(_, length)| *length >= SHORTEST_PACK));
                }
                Ok(packs)
            }
            _ => ids(&root),
        }
    }

    fn read(&self, kind: FileType, id: &Id) -> Result<Bytes, BackupError> {
        let path = self.path(kind, id);
        let content = fs::read(&path).map_err(fault::stored(&path))?;
        // The config is the only file that is not named after its content.
        if kind != FileType::Config && hex::encode(Sha256::digest(&content)) != *id.to_hex() {
            let text = format!("{} of the repository is damaged: its checksum is wrong", path.display());
            return Err(BackupError::Damaged(text));
        }
        Ok(content.into())
    }

    fn read_part(&self, kind: FileType, id: &Id, offset: u32, length: u32) -> Result<Bytes, BackupError> {
        self.operation.go_on()?;
        let path = self.path(kind, id);
        let mut part = vec![0; length as usize];
        File::open(&path)
            .and_then(|file| file.read_exact_at(&mut part, offset.into()))
            .map_err(fault::stored(&path))?;
        Ok(part.into())
    }

    /// The folders that restic makes.
    fn make_folders(&self) -> Result<(), BackupError> {
        let root = self.root();
        let packs = root.join(FileType::Pack.dirname());
        let kinds = [FileType::Key, FileType::Snapshot, FileType::Index].map(FileType::dirname);
        let folders = kinds.iter().chain(&[LOCKS]).map(|name| root.join(name));
        let folders = folders.chain((0..=u8::MAX).map(|first| packs.join(hex::encode([first]))));
        for folder in folders {
            let make = || DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(&folder);
            make().map_err(fault::local("made", &folder))?;
        }
        let parent = root.parent().unwrap_or(root);
        for folder in [&packs, root, parent] {
            sync(folder).map_err(fault::local("written", folder))?;
        }
        Ok(())
    }

    fn write(&self, kind: FileType, id: &Id, content: &BytesList) -> Result<(), BackupError> {
        if kind == FileType::Snapshot {
            // Whatever failed before was perhaps only logged by the library: no snapshot holds a part.
            self.operation.go_on()?;
        }
        let path = self.path(kind, id);
        let folder = path.parent().unwrap_or(&path);
        let write = || -> io::Result<()> {
            let mut file = tempfile::NamedTempFile::new_in(self.root().join(OURS))?;
            for part in content.slice() {
                file.write_all(part)?;
            }
            file.as_file().set_permissions(Permissions::from_mode(FILE_MODE))?;
            file.as_file().sync_all()?;
            file.persist(&path)?;
            sync(folder)
        };
        write().map_err(fault::local("written", &path))
    }
}

impl ReadBackend for Files {
    fn location(&self) -> String {
        self.root().display().to_string()
    }

    fn list_with_size(&self, kind: FileType) -> RusticResult<Vec<(Id, u32)>> {
        self.list(kind).map_err(|failure| self.operation.fail(failure))
    }

    fn read_full(&self, kind: FileType, id: &Id) -> RusticResult<Bytes> {
        self.read(kind, id).map_err(|failure| self.operation.fail(failure))
    }

    fn read_partial(&self, kind: FileType, id: &Id, _: bool, from: u32, length: u32) -> RusticResult<Bytes> {
        self.read_part(kind, id, from, length).map_err(|failure| self.operation.fail(failure))
    }

    fn warmup_path(&self, kind: FileType, id: &Id) -> String {
        self.path(kind, id).display().to_string()
    }
}

impl WriteBackend for Files {
    fn create(&self) -> RusticResult<()> {
        self.make_folders().map_err(|failure| self.operation.fail(failure))
    }

    fn write_bytes(&self, kind: FileType, id: &Id, _: bool, content: BytesList) -> RusticResult<()> {
        self.write(kind, id, &content).map_err(|failure| self.operation.fail(failure))
    }

    fn remove(&self, kind: FileType, id: &Id, _: bool) -> RusticResult<()> {
        let path = self.path(kind, id);
        fs::remove_file(&path).map_err(|error| self.operation.fail(fault::local("removed", &path)(error)))
    }
}

/// The files of a folder whose names are ids; restic and others may have half-written ones among them.
fn ids(folder: &Path) -> Result<Vec<(Id, u32)>, BackupError> {
    let mut ids = Vec::new();
    for (path, length) in entries(folder, fs::FileType::is_file)? {
        let id = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok());
        if let Some(id) = id {
            ids.push((id, size(&path, length)?));
        }
    }
    Ok(ids)
}

/// What is of a kind in a folder, with its length in bytes; nothing when the folder is not there.
fn entries(folder: &Path, kind: fn(&fs::FileType) -> bool) -> Result<Vec<(PathBuf, u64)>, BackupError> {
    let io = |error| fault::local("read", folder)(error);
    let all = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        all => all.map_err(io)?,
    };
    let mut entries = Vec::new();
    for entry in all {
        let entry = entry.map_err(io)?;
        if kind(&entry.file_type().map_err(io)?) {
            entries.push((entry.path(), entry.metadata().map_err(io)?.len()));
        }
    }
    Ok(entries)
}

/// The format has 32 bits for it.
fn size(path: &Path, length: u64) -> Result<u32, BackupError> {
    u32::try_from(length)
        .map_err(|_| BackupError::Damaged(format!("{} of the repository is too long", path.display())))
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
