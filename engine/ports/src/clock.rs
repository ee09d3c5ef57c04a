//! The one clock, and the one source of fresh ids.

use std::future::Future;
use std::pin::Pin;

use yuanli_model::{RunId, Timestamp};

/// Tells the time and makes ids from it. Only the shell has one; the pure crates get what it says as arguments.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// The time now.
    fn now(&self) -> Timestamp;

    /// An id that no run has had, later than those made before it by this clock.
    fn new_run_id(&self) -> RunId;

    /// Waits until [`Self::now`] is that late, also when the clock is set meanwhile.
    fn wait_until(&self, at: Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}
