//! Fuzz targets, and what stands in for a fuzzer where there is none.
//!
//! A target is a function of bytes that must not panic: one in [`yuanli_store::fuzzing`], [`yuanli_executor::fuzzing`],
//! [`yuanli_wasm::fuzzing`] or [`language`].
//! `fuzz_targets/` makes programs for libFuzzer of them (`scripts/fuzz`). `make test` runs the same functions on
//! [`mutated`] seeds (`tests/bounded.rs`), for some seconds.

pub mod language;

use std::fs;
use std::path::{Path, PathBuf};

use yuanli_store::simulation::Random;

/// Something that takes any bytes.
pub type Target = fn(&[u8]);

/// All of them.
pub const TARGETS: [(&str, Target); 6] = [
    ("journal", yuanli_store::fuzzing::journal),
    ("envelope", yuanli_executor::fuzzing::envelope),
    ("stream", yuanli_store::fuzzing::stream),
    ("document", language::document),
    ("expression", language::expression),
    ("component", yuanli_wasm::fuzzing::component),
];

/// Most changes of a seed at once.
const MOST_CHANGES: usize = 6;
/// Most bytes that are put in or taken out at once.
const MOST_BYTES: usize = 32;
/// Bytes at which numbers do what they do not do elsewhere.
const EDGES: [u8; 8] = [0, 1, 2, 16, 127, 128, 254, 255];

/// The folder with the seeds of a target.
#[must_use]
pub fn seeds_of(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(target)
}

/// The seeds of a target, by name.
///
/// # Errors
/// What the system says.
pub fn seeds(target: &str) -> std::io::Result<Vec<Vec<u8>>> {
    let mut paths = fs::read_dir(seeds_of(target))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()?;
    paths.sort();
    paths.into_iter().map(fs::read).collect()
}

/// One of the seeds with some changes, as a fuzzer would make them that learns nothing from what comes of them.
#[must_use]
pub fn mutated(seeds: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut case = seeds[random.below(seeds.len())].clone();
    for _ in 0..=random.below(MOST_CHANGES) {
        let at = random.below(case.len() + 1);
        match random.below(8) {
            0 => case.truncate(at),
            1 => case.splice(at..at, (0..random.below(MOST_BYTES)).map(|_| 0)).for_each(drop),
            2 => {
                let end = (at + random.below(MOST_BYTES)).min(case.len());
                case.drain(at..end);
            }
            3 => {
                let other = &seeds[random.below(seeds.len())];
                case.truncate(at);
                case.extend(&other[random.below(other.len() + 1)..]);
            }
            change => {
                if let Some(byte) = case.get_mut(at) {
                    *byte = match change {
                        4 => *byte ^ (1 << random.below(8)),
                        5 => EDGES[random.below(EDGES.len())],
                        6 => byte.wrapping_add(random.below(3) as u8).wrapping_sub(1),
                        _ => random.number() as u8,
                    };
                }
            }
        }
    }
    case
}
