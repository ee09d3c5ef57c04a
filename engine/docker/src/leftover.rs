//! What an engine's runs have on Docker: what is shown to a person before it is removed.

use std::collections::{HashMap, HashSet};

use bollard::models::{ContainerSummary, Network};
use bollard::query_parameters::{ListContainersOptions, ListNetworksOptions};
use yuanli_model::{AttemptId, EngineId};
use yuanli_ports::containers::ContainerError;

use crate::connection::Docker;
use crate::label;

/// Something of an engine's runs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Leftover {
    /// `container` or `network`.
    pub kind: &'static str,
    /// Its name on Docker.
    pub name: String,
    /// The run that it belongs to.
    pub run: String,
    /// The stage of that run.
    pub stage: String,
    /// What Docker says of it, such as `Up 5 minutes`.
    pub state: String,
}

impl Docker {
    /// What the runs of an engine have here, sorted. Nothing of apps: that is theirs as long as there are these.
    ///
    /// # Errors
    /// See [`ContainerError`].
    pub async fn leftovers(&self, engine: EngineId) -> Result<Vec<Leftover>, ContainerError> {
        let (containers, networks) = self.of_runs(engine).await?;
        let containers = containers.into_iter().map(|found| {
            let name = found.names.unwrap_or_default().into_iter().next().unwrap_or_default();
            let name = name.trim_start_matches('/').to_owned();
            leftover("container", name, found.labels, found.status)
        });
        let networks = networks
            .into_iter()
            .map(|found| leftover("network", found.name.unwrap_or_default(), found.labels, None));
        let mut left: Vec<Leftover> = containers.chain(networks).collect();
        left.sort();
        Ok(left)
    }

    /// The attempts of an engine that have something here; `None` among them for what names no attempt, or only was to look at
    /// something for one.
    ///
    /// # Errors
    /// See [`ContainerError`].
    pub async fn attempts(&self, engine: EngineId) -> Result<HashSet<Option<AttemptId>>, ContainerError> {
        let (containers, networks) = self.of_runs(engine).await?;
        let labels = containers.into_iter().map(|found| found.labels);
        let labels = labels.chain(networks.into_iter().map(|found| found.labels));
        let owner =
            |labels: HashMap<String, String>| label::attempt(&labels).filter(|_| !label::is_helper(&labels));
        Ok(labels.map(|labels| owner(labels.unwrap_or_default())).collect())
    }

    async fn of_runs(
        &self,
        engine: EngineId,
    ) -> Result<(Vec<ContainerSummary>, Vec<Network>), ContainerError> {
        let client = self.client().await?;
        let filters = Some(label::run_filter(engine, None));
        let options =
            ListContainersOptions { all: true, filters: filters.clone(), ..ListContainersOptions::default() };
        let containers = self.call("list containers", client.list_containers(Some(options))).await?;
        let options = ListNetworksOptions { filters };
        let networks = self.call("list networks", client.list_networks(Some(options))).await?;
        Ok((containers, networks))
    }
}

fn leftover(
    kind: &'static str,
    name: String,
    labels: Option<HashMap<String, String>>,
    state: Option<String>,
) -> Leftover {
    let labels = labels.unwrap_or_default();
    let label = |key: &str| labels.get(key).cloned().unwrap_or_default();
    Leftover {
        kind,
        name,
        run: label(label::RUN),
        stage: label(label::STAGE),
        state: state.unwrap_or_default(),
    }
}
