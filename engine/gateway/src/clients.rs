//! Requests that wait for a replica: how many at most, and whom the engine is told about.

use std::sync::Arc;

use tokio::sync::{Semaphore, SemaphorePermit, mpsc};
use yuanli_model::AppName;

/// Most requests that wait at once, of all apps: each holds a connection and its head, some 16 KiB.
const MAX_WAITING: usize = 1_024;
/// Apps that were wanted and not yet told of; more are told when somebody waits for them again.
const TOLD: usize = 64;

/// The room for those who wait.
#[derive(Debug, Clone)]
pub(crate) struct Waiting {
    room: Arc<Semaphore>,
    wanted: mpsc::Sender<AppName>,
}

impl Waiting {
    pub(crate) fn new() -> (Self, mpsc::Receiver<AppName>) {
        let (wanted, told) = mpsc::channel(TOLD);
        (Self { room: Arc::new(Semaphore::new(MAX_WAITING)), wanted }, told)
    }

    /// A place to wait for an app; `None` when all are taken.
    pub(crate) fn begin(&self, app: &AppName) -> Option<SemaphorePermit<'_>> {
        let place = self.room.try_acquire().ok()?;
        // When there is no room the engine has enough to do.
        let _ = self.wanted.try_send(app.clone());
        Some(place)
    }
}
