//! The gateway's table, as it follows from the apps.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use yuanli_model::app::ReleaseNumber;
use yuanli_ports::traffic::{RoutedApp, RoutedRelease, RoutedReplica, Table};
use yuanli_release::replica::Phase;

use crate::app::AppState;

/// How long a request waits for a replica of an app that has none: while one takes the place of another that may not be
/// beside it, or of one that died.
const HOLD: Duration = Duration::from_secs(30);

/// The routes of all apps. The version is left to whoever sends it.
pub(crate) fn table<'a>(apps: impl Iterator<Item = &'a AppState>) -> Table {
    Table { version: 0, apps: apps.filter_map(routed).collect() }
}

/// An app's part of the table; `None` when it has none.
pub(crate) fn routed(state: &AppState) -> Option<RoutedApp> {
    let route = state.app.route.clone()?;
    if state.is_deleted && state.replicas.is_empty() {
        return None;
    }
    let mut releases: Vec<RoutedRelease> = Vec::new();
    for (&release, declared) in &state.releases {
        let replicas: Vec<RoutedReplica> = state
            .replicas
            .iter()
            .filter(|(_, replica)| replica.release == release)
            .filter(|(_, replica)| {
                replica.phase.is_serving() || matches!(replica.phase, Phase::Draining { .. })
            })
            .filter_map(|(&number, replica)| {
                Some(RoutedReplica {
                    replica: state.replica_id(number)?,
                    address: SocketAddr::new(IpAddr::V4(replica.address), declared.release.spec.port),
                    is_draining: !replica.phase.is_serving(),
                })
            })
            .collect();
        if !replicas.is_empty() {
            releases.push(RoutedRelease { release, weight: weight(state, release), replicas });
        }
    }
    let slow = state.gray.as_ref().and_then(|gray| gray.slow);
    let hold = if state.is_deleted { Duration::ZERO } else { HOLD };
    Some(RoutedApp { app: state.app.name.clone(), route, releases, slow, hold })
}

/// A release's part of the requests: what a gray release says, else as many parts as it has replicas that serve.
pub(crate) fn weight(state: &AppState, release: ReleaseNumber) -> u32 {
    let gray = state.gray.as_ref().filter(|gray| gray.is_sharing());
    match gray {
        Some(gray) if release == gray.release => gray.weight(),
        Some(gray) if release == state.target => 100 - gray.weight(),
        Some(_) => 0,
        None => serving(state, release),
    }
}

/// A release's part of the requests in percent.
pub(crate) fn percent(state: &AppState, release: ReleaseNumber) -> u32 {
    let all: u32 = state.releases.keys().map(|number| weight(state, *number)).sum();
    (weight(state, release) * 100).checked_div(all).unwrap_or(0)
}

/// How many replicas of a release serve.
pub(crate) fn serving(state: &AppState, release: ReleaseNumber) -> u32 {
    let serves = |replica: &&crate::app::Replica| replica.release == release && replica.phase.is_serving();
    u32::try_from(state.replicas.values().filter(serves).count()).unwrap_or(u32::MAX)
}
