//! The one task that owns the state of all apps.
//!
//! A round: take in what has come, decide, commit, publish, begin work. `work.rs` has the work; the decisions are in
//! `app.rs`, `gray.rs` and `autoscale.rs` and in the pure crates behind them.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use yuanli_model::trigger::{AppState as Progress, Happened};
use yuanli_model::{AppName, ReleaseNumber, ReplicaId, Timestamp, VolumeName};
use yuanli_ports::Cancellation;
use yuanli_ports::apps::AppError;
use yuanli_ports::images::ContainerError;
use yuanli_ports::replicas::{FoundReplica, Network, ReplicaState};
use yuanli_ports::store::{Batch, Range, StoreError};
use yuanli_ports::traffic::{Table, TrafficError};
use yuanli_release::replica::{Event, Phase};

use crate::app::{AppState, Pause, require_unshared};
use crate::autoscale::Meter;
use crate::handle::Apps;
use crate::message::{Done, MAILBOX, Reply, Request};
use crate::network::next_address;
use crate::record::{self, Broken};
use crate::table;
use crate::view::{AppView, View};
use crate::{Options, Ports};

/// Wait between rounds while something is on its way.
const BUSY_ROUND: Duration = Duration::from_millis(100);
/// Wait between rounds while all is as it is to be: probes, windows and samples are due meanwhile.
const QUIET_ROUND: Duration = Duration::from_secs(1);
/// Wait before work that failed for a reason outside of it is tried again.
pub(crate) const RETRY: Duration = Duration::from_secs(1);
/// Longest wait for a gateway that cannot be reached before a replica is removed that it may still know.
const GATEWAY_PATIENCE: Duration = Duration::from_secs(30);
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

/// What is known of the gateway.
#[derive(Debug, Default)]
pub(crate) struct GatewayState {
    /// The version of the table that was sent last.
    pub(crate) version: u64,
    /// The table that was sent last, without its version.
    pub(crate) sent: Option<Table>,
    /// The table that it has acknowledged last, and the round in which it did.
    pub(crate) acknowledged: Option<(u64, Table)>,
    /// When it was last heard of.
    pub(crate) heard: Option<Timestamp>,
    pub(crate) is_applying: bool,
    pub(crate) retry: Option<Timestamp>,
    /// Why it did not take the last table.
    pub(crate) trouble: Option<String>,
}

impl GatewayState {
    /// Whether requests for an app are shared out as they are to be now.
    fn knows(&self, state: &AppState) -> bool {
        let routed = table::routed(state);
        let Some((_, table)) = &self.acknowledged else { return routed.is_none() };
        table.apps.iter().find(|app| app.app == state.app.name) == routed.as_ref()
    }
}

/// What is known of the container engine.
#[derive(Debug, Default)]
pub(crate) struct DockerState {
    pub(crate) network: Option<Network>,
    pub(crate) last_address: Option<Ipv4Addr>,
    /// Whether all replicas were listed once.
    pub(crate) is_known: bool,
    pub(crate) is_listing: bool,
    pub(crate) is_making_network: bool,
    pub(crate) list_due: Option<Timestamp>,
    /// Replicas that something is done with, one thing at a time.
    pub(crate) busy: HashSet<ReplicaId>,
    /// When a replica is asked next whether it serves.
    pub(crate) probe: HashMap<ReplicaId, Timestamp>,
    /// When what failed is tried again.
    pub(crate) retry: HashMap<ReplicaId, Timestamp>,
    /// The round in which a replica was last started: an older list cannot know it.
    pub(crate) started: HashMap<ReplicaId, u64>,
    /// What it failed with last, so that the same is told once.
    pub(crate) trouble: Option<String>,
    /// Replicas whose processes are stopped in their tracks.
    pub(crate) quiet: HashSet<ReplicaId>,
}

