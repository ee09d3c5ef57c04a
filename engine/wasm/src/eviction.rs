//! An attempt in and out of its instances.
//!
//! Who waits for something outside can lose its instance, memory and slot together: what it was told is in its journal, and
//! what it waits for goes on without it (`wait.rs`). Once there is an answer it gets another instance, which is told the same
//! again, says nothing meanwhile, and goes on from there. Containers, builds and their lines are the attempt's and not the
//! instance's: they notice nothing.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use wasmtime::Store;
use yuanli_bindings::stage;

use crate::attempt::bound;
use crate::catalog::Code;
use crate::guest::{Guest, Session};
use crate::host::Host;
use crate::interface::log::finish_progress;
use crate::journal::{lock, set_down, take_up};
use crate::slots::Slot;

/// What a call of `run` came to.
pub(crate) type Outcome = wasmtime::Result<Result<String, stage::Failure>>;

impl Host {
    /// Calls `run`, in one instance or in several, one after the other. `None`: it has taken longer than `rest`. Waiting for a
    /// slot does not count.
    pub(crate) async fn carry_out(
        &self,
        session: &Session,
        mut slot: Slot,
        code: &Code,
        rest: Duration,
    ) -> Option<Outcome> {
        let mut until = Instant::now() + rest;
        loop {
            let stayed = timeout_at(until, self.stay(session, slot, code)).await.ok()?;
            if let Some(outcome) = stayed {
                return Some(outcome);
            }
            tracing::debug!(attempt = %session.attempt.id, "it waits without an instance");
            let waited = async {
                set_down(session).await?;
                session.begun.wait.over().await;
                take_up(session).await
            };
            if let Err(broken) = timeout_at(until, waited).await.ok()? {
                return Some(Err(wasmtime::Error::new(broken)));
            }
            let asked = Instant::now();
            slot = session.begun.seat.take_again().await;
            until += asked.elapsed();
        }
    }

    /// Calls `run` in one instance. `None`: it was evicted. Instance and slot are gone when this returns.
    async fn stay(&self, session: &Session, _slot: Slot, code: &Code) -> Option<Outcome> {
        let is_timed = self.rehearsal.as_ref().is_none_or(|rehearsal| rehearsal.is_timed);
        let _awake = is_timed.then(|| self.ticker.keep_awake());
        // Not a part of what is kept while it waits without one.
        let call = Box::pin(self.call(session.guest(), session, code));
        tokio::select! {
            biased;
            outcome = call => Some(outcome),
            () = session.begun.seat.evicted() => None,
        }
    }

    async fn call(&self, guest: Guest, session: &Session, code: &Code) -> Outcome {
        let mut store = Store::new(&self.engine, guest);
        bound(&mut store, session.bounds.cpu.clone());
        let config = session.attempt.config.to_string();
        let instance = code.instance.instantiate_async(&mut store).await?;
        let outcome = instance.call_run(&mut store, &config).await;
        if let Some(state) = &mut store.data_mut().attempt {
            finish_progress(state);
            if matches!(outcome, Ok(Ok(_))) {
                lock(&state.calls).check_end().map_err(wasmtime::Error::new)?;
            }
        }
        outcome
    }
}
