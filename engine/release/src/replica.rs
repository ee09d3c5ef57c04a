//! The life of one replica: `Planned -> Starting -> Serving <-> Failing -> Draining -> Stopping`, then it is gone.
//!
//! Every phase that has something outside is recorded before it is brought about: what is `Planned` may have a container
//! already when an engine dies in between, what is `Stopping` may have none any more.

use std::time::Duration;

use yuanli_model::Timestamp;
use yuanli_model::app::Health;

/// How often a replica that starts is asked whether it serves.
pub const STARTING_INTERVAL: Duration = Duration::from_millis(100);
/// Good answers in a row after which a replica that starts gets requests: one might come from whoever had the address.
const RISE: u32 = 2;
/// Bad answers in a row after which a replica that serves gets no more requests, as haproxy and DESIGN do.
const FALL: u32 = 3;

/// How far a replica is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// It has a number and an address; its container is being made.
    Planned,
    /// Its container runs since this time; it has not served yet.
    Starting {
        /// Since when.
        since: Timestamp,
        /// Good answers in a row.
        good: u32,
    },
    /// It gets requests.
    Serving {
        /// Since when.
        since: Timestamp,
        /// Bad answers in a row.
        bad: u32,
    },
    /// It has served and does not now; it gets no requests, and another is started in its place.
    Failing {
        /// Good answers in a row.
        good: u32,
    },
    /// It gets no new requests and finishes those that it has.
    Draining {
        /// Since when.
        since: Timestamp,
    },
    /// Its container is being stopped and removed.
    Stopping,
}

/// What is seen of a replica, or decided about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Its container was started.
    Started,
    /// It answered well.
    Good,
    /// It answered badly, or not.
    Bad,
    /// Its container has ended by itself or is not there.
    Ended,
    /// It is not needed any more.
    Drain,
    /// It has no requests any more, or has had its time to finish them.
    Drained,
}

impl Phase {
    /// The phase after an event. What does not concern a phase, such as an answer that comes late, leaves it as it is.
    #[must_use]
    pub fn next(self, event: Event, health: &Health, now: Timestamp) -> Self {
        match (self, event) {
            // Planned -> Starting: the container runs.
            (Self::Planned, Event::Started) => Self::Starting { since: now, good: 0 },
            (Self::Starting { since, good }, Event::Good) if good + 1 < RISE => {
                Self::Starting { since, good: good + 1 }
            }
            // Starting -> Serving: it answered well often enough.
            (Self::Starting { .. }, Event::Good) => Self::Serving { since: now, bad: 0 },
            // Starting -> Stopping: it had its time and never served.
            (Self::Starting { since, .. }, Event::Bad) if now.since(since) >= health.start => Self::Stopping,
            (Self::Starting { since, .. }, Event::Bad) => Self::Starting { since, good: 0 },
            (Self::Serving { since, .. }, Event::Good) => Self::Serving { since, bad: 0 },
            (Self::Serving { since, bad }, Event::Bad) if bad + 1 < FALL => {
                Self::Serving { since, bad: bad + 1 }
            }
            // Serving -> Failing: it answered badly often enough.
            (Self::Serving { .. } | Self::Failing { .. }, Event::Bad) => Self::Failing { good: 0 },
            (Self::Failing { good }, Event::Good) if good + 1 < RISE => Self::Failing { good: good + 1 },
            // Failing -> Serving: it answers again, sooner than another one took its place.
            (Self::Failing { .. }, Event::Good) => Self::Serving { since: now, bad: 0 },
            // Whatever it was -> Stopping: nothing of it runs; what is left is removed.
            (
                Self::Planned
                | Self::Starting { .. }
                | Self::Serving { .. }
                | Self::Failing { .. }
                | Self::Draining { .. },
                Event::Ended,
            ) => Self::Stopping,
            // Serving, Failing -> Draining: it may have requests.
            (Self::Serving { .. } | Self::Failing { .. }, Event::Drain) => Self::Draining { since: now },
            // Planned, Starting -> Stopping: it never had requests.
            (Self::Planned | Self::Starting { .. }, Event::Drain) => Self::Stopping,
            // Draining -> Stopping: its requests are finished, or out of time.
            (Self::Draining { .. }, Event::Drained) => Self::Stopping,
            (phase, _) => phase,
        }
    }

    /// Whether it gets requests.
    #[must_use]
    pub const fn is_serving(self) -> bool {
        matches!(self, Self::Serving { .. })
    }

    /// Whether it counts as one that there is or will be.
    #[must_use]
    pub const fn is_alive(self) -> bool {
        matches!(self, Self::Planned | Self::Starting { .. } | Self::Serving { .. })
    }

    /// Whether it is on its way out.
    #[must_use]
    pub const fn is_leaving(self) -> bool {
        matches!(self, Self::Draining { .. } | Self::Stopping)
    }

    /// The word for it in output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Starting { .. } => "starting",
            Self::Serving { .. } => "serving",
            Self::Failing { .. } => "failing",
            Self::Draining { .. } => "draining",
            Self::Stopping => "stopping",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    /// The names of the phases after each event, a second apart.
    fn life(events: &[Event]) -> Vec<&'static str> {
        let health = Health { start: Duration::from_secs(4), ..Health::default() };
        let mut phase = Phase::Planned;
        let mut names = Vec::new();
        for (second, event) in (1..).zip(events) {
            phase = phase.next(*event, &health, at(second * 1_000));
            names.push(phase.name());
        }
        names
    }

    #[test]
    fn a_replica_serves_after_two_good_answers_and_fails_after_three_bad_ones() {
        use Event::{Bad, Good, Started};
        let names = life(&[Started, Good, Bad, Good, Good, Bad, Bad, Good, Bad, Bad, Bad, Good, Good]);
        let expected = "starting starting starting starting serving serving serving serving serving serving failing failing serving";
        assert_eq!(names.join(" "), expected);
    }

    #[test]
    fn one_that_never_serves_is_given_up_after_its_time() {
        use Event::{Bad, Started};
        assert_eq!(
            life(&[Started, Bad, Bad, Bad, Bad]).join(" "),
            "starting starting starting starting stopping"
        );
    }

    #[test]
    fn one_that_had_requests_finishes_them() {
        use Event::{Drain, Drained, Ended, Good, Started};
        assert_eq!(
            life(&[Started, Good, Good, Drain, Good, Drained]).join(" "),
            "starting starting serving draining draining stopping"
        );
        assert_eq!(life(&[Started, Drain, Drained]).join(" "), "starting stopping stopping");
        assert_eq!(
            life(&[Started, Good, Good, Ended, Started]).join(" "),
            "starting starting serving stopping stopping"
        );
    }
}
