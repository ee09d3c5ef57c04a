//! What was asked of Docker, in numbers: how often, what came of it, and how long it took to answer.
//!
//! An operation is what a request does to what kind of thing; names and ids of things are none of it, so there are few.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hyper::{Method, StatusCode};
use tokio::time::Instant;
use yuanli_ports::figure::{Counted, Durations, OF_REQUESTS};

/// The kinds of things.
const KINDS: [&str; 6] = ["containers", "images", "volumes", "networks", "exec", "engine"];
/// What is done to them.
const VERBS: [&str; 25] = [
    "archive", "attach", "auth", "build", "connect", "create", "exec", "get", "grpc", "info", "inspect",
    "kill", "list", "load", "logs", "ping", "push", "remove", "session", "start", "stop", "tag", "version",
    "wait", "other",
];

/// What came of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Docker did it, or will.
    Done,
    /// It refused: a status from 400 on.
    Refused,
    /// It failed itself: a status from 500 on.
    Failed,
    /// It cannot be reached, or the connection broke off.
    Unreachable,
    /// Whoever asked does not wait any longer: its time is over, or it was cancelled.
    Abandoned,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Done, Self::Refused, Self::Failed, Self::Unreachable, Self::Abandoned];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Unreachable => "unreachable",
            Self::Abandoned => "abandoned",
        }
    }
}

/// What was asked of one operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Such as `containers.create`.
    pub operation: String,
    /// How often it was asked, in the order of [`Outcome::ALL`].
    pub outcomes: [u64; Outcome::ALL.len()],
    /// Until an answer began, of those that were answered.
    pub answered: Counted,
}

/// Counts that go on.
#[derive(Debug)]
pub(crate) struct Figures(Vec<Operation>);

#[derive(Debug)]
struct Operation {
    outcomes: [AtomicU64; Outcome::ALL.len()],
    answered: Durations,
}

impl Default for Figures {
    fn default() -> Self {
        let none = || Operation {
            outcomes: std::array::from_fn(|_| AtomicU64::new(0)),
            answered: Durations::up_to(OF_REQUESTS),
        };
        Self((0..KINDS.len() * VERBS.len()).map(|_| none()).collect())
    }
}

impl Figures {
    /// A request is about to be sent.
    pub(crate) fn ask(self: &Arc<Self>, method: &Method, path: &str) -> Pending {
        let (kind, verb) = operation(method, path);
        Pending { figures: Arc::clone(self), place: kind * VERBS.len() + verb, begun: Some(Instant::now()) }
    }

    /// Those operations that were asked for.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        let read = |(place, operation): (usize, &Operation)| Asked {
            operation: format!("{}.{}", KINDS[place / VERBS.len()], VERBS[place % VERBS.len()]),
            outcomes: std::array::from_fn(|at| operation.outcomes[at].load(Ordering::Relaxed)),
            answered: operation.answered.counted(),
        };
        let all = self.0.iter().enumerate().map(read);
        all.filter(|asked| asked.outcomes.iter().any(|count| *count > 0)).collect()
    }
}

/// A request that is not answered yet; dropped, it is abandoned.
#[derive(Debug)]
pub(crate) struct Pending {
    figures: Arc<Figures>,
    place: usize,
    begun: Option<Instant>,
}

impl Pending {
    /// The answer begins, or there will be none.
    pub(crate) fn answered(mut self, status: Option<StatusCode>) {
        let outcome = match status {
            None => Outcome::Unreachable,
            Some(status) if status.is_server_error() => Outcome::Failed,
            Some(status) if status.is_client_error() => Outcome::Refused,
            Some(_) => Outcome::Done,
        };
        if let Some(begun) = self.begun.take()
            && outcome != Outcome::Unreachable
        {
            self.figures.0[self.place].answered.add(begun.elapsed());
        }
        self.note(outcome);
    }

    fn note(&self, outcome: Outcome) {
        self.figures.0[self.place].outcomes[outcome as usize].fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if self.begun.is_some() {
            self.note(Outcome::Abandoned);
        }
    }
}

/// The places in [`KINDS`] and [`VERBS`] of what a request does.
fn operation(method: &Method, path: &str) -> (usize, usize) {
    let mut parts = path.split('/').filter(|part| !part.is_empty()).peekable();
    let is_version = |part: &&str| {
        part.strip_prefix('v').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    parts.next_if(is_version);
    let first = parts.next().unwrap_or_default();
    let last = parts.next_back();
    let is_of_one = parts.next().is_some();
    let kind = KINDS.iter().position(|kind| *kind == first);
    let verb = match (kind, last) {
        (None, _) => first.trim_start_matches('_'),
        (Some(_), None) if method == Method::GET => "list",
        (Some(_), Some("json")) if !is_of_one => "list",
        (Some(_), Some("json")) => "inspect",
        (Some(_), _) if method == Method::DELETE => "remove",
        (Some(_), Some(verb)) if is_of_one || method == Method::POST => verb,
        (Some(_), _) => "inspect",
    };
    let place = VERBS.iter().position(|known| *known == verb);
    (kind.unwrap_or(KINDS.len() - 1), place.unwrap_or(VERBS.len() - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_request_does_is_told_by_its_path_without_any_name() {
        for (request, expected) in [
            ("GET /version", "engine.version"),
            ("GET /_ping", "engine.ping"),
            ("POST /v1.43/build", "engine.build"),
            ("POST /v1.43/containers/create", "containers.create"),
            ("GET /v1.43/containers/json", "containers.list"),
            ("GET /v1.43/containers/abc/json", "containers.inspect"),
            ("POST /v1.43/containers/create/start", "containers.start"),
            ("PUT /v1.43/containers/abc/archive", "containers.archive"),
            ("DELETE /v1.43/containers/start", "containers.remove"),
            ("POST /v1.43/images/create", "images.create"),
            ("GET /v1.43/images/registry.example.com/shop/json", "images.inspect"),
            ("POST /v1.43/images/registry.example.com/shop/push", "images.push"),
            ("DELETE /v1.43/images/registry.example.com/shop", "images.remove"),
            ("GET /v1.43/volumes", "volumes.list"),
            ("GET /v1.43/volumes/list", "volumes.inspect"),
            ("POST /v1.43/volumes/create", "volumes.create"),
            ("POST /v1.43/exec/abc/start", "exec.start"),
            ("POST /v1.43/containers/abc/exec", "containers.exec"),
            ("GET /v1.43/something/else", "engine.other"),
            ("POST /v1.43/containers/abc/secret-name", "containers.other"),
        ] {
            let (method, path) = request.split_once(' ').expect("method and path");
            let (kind, verb) = operation(&method.parse().expect("a method"), path);
            assert_eq!(format!("{}.{}", KINDS[kind], VERBS[verb]), expected, "{request}");
        }
    }

    #[test]
    fn each_request_counts_once_whatever_comes_of_it() {
        let figures = Arc::new(Figures::default());
        let ask = || figures.ask(&Method::POST, "/v1.43/containers/abc/start");
        for status in [200, 304, 404, 500] {
            ask().answered(StatusCode::from_u16(status).ok());
        }
        ask().answered(None);
        drop(ask());
        let asked = figures.asked();
        let [start] = &asked[..] else { panic!("{asked:?}") };
        assert_eq!((start.operation.as_str(), start.outcomes), ("containers.start", [2, 1, 1, 1, 1]));
        assert_eq!(start.answered.count, 4);
    }
}
