//! Which replicas to start and which to drain, so that as many serve as are to be, at every moment.
//!
//! A roll-out starts replicas of the new release before it takes any of the old one away: never fewer serve than are to
//! be, unless fewer did before. It starts some more than are to be at once (a quarter, as Kubernetes' deployments do by
//! default), so its length does not grow with the number of replicas. An exclusive volume turns the order round.

use std::cmp::Reverse;
use std::time::Duration;

use yuanli_model::Timestamp;
use yuanli_model::app::ReleaseNumber;

use crate::replica::Phase;

/// A part of this many of the replicas may be started in addition during a roll-out, at least one.
const SURGE_DIVISOR: u32 = 4;
/// Failures in a row of a release after which its roll-out counts as failed.
pub const MAX_FAILURES: u32 = 3;
/// Wait before a replica is started after the first failure of its release; each further one doubles it.
const FIRST_BACK_OFF: Duration = Duration::from_millis(500);
/// The longest such wait.
const LONGEST_BACK_OFF: Duration = Duration::from_secs(60);

/// A replica, as a plan sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Its number.
    pub number: u64,
    /// Its release.
    pub release: ReleaseNumber,
    /// How far it is.
    pub phase: Phase,
}

/// What there is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// The release that all replicas but those of a canary are to be of.
    pub release: ReleaseNumber,
    /// How many of them.
    pub count: u32,
    /// A release that is tried beside it, with its number of replicas.
    pub canary: Option<(ReleaseNumber, u32)>,
    /// Whether no replica may start while another one is there.
    pub is_exclusive: bool,
}

/// What to do. Nothing of it is done twice: what was planned is seen by the next plan.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// For each, a replica to start.
    pub start: Vec<ReleaseNumber>,
    /// Numbers of the replicas that are not needed any more.
    pub drain: Vec<u64>,
}

/// What to do so that there is what there is to be. `may_start` says whether a release may have a replica started now,
/// which it may not for a while after a failure.
#[must_use]
pub fn plan(wanted: &Wanted, replicas: &[Seen], may_start: impl Fn(ReleaseNumber) -> bool) -> Plan {
    let mut plan = Plan::default();
    if let Some((canary, count)) = wanted.canary {
        fill(&mut plan, replicas, canary, count, u32::MAX);
    }
    if wanted.is_exclusive {
        exclusive(&mut plan, wanted, replicas);
    } else {
        roll(&mut plan, wanted, replicas);
    }
    plan.start.retain(|release| may_start(*release));
    plan
}

/// Whether everything is as it is to be: of the release as many serve as are wanted, and of no other one is anything
/// left but what is leaving.
#[must_use]
pub fn is_settled(wanted: &Wanted, replicas: &[Seen]) -> bool {
    let mut others = replicas.iter().filter(|seen| !is_of(wanted, seen.release));
    serving(replicas, wanted.release) >= wanted.count && others.all(|seen| seen.phase.is_leaving())
}

/// How long to wait before a replica of a release is started that has failed so often in a row.
#[must_use]
pub fn back_off(failures: u32) -> Duration {
    match failures {
        0 => Duration::ZERO,
        failures => FIRST_BACK_OFF.saturating_mul(1 << (failures - 1).min(16)).min(LONGEST_BACK_OFF),
    }
}

/// Whether the wait after the last failure is over.
#[must_use]
pub fn may_start(failures: u32, last_failure: Option<Timestamp>, now: Timestamp) -> bool {
    last_failure.is_none_or(|last| now.since(last) >= back_off(failures))
}

/// How many replicas a canary needs for its part of the requests, so that each of its replicas has about as many as one
/// of the stable release: at least one, for a part of nothing too.
#[must_use]
pub fn canary_count(stable: u32, weight: u32) -> u32 {
    let (stable, weight) = (u64::from(stable), u64::from(weight.min(100)));
    u32::try_from((stable * weight).div_ceil(100)).unwrap_or(u32::MAX).max(1)
}

