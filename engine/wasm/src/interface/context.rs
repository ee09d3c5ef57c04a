//! `yuanli:context`: which attempt this is.

use wasmtime::component::Linker;
use yuanli_bindings::context::Attempt;

use crate::call::{Function, Interface};
use crate::guest::{Guest, State};

pub(super) fn link(linker: &mut Linker<Guest>, declared: &mut Vec<Function>) -> wasmtime::Result<()> {
    Interface::open(linker, "yuanli:context/context@0.1.0", declared)?
        .silent("current", |state: &mut State, (): ()| (current(state),))?
        .silent("deadline", |state: &mut State, (): ()| (deadline(state),))?
        .read_now("is-cancelled", |state: &mut State, (): ()| (state.attempt.cancel.is_cancelled(),))?
        .silent("effect-key", |state: &mut State, (): ()| (state.next_operation().to_string(),))?;
    Ok(())
}

fn current(state: &State) -> Attempt {
    let id = &state.attempt.id;
    Attempt {
        run: id.run.to_string(),
        workflow: state.attempt.workflow.to_string(),
        stage: id.stage.to_string(),
        instance: id.instance,
        attempt: id.attempt,
    }
}

fn deadline(state: &State) -> u64 {
    let timeout = u64::try_from(state.attempt.timeout.as_millis()).unwrap_or(u64::MAX);
    state.attempt.started.as_millis().saturating_add(timeout)
}
