//! The data directory: made once, owned by one engine at a time.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use yuanli_model::EngineId;
use yuanli_ports::store::StoreError;

use crate::disk::{Local, write_whole};
use crate::{held, upgrade};

/// What says what a folder is.
const IDENTITY: &str = "engine.json";
const STORE: &str = "store";
/// There while containers of runs that were interrupted may still be there.
const CONTAINERS_LEFT: &str = "containers-left";
const MACHINE_ID: &str = "/etc/machine-id";
/// The oldest layout that can be upgraded.
const OLDEST_FORMAT: u32 = 1;
/// The version of the layout that this engine writes. 1 had sled alone as its store.
const FORMAT: u32 = 2;

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
    /// Its store cannot be brought to the layout of this engine; it is as it was.
    #[error("the data directory {} cannot be upgraded: {error}", path.display())]
    Upgrade {
        /// The directory.
        path: PathBuf,
        /// What went wrong.
        error: StoreError,
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Identity {
    format: u32,
    engine: String,
    /// Whether a store was made in it: one that is not there any more is missed.
    #[serde(default)]
    has_store: bool,
    /// Where it lies. Another place means that it is a copy, which must not act for the one it is a copy of.
    #[serde(default)]
    home: Option<Home>,
    /// CRC-32C of all of the above as it is written: an engine that takes itself for another would leave its containers
    /// alone. None where nobody computed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    crc32c: Option<u32>,
}

impl Identity {
    /// The same with the checksum that it has.
    fn summed(&self) -> serde_json::Result<Self> {
        let plain = Self { crc32c: None, ..self.clone() };
        let crc32c = Some(crc32c::crc32c(&serde_json::to_vec(&plain)?));
        Ok(Self { crc32c, ..plain })
    }
}

/// What tells a folder from its copies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Home {
    /// The machine's id; empty where there is none.
    machine: String,
    file_system: u64,
    inode: u64,
}

/// A data directory that this process owns until it is dropped.
#[derive(Debug)]
pub struct DataDirectory {
    path: PathBuf,
    identity: Identity,
    engine: EngineId,
    is_copy: bool,
    /// Holds the lock; the system gives it back however the process ends.
    _lock: File,
}

/// Notes whether there may be containers of runs, so that a start asks Docker only then.
#[derive(Debug, Clone)]
pub struct ContainersMark(PathBuf);

