//! The one clock of the process.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ulid::{Generator, Ulid};
use yuanli_model::{EngineId, RunId, Timestamp};
use yuanli_ports::Clock;

use crate::body::rfc3339;

/// Longest wait without a look at the clock, which may have been set.
const LOOK: Duration = Duration::from_secs(30);

/// The system's clock, and ids made from it.
#[derive(Default)]
pub struct SystemClock {
    generator: Mutex<Generator>,
}

impl SystemClock {
    /// An id that no engine has had.
    #[must_use]
    pub fn new_engine_id(&self) -> EngineId {
        EngineId::from_u128(self.fresh().0)
    }

    /// The time now as it is shown: RFC 3339, in UTC.
    #[must_use]
    pub fn shown(&self) -> String {
        rfc3339(Clock::now(self))
    }

    fn fresh(&self) -> Ulid {
        let mut generator = self.generator.lock().unwrap_or_else(PoisonError::into_inner);
        let generated = generator.generate_from_datetime(now());
        // 2^80 ids in one millisecond are not made; the answer to it is right all the same.
        generated.unwrap_or_else(|overflow| overflow.commit_overflow_increment())
    }
}

#[allow(clippy::disallowed_methods, reason = "this is the one clock")]
fn now() -> SystemTime {
    SystemTime::now()
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since_epoch = now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_millis(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
    }

    fn new_run_id(&self) -> RunId {
        RunId::from_u128(self.fresh().0)
    }

    fn wait_until(&self, at: Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async move {
            loop {
                let rest = at.since(self.now());
                if rest.is_zero() {
                    return;
                }
                tokio::time::sleep(rest.min(LOOK)).await;
            }
        })
    }
}

impl std::fmt::Debug for SystemClock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SystemClock")
    }
}