fn is_of(wanted: &Wanted, release: ReleaseNumber) -> bool {
    release == wanted.release || wanted.canary.is_some_and(|(canary, _)| canary == release)
}

fn count(replicas: &[Seen], is_counted: impl Fn(&Seen) -> bool) -> u32 {
    u32::try_from(replicas.iter().filter(|seen| is_counted(seen)).count()).unwrap_or(u32::MAX)
}

fn serving(replicas: &[Seen], release: ReleaseNumber) -> u32 {
    count(replicas, |seen| seen.release == release && seen.phase.is_serving())
}

/// Brings a release to `count` replicas, `room` of which may be started now.
fn fill(plan: &mut Plan, replicas: &[Seen], release: ReleaseNumber, wanted: u32, room: u32) {
    let own: Vec<&Seen> = replicas.iter().filter(|seen| seen.release == release).collect();
    let alive = u32::try_from(own.iter().filter(|seen| seen.phase.is_alive()).count()).unwrap_or(u32::MAX);
    let missing = wanted.saturating_sub(alive).min(room);
    plan.start.extend(std::iter::repeat_n(release, missing as usize));
    // What has failed is replaced: it goes once another one serves in its place, or at once when it is not needed.
    let serving =
        u32::try_from(own.iter().filter(|seen| seen.phase.is_serving()).count()).unwrap_or(u32::MAX);
    if serving >= wanted {
        plan.drain.extend(
            own.iter().filter(|seen| matches!(seen.phase, Phase::Failing { .. })).map(|seen| seen.number),
        );
    }
    // The youngest goes first, and before all one that does not serve yet.
    let mut surplus: Vec<&&Seen> = own.iter().filter(|seen| seen.phase.is_alive()).collect();
    surplus.sort_by_key(|seen| (seen.phase.is_serving(), Reverse(seen.number)));
    let excess = alive.saturating_sub(wanted) as usize;
    plan.drain.extend(surplus.iter().take(excess).map(|seen| seen.number));
}

/// Brings all but a canary to the wanted release, with as many serving as are to be.
fn roll(plan: &mut Plan, wanted: &Wanted, replicas: &[Seen]) {
    let old: Vec<&Seen> =
        replicas.iter().filter(|seen| !is_of(wanted, seen.release) && !seen.phase.is_leaving()).collect();
    let room = if old.is_empty() {
        u32::MAX
    } else {
        let surge = wanted.count.div_ceil(SURGE_DIVISOR).max(1);
        let there = count(replicas, |seen| {
            seen.phase.is_alive() && wanted.canary.is_none_or(|(canary, _)| canary != seen.release)
        });
        wanted.count.saturating_add(surge).saturating_sub(there)
    };
    fill(plan, replicas, wanted.release, wanted.count, room);
    // Of the old ones go: those that do not serve, and as many of the others as are not needed for the count.
    let (serving_old, idle): (Vec<&Seen>, Vec<&Seen>) =
        old.into_iter().partition(|seen| seen.phase.is_serving());
    plan.drain.extend(idle.iter().map(|seen| seen.number));
    let serving_old_count = u32::try_from(serving_old.len()).unwrap_or(u32::MAX);
    let needed = wanted.count.saturating_sub(serving(replicas, wanted.release));
    let excess = serving_old_count.saturating_sub(needed) as usize;
    plan.drain.extend(serving_old.iter().take(excess).map(|seen| seen.number));
}

