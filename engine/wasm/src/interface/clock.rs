//! `yuanli:clock`: the time, and waiting.

use std::time::Duration;

use futures::FutureExt;
use wasmtime::component::Linker;

use crate::call::{Answer, Function, Interface};
use crate::guest::{Guest, State};

/// From how many milliseconds on that somebody waits is recorded: a commit is cheap beside it.
const FAR_MS: u64 = 1_000;

pub(super) fn link(linker: &mut Linker<Guest>, declared: &mut Vec<Function>) -> wasmtime::Result<()> {
    Interface::open(linker, "yuanli:clock/clock@0.1.0", declared)?
        .read_now("now", |state: &mut State, (): ()| (state.outside.clock.now().as_millis(),))?
        .wait("sleep", |(duration_ms,): &(u64,)| *duration_ms >= FAR_MS, sleep)?;
    Ok(())
}

fn sleep(state: &mut State, (duration_ms,): (u64,)) -> Answer<'_, ()> {
    async move {
        let clock = &state.outside.clock;
        let until = state.since.after(Duration::from_millis(duration_ms));
        tokio::select! {
            biased;
            () = clock.wait_until(until) => {}
            () = state.attempt.cancel.cancelled() => {}
        }
    }
    .boxed()
}
