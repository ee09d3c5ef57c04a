//! Secrets that people gave the engine to keep: sealed one by one in a file, by a key that lies elsewhere.
//!
//! Each is sealed with XChaCha20-Poly1305 under a nonce of its own (192 random bits, so that none comes twice), together with
//! its name, the workflows that may have it, and when it was given: none of these can be changed in the file without the
//! key. What the file does not protect against is being put back as it was some time ago, or losing whole entries.
//!
//! The key is in a file, or is made of a passphrase by Argon2id. [`Vault::rotate`] changes either, and can be killed anywhere.

mod file;
mod key;
mod scope;
mod seal;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use yuanli_model::{SecretName, Timestamp, WorkflowName};
use yuanli_ports::secrets::{SecretError, SecretValue, Secrets};

use file::{Entry, Sealed};
use key::{Key, Origin};
pub use key::{KeyPlace, Passphrase};
pub use scope::{InvalidScope, Scope};

/// Why secrets cannot be read or kept.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// A file cannot be read or written.
    #[error("`{}` cannot be {doing}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// What the system says.
        error: std::io::Error,
    },
    /// Nobody but its owner may read a key.
    #[error("`{}` can be read by others than its owner: `chmod 600 {}`, and consider what it seals known", .0.display(), .0.display())]
    Open(PathBuf),
    /// The key is not the one that the secrets were sealed with.
    #[error("{0}")]
    WrongKey(String),
    /// The file is not what was written.
    #[error("{0}")]
    Damaged(String),
}

/// What is kept of a secret beside its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Its name.
    pub name: SecretName,
    /// The workflows that may have it; all, where there are none.
    pub workflows: Vec<Scope>,
    /// When its value was given.
    pub changed: Timestamp,
}

/// The secrets of an engine. Clones share them.
#[derive(Clone)]
pub struct Vault(Arc<Shared>);

struct Shared {
    path: PathBuf,
    state: Mutex<State>,
}

struct State {
    place: KeyPlace,
    /// `None` before the first secret: then there is no file either.
    opened: Option<(Key, Sealed)>,
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vault").field("path", &self.0.path).finish_non_exhaustive()
    }
}

impl Kept {
    /// Whether a workflow may have it.
    #[must_use]
    pub fn is_for(&self, workflow: &WorkflowName) -> bool {
        scope::are_for(&self.workflows, workflow)
    }
}

/// What is kept in a file, which takes no key: only values are sealed. Nothing where there is no file.
///
/// # Errors
/// See [`VaultError`].
pub fn kept(path: &Path) -> Result<Vec<Kept>, VaultError> {
    Sealed::read(path)?.map_or(Ok(Vec::new()), |sealed| sealed.kept(path))
}

impl Vault {
    /// Opens the secrets in a file, which is made with the first one.
    ///
    /// # Errors
    /// See [`VaultError`].
    pub fn open(path: &Path, place: KeyPlace) -> Result<Self, VaultError> {
        let opened = match Sealed::read(path)? {
            Some(sealed) => {
                let key = Key::find(&place, &sealed.key)?;
                sealed.check(&key).map_err(|()| place.refused(path))?;
                Some((key, sealed))
            }
            None => None,
        };
        let state = Mutex::new(State { place, opened });
        Ok(Self(Arc::new(Shared { path: path.to_owned(), state })))
    }

    /// Keeps a secret, in place of one of the same name.
    ///
    /// # Errors
    /// See [`VaultError`].
    pub fn set(
        &self,
        name: &SecretName,
        value: &SecretValue,
        workflows: Vec<Scope>,
        now: Timestamp,
    ) -> Result<(), VaultError> {
        let mut state = self.state();
        let (key, mut sealed) = match &state.opened {
            Some((key, sealed)) => (key.clone(), sealed.clone()),
            None => {
                let (key, origin) = Key::make(&state.place)?;
                let sealed = Sealed::new(origin, &key);
                (key, sealed)
            }
        };
        let entry = Entry::seal(&key, name, value, workflows, now);
        sealed.secrets.insert(name.to_string(), entry);
        sealed.write(&self.0.path)?;
        state.opened = Some((key, sealed));
        Ok(())
    }

