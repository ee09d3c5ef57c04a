//! Counts of releases and replicas. They only grow, and are read while they do.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use yuanli_ports::traffic::LATENCY_BOUNDS_MICROS;

/// Most clients that are told apart within a second; what comes beyond counts as one more client each.
const MAX_CLIENTS: usize = 65_536;
const CLASSES: usize = LATENCY_BOUNDS_MICROS.len() + 1;

/// Counts of a release.
#[derive(Debug)]
pub(crate) struct ReleaseCounter {
    pub(crate) requests: AtomicU64,
    pub(crate) errors: AtomicU64,
    pub(crate) slow: AtomicU64,
    pub(crate) client_errors: AtomicU64,
    pub(crate) client_slow: AtomicU64,
    pub(crate) latency: [AtomicU64; CLASSES],
}

impl Default for ReleaseCounter {
    fn default() -> Self {
        Self {
            requests: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            slow: AtomicU64::new(0),
            client_errors: AtomicU64::new(0),
            client_slow: AtomicU64::new(0),
            latency: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }
}

impl ReleaseCounter {
    /// Counts an answer, or a request that got none (`took` is absent then).
    pub(crate) fn answered(
        &self,
        clients: &Clients,
        client: IpAddr,
        second: u64,
        took: Option<Duration>,
        is_error: bool,
        slow: Option<Duration>,
    ) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        if is_error {
            self.errors.fetch_add(1, Ordering::Relaxed);
            if clients.errors.is_first(client, second) {
                self.client_errors.fetch_add(1, Ordering::Relaxed);
            }
        }
        let Some(took) = took else { return };
        self.latency[class(took)].fetch_add(1, Ordering::Relaxed);
        if slow.is_some_and(|slow| took > slow) {
            self.slow.fetch_add(1, Ordering::Relaxed);
            if clients.slow.is_first(client, second) {
                self.client_slow.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

fn class(took: Duration) -> usize {
    let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    LATENCY_BOUNDS_MICROS.partition_point(|bound| *bound < micros)
}

/// Clients of an app that had something bad happen to them lately, whichever release it was: of what happens to a client in
/// a second only the first counts. So one client cannot decide on a release, and of two releases that are as bad as each
/// other each gets as many as its share of the requests. Counted for each release apart, the one with the larger share
/// would lose more of its own.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    errors: Seen,
    slow: Seen,
}

#[derive(Debug, Default)]
struct Seen(Mutex<(u64, HashSet<IpAddr>)>);

impl Seen {
    /// Whether it is the first time in this second.
    fn is_first(&self, client: IpAddr, second: u64) -> bool {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever comes a little late from the second before is one of this one.
        if seen.0 < second {
            *seen = (second, HashSet::new());
        }
        seen.1.len() >= MAX_CLIENTS || seen.1.insert(client)
    }
}

/// Counts of a replica.
#[derive(Debug, Default)]
pub(crate) struct ReplicaCounter {
    pub(crate) in_flight: AtomicU32,
    pub(crate) requests: AtomicU64,
    pub(crate) connect_failures: AtomicU64,
}

/// A request that a replica has; it has one fewer when this is dropped.
#[derive(Debug)]
pub(crate) struct InFlight(Arc<ReplicaCounter>);

impl InFlight {
    pub(crate) fn begin(counter: &Arc<ReplicaCounter>) -> Self {
        counter.in_flight.fetch_add(1, Ordering::AcqRel);
        counter.requests.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(counter))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_counts_once_in_a_second_for_all_releases() {
        let (stable, canary, clients) =
            (ReleaseCounter::default(), ReleaseCounter::default(), Clients::default());
        let client = |last| IpAddr::from([127, 0, 0, last]);
        for (counter, client, second) in [
            (&stable, client(1), 7),
            (&stable, client(1), 7),
            (&canary, client(1), 7),
            (&canary, client(2), 7),
            (&stable, client(1), 8),
            // Two threads at the turn of a second.
            (&stable, client(1), 7),
            (&canary, client(1), 8),
        ] {
            counter.answered(&clients, client, second, None, true, None);
        }
        let counts = |counter: &ReleaseCounter| {
            (counter.errors.load(Ordering::Relaxed), counter.client_errors.load(Ordering::Relaxed))
        };
        assert_eq!((counts(&stable), counts(&canary)), ((4, 2), (3, 1)));
    }

    #[test]
    fn answers_are_classed_by_their_upper_bounds() {
        for (micros, expected) in [(0, 0), (100, 0), (101, 1), (150, 1), (60_000_000, 33), (60_000_001, 34)] {
            assert_eq!(class(Duration::from_micros(micros)), expected, "{micros}");
        }
    }
}
