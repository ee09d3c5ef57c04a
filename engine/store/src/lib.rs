//! Where an engine keeps what it must not lose.
//!
//! - [`Memory`] and [`Embedded`] implement [`yuanli_ports::Store`]; `tests/contract.rs` holds both to the same promises.
//! - [`FileLogs`] implements [`yuanli_ports::Logs`]: short logs in memory until their attempt ends, long ones in files.
//! - [`DataDirectory`] is the folder around them: made once, owned by one engine at a time.
//!
//! Only this crate knows sled.

mod directory;
mod embedded;
mod log;
mod memory;
mod rules;

pub use directory::{DataDirectory, OpenError};
pub use embedded::Embedded;
pub use log::FileLogs;
pub use memory::Memory;
