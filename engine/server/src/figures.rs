//! What an engine that stays has done, in numbers, for `/metrics`: what came of triggers, and what was answered. What executor,
//! store, plugins and Docker count is theirs.
//!
//! What can be a label is listed here: none is made of what a request says.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use yuanli_executor::Started;
use yuanli_ports::figure::{Counted, Durations, OF_REQUESTS};

use crate::refusal::Refusal;

/// What starts runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trigger {
    Request,
    Schedule,
    Webhook,
    Metric,
    Event,
}

impl Trigger {
    const ALL: [Self; 5] = [Self::Request, Self::Schedule, Self::Webhook, Self::Metric, Self::Event];

    const fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Schedule => "schedule",
            Self::Webhook => "webhook",
            Self::Metric => "metric",
            Self::Event => "event",
        }
    }
}

/// What came of a trigger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Came {
    /// A run was started.
    Started,
    /// The same cause had started one before.
    Known,
    /// The run that its schedule has started goes on.
    Overlap,
    /// It waits for that run.
    Waiting,
    /// The filter of the webhook does not take it.
    Filter,
    /// The workflow is paused.
    Paused,
    /// It is not signed as it has to be.
    Signature,
    /// Inputs, secrets or the workflow itself are wrong.
    Invalid,
    /// It does not fit what happens now.
    Conflict,
    /// The engine ends, or something that it needs is not there.
    Unavailable,
    /// This machine failed at it; where nobody waits for the answer it is tried again.
    Failed,
}

impl Came {
    const ALL: [Self; 11] = [
        Self::Started,
        Self::Known,
        Self::Overlap,
        Self::Waiting,
        Self::Filter,
        Self::Paused,
        Self::Signature,
        Self::Invalid,
        Self::Conflict,
        Self::Unavailable,
        Self::Failed,
    ];

    /// Outcome and reason.
    const fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Started => ("started", ""),
            Self::Known => ("skipped", "known"),
            Self::Overlap => ("skipped", "overlap"),
            Self::Waiting => ("waiting", "overlap"),
            Self::Filter => ("skipped", "filter"),
            Self::Paused => ("skipped", "paused"),
            Self::Signature => ("refused", "signature"),
            Self::Invalid => ("refused", "invalid"),
            Self::Conflict => ("refused", "conflict"),
            Self::Unavailable => ("refused", "unavailable"),
            Self::Failed => ("failed", "engine"),
        }
    }

    /// What came of a start.
    pub(crate) fn of(started: &Result<Started, Refusal>) -> Self {
        match started {
            Ok(started) if started.is_new => Self::Started,
            Ok(_) => Self::Known,
            Err(refusal) => Self::from(refusal),
        }
    }
}

impl From<&Refusal> for Came {
    fn from(refusal: &Refusal) -> Self {
        match refusal {
            Refusal::Conflict(_) | Refusal::Changed(_) => Self::Conflict,
            Refusal::Unavailable(_) | Refusal::TooMany(..) | Refusal::TooSlow(_) => Self::Unavailable,
            Refusal::Internal(_) => Self::Failed,
            Refusal::NotFound(_)
            | Refusal::Invalid(_)
            | Refusal::Document(_)
            | Refusal::App { .. }
            | Refusal::Unauthorized(_)
            | Refusal::Forbidden(_)
            | Refusal::NotSatisfiable(_)
            | Refusal::TooLarge(_) => Self::Invalid,
        }
    }
}

/// Kinds of routes, by what follows `/api/v1/`, or else by what they begin with.
const ROUTES: [&str; 19] = [
    "apps",
    "audit",
    "cache",
    "document-runs",
    "healthz",
    "hooks",
    "identity",
    "login",
    "metrics",
    "openapi.json",
    "readyz",
    "runs",
    "schedules",
    "secrets",
    "secrets-key",
    "state",
    "tokens",
    "workflows",
    "other",
];
/// Statuses that are answered; others count as the last.
const STATUSES: [u16; 24] = [
    200, 201, 202, 204, 206, 304, 400, 401, 403, 404, 405, 408, 409, 412, 413, 415, 416, 422, 426, 429, 431,
    500, 503, 0,
];

/// Counts that go on.
#[derive(Debug)]
pub(crate) struct Figures {
    triggers: [[AtomicU64; Came::ALL.len()]; Trigger::ALL.len()],
    answered: Vec<Answered>,
    /// Each who follows has one of it.
    followers: Arc<()>,
}

/// Somebody who follows a run, until it is dropped.
#[derive(Debug)]
pub(crate) struct Following {
    _one: Arc<()>,
}

/// What was answered on routes of one kind.
#[derive(Debug)]
struct Answered {
    statuses: [AtomicU64; STATUSES.len()],
    took: Durations,
}

/// Labels and a number.
pub(crate) type Sample<T> = (String, T);

impl Default for Figures {
    fn default() -> Self {
        let none = || Answered {
            statuses: std::array::from_fn(|_| AtomicU64::new(0)),
            took: Durations::up_to(OF_REQUESTS),
        };
        Self {
            triggers: std::array::from_fn(|_| std::array::from_fn(|_| AtomicU64::new(0))),
            answered: ROUTES.iter().map(|_| none()).collect(),
            followers: Arc::default(),
        }
    }
}

