//! Containers that run to their end.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::failure::Failure;
use crate::host::containers as host;
use crate::secrets::Handle;

pub use host::{Container, Error, Exit, Request, WorkspaceMount};

/// Creates and starts a container; several may run at once.
///
/// # Errors
/// See [`Error`].
pub fn start(request: &Request) -> Result<Container, Error> {
    host::start(request)
}

/// The value of an environment variable, as a config has it: a text, or the handle of a secret.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Variable {
    /// A text.
    Text(String),
    /// A secret, whose value the container sees and the stage does not.
    Secret(Handle),
}

/// The request with these environment variables beside those that it has.
#[must_use]
pub fn with_variables(
    mut request: Request,
    variables: impl IntoIterator<Item = (String, Variable)>,
) -> Request {
    for (name, value) in variables {
        match value {
            Variable::Text(text) => request.environment.push((name, text)),
            Variable::Secret(Handle { secret }) => {
                request.options.push(("secret-variable".to_owned(), format!("{name}={secret}")));
            }
        }
    }
    request
}

/// A request with an image, a command and nothing else: no network, no workspace, no limits.
#[must_use]
pub fn request(image: &str, command: Vec<String>) -> Request {
    Request {
        image: image.to_owned(),
        command,
        entrypoint: None,
        environment: Vec::new(),
        working_folder: None,
        user: None,
        workspace: None,
        network: false,
        memory_bytes: None,
        cpu_millis: None,
        options: Vec::new(),
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Unreachable(message) => Self::transient("unreachable", message),
            Error::NotFound(message) => Self::permanent("not-found", message),
            Error::Invalid(message) => Self::permanent("invalid-container", message),
            Error::Engine(message) => Self::transient("engine", message),
            Error::Other(message) => Self::permanent("containers", message),
        }
    }
}
