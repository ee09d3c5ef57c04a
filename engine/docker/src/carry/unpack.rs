//! What a container has changed of a folder that was sent to it, made here as well: what is as it was sent is left alone.
//!
//! Whoever runs the container decides what stands in the tar: no path of it leads out of the folder, and nothing is removed
//! before the tar was read to its end.

use std::collections::{BTreeMap, HashSet};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, Uid};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};
use tar::{Archive, Entry, EntryType};
use yuanli_model::Digest;

use super::note::{Kind, Node, PERMISSIONS, Sent};
use super::place;

/// Files up to this size are looked at in memory: most are as they were.
const SMALL_BYTES: u64 = 1 << 20;

/// A tar ends with two empty blocks.
const BLOCK_BYTES: u64 = 512;
const END_BYTES: u64 = 2 * BLOCK_BYTES;

/// Reads a tar of a folder, whose paths have one more part in front, and makes the folder of this machine like it as far as it
/// is not as it was sent. `spare` is a path on the same file system at which a file is made before it has its name.
pub(super) fn unpack(from: impl Read, folder: &Path, sent: &Sent, spare: &Path) -> io::Result<()> {
    let mut unpacker = Unpacker {
        root: place::root(folder)?,
        sent,
        spare: spare.to_owned(),
        seen: HashSet::new(),
        folders: BTreeMap::new(),
        is_changed: false,
    };
    unpacker.read(from)?;
    unpacker.remove_rest()?;
    unpacker.finish_folders()?;
    if unpacker.is_changed {
        // What follows relies on it, and the note that tells what was sent goes.
        rustix::fs::syncfs(&unpacker.root)?;
    }
    Ok(())
}

struct Unpacker<'a> {
    root: OwnedFd,
    sent: &'a Sent,
    spare: PathBuf,
    seen: HashSet<String>,
    /// Folders that are not as they were sent; they get their modes once everything is in them.
    folders: BTreeMap<String, Node>,
    is_changed: bool,
}

