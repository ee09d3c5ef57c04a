//! Tests of workflows: runs of the executor, in memory and on a clock of their own, whose stages do what a case says.
//!
//! [`try_out`] is one case: `world.rs` is what the executor reaches, `clock.rs` its clock, `plugins.rs` what stages do,
//! `conduct.rs` the run with the people who answer and cancel, `runs.rs` it and those that its stages start as they go on, `observed.rs` what came of it, `compare.rs` what of that is not
//! as expected. A stage whose plugin reaches nothing outside runs for real; what reaches anything is never run.

mod clock;
mod compare;
mod conduct;
mod observed;
mod plugins;
mod runs;
mod world;

pub use compare::not_started;
pub use conduct::{Error, Subject, Tried, try_out};
