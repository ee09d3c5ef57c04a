//! The data directory: made once, owned by one engine at a time.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use yuanli_model::EngineId;

/// The version of the layout that this engine writes.
const FORMAT: u32 = 1;

/// Why a data directory cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another engine owns it.
    #[error("the data directory {} is in use by {owner}; wait for it, or name another folder with --data", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
        /// Who, as far as it said.
        owner: String,
    },
    /// A newer engine wrote it.
    #[error(
        "the data directory {} has format {found}; this engine reads up to {FORMAT}: use the newer one",
        path.display()
    )]
    Newer {
        /// The directory.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// What says what it is cannot be read.
    #[error("{} is damaged: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The file system failed.
    #[error("the data directory {} cannot be used: {error}", path.display())]
    Io {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

/// What says what a folder is.
#[derive(Debug, Serialize, Deserialize)]
struct Identity {
    format: u32,
    engine: String,
}

/// A data directory that this process owns until it is dropped.
#[derive(Debug)]
pub struct DataDirectory {
    path: PathBuf,
    engine: EngineId,
    /// Holds the lock; the system gives it back however the process ends.
    _lock: File,
}

impl DataDirectory {
    /// Opens a data directory and becomes its owner; makes it when it is not there, with the id that `fresh` gives.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(path: &Path, fresh: impl FnOnce() -> EngineId) -> Result<Self, OpenError> {
        let io = |error| OpenError::Io { path: path.to_owned(), error };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(io)?;
        let lock = lock(path)?;
        let identity = path.join("engine.json");
        let engine = match fs::read(&identity) {
            Ok(text) => parse(&identity, path, &text)?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let engine = fresh();
                write_whole(path, &identity, &Identity { format: FORMAT, engine: engine.to_string() })
                    .map_err(io)?;
                engine
            }
            Err(e) => return Err(io(e)),
        };
        Ok(Self { path: path.to_owned(), engine, _lock: lock })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The id of its engine.
    #[must_use]
    pub fn engine(&self) -> EngineId {
        self.engine
    }

    /// The folder of the store.
    #[must_use]
    pub fn store(&self) -> PathBuf {
        self.path.join("store")
    }

    /// The folder of finished runs.
    #[must_use]
    pub fn history(&self) -> PathBuf {
        self.path.join("history")
    }

    /// The folder of long logs.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.path.join("logs")
    }

    /// The folder of workspaces.
    #[must_use]
    pub fn work(&self) -> PathBuf {
        self.path.join("work")
    }
}

/// Takes the lock and leaves word of who has it. `flock`, not a pid file: pids mislead between containers.
fn lock(path: &Path) -> Result<File, OpenError> {
    let io = |error| OpenError::Io { path: path.to_owned(), error };
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let mut file = options.open(path.join("lock")).map_err(io)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let mut owner = String::new();
            // Who it is only helps; that somebody has it is known.
            let _ = file.read_to_string(&mut owner);
            let owner =
                if owner.trim().is_empty() { "another process".to_owned() } else { owner.trim().to_owned() };
            return Err(OpenError::InUse { path: path.to_owned(), owner });
        }
        Err(error) => return Err(io(error.into())),
    }
    file.set_len(0).and_then(|()| file.rewind()).map_err(io)?;
    file.write_all(myself().as_bytes()).map_err(io)?;
    Ok(file)
}

/// This process, for whoever finds the directory locked: `process 123 on host (yuanli run shop.yaml)`.
fn myself() -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let command: Vec<String> = std::env::args_os()
        .enumerate()
        .map(|(position, argument)| match position {
            0 => Path::new(&argument).file_name().unwrap_or(&argument).to_string_lossy().into_owned(),
            _ => argument.to_string_lossy().into_owned(),
        })
        .collect();
    format!("process {} on {host} (`{}`)", std::process::id(), command.join(" "))
}

fn parse(file: &Path, path: &Path, text: &[u8]) -> Result<EngineId, OpenError> {
    let damaged = |reason: String| OpenError::Damaged { path: file.to_owned(), reason };
    let identity: Identity = serde_json::from_slice(text).map_err(|e| damaged(e.to_string()))?;
    if identity.format > FORMAT {
        return Err(OpenError::Newer { path: path.to_owned(), found: identity.format });
    }
    identity.engine.parse().map_err(|e: yuanli_model::id::InvalidId| damaged(e.to_string()))
}

/// Writes a file so that it is there whole, or not at all.
fn write_whole(folder: &Path, file: &Path, identity: &Identity) -> io::Result<()> {
    let mut temporary = tempfile::NamedTempFile::new_in(folder)?;
    serde_json::to_writer(&mut temporary, identity)?;
    temporary.as_file().sync_all()?;
    temporary.persist(file)?;
    File::open(folder)?.sync_all()
}
