//! Secrets by name; [`reveal`] gives their values to plugins that have the right to see them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::host::secrets as host;
use crate::host::secrets_reveal as reveal_host;

pub use host::{Error, Secret};
pub use reveal_host::Error as RevealError;

/// What a config has where a secret was given to the stage: `{"secret": "NAME"}`. A field of this type takes
/// `${{ inputs.NAME }}` of an input of type `secret`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Handle {
    /// The name of the secret.
    pub secret: String,
}

impl Handle {
    /// The secret that it stands for.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn get(&self) -> Result<Secret, Error> {
        get(&self.secret)
    }
}

/// The secret of that name, which has to be in the stage's config.
///
/// # Errors
/// See [`Error`].
pub fn get(name: &str) -> Result<Secret, Error> {
    host::get(name)
}

/// The value of a secret. Calling this makes the plugin ask for the right `secrets-reveal`.
///
/// # Errors
/// See [`RevealError`].
pub fn reveal(secret: &Secret) -> Result<Vec<u8>, RevealError> {
    reveal_host::reveal(secret)
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Denied(message) => Self::permanent("denied", message),
            Error::NotFound(message) => Self::permanent("not-found", message),
            Error::Unavailable(message) => Self::transient("unavailable", message),
            Error::Other(message) => Self::permanent("secrets", message),
        }
    }
}

impl From<RevealError> for Failure {
    fn from(error: RevealError) -> Self {
        match error {
            RevealError::NotFound(message) => Self::permanent("not-found", message),
            RevealError::Unavailable(message) => Self::transient("unavailable", message),
            RevealError::Other(message) => Self::permanent("secrets-reveal", message),
        }
    }
}
