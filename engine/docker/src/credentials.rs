//! Who the engine is at a registry.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::Path;

use bollard::auth::DockerCredentials;
use docker_credential::{CredentialRetrievalError as Missing, DockerCredential};
use yuanli_ports::registries::{Login, RegistryError};
use yuanli_ports::secrets::SecretValue;

use crate::reference::DOCKER_HUB;

/// How Docker Hub is called in the settings of the `docker` program.
const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";

/// Who is asking, without a value that could be shown.
pub(crate) enum Credentials {
    /// Somebody who was named, with the password.
    Named(String, SecretValue),
    /// Whoever the user of the engine is there, by the settings of the `docker` program.
    OfUser(DockerCredential),
    /// Nobody; where that is not for want of settings, for this reason.
    Nobody(Option<String>),
}

/// Who is to ask at a registry.
pub(crate) async fn of(
    login: Option<&Login>,
    settings: Option<&Path>,
    host: &str,
) -> Result<Credentials, RegistryError> {
    if let Some(Login { username, password }) = login {
        return Ok(Credentials::Named(username.clone(), password.clone()));
    }
    let Some(path) = settings.map(|folder| folder.join("config.json")) else {
        return Ok(Credentials::Nobody(None));
    };
    let key = if host == DOCKER_HUB { DOCKER_HUB_KEY } else { host }.to_owned();
    // Reads a file, and may run a program that asks a key ring.
    let found = tokio::task::spawn_blocking(move || in_file(&path, &key)).await;
    found.map_err(|panic| RegistryError::Failed(format!("reading the logins of Docker: {panic}")))
}

fn in_file(path: &Path, key: &str) -> Credentials {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Credentials::Nobody(None),
        Err(error) => {
            return Credentials::Nobody(Some(format!("{} cannot be read: {error}", path.display())));
        }
    };
    match docker_credential::get_credential_from_reader(BufReader::new(file), key) {
        Ok(credential) => Credentials::OfUser(credential),
        Err(Missing::NoCredentialConfigured) => Credentials::Nobody(None),
        // What a helper printed may have a password in it.
        Err(Missing::HelperFailure { helper, .. }) => {
            Credentials::Nobody(Some(format!("the credential helper `{helper}` failed")))
        }
        Err(error) => Credentials::Nobody(Some(format!("{}: {error}", path.display()))),
    }
}

impl Credentials {
    /// As Docker takes them.
    pub(crate) fn for_docker(&self, host: &str) -> DockerCredentials {
        let nobody =
            DockerCredentials { serveraddress: Some(host.to_owned()), ..DockerCredentials::default() };
        let named = |username: String, password: String| DockerCredentials {
            username: Some(username),
            password: Some(password),
            ..nobody.clone()
        };
        match self {
            Self::Named(username, password) => {
                named(username.clone(), String::from_utf8_lossy(password.expose()).into_owned())
            }
            Self::OfUser(DockerCredential::UsernamePassword(username, password)) => {
                named(username.clone(), password.clone())
            }
            Self::OfUser(DockerCredential::IdentityToken(token)) => {
                DockerCredentials { identitytoken: Some(token.clone()), ..nobody }
            }
            Self::Nobody(_) => nobody,
        }
    }

    /// A text of the registry, which may repeat what it was sent, without what proves who asks. Those that a stage named are
    /// masked with all that it writes.
    pub(crate) fn hidden(&self, text: &str) -> String {
        match self {
            Self::OfUser(
                DockerCredential::UsernamePassword(_, secret) | DockerCredential::IdentityToken(secret),
            ) if !secret.is_empty() => text.replace(secret.as_str(), "***"),
            _ => text.to_owned(),
        }
    }

    /// What to say of them where a registry refuses.
    pub(crate) fn in_words(&self, host: &str) -> String {
        match self {
            Self::Named(username, _) => format!(" (as `{username}`)"),
            Self::OfUser(DockerCredential::UsernamePassword(username, _)) => {
                format!(" (as `{username}`, by the settings of the docker program)")
            }
            Self::OfUser(DockerCredential::IdentityToken(_)) => {
                " (with a token from the settings of the docker program)".to_owned()
            }
            Self::Nobody(None) => {
                format!(
                    " (as nobody: give a user and a secret, or use `docker login {host}` as the engine's user)"
                )
            }
            Self::Nobody(Some(reason)) => format!(" (as nobody: {reason})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_is_told_without_what_proves_it() {
        let user =
            Credentials::OfUser(DockerCredential::UsernamePassword("ci".to_owned(), "s3cret".to_owned()));
        assert_eq!(user.in_words("r"), " (as `ci`, by the settings of the docker program)");
        assert_eq!(user.for_docker("r").password.as_deref(), Some("s3cret"));
        assert_eq!(user.hidden("you said s3cret"), "you said ***");
        let token = Credentials::OfUser(DockerCredential::IdentityToken("t0ken".to_owned()));
        assert!(!token.in_words("r").contains("t0ken"));
        assert_eq!(token.for_docker("r").identitytoken.as_deref(), Some("t0ken"));
        let nobody = Credentials::Nobody(None);
        assert!(nobody.in_words("r.example.com").contains("docker login r.example.com"));
        assert_eq!(nobody.for_docker("r").serveraddress.as_deref(), Some("r"));
    }
}
