//! What load asks for: the arithmetic of Kubernetes' horizontal pod autoscaler, version 2.
//!
//! Sources: the algorithm in Kubernetes' documentation ("Horizontal Pod Autoscaling", algorithm details) and the
//! controller's replica calculator, whose corrections for missing and unready replicas are followed here.

use yuanli_model::app::Target;

/// Ratios so near to 1 are no reason to move; Kubernetes' default.
pub const TOLERANCE: f64 = 0.1;

/// What a replica was measured to use.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// How much: thousandths of a processor, or requests in flight; `None` when it is not known.
    pub used: Option<f64>,
    /// Whether it serves.
    pub is_ready: bool,
}

/// What the samples ask for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Proposal {
    /// So many replicas.
    pub count: u32,
    /// What was measured: percent of the request for a processor share, the average for requests in flight.
    pub measured: f64,
    /// What it is to be.
    pub target: f64,
}

/// What the samples of `current` replicas ask for. `request` is what a replica requests of what is measured (thousandths
/// of a processor); for requests in flight it is not used. `None` when nothing is known of any replica that serves.
#[must_use]
pub fn propose(target: Target, request: f64, current: u32, samples: &[Sample]) -> Option<Proposal> {
    let scale = Scale::of(target, request);
    let known: Vec<f64> = samples.iter().filter(|sample| sample.is_ready).filter_map(|s| s.used).collect();
    if known.is_empty() {
        return None;
    }
    let missing = samples.iter().filter(|sample| sample.is_ready && sample.used.is_none()).count();
    let unready = samples.iter().filter(|sample| !sample.is_ready).count();
    let measured = scale.measured(known.iter().sum(), known.len());
    let proposal = |count| Some(Proposal { count, measured, target: scale.target });
    let ratio = measured / scale.target;
    if is_near(ratio) {
        return proposal(current);
    }
    let counts_unready = unready > 0 && ratio > 1.0;
    if !counts_unready && missing == 0 {
        return proposal(ceil(ratio * known.len() as f64));
    }
    // Those of which nothing is known are taken for what makes the move smaller.
    let filled = if ratio < 1.0 { scale.full * missing as f64 } else { 0.0 };
    let replicas = known.len() + missing + if counts_unready { unready } else { 0 };
    let corrected = scale.measured(known.iter().sum::<f64>() + filled, replicas) / scale.target;
    let turned = (ratio < 1.0 && corrected > 1.0) || (ratio > 1.0 && corrected < 1.0);
    if is_near(corrected) || turned {
        return proposal(current);
    }
    let count = ceil(corrected * replicas as f64);
    let is_backwards = (corrected < 1.0 && count > current) || (corrected > 1.0 && count < current);
    proposal(if is_backwards { current } else { count })
}

/// How a target is measured.
struct Scale {
    target: f64,
    /// What a replica counts for of which nothing is known, when the others ask for fewer.
    full: f64,
    /// What each replica requests, when the share of it is what counts.
    request: Option<f64>,
}

impl Scale {
    fn of(target: Target, request: f64) -> Self {
        match target {
            Target::Cpu { percent } => {
                let target = f64::from(percent);
                Self { target, full: request * target.max(100.0) / 100.0, request: Some(request) }
            }
            Target::InFlight { per_replica } => {
                Self { target: per_replica, full: per_replica, request: None }
            }
        }
    }

    /// Utilisation in whole percent, rounded down, or the plain average.
    fn measured(&self, used: f64, replicas: usize) -> f64 {
        match self.request {
            Some(request) => (100.0 * used / (request * replicas as f64)).floor(),
            None => used / replicas as f64,
        }
    }
}

fn is_near(ratio: f64) -> bool {
    (1.0 - ratio).abs() <= TOLERANCE
}

/// Rounded up, but for what binary fractions add to a whole number.
fn ceil(count: f64) -> u32 {
    const SLIP: f64 = 1e-9;
    // Casting saturates at both ends.
    (count - SLIP).ceil() as u32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CPU: Target = Target::Cpu { percent: 50 };
    const FLIGHT: Target = Target::InFlight { per_replica: 10.0 };

    /// Samples from a text: a number is used, `?` is unknown, `~` in front is not ready.
    fn samples(text: &str) -> Vec<Sample> {
        let sample = |word: &str| {
            let (is_ready, word) = word.strip_prefix('~').map_or((true, word), |word| (false, word));
            Sample { used: word.parse().ok(), is_ready }
        };
        text.split_whitespace().map(sample).collect()
    }

    fn count(target: Target, current: u32, text: &str) -> Option<u32> {
        propose(target, 1_000.0, current, &samples(text)).map(|proposal| proposal.count)
    }

    #[test]
    fn load_asks_for_replicas_as_kubernetes_computes_them() {
        for (target, current, text, expected) in [
            // Twice the target, half of it, inside of the tolerance.
            (CPU, 2, "1000 1000", Some(4)),
            (CPU, 4, "250 250 250 250", Some(2)),
            (CPU, 2, "540 540", Some(2)),
            (CPU, 2, "560 560", Some(3)),
            // 54.9 percent are 54, rounded down, which is inside.
            (CPU, 2, "549 549", Some(2)),
            (FLIGHT, 2, "30 10", Some(4)),
            (FLIGHT, 3, "0 0 0", Some(0)),
            // Missing ones count as full when the others ask for fewer, as idle when they ask for more.
            (CPU, 3, "100 100 ?", Some(3)),
            (CPU, 4, "100 100 100 ?", Some(3)),
            (CPU, 3, "1000 1000 ?", Some(4)),
            (CPU, 2, "600 ?", Some(2)),
            // Whoever is at the target, or near, asks for nothing, whatever is missing.
            (CPU, 3, "218 783 ?", Some(3)),
            (CPU, 3, "540 540 ?", Some(3)),
            (CPU, 3, "460 460 ?", Some(3)),
            (FLIGHT, 3, "2 2 ?", Some(2)),
            // Unready ones count as idle when the others ask for more, and not at all when they ask for fewer.
            (CPU, 3, "1000 1000 ~0", Some(4)),
            (CPU, 4, "1000 ~0 ~0 ~0", Some(4)),
            (CPU, 3, "100 100 ~0", Some(1)),
            (CPU, 2, "? ?", None),
            (CPU, 2, "~100 ~100", None),
            (CPU, 2, "", None),
        ] {
            assert_eq!(count(target, current, text), expected, "{target:?} {current} of {text}");
        }
    }

    proptest! {
        #[test]
        fn no_knowledge_never_makes_the_move_larger(
            used in prop::collection::vec(0.0f64..2_000.0, 1..10),
            unknown in 0usize..5,
        ) {
            let known: Vec<Sample> = used.iter().map(|used| Sample { used: Some(*used), is_ready: true }).collect();
            let mut with = known.clone();
            with.extend(std::iter::repeat_n(Sample { used: None, is_ready: true }, unknown));
            let (few, all) = (known.len() as u32, with.len() as u32);
            let asked = propose(CPU, 1_000.0, few, &known).expect("known").count;
            let corrected = propose(CPU, 1_000.0, all, &with).expect("known").count;
            // In the direction that the known ones ask for, or not at all.
            if asked >= few { prop_assert!(corrected >= all); }
            if asked <= few { prop_assert!(corrected <= all); }
        }
    }
}
