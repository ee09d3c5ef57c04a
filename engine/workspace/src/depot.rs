//! The folder of one run: contents and manifests by digest, written once and never changed.
//!
//! Everything appears under its name whole (written aside, then renamed), so a file that exists with the right size
//! is taken for what its name says.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;
use walkdir::WalkDir;
use yuanli_model::workspace::Manifest;
use yuanli_model::{AttemptId, Digest, RunId};
use yuanli_ports::workspaces::WorkspaceError;

use crate::sync::{self, Moment};
use crate::{fault, record, removal};

/// Nobody writes what is kept, whatever a guest or a person does with a copy of it.
const KEPT: u32 = 0o444;

/// How much of a file is in memory at once, in bytes: large enough that system calls do not count.
const CHUNK: usize = 128 * 1024;

/// What one run keeps.
#[derive(Debug, Clone)]
pub(crate) struct Depot {
    path: PathBuf,
}

impl Depot {
    /// The depot in `path`; no file is touched.
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// That of another run, which lies beside it.
    pub(crate) fn beside(&self, run: RunId) -> Self {
        Self { path: self.path.with_file_name(run.to_string()) }
    }

    /// The folder of the run.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Where the folders of attempts lie.
    pub(crate) fn attempts(&self) -> PathBuf {
        self.path.join("attempts")
    }

    /// The folder of one attempt.
    pub(crate) fn attempt(&self, id: &AttemptId) -> PathBuf {
        // A stage's name has no dot, so two attempts never share a folder.
        self.attempts().join(format!("{}.{}.{}", id.stage, id.instance, id.attempt))
    }

    /// What an attempt has beside its folder.
    pub(crate) fn aside(&self, id: &AttemptId) -> PathBuf {
        self.path.join("aside").join(format!("{}.{}.{}", id.stage, id.instance, id.attempt))
    }

    /// Where the content of a file lies.
    pub(crate) fn blob(&self, content: &Digest) -> PathBuf {
        self.blobs().join(content.hex())
    }

    /// Reads what [`Self::keep_manifest`] wrote.
    pub(crate) fn manifest(&self, digest: &Digest) -> Result<Manifest, WorkspaceError> {
        let path = self.manifest_path(digest);
        let name = self.name(&path);
        let bytes = match fs::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(WorkspaceError::Missing(*digest));
            }
            result => result.map_err(fault::at("read", name))?,
        };
        if Digest::of(&bytes) != *digest {
            return Err(fault::other("read", name, "its content was changed, it does not match its name"));
        }
        record::decode(&bytes).map_err(|reason| fault::other("read", name, reason))
    }

    /// Keeps a manifest and says under which digest.
    pub(crate) fn keep_manifest(&self, manifest: &Manifest) -> Result<Digest, WorkspaceError> {
        let bytes = record::encode(manifest).map_err(|error| fault::other("written", "", error))?;
        let digest = Digest::of(&bytes);
        let path = self.manifest_path(&digest);
        if !is_kept_again(&path, bytes.len() as u64).map_err(fault::at("written", self.name(&path)))? {
            write_aside(&self.manifests(), |file| file.write_all(&bytes))
                .and_then(|(aside, ())| keep(aside, &path))
                .map_err(fault::at("written", self.name(&path)))?;
        }
        Ok(digest)
    }

    /// Keeps the content of a regular file: its digest and size. `was` is what lay there before.
    pub(crate) fn keep_file(&self, file: &Path, was: Option<&Digest>) -> io::Result<(Digest, u64)> {
        let mut file = open(file)?;
        if let Some(was) = was {
            // Often a file was only touched: to find that out nothing need be written.
            let (content, size) = hash(&mut file, &mut io::sink())?;
            if content == *was {
                return Ok((content, size));
            }
            file.rewind()?;
        }
        // Hashed is what was copied, not what the file holds a moment later.
        let (aside, (content, size)) =
            write_aside(&self.blobs(), |aside| match reflink_copy::reflink_file(&file, aside) {
                Ok(()) => hash(aside, &mut io::sink()),
                Err(_) => hash(&mut file, aside),
            })?;
        let path = self.blob(&content);
        if !is_kept_again(&path, size)? {
            keep(aside, &path)?;
        }
        Ok((content, size))
    }

    /// Removes what only a run that goes on needs; all of it when nothing was kept.
    pub(crate) fn retire(&self) -> Result<(), WorkspaceError> {
        if !self.manifests().try_exists().map_err(fault::at("read", ""))? {
            return removal::remove(&self.path);
        }
        removal::remove(&self.attempts())?;
        removal::remove(&self.path.join("aside"))
    }

    /// The bytes of everything in it.
    pub(crate) fn size(&self) -> Result<u64, WorkspaceError> {
        let mut size = 0;
        for entry in WalkDir::new(&self.path) {
            let read = entry.and_then(|entry| entry.metadata());
            match read {
                Ok(metadata) if metadata.is_file() => size += metadata.len(),
                Ok(_) => {}
                Err(error) if sync::is_gone(&error) => {}
                Err(error) => return Err(fault::other("read", "", error)),
            }
        }
        Ok(size)
    }

    /// Brings what was kept since a moment to the device.
    pub(crate) fn sync(&self, since: Moment) -> Result<(), WorkspaceError> {
        let kept = [self.blobs(), self.manifests()];
        sync::changed_below(&kept, since).map_err(fault::at("synced", ""))
    }

    /// Brings one manifest to the device.
    pub(crate) fn sync_manifest(&self, digest: &Digest) -> Result<(), WorkspaceError> {
        let paths = [self.manifest_path(digest), self.manifests(), self.path.clone()];
        paths.iter().try_for_each(|path| sync::one(path)).map_err(fault::at("synced", ""))
    }

    /// Where contents lie.
    pub(crate) fn blobs(&self) -> PathBuf {
        self.path.join("blobs")
    }

    /// Where manifests lie.
    pub(crate) fn manifests(&self) -> PathBuf {
        self.path.join("manifests")
    }

    /// Where a manifest lies.
    pub(crate) fn manifest_path(&self, digest: &Digest) -> PathBuf {
        self.manifests().join(format!("{}.json", digest.hex()))
    }

    fn name<'a>(&self, path: &'a Path) -> &'a Path {
        path.strip_prefix(&self.path).unwrap_or(path)
    }
}

