//! The one function that joins all wishes for a number of replicas into the desired count, and keeps its reasons.

use std::fmt;

use yuanli_model::Timestamp;
use yuanli_model::app::App;

use crate::metric::Proposal;
use crate::stabilise::{Behaviour, History};
use crate::window::{self, Upcoming};

/// Everything that a decision depends on.
#[derive(Debug, Clone, PartialEq)]
pub struct Inputs<'a> {
    /// When.
    pub now: Timestamp,
    /// The app as it is declared.
    pub app: &'a App,
    /// How many somebody wants, in place of what is declared.
    pub wish: Option<u32>,
    /// How many there are to be until now.
    pub current: u32,
    /// What load asks for; `None` when it is not measured now, or cannot be.
    pub load: Load,
    /// The windows of the policy with their next times.
    pub windows: &'a [Upcoming],
    /// Whether the number may not change now: a backup holds the replicas still, or the first roll-out is on its way.
    pub is_held: bool,
}

/// What load asks for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Load {
    /// The app is not scaled by load.
    None,
    /// It is, and was not measured since the last decision.
    Waiting,
    /// It is, and cannot be measured.
    Unknown,
    /// It asks for this.
    Proposal(Proposal),
}

/// How many replicas there are to be, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// So many.
    pub desired: u32,
    /// What counted, in the order in which it did.
    pub reasons: Vec<Reason>,
}

/// Something that counted in a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// The document says so.
    Declared(u32),
    /// Somebody wants so many, in place of what the document says.
    Wished(u32),
    /// Load asks for so many; measured and target in thousandths.
    Load { count: u32, measured: u64, target: u64 },
    /// Of that, so many are followed now: see [`crate::stabilise`].
    Stabilised(u32),
    /// Load cannot be measured: the count may grow by other reasons, and does not fall.
    Unmeasured(u32),
    /// An open window asks for at least so many.
    Window(u32),
    /// The policy allows no fewer.
    Minimum(u32),
    /// The policy allows no more.
    Maximum(u32),
    /// An exclusive volume allows one.
    Exclusive,
    /// The number may not change now.
    Held(u32),
}

/// How many replicas there are to be. Takes the proposal of load into `history`.
#[must_use]
pub fn decide(inputs: &Inputs<'_>, behaviour: Behaviour, history: &mut History) -> Decision {
    let mut reasons = Vec::new();
    let mut count = match inputs.wish {
        Some(wish) => note(&mut reasons, Reason::Wished(wish), wish),
        None => note(&mut reasons, Reason::Declared(inputs.app.replicas), inputs.app.replicas),
    };
    // Somebody's wish is not undone by load.
    if inputs.wish.is_none() {
        count = by_load(inputs, behaviour, history, count, &mut reasons);
    }
    if let Some(floor) = window::floor(inputs.windows).filter(|floor| *floor > count) {
        count = note(&mut reasons, Reason::Window(floor), floor);
    }
    if let Some(policy) = &inputs.app.scaling {
        if count < policy.minimum {
            count = note(&mut reasons, Reason::Minimum(policy.minimum), policy.minimum);
        }
        if count > policy.maximum {
            count = note(&mut reasons, Reason::Maximum(policy.maximum), policy.maximum);
        }
    }
    if inputs.app.is_exclusive() && count > 1 {
        count = note(&mut reasons, Reason::Exclusive, 1);
    }
    if inputs.is_held && count != inputs.current {
        count = note(&mut reasons, Reason::Held(inputs.current), inputs.current);
    }
    Decision { desired: count, reasons }
}

fn by_load(
    inputs: &Inputs<'_>,
    behaviour: Behaviour,
    history: &mut History,
    count: u32,
    reasons: &mut Vec<Reason>,
) -> u32 {
    match inputs.load {
        Load::None => count,
        Load::Waiting => {
            let kept = if inputs.current == 0 { count } else { inputs.current };
            note(reasons, Reason::Stabilised(kept), kept)
        }
        Load::Unknown => {
            let kept = inputs.current.max(count);
            note(reasons, Reason::Unmeasured(kept), kept)
        }
        Load::Proposal(proposal) => {
            let bounds = inputs.app.scaling.as_ref().map_or((1, u32::MAX), |p| (p.minimum, p.maximum));
            // Bounded before it is remembered: what may not be followed must not hold the count up later.
            let bounded = proposal.count.max(bounds.0).min(bounds.1);
            let followed = history.follow(behaviour, inputs.now, inputs.current, bounded);
            let thousandths = |value: f64| (value * 1_000.0) as u64;
            let (measured, target) = (thousandths(proposal.measured), thousandths(proposal.target));
            reasons.push(Reason::Load { count: proposal.count, measured, target });
            if followed != proposal.count {
                reasons.push(Reason::Stabilised(followed));
            }
            followed
        }
    }
}

