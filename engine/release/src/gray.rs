//! A gray release: steps of weight, each judged, to a promotion or back to nothing.
//!
//! ```text
//! Growing(0) -> Step(0) -> Growing(1) -> Step(1) -> … -> Promoted
//!      \___________\___________\____________\________-> Aborted
//! ```
//! The weight of a step is only given once there are replicas enough for it. An abort beats everything and leads to weight
//! 0; what has ended stays as it ended.

use std::time::Duration;

use yuanli_model::Timestamp;

use crate::judge::{Finding, Interval, Judge};

/// What is left out of the judgement at the beginning of a step, when caches are cold: at most this, at most a quarter of
/// the step.
const WARM_UP: Duration = Duration::from_secs(5);

/// A part of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// The release's part of the requests in percent, 0 to 100.
    pub weight: u32,
    /// How long it is held.
    pub duration: Duration,
}

/// A gray release as it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Gray {
    /// What is to be done; at least one step.
    pub steps: Vec<Step>,
    /// Whether the judge watches.
    pub has_analysis: bool,
    /// How far it is.
    pub stage: Stage,
    /// The evidence, over all steps.
    pub judge: Judge,
}

/// How far a gray release is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Replicas for the step of this index are being started; the weight is that of the step before.
    Growing(usize),
    /// The weight is that of the step of this index.
    Step {
        /// Which step.
        index: usize,
        /// Since when.
        since: Timestamp,
        /// Whether its time is over and the judge could not tell.
        is_held: bool,
    },
    /// It serves everything.
    Promoted,
    /// It serves nothing.
    Aborted,
}

/// What is seen or wanted of a gray release.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// Replicas enough for the next step serve.
    Ready,
    /// Time went by.
    Tick,
    /// What the gateway counted while the weight was that of now.
    Measured(Interval),
    /// Its replicas cannot be brought to serve.
    Lost(String),
    /// Somebody wants it back.
    Abort(String),
}

/// Something that follows.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A step began: this weight from now on.
    Began {
        /// Which step, from 0.
        index: usize,
        /// Its weight.
        weight: u32,
    },
    /// A step's time is over and nothing can be said: it is held for as long again.
    Held,
    /// It serves everything from now on.
    Promoted {
        /// Why.
        reason: String,
    },
    /// It serves nothing from now on.
    Aborted {
        /// Why.
        reason: String,
    },
}

impl Gray {
    /// A gray release before its first step.
    #[must_use]
    pub fn new(steps: Vec<Step>, has_analysis: bool) -> Self {
        Self { steps, has_analysis, stage: Stage::Growing(0), judge: Judge::default() }
    }

    /// Its part of the requests now, in percent.
    #[must_use]
    pub fn weight(&self) -> u32 {
        let of = |index: usize| self.steps.get(index).map_or(0, |step| step.weight);
        match self.stage {
            Stage::Growing(index) => index.checked_sub(1).map_or(0, of),
            Stage::Step { index, .. } => of(index),
            Stage::Promoted => 100,
            Stage::Aborted => 0,
        }
    }

    /// The part of the requests for which there have to be replicas now, in percent.
    #[must_use]
    pub fn wanted_weight(&self) -> u32 {
        match self.stage {
            Stage::Growing(index) => self.steps.get(index).map_or(0, |step| step.weight),
            _ => self.weight(),
        }
    }

    /// Whether it has ended.
    #[must_use]
    pub const fn has_ended(&self) -> bool {
        matches!(self.stage, Stage::Promoted | Stage::Aborted)
    }

    /// Takes in what was seen and says what follows. After the end nothing does.
    pub fn next(&mut self, input: &Input, now: Timestamp) -> Vec<Event> {
        match (self.stage, input) {
            (Stage::Promoted | Stage::Aborted, _) => Vec::new(),
            (_, Input::Abort(reason) | Input::Lost(reason)) => self.abort(reason.clone()),
            // Growing -> Step: there are replicas enough.
            (Stage::Growing(index), Input::Ready) => self.begin(index, now),
            (Stage::Growing(_), Input::Tick) | (Stage::Step { .. }, Input::Ready) => Vec::new(),
            // The weight of the step before is judged on while replicas are added.
            (Stage::Growing(_), Input::Measured(interval)) => {
                if self.has_analysis {
                    self.judge.take(interval);
                }
                self.turn_back_if_worse()
            }
            (Stage::Step { since, index, .. }, Input::Measured(interval)) => {
                let warm = self.steps.get(index).map_or(WARM_UP, |step| WARM_UP.min(step.duration / 4));
                if self.has_analysis && now.since(since) >= warm {
                    self.judge.take(interval);
                }
                self.look(now)
            }
            (Stage::Step { .. }, Input::Tick) => self.look(now),
        }
    }

