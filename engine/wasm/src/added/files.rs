//! Files that are whole or not there, whenever the process or the machine ends.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

/// How the names of files begin that are still being written.
const TEMPORARY: &str = ".tmp";
/// Held by who changes something in the folder.
const LOCK: &str = ".lock";

/// Makes a folder and those above it, for its owner only, and makes their names durable.
pub(crate) fn make_folder(folder: &Path) -> io::Result<()> {
    let missing: Vec<&Path> = folder.ancestors().take_while(|folder| !folder.is_dir()).collect();
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    // Also where it was there: whoever made it may have ended before its name was on the device.
    let parents = missing.into_iter().chain([folder]).filter_map(Path::parent);
    parents.filter(|parent| !parent.as_os_str().is_empty()).try_for_each(sync)
}

/// Writes a file so that it is there whole, or as it was before.
pub(crate) fn write_whole(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let mut file = tempfile::Builder::new().prefix(TEMPORARY).tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(folder.join(name))?;
    sync(folder)
}

/// Removes a file, durably.
pub(super) fn remove(folder: &Path, name: &str) -> io::Result<()> {
    match fs::remove_file(folder.join(name)) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => sync(folder),
    }
}

/// Removes what was still being written when its writer ended. Whoever calls holds the lock.
pub(super) fn sweep(folder: &Path) -> io::Result<()> {
    for file in fs::read_dir(folder)? {
        let file = file?;
        if file.file_name().as_encoded_bytes().starts_with(TEMPORARY.as_bytes()) {
            fs::remove_file(file.path())?;
        }
    }
    Ok(())
}

/// Waits until nobody else changes the folder. The system gives the lock back however the process ends.
pub(super) fn lock(folder: &Path) -> io::Result<File> {
    let file = File::options().write(true).create(true).truncate(false).open(folder.join(LOCK))?;
    file.lock()?;
    Ok(file)
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
