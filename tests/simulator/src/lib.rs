//! An engine in a simulated world that kills it: the real executor, component host and journal, over a store in memory, a
//! fake Docker and a clock that nobody waits for.
//!
//! [`simulate`] is one seed; start reading there. `world.rs` is what outlives an engine, `fault.rs` what goes wrong in a seed,
//! `plan.rs` what it is to do, `engine.rs` one life of an engine, `port/` what stands between it and the world, `check/`
//! what has to be true in the end. Everything follows from the seed: one thread, paused time, no chance but the one of `chance.rs`.

mod chance;
mod check;
mod clock;
mod driver;
mod engine;
mod fault;
mod host;
mod ledger;
mod plan;
mod port;
mod trace;
mod world;

pub use driver::{Report, simulate};
