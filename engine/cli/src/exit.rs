//! How the process ends.

use std::process::ExitCode;

use yuanli_server::InvalidConfiguration;

use crate::output::{self, Closed};

/// The exit codes of every command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It did what it was asked.
    Done,
    /// The run, or the check, failed.
    Failed,
    /// It was called wrongly, or the document is wrong.
    Usage,
    /// The engine, or what it depends on, cannot be reached.
    Unreachable,
    /// It was interrupted from outside.
    Interrupted,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Unreachable => 3,
            Exit::Interrupted => 130,
        })
    }
}

/// Something that the user can mend by calling differently.
#[derive(Debug)]
pub(crate) struct Misuse(pub(crate) String);

impl std::fmt::Display for Misuse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Misuse {}

/// Says what went wrong, in one line, and picks the exit code.
pub(crate) fn report(outcome: anyhow::Result<Exit>) -> Exit {
    let error = match outcome {
        Ok(exit) => return exit,
        Err(error) => error,
    };
    if error.is::<Closed>() {
        return Exit::Done;
    }
    output::note(format_args!("error: {error:#}"));
    let is_misuse = error.is::<Misuse>() || error.is::<InvalidConfiguration>();
    if is_misuse { Exit::Usage } else { Exit::Unreachable }
}
