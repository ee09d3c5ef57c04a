//! What was sent of a folder, noted in a file beside it: what a container has changed is what is different when it comes back,
//! also for an engine that was not there when it was sent.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::file;

/// Permissions of files that travel; that a program gets rights by its file does not.
pub(super) const PERMISSIONS: u32 = 0o777;

/// What lies at a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Kind {
    Folder,
    /// With the digest of its content, and when it was changed last, in whole seconds: Docker tells no more.
    File {
        content: String,
        modified: u64,
    },
    Link {
        target: String,
    },
    Pipe,
}

/// What lies at a path, and whose it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Node {
    pub(super) kind: Kind,
    /// 0 for a link, which has none.
    pub(super) mode: u32,
    pub(super) owner: (u32, u32),
}

/// A folder as it was sent.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sent {
    pub(super) nodes: BTreeMap<String, Node>,
    /// Paths at which something else is mounted: what lies there is none of the folder's.
    pub(super) hidden: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "version")]
enum Version {
    #[serde(rename = "1")]
    V1(Sent),
}

impl Sent {
    /// Whether something else is mounted at a path, or above it.
    pub(super) fn hides(&self, path: &str) -> bool {
        self.hidden.iter().any(|hidden| {
            path.strip_prefix(hidden.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    }

    /// Durable when this returns.
    pub(super) fn write(self, note: &Path) -> io::Result<()> {
        file::write_whole(note, &serde_json::to_vec(&Version::V1(self))?)
    }

    /// `None` where nothing is noted: nothing was sent, or it has come back.
    pub(super) fn read(note: &Path) -> io::Result<Option<Self>> {
        match std::fs::read(note) {
            Ok(text) => {
                let Version::V1(sent) = serde_json::from_slice(&text)?;
                Ok(Some(sent))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// That nothing is to come back any more.
    pub(super) fn forget(note: &Path) -> io::Result<()> {
        match std::fs::remove_file(note) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}
