//! The one task that owns the state of all apps.
//!
//! A round: take in what has come (`requests.rs`, `results.rs`), decide, commit, publish, begin work. `known.rs` is what is
//! known of the outside; `../work.rs` has the work; the decisions are in `app.rs`, `gray.rs` and `autoscale.rs` and in the pure
//! crates behind them.

mod known;
mod requests;
mod results;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use yuanli_model::trigger::{AppState as Progress, Happened};
use yuanli_model::{AppName, ReleaseNumber, Timestamp, VolumeName};
use yuanli_ports::Cancellation;
use yuanli_ports::apps::AppError;
use yuanli_ports::store::{Batch, Range, StoreError};
use yuanli_release::replica::{Event, Phase};

pub(crate) use self::known::{DockerState, GatewayState};
use self::requests::Answer;
use crate::app::AppState;
use crate::autoscale::Meter;
use crate::handle::Apps;
use crate::message::{Done, MAILBOX, Reply, Request};
use crate::network::next_address;
use crate::record::{self, Broken};
use crate::view::{AppView, View};
use crate::{Options, Ports};

/// Wait between rounds while something is on its way.
const BUSY_ROUND: Duration = Duration::from_millis(100);
/// Wait between rounds while all is as it is to be: probes, windows and samples are due meanwhile.
const QUIET_ROUND: Duration = Duration::from_secs(1);
/// Wait before work that failed for a reason outside of it is tried again.
pub(crate) const RETRY: Duration = Duration::from_secs(1);
/// Apps of one page when all are read.
const PAGE: usize = 256;

/// Owns the state of all apps. [`Self::run`] is to be driven until the engine ends.
#[derive(Debug)]
pub struct Reconciler {
    pub(crate) ports: Ports,
    pub(crate) options: Options,
    pub(crate) apps: BTreeMap<AppName, AppState>,
    pub(crate) tasks: JoinSet<Done>,
    pub(crate) gateway: GatewayState,
    pub(crate) docker: DockerState,
    pub(crate) meter: Meter,
    /// Counts the rounds; what was asked for in a round cannot know what was decided in a later one.
    pub(crate) round: u64,
    mailbox: mpsc::Receiver<Request>,
    view: watch::Sender<Arc<View>>,
    /// Answers that go out once what they tell is durable.
    answers: Vec<Answer>,
    /// Why nothing could be stored last, so that the same is told once.
    trouble: Option<String>,
    /// Names whose rows are to go.
    gone: Vec<AppName>,
    quieting: HashMap<VolumeName, Reply<()>>,
    /// How far each app was when that was last told.
    told: BTreeMap<AppName, (ReleaseNumber, Progress)>,
}

/// Why apps cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What is stored cannot be read.
    #[error(transparent)]
    Broken(#[from] Broken),
}

impl Reconciler {
    /// Reads all apps. Nothing happens before [`Self::run`].
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn open(ports: Ports, options: Options) -> Result<(Apps, Self), OpenError> {
        let mut apps = BTreeMap::new();
        let mut range = Range::prefix(&record::APPS, PAGE);
        loop {
            let page = ports.store.scan(range.clone()).await?;
            for (_, entry) in &page {
                let mut state = record::open(&entry.value)?;
                // Whoever wanted it quiet is gone with the engine.
                state.is_changed = state.pause.take().is_some();
                apps.insert(state.app.name.clone(), state);
            }
            match page.last() {
                Some((last, _)) if page.len() == PAGE => range = range.after(last.clone()),
                _ => break,
            }
        }
        let (sender, mailbox) = mpsc::channel(MAILBOX);
        let (view, watched) = watch::channel(Arc::default());
        let reconciler = Self {
            tasks: JoinSet::new(),
            gateway: GatewayState::default(),
            docker: DockerState::default(),
            meter: Meter::default(),
            round: 0,
            mailbox,
            view,
            answers: Vec::new(),
            trouble: None,
            gone: Vec::new(),
            quieting: HashMap::new(),
            told: apps.iter().filter_map(|(name, state)| Some((name.clone(), state.progress()?))).collect(),
            apps,
            ports: ports.clone(),
            options: options.clone(),
        };
        reconciler.publish();
        Ok((Apps::new(ports, options, sender, watched), reconciler))
    }

