//! The sequential judge: is a canary worse than the stable release, decided as soon as the evidence is there.
//!
//! Looking again and again at a usual test makes it find a difference sooner or later where there is none. This one may be
//! looked at after every event: it bets against "the canary is as good", and a fair bet multiplies its stake by 40 with a
//! chance of 1 in 40 at most, however long it is watched (Ville's inequality).
//!
//! For each bad event let q be the canary's part of the requests of that interval. If the canary is ρ times as likely to
//! fail, the event falls on it with p(ρ) = qρ / (qρ + 1 − q). The stake on ρ is the product of p/q over the bad events of
//! the canary and (1−p)/(1−q) over those of the stable release; its logarithm is what is kept.

/// How many times worse a canary is that is bet on; the stake is shared equally over them.
pub const RATIOS: [f64; 6] = [1.25, 1.5, 2.0, 3.0, 5.0, 10.0];
/// The one of [`RATIOS`] that counts as worse when it is asked whether a canary is good enough.
const TOLERABLE: usize = 1;
/// The part of good canaries that may be turned back.
pub const ALPHA: f64 = 0.05;
/// The part of canaries 1.5 times as bad that may pass before their time.
pub const BETA: f64 = 0.1;
/// The odds from which on a canary is turned back that nothing certain can be said of when its time, and as long again, is
/// over. One stray bad event of a canary with a tenth of the requests is 2.6 to 1, two are 9 to 1.
pub const DOUBT: f64 = 5.0;
/// Requests that a canary must have had to pass for want of evidence.
pub const MIN_REQUESTS: u64 = 100;
/// What is judged: errors and slow answers.
const METRICS: f64 = 2.0;

/// What the gateway counted of both releases in an interval.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Interval {
    /// Of the release that is tried.
    pub canary: Counts,
    /// Of the release that serves.
    pub stable: Counts,
}

/// What was counted of a release.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests that have ended.
    pub requests: u64,
    /// Bad events among them, at most one for each client and second.
    pub errors: u64,
    /// Slow answers among them, at most one for each client and second.
    pub slow: u64,
}

/// The evidence of one kind of bad event.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Evidence {
    /// Logarithms of the stakes, in the order of [`RATIOS`].
    pub stakes: [f64; RATIOS.len()],
    /// Bad events of the canary.
    pub canary: u64,
    /// Bad events of the stable release.
    pub stable: u64,
}

/// What is known of a canary.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Judge {
    /// Answers 500 to 599, and requests that got none.
    pub errors: Evidence,
    /// Answers slower than the stable release's 95th percentile at the beginning of the step.
    pub slow: Evidence,
    /// Requests of the canary.
    pub requests: u64,
}

/// What the evidence says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finding {
    /// It is worse.
    Worse,
    /// It is good enough.
    Fine,
    /// There is no sign that it is worse, after enough requests; not more than that.
    NoSign,
    /// Nothing can be said.
    Unsure,
}

impl Evidence {
    /// Takes in the bad events of an interval in which the canary had the part `share` of the requests. A part of
    /// nothing or of everything tells nothing.
    fn take(&mut self, share: f64, canary: u64, stable: u64) {
        self.canary += canary;
        self.stable += stable;
        if !(share > 0.0 && share < 1.0) {
            return;
        }
        for (stake, ratio) in self.stakes.iter_mut().zip(RATIOS) {
            let expected = share * ratio / (share * ratio + 1.0 - share);
            *stake += canary as f64 * (expected / share).ln()
                + stable as f64 * ((1.0 - expected) / (1.0 - share)).ln();
        }
    }

    /// The logarithm of the evidence that the canary is worse: of the mean of the stakes.
    #[must_use]
    pub fn bad(&self) -> f64 {
        let largest = self.stakes.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = self.stakes.iter().map(|stake| (stake - largest).exp()).sum();
        largest + (sum / RATIOS.len() as f64).ln()
    }

    /// The logarithm of the evidence that it is as good, against its being 1.5 times as bad.
    #[must_use]
    pub fn good(&self) -> f64 {
        -self.stakes[TOLERABLE]
    }
}

impl Judge {
    /// Takes in an interval.
    pub fn take(&mut self, interval: &Interval) {
        let (canary, stable) = (interval.canary, interval.stable);
        let all = canary.requests + stable.requests;
        let share = if all == 0 { 0.0 } else { canary.requests as f64 / all as f64 };
        self.requests += canary.requests;
        self.errors.take(share, canary.errors, stable.errors);
        self.slow.take(share, canary.slow, stable.slow);
    }