/// Opens what was a regular file when it was looked at. Should it have become a link or a pipe since, opening fails
/// or returns at once: nothing is read from outside and nobody waits for a writer.
fn open(file: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(file)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it changed while it was read")) }
}

fn hash(from: &mut File, copy: &mut impl Write) -> io::Result<(Digest, u64)> {
    let mut hasher = Sha256::new();
    let mut chunk = vec![0; CHUNK];
    let mut size = 0;
    loop {
        match from.read(&mut chunk) {
            Ok(0) => return Ok((Digest::from_bytes(hasher.finalize().into()), size)),
            Ok(read) => {
                hasher.update(&chunk[..read]);
                copy.write_all(&chunk[..read])?;
                size += read as u64;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

pub(crate) fn is_kept(path: &Path, size: u64) -> bool {
    // A smaller file is what a crash of the machine left of one that was not yet on the disk.
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.len() == size)
}

/// Whether it is kept already. Who has kept it may not have brought it to the device: it counts as changed now, so that it is
/// among what this one syncs.
fn is_kept_again(path: &Path, size: u64) -> io::Result<bool> {
    if !is_kept(path, size) {
        return Ok(false);
    }
    match fs::set_permissions(path, Permissions::from_mode(KEPT)) {
        // Removed meanwhile.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        marked => marked.map(|()| true),
    }
}

pub(crate) fn write_aside<T>(
    folder: &Path,
    write: impl FnOnce(&mut File) -> io::Result<T>,
) -> io::Result<(NamedTempFile, T)> {
    let mut aside = match NamedTempFile::new_in(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            fs::create_dir_all(folder)?;
            NamedTempFile::new_in(folder)?
        }
        result => result?,
    };
    let written = write(aside.as_file_mut())?;
    Ok((aside, written))
}

pub(crate) fn keep(aside: NamedTempFile, path: &Path) -> io::Result<()> {
    aside.as_file().set_permissions(Permissions::from_mode(KEPT))?;
    aside.persist(path)?;
    Ok(())
}
