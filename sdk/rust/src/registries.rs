//! Registries of container images.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::failure::Failure;
use crate::host::registries as host;
use crate::secrets::{self, Handle, Secret};

pub use host::{Error, Published, Pulled, Throttling};

/// Who to be at a registry, as a config says it: `{ username: ci, password: ${{ inputs.token }} }`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LoginConfig {
    /// The user's name.
    pub username: String,
    /// The password, or a token that stands for it.
    pub password: Handle,
}

/// Who to be at a registry, or another server.
#[derive(Debug)]
pub struct Login {
    username: String,
    password: Secret,
}

impl LoginConfig {
    /// The same with the secret that the handle stands for.
    ///
    /// # Errors
    /// See [`secrets::Error`].
    pub fn get(&self) -> Result<Login, secrets::Error> {
        Ok(Login { username: self.username.clone(), password: self.password.get()? })
    }
}

/// When an image is fetched before a container of it is started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Pull {
    /// When the engine has none of that name.
    #[default]
    Missing,
    /// Each time, so that a tag stands for what the registry has; layers that are there are not fetched again.
    Always,
    /// Never: it has to be there.
    Never,
}

/// Sees to it that the engine has an image. Without a login it is fetched as whoever the engine's user is at the registry.
///
/// # Errors
/// Why it cannot be had. [`Pull::Never`] asks nothing, and fails nothing.
pub fn ensure(image: &str, pull: Pull, login: Option<&LoginConfig>) -> Result<(), Failure> {
    let (options, why): (&[(String, String)], _) = match pull {
        Pull::Never => return Ok(()),
        Pull::Missing => (&[("when".to_owned(), "missing".to_owned())], "is not on the engine"),
        Pull::Always => (&[], "is to be fetched each time"),
    };
    let login = login.map(LoginConfig::get).transpose()?;
    let (username, password) = parts(login.as_ref());
    match host::pull(image, username, password, options) {
        Ok(pulled) if pulled.is_new => crate::log::info(format!("fetched {image}")),
        Ok(_) => {}
        Err(error) => {
            let mut failure = Failure::from(error);
            failure.message = format!("image `{image}` {why}: {}", failure.message);
            return Err(failure);
        }
    }
    Ok(())
}

/// Pushes an image of the engine under its name. Without a login, as whoever the engine's user is at the registry.
///
/// # Errors
/// See [`Error`].
pub fn push(image: &str, login: Option<&Login>) -> Result<Published, Error> {
    let (username, password) = parts(login);
    host::push(image, username, password, &[])
}

/// Pushes an image of the engine, by name or id, under another name, which it has for as long as that takes.
///
/// # Errors
/// See [`Error`].
pub fn push_as(image: &str, name: &str, login: Option<&Login>) -> Result<Published, Error> {
    let (username, password) = parts(login);
    host::push(name, username, password, &[("image".to_owned(), image.to_owned())])
}

/// Fetches an image.
///
/// # Errors
/// See [`Error`].
pub fn pull(image: &str, login: Option<&Login>) -> Result<Pulled, Error> {
    let (username, password) = parts(login);
    host::pull(image, username, password, &[])
}

/// Fetches an image for a platform, such as `linux/arm64`.
///
/// # Errors
/// See [`Error`].
pub fn pull_for(platform: &str, image: &str, login: Option<&Login>) -> Result<Pulled, Error> {
    let (username, password) = parts(login);
    host::pull(image, username, password, &[("platform".to_owned(), platform.to_owned())])
}

/// The image that a name stands for at its registry.
///
/// # Errors
/// See [`Error`].
pub fn find(image: &str, login: Option<&Login>) -> Result<Published, Error> {
    let (username, password) = parts(login);
    host::find(image, username, password, &[])
}

fn parts(login: Option<&Login>) -> (Option<&str>, Option<&Secret>) {
    login.map(Login::parts).unzip()
}

impl Login {
    /// As the host takes it.
    pub(crate) fn parts(&self) -> (&str, &Secret) {
        (&self.username, &self.password)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Unreachable(message) => Self::transient("unreachable", message),
            Error::NotFound(message) => Self::permanent("not-found", message),
            Error::Denied(message) => Self::permanent("denied", message),
            Error::Throttled(Throttling { message, retry_after_ms }) => {
                Self::throttled("throttled", message, retry_after_ms.map(Duration::from_millis))
            }
            Error::Invalid(message) => Self::permanent("invalid-image", message),
            Error::Failed(message) => Self::transient("registry", message),
            Error::Other(message) => Self::permanent("registries", message),
        }
    }
}
