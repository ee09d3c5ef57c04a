//! The files under journal, exports, history and blobs, as few operations as these need.
//!
//! [`Local`] is the operating system's. `simulation/` has one that forgets what was not synced, which is how
//! power cuts are tested. sled and logs do not go through here.
//!
//! What a caller must do itself, as on every disk: `sync` a file before relying on its content, `sync_folder` before
//! relying on its name.

mod local;
mod measure;

use std::fmt::Debug;
use std::io;
use std::path::Path;
use std::sync::Arc;

pub use local::Local;
pub use measure::{free, size, time_syncs};

/// A file that is open for reading and writing at offsets. Clones of the handle share the file.
pub trait DiskFile: Send + Sync + Debug {
    /// Fills the buffer from `offset`.
    ///
    /// # Errors
    /// `UnexpectedEof` where the file ends before, and what the system says.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;

    /// Writes all bytes at `offset`, making the file longer where needed.
    ///
    /// # Errors
    /// What the system says; any part of the bytes may have been written.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Its length in bytes.
    ///
    /// # Errors
    /// What the system says.
    fn size(&self) -> io::Result<u64>;

    /// Makes the file end at `size`.
    ///
    /// # Errors
    /// What the system says.
    fn truncate(&self, size: u64) -> io::Result<()>;

    /// Returns once content and length are on the device.
    ///
    /// # Errors
    /// What the system says. After an error nothing is known of what was written since the last success, also when a
    /// later call succeeds.
    fn sync(&self) -> io::Result<()>;
}

/// Where files are.
pub trait Disk: Send + Sync + Debug {
    /// Makes a file, in place of one that has its name.
    ///
    /// # Errors
    /// What the system says.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;

    /// Opens a file that is there.
    ///
    /// # Errors
    /// `NotFound`, and what the system says.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;

    /// Makes a folder and those above it, and makes their names durable.
    ///
    /// # Errors
    /// What the system says.
    fn make_folder(&self, path: &Path) -> io::Result<()>;

    /// Names and lengths of the files in a folder, by name; none when there is no folder.
    ///
    /// # Errors
    /// What the system says.
    fn list(&self, folder: &Path) -> io::Result<Vec<(String, u64)>>;

    /// Gives a file another name in the same folder, in place of one that has it.
    ///
    /// # Errors
    /// What the system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// What the system says.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in a folder durable.
    ///
    /// # Errors
    /// What the system says.
    fn sync_folder(&self, path: &Path) -> io::Result<()>;
}

/// The whole content of a file.
pub(crate) fn read_whole(file: &dyn DiskFile) -> io::Result<Vec<u8>> {
    let size = usize::try_from(file.size()?).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
    let mut bytes = vec![0; size];
    file.read_at(&mut bytes, 0)?;
    Ok(bytes)
}

/// Writes a small file so that it is there whole, or as it was before.
pub(crate) fn write_whole(disk: &dyn Disk, folder: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let temporary = folder.join(format!("{name}{TEMPORARY}"));
    let file = disk.create(&temporary)?;
    file.write_at(bytes, 0)?;
    file.sync()?;
    fail::fail_point!("file-unnamed");
    disk.rename(&temporary, &folder.join(name))?;
    fail::fail_point!("file-named");
    disk.sync_folder(folder)
}

/// How the names of files end that are still being written. Whatever is found with such a name is worth nothing.
pub(crate) const TEMPORARY: &str = ".tmp";
