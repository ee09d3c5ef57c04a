//! What the executor has done since it was made, in numbers: how runs and attempts ended, how long they took, and what was cached.
//! Only what is durable counts; what ended under an engine before this one is that one's.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use yuanli_model::run::CacheFinding;
use yuanli_model::{AttemptId, AttemptOutcome, Outcome, RunEvent, Timestamp};
use yuanli_ports::figure::{Counted, Durations, OF_RUNS};

/// How runs end, and attempts.
const OUTCOMES: [Outcome; 3] = [Outcome::Succeeded, Outcome::Failed, Outcome::Cancelled];

/// Counts that go on.
#[derive(Debug)]
pub(crate) struct Figures {
    runs: [Durations; 3],
    attempts: [Durations; 3],
    cache_hits: AtomicU64,
    cache_misses: AtomicU64,
}

/// All of them as they are now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measured {
    /// Runs that have ended, by their outcome.
    pub runs: Vec<(Outcome, Counted)>,
    /// Attempts of stages that have ended, by their outcome.
    pub attempts: Vec<(Outcome, Counted)>,
    /// How many attempts an earlier one stood for.
    pub cache_hits: u64,
    /// For how many it was looked, and none did.
    pub cache_misses: u64,
    /// Runs that wait for their turn in a concurrency group.
    pub waiting: Waiting,
}

/// What waits for its turn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Waiting {
    /// How many.
    pub count: usize,
    /// For how long the oldest has waited.
    pub longest: Duration,
}

impl Default for Figures {
    fn default() -> Self {
        let each = || std::array::from_fn(|_| Durations::up_to(OF_RUNS));
        Self {
            runs: each(),
            attempts: each(),
            cache_hits: AtomicU64::new(0),
            cache_misses: AtomicU64::new(0),
        }
    }
}

impl Figures {
    /// Counts what became durable at this time in a run that was made then. `begun` has the attempts of the run that go on.
    pub(crate) fn note(
        &self,
        events: &[RunEvent],
        now: Timestamp,
        created: Timestamp,
        begun: &mut HashMap<AttemptId, Timestamp>,
    ) {
        for event in events {
            match event {
                RunEvent::AttemptStarted { attempt, .. } => {
                    begun.insert(attempt.clone(), now);
                }
                RunEvent::AttemptEnded { attempt, outcome, .. } => {
                    let took = begun.remove(attempt).map_or(Duration::ZERO, |begun| now.since(begun));
                    let index = match outcome {
                        AttemptOutcome::Succeeded { .. } => 0,
                        AttemptOutcome::Failed(_) => 1,
                        AttemptOutcome::Cancelled => 2,
                    };
                    self.attempts[index].add(took);
                }
                RunEvent::CacheConsulted { finding: CacheFinding::Hit { .. }, .. } => {
                    self.cache_hits.fetch_add(1, Ordering::Relaxed);
                }
                RunEvent::CacheConsulted { .. } => {
                    self.cache_misses.fetch_add(1, Ordering::Relaxed);
                }
                RunEvent::Finished { outcome, .. } => {
                    let index = OUTCOMES.iter().position(|known| known == outcome).unwrap_or_default();
                    self.runs[index].add(now.since(created));
                }
                _ => {}
            }
        }
    }

    /// All of them, beside what waits now.
    pub(crate) fn measured(&self, waiting: Waiting) -> Measured {
        let each = |all: &[Durations; 3]| {
            OUTCOMES.into_iter().zip(all).map(|(outcome, durations)| (outcome, durations.counted())).collect()
        };
        Measured {
            runs: each(&self.runs),
            attempts: each(&self.attempts),
            cache_hits: self.cache_hits.load(Ordering::Relaxed),
            cache_misses: self.cache_misses.load(Ordering::Relaxed),
            waiting,
        }
    }
}
