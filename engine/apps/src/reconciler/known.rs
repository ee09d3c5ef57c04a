//! What is known of the outside: of the gateway and of the container engine.

use std::collections::{HashMap, HashSet};
use std::net::Ipv4Addr;
use std::time::Duration;

use yuanli_model::{ReplicaId, Timestamp};
use yuanli_ports::replicas::Network;
use yuanli_ports::traffic::Table;

use super::Reconciler;
use crate::app::AppState;
use crate::table;

/// Longest wait for a gateway that cannot be reached before a replica is removed that it may still know.
const GATEWAY_PATIENCE: Duration = Duration::from_secs(30);

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
    pub(super) fn knows(&self, state: &AppState) -> bool {
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

impl Reconciler {
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