    /// The value of a secret for a workflow.
    ///
    /// # Errors
    /// See [`SecretError`].
    pub fn get(&self, name: &SecretName, workflow: &WorkflowName) -> Result<SecretValue, SecretError> {
        let state = self.state();
        let found =
            state.opened.as_ref().and_then(|(key, sealed)| Some((key, sealed.secrets.get(name.as_str())?)));
        let Some((key, entry)) = found else {
            return Err(SecretError::Unknown(format!(
                "the engine keeps no secret `{name}`: `yuanli secret set {name}` reads it from standard input"
            )));
        };
        if !entry.is_for(workflow) {
            return Err(SecretError::Unknown(format!(
                "the secret `{name}` is not for the workflow `{workflow}`: `yuanli secret list` says whom it is for"
            )));
        }
        let bytes = entry.open(key, name.as_str()).map_err(|()| {
            SecretError::Local(format!(
                "the secret `{name}` in `{}` is not what was sealed there: `yuanli secret set {name}` keeps it anew",
                self.0.path.display()
            ))
        })?;
        SecretValue::new(name, bytes)
    }

    /// Whether there is a secret of that name.
    #[must_use]
    pub fn has(&self, name: &SecretName) -> bool {
        self.state().opened.as_ref().is_some_and(|(_, sealed)| sealed.secrets.contains_key(name.as_str()))
    }

    /// All of them by name, without their values.
    ///
    /// # Errors
    /// [`VaultError::Damaged`].
    pub fn list(&self) -> Result<Vec<Kept>, VaultError> {
        let state = self.state();
        state.opened.as_ref().map_or(Ok(Vec::new()), |(_, sealed)| sealed.kept(&self.0.path))
    }

    /// Forgets a secret. Returns whether there was one.
    ///
    /// # Errors
    /// See [`VaultError`].
    pub fn delete(&self, name: &SecretName) -> Result<bool, VaultError> {
        let mut state = self.state();
        let Some((_, sealed)) = &mut state.opened else { return Ok(false) };
        let mut rest = sealed.clone();
        if rest.secrets.remove(name.as_str()).is_none() {
            return Ok(false);
        }
        rest.write(&self.0.path)?;
        *sealed = rest;
        Ok(true)
    }

    /// Seals all of them by a new key: a new one in the key's file, or what is made of this passphrase. Returns how many.
    ///
    /// # Errors
    /// See [`VaultError`]. After one, the old key opens them as before.
    pub fn rotate(&self, place: KeyPlace) -> Result<usize, VaultError> {
        let mut state = self.state();
        let Some((old, sealed)) = &state.opened else {
            state.place = place;
            return Ok(0);
        };
        // The new key is in its file before anything is sealed by it, and the old one until nothing is.
        let (key, origin) = Key::make(&place)?;
        let mut new = Sealed::new(origin, &key);
        for (name, entry) in &sealed.secrets {
            let damaged = |()| {
                let path = self.0.path.display();
                VaultError::Damaged(format!("the secret `{name}` in `{path}` is not what was sealed there"))
            };
            new.secrets.insert(name.clone(), entry.reseal(old, &key, name).map_err(damaged)?);
        }
        new.write(&self.0.path)?;
        let retired = std::mem::replace(&mut state.place, place);
        let count = new.secrets.len();
        let last = state.opened.replace((key, new));
        if let Some((_, Sealed { key: Origin::File { id }, .. })) = last {
            // Left behind it seals nothing; what was sealed anew is.
            let _ = retired.forget(&id);
        }
        Ok(count)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Secrets for Vault {
    async fn resolve(&self, name: &SecretName, workflow: &WorkflowName) -> Result<SecretValue, SecretError> {
        self.get(name, workflow)
    }
}
