//! A folder as a tar that is never whole in memory, with what was sent of it.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{FileType, Stat};
use sha2::{Digest as _, Sha256};
use tar::{Builder, EntryType, Header};
use yuanli_model::Digest;

use super::note::{Kind, Node, PERMISSIONS, Sent};
use super::place;

/// Longest link target that fits into the header of a tar entry as it is.
const SHORT_LINK_BYTES: usize = 100;

/// Writes what lies in a folder, each path below `name`; the folder itself as well, where that is not empty. What is neither
/// file, folder, link nor pipe stays here, and so does what lies where something else is mounted.
pub(super) fn pack<W: Write>(
    folder: &Path,
    name: &str,
    hidden: Vec<String>,
    into: W,
) -> io::Result<(Sent, W)> {
    let root = place::root(folder)?;
    let mut tar = Builder::new(into);
    if !name.is_empty() {
        let mut header = header(EntryType::Directory, &rustix::fs::fstat(&root)?);
        tar.append_data(&mut header, format!("{name}/"), io::empty())?;
    }
    let mut packer = Packer { tar, name, sent: Sent { hidden, ..Sent::default() } };
    packer.folder(&root, "")?;
    packer.tar.finish()?;
    Ok((packer.sent, packer.tar.into_inner()?))
}

struct Packer<'a, W: Write> {
    tar: Builder<W>,
    name: &'a str,
    sent: Sent,
}

impl<W: Write> Packer<'_, W> {
    fn folder(&mut self, folder: &OwnedFd, above: &str) -> io::Result<()> {
        for name in place::names(folder)? {
            let Ok(name) = name.to_str() else {
                return Err(io::Error::other(format!("`{}` is no UTF-8", name.to_string_lossy())));
            };
            let path = if above.is_empty() { name.to_owned() } else { format!("{above}/{name}") };
            if !self.sent.hides(&path) {
                self.entry(folder, name, &path).map_err(|error| naming(&path, &error))?;
            }
        }
        Ok(())
    }

    fn entry(&mut self, parent: &OwnedFd, name: &str, path: &str) -> io::Result<()> {
        // Removed meanwhile, which a container that was mounted here would have seen as well.
        let Some(found) = place::look(parent, name)? else { return Ok(()) };
        let below = if self.name.is_empty() { path.to_owned() } else { format!("{}/{path}", self.name) };
        let kind = match FileType::from_raw_mode(found.st_mode) {
            FileType::Directory => {
                let mut header = header(EntryType::Directory, &found);
                self.tar.append_data(&mut header, format!("{below}/"), io::empty())?;
                self.remember(path, Kind::Folder, &found);
                return self.folder(&place::folder(parent, name)?, path);
            }
            FileType::RegularFile => return self.file(place::file(parent, name)?, path, &below),
            FileType::Symlink => Kind::Link { target: self.link(parent, name, &below, &found)? },
            FileType::Fifo => {
                let mut header = header(EntryType::Fifo, &found);
                self.tar.append_data(&mut header, &below, io::empty())?;
                Kind::Pipe
            }
            _ => return Ok(()),
        };
        self.remember(path, kind, &found);
        Ok(())
    }

    fn file(&mut self, file: File, path: &str, below: &str) -> io::Result<()> {
        // Of the open file: the name may stand for another one by now.
        let found = rustix::fs::fstat(&file)?;
        let size = u64::try_from(found.st_size).unwrap_or(0);
        let mut header = header(EntryType::Regular, &found);
        header.set_size(size);
        let mut content = Exactly { file, left: size, hash: Sha256::new() };
        self.tar.append_data(&mut header, below, &mut content)?;
        let content = Digest::from_bytes(content.hash.finalize().into()).hex();
        self.remember(path, Kind::File { content, modified: seconds(&found) }, &found);
        Ok(())
    }

    fn link(&mut self, parent: &OwnedFd, name: &str, below: &str, found: &Stat) -> io::Result<String> {
        let target = rustix::fs::readlinkat(parent, name, Vec::new())?;
        let target =
            target.into_string().map_err(|_| io::Error::other("the target of this link is no UTF-8"))?;
        let mut header = header(EntryType::Symlink, found);
        if target.len() > SHORT_LINK_BYTES {
            self.tar.append_link(&mut header, below, &target)?;
        } else {
            // As it is written: `append_link` would tidy `./a` up to `a`.
            header.set_link_name_literal(target.as_bytes())?;
            self.tar.append_data(&mut header, below, io::empty())?;
        }
        Ok(target)
    }

    fn remember(&mut self, path: &str, kind: Kind, found: &Stat) {
        let mode = if matches!(kind, Kind::Link { .. }) { 0 } else { found.st_mode & PERMISSIONS };
        let node = Node { kind, mode, owner: (found.st_uid, found.st_gid) };
        self.sent.nodes.insert(path.to_owned(), node);
    }
}

fn header(kind: EntryType, found: &Stat) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(if kind == EntryType::Symlink { 0o777 } else { found.st_mode & PERMISSIONS });
    header.set_uid(found.st_uid.into());
    header.set_gid(found.st_gid.into());
    header.set_mtime(seconds(found));
    header.set_size(0);
    header
}

/// When it was changed last.
fn seconds(found: &Stat) -> u64 {
    u64::try_from(found.st_mtime).unwrap_or(0)
}

fn naming(path: &str, error: &io::Error) -> io::Error {
    // Of no kind: a broken pipe means the queue, which is told by it.
    match error.kind() {
        io::ErrorKind::BrokenPipe => io::ErrorKind::BrokenPipe.into(),
        _ if error.to_string().starts_with('`') => io::Error::other(error.to_string()),
        _ => io::Error::other(format!("`{path}`: {error}")),
    }
}

/// A file of which exactly as many bytes are read as its header says, and their digest.
struct Exactly {
    file: File,
    left: u64,
    hash: Sha256,
}

impl Read for Exactly {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Ok(0);
        }
        let wanted = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let read = self.file.read(&mut buffer[..wanted])?;
        if read == 0 {
            return Err(io::Error::other("it became shorter while it was read"));
        }
        self.left -= read as u64;
        self.hash.update(&buffer[..read]);
        Ok(read)
    }
}
