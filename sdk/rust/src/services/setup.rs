//! What is done in a service once it is ready.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::containers::{self, Command, Container, Variable};
use crate::failure::Failure;
use crate::timespan::Timespan;

/// A command that is run in a service.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum Setup {
    /// The program with its arguments.
    Short(Vec<String>),
    /// The same, with more to say.
    Long(Long),
}

/// A command with what it needs.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Long {
    /// The program with its arguments.
    exec: Vec<String>,
    /// A file of the workspace that it reads from its standard input, such as `db/schema.sql`; at most 16 MiB.
    input: Option<String>,
    /// Environment variables beside those of the service: texts, or secrets.
    #[serde(default)]
    env: BTreeMap<String, Variable>,
    /// `name`, `uid` or `uid:gid`; that of the service when absent.
    user: Option<String>,
    /// The folder to start in; that of the service when absent.
    folder: Option<String>,
    /// How long it may take.
    #[serde(default = "timeout")]
    timeout: Timespan,
}

fn timeout() -> Timespan {
    Timespan::minutes(1)
}

impl Setup {
    /// Runs it in the service of this name.
    pub(super) fn run(&self, service: &str, container: &Container) -> Result<(), Failure> {
        let command = self.command();
        let program = command.arguments.first().map_or("", String::as_str);
        crate::log::info(format!("service `{service}` is set up by `{program}`"));
        let ending = containers::execute(container, &command).map_err(|error| {
            let mut failure = Failure::from(error);
            failure.message = format!("service `{service}`: {}", failure.message);
            failure
        })?;
        let Some(trouble) = containers::trouble(&ending) else { return Ok(()) };
        let message = format!("service `{service}` could not be set up: `{program}` {trouble}");
        Err(match &ending {
            // Another attempt begins with a service of its own, whatever was done in this one.
            containers::CommandEnding::Lost(_) => Failure::transient("service-not-set-up", message),
            containers::CommandEnding::ContainerEnded(_) => Failure::permanent("service-ended", message),
            _ => Failure::permanent("service-not-set-up", message),
        })
    }

    fn command(&self) -> Command {
        let more = match self {
            Self::Short(arguments) => {
                return Command {
                    timeout_ms: Some(timeout().as_millis()),
                    ..containers::command(arguments.clone())
                };
            }
            Self::Long(more) => more,
        };
        let mut command = Command {
            user: more.user.clone(),
            working_folder: more.folder.clone(),
            timeout_ms: Some(more.timeout.as_millis()),
            ..containers::command(more.exec.clone())
        };
        command.options.extend(more.input.clone().map(|path| ("input-file".to_owned(), path)));
        containers::add_variables((&mut command.environment, &mut command.options), more.env.clone());
        command
    }
}
