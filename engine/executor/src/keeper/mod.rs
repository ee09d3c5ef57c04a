//! What becomes of runs that have ended: they move to the archive, and in time they are removed.
//!
//! One task, in small steps, each of which is a commit of its own and leaves everything as it should be; what a crash
//! interrupts is taken up again by the next engine. `archiving.rs` moves, `retention.rs` removes,
//! `artifacts.rs` what is too much of these, `space.rs` gives the
//! archive's space back, `causes.rs` forgets what no run is left of, `unneeded.rs` removes what no run needs any more,
//! `workspaces.rs` what is too much of what stages have left in their workspaces.
//!
//! Invariants: the archive has a record on the device before an entry of the store goes; a segment goes after the last
//! entry that names it.

mod archiving;
mod artifacts;
mod cached;
mod causes;
mod retention;
mod space;
mod unneeded;
mod workspaces;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Mutex, Notify};
use yuanli_ports::Cancellation;
use yuanli_ports::store::Range;

use crate::executor::{Error, Shared};
use crate::record::key;
use causes::Looks;
pub use retention::Retention;
pub use workspaces::WorkspaceBounds;

/// Ended runs that wait for the archive until they are moved there together: small enough to be read from memory in
/// no time, large enough to be packed well.
pub(crate) const BATCH_RUNS: usize = 256;
/// How often age is looked at, and what failed is tried again.
const PERIOD: Duration = Duration::from_secs(60);

/// How others speak to the keeper.
#[derive(Debug, Default)]
pub(crate) struct Doorbell {
    waiting: AtomicUsize,
    wake: Notify,
    closing: Cancellation,
    /// Held while the history is tidied. What the keeper counts it reads, changes and writes: two would lose count.
    pub(crate) tidying: Mutex<()>,
}

impl Doorbell {
    /// A run has ended.
    pub(crate) fn ended(&self) {
        if self.waiting.fetch_add(1, Ordering::Relaxed) + 1 >= BATCH_RUNS {
            self.wake.notify_one();
        }
    }

    /// Ends the keeper's task after the step that it is at.
    pub(crate) fn close(&self) {
        self.closing.cancel();
    }
}

/// Keeps the history of an engine.
pub(crate) struct Keeper {
    pub(crate) shared: Arc<Shared>,
}

impl Keeper {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Works until the executor is closed.
    pub(crate) async fn work(self) {
        let closing = self.shared.doorbell.closing.clone();
        // What an engine before this one has left.
        tokio::select! {
            () = closing.cancelled() => return,
            removed = self.remove_left() => if let Err(error) = removed {
                tracing::warn!(%error, "what no run needs any more is left");
            }
        }
        let clock = Arc::clone(&self.shared.ports.clock);
        let mut causes = Looks::new(clock.now());
        loop {
            if let Err(error) = self.round(&closing, &mut causes).await {
                tracing::warn!(%error, "the history is not tidied; it will be tried again");
            }
            if causes.is_due(clock.now()) {
                tokio::select! {
                    () = closing.cancelled() => return,
                    looked = self.forget_causes() => match looked {
                        Ok(stored) => causes.looked(stored),
                        Err(error) => tracing::warn!(%error, "causes whose runs are gone are left"),
                    }
                }
            }
            tokio::select! {
                () = closing.cancelled() => return,
                () = self.shared.doorbell.wake.notified() => {}
                () = tokio::time::sleep(PERIOD) => {}
            }
        }
    }

    async fn remove_left(&self) -> Result<(), Error> {
        let _alone = self.shared.doorbell.tidying.lock().await;
        self.remove_unneeded().await
    }

    /// Does all there is to do, a step at a time.
    async fn round(&self, closing: &Cancellation, causes: &mut Looks) -> Result<(), Error> {
        let _alone = self.shared.doorbell.tidying.lock().await;
        while !closing.is_cancelled() && self.archive_batch(BATCH_RUNS).await? {}
        let mut has_removed = false;
        while !closing.is_cancelled() {
            let removed = self.remove_some().await?;
            if removed == 0 {
                break;
            }
            has_removed = true;
            causes.removed(removed);
        }
        while !closing.is_cancelled() && self.remove_some_artifacts().await? {}
        while !closing.is_cancelled() && self.free_some().await? {}
        if has_removed {
            self.remove_texts().await?;
            self.forget_cached().await?;
        }
        if !closing.is_cancelled() {
            self.shared.records.bound_kept(self.shared.options.journals).await?;
            self.bound_workspaces().await?;
        }
        Ok(())
    }

    /// Moves every ended run to the archive, removes what retention says, and makes the archive as small as it can be.
    pub(crate) async fn tidy(&self) -> Result<(), Error> {
        let _alone = self.shared.doorbell.tidying.lock().await;
        while self.archive_batch(1).await? {}
        while self.remove_some().await? > 0 {}
        while self.remove_some_artifacts().await? {}
        while self.free_some().await? {}
        self.shared.records.bound_kept(self.shared.options.journals).await?;
        self.bound_workspaces().await?;
        self.forget_cached().await?;
        self.forget_causes().await?;
        self.remove_unneeded().await
    }

    /// Ended runs that wait for the archive, oldest first, at most `limit`.
    async fn waiting(&self, limit: usize) -> Result<Vec<yuanli_model::RunId>, Error> {
        let rows = self.shared.ports.store.scan(Range::prefix(&key::ENDED, limit)).await?;
        rows.iter().map(|(key, _)| Ok(key::parse_run(key)?)).collect()
    }
}