    /// Whether a step can end, well or badly.
    fn look(&mut self, now: Timestamp) -> Vec<Event> {
        let Stage::Step { index, since, is_held } = self.stage else { return Vec::new() };
        let Some(step) = self.steps.get(index).copied() else { return Vec::new() };
        let passed = now.since(since);
        let is_over = passed >= step.duration;
        if !self.has_analysis {
            return if is_over { self.advance(index, "its last step is over") } else { Vec::new() };
        }
        // Where one of the two gets nothing there is nothing to compare.
        let is_compared = step.weight > 0 && step.weight < 100;
        match self.judge.finding() {
            Finding::Worse => self.turn_back_if_worse(),
            Finding::Fine => {
                self.advance(index, "the evidence says that it is as good as the release before it")
            }
            Finding::NoSign | Finding::Unsure if is_over && !is_compared => {
                self.advance(index, "its last step is over")
            }
            Finding::NoSign if is_over => {
                self.advance(index, "no sign that it is worse than the release before it")
            }
            // Step -> Step, held: as long again for the judge to make up his mind.
            Finding::Unsure if is_over && !is_held => {
                self.stage = Stage::Step { index, since, is_held: true };
                vec![Event::Held]
            }
            Finding::Unsure if passed >= step.duration.saturating_mul(2) && self.judge.is_doubtful() => self
                .abort(format!(
                    "after {} requests it cannot be said whether it is worse than the release before it",
                    self.judge.requests
                )),
            Finding::Unsure if passed >= step.duration.saturating_mul(2) => {
                self.advance(index, "little can be said after twice its time, and little speaks against it")
            }
            Finding::NoSign | Finding::Unsure => Vec::new(),
        }
    }

    fn turn_back_if_worse(&mut self) -> Vec<Event> {
        if !self.has_analysis || self.judge.finding() != Finding::Worse {
            return Vec::new();
        }
        let (errors, slow) = (&self.judge.errors, &self.judge.slow);
        let (what, evidence) =
            if errors.bad() >= slow.bad() { ("more errors", errors) } else { ("more slow answers", slow) };
        let reason = format!(
            "it gives {what} than the release before it: {} to {}, {} in {} requests its own; evidence {:.0} to 1",
            evidence.canary,
            evidence.stable,
            evidence.canary,
            self.judge.requests,
            evidence.bad().min(f64::from(i32::MAX).ln()).exp(),
        );
        self.abort(reason)
    }

    /// Step -> Growing: the next one needs replicas; after the last step -> Promoted.
    fn advance(&mut self, index: usize, reason: &str) -> Vec<Event> {
        if index + 1 < self.steps.len() {
            self.stage = Stage::Growing(index + 1);
            return Vec::new();
        }
        self.stage = Stage::Promoted;
        vec![Event::Promoted { reason: reason.to_owned() }]
    }

    fn begin(&mut self, index: usize, now: Timestamp) -> Vec<Event> {
        self.stage = Stage::Step { index, since: now, is_held: false };
        vec![Event::Began { index, weight: self.weight() }]
    }

