//! An app in the gateway: picks the replica of each request.
//!
//! What it knows is changed in place under one lock, and a request is counted under the same lock as it is given to a
//! replica: once a table is applied, no request goes to a replica that this table does not have, and what the counts say
//! of a replica that gets no more requests is final.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use yuanli_model::app::ReleaseNumber;
use yuanli_model::{AppName, ReplicaId};
use yuanli_ports::traffic::RoutedApp;

use crate::count::{Clients, InFlight, ReleaseCounter};
use crate::deadline::{self, Turn};
use crate::upstream::Replica;

/// An app that has a route, or had one.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) name: AppName,
    pub(crate) clients: Clients,
    inner: Mutex<Inner>,
    /// Told when there may be a replica for those who wait.
    changed: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    releases: Vec<Release>,
    turns: Vec<Turn>,
    slow: Option<Duration>,
    hold: Duration,
}

#[derive(Debug)]
struct Release {
    counter: Arc<ReleaseCounter>,
    /// Those that get requests.
    serving: Vec<Arc<Replica>>,
    /// Where the search for the least busy one begins, so that equal ones take turns.
    next: usize,
    /// Those that finish theirs.
    draining: Vec<Arc<Replica>>,
}

/// A replica for a request.
#[derive(Debug)]
pub(crate) struct Picked {
    pub(crate) replica: Arc<Replica>,
    pub(crate) release: Arc<ReleaseCounter>,
    pub(crate) slow: Option<Duration>,
    pub(crate) in_flight: InFlight,
}

impl App {
    pub(crate) fn new(name: AppName) -> Self {
        Self { name, clients: Clients::default(), inner: Mutex::default(), changed: Notify::new() }
    }

    /// A replica for a request, other than those in `tried`.
    pub(crate) fn pick(&self, tried: &[ReplicaId]) -> Option<Picked> {
        let mut inner = self.lock();
        let Inner { releases, turns, slow, .. } = &mut *inner;
        let may = |index: usize| releases[index].has_other_than(tried);
        let index = deadline::next(turns, may)?;
        let slow = *slow;
        let release = &mut releases[index];
        let replica = release.least_busy(tried)?;
        let in_flight = InFlight::begin(&replica.counter);
        Some(Picked { release: Arc::clone(&release.counter), slow, in_flight, replica })
    }

    /// How long a request may wait for a replica.
    pub(crate) fn hold(&self) -> Duration {
        self.lock().hold
    }

    /// Waits until there may be a replica. What changes after this was called is not missed.
    pub(crate) fn changed(&self) -> tokio::sync::futures::Notified<'_> {
        self.changed.notified()
    }

    /// Takes over what a table says; `None` when the app is not in it any more.
    pub(crate) fn apply(&self, routed: Option<&RoutedApp>, counters: &mut Counters) {
        {
            let mut inner = self.lock();
            let known: HashMap<ReplicaId, Arc<Replica>> = inner
                .releases
                .drain(..)
                .flat_map(|release| release.serving.into_iter().chain(release.draining))
                .map(|replica| (replica.id.clone(), replica))
                .collect();
            let routed_releases = routed.map_or(&[][..], |routed| &routed.releases);
            for of_table in routed_releases {
                let mut release = Release {
                    counter: counters.of(&self.name, of_table.release),
                    serving: Vec::new(),
                    next: 0,
                    draining: Vec::new(),
                };
                for of_table in &of_table.replicas {
                    // The address of a replica never changes; another one would be another replica.
                    let same = known.get(&of_table.replica).filter(|known| known.address == of_table.address);
                    let replica = same.cloned().unwrap_or_else(|| {
                        Arc::new(Replica::new(of_table.replica.clone(), of_table.address))
                    });
                    let list =
                        if of_table.is_draining { &mut release.draining } else { &mut release.serving };
                    list.push(replica);
                }
                inner.releases.push(release);
            }
            for replica in known.values() {
                let mut serving = inner.releases.iter().flat_map(|release| &release.serving);
                if !serving.any(|serving| Arc::ptr_eq(serving, replica)) {
                    replica.close_idle();
                    counters.leaving(replica);
                }
            }
            let weights: Vec<u32> = routed_releases.iter().map(|release| release.weight).collect();
            if inner.turns.iter().map(|turn| turn.weight).ne(weights.iter().copied()) {
                inner.turns = weights.into_iter().map(|weight| Turn { weight, had: 0 }).collect();
            }
            inner.slow = routed.and_then(|routed| routed.slow);
            inner.hold = routed.map_or(Duration::ZERO, |routed| routed.hold);
        }
        self.changed.notify_waiters();
    }

    /// The replicas that are in the table.
    pub(crate) fn replicas(&self) -> Vec<Arc<Replica>> {
        let inner = self.lock();
        inner
            .releases
            .iter()
            .flat_map(|release| release.serving.iter().chain(&release.draining))
            .cloned()
            .collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Release {
    fn has_other_than(&self, tried: &[ReplicaId]) -> bool {
        self.serving.iter().any(|replica| !tried.contains(&replica.id))
    }

    /// The one with the fewest requests; equal ones take turns.
    fn least_busy(&mut self, tried: &[ReplicaId]) -> Option<Arc<Replica>> {
        let count = self.serving.len();
        let begin = self.next;
        self.next = (self.next + 1) % count.max(1);
        let in_order = (0..count).map(|offset| &self.serving[(begin + offset) % count]);
        let others = in_order.filter(|replica| !tried.contains(&replica.id));
        others.min_by_key(|replica| replica.counter.in_flight.load(Ordering::Acquire)).cloned()
    }
}

/// The counts of all releases that were in a table since the process began, and replicas on their way out.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) releases: HashMap<(AppName, ReleaseNumber), Arc<ReleaseCounter>>,
    /// Replicas that left the table, or get no requests any more, while they have some.
    pub(crate) leaving: Vec<Arc<Replica>>,
}

impl Counters {
    fn of(&mut self, app: &AppName, release: ReleaseNumber) -> Arc<ReleaseCounter> {
        Arc::clone(self.releases.entry((app.clone(), release)).or_default())
    }

    fn leaving(&mut self, replica: &Arc<Replica>) {
        self.leaving.retain(|left| left.counter.in_flight.load(Ordering::Acquire) > 0);
        self.leaving.push(Arc::clone(replica));
    }
}