    /// Whether more speaks against it than can be passed over when there is no more time.
    #[must_use]
    pub fn is_doubtful(&self) -> bool {
        let doubt = DOUBT.ln();
        self.requests < MIN_REQUESTS || self.errors.bad() >= doubt || self.slow.bad() >= doubt
    }

    /// What the evidence says now.
    #[must_use]
    pub fn finding(&self) -> Finding {
        let metrics = [&self.errors, &self.slow];
        // alpha is shared over the metrics.
        let worse = (METRICS / ALPHA).ln();
        if metrics.iter().any(|evidence| evidence.bad() >= worse) {
            return Finding::Worse;
        }
        if metrics.iter().all(|evidence| evidence.good() >= (1.0 / BETA).ln()) {
            return Finding::Fine;
        }
        // Without one bad event of either the stakes are as they were: no sign of anything.
        if self.requests >= MIN_REQUESTS && metrics.iter().all(|evidence| evidence.bad() <= 0.0) {
            return Finding::NoSign;
        }
        Finding::Unsure
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    fn interval(canary: (u64, u64), stable: (u64, u64)) -> Interval {
        let counts = |(requests, errors)| Counts { requests, errors, slow: 0 };
        Interval { canary: counts(canary), stable: counts(stable) }
    }

    fn judged(intervals: &[Interval]) -> Judge {
        let mut judge = Judge::default();
        intervals.iter().for_each(|interval| judge.take(interval));
        judge
    }

    /// Numbers that were computed with Python's `math`, from the formulas at the head of this file.
    #[test]
    fn stakes_are_those_of_the_formula() {
        let judge = judged(&[interval((100, 3), (900, 2)), interval((300, 1), (700, 4))]);
        let expected = EXPECTED_STAKES;
        for (stake, expected) in judge.errors.stakes.iter().zip(expected) {
            assert!((stake - expected).abs() < 1e-9, "{stake} is not {expected}");
        }
        assert!((judge.errors.bad() - EXPECTED_BAD).abs() < 1e-9, "{}", judge.errors.bad());
        assert_eq!((judge.errors.canary, judge.errors.stable, judge.requests), (4, 6, 400));
    }

    const EXPECTED_STAKES: [f64; 6] =
        [0.407507834407, 0.67909989971, 0.984216500881, 1.132823224474, 0.813103664809, -0.540593157137];
    const EXPECTED_BAD: f64 = 0.700833445469;

    #[test]
    fn evidence_needs_both_releases() {
        assert_eq!(judged(&[interval((0, 0), (0, 0))]).finding(), Finding::Unsure);
        assert_eq!(judged(&[interval((1_000, 50), (0, 0))]).errors.stakes, [0.0; 6]);
        assert_eq!(judged(&[interval((99, 0), (900, 0))]).finding(), Finding::Unsure);
        assert_eq!(judged(&[interval((100, 0), (900, 0))]).finding(), Finding::NoSign);
        assert_eq!(judged(&[interval((100, 10), (900, 0))]).finding(), Finding::Worse);
        // What is as good has to show it with both metrics; here nothing was slow.
        assert_eq!(judged(&[interval((1_000, 10), (1_000, 100))]).finding(), Finding::NoSign);
        let huge = judged(&[interval((u64::from(u32::MAX), 1 << 31), (u64::from(u32::MAX), 1))]);
        assert!(huge.errors.bad().is_finite() && huge.finding() == Finding::Worse);
    }

    /// After how many seconds a release is found worse, of at most `seconds`; 50 requests a second, a tenth of them to the
    /// canary.
    fn found_worse(seed: u64, stable: f64, canary: f64, seconds: u32) -> Option<u32> {
        let (mut random, mut judge) = (Random(seed), Judge::default());
        (1..=seconds).find(|_| {
            judge.take(&interval((5, random.events(5, canary)), (45, random.events(45, stable))));
            judge.finding() == Finding::Worse
        })
    }

    #[test]
    fn of_good_canaries_at_most_one_in_twenty_is_turned_back() {
        let turned = (0..600).filter(|seed| found_worse(*seed, 0.01, 0.01, 600).is_some()).count();
        assert!(turned <= 30, "{turned} of 600 good releases were turned back");
    }

    #[test]
    fn four_times_the_errors_are_found_within_six_minutes() {
        let found = (0..600).filter(|seed| found_worse(*seed, 0.01, 0.04, 360).is_some()).count();
        assert!(found >= 570, "{found} of 600 bad releases were found");
    }
}
