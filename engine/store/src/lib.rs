//! Where an engine keeps what it must not lose.
//!
//! - [`Memory`] and [`Embedded`] implement [`yuanli_ports::Store`]; `tests/contract.rs` holds both to the same promises.
//! - [`FileLogs`] implements [`yuanli_ports::Logs`]: short logs in memory until their attempt ends, long ones in files.
//! - [`FileBlobs`] implements [`yuanli_ports::Blobs`]: large values, by digest.
//! - [`FileArchive`] implements [`yuanli_ports::Archive`]: finished runs, packed into segments.
//! - [`DataDirectory`] is the folder around them: made once, owned by one engine at a time.
//!
//! Only this crate knows sled.

mod archive;
mod blob;
mod blocks;
mod check;
mod directory;
pub mod disk;
mod embedded;
mod encode;
mod export;
mod fault;
mod feed;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod held;
mod journal;
mod log;
mod memory;
mod rules;
#[cfg(feature = "simulation")]
pub mod simulation;
mod transfer;
mod truth;
mod upgrade;

pub use archive::FileArchive;
pub use blob::FileBlobs;
pub use check::{Check, Repair, check, repair};
pub use directory::{ContainersMark, DataDirectory, OpenError};
pub use embedded::{Embedded, Measured, Options, index_size};
pub use fault::{Damage, Fault};
pub use log::FileLogs;
pub use memory::Memory;
pub use transfer::{TransferError, Transferred, export_directory, import_directory};
