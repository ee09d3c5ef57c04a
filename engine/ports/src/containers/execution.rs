//! Commands in a container that runs.

use std::time::Duration;

use yuanli_model::OperationId;

use super::{ContainerId, Exit};

/// A command for a container that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// Who asks. What the command begins has it in its environment, as [`Self::MARK`].
    pub operation: OperationId,
    /// The program with its arguments.
    pub arguments: Vec<String>,
    /// Environment variables beside those of the container.
    pub environment: Vec<(String, String)>,
    /// The folder to start in; the container's own when absent.
    pub working_folder: Option<String>,
    /// User, as `name`, `uid` or `uid:gid`; the container's own when absent.
    pub user: Option<String>,
    /// Whether it is given input.
    pub has_input: bool,
    /// How long it may take.
    pub timeout: Option<Duration>,
}

impl Command {
    /// The environment variable by which processes of a command are found.
    pub const MARK: &str = "YUANLI_EXECUTION";
}

/// A command that was prepared: it is begun at most once, whoever asks.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Execution {
    /// The container that it runs in.
    pub container: ContainerId,
    /// What the engine calls it.
    pub id: String,
}

/// How a command in a container ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Executed {
    /// By itself, or by a signal.
    Ended {
        /// Its exit code; 128 plus the signal's number when a signal ended it.
        code: i64,
        /// Whether all of its output was handed over.
        is_whole: bool,
    },
    /// It took longer than it may, and was killed if that could be done.
    Late,
    /// Its container has ended before it, or with it.
    ContainerEnded(Exit),
    /// It was begun, and how it ended is not known: why, for a person.
    Lost(String),
}
