//! For those who try plugins out: attempts in which random numbers and the clocks of WASI are the same each time, and every
//! call of a host function is shown.
//!
//! An engine that does work has none of it: there the numbers and clocks are the machine's.

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use wasmtime_wasi::{HostMonotonicClock, HostWallClock, WasiCtxBuilder};
use yuanli_ports::Clock;
use yuanli_ports::plugins::Attempt;

use crate::call::Class;

/// What makes attempts repeatable and visible.
#[derive(Debug, Clone)]
pub struct Rehearsal {
    /// What all random numbers of an attempt follow from; the same in each attempt.
    pub seed: u64,
    /// Who is shown each call.
    pub observer: Arc<dyn Observer>,
    /// Whether guests are interrupted by the machine's time: to bound the time of the processor, and to let others go on. Where
    /// not, they give way in host calls only, so that what comes after what follows from them alone.
    pub is_timed: bool,
    /// Whether attempts that wait give up their instances, as they do in an engine: what they call then is shown again each
    /// time that they come back.
    pub evicts: bool,
}

/// Looks at what plugins call.
pub trait Observer: Send + Sync + std::fmt::Debug {
    /// A host function was called, and nothing is done for it yet. Called on the thread that runs the guest, so it has to
    /// return soon.
    fn called(&self, attempt: &Attempt, call: HostCall);
}

/// A call of a host function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostCall {
    /// `package/interface@version`.
    pub interface: &'static str,
    /// The function in there; methods as WIT mangles them.
    pub function: &'static str,
    /// What it means for the journal.
    pub class: Class,
    /// Its arguments, for a person: two calls with the same arguments have the same text. Secrets are handles in it.
    pub arguments: String,
}

/// Where the random numbers and the clocks of one attempt come from.
pub(crate) enum Machine {
    /// From the machine.
    Real,
    /// From a seed, and from the one clock.
    Rehearsed { seed: u64, random: Box<StdRng>, clock: Arc<dyn Clock> },
}

impl Machine {
    pub(crate) fn new(rehearsal: Option<&Rehearsal>, clock: &Arc<dyn Clock>) -> Self {
        match rehearsal {
            None => Self::Real,
            Some(Rehearsal { seed, .. }) => Self::Rehearsed {
                seed: *seed,
                random: Box::new(StdRng::seed_from_u64(*seed)),
                clock: Arc::clone(clock),
            },
        }
    }

    /// Fills with random bytes.
    ///
    /// # Errors
    /// When the machine has none.
    pub(crate) fn fill(&mut self, bytes: &mut [u8]) -> Result<(), getrandom::Error> {
        match self {
            Self::Real => getrandom::fill(bytes),
            Self::Rehearsed { random, .. } => {
                random.fill_bytes(bytes);
                Ok(())
            }
        }
    }

    /// Gives WASI what it is to have of it; of the real machine it has that already.
    pub(crate) fn settle(&self, context: &mut WasiCtxBuilder) {
        let Self::Rehearsed { seed, clock, .. } = self else { return };
        context
            .secure_random(StdRng::seed_from_u64(seed.wrapping_add(1)))
            .insecure_random(StdRng::seed_from_u64(seed.wrapping_add(2)))
            .insecure_random_seed(u128::from(*seed))
            .wall_clock(OneClock(Arc::clone(clock)))
            .monotonic_clock(OneClock(Arc::clone(clock)));
    }
}

/// The one clock, as WASI reads it.
struct OneClock(Arc<dyn Clock>);

impl OneClock {
    fn since_epoch(&self) -> Duration {
        Duration::from_millis(self.0.now().as_millis())
    }
}

impl HostWallClock for OneClock {
    fn resolution(&self) -> Duration {
        Duration::from_millis(1)
    }

    fn now(&self) -> Duration {
        self.since_epoch()
    }
}

impl HostMonotonicClock for OneClock {
    fn resolution(&self) -> u64 {
        Duration::from_millis(1).as_nanos() as u64
    }

    fn now(&self) -> u64 {
        u64::try_from(self.since_epoch().as_nanos()).unwrap_or(u64::MAX)
    }
}
