//! A folder of this machine whose files somebody else may be changing: no link in it is followed.

use std::ffi::CString;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

const FOLDER: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Of a folder that is there because something lies in it.
const ABOVE: Mode = Mode::RWXU.union(Mode::RGRP).union(Mode::XGRP).union(Mode::ROTH).union(Mode::XOTH);

/// The folder itself, which may be a link of ours.
pub(super) fn root(path: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::openat(CWD, path, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

/// A folder in a folder.
pub(super) fn folder(parent: &OwnedFd, name: &str) -> io::Result<OwnedFd> {
    Ok(rustix::fs::openat(parent, name, FOLDER, Mode::empty())?)
}

/// A file in a folder, to be read.
pub(super) fn file(parent: &OwnedFd, name: &str) -> io::Result<std::fs::File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(parent, name, flags, Mode::empty())?.into())
}

/// What lies there; `None` for nothing.
pub(super) fn look(parent: &OwnedFd, name: &str) -> io::Result<Option<Stat>> {
    match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => Ok(None),
        found => Ok(Some(found?)),
    }
}

pub(super) fn is_folder(found: &Stat) -> bool {
    FileType::from_raw_mode(found.st_mode) == FileType::Directory
}

/// The names in a folder, sorted.
pub(super) fn names(folder: &OwnedFd) -> io::Result<Vec<CString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            names.push(entry.file_name().to_owned());
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// The folder that a path lies in, made where it is not there, and the path's last name.
pub(super) fn parent<'p>(root: &OwnedFd, path: &'p str) -> io::Result<(OwnedFd, &'p str)> {
    let mut at = root.try_clone()?;
    let mut rest = path;
    while let Some((name, below)) = rest.split_once('/') {
        at = match folder(&at, name) {
            Err(_) => {
                clear(&at, name)?;
                rustix::fs::mkdirat(&at, name, ABOVE)?;
                folder(&at, name)?
            }
            Ok(found) => found,
        };
        rest = below;
    }
    Ok((at, rest))
}

/// The same of a path that may not be there.
pub(super) fn known_parent<'p>(root: &OwnedFd, path: &'p str) -> io::Result<Option<(OwnedFd, &'p str)>> {
    let mut at = root.try_clone()?;
    let mut rest = path;
    while let Some((name, below)) = rest.split_once('/') {
        match rustix::fs::openat(&at, name, FOLDER, Mode::empty()) {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(None),
            found => at = found?,
        }
        rest = below;
    }
    Ok(Some((at, rest)))
}

/// Makes sure that there is nothing at a name.
pub(super) fn clear(parent: &OwnedFd, name: &str) -> io::Result<()> {
    let Some(found) = look(parent, name)? else { return Ok(()) };
    if !is_folder(&found) {
        return Ok(rustix::fs::unlinkat(parent, name, AtFlags::empty())?);
    }
    let inner = folder(parent, name)?;
    for name in names(&inner)? {
        let name = name.to_str().map_err(|_| io::Error::other("a name is no UTF-8"))?;
        clear(&inner, name)?;
    }
    Ok(rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR)?)
}
