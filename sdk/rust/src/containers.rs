//! Containers that run to their end.

mod ending;
mod execution;
mod form;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::failure::Failure;
use crate::host::containers as host;
use crate::secrets::Handle;

pub use ending::{Ending, ending};
pub(crate) use execution::trouble;
pub use execution::{CommandEnding, command, execute};
pub use form::Form;
pub use host::{
    Command, Container, Error, Executed, Execution, Exit, Probe, Readiness, Request, WorkspaceMount,
};

/// Creates and starts a container; several may run at once.
///
/// # Errors
/// See [`Error`].
pub fn start(request: &Request) -> Result<Container, Error> {
    host::start(request)
}

/// Waits until one of these has ended, and gives its place: the first, where several have.
///
/// # Errors
/// See [`Error`].
pub fn wait_any(containers: &[&Container]) -> Result<usize, Error> {
    host::wait_any(containers).map(|place| place as usize)
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
    add_variables((&mut request.environment, &mut request.options), variables);
    request
}

/// Keys and values.
type Pairs = Vec<(String, String)>;

/// Adds environment variables to those of a container or a command, and secrets to its options.
pub(crate) fn add_variables(
    (environment, options): (&mut Pairs, &mut Pairs),
    variables: impl IntoIterator<Item = (String, Variable)>,
) {
    for (name, value) in variables {
        match value {
            Variable::Text(text) => environment.push((name, text)),
            Variable::Secret(Handle { secret }) => {
                options.push(("secret-variable".to_owned(), format!("{name}={secret}")));
            }
        }
    }
}

/// What a container is to have beyond an ordinary one. Folders of the machine, its network and all its rights have to be
/// granted for themselves.
///
/// ```
/// use yuanli_sdk::containers::{self, Access, Extras};
///
/// let extras = Extras::default().volume("cache-cargo", "/usr/local/cargo/registry", Access::Write).mount("/srv/data", "/data", Access::Read);
/// let request = extras.of(containers::request("rust:1", vec!["cargo".into(), "test".into()]));
/// assert_eq!(request.options[1], ("mount".to_owned(), "/srv/data:/data:ro".to_owned()));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extras {
    options: Vec<(String, String)>,
}

/// What a container may do with what is mounted in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Read it.
    Read,
    /// Read and write it.
    Write,
}

impl Extras {
    /// With a volume, which has to be there, at an absolute path.
    #[must_use]
    pub fn volume(self, name: &str, target: &str, access: Access) -> Self {
        self.with("volume", mounted(name, target, access))
    }

    /// With a folder or file of the machine at an absolute path.
    #[must_use]
    pub fn mount(self, path: &str, target: &str, access: Access) -> Self {
        self.with("mount", mounted(path, target, access))
    }

    /// In the network of the machine.
    #[must_use]
    pub fn host_network(self) -> Self {
        self.with("network", "host".to_owned())
    }

    /// With all rights on the machine.
    #[must_use]
    pub fn privileged(self) -> Self {
        self.with("privileged", "true".to_owned())
    }

    /// In the network of the attempt, under this name, which its lines in the log begin with.
    #[must_use]
    pub fn service(self, name: &str) -> Self {
        self.with("service", name.to_owned())
    }

    /// In the network of the attempt, where it reaches services.
    #[must_use]
    pub fn attempt_network(self) -> Self {
        self.with("network", "attempt".to_owned())
    }

    /// The request with these beside what it has.
    #[must_use]
    pub fn of(self, mut request: Request) -> Request {
        request.options.extend(self.options);
        request
    }

    fn with(mut self, key: &str, value: String) -> Self {
        self.options.push((key.to_owned(), value));
        self
    }
}

fn mounted(what: &str, target: &str, access: Access) -> String {
    format!("{what}:{target}:{}", if access == Access::Read { "ro" } else { "rw" })
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