/// An answer that waits for the commit, and is another one when there is none.
struct Answer(Box<dyn FnOnce(Result<(), AppError>) + Send>);

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Answer")
    }
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

    /// Answers once what was decided is durable.
    fn answer<T: Send + 'static>(&mut self, reply: Reply<T>, answer: Result<T, AppError>) {
        self.answers.push(Answer(Box::new(move |stored| {
            // Whoever asked may be gone.
            let _ = reply.send(answer.and_then(|answer| stored.map(|()| answer)));
        })));
    }

    fn request(&mut self, request: Request) {
        let now = self.ports.clock.now();
        match request {
            Request::Deploy { asker, app, image_id, reply } => {
                let answer = self.check(&app).and_then(|()| match self.apps.get_mut(&app.name) {
                    Some(state) => state.deploy(&asker, *app, image_id, now),
                    None => Ok(self.add(AppState::new(&asker, *app, image_id, now))),
                });
                self.answer(reply, answer);
            }
            Request::Undo { asker, deployed, reason, reply } => {
                let answer =
                    self.find(&deployed.app).and_then(|state| state.undo(&asker, &deployed, &reason, now));
                self.answer(reply, answer);
            }
            Request::Scale { asker, app, wish, reply } => {
                let answer = self.find(&app).and_then(|state| state.scale(&asker, wish, now));
                self.answer(reply, answer);
            }
            Request::Release { asker, app, image_id, plan, reply } => {
                let answer = self.check(&app).and_then(|()| {
                    self.find(&app.name.clone())?.begin_gray(&asker, *app, image_id, plan, now)
                });
                self.answer(reply, answer);
            }
            Request::Abort { app, release, reason, reply } => {
                let answer = self.find(&app).and_then(|state| state.abort_gray(release, &reason, now));
                self.answer(reply, answer);
            }
            Request::Delete { app, reply } => {
                let answer = self.find(&app).map(|state| {
                    state.is_deleted = true;
                    state.is_changed = true;
                });
                self.answer(reply, answer);
            }
            Request::Pause { volume, at_most, reply } => self.pause(volume, at_most, now, reply),
            Request::Resume { volume, reply } => {
                self.resume(&volume);
                self.answer(reply, Ok(()));
            }
        }
    }

    fn add(&mut self, state: AppState) -> yuanli_ports::apps::Deployed {
        let deployed = yuanli_ports::apps::Deployed {
            app: state.app.name.clone(),
            release: state.target,
            previous: None,
        };
        self.apps.insert(state.app.name.clone(), state);
        self.docker.list_due = None;
        deployed
    }

    fn find(&mut self, app: &AppName) -> Result<&mut AppState, AppError> {
        self.apps.get_mut(app).ok_or_else(|| AppError::NotFound(format!("there is no app `{app}`")))
    }

    fn check(&self, app: &yuanli_model::App) -> Result<(), AppError> {
        require_unshared(app, self.apps.values().map(|state| &state.app))
    }

    fn pause(&mut self, volume: VolumeName, at_most: Duration, now: Timestamp, reply: Reply<()>) {
        let uses = |state: &&mut AppState| {
            state.replicas.values().any(|replica| {
                let kept = state.releases.get(&replica.release);
                kept.is_some_and(|kept| kept.release.spec.volumes.iter().any(|mount| mount.volume == volume))
            })
        };
        if self.apps.values().any(|state| state.pause.is_some()) {
            let busy =
                AppError::Busy("another backup has paused replicas; try again when it is done".to_owned());
            return self.answer(reply, Err(busy));
        }
        let until = Timestamp::from_millis(
            now.as_millis().saturating_add(u64::try_from(at_most.as_millis()).unwrap_or(u64::MAX)),
        );
        for state in self.apps.values_mut().filter(uses) {
            state.pause = Some(Pause { volume: volume.clone(), until });
            state.is_changed = true;
        }
        self.quieting.insert(volume, reply);
    }

    fn resume(&mut self, volume: &VolumeName) {
        for state in self.apps.values_mut() {
            if state.pause.as_ref().is_some_and(|pause| pause.volume == *volume) {
                state.pause = None;
                state.is_changed = true;
            }
        }
    }

    /// Answers those who wait for quiet: when every replica concerned is, or when it was over before it was.
    fn answer_quieted(&mut self) {
        let mut ready = Vec::new();
        for volume in self.quieting.keys() {
            let mut concerned = self
                .apps
                .values()
                .filter(|state| state.pause.as_ref().is_some_and(|pause| pause.volume == *volume))
                .flat_map(|state| {
                    let running =
                        state.replicas.iter().filter(|(_, replica)| replica.phase != Phase::Stopping);
                    running.filter_map(|(number, _)| state.replica_id(*number))
                });
            if concerned.all(|id| self.docker.quiet.contains(&id)) {
                ready.push(volume.clone());
            }
        }
        for volume in ready {
            if let Some(reply) = self.quieting.remove(&volume) {
                self.answer(reply, Ok(()));
            }
        }
    }

    fn done(&mut self, done: Result<Done, tokio::task::JoinError>) {
        let now = self.ports.clock.now();
        let done = match done {
            Ok(done) => done,
            Err(error) => return tracing::error!(%error, "work for an app panicked"),
        };
        match done {
            Done::Network(result) => {
                self.docker.is_making_network = false;
                match result {
                    Ok(network) => self.docker.network = Some(network),
                    Err(error) => self.docker_failed(&error, now),
                }
            }
            Done::Listed { round, found } => self.listed(round, found, now),
            Done::Changed => {
                self.docker.list_due = None;
                self.watch_replicas();
            }
            Done::Started { replica, result } => self.started(&replica, result, now),
            Done::Probed { replica, result } => {
                self.docker.busy.remove(&replica);
                let event = if result.is_ok() { Event::Good } else { Event::Bad };
                if let Err(reason) = result {
                    tracing::debug!(%replica, reason, "does not serve");
                }
                self.observe(&replica, event, now);
            }
            Done::Removed { replica, words, result } => self.removed(&replica, words, result, now),
            Done::Quieted { replica, is_paused, result } => {
                self.docker.busy.remove(&replica);
                self.quieted(replica, is_paused, result, now);
            }
            Done::Applied(result) => self.applied(result, now),
            Done::Measured { round, result } => self.measured(round, result, now),
            Done::GatewayRestarted => {
                self.gateway.acknowledged = None;
                self.gateway.sent = None;
                self.watch_gateway();
            }
            Done::Used { at, usage } => self.used(at, usage),
        }
    }

    fn observe(&mut self, replica: &ReplicaId, event: Event, now: Timestamp) {
        if let Some(state) = self.apps.get_mut(&replica.app) {
            state.observe(replica.number, event, now);
        }
    }

    fn docker_failed(&mut self, error: &ContainerError, now: Timestamp) {
        let error = error.to_string();
        if self.docker.trouble.as_ref() != Some(&error) {
            tracing::warn!(error, "Docker did not answer as it should; it is tried again");
            self.docker.trouble = Some(error);
        }
        self.docker.list_due = Some(later(now, RETRY));
    }

    /// The truth about all replicas, as of the round in which it was asked for.
    fn listed(&mut self, round: u64, found: Result<Vec<FoundReplica>, ContainerError>, now: Timestamp) {
        self.docker.is_listing = false;
        let found: HashMap<ReplicaId, ReplicaState> = match found {
            Ok(found) => found.into_iter().map(|found| (found.replica, found.state)).collect(),
            Err(error) => return self.docker_failed(&error, now),
        };
        self.docker.is_known = true;
        self.docker.trouble = None;
        self.docker.list_due = Some(later(now, self.options.list));
        let known: Vec<(ReplicaId, Phase, bool)> = self
            .apps
            .values()
            .flat_map(|state| {
                state.replicas.iter().filter_map(|(number, replica)| {
                    Some((state.replica_id(*number)?, replica.phase, state.pause.is_some()))
                })
            })
            .collect();
        for (id, phase, is_paused) in &known {
            let is_too_old = self.docker.started.get(id).is_some_and(|started| *started >= round);
            if self.docker.busy.contains(id) || is_too_old {
                continue;
            }
            match (found.get(id), phase) {
                // A start that was cut off by the end of an engine.
                (Some(ReplicaState::Running), Phase::Planned) => self.observe(id, Event::Started, now),
                (Some(ReplicaState::Paused), _) => {
                    self.docker.quiet.insert(id.clone());
                    if !is_paused {
                        tracing::info!(replica = %id, "was left paused");
                    }
                }
                (Some(ReplicaState::Running), _) => {
                    self.docker.quiet.remove(id);
                }
                (_, Phase::Planned | Phase::Stopping) => {}
                (Some(ReplicaState::Ended { .. } | ReplicaState::Created) | None, _) => {
                    tracing::info!(replica = %id, "has ended");
                    self.observe(id, Event::Ended, now);
                }
            }
        }
        for id in found.keys().filter(|id| !known.iter().any(|(known, ..)| known == *id)) {
            tracing::warn!(replica = %id, "there is a replica that nobody here started; it is left alone");
        }
    }

    fn started(&mut self, replica: &ReplicaId, result: Result<(), ContainerError>, now: Timestamp) {
        self.docker.busy.remove(replica);
        match result {
            Ok(()) => {
                self.docker.started.insert(replica.clone(), self.round);
                self.observe(replica, Event::Started, now);
            }
            // What concerns all of them is told once, by who lists them.
            Err(ContainerError::Unreachable(_)) => {
                self.docker.retry.insert(replica.clone(), later(now, RETRY));
            }
            Err(error) => {
                tracing::warn!(%replica, %error, "cannot be started");
                self.observe(replica, Event::Ended, now);
                if let Some(state) = self.apps.get_mut(&replica.app) {
                    state.last_words(replica.release, error.to_string());
                }
            }
        }
    }

    fn removed(
        &mut self,
        replica: &ReplicaId,
        words: String,
        result: Result<(), ContainerError>,
        now: Timestamp,
    ) {
        self.docker.busy.remove(replica);
        let Some(state) = self.apps.get_mut(&replica.app) else { return };
        state.last_words(replica.release, words);
        match result {
            Ok(()) => {
                state.replicas.remove(&replica.number);
                state.is_changed = true;
                self.docker.probe.remove(replica);
                self.docker.retry.remove(replica);
                self.docker.started.remove(replica);
                self.docker.quiet.remove(replica);
            }
            Err(error) => {
                if !matches!(error, ContainerError::Unreachable(_)) {
                    tracing::warn!(%replica, %error, "cannot be removed for now");
                }
                self.docker.retry.insert(replica.clone(), later(now, RETRY));
            }
        }
    }

    fn quieted(
        &mut self,
        replica: ReplicaId,
        is_paused: bool,
        result: Result<(), ContainerError>,
        now: Timestamp,
    ) {
        match result {
            Ok(()) if is_paused => {
                self.docker.quiet.insert(replica);
            }
            // What is gone is quiet, too.
            Ok(()) | Err(ContainerError::NotFound(_)) => {
                self.docker.quiet.remove(&replica);
            }
            Err(error) => {
                tracing::warn!(%replica, %error, is_paused, "cannot be paused or resumed for now");
                self.docker.retry.insert(replica, later(now, RETRY));
            }
        }
    }

    fn applied(&mut self, result: Result<(), TrafficError>, now: Timestamp) {
        self.gateway.is_applying = false;
        match result {
            Ok(()) => {
                self.gateway.heard = Some(now);
                self.gateway.trouble = None;
                if let Some(table) = self.gateway.sent.clone() {
                    self.gateway.acknowledged = Some((self.round, table));
                }
            }
            Err(TrafficError::Outdated(version)) => {
                self.gateway.version = self.gateway.version.max(version);
                self.gateway.sent = None;
            }
            Err(error @ TrafficError::Unreachable(_)) => {
                tracing::debug!(%error);
                self.gateway.trouble = Some(error.to_string());
                self.gateway.sent = None;
                self.gateway.retry = Some(later(now, RETRY));
            }
        }
    }

    /// Whether no request can come to a replica any more.
    pub(crate) fn is_out_of_table(&self, id: &ReplicaId, now: Timestamp) -> bool {
        if self.apps.get(&id.app).is_none_or(|state| state.app.route.is_none()) {
            return true;
        }
        let Some((_, table)) = &self.gateway.acknowledged else {
            return self.gateway.heard.is_some_and(|heard| now.since(heard) >= GATEWAY_PATIENCE);
        };
        let mut routed =
            table.apps.iter().flat_map(|app| &app.releases).flat_map(|release| &release.replicas);
        !routed.any(|routed| routed.replica == *id)
    }
}

/// A time after another one.
pub(crate) fn later(now: Timestamp, wait: Duration) -> Timestamp {
    Timestamp::from_millis(
        now.as_millis().saturating_add(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)),
    )
}
