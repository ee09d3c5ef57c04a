//! Secrets as files of the data directory, each for its owner only: what the engine made for itself, and what webhooks
//! are signed with and stages are given. `given.rs` has those that one run is given.

mod given;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use async_trait::async_trait;
use yuanli_model::SecretName;
use yuanli_ports::secrets::{SecretError, SecretValue};

pub use given::{GivenSecrets, SecretPlace};

/// Bytes of a secret that the engine makes.
const FRESH_BYTES: usize = 32;

/// The secret in a file, which is made when it is not there.
pub(crate) fn own(path: &Path) -> anyhow::Result<String> {
    let name = path.display();
    match File::open(path) {
        Ok(mut file) => {
            let mode = file.metadata()?.permissions().mode();
            if mode & 0o077 != 0 {
                bail!(
                    "`{name}` can be read by others than its owner: `chmod 600 {name}`, and consider it known"
                );
            }
            let mut text = String::new();
            file.read_to_string(&mut text).with_context(|| format!("`{name}` cannot be read"))?;
            let text = text.trim().to_owned();
            if text.is_empty() {
                bail!("`{name}` is empty");
            }
            Ok(text)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let fresh = fresh()?;
            write(path, fresh.as_bytes()).with_context(|| format!("`{name}` cannot be written"))?;
            Ok(fresh)
        }
        Err(error) => Err(error).with_context(|| format!("`{name}` cannot be read")),
    }
}

fn fresh() -> io::Result<String> {
    let mut bytes = [0; FRESH_BYTES];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Writes a file as a whole: it is there with all its content, or as it was.
fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&new)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

/// What people have given the engine to keep.
#[derive(Debug, Clone)]
pub(crate) struct Secrets {
    folder: PathBuf,
}

impl Secrets {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    pub(crate) fn set(&self, name: &SecretName, value: &str) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        write(&self.folder.join(name.as_str()), value.as_bytes())
    }

    /// `None` when there is none of this name.
    pub(crate) fn get(&self, name: &SecretName) -> io::Result<Option<String>> {
        match fs::read_to_string(self.folder.join(name.as_str())) {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The names, sorted.
    pub(crate) fn names(&self) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut names = Vec::new();
        for entry in entries {
            let name = entry?.file_name().to_string_lossy().into_owned();
            names.extend(name.parse::<SecretName>().is_ok().then_some(name));
        }
        names.sort();
        Ok(names)
    }

    /// Whether there was one.
    pub(crate) fn delete(&self, name: &SecretName) -> io::Result<bool> {
        match fs::remove_file(self.folder.join(name.as_str())) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

#[async_trait]
impl yuanli_ports::Secrets for Secrets {
    async fn resolve(&self, name: &SecretName) -> Result<SecretValue, SecretError> {
        match tokio::fs::read(self.folder.join(name.as_str())).await {
            Ok(bytes) => SecretValue::new(name, bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(SecretError::Unknown(format!(
                "the engine keeps no secret `{name}`: `yuanli secret set {name}` reads it from standard input"
            ))),
            Err(error) => Err(SecretError::Local(format!("the secret `{name}` cannot be read: {error}"))),
        }
    }
}
