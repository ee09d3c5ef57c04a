//! What lies where in the folder of a store.

use std::io;
use std::path::{Path, PathBuf};

/// The folder of a store.
#[derive(Debug, Clone)]
pub(crate) struct Layout(PathBuf);

impl Layout {
    pub(crate) fn new(folder: &Path) -> Self {
        Self(folder.to_owned())
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.0
    }

    pub(crate) fn journal(&self) -> PathBuf {
        self.0.join("journal")
    }

    pub(crate) fn exports(&self) -> PathBuf {
        self.0.join("exports")
    }

    /// The folder of the index with this number. An index that takes the place of another has its own, as sled goes
    /// on using the path that it was opened with.
    pub(crate) fn index(&self, number: u64) -> PathBuf {
        self.0.join(format!("{INDEX}{number}"))
    }

    /// The numbers of the indexes that are there.
    pub(crate) fn indexes(&self) -> io::Result<Vec<u64>> {
        let mut numbers = Vec::new();
        for entry in std::fs::read_dir(&self.0)? {
            let name = entry?.file_name();
            let number: Option<u64> =
                name.to_str().and_then(|name| name.strip_prefix(INDEX)).and_then(|n| n.parse().ok());
            numbers.extend(number);
        }
        Ok(numbers)
    }
}

const INDEX: &str = "index-";