    /// Whatever it was -> Aborted.
    fn abort(&mut self, reason: String) -> Vec<Event> {
        self.stage = Stage::Aborted;
        vec![Event::Aborted { reason }]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::judge::Counts;
    use crate::random::Random;

    fn step(weight: u32, seconds: u64) -> Step {
        Step { weight, duration: Duration::from_secs(seconds) }
    }

    fn measured(canary: (u64, u64), stable: (u64, u64)) -> Input {
        let counts = |(requests, errors)| Counts { requests, errors, slow: 0 };
        Input::Measured(Interval { canary: counts(canary), stable: counts(stable) })
    }

    /// What happened, in short, when an input comes each second.
    fn story(gray: &mut Gray, inputs: impl IntoIterator<Item = Input>) -> String {
        let mut words = Vec::new();
        for (second, input) in (0..).zip(inputs) {
            for event in gray.next(&input, Timestamp::from_millis(second * 1_000)) {
                words.push(match event {
                    Event::Began { weight, .. } => format!("{second}:{weight}%"),
                    Event::Held => format!("{second}:held"),
                    Event::Promoted { reason } => format!("{second}:promoted, {reason}"),
                    Event::Aborted { reason } => format!("{second}:aborted, {reason}"),
                });
            }
        }
        words.join(" ")
    }

    #[test]
    fn steps_follow_each_other_as_replicas_are_ready() {
        let mut gray = Gray::new(vec![step(10, 3), step(50, 2)], false);
        let inputs = [
            Input::Tick,
            Input::Ready,
            Input::Tick,
            Input::Tick,
            Input::Tick,
            Input::Tick,
            Input::Ready,
            Input::Tick,
            Input::Tick,
        ];
        assert_eq!(story(&mut gray, inputs), "1:10% 6:50% 8:promoted, its last step is over");
        assert_eq!(gray.weight(), 100);
    }

    #[test]
    fn a_canary_without_errors_passes_at_the_end_of_its_steps() {
        let mut gray = Gray::new(vec![step(10, 8)], true);
        let inputs = std::iter::once(Input::Ready).chain((0..10).map(|_| measured((20, 0), (180, 0))));
        assert_eq!(
            story(&mut gray, inputs),
            "0:10% 8:promoted, no sign that it is worse than the release before it"
        );
    }

    #[test]
    fn a_worse_one_is_turned_back_with_its_evidence() {
        let mut gray = Gray::new(vec![step(10, 60), step(50, 60)], true);
        let inputs = std::iter::once(Input::Ready).chain((0..30).map(|_| measured((20, 2), (180, 1))));
        let story = story(&mut gray, inputs);
        assert!(story.starts_with("0:10% ") && story.contains(":aborted, it gives more errors"), "{story}");
        assert_eq!(gray.weight(), 0);
    }

    #[test]
    fn what_cannot_be_judged_is_held_and_then_turned_back() {
        let mut gray = Gray::new(vec![step(10, 3)], true);
        let inputs = std::iter::once(Input::Ready).chain((0..10).map(|_| measured((1, 0), (9, 0))));
        assert_eq!(
            story(&mut gray, inputs),
            "0:10% 3:held 6:aborted, after 6 requests it cannot be said whether it is worse than the release before it"
        );
    }

    #[test]
    fn an_abort_beats_everything() {
        for inputs in [
            vec![Input::Abort("no".to_owned())],
            vec![Input::Ready, Input::Abort("no".to_owned()), Input::Ready, Input::Tick],
            vec![Input::Ready, Input::Tick, Input::Tick, Input::Lost("no".to_owned()), Input::Ready],
        ] {
            let mut gray = Gray::new(vec![step(10, 1), step(90, 1)], false);
            let story = story(&mut gray, inputs);
            assert!(story.ends_with("aborted, no") && gray.weight() == 0, "{story}");
        }
    }

    /// Whether a release is promoted, at 50 requests a second.
    fn is_promoted(seed: u64, stable: f64, canary: f64) -> bool {
        let (mut gray, mut random) = (Gray::new(vec![step(10, 60), step(50, 60)], true), Random(seed));
        for second in 0..600 {
            let now = Timestamp::from_millis(second * 1_000);
            let mine = 50 * u64::from(gray.weight()) / 100;
            let bad = (random.events(mine, canary), random.events(50 - mine, stable));
            gray.next(&measured((mine, bad.0), (50 - mine, bad.1)), now);
            gray.next(&Input::Ready, now);
            if gray.has_ended() {
                break;
            }
        }
        gray.stage == Stage::Promoted
    }

    #[test]
    fn whatever_the_rate_of_errors_a_good_release_is_promoted_and_a_bad_one_is_not() {
        for rate in [0.0, 0.0001, 0.001, 0.01, 0.05] {
            let good = (0..400).filter(|seed| is_promoted(*seed, rate, rate)).count();
            assert!(good >= 380, "{good} of 400 good releases were promoted, at {rate}");
        }
        for (stable, canary) in [(0.0, 0.03), (0.001, 0.03), (0.01, 0.08)] {
            let bad = (0..400).filter(|seed| is_promoted(*seed, stable, canary)).count();
            assert!(bad <= 8, "{bad} of 400 bad releases were promoted, {canary} after {stable}");
        }
    }

    /// Whether a release is turned back, with so many of both kinds of bad events; of the slow answers one in twenty is
    /// what the stable release has by definition.
    fn is_turned_back(seed: u64, errors: [f64; 2], slow: [f64; 2]) -> bool {
        let steps = vec![step(5, 30), step(25, 30), step(50, 30)];
        let (mut gray, mut random) = (Gray::new(steps, true), Random(seed));
        for second in 0..600 {
            let now = Timestamp::from_millis(second * 1_000);
            let mine = 60 * u64::from(gray.weight()) / 100;
            let mut counts = |release: usize, requests| Counts {
                requests,
                errors: random.events(requests, errors[release]),
                slow: random.events(requests, slow[release]),
            };
            let interval = Interval { stable: counts(0, 60 - mine), canary: counts(1, mine) };
            gray.next(&Input::Measured(interval), now);
            gray.next(&Input::Ready, now);
            if gray.has_ended() {
                break;
            }
        }
        gray.stage == Stage::Aborted
    }

    #[test]
    fn of_good_releases_at_most_one_in_twenty_is_turned_back_by_both_metrics_together() {
        for rate in [0.0, 0.001, 0.01] {
            let turned = (0..600).filter(|seed| is_turned_back(*seed, [rate; 2], [0.05; 2])).count();
            assert!(turned <= 30, "{turned} of 600 good releases were turned back, at {rate}");
        }
        let slow = (0..200).filter(|seed| is_turned_back(*seed, [0.001; 2], [0.05, 0.25])).count();
        assert!(slow >= 190, "{slow} of 200 slow releases were found");
    }

    fn inputs() -> impl Strategy<Value = Input> {
        let counts = (0u64..200, 0u64..20, 0u64..20).prop_map(|(requests, errors, slow)| Counts {
            requests,
            errors: errors.min(requests),
            slow: slow.min(requests),
        });
        prop_oneof![
            3 => Just(Input::Ready),
            3 => Just(Input::Tick),
            6 => (counts.clone(), counts).prop_map(|(canary, stable)| Input::Measured(Interval { canary, stable })),
            1 => Just(Input::Lost("lost".to_owned())),
            1 => Just(Input::Abort("asked".to_owned())),
        ]
    }

    proptest! {
        #[test]
        fn weights_are_those_of_the_plan_and_an_end_is_final(
            weights in prop::collection::vec(0u32..=100, 1..5),
            has_analysis: bool,
            inputs in prop::collection::vec(inputs(), 0..60),
        ) {
            let steps = weights.iter().map(|weight| step(*weight, 3)).collect();
            let mut gray = Gray::new(steps, has_analysis);
            let mut ended = None;
            for (second, input) in (0..).zip(inputs) {
                let before = gray.clone();
                let events = gray.next(&input, Timestamp::from_millis(second * 1_000));
                prop_assert!([0, 100].contains(&gray.weight()) || weights.contains(&gray.weight()));
                if let Some(stage) = ended {
                    prop_assert!(gray.stage == stage && events.is_empty());
                } else if matches!(input, Input::Abort(_) | Input::Lost(_)) {
                    prop_assert!(gray.stage == Stage::Aborted && gray.weight() == 0);
                }
                prop_assert!(gray.weight() == before.weight() || !events.is_empty());
                ended = gray.has_ended().then_some(gray.stage);
            }
        }

        /// Whatever is measured: with replicas that come and time that goes by there is an end.
        #[test]
        fn every_gray_release_ends(
            weights in prop::collection::vec(0u32..=100, 1..5),
            has_analysis: bool,
            seed in inputs(),
        ) {
            let steps = weights.iter().map(|weight| step(*weight, 3)).collect();
            let mut gray = Gray::new(steps, has_analysis);
            for second in 0..100u64 {
                let now = Timestamp::from_millis(second * 1_000);
                gray.next(&seed, now);
                gray.next(&Input::Ready, now);
                gray.next(&Input::Tick, now);
            }
            prop_assert!(gray.has_ended(), "{:?}", gray);
        }
    }
}
