//! A clock that shows what it is told, and goes on by itself when nothing else does.
//!
//! The runtime of a case has one thread and no timers: whenever that thread has nothing left to do, whatever waits waits for
//! the clock, or for a plugin that runs for real. So the clock goes on to the next time that somebody waits for.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::futures::Notified;
use tokio::sync::{Notify, watch};
use yuanli_model::{RunId, Timestamp};
use yuanli_ports::Clock;

/// See the module.
#[derive(Debug)]
pub(crate) struct CaseClock {
    now: watch::Sender<Timestamp>,
    /// Times that somebody waits for, and how many do.
    awaited: Mutex<BTreeMap<Timestamp, usize>>,
    ids: AtomicU64,
    /// The thread has nothing to do.
    idle: Notify,
    /// Plugins that run for real, on threads of others.
    busy: AtomicUsize,
}

/// That somebody waits for a time, until this is dropped.
struct Wait<'a>(&'a CaseClock, Timestamp);

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        let mut awaited = self.0.awaited();
        if let Some(count) = awaited.get_mut(&self.1) {
            *count -= 1;
            if *count == 0 {
                awaited.remove(&self.1);
            }
        }
    }
}

/// That something goes on which the clock has to wait for, until this is dropped.
pub(crate) struct Busy(Arc<CaseClock>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::SeqCst);
    }
}

impl CaseClock {
    pub(crate) fn new(now: Timestamp) -> Self {
        Self {
            now: watch::Sender::new(now),
            awaited: Mutex::default(),
            ids: AtomicU64::new(0),
            idle: Notify::new(),
            busy: AtomicUsize::new(0),
        }
    }

    fn awaited(&self) -> std::sync::MutexGuard<'_, BTreeMap<Timestamp, usize>> {
        self.awaited.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The thread of the case is about to sleep.
    pub(crate) fn thread_is_idle(&self) {
        self.idle.notify_one();
    }

    /// Returns when the thread of the case is, or has been, idle.
    pub(crate) fn has_been_idle(&self) -> Notified<'_> {
        self.idle.notified()
    }

    /// Something goes on elsewhere that takes no time on this clock.
    pub(crate) fn is_busy(self: &Arc<Self>) -> Busy {
        self.busy.fetch_add(1, Ordering::SeqCst);
        Busy(Arc::clone(self))
    }

    /// Lets time pass; returns when nobody waits for any time, so that nothing will ever happen any more.
    pub(crate) async fn go_on(&self) {
        loop {
            self.idle.notified().await;
            if self.busy.load(Ordering::SeqCst) > 0 {
                continue;
            }
            let next = self.awaited().keys().next().copied();
            let Some(next) = next else { return };
            self.now.send_modify(|now| *now = next.max(*now));
        }
    }
}

impl Clock for CaseClock {
    fn now(&self) -> Timestamp {
        *self.now.borrow()
    }

    fn new_run_id(&self) -> RunId {
        let number = self.ids.fetch_add(1, Ordering::SeqCst) + 1;
        RunId::from_u128(u128::from(self.now().as_millis()) << 80 | u128::from(number))
    }

    fn wait_until(&self, at: Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async move {
            let mut now = self.now.subscribe();
            *self.awaited().entry(at).or_default() += 1;
            let _wait = Wait(self, at);
            // The sender is here, so it cannot be gone.
            let _ = now.wait_for(|now| *now >= at).await;
        })
    }
}