impl ContainersMark {
    /// Whether there may be some.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.0.exists()
    }

    /// Notes that one could not be removed.
    ///
    /// # Errors
    /// [`OpenError::Io`].
    pub fn keep(&self) -> Result<(), OpenError> {
        fs::write(&self.0, "left").map_err(|error| OpenError::Io { path: self.0.clone(), error })
    }

    /// Whether one could not be removed.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        fs::metadata(&self.0).is_ok_and(|mark| mark.len() > 0)
    }

    /// Notes it.
    ///
    /// # Errors
    /// [`OpenError::Io`].
    pub fn set(&self, are_there: bool) -> Result<(), OpenError> {
        let noted = match are_there {
            // What is noted in it already stays.
            true => File::options().append(true).create(true).open(&self.0).and_then(|file| file.sync_all()),
            false => match fs::remove_file(&self.0) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
                removed => removed,
            },
        };
        noted.map_err(|error| OpenError::Io { path: self.0.clone(), error })
    }
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
        let home = Home::of(path).map_err(io)?;
        let file = path.join(IDENTITY);
        let mut identity = match fs::read(&file) {
            Ok(text) => parse(&file, path, &text)?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let identity = Self::found(path, &fresh().to_string(), home.clone())?;
                write_identity(path, &identity).map_err(io)?;
                identity
            }
            Err(e) => return Err(io(e)),
        };
        if identity.format < FORMAT {
            upgrade(path, &mut identity, home.clone())?;
        }
        // Also what an upgrade has left that was interrupted at its end.
        upgrade::remove_old(&path.join(STORE)).map_err(io)?;
        held::sweep(path);
        let damaged = |reason: String| OpenError::Damaged { path: file.clone(), reason };
        let engine =
            identity.engine.parse().map_err(|e: yuanli_model::id::InvalidId| damaged(e.to_string()))?;
        if identity.home.is_none() {
            // Imported, and opened for the first time.
            identity.home = Some(home.clone());
            write_identity(path, &identity).map_err(io)?;
        }
        let is_copy = identity.home.as_ref().is_some_and(|noted| *noted != home);
        let directory = Self { path: path.to_owned(), identity, engine, is_copy, _lock: lock };
        directory.check_store()?;
        Ok(directory)
    }

    /// The identity of a folder that has none: a new one, unless there is a store that it is missing for.
    fn found(path: &Path, engine: &str, home: Home) -> Result<Identity, OpenError> {
        if has_files(&path.join(STORE).join("journal")) || has_files(&path.join(STORE).join("exports")) {
            let reason =
                format!("it is missing, and there is a store beside it: put `{IDENTITY}` back, or adopt it");
            return Err(OpenError::Damaged { path: path.join(IDENTITY), reason });
        }
        let (engine, home) = (engine.to_owned(), Some(home));
        Ok(Identity { format: FORMAT, engine, has_store: false, home, crc32c: None })
    }

    fn check_store(&self) -> Result<(), OpenError> {
        let store = self.store();
        if self.identity.has_store && !has_files(&store.join("journal")) && !has_files(&store.join("exports"))
        {
            let reason = "there was a store, and it is gone".to_owned();
            return Err(OpenError::Damaged { path: store, reason });
        }
        Ok(())
    }

    /// Notes that there is a store now.
    ///
    /// # Errors
    /// [`OpenError::Io`].
    pub fn note_store(&mut self) -> Result<(), OpenError> {
        if !self.identity.has_store {
            self.identity.has_store = true;
            let io = |error| OpenError::Io { path: self.path.clone(), error };
            write_identity(&self.path, &self.identity).map_err(io)?;
        }
        Ok(())
    }

    /// Where it is noted whether there may be containers of runs.
    #[must_use]
    pub fn containers(&self) -> ContainersMark {
        ContainersMark(self.path.join(CONTAINERS_LEFT))
    }

    /// Whether it was copied, moved to another disk or restored. It must then do nothing outside: what it holds may be
    /// going on elsewhere.
    #[must_use]
    pub fn is_copy(&self) -> bool {
        self.is_copy
    }

    /// Makes a copy an engine of its own.
    ///
    /// # Errors
    /// [`OpenError::Io`].
    pub fn adopt(&mut self, engine: EngineId) -> Result<(), OpenError> {
        let io = |error| OpenError::Io { path: self.path.clone(), error };
        let home = Home::of(&self.path).map_err(io)?;
        self.identity = Identity { engine: engine.to_string(), home: Some(home), ..self.identity.clone() };
        write_identity(&self.path, &self.identity).map_err(io)?;
        (self.engine, self.is_copy) = (engine, false);
        Ok(())
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
        self.path.join(STORE)
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

    /// The folder of large values.
    #[must_use]
    pub fn blobs(&self) -> PathBuf {
        self.path.join("blobs")
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

fn parse(file: &Path, path: &Path, text: &[u8]) -> Result<Identity, OpenError> {
    let damaged = |reason: String| OpenError::Damaged { path: file.to_owned(), reason };
    let identity: Identity = serde_json::from_slice(text).map_err(|e| damaged(e.to_string()))?;
    match identity.format {
        FORMAT | OLDEST_FORMAT => {}
        found if found > FORMAT => return Err(OpenError::Newer { path: path.to_owned(), found }),
        found => return Err(damaged(format!("there never was a format {found}"))),
    }
    let summed = identity.summed().map_err(|e| damaged(e.to_string()))?;
    if identity.crc32c.is_some() && identity != summed {
        return Err(damaged("it has another checksum than it says".to_owned()));
    }
    Ok(identity)
}

/// Brings a directory of an older engine to this layout. May be interrupted anywhere, and is then done again: the
/// identity is written last, and what it makes useless goes after it.
fn upgrade(path: &Path, identity: &mut Identity, home: Home) -> Result<(), OpenError> {
    let store = path.join(STORE);
    let failed = |error| OpenError::Upgrade { path: path.to_owned(), error };
    upgrade::to_journal(&store).map_err(failed)?;
    *identity = Identity {
        format: FORMAT,
        has_store: has_files(&store.join("exports")),
        home: Some(home),
        ..identity.clone()
    };
    let io = |error| OpenError::Io { path: path.to_owned(), error };
    write_identity(path, identity).map_err(io)
}

fn has_files(folder: &Path) -> bool {
    fs::read_dir(folder).is_ok_and(|mut files| files.next().is_some())
}

impl Home {
    fn of(path: &Path) -> io::Result<Self> {
        let machine = fs::read_to_string(MACHINE_ID).unwrap_or_default().trim().to_owned();
        // The number of a device may be another after each start of the system; the id of a file system is not.
        let file_system = rustix::fs::statvfs(path)?.f_fsid;
        Ok(Self { machine, file_system, inode: fs::metadata(path)?.ino() })
    }
}

fn write_identity(folder: &Path, identity: &Identity) -> io::Result<()> {
    write_whole(&Local, folder, IDENTITY, &serde_json::to_vec(&identity.summed()?)?)
}
