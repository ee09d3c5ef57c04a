//! Commands in a container that runs.

use super::{Command, Container, Error, Exit};

/// How a command in a container ended.
pub use super::host::Ending as CommandEnding;

/// How much of the output of a command is given that says nothing else, in bytes of each stream.
const OUTPUT_BYTES: u32 = 65_536;

/// A command with its arguments and nothing else: as the container's user, in its folder, with nothing to read.
///
/// ```
/// use yuanli_sdk::containers::{self, Command};
///
/// let schema = Command { user: Some("postgres".into()), ..containers::command(["psql", "-c", "create table t (id int)"]) };
/// assert_eq!(schema.arguments[0], "psql");
/// ```
#[must_use]
pub fn command<T: Into<String>>(arguments: impl IntoIterator<Item = T>) -> Command {
    Command {
        arguments: arguments.into_iter().map(Into::into).collect(),
        environment: Vec::new(),
        working_folder: None,
        user: None,
        input: Vec::new(),
        timeout_ms: None,
        output_bytes: OUTPUT_BYTES,
        options: Vec::new(),
    }
}

/// Runs a command in a container that runs, to its end. Its output is in the log.
///
/// # Errors
/// See [`Error`]: a program that the container does not have, a container that has ended. How the command ended is none.
pub fn execute(container: &Container, command: &Command) -> Result<CommandEnding, Error> {
    container.prepare(command)?.run()
}

/// How a command ended, for a person, after "the command"; `None` where it has done what it was to do.
pub(crate) fn trouble(ending: &CommandEnding) -> Option<String> {
    let exit = |code| Exit { code, out_of_memory: false, duration_ms: 0 };
    Some(match ending {
        CommandEnding::Executed(executed) if executed.code == 0 => return None,
        CommandEnding::Executed(executed) => {
            let said = [&executed.stderr, &executed.stdout];
            let last = said.iter().find_map(|said| said.lines().rev().find(|line| !line.trim().is_empty()));
            let last = last.map(|line| format!(": {}", line.trim())).unwrap_or_default();
            format!("{}{last}", super::ending(&exit(executed.code)))
        }
        CommandEnding::Late => "took longer than it may".to_owned(),
        CommandEnding::ContainerEnded(ended) => {
            format!("was cut off: its container {}", super::ending(ended))
        }
        CommandEnding::Lost(why) | CommandEnding::Other(why) => format!("is lost: {why}"),
    })
}
