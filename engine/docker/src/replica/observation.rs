//! What is asked about replicas: which there are, what they use, what they said.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bollard::models::{
    ContainerMemoryStats, ContainerState, ContainerStatsResponse, ContainerSummary, ContainerSummaryStateEnum,
};
use bollard::query_parameters::{ListContainersOptions, StatsOptions};
use futures::{StreamExt, TryStreamExt};
use yuanli_model::{EngineId, ReplicaId, Stream};
use yuanli_ports::containers::{ContainerError, ContainerId};
use yuanli_ports::replicas::{FoundReplica, ReplicaState, Usage};

use crate::connection::Docker;
use crate::fault::{Fault, NOT_FOUND};
use crate::label;
use crate::output::Output;
use crate::replica::{network, not_running, request};

/// How many ended replicas are looked at together; there are seldom many.
const CONCURRENT_LOOKS: usize = 8;

/// Most entries of a log that are read for its last lines; each may hold 16 KiB.
const MAX_TAIL_ENTRIES: usize = 1_000;

/// Longest line that is handed on, in bytes; the rest of a longer one is left out.
pub(crate) const MAX_TAIL_LINE: usize = 4 * 1024;

/// Where Docker says how much of the memory is file cache that can be given up at once, on cgroups v1 and v2. What is
/// left is what `docker stats` shows: <https://docs.docker.com/reference/cli/docker/container/stats/>.
const RECLAIMABLE: [&str; 2] = ["total_inactive_file", "inactive_file"];

impl Docker {
    pub(crate) async fn list_replicas(&self, engine: EngineId) -> Result<Vec<FoundReplica>, ContainerError> {
        let filters = Some(label::kind_filter(engine, label::REPLICA));
        let options = ListContainersOptions { all: true, filters, ..ListContainersOptions::default() };
        let client = self.client().await?;
        let listed = self.call("list replicas", client.list_containers(Some(options))).await?;
        futures::stream::iter(listed)
            .map(|summary| self.found(engine, summary))
            .buffer_unordered(CONCURRENT_LOOKS)
            .try_filter_map(|found| std::future::ready(Ok(found)))
            .try_collect()
            .await
    }

    /// What a line of Docker's list says; `None` when it is no replica, or is gone by now.
    async fn found(
        &self,
        engine: EngineId,
        summary: ContainerSummary,
    ) -> Result<Option<FoundReplica>, ContainerError> {
        let Some(replica) = label::replica(summary.labels.as_ref().unwrap_or(&Default::default())) else {
            tracing::warn!(container = ?summary.names, "has labels of a replica that say not which; it is left alone");
            return Ok(None);
        };
        let address = address(&network::name(engine), &summary);
        let state = match summary.state {
            Some(ContainerSummaryStateEnum::CREATED) => ReplicaState::Created,
            Some(ContainerSummaryStateEnum::PAUSED) => ReplicaState::Paused,
            Some(ContainerSummaryStateEnum::RUNNING | ContainerSummaryStateEnum::RESTARTING) => {
                ReplicaState::Running
            }
            // How it ended is not in the list.
            _ => match self.look(&ContainerId(summary.id.unwrap_or_default())).await? {
                Some((_, state)) => of_state(&state),
                None => return Ok(None),
            },
        };
        // What has ended has given its address back.
        let address = address.filter(|_| !matches!(state, ReplicaState::Ended { .. }));
        Ok(Some(FoundReplica { replica, state, address }))
    }

    pub(crate) async fn use_of(
        &self,
        engine: EngineId,
        replica: &ReplicaId,
    ) -> Result<Usage, ContainerError> {
        let name = request::name(engine, replica);
        let options = StatsOptions { stream: false, one_shot: true };
        let client = self.client().await?;
        let mut stats = Box::pin(client.stats(&name.0, Some(options)));
        let call = async { stats.next().await.transpose() };
        match self.call("measure a replica", call).await {
            Ok(stats) => stats.as_ref().and_then(measured).ok_or_else(|| not_running(replica)),
            Err(fault) if fault.status() == Some(NOT_FOUND) => Err(not_running(replica)),
            Err(fault) => Err(fault.into()),
        }
    }

