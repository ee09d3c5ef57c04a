//! Whether a container is ready for those that need it.

use super::Exit;

/// What tells that a container is ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// This command, run in it, ends with code 0.
    Command(Vec<String>),
    /// Something listens at this TCP port, not at its loopback alone.
    Tcp(u16),
    /// A GET of the path at the port is answered with a status of 200 to 399.
    Http {
        /// The port.
        port: u16,
        /// Begins with `/`.
        path: String,
    },
}

/// What a probe has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probed {
    /// It is ready.
    Ready,
    /// It is not, and why, in a few words for a person.
    NotYet(String),
    /// It has ended.
    Ended(Exit),
}
