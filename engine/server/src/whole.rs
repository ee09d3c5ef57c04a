//! Writing files so that they are there whole, or as they were before.

use std::fs::{self, File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use tempfile::NamedTempFile;

/// Of a file that anybody may read, unless it has other rights already.
const SHARED: u32 = 0o644;
/// Of one for its owner alone.
const OWN: u32 = 0o600;

/// Writes a file with the rights that it had.
pub(crate) fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    write_as(path, content, fs::metadata(path).map_or(SHARED, |metadata| metadata.permissions().mode()))
}

/// Writes a file for its owner alone.
///
/// # Errors
/// When it cannot be written; it is as it was then.
pub fn write_own(path: &Path, content: &[u8]) -> io::Result<()> {
    write_as(path, content, OWN)
}

fn write_as(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = NamedTempFile::new_in(folder)?;
    file.write_all(content)?;
    file.as_file().set_permissions(Permissions::from_mode(mode))?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    File::open(folder)?.sync_all()
}
