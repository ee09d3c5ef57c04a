//! The sealed file: JSON, so that it can be looked at; version 1.
//!
//! ```json
//! { "version": 1, "key": { "from": "file", "id": "9f86d081884c7d65" }, "check": { "nonce": "…", "sealed": "…" },
//!   "secrets": { "registry": { "workflows": ["shop-*"], "changed_ms": 1, "nonce": "…", "sealed": "…" } } }
//! ```

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use serde::{Deserialize, Serialize};
use yuanli_model::{SecretName, Timestamp, WorkflowName};
use yuanli_ports::secrets::SecretValue;
use zeroize::Zeroizing;

use crate::key::{Key, Origin};
use crate::scope::{self, Scope};
use crate::seal::SealedBytes;
use crate::{Kept, VaultError};

const VERSION: u32 = 1;
/// What the check is bound to, and what a secret is.
const CHECK: &[u8] = b"yuanli vault 1 check";
const SECRET: &str = "yuanli vault 1 secret";

/// The file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Sealed {
    version: u32,
    pub(crate) key: Origin,
    /// Nothing, sealed: says whether a key is the right one, also where there are no secrets.
    check: SealedBytes,
    pub(crate) secrets: BTreeMap<String, Entry>,
}

/// A secret.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) workflows: Vec<Scope>,
    pub(crate) changed_ms: u64,
    #[serde(flatten)]
    value: SealedBytes,
}

impl Sealed {
    /// Without secrets.
    pub(crate) fn new(key: Origin, by: &Key) -> Self {
        Self { version: VERSION, key, check: SealedBytes::seal(by, b"", CHECK), secrets: BTreeMap::new() }
    }

    /// Whether the key is the one that it was sealed by.
    pub(crate) fn check(&self, key: &Key) -> Result<(), ()> {
        self.check.open(key, CHECK).map(drop)
    }

    /// The file at a path; `None` where there is none.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>, VaultError> {
        let text = match fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(VaultError::Io { path: path.to_owned(), doing: "read", error }),
        };
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        let damaged =
            |e: serde_json::Error| VaultError::Damaged(format!("`{}` is damaged: {e}", path.display()));
        let Versioned { version } = serde_json::from_slice(&text).map_err(damaged)?;
        if version > VERSION {
            let path = path.display();
            return Err(VaultError::Damaged(format!(
                "`{path}` was written by a newer engine (version {version} of the file, this one knows {VERSION})"
            )));
        }
        serde_json::from_slice(&text).map(Some).map_err(damaged)
    }

    /// All of its secrets by name, without their values.
    pub(crate) fn kept(&self, path: &Path) -> Result<Vec<Kept>, VaultError> {
        let kept = self.secrets.iter().map(|(name, entry)| {
            let name = name.parse().map_err(|e| {
                VaultError::Damaged(format!("`{}` has a secret of no name: {e}", path.display()))
            })?;
            let changed = Timestamp::from_millis(entry.changed_ms);
            Ok(Kept { name, workflows: entry.workflows.clone(), changed })
        });
        kept.collect()
    }

    /// Writes it as a whole.
    pub(crate) fn write(&self, path: &Path) -> Result<(), VaultError> {
        let text = serde_json::to_vec_pretty(self).expect("texts and numbers are JSON");
        write_whole(path, &text).map_err(|error| VaultError::Io {
            path: path.to_owned(),
            doing: "written",
            error,
        })
    }
}

impl Entry {
    pub(crate) fn seal(
        key: &Key,
        name: &SecretName,
        value: &SecretValue,
        workflows: Vec<Scope>,
        now: Timestamp,
    ) -> Self {
        let changed_ms = now.as_millis();
        let beside = beside(name.as_str(), &workflows, changed_ms);
        Self { value: SealedBytes::seal(key, value.expose(), &beside), workflows, changed_ms }
    }

    pub(crate) fn open(&self, key: &Key, name: &str) -> Result<Vec<u8>, ()> {
        self.value.open(key, &beside(name, &self.workflows, self.changed_ms))
    }

    /// The same by another key.
    pub(crate) fn reseal(&self, old: &Key, new: &Key, name: &str) -> Result<Self, ()> {
        let value = Zeroizing::new(self.open(old, name)?);
        let beside = beside(name, &self.workflows, self.changed_ms);
        Ok(Self { value: SealedBytes::seal(new, &value, &beside), ..self.clone() })
    }

    pub(crate) fn is_for(&self, workflow: &WorkflowName) -> bool {
        scope::are_for(&self.workflows, workflow)
    }
}

/// What is bound to a value. Each part says its length, so that no two of them read alike.
fn beside(name: &str, workflows: &[Scope], changed_ms: u64) -> Vec<u8> {
    let scopes = workflows.iter().map(ToString::to_string);
    let parts = [SECRET.to_owned(), name.to_owned(), changed_ms.to_string()].into_iter().chain(scopes);
    parts.flat_map(|part| format!("{}:{part},", part.len()).into_bytes()).collect()
}

/// Writes a file for its owner alone: it is there with all its content, or as it was. Where the path is a link, what it leads
/// to is written.
pub(crate) fn write_whole(path: &Path, content: &[u8]) -> io::Result<()> {
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let mut new = path.clone().into_os_string();
    new.push(".new");
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&new)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&new, &path)?;
    // It is there from now on, whatever comes of this: a power cut alone could still bring back the one before.
    let _ = File::open(parent(&path)).and_then(|folder| folder.sync_all());
    Ok(())
}

/// The folder that a file is in.
pub(crate) fn parent(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}
