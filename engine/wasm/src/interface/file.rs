//! Opening files of a workspace. Containers write there too, and may have made what is no file, or make it just now: a device
//! would be that of this machine, and a pipe would wait for ever.

use std::io;
use std::path::Path;

use cap_std::fs::{Dir, File, OpenOptions, OpenOptionsExt};

/// Does not wait for whoever is at the other end of a pipe.
const NONBLOCK: i32 = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();

/// Opens a file for reading, with its size.
pub(super) fn open(dir: &Dir, path: &Path) -> io::Result<(File, u64)> {
    let file = dir.open_with(path, OpenOptions::new().read(true).custom_flags(NONBLOCK))?;
    let size = check(&file)?;
    Ok((file, size))
}

/// Opens a file for writing, empty, and makes the folders on the way.
pub(super) fn create(dir: &Dir, path: &Path) -> io::Result<File> {
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        dir.create_dir_all(parent)?;
    }
    let options = &mut OpenOptions::new();
    let file = dir.open_with(path, options.write(true).create(true).custom_flags(NONBLOCK))?;
    // Cut only when it is known to be one.
    check(&file)?;
    file.set_len(0)?;
    Ok(file)
}

/// The size of a file, which is what was opened and not what lies at its path by now.
fn check(file: &File) -> io::Result<u64> {
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is neither file nor folder"));
    }
    Ok(metadata.len())
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::process::Command;

    use cap_std::ambient_authority;

    use super::*;

    #[test]
    fn what_is_no_file_is_refused_at_once_and_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let dir = Dir::open_ambient_dir(folder.path(), ambient_authority()).expect("it opens");
        let made = Command::new("mkfifo").arg(folder.path().join("pipe")).status().expect("mkfifo");
        assert!(made.success());
        assert!(open(&dir, Path::new("pipe")).is_err());
        assert!(create(&dir, Path::new("pipe")).is_err());
        assert!(open(&dir, Path::new(".")).is_err());
        create(&dir, Path::new("a/b")).and_then(|mut file| file.write_all(b"longer")).expect("written");
        create(&dir, Path::new("a/b")).and_then(|mut file| file.write_all(b"new")).expect("written over");
        let (mut file, size) = open(&dir, Path::new("a/b")).expect("it opens");
        let mut text = String::new();
        file.read_to_string(&mut text).expect("it is read");
        assert_eq!((text.as_str(), size), ("new", 3));
    }
}