/// One after the other: nothing starts before all else is gone.
fn exclusive(plan: &mut Plan, wanted: &Wanted, replicas: &[Seen]) {
    let target = wanted.count.min(1);
    let keep = replicas
        .iter()
        .filter(|seen| seen.release == wanted.release && seen.phase.is_alive())
        .min_by_key(|seen| (!seen.phase.is_serving(), seen.number))
        .filter(|_| target == 1)
        .map(|seen| seen.number);
    let others = replicas.iter().filter(|seen| Some(seen.number) != keep && !seen.phase.is_leaving());
    plan.drain.extend(others.map(|seen| seen.number));
    if target == 1 && replicas.is_empty() {
        plan.start.push(wanted.release);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NEVER: Timestamp = Timestamp::from_millis(0);
    const SERVING: Phase = Phase::Serving { since: NEVER, bad: 0 };
    const STARTING: Phase = Phase::Starting { since: NEVER, good: 0 };

    fn wanted(count: u32) -> Wanted {
        Wanted { release: ReleaseNumber(2), count, canary: None, is_exclusive: false }
    }

    /// Replicas from texts such as `1s 1s 2p`: release and first letter of the phase; numbered from 1.
    fn replicas(text: &str) -> Vec<Seen> {
        let phase = |letter| match letter {
            'p' => Phase::Planned,
            'b' => STARTING,
            's' => SERVING,
            'f' => Phase::Failing { good: 0 },
            'd' => Phase::Draining { since: NEVER },
            'x' => Phase::Stopping,
            other => panic!("no phase {other}"),
        };
        let seen = |(number, word): (u64, &str)| {
            let mut letters = word.chars();
            let release = letters.next().and_then(|digit| digit.to_digit(10)).expect("a digit");
            Seen { number, release: ReleaseNumber(release), phase: phase(letters.next().expect("a phase")) }
        };
        (1..).zip(text.split_whitespace()).map(seen).collect()
    }

    /// `+2 +2 -1`: starts by release, drains by number.
    fn planned(wanted: &Wanted, text: &str) -> String {
        let plan = plan(wanted, &replicas(text), |_| true);
        let starts = plan.start.iter().map(|release| format!("+{}", release.0));
        let drains = plan.drain.iter().map(|number| format!("-{number}"));
        starts.chain(drains).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_plan_brings_what_there_is_to_what_there_is_to_be() {
        for (count, before, expected) in [
            // The first roll-out, and scaling up: all at once.
            (2, "", "+2 +2"),
            (3, "2s 2p", "+2"),
            (2, "2s 2s", ""),
            // Scaling down: the youngest, and what does not serve yet before all.
            (1, "2s 2s 2s", "-3 -2"),
            (2, "2s 2b 2s", "-2"),
            (0, "2s", "-1"),
            // A roll-out: one more than there are to be, then one after the other goes.
            (2, "1s 1s", "+2"),
            (2, "1s 1s 2b", ""),
            (2, "1s 1s 2s", "-1"),
            (2, "1d 1s 2s", "+2"),
            (2, "1x 1s 2s 2s", "-2"),
            (8, "1s 1s 1s 1s 1s 1s 1s 1s", "+2 +2"),
            // What never served is no loss.
            (2, "1s 1p 1f", "+2 -2 -3"),
            // What fails is replaced, and goes when another one serves.
            (2, "2s 2f", "+2"),
            (2, "2s 2f 2b", ""),
            (2, "2s 2f 2s", "-2"),
            // What died is replaced.
            (2, "2s 2x", "+2"),
        ] {
            assert_eq!(planned(&wanted(count), before), expected, "{count} of {before}");
        }
    }

    #[test]
    fn a_canary_is_beside_and_never_in_place_of_the_stable_ones() {
        let canary = Wanted { canary: Some((ReleaseNumber(3), 1)), ..wanted(2) };
        for (before, expected) in
            [("2s 2s", "+3"), ("2s 2s 3b", ""), ("2s 2s 3s 3s", "-4"), ("2s 3s", "+2"), ("1s 1s 3s", "+2")]
        {
            assert_eq!(planned(&canary, before), expected, "{before}");
        }
        assert_eq!([0, 1, 10, 34, 50, 100].map(|weight| canary_count(3, weight)), [1, 1, 1, 2, 2, 3]);
    }

    #[test]
    fn exclusive_replicas_follow_each_other() {
        let exclusive = Wanted { is_exclusive: true, ..wanted(1) };
        for (before, expected) in
            [("", "+2"), ("1s", "-1"), ("1d", ""), ("1x", ""), ("2b", ""), ("2f", "-1"), ("2s 2p", "-2")]
        {
            assert_eq!(planned(&exclusive, before), expected, "{before}");
        }
    }

    #[test]
    fn waits_after_failures_double_up_to_a_minute() {
        let seconds = [0, 1, 2, 3, 7, 8, 40].map(|failures| back_off(failures).as_millis());
        assert_eq!(seconds, [0, 500, 1_000, 2_000, 32_000, 60_000, 60_000]);
        let at = Timestamp::from_millis;
        assert!(may_start(0, None, at(0)));
        assert!(!may_start(2, Some(at(1_000)), at(1_999)) && may_start(2, Some(at(1_000)), at(2_000)));
    }

    /// What the world may do next with a replica.
    fn phases() -> impl Strategy<Value = Phase> {
        prop_oneof![
            Just(Phase::Planned),
            Just(STARTING),
            Just(SERVING),
            Just(SERVING),
            Just(Phase::Failing { good: 0 }),
            Just(Phase::Draining { since: NEVER }),
            Just(Phase::Stopping),
        ]
    }

    proptest! {
        #[test]
        fn a_plan_never_takes_what_is_needed(
            count in 0u32..8,
            world in prop::collection::vec((1u32..4, phases()), 0..14),
        ) {
            let wanted = wanted(count);
            let replicas: Vec<Seen> = (1..)
                .zip(world)
                .map(|(number, (release, phase))| Seen { number, release: ReleaseNumber(release), phase })
                .collect();
            let plan = plan(&wanted, &replicas, |_| true);
            let serves = |seen: &&Seen| seen.phase.is_serving();
            let before = replicas.iter().filter(serves).count();
            let after = replicas.iter().filter(serves).filter(|seen| !plan.drain.contains(&seen.number)).count();
            prop_assert!(after >= before.min(count as usize), "{after} of {before} serve on");
            let mut drained = plan.drain.clone();
            drained.sort_unstable();
            drained.dedup();
            prop_assert_eq!(drained.len(), plan.drain.len(), "drained twice");
            prop_assert!(replicas.iter().filter(|seen| plan.drain.contains(&seen.number)).all(|seen| !seen.phase.is_leaving()));
            prop_assert!(plan.start.iter().all(|release| *release == wanted.release));
        }

        /// A world in which every start succeeds and every drain ends comes to rest where it is to be.
        #[test]
        fn a_roll_out_ends(
            count in 0u32..8,
            is_exclusive: bool,
            world in prop::collection::vec((1u32..4, phases()), 0..14),
        ) {
            let count = if is_exclusive { count.min(1) } else { count };
            let wanted = Wanted { is_exclusive, ..wanted(count) };
            let mut replicas: Vec<Seen> = (1..)
                .zip(world)
                .map(|(number, (release, phase))| Seen { number, release: ReleaseNumber(release), phase })
                .collect();
            for _ in 0..100 {
                let plan = plan(&wanted, &replicas, |_| true);
                replicas.retain(|seen| !seen.phase.is_leaving());
                for seen in &mut replicas {
                    seen.phase = if plan.drain.contains(&seen.number) {
                        Phase::Stopping
                    } else if seen.phase.is_alive() {
                        SERVING
                    } else {
                        seen.phase
                    };
                }
                let next = replicas.iter().map(|seen| seen.number).max().unwrap_or(100) + 1;
                replicas.extend((next..).zip(&plan.start).map(|(number, release)| Seen {
                    number,
                    release: *release,
                    phase: Phase::Planned,
                }));
            }
            prop_assert!(is_settled(&wanted, &replicas), "{:?}", replicas);
            prop_assert_eq!(replicas.len(), count as usize);
        }
    }
}