    /// Keeps the apps until `stop` fires. Replicas and gateway go on serving after it.
    pub async fn run(mut self, stop: Cancellation) {
        self.gateway.heard = Some(self.ports.clock.now());
        self.watch_replicas();
        self.watch_gateway();
        loop {
            let wait = self.wait();
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(done) = self.tasks.join_next() => self.done(done),
                request = self.mailbox.recv() => match request {
                    Some(request) => self.request(request),
                    None => break,
                },
                () = tokio::time::sleep(wait) => {}
            }
            while let Some(done) = self.tasks.try_join_next() {
                self.done(done);
            }
            while let Ok(request) = self.mailbox.try_recv() {
                self.request(request);
            }
            self.round().await;
        }
        self.tasks.shutdown().await;
    }

    fn wait(&self) -> Duration {
        if self.apps.is_empty() {
            return Duration::from_secs(3600);
        }
        let is_on_its_way = |state: &AppState| {
            state.is_deleted
                || state.rollout.ended.is_none()
                || state.replicas.values().any(|replica| !replica.phase.is_serving())
                || state.replicas.len() != state.wanted().count as usize
        };
        if self.apps.values().any(is_on_its_way) { BUSY_ROUND } else { QUIET_ROUND }
    }

    /// What there is to decide, to keep and to begin, now.
    async fn round(&mut self) {
        self.round += 1;
        let now = self.ports.clock.now();
        self.decide(now);
        if let Err(error) = self.commit().await {
            self.not_stored(&error);
            tokio::time::sleep(RETRY).await;
            return;
        }
        self.trouble = None;
        self.publish();
        self.answers.drain(..).for_each(|answer| (answer.0)(Ok(())));
        self.begin_work(now);
    }

    /// Whoever waits is told, and not kept waiting for as long as the disk is full.
    fn not_stored(&mut self, error: &StoreError) {
        let error = error.to_string();
        if self.trouble.as_ref() != Some(&error) {
            tracing::error!(error, "what apps are to be cannot be stored; it is tried again");
        }
        let told = format!("it cannot be kept for now, and is done once it can be: {error}");
        self.answers.drain(..).for_each(|answer| (answer.0)(Err(AppError::Unavailable(told.clone()))));
        self.trouble = Some(error);
    }

    fn decide(&mut self, now: Timestamp) {
        let p95s = self.p95s();
        for (name, state) in &mut self.apps {
            if state.pause.as_ref().is_some_and(|pause| now >= pause.until) {
                tracing::warn!(app = %state.app.name, "it was paused for a backup for as long as it may be");
                state.pause = None;
                state.is_changed = true;
            }
            state.scaling.behaviour.down_window = self.options.scale_down_window;
            state.advance_gray(p95s.get(name).copied(), now);
            state.decide_count(now);
        }
        if self.docker.is_known {
            self.plan(now);
        }
        for state in self.apps.values_mut() {
            let is_known = self.gateway.knows(state);
            state.settle(is_known, now);
            state.forget_releases();
        }
        self.forget_deleted();
        self.answer_quieted();
    }

    fn plan(&mut self, now: Timestamp) {
        let Some(network) = self.docker.network else { return };
        let mut taken: BTreeSet<Ipv4Addr> = self
            .apps
            .values()
            .flat_map(|state| state.replicas.values().map(|replica| replica.address))
            .collect();
        for state in self.apps.values_mut() {
            let plan = state.plan(now);
            for number in plan.drain {
                state.observe(number, Event::Drain, now);
            }
            for release in plan.start {
                let Some(address) = next_address(network, self.docker.last_address, &taken) else {
                    tracing::error!(app = %state.app.name, "no address is left on the engine's network");
                    break;
                };
                taken.insert(address);
                self.docker.last_address = Some(address);
                state.add_replica(release, address);
            }
        }
        self.drained(now);
    }

    /// Moves on the replicas that have finished their requests, or have had their time.
    fn drained(&mut self, now: Timestamp) {
        for state in self.apps.values_mut() {
            let draining: Vec<(u64, Timestamp, Duration)> = state
                .replicas
                .iter()
                .filter_map(|(number, replica)| match replica.phase {
                    Phase::Draining { since } => {
                        let spec = &state.releases.get(&replica.release)?.release.spec;
                        Some((*number, since, spec.drain))
                    }
                    _ => None,
                })
                .collect();
            for (number, since, deadline) in draining {
                let Some(id) = state.replica_id(number) else { continue };
                let is_idle = state.app.route.is_none() || self.meter.is_idle(&id, &self.gateway);
                if is_idle || now.since(since) >= deadline {
                    state.observe(number, Event::Drained, now);
                }
            }
        }
    }

    fn forget_deleted(&mut self) {
        let is_gone = |state: &AppState| state.is_deleted && state.replicas.is_empty();
        let gone: Vec<AppName> =
            self.apps.iter().filter(|(_, state)| is_gone(state)).map(|(name, _)| name.clone()).collect();
        for name in gone {
            self.apps.remove(&name);
            self.gone.push(name);
        }
    }

    async fn commit(&mut self) -> Result<(), StoreError> {
        let mut batch = Batch::default();
        let (at, mut told) = (self.ports.clock.now(), Vec::new());
        for (name, state) in self.apps.iter().filter(|(_, state)| state.is_changed) {
            batch.put(record::key(name), record::seal(state));
            let Some((release, progress)) = state.progress() else { continue };
            if self.told.get(name) != Some(&(release, progress)) {
                let happened = Happened::AppChanged { app: name.clone(), release, state: progress, at };
                self.ports.announcements.add(&happened, &mut batch);
                told.push((name.clone(), (release, progress)));
            }
        }
        for name in &self.gone {
            batch.delete(record::key(name));
        }
        if batch.writes.is_empty() {
            return Ok(());
        }
        self.ports.store.commit(batch).await?;
        self.told.extend(told);
        self.told.retain(|name, _| !self.gone.contains(name));
        self.apps.values_mut().for_each(|state| state.is_changed = false);
        self.gone.clear();
        Ok(())
    }

    fn publish(&self) {
        let view = |(name, state): (&AppName, &AppState)| {
            let view = AppView::of(state, self.meter.measure(state), self.troubles(state));
            (name.clone(), Arc::new(view))
        };
        self.view.send_replace(Arc::new(View { apps: self.apps.iter().map(view).collect() }));
    }

    /// What keeps an app from being as it is to be, as far as it is known.
    fn troubles(&self, state: &AppState) -> Vec<String> {
        let gateway = self.gateway.trouble.clone().filter(|_| state.app.route.is_some());
        [self.docker.trouble.clone(), gateway, state.trouble()].into_iter().flatten().collect()
    }
}

/// A time after another one.
pub(crate) fn later(now: Timestamp, wait: Duration) -> Timestamp {
    Timestamp::from_millis(
        now.as_millis().saturating_add(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)),
    )
}