impl Unpacker<'_> {
    fn read(&mut self, from: impl Read) -> io::Result<()> {
        let mut archive = Archive::new(Counted { from, total: 0, zeros: 0 });
        let mut end = 0;
        for entry in archive.entries()? {
            let mut entry = entry?;
            end = entry.raw_file_position() + entry.size().next_multiple_of(BLOCK_BYTES);
            let Some(path) = inner(&entry.path()?)? else { continue };
            if self.sent.hides(&path) {
                continue;
            }
            self.entry(&mut entry, &path).map_err(|error| io::Error::other(format!("`{path}`: {error}")))?;
            self.seen.insert(path);
        }
        let mut rest = archive.into_inner();
        io::copy(&mut rest, &mut io::sink())?;
        // One that was cut off between two entries looks like one that is shorter.
        if rest.zeros < END_BYTES || rest.total < end + END_BYTES {
            return Err(io::Error::other("it ends in the middle"));
        }
        Ok(())
    }

    fn entry(&mut self, entry: &mut Entry<'_, impl Read>, path: &str) -> io::Result<()> {
        let header = entry.header();
        let number = |id: u64| u32::try_from(id).map_err(|_| io::Error::other("an owner that is no number"));
        let owner = (number(header.uid()?)?, number(header.gid()?)?);
        let mode = header.mode()? & PERMISSIONS;
        let node = |kind, mode| Node { kind, mode, owner };
        match header.entry_type() {
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                let about = About { mode, owner, modified: header.mtime()? };
                let size = entry.size();
                self.file(entry, size, path, about)
            }
            EntryType::Link => {
                // A second name of a file that stands before it.
                let about = About { mode, owner, modified: header.mtime()? };
                let target = entry.link_name()?.ok_or_else(|| io::Error::other("a name of nothing"))?;
                let target = inner(&target)?.ok_or_else(|| io::Error::other("a name of the folder"))?;
                let first = place::known_parent(&self.root, &target)?;
                let (parent, name) = first.ok_or_else(|| io::Error::other("its other name is gone"))?;
                let found = place::look(&parent, name)?.map(|found| FileType::from_raw_mode(found.st_mode));
                match found {
                    Some(FileType::RegularFile) => {
                        let first = place::file(&parent, name)?;
                        let size = first.metadata()?.len();
                        self.file(first, size, path, about)
                    }
                    Some(FileType::Symlink) => {
                        let target = rustix::fs::readlinkat(&parent, name, Vec::new())?.into_string();
                        let target =
                            target.map_err(|_| io::Error::other("the target of this link is no UTF-8"))?;
                        self.link(path, &target, node(Kind::Link { target: target.clone() }, 0))
                    }
                    // A device, of which neither name is here.
                    _ => Ok(()),
                }
            }
            EntryType::Directory => self.folder(path, node(Kind::Folder, mode)),
            EntryType::Symlink => {
                let target = entry.link_name_bytes().unwrap_or_default().into_owned();
                let target = String::from_utf8(target)
                    .map_err(|_| io::Error::other("the target of this link is no UTF-8"))?;
                self.link(path, &target, node(Kind::Link { target: target.clone() }, 0))
            }
            EntryType::Fifo => self.pipe(path, node(Kind::Pipe, mode)),
            // A device, which nothing here can be handed on as.
            _ => Ok(()),
        }
    }

    fn is_as_sent(&self, path: &str, node: &Node) -> bool {
        self.sent.nodes.get(path) == Some(node)
    }

    fn folder(&mut self, path: &str, node: Node) -> io::Result<()> {
        if self.is_as_sent(path, &node) {
            return Ok(());
        }
        let (parent, name) = self.parent(path)?;
        if !place::look(&parent, name)?.is_some_and(|found| place::is_folder(&found)) {
            place::clear(&parent, name)?;
            rustix::fs::mkdirat(&parent, name, Mode::RWXU)?;
        }
        self.folders.insert(path.to_owned(), node);
        Ok(())
    }

    fn link(&mut self, path: &str, target: &str, node: Node) -> io::Result<()> {
        if self.is_as_sent(path, &node) {
            return Ok(());
        }
        let (parent, name) = self.parent(path)?;
        place::clear(&parent, name)?;
        rustix::fs::symlinkat(target, &parent, name)?;
        own(&parent, name, node.owner)
    }

    fn pipe(&mut self, path: &str, node: Node) -> io::Result<()> {
        if self.is_as_sent(path, &node) {
            return Ok(());
        }
        let (parent, name) = self.parent(path)?;
        place::clear(&parent, name)?;
        rustix::fs::mknodat(&parent, name, FileType::Fifo, Mode::from_raw_mode(node.mode), 0)?;
        own(&parent, name, node.owner)
    }

    fn file(&mut self, content: impl Read, size: u64, path: &str, about: About) -> io::Result<()> {
        let node = |hash: Sha256| Node {
            kind: Kind::File {
                content: Digest::from_bytes(hash.finalize().into()).hex(),
                modified: about.modified,
            },
            mode: about.mode,
            owner: about.owner,
        };
        let mut content = content.take(size);
        let whole = |read: u64| match read == size {
            true => Ok(()),
            false => Err(io::Error::other("it ends in the middle")),
        };
        if size <= SMALL_BYTES {
            let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
            content.read_to_end(&mut bytes)?;
            whole(bytes.len() as u64)?;
            if self.is_as_sent(path, &node(Sha256::new().chain_update(&bytes))) {
                return Ok(());
            }
            let mut file = self.spare()?;
            file.write_all(&bytes)?;
            return self.place(&file, path, &about);
        }
        let mut hashed = Hashed { file: self.spare()?, hash: Sha256::new() };
        whole(io::copy(&mut content, &mut hashed)?)?;
        match self.is_as_sent(path, &node(hashed.hash)) {
            true => std::fs::remove_file(&self.spare),
            false => self.place(&hashed.file, path, &about),
        }
    }

    fn spare(&self) -> io::Result<File> {
        match std::fs::remove_file(&self.spare) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&self.spare)
    }

    /// Gives a file that was written its name.
    fn place(&mut self, file: &File, path: &str, about: &About) -> io::Result<()> {
        if is_root() {
            rustix::fs::fchown(file, uid(about.owner), gid(about.owner))?;
        }
        rustix::fs::fchmod(file, Mode::from_raw_mode(about.mode))?;
        file.set_modified(UNIX_EPOCH + Duration::from_secs(about.modified))?;
        let (parent, name) = self.parent(path)?;
        if place::look(&parent, name)?.is_some_and(|found| place::is_folder(&found)) {
            place::clear(&parent, name)?;
        }
        Ok(rustix::fs::renameat(CWD, &self.spare, &parent, name)?)
    }

    fn parent<'p>(&mut self, path: &'p str) -> io::Result<(OwnedFd, &'p str)> {
        self.is_changed = true;
        place::parent(&self.root, path)
    }

    /// What was sent and has not come back was removed; what others have put into a folder that was stays, and it with that.
    fn remove_rest(&mut self) -> io::Result<()> {
        for (path, node) in self.sent.nodes.iter().rev() {
            if self.seen.contains(path) || self.sent.hides(path) {
                continue;
            }
            let Some((parent, name)) = place::known_parent(&self.root, path)? else { continue };
            let flags = match node.kind {
                Kind::Folder => AtFlags::REMOVEDIR,
                _ => AtFlags::empty(),
            };
            match rustix::fs::unlinkat(&parent, name, flags) {
                Ok(()) => self.is_changed = true,
                Err(Errno::NOENT | Errno::NOTDIR | Errno::ISDIR | Errno::NOTEMPTY | Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn finish_folders(&self) -> io::Result<()> {
        for (path, node) in self.folders.iter().rev() {
            let Some((parent, name)) = place::known_parent(&self.root, path)? else { continue };
            let folder = place::folder(&parent, name)?;
            own(&parent, name, node.owner)?;
            rustix::fs::fchmod(&folder, Mode::from_raw_mode(node.mode))?;
        }
        Ok(())
    }
}

/// What is said of a file beside its content.
#[derive(Clone, Copy)]
struct About {
    mode: u32,
    owner: (u32, u32),
    modified: u64,
}

/// As what a container writes in a folder that is mounted belongs to its user; nobody but root gives files away.
fn own(parent: &OwnedFd, name: &str, owner: (u32, u32)) -> io::Result<()> {
    match is_root() {
        true => Ok(rustix::fs::chownat(parent, name, uid(owner), gid(owner), AtFlags::SYMLINK_NOFOLLOW)?),
        false => Ok(()),
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn uid((user, _): (u32, u32)) -> Option<Uid> {
    Some(Uid::from_raw(user))
}

fn gid((_, group): (u32, u32)) -> Option<Gid> {
    Some(Gid::from_raw(group))
}

/// The path in the folder; `None` for the folder itself.
fn inner(path: &Path) -> io::Result<Option<String>> {
    let mut parts = Vec::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::Normal(part) => parts.push(
                part.to_str().ok_or_else(|| io::Error::other(format!("`{}` is no UTF-8", path.display())))?,
            ),
            _ => return Err(io::Error::other(format!("`{}` leads out of the folder", path.display()))),
        }
    }
    Ok((parts.len() > 1).then(|| parts[1..].join("/")))
}

/// What is read, how much that was, and how many zeros are its end.
struct Counted<R> {
    from: R,
    total: u64,
    zeros: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(buffer)?;
        let zeros = buffer[..read].iter().rev().take_while(|byte| **byte == 0).count();
        self.total += read as u64;
        self.zeros = if zeros == read { self.zeros + zeros as u64 } else { zeros as u64 };
        Ok(read)
    }
}

struct Hashed {
    file: File,
    hash: Sha256,
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hash.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
