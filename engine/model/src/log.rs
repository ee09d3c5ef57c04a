//! One line of an attempt's log.

use crate::Timestamp;

/// How important a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// For whoever debugs the plugin.
    Debug,
    /// What happens.
    Info,
    /// Something looks wrong, the stage goes on.
    Warn,
    /// The reason why the stage will fail.
    Error,
}

/// Where a line comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stream {
    /// The plugin itself, through the `log` interface.
    Plugin,
    /// Standard output of a container or of the guest.
    Stdout,
    /// Standard error of a container or of the guest.
    Stderr,
    /// The output of an image build.
    Build,
    /// The engine, about the attempt.
    Engine,
}

/// One line of an attempt's log, without its line end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// When the engine got it.
    pub at: Timestamp,
    /// Where it comes from.
    pub stream: Stream,
    /// How important it is; lines of containers are [`Level::Info`].
    pub level: Level,
    /// The text, invalid UTF-8 replaced.
    pub text: String,
    /// Key and value pairs that a plugin gave with the line.
    pub fields: Vec<(String, String)>,
}