    pub(crate) async fn last_lines(
        &self,
        engine: EngineId,
        replica: &ReplicaId,
        lines: usize,
    ) -> Result<Vec<String>, ContainerError> {
        let name = request::name(engine, replica);
        let entries = lines.min(MAX_TAIL_ENTRIES).to_string();
        let read = tokio::time::timeout(self.deadline(), self.log_tail(&name, &entries)).await;
        let frames =
            read.map_err(|_| Fault::late(self.deadline(), "read the log of a replica", &self.host()))??;
        let found = Mutex::new(Vec::new());
        let on_line = |_: Stream, line| found.lock().unwrap_or_else(PoisonError::into_inner).push(cut(line));
        let mut output = Output::new(&on_line);
        frames.iter().for_each(|frame| output.accept(frame));
        output.finish();
        Ok(found.into_inner().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The address that a container has or is to have on a network.
fn address(network: &str, summary: &ContainerSummary) -> Option<std::net::Ipv4Addr> {
    let endpoint = summary.network_settings.as_ref()?.networks.as_ref()?.get(network)?;
    let assigned = endpoint.ipam_config.as_ref().and_then(|config| config.ipv4_address.as_deref());
    assigned.or(endpoint.ip_address.as_deref())?.parse().ok()
}

fn of_state(state: &ContainerState) -> ReplicaState {
    if state.paused == Some(true) {
        ReplicaState::Paused
    } else if state.running == Some(true) {
        ReplicaState::Running
    } else {
        ReplicaState::Ended {
            code: state.exit_code.unwrap_or_default(),
            is_out_of_memory: state.oom_killed.unwrap_or_default(),
        }
    }
}

/// What Docker measured; nothing when the container does not run, for which it answers with zeros.
fn measured(stats: &ContainerStatsResponse) -> Option<Usage> {
    let cpu = stats.cpu_stats.as_ref()?.cpu_usage.as_ref()?.total_usage?;
    let memory_bytes = without_cache(stats.memory_stats.as_ref()?)?;
    Some(Usage { cpu: Duration::from_nanos(cpu), memory_bytes })
}

fn without_cache(memory: &ContainerMemoryStats) -> Option<u64> {
    let usage = memory.usage?;
    let stats = memory.stats.as_ref();
    let cache = RECLAIMABLE.iter().find_map(|key| stats?.get(*key).copied().filter(|cache| *cache < usage));
    Some(usage - cache.unwrap_or(0))
}

/// The beginning of a line.
pub(crate) fn cut(mut line: String) -> String {
    line.truncate(line.floor_char_boundary(MAX_TAIL_LINE));
    line
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn memory_is_what_docker_stats_shows() {
        let memory = |usage, stats: &[(&str, u64)]| {
            let stats: HashMap<String, u64> =
                stats.iter().map(|(key, value)| ((*key).to_owned(), *value)).collect();
            without_cache(&ContainerMemoryStats { usage, stats: Some(stats), ..Default::default() })
        };
        for (usage, stats, expected) in [
            // cgroups v1 has both: `total_` includes those below.
            (Some(100), &[("total_inactive_file", 30), ("inactive_file", 20)][..], Some(70)),
            (Some(100), &[("inactive_file", 20)], Some(80)),
            (Some(100), &[("inactive_file", 100)], Some(100)),
            (Some(100), &[], Some(100)),
            (None, &[("inactive_file", 20)], None),
        ] {
            assert_eq!(memory(usage, stats), expected, "{usage:?} {stats:?}");
        }
    }

    #[test]
    fn a_long_line_is_cut_between_characters() {
        assert_eq!(cut("short".to_owned()), "short");
        assert_eq!(cut("x".repeat(MAX_TAIL_LINE + 1)), "x".repeat(MAX_TAIL_LINE));
        let odd = format!("x{}", "ü".repeat(MAX_TAIL_LINE));
        assert_eq!(cut(odd).len(), MAX_TAIL_LINE - 1);
    }
}
