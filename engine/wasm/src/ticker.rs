//! The thread that advances the epoch while guests run, so that endless loops are noticed; asleep otherwise.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::thread::{self, Thread};
use std::time::Duration;

use wasmtime::Engine;

/// Time between two checks of a guest. A guest that never returns is noticed after at most this long; each check
/// costs a yield to the scheduler, so that other tasks go on beside a busy guest.
pub(crate) const TICK: Duration = Duration::from_millis(10);

/// Keeps the epoch going while at least one [`Awake`] lives.
#[derive(Debug)]
pub(crate) struct Ticker {
    running: Arc<AtomicUsize>,
    thread: Thread,
}

/// While it lives, the epoch advances every [`TICK`].
#[derive(Debug)]
pub(crate) struct Awake {
    running: Arc<AtomicUsize>,
}

impl Ticker {
    /// Starts the thread; it ends when the ticker is dropped.
    pub(crate) fn start(engine: &Engine) -> std::io::Result<Self> {
        let running = Arc::new(AtomicUsize::new(0));
        let (engine, weak) = (engine.weak(), Arc::downgrade(&running));
        let work = move || {
            loop {
                // No strong count is held while asleep: its absence is how the end is noticed.
                let Some(busy) = Weak::upgrade(&weak).map(|running| running.load(Ordering::Acquire) > 0)
                else {
                    return;
                };
                if busy {
                    thread::sleep(TICK);
                    match engine.upgrade() {
                        Some(engine) => engine.increment_epoch(),
                        None => return,
                    }
                } else {
                    thread::park();
                }
            }
        };
        let handle = thread::Builder::new().name("yuanli-epoch".to_owned()).spawn(work)?;
        Ok(Self { running, thread: handle.thread().clone() })
    }

    /// Keeps the epoch going until the answer is dropped.
    pub(crate) fn keep_awake(&self) -> Awake {
        if self.running.fetch_add(1, Ordering::AcqRel) == 0 {
            self.thread.unpark();
        }
        Awake { running: Arc::clone(&self.running) }
    }
}

impl Drop for Awake {
    fn drop(&mut self) {
        self.running.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.thread.unpark();
    }
}
