//! Secrets that people gave the engine of a data directory to keep.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context;
use async_trait::async_trait;
use yuanli_model::{SecretName, Timestamp, WorkflowName};
use yuanli_ports::Secrets;
use yuanli_ports::secrets::{SecretError, SecretValue};
use yuanli_vault::{KeyPlace, Passphrase, Vault, VaultError};

use super::given::GivenSecrets;

/// What they are in, of a data directory, and the key where nothing else is said.
const SEALED: &str = "secrets.json";
const KEY: &str = "secrets.key";
/// A folder of files as they were, of the first version.
const OPEN: &str = "secrets";

/// The file that the key is in.
const KEY_VARIABLE: &str = "YUANLI_SECRETS_KEY";
/// The file that a passphrase is in, of which the key is made.
const PASSPHRASE_VARIABLE: &str = "YUANLI_SECRETS_PASSPHRASE";

/// Where the key to the secrets of a data directory is.
pub(crate) fn key_place(data: &Path) -> anyhow::Result<KeyPlace> {
    let named = |variable| std::env::var_os(variable).filter(|path| !path.is_empty()).map(PathBuf::from);
    match (named(KEY_VARIABLE), named(PASSPHRASE_VARIABLE)) {
        (Some(_), Some(_)) => {
            anyhow::bail!(
                "`{KEY_VARIABLE}` and `{PASSPHRASE_VARIABLE}` are both set: a key is a file or a passphrase"
            )
        }
        (None, Some(path)) => {
            let text = fs::read(&path).with_context(|| format!("the passphrase in `{}`", path.display()))?;
            Ok(KeyPlace::Passphrase(Passphrase::new(text)))
        }
        (named, None) => Ok(KeyPlace::File(named.unwrap_or_else(|| data.join(KEY)))),
    }
}

/// The secrets of a data directory.
pub(crate) fn keep(data: &Path, now: Timestamp) -> anyhow::Result<Vault> {
    let vault = open(data)?;
    seal_open_ones(&vault, &data.join(OPEN), now)
        .with_context(|| format!("sealing the secrets in `{}`", data.join(OPEN).display()))?;
    Ok(vault)
}

fn open(data: &Path) -> anyhow::Result<Vault> {
    let opened = Vault::open(&data.join(SEALED), key_place(data)?);
    opened.map_err(|error| match error {
        VaultError::WrongKey(why) => anyhow::anyhow!(
            "{why}. `{KEY_VARIABLE}` names the file of the key, `{PASSPHRASE_VARIABLE}` one that has a passphrase"
        ),
        error => error.into(),
    })
}

/// The names of those that a workflow may have. What cannot be read is told when it is needed.
pub(crate) fn kept_for(data: &Path, workflow: &WorkflowName) -> BTreeSet<SecretName> {
    let kept = yuanli_vault::kept(&data.join(SEALED)).unwrap_or_default();
    kept.into_iter().filter(|kept| kept.is_for(workflow)).map(|kept| kept.name).collect()
}

/// Seals what an older engine kept in files. Each file goes when it is sealed, so that this can be cut off anywhere.
fn seal_open_ones(vault: &Vault, folder: &Path, now: Timestamp) -> anyhow::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()?.parse::<SecretName>().ok());
        let value = name.as_ref().and_then(|name| SecretValue::new(name, fs::read(&path).ok()?).ok());
        let (Some(name), Some(value)) = (name, value) else {
            tracing::warn!(path = %path.display(), "is no secret and stays as it is");
            continue;
        };
        vault.set(&name, &value, Vec::new(), now)?;
        fs::remove_file(&path)?;
        tracing::info!(secret = %name, "is sealed now");
    }
    match fs::remove_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::DirectoryNotEmpty => Err(error.into()),
        _ => Ok(()),
    }
}

/// Secrets that a run was given, and else those that the data directory keeps.
#[derive(Debug)]
pub(crate) struct GivenOrKept {
    given: GivenSecrets,
    /// Or why they cannot be read: runs that need none of them do not mind.
    kept: Result<Vault, String>,
}

impl GivenOrKept {
    pub(crate) fn new(given: GivenSecrets, data: &Path) -> Self {
        Self { given, kept: open(data).map_err(|error| format!("{error:#}")) }
    }
}

#[async_trait]
impl Secrets for GivenOrKept {
    async fn resolve(&self, name: &SecretName, workflow: &WorkflowName) -> Result<SecretValue, SecretError> {
        let unknown = match self.given.resolve(name, workflow).await {
            Err(SecretError::Unknown(why)) => SecretError::Unknown(why),
            found => return found,
        };
        match &self.kept {
            // What to type here is another thing than where an engine stays.
            Ok(vault) if !vault.has(name) => Err(unknown),
            Ok(vault) => vault.get(name, workflow),
            Err(why) => Err(SecretError::Local(format!("the secret `{name}` was not given, and {why}"))),
        }
    }
}
