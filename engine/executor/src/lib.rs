//! Drives runs: asks `flow` what follows, makes it durable, then does it.
//!
//! [`Executor`] is the handle; start reading there. `owner.rs` is the task that owns an active run, `attempt.rs`
//! what it starts for each attempt, `child.rs` for each that runs a workflow, `follower.rs` how others watch, `keeper/`
//! what becomes of ended runs, `retry.rs` how runs take over from others, `patience.rs` what becomes of them while the store takes nothing, `record/` how all of it is stored, `records/` what plugins keep.
//!
//! Invariants: nothing outside sees an event before it is durable; a run has one owner; what arrives together is one
//! commit; effects follow from new events only.

mod admission;
mod attempt;
mod blobs;
mod cache;
mod check;
mod child;
mod executor;
mod figures;
mod follower;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod history;
mod keeper;
mod owner;
mod patience;
mod point;
mod position;
mod record;
mod records;
mod recovery;
mod retry;
mod submission;
mod task;

pub use admission::HeldGroups;
pub use cache::{CachedStages, Foreseen, Prospect};
pub use check::Check;
pub use executor::{Error, Executor, Options, Ports};
pub use figures::{Measured, Waiting};
pub use follower::{Follower, Update};
pub use history::{History, Recorded, Summary};
pub use keeper::{Retention, WorkspaceBounds};
pub use position::{InvalidPosition, Position};
pub use record::Broken;
pub use records::{
    Amounts, Call, Event, JournalBounds, Journals, KeptCalls, KeptEvent, Records, RunArtifact, StateOwner,
    StateScope,
};
pub use recovery::{Left, LeftWorkflow};
pub use retry::Retry;
pub use submission::{Definition, Definitions, Manner, Started, Submission};
