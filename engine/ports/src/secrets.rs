//! What the names of secrets stand for.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use yuanli_model::{SecretName, WorkflowName};
use zeroize::Zeroizing;

/// Largest value, in bytes. A key, a certificate with its chain or the settings of a cluster fit; in every form that is
/// masked it is shorter than a piece of a line that the log is given (64 KiB), so that no piece is all inside of it.
pub const MAX_SECRET_BYTES: usize = 16 * 1024;

/// The value of a secret. Cleared from memory with its last clone, and shown by nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretValue(Arc<Zeroizing<Vec<u8>>>);

/// Why there is no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// Nobody keeps a secret of that name; says where it would have to be.
    #[error("{0}")]
    Unknown(String),
    /// What is kept there can be no secret: it is empty, or too long.
    #[error("{0}")]
    Invalid(String),
    /// This machine failed.
    #[error("{0}")]
    Local(String),
}

/// Resolves names of secrets.
#[async_trait]
pub trait Secrets: Send + Sync + fmt::Debug {
    /// The value of a secret now, for a run of a workflow.
    ///
    /// # Errors
    /// See [`SecretError`].
    async fn resolve(&self, name: &SecretName, workflow: &WorkflowName) -> Result<SecretValue, SecretError>;
}

/// Secrets of nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoSecrets;

#[async_trait]
impl Secrets for NoSecrets {
    async fn resolve(&self, name: &SecretName, _: &WorkflowName) -> Result<SecretValue, SecretError> {
        Err(SecretError::Unknown(format!("nobody keeps a secret `{name}`")))
    }
}

impl SecretValue {
    /// The value of the secret of that name.
    ///
    /// # Errors
    /// [`SecretError::Invalid`].
    pub fn new(name: &SecretName, bytes: Vec<u8>) -> Result<Self, SecretError> {
        // Before anything is said of it: what is refused is cleared as well.
        let bytes = Zeroizing::new(bytes);
        match bytes.len() {
            0 => Err(SecretError::Invalid(format!("the secret `{name}` is empty"))),
            1..=MAX_SECRET_BYTES => Ok(Self(Arc::new(bytes))),
            more => Err(SecretError::Invalid(format!(
                "the secret `{name}` has {more} bytes; at most {MAX_SECRET_BYTES} are allowed"
            ))),
        }
    }

    /// The value. Whoever asks puts it where it is needed, and nowhere else.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
