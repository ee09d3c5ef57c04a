//! Takes in what came of the work that was begun.

use std::collections::HashMap;

use yuanli_model::{ReplicaId, Timestamp};
use yuanli_ports::images::ContainerError;
use yuanli_ports::replicas::{FoundReplica, ReplicaState};
use yuanli_ports::traffic::TrafficError;
use yuanli_release::replica::{Event, Phase};

use super::{RETRY, Reconciler, later};
use crate::message::Done;

impl Reconciler {
    pub(super) fn done(&mut self, done: Result<Done, tokio::task::JoinError>) {
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
}