impl Figures {
    /// What came of a trigger.
    pub(crate) fn came(&self, trigger: Trigger, came: Came) {
        self.triggers[trigger as usize][came as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// An answer begins. `route` is as it is declared, without what stands in its place; `None` where there is none.
    pub(crate) fn answered(&self, route: Option<&str>, status: u16, took: Duration) {
        let answered = &self.answered[place_of(route)];
        let status = STATUSES.iter().position(|known| *known == status).unwrap_or(STATUSES.len() - 1);
        answered.statuses[status].fetch_add(1, Ordering::Relaxed);
        answered.took.add(took);
    }

    /// Somebody follows a run, until what is returned is dropped.
    pub(crate) fn follow(&self) -> Following {
        Following { _one: Arc::clone(&self.followers) }
    }

    /// How many follow a run.
    pub(crate) fn followers(&self) -> u64 {
        Arc::strong_count(&self.followers) as u64 - 1
    }

    /// What came of triggers. What can be started is there from the beginning, so that a rate can be made of it.
    pub(crate) fn triggers(&self) -> Vec<Sample<u64>> {
        let all = Trigger::ALL.iter().flat_map(|trigger| Came::ALL.iter().map(move |came| (*trigger, *came)));
        let counted = all.map(|(trigger, came)| {
            (trigger, came, self.triggers[trigger as usize][came as usize].load(Ordering::Relaxed))
        });
        let told = counted.filter(|(_, came, count)| *count > 0 || *came == Came::Started);
        told.map(|(trigger, came, count)| {
            let (outcome, reason) = came.names();
            let labels = format!("trigger=\"{}\",outcome=\"{outcome}\",reason=\"{reason}\"", trigger.name());
            (labels, count)
        })
        .collect()
    }

    /// What was answered, by kind of route and status.
    pub(crate) fn requests(&self) -> Vec<Sample<u64>> {
        let of_route = |(route, answered): (&&str, &Answered)| {
            let counted = STATUSES.iter().zip(&answered.statuses).map(|(status, count)| {
                let code = if *status == 0 { "other".to_owned() } else { status.to_string() };
                (format!("route=\"{route}\",code=\"{code}\""), count.load(Ordering::Relaxed))
            });
            counted.filter(|(_, count)| *count > 0).collect::<Vec<_>>()
        };
        ROUTES.iter().zip(&self.answered).flat_map(of_route).collect()
    }

    /// How long it took until an answer began, by kind of route.
    pub(crate) fn durations(&self) -> Vec<Sample<Counted>> {
        let all = ROUTES.iter().zip(&self.answered);
        let counted = all.map(|(route, answered)| (format!("route=\"{route}\""), answered.took.counted()));
        counted.filter(|(_, counted)| counted.count > 0).collect()
    }
}

/// The place in [`ROUTES`] of a route.
fn place_of(route: Option<&str>) -> usize {
    let route = route.unwrap_or_default();
    let route = route.strip_prefix("/api/v1/").or_else(|| route.strip_prefix("/api/")).unwrap_or(route);
    let kind = route.trim_start_matches('/').split('/').next().unwrap_or_default();
    ROUTES.iter().position(|known| *known == kind).unwrap_or(ROUTES.len() - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_of_labels_are_those_of_their_lists() {
        for (place, came) in Came::ALL.into_iter().enumerate() {
            assert_eq!(came as usize, place, "{came:?}");
        }
        for (place, trigger) in Trigger::ALL.into_iter().enumerate() {
            assert_eq!(trigger as usize, place, "{trigger:?}");
        }
    }

    #[test]
    fn what_was_answered_counts_by_the_kind_of_its_route_and_nothing_that_a_sender_chooses() {
        let figures = Figures::default();
        let took = Duration::from_millis(3);
        for (route, status) in [
            (Some("/api/v1/runs/{run}/events"), 200),
            (Some("/api/v1/runs"), 200),
            (Some("/hooks/{name}"), 401),
            (Some("/api/openapi.json"), 200),
            (Some("/api/v1/secrets-key"), 403),
            (None, 404),
            (None, 299),
        ] {
            figures.answered(route, status, took);
        }
        let expected = [
            ("route=\"hooks\",code=\"401\"", 1),
            ("route=\"openapi.json\",code=\"200\"", 1),
            ("route=\"runs\",code=\"200\"", 2),
            ("route=\"secrets-key\",code=\"403\"", 1),
            ("route=\"other\",code=\"404\"", 1),
            ("route=\"other\",code=\"other\"", 1),
        ];
        assert_eq!(figures.requests(), expected.map(|(labels, count)| (labels.to_owned(), count)));
        let of_runs = figures.durations().into_iter().find(|(labels, _)| labels == "route=\"runs\"");
        assert_eq!(of_runs.expect("they were asked for").1.count, 2);
    }

    #[test]
    fn who_follows_counts_until_it_is_gone() {
        let figures = Figures::default();
        let (one, other) = (figures.follow(), figures.follow());
        assert_eq!(figures.followers(), 2);
        drop(one);
        assert_eq!(figures.followers(), 1);
        drop(other);
        assert_eq!(figures.followers(), 0);
    }

    #[test]
    fn every_route_has_a_kind() {
        for path in crate::http::paths() {
            assert_ne!(ROUTES[place_of(Some(path))], "other", "{path}");
        }
    }
}
