//! A small generator for tests, so that every run sees the same releases (splitmix64).

/// With its seed.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (bits ^ (bits >> 31)) as f64 / u64::MAX as f64
    }

    /// How many of so many requests have a bad end that each has with this chance.
    pub(crate) fn events(&mut self, requests: u64, chance: f64) -> u64 {
        (0..requests).filter(|_| self.next() < chance).count() as u64
    }
}
