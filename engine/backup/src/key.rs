//! The file with a repository's password.

use std::fs::{File, Permissions};
use std::io::{self, Error, ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use rustix::rand::{GetRandomFlags, getrandom};

const KEY_BYTES: usize = 32;
const OWNER_ONLY: u32 = 0o600;
const OTHERS: u32 = 0o077;
/// More than any password: the rest of a wrong file is not read.
const LONGEST: u64 = 64 * 1024;

/// The password in a file; makes the file, with a new one, when it is not there. Lines after the first and the end of
/// the first line do not count, as with `restic --password-file`.
///
/// # Errors
/// What the system says; [`ErrorKind::InvalidData`] when the file has no password; [`ErrorKind::PermissionDenied`] when
/// others than its owner may read or change it.
pub fn key_file(path: &Path) -> io::Result<String> {
    match File::open(path) {
        Ok(file) => read(path, &file),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            make(path)?;
            // As it is now: somebody else may have been faster.
            read(path, &File::open(path)?)
        }
        Err(error) => Err(said(error.kind(), path, &error.to_string())),
    }
}

fn read(path: &Path, file: &File) -> io::Result<String> {
    let mode = file.metadata()?.mode();
    if mode & OTHERS != 0 {
        let text =
            format!("others than its owner may use it (mode {:o}): run `chmod 600` on it", mode & 0o777);
        return Err(said(ErrorKind::PermissionDenied, path, &text));
    }
    let mut text = String::new();
    file.take(LONGEST)
        .read_to_string(&mut text)
        .map_err(|error| said(error.kind(), path, &error.to_string()))?;
    match text.lines().next().unwrap_or_default() {
        "" => {
            let text = "there is no password in it: put it back, or remove the file to begin with a new one";
            Err(said(ErrorKind::InvalidData, path, text))
        }
        password => Ok(password.to_owned()),
    }
}

/// Whole or not at all, and on the device before anything is encrypted with it.
fn make(path: &Path) -> io::Result<()> {
    let mut key = [0; KEY_BYTES];
    let filled = getrandom(&mut key, GetRandomFlags::empty())?;
    if filled != KEY_BYTES {
        // Does not happen: the system fills up to 256 bytes at once.
        return Err(Error::other("the system gave too few random bytes"));
    }
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.as_file().set_permissions(Permissions::from_mode(OWNER_ONLY))?;
    writeln!(file, "{}", hex::encode(key))?;
    file.as_file().sync_all()?;
    match file.persist_noclobber(path) {
        Err(error) if error.error.kind() != ErrorKind::AlreadyExists => return Err(error.error),
        _ => {}
    }
    File::open(folder)?.sync_all()
}

fn said(kind: ErrorKind, path: &Path, reason: &str) -> Error {
    Error::new(kind, format!("the password file {} cannot be used: {reason}", path.display()))
}
