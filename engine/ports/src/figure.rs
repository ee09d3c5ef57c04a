//! Durations as they are counted for `/metrics`: what took so long, how often, and how long all of it took. Whoever does the
//! work counts; nobody waits for a lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Up to which times runs and attempts are counted: from a script to a nightly job.
pub const OF_RUNS: &[Duration] = &[
    Duration::from_millis(100),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(30),
    Duration::from_secs(120),
    Duration::from_secs(600),
    Duration::from_secs(3_600),
];

/// Up to which times a disk is waited for: from one that is quick to one that is about to fail.
pub const OF_DISKS: &[Duration] = &[
    Duration::from_micros(100),
    Duration::from_micros(250),
    Duration::from_micros(500),
    Duration::from_millis(1),
    Duration::from_micros(2_500),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(50),
    Duration::from_millis(250),
    Duration::from_secs(1),
    Duration::from_secs(5),
];

/// Up to which times another program on this machine or in its network is waited for.
pub const OF_REQUESTS: &[Duration] = &[
    Duration::from_millis(1),
    Duration::from_millis(5),
    Duration::from_millis(25),
    Duration::from_millis(100),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(30),
    Duration::from_secs(60),
];

/// Durations that are counted.
#[derive(Debug)]
pub struct Durations {
    bounds: &'static [Duration],
    /// How many took no longer than each bound and longer than the one before it; at last those that took longer than all.
    within: Box<[AtomicU64]>,
    micros: AtomicU64,
}

/// Durations as they were counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted {
    /// For each bound, smallest first, how many took at most so long.
    pub below: Vec<(Duration, u64)>,
    /// How many there were.
    pub count: u64,
    /// How long they took together.
    pub sum: Duration,
}

impl Durations {
    /// None yet, to be counted up to these times, the smallest first.
    #[must_use]
    pub fn up_to(bounds: &'static [Duration]) -> Self {
        let within = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, within, micros: AtomicU64::new(0) }
    }

    /// Counts one.
    pub fn add(&self, duration: Duration) {
        let place = self.bounds.partition_point(|bound| *bound < duration);
        self.within[place].fetch_add(1, Ordering::Relaxed);
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        self.micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// All of them as they are now.
    #[must_use]
    pub fn counted(&self) -> Counted {
        let mut count = 0;
        let below = self.bounds.iter().zip(&self.within).map(|(bound, within)| {
            count += within.load(Ordering::Relaxed);
            (*bound, count)
        });
        let below = below.collect();
        let count = count + self.within[self.bounds.len()].load(Ordering::Relaxed);
        Counted { below, count, sum: Duration::from_micros(self.micros.load(Ordering::Relaxed)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_takes_as_long_as_a_bound_is_below_it_and_a_longer_one_is_below_none() {
        let durations = Durations::up_to(OF_RUNS);
        for millis in [0, 100, 101, 3_600_000, 3_600_001] {
            durations.add(Duration::from_millis(millis));
        }
        let counted = durations.counted();
        let below: Vec<u64> = counted.below.iter().map(|(_, count)| *count).collect();
        assert_eq!(below, [2, 3, 3, 3, 3, 3, 3, 4]);
        assert_eq!((counted.count, counted.sum), (5, Duration::from_millis(7_200_202)));
    }

    #[test]
    fn bounds_are_in_order() {
        for bounds in [OF_RUNS, OF_DISKS, OF_REQUESTS] {
            assert!(bounds.is_sorted() && !bounds.is_empty());
        }
    }
}
