//! What the executor has done since it was made, in numbers: how runs and attempts ended and how long they took, and what commits
//! took. Only what is durable counts; what ended under an engine before this one is that one's.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use yuanli_model::{AttemptId, AttemptOutcome, Outcome, RunEvent, Timestamp};

/// Up to which times durations are counted, in milliseconds: from a script to a nightly job.
pub const BOUNDS_MS: [u64; 8] = [100, 500, 1_000, 5_000, 30_000, 120_000, 600_000, 3_600_000];

/// How runs end, and attempts.
const OUTCOMES: [Outcome; 3] = [Outcome::Succeeded, Outcome::Failed, Outcome::Cancelled];

/// Counts that go on.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    runs: [Durations; 3],
    attempts: [Durations; 3],
    commits: Durations,
}

#[derive(Debug, Default)]
struct Durations {
    below: [AtomicU64; BOUNDS_MS.len()],
    count: AtomicU64,
    millis: AtomicU64,
}

/// Durations as they were counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted {
    /// How many there were, each of [`BOUNDS_MS`] for those that took at most so long.
    pub below: [u64; BOUNDS_MS.len()],
    /// How many there were.
    pub count: u64,
    /// How long they took together, in milliseconds.
    pub millis: u64,
}

/// All of them as they are now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measured {
    /// Runs that have ended, by their outcome.
    pub runs: Vec<(Outcome, Counted)>,
    /// Attempts of stages that have ended, by their outcome.
    pub attempts: Vec<(Outcome, Counted)>,
    /// Commits of runs.
    pub commits: Counted,
}

impl Durations {
    fn add(&self, duration: Duration) {
        let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        for (below, _) in self.below.iter().zip(BOUNDS_MS).filter(|(_, bound)| millis <= *bound) {
            below.fetch_add(1, Ordering::Relaxed);
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        self.millis.fetch_add(millis, Ordering::Relaxed);
    }

    fn counted(&self) -> Counted {
        Counted {
            below: std::array::from_fn(|index| self.below[index].load(Ordering::Relaxed)),
            count: self.count.load(Ordering::Relaxed),
            millis: self.millis.load(Ordering::Relaxed),
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
                RunEvent::Finished { outcome, .. } => {
                    let index = OUTCOMES.iter().position(|known| known == outcome).unwrap_or_default();
                    self.runs[index].add(now.since(created));
                }
                _ => {}
            }
        }
    }

    /// Counts a commit.
    pub(crate) fn note_commit(&self, took: Duration) {
        self.commits.add(took);
    }

    pub(crate) fn measured(&self) -> Measured {
        let each = |all: &[Durations; 3]| {
            OUTCOMES.into_iter().zip(all).map(|(outcome, durations)| (outcome, durations.counted())).collect()
        };
        Measured { runs: each(&self.runs), attempts: each(&self.attempts), commits: self.commits.counted() }
    }
}
