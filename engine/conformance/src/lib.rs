//! Checks components against the contract, in the real component host with a Docker, a clock and servers in memory: what
//! `yuanli plugin test` does, and the tests over `tests/conformance`.
//!
//! - [`Suite::check`] does all of it; start reading there, in `suite.rs`. It gives a [`Report`].
//! - `general/` has what holds for every plugin, whatever it does. [`Case`] is what an author says of his own: a file with a
//!   config, a world, and what is to come of it; `expectation.rs` compares.
//! - `bench.rs` runs attempts in a `world.rs`, which is the same each time: time stands still until somebody sleeps, random
//!   numbers follow from a seed.
//! - `sample.rs` makes configs of schemas, `hostile.rs` spoils them.
//!
//! - `apps.rs`, `backups.rs`, `sources.rs` answer for what an engine has around it, as a case says; `kept.rs` has what
//!   plugins keep, on the engine's own records.

mod apps;
mod backups;
mod bench;
mod case;
mod content;
mod expectation;
mod general;
mod hostile;
mod kept;
mod report;
mod sample;
mod sources;
mod suite;
mod world;

pub use case::{Case, CaseFile, cases_at};
pub use report::{Checked, Kind, Report, Verdict};
pub use suite::{Options, Suite};
