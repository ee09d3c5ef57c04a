//! What of the proposals is followed, and how fast: Kubernetes' scaling behaviour with its defaults.
//!
//! Down: the largest proposal of the last 300 s counts, so a short dip takes nothing away. Up: at once, but at most twice
//! as many or four more, whichever is more, within 15 s.

use std::collections::VecDeque;
use std::time::Duration;

use yuanli_model::Timestamp;

/// The period of the rate limit.
const RATE_PERIOD: Duration = Duration::from_secs(15);
/// How many may be added within it, when that is more than doubling.
const RATE_STEP: u32 = 4;

/// How fast a count follows its proposals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Behaviour {
    /// For how long a proposal for more keeps the count from going down. Default 300 s.
    pub down_window: Duration,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self { down_window: Duration::from_secs(300) }
    }
}

/// What was proposed and what was done, as far back as it matters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// Raw proposals, oldest first.
    pub proposals: VecDeque<(Timestamp, u32)>,
    /// How many were added, oldest first.
    pub added: VecDeque<(Timestamp, u32)>,
}

impl History {
    /// Takes in a proposal and says what is followed of it, from a count of `current`.
    pub fn follow(&mut self, behaviour: Behaviour, now: Timestamp, current: u32, proposal: u32) -> u32 {
        self.proposals.push_back((now, proposal));
        while self.proposals.front().is_some_and(|(at, _)| now.since(*at) > behaviour.down_window) {
            self.proposals.pop_front();
        }
        while self.added.front().is_some_and(|(at, _)| now.since(*at) >= RATE_PERIOD) {
            self.added.pop_front();
        }
        if proposal > current {
            let added: u32 = self.added.iter().map(|(_, added)| added).sum();
            let before = current.saturating_sub(added);
            let limit = before.saturating_add(RATE_STEP).max(before.saturating_mul(2));
            let followed = proposal.min(limit).max(current);
            if followed > current {
                self.added.push_back((now, followed - current));
            }
            return followed;
        }
        let highest = self.proposals.iter().map(|(_, proposal)| *proposal).max().unwrap_or(proposal);
        highest.min(current)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The counts that follow proposals at these seconds.
    fn counts(start: u32, proposals: &[(u64, u32)]) -> Vec<u32> {
        let (mut history, mut count) = (History::default(), start);
        let mut follow = |(second, proposal): &(u64, u32)| {
            let now = Timestamp::from_millis(second * 1_000);
            count = history.follow(Behaviour::default(), now, count, *proposal);
            count
        };
        proposals.iter().map(&mut follow).collect()
    }

    #[test]
    fn up_at_once_but_not_too_fast_and_down_after_a_while() {
        assert_eq!(counts(1, &[(0, 3)]), [3]);
        // Four more in 15 s, then twice as many.
        assert_eq!(counts(1, &[(0, 40), (5, 40), (15, 40), (30, 40), (45, 40)]), [5, 5, 10, 20, 40]);
        // The dip of a minute is ignored; what lasts is followed when the last proposal for more is 300 s old.
        assert_eq!(counts(4, &[(0, 4), (60, 2), (120, 4), (180, 2), (400, 2), (421, 2)]), [4, 4, 4, 4, 4, 2]);
    }

    proptest! {
        #[test]
        fn a_count_stays_between_where_it_is_and_what_was_proposed(
            proposals in prop::collection::vec((0u64..60, 0u32..50), 1..40),
        ) {
            let (mut history, mut count, mut second) = (History::default(), 3, 0);
            for (wait, proposal) in proposals {
                second += wait;
                let before = count;
                count = history.follow(Behaviour::default(), Timestamp::from_millis(second * 1_000), before, proposal);
                prop_assert!(count >= before.min(proposal) && count <= before.max(proposal));
            }
        }
    }
}
