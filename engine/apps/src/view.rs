//! What others see of the apps: published after every commit, never ahead of the store.

use std::collections::BTreeMap;
use std::sync::Arc;

use yuanli_model::app::ReleaseNumber;
use yuanli_model::{AppName, Timestamp};
use yuanli_ports::apps::{AppMeasure, AppStatus, Happening, RolloutOutcome};

use crate::app::{AppState, Rollout};
use crate::table;

/// All apps.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// By name.
    pub apps: BTreeMap<AppName, Arc<AppView>>,
}

/// An app.
#[derive(Debug, Clone)]
pub struct AppView {
    /// As it stands.
    pub status: AppStatus,
    /// Its replicas, oldest first.
    pub replicas: Vec<ReplicaView>,
    /// Its releases with their images, oldest first.
    pub releases: Vec<(ReleaseNumber, String)>,
    /// What it was measured to do last.
    pub measure: Option<AppMeasure>,
    /// Why it has as many replicas as it has: lines for a person.
    pub reasons: Vec<String>,
    /// When that was decided.
    pub decided: Timestamp,
    /// The decisions that changed the number, oldest first: when, how many, why.
    pub decisions: Vec<(Timestamp, u32, Vec<String>)>,
    /// What happened to its gray release, the one that is going on or the last one.
    pub gray: Option<(ReleaseNumber, Vec<Happening>)>,
    /// How its last roll-out ended, well or badly and in words; `None` while it is on its way.
    pub rollout: Option<(RolloutOutcome, String)>,
    /// What keeps it from being as it is to be, as far as it is known: sentences for a person.
    pub troubles: Vec<String>,
    /// Whether it is on its way out.
    pub is_deleted: bool,
    pub(crate) state: Arc<AppState>,
}

/// A replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaView {
    /// Its number.
    pub number: u64,
    /// Its release.
    pub release: ReleaseNumber,
    /// Where it is.
    pub address: std::net::Ipv4Addr,
    /// How far it is: `planned`, `starting`, `serving`, `failing`, `draining`, `stopping`.
    pub phase: &'static str,
}

impl AppView {
    pub(crate) fn of(state: &AppState, measure: Option<AppMeasure>, troubles: Vec<String>) -> Self {
        let kept = |number: &ReleaseNumber| state.releases.get(number);
        let status = AppStatus {
            app: state.app.clone(),
            stable: state.stable,
            target: Some(state.target).filter(|target| state.stable != Some(*target)),
            image_id: state.stable.as_ref().and_then(kept).map(|kept| kept.release.image_id.clone()),
            desired: state.wanted().count,
            ready: state.stable.map_or(0, |stable| table::serving(state, stable)),
            route: state.app.route.clone(),
        };
        let replica = |(number, replica): (&u64, &crate::app::Replica)| ReplicaView {
            number: *number,
            release: replica.release,
            address: replica.address,
            phase: replica.phase.name(),
        };
        Self {
            status,
            replicas: state.replicas.iter().map(replica).collect(),
            releases: state.releases.iter().map(|(n, kept)| (*n, kept.release.image_id.clone())).collect(),
            measure,
            reasons: state.scaling.reasons.clone(),
            decided: state.scaling.decided,
            decisions: (state.scaling.decisions.iter())
                .map(|decided| (decided.at, decided.desired, decided.reasons.clone()))
                .collect(),
            gray: state.gray.as_ref().map(|gray| (gray.release, gray.happenings.clone())),
            rollout: state.rollout.ended.as_ref().map(|(_, outcome, message)| (*outcome, message.clone())),
            troubles,
            is_deleted: state.is_deleted,
            state: Arc::new(state.clone()),
        }
    }

    /// The last roll-out.
    pub(crate) fn rollout(&self) -> &Rollout {
        &self.state.rollout
    }
}
