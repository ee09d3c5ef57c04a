//! Registries of container images.

use std::time::Duration;

use async_trait::async_trait;

use crate::Cancellation;
use crate::images::ContainerError;
use crate::secrets::SecretValue;

/// Who somebody is at a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// The user's name.
    pub username: String,
    /// The password, or a token that stands for it.
    pub password: SecretValue,
}

/// What is pushed where, and as whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Push<'a> {
    /// The name that it gets at the registry.
    pub name: &'a str,
    /// The image of the engine, by name or id, which has the name for as long as it is pushed; the one that has it when absent.
    pub image: Option<&'a str>,
    /// Who to be; without it whoever the engine's user is at the registry.
    pub login: Option<&'a Login>,
}

/// An image that has come from a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    /// The engine's own id: `sha256:…` of the image's configuration.
    pub id: String,
    /// The digest of its manifest at the registry.
    pub digest: Option<String>,
    /// Whether anything had to be fetched.
    pub is_new: bool,
}

/// Why a registry did not do what was asked. Messages say what, where and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    /// The container engine or the registry cannot be reached, or the connection broke.
    #[error("{0}")]
    Unreachable(String),
    /// There is no such image: on the engine to push, at the registry to pull.
    #[error("{0}")]
    NotFound(String),
    /// The registry does not let this user do it.
    #[error("{0}")]
    Denied(String),
    /// The registry has had too many requests.
    #[error("{message}")]
    Throttled {
        /// What it said.
        message: String,
        /// When it may be asked again, where it said so.
        after: Option<Duration>,
    },
    /// The request is wrong and will stay so.
    #[error("{0}")]
    Invalid(String),
    /// The engine or the registry failed.
    #[error("{0}")]
    Failed(String),
    /// It was asked to stop.
    #[error("cancelled")]
    Cancelled,
}

impl From<ContainerError> for RegistryError {
    fn from(error: ContainerError) -> Self {
        match error {
            ContainerError::Unreachable(message) => Self::Unreachable(message),
            ContainerError::NotFound(message) => Self::NotFound(message),
            ContainerError::Invalid(message) | ContainerError::BuildFailed { message, .. } => {
                Self::Invalid(message)
            }
            ContainerError::Engine(message) => Self::Failed(message),
            ContainerError::Cancelled => Self::Cancelled,
        }
    }
}

/// Pushes and pulls images. Without a login, whoever the engine's user is at the registry.
#[async_trait]
pub trait Registries: Send + Sync + std::fmt::Debug {
    /// Pushes an image and returns the digest of its manifest. Lines for people go to `progress`. Pushes under one name with
    /// an image of their own wait for each other; a name that was lent goes back, whatever comes of it.
    ///
    /// # Errors
    /// See [`RegistryError`].
    async fn push(
        &self,
        push: Push<'_>,
        progress: &(dyn Fn(String) + Send + Sync),
        cancel: &Cancellation,
    ) -> Result<String, RegistryError>;

    /// Fetches an image, of this platform or of the engine's.
    ///
    /// # Errors
    /// See [`RegistryError`].
    async fn pull(
        &self,
        image: &str,
        platform: Option<&str>,
        login: Option<&Login>,
        progress: &(dyn Fn(String) + Send + Sync),
        cancel: &Cancellation,
    ) -> Result<Pulled, RegistryError>;

    /// The digest of the manifest that a name stands for at its registry.
    ///
    /// # Errors
    /// See [`RegistryError`].
    async fn find(&self, image: &str, login: Option<&Login>) -> Result<String, RegistryError>;
}
