//! `yuanli:clock`: the time, and waiting.

use std::time::Duration;

use futures::FutureExt;
use wasmtime::component::Linker;

use crate::call::{Answer, Class, Function, Interface};
use crate::guest::{Guest, State};

pub(super) fn link(linker: &mut Linker<Guest>, declared: &mut Vec<Function>) -> wasmtime::Result<()> {
    Interface::open(linker, "yuanli:clock/clock@0.1.0", declared)?
        .call("now", Class::Read, |state: &mut State, (): ()| (state.outside.clock.now().as_millis(),))?
        .call_async("sleep", Class::Read, sleep)?;
    Ok(())
}

fn sleep(state: &mut State, (duration_ms,): (u64,)) -> Answer<'_, ()> {
    async move {
        let clock = &state.outside.clock;
        let until = clock.now().after(Duration::from_millis(duration_ms));
        tokio::select! {
            () = clock.wait_until(until) => {}
            () = state.attempt.cancel.cancelled() => {}
        }
    }
    .boxed()
}
