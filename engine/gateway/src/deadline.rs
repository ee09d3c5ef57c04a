//! Earliest deadline first: shares requests out in exact proportion to weights.
//!
//! The k-th request of a release with weight w has the deadline k / w; the earliest is served, of equal ones the first in
//! the list. Of every sum-of-weights requests each release gets as many as its weight, spread as evenly as can be.

/// A release's place in the order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Turn {
    /// Its share.
    pub(crate) weight: u32,
    /// How many it has had in this round.
    pub(crate) had: u32,
}

/// The index of the one whose turn it is; `None` when nobody has a weight. Those that `may` not are passed over, and
/// their turns are lost.
pub(crate) fn next(turns: &mut [Turn], may: impl Fn(usize) -> bool) -> Option<usize> {
    let index = earliest(turns, &may)?;
    turns[index].had += 1;
    // A round ends when each that may has had its weight; deadlines begin anew.
    if turns.iter().enumerate().all(|(index, turn)| turn.had >= turn.weight || !may(index)) {
        turns.iter_mut().for_each(|turn| turn.had = 0);
    }
    Some(index)
}

fn earliest(turns: &[Turn], may: impl Fn(usize) -> bool) -> Option<usize> {
    let mut best: Option<usize> = None;
    for (index, turn) in turns.iter().enumerate().filter(|(index, turn)| turn.weight > 0 && may(*index)) {
        let is_earlier = best.is_none_or(|best| {
            let best = &turns[best];
            // (had + 1) / weight, compared without division.
            u64::from(turn.had + 1) * u64::from(best.weight)
                < u64::from(best.had + 1) * u64::from(turn.weight)
        });
        if is_earlier {
            best = Some(index);
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn turns(weights: &[u32]) -> Vec<Turn> {
        weights.iter().map(|weight| Turn { weight: *weight, had: 0 }).collect()
    }

    fn picks(weights: &[u32], count: usize) -> Vec<usize> {
        let mut turns = turns(weights);
        (0..count).filter_map(|_| next(&mut turns, |_| true)).collect()
    }

    #[test]
    fn turns_are_spread_evenly() {
        assert_eq!(picks(&[3, 1], 8), [0, 0, 0, 1, 0, 0, 0, 1]);
        assert_eq!(picks(&[1, 1], 4), [0, 1, 0, 1]);
        assert_eq!(picks(&[5, 2], 7), [0, 0, 1, 0, 0, 0, 1]);
        assert_eq!(picks(&[0, 1], 2), [1, 1]);
        assert_eq!(picks(&[0, 0], 2), [0usize; 0]);
    }

    proptest! {
        #[test]
        fn of_every_sum_of_weights_each_gets_its_weight(
            weights in prop::collection::vec(0u32..30, 1..6),
            rounds in 1usize..4,
        ) {
            let sum = weights.iter().sum::<u32>() as usize;
            let picks = picks(&weights, sum * rounds);
            for round in picks.chunks(sum.max(1)) {
                for (index, weight) in weights.iter().enumerate() {
                    prop_assert_eq!(round.iter().filter(|pick| **pick == index).count(), *weight as usize);
                }
            }
        }

        #[test]
        fn whoever_was_passed_over_does_not_make_up_for_it(weights in prop::collection::vec(1u32..30, 2..6)) {
            let mut turns = turns(&weights);
            for _ in 0..1_000 {
                prop_assert_ne!(next(&mut turns, |index| index != 0), Some(0));
            }
            let sum = weights.iter().sum::<u32>() as usize;
            let again: Vec<_> = (0..2 * sum).filter_map(|_| next(&mut turns, |_| true)).collect();
            let got = again.iter().filter(|pick| **pick == 0).count();
            prop_assert!(got <= 2 * weights[0] as usize + weights[0] as usize, "{}", got);
        }

        #[test]
        fn nobody_is_further_than_one_from_its_share(weights in prop::collection::vec(1u32..30, 2..6), count in 1usize..200) {
            let sum = f64::from(weights.iter().sum::<u32>());
            let picks = picks(&weights, count);
            for (index, weight) in weights.iter().enumerate() {
                let got = picks.iter().filter(|pick| **pick == index).count() as f64;
                let share = count as f64 * f64::from(*weight) / sum;
                prop_assert!((got - share).abs() < weights.len() as f64, "{} of {}", got, share);
            }
        }
    }
}
