//! `yuanli:clock`: the time, and waiting.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use wasmtime::component::Linker;

use crate::call::{Function, Interface};
use crate::guest::{Guest, State};
use crate::wait::Waiting;

/// From how many milliseconds on that somebody waits is recorded: a commit is cheap beside it.
const FAR_MS: u64 = 1_000;

pub(super) fn link(linker: &mut Linker<Guest>, declared: &mut Vec<Function>) -> wasmtime::Result<()> {
    Interface::open(linker, "yuanli:clock/clock@0.1.0", declared)?
        .read_now("now", |state: &mut State, (): ()| (state.outside.clock.now().as_millis(),))?
        .waits_until("sleep", |(duration_ms,): &(u64,)| *duration_ms >= FAR_MS, sleep)?;
    Ok(())
}

fn sleep(state: &mut State, (duration_ms,): (u64,)) -> Waiting<()> {
    let (clock, cancel) = (Arc::clone(&state.outside.clock), state.attempt.cancel.clone());
    let until = state.since.after(Duration::from_millis(duration_ms));
    async move {
        tokio::select! {
            biased;
            () = clock.wait_until(until) => {}
            () = cancel.cancelled() => {}
        }
    }
    .boxed()
}
