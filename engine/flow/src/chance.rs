//! What is left to chance, decided by what it is about: the same in every replay, and with nobody to ask.

use yuanli_model::AttemptId;

/// A number from 0 to 1 (exclusive) that differs from attempt to attempt: FNV-1a over its id, its bits mixed once more
/// as in the finaliser of `MurmurHash3`.
pub(crate) fn chance(attempt: &AttemptId) -> f64 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    let run = attempt.run.as_u128().to_be_bytes();
    let numbers = [attempt.instance.to_be_bytes(), attempt.attempt.to_be_bytes()].concat();
    let bytes = run.iter().chain(attempt.stage.as_str().as_bytes()).chain(&numbers);
    let mut hash = bytes.fold(OFFSET, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(PRIME));
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^= hash >> 33;
    // The 53 bits that a double holds exactly.
    (hash >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use yuanli_model::RunId;

    use super::*;

    #[test]
    fn it_is_spread_evenly_and_the_same_every_time() {
        let of = |run: u128, attempt| {
            let run = RunId::from_u128(run);
            chance(&AttemptId { run, stage: "build".parse().expect("a name"), instance: 0, attempt })
        };
        let drawn: Vec<f64> = (0..2_000).map(|number| of(number / 4, 1 + (number % 4) as u32)).collect();
        assert!(drawn.iter().all(|value| (0.0..1.0).contains(value)));
        for tenth in 0..10 {
            let count = drawn.iter().filter(|value| (**value * 10.0) as u32 == tenth).count();
            assert!((140..260).contains(&count), "{count} of 2,000 are in tenth {tenth}");
        }
        assert_eq!(of(7, 1).to_bits(), of(7, 1).to_bits());
    }
}
