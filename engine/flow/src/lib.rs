//! The run of a workflow as pure decisions: no I/O, no clock, no async.
//!
//! [`decide`] looks at the state of a run and a [`Command`] and says which events follow; [`Run::apply`] records an
//! event in the state; [`effects`] says what has to be done in the outside world once events are durable. Conditions
//! and expressions are evaluated by `decide` and written into events, so an old history means the same under a newer
//! engine. [`step`] is the three in the order in which the owner of a run uses them; start reading there.

mod admission;
mod chance;
mod command;
mod create;
mod decide;
mod effect;
mod expand;
mod inner;
mod instance;
mod reuse;
mod run;
mod scope;
mod stage;
mod why;

pub use admission::{Admission, Arrival, Entry, Standing};
pub use command::Command;
pub use create::{Creation, Uncreatable, create};
pub use decide::decide;
pub use effect::{Effect, effects};
pub use inner::outcome_for_stage;
pub use instance::{DEFAULT_PARALLEL, Instances};
pub use reuse::{NotReusable, Wanted, reuse};
pub use run::{Illegal, Run};
pub use stage::{InstanceStatus, StageStatus};
pub use why::{Fact, Told, Unexplained, why};

use yuanli_model::{RunEvent, Timestamp};

/// Decides on a command that is given now and on all that follows from it, and records it in `run`.
///
/// The state is ahead of the store when this returns: its owner shows it to nobody, and throws it away when the
/// events cannot be made durable. Commands that come together are stepped one after the other and committed as one.
///
/// # Errors
/// [`Illegal`] when the command does not fit the state, such as the end of an attempt that is not running; the state
/// is as it was.
pub fn step(run: &mut Run, command: Command, now: Timestamp) -> Result<Vec<RunEvent>, Illegal> {
    let mut events = Vec::new();
    let mut next = Some(command);
    while let Some(command) = next.take() {
        let decided = decide(run, command, now)?;
        for event in &decided {
            run.apply(event)?;
        }
        if !decided.is_empty() {
            next = Some(Command::Advance);
        }
        events.extend(decided);
    }
    Ok(events)
}
