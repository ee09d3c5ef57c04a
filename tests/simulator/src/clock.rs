//! The clock of the world: tokio's paused time, and what somebody has set it by.

use std::pin::Pin;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use yuanli_model::{RunId, Timestamp};
use yuanli_ports::Clock;

/// What it shows at first, in milliseconds: some day in 2023.
const BEGINNING: u64 = 1_700_000_000_000;

/// See the module.
#[derive(Debug)]
pub(crate) struct SimClock {
    began: Instant,
    /// How much it was set forward, in milliseconds.
    set: AtomicI64,
    was_set: Notify,
    ids: AtomicU64,
}

impl SimClock {
    pub(crate) fn new() -> Self {
        Self { began: Instant::now(), set: AtomicI64::new(0), was_set: Notify::new(), ids: AtomicU64::new(0) }
    }

    /// How long the world has been there, whatever its clock shows.
    pub(crate) fn age(&self) -> Duration {
        self.began.elapsed()
    }

    /// Sets it forward, or back.
    pub(crate) fn jump(&self, millis: i64) {
        self.set.fetch_add(millis, Ordering::SeqCst);
        self.was_set.notify_waiters();
    }
}

impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        let shown = BEGINNING + self.age().as_millis() as u64;
        Timestamp::from_millis(shown.saturating_add_signed(self.set.load(Ordering::SeqCst)))
    }

    fn new_run_id(&self) -> RunId {
        let number = self.ids.fetch_add(1, Ordering::SeqCst) + 1;
        RunId::from_u128(u128::from(BEGINNING) << 80 | u128::from(number))
    }

    fn wait_until(&self, at: Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async move {
            loop {
                let was_set = self.was_set.notified();
                let now = self.now();
                if now >= at {
                    return;
                }
                tokio::select! {
                    biased;
                    () = was_set => {}
                    () = tokio::time::sleep(at.since(now)) => {}
                }
            }
        })
    }
}
