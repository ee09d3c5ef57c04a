//! Paths of unix sockets, which may be longer than an address can be.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};

/// What an address of a unix socket may have, with room for the end (`sun_path` has 108 bytes; see unix(7)).
const MAX_PATH: usize = 100;

/// Where a socket is reached: its path, or one by way of the open folder where that is too long for an address. Good as
/// long as this is kept.
#[derive(Debug)]
pub struct SocketPath {
    path: PathBuf,
    _folder: Option<File>,
}

impl SocketPath {
    /// The socket of this name in a folder.
    ///
    /// # Errors
    /// When the folder has to be opened and cannot be.
    pub fn of(folder: &Path, name: &str) -> io::Result<Self> {
        let path = folder.join(name);
        if path.as_os_str().len() <= MAX_PATH {
            return Ok(Self { path, _folder: None });
        }
        let folder = File::open(folder)?;
        let path = Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string()).join(name);
        Ok(Self { path, _folder: Some(folder) })
    }

    /// Where it is reached.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}
