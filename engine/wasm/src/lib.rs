//! The component host: runs attempts of plugins, each in a fresh instance, with the rights that were granted and no
//! more.
//!
//! - [`Host`] implements [`yuanli_ports::Plugins`]; start reading there, in `host.rs`.
//! - `call.rs` is the one way in which a host function is declared and called; `interface/` has one module for each
//!   interface of `wit/`, which declare their functions through it; `journal.rs` is what is around those that are recorded,
//!   and `argument.rs` what they are compared by.
//! - `catalog.rs` knows components by digest; `added.rs` is the store of the plugins that somebody added, `addition.rs`
//!   and `inspection.rs` are what can be done with it and with a component that is nowhere yet.
//! - `pack.rs` writes what a component says of itself into it; `rehearsal.rs` makes attempts repeatable and visible, for
//!   who tries plugins out. `replay.rs` tells an attempt that has ended again what it was told, and does nothing else; `shell.rs`
//!   finds out by it which container it had started.
//! - `component.rs` reads a component's rights from its imports, without compiling it; `cache.rs` keeps compiled
//!   code; `secret.rs` holds the secrets of an attempt, and `mask.rs` takes them out of what is shown; `limits.rs` and
//!   `ticker.rs` bound what a guest uses, `slots.rs` how many run at once; `eviction.rs` takes instances from those that only
//!   wait, and `wait.rs` holds what they wait for.

mod added;
mod addition;
mod annotation;
mod argument;
mod attempt;
mod cache;
mod call;
mod catalog;
mod component;
mod description;
mod eviction;
mod file;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod guest;
mod host;
mod inspection;
mod interface;
mod journal;
mod limits;
mod logline;
mod mask;
mod pack;
mod rehearsal;
mod replay;
mod secret;
mod shell;
mod slots;
mod ticker;
mod wait;
mod wasi;

pub use added::{Outcome, Stocktaking, take_stock};
pub use addition::{Addition, Candidate, Listed};
pub use cache::CompiledCode;
pub use call::{Class, Function, Policy};
pub use catalog::Builtin;
pub use component::{Unusable, inspect};
pub use host::{Host, Options, Outside};
pub use inspection::{Inspection, Reasons, Source};
pub use limits::Limits;
pub use pack::{Packed, Said, claim};
pub use rehearsal::{HostCall, Observer, Rehearsal};
pub use replay::{Ending, Replay, Replayed, Step, Told};
pub use shell::Standing;
pub use slots::Instances;