fn note(reasons: &mut Vec<Reason>, reason: Reason, count: u32) -> u32 {
    reasons.push(reason);
    count
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Declared(count) => write!(f, "the document declares {count}"),
            Self::Wished(count) => write!(f, "somebody asked for {count}"),
            Self::Load { count, measured, target } => {
                let [measured, target] = [measured, target].map(|value| *value as f64 / 1_000.0);
                write!(f, "load asks for {count}: measured {measured}, target {target} per replica")
            }
            Self::Stabilised(count) => {
                write!(
                    f,
                    "{count} of that now: up at most four more or twice as many in 15 s, down after a while"
                )
            }
            Self::Unmeasured(count) => write!(f, "load cannot be measured, so it stays at {count} at least"),
            Self::Window(count) => write!(f, "an open window asks for at least {count}"),
            Self::Minimum(count) => write!(f, "the policy's minimum is {count}"),
            Self::Maximum(count) => write!(f, "the policy's maximum is {count}"),
            Self::Exclusive => write!(f, "an exclusive volume allows one"),
            Self::Held(count) => write!(f, "it stays at {count} while the replicas are held still"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use yuanli_model::app::{Health, ReleaseSpec, ScalingPolicy, Target};

    use super::*;

    fn app(replicas: u32, scaling: Option<(u32, u32)>) -> App {
        let spec = ReleaseSpec {
            command: Vec::new(),
            environment: Default::default(),
            port: 80,
            health: Health::default(),
            volumes: Vec::new(),
            drain: Duration::from_secs(10),
            cpu_millis: None,
            memory_bytes: None,
        };
        let scaling = scaling.map(|(minimum, maximum)| ScalingPolicy {
            minimum,
            maximum,
            metric: Some(Target::InFlight { per_replica: 10.0 }),
            windows: Vec::new(),
        });
        let name = "shop".parse().expect("a name");
        App { name, image: "shop".to_owned(), spec, replicas, route: None, scaling }
    }

    fn load(count: u32) -> Load {
        Load::Proposal(Proposal { count, measured: 20.0, target: 10.0 })
    }

    fn desired(app: &App, change: impl FnOnce(&mut Inputs<'_>)) -> (u32, String) {
        let mut inputs = Inputs {
            now: Timestamp::from_millis(0),
            app,
            wish: None,
            current: 2,
            load: Load::None,
            windows: &[],
            is_held: false,
        };
        change(&mut inputs);
        let decision = decide(&inputs, Behaviour::default(), &mut History::default());
        let reasons = decision.reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        (decision.desired, reasons)
    }

    #[test]
    fn wishes_are_joined_in_one_order() {
        const OPEN: [Upcoming; 1] =
            [Upcoming { start: None, end: Some(Timestamp::from_millis(1)), replicas: 4 }];
        let plain = app(2, None);
        let scaled = app(2, Some((1, 5)));
        assert_eq!(desired(&plain, |_| {}).0, 2);
        assert_eq!(desired(&plain, |i| i.wish = Some(7)).0, 7);
        assert_eq!(desired(&plain, |i| i.wish = Some(0)).0, 0);
        assert_eq!(desired(&scaled, |i| i.load = load(4)).0, 4);
        assert_eq!(desired(&scaled, |i| i.load = load(9)).0, 5);
        assert_eq!(desired(&scaled, |i| i.load = Load::Unknown).0, 2);
        assert_eq!(desired(&scaled, |i| i.windows = &OPEN).0, 4);
        assert_eq!(desired(&scaled, |i| (i.load = load(9), i.windows = &OPEN).1).0, 5);
        assert_eq!(desired(&scaled, |i| (i.wish = Some(3), i.load = load(5)).1).0, 3);
        assert_eq!(desired(&scaled, |i| i.wish = Some(50)).0, 5);
        assert_eq!(desired(&scaled, |i| (i.load = load(5), i.is_held = true).1).0, 2);
        assert_eq!(
            desired(&scaled, |i| (i.load = load(9), i.windows = &OPEN).1).1,
            "the document declares 2; load asks for 9: measured 20, target 10 per replica; \
             5 of that now: up at most four more or twice as many in 15 s, down after a while"
        );
    }

    proptest! {
        #[test]
        fn the_count_is_within_bounds_and_load_that_is_unknown_takes_nothing(
            bounds in (1u32..5, 0u32..5),
            wish in prop::option::of(0u32..20),
            current in 0u32..12,
            count in prop::option::of(0u32..30),
        ) {
            let (minimum, maximum) = (bounds.0, bounds.0 + bounds.1);
            let app = app(2, Some((minimum, maximum)));
            let load = count.map_or(Load::Unknown, load);
            let (desired, _) = desired(&app, |inputs| {
                (inputs.wish, inputs.current, inputs.load) = (wish, current, load);
            });
            prop_assert!((minimum..=maximum).contains(&desired));
            if wish.is_none() && count.is_none() {
                prop_assert!(desired >= current.min(maximum));
            }
        }
    }
}
