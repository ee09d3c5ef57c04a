//! The crate with the real git and real folders. Needs `git`; nothing leaves this machine.

mod folder;
mod git;
mod more;
mod server;
mod support;
