//! Chance that follows from the seed: SplitMix64, which stays the same whatever becomes of a library.

use std::ops::RangeInclusive;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// A source of chance. What is asked of it, and in which order, follows from the seed as well.
#[derive(Debug)]
pub(crate) struct Chance(Mutex<u64>);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Mutex::new(seed))
    }

    /// Another one that goes its own way.
    pub(crate) fn fork(&self) -> Self {
        Self::new(self.next())
    }

    pub(crate) fn next(&self) -> u64 {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number of these.
    pub(crate) fn of(&self, range: RangeInclusive<u64>) -> u64 {
        range.start() + self.next() % (range.end() - range.start() + 1)
    }

    /// True once in so many times; never for 0.
    pub(crate) fn one_in(&self, times: u64) -> bool {
        times > 0 && self.next().is_multiple_of(times)
    }

    /// One of them.
    pub(crate) fn pick<'a, T>(&self, all: &'a [T]) -> &'a T {
        &all[self.of(0..=all.len() as u64 - 1) as usize]
    }

    /// A time of so many milliseconds.
    pub(crate) fn millis(&self, range: RangeInclusive<u64>) -> Duration {
        Duration::from_millis(self.of(range))
    }
}
