//! Wires the engine: opens a data directory, puts adapters behind ports, and speaks in the bodies of `api-types`.
//!
//! - [`Engine`] owns a data directory and drives runs; start reading there.
//! - [`Library`] knows plugins and documents and needs no data directory of its own.
//!
//! The HTTP API comes to stand in here; until then the command line calls these directly.

pub mod admin;
mod body;
mod clock;
mod document;
mod engine;
mod file;
mod library;

pub use body::rfc3339;
pub use clock::SystemClock;
pub use document::{Document, Refused, Unread};
pub use engine::{Engine, Locations, Selected, Updates};
pub use library::Library;
pub use yuanli_model::{RunId, printable, printable_line};
