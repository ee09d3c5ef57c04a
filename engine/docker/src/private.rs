//! The private network of an attempt: a bridge without a way out, in which its containers reach each other by name.
//!
//! There is one for each attempt, made for the first container that is to be in it. Its name follows from the attempt, so
//! that an attempt that is begun again finds it, and its labels are those of the attempt, so that cleaning up does.

use std::collections::HashMap;

use bollard::models::{
    ContainerCreateBody, EndpointSettings, NetworkConnectRequest, NetworkCreateRequest, NetworkingConfig,
};
use bollard::query_parameters::ListNetworksOptions;
use yuanli_model::{AttemptId, OperationId};
use yuanli_ports::containers::{ContainerError, ContainerId, ContainerNetwork, ContainerRequest, Member};

use crate::connection::Docker;
use crate::fault::{CONFLICT, Fault, NOT_FOUND};
use crate::label;

/// The network that Docker puts containers in of which nothing is said.
const DEFAULT_NETWORK: &str = "bridge";

/// The name of the network: that of the attempt's operations, without a position.
fn name(OperationId { engine, attempt, .. }: &OperationId) -> String {
    let AttemptId { run, stage, instance, attempt } = attempt;
    format!("yuanli-{engine}-{run}-{stage}-{instance}-{attempt}")
}

impl Docker {
    /// Lets a container that is about to be created be in the network of its attempt, if it is to be.
    pub(crate) async fn join(
        &self,
        request: &ContainerRequest,
        body: &mut ContainerCreateBody,
    ) -> Result<(), ContainerError> {
        let Some(Member { name }) = &request.member else { return Ok(()) };
        let network = self.ensure_private(&request.operation).await?;
        let endpoint =
            EndpointSettings { aliases: name.clone().map(|name| vec![name]), ..EndpointSettings::default() };
        body.host_config.get_or_insert_default().network_mode = Some(network.clone());
        let endpoints_config = Some(HashMap::from([(network, endpoint)]));
        body.networking_config = Some(NetworkingConfig { endpoints_config });
        Ok(())
    }

    /// Gives a container that was created a way out beside the network of its attempt: engines before 25 create one in a
    /// single network only.
    pub(crate) async fn let_out(
        &self,
        request: &ContainerRequest,
        container: &ContainerId,
    ) -> Result<(), ContainerError> {
        if request.member.is_none() || request.network != ContainerNetwork::Own {
            return Ok(());
        }
        let connect =
            NetworkConnectRequest { container: container.0.clone(), ..NetworkConnectRequest::default() };
        let client = self.client().await?;
        let call = client.connect_network(DEFAULT_NETWORK, connect);
        Ok(self.call("give the container a way out", call).await?)
    }

    /// The id of the network of an operation's attempt, which is made when it is not there.
    async fn ensure_private(&self, operation: &OperationId) -> Result<String, ContainerError> {
        let (engine, attempt) = (operation.engine, &operation.attempt);
        let of_attempt = || label::run_filter(engine, Some(attempt));
        if let Some(found) = self.private_networks(of_attempt(), |_| true).await?.into_iter().next() {
            return Ok(found);
        }
        let request = NetworkCreateRequest {
            name: name(operation),
            driver: Some("bridge".to_owned()),
            internal: Some(true),
            labels: Some(label::of_attempt(engine, attempt)),
            ..NetworkCreateRequest::default()
        };
        let client = self.client().await?;
        match self.call("create a network", client.create_network(request)).await {
            Ok(made) => Ok(made.id),
            // A request of an engine that was killed came late.
            Err(fault) if fault.status() == Some(CONFLICT) => {
                let found = self.private_networks(of_attempt(), |_| true).await?.into_iter().next();
                found.ok_or_else(|| fault.into())
            }
            Err(fault) => Err(explain(fault)),
        }
    }

    /// The ids of the networks that a filter finds and whose labels are such.
    async fn private_networks(
        &self,
        filters: HashMap<String, Vec<String>>,
        is_meant: impl Fn(&HashMap<String, String>) -> bool,
    ) -> Result<Vec<String>, ContainerError> {
        let client = self.client().await?;
        let options = ListNetworksOptions { filters: Some(filters) };
        let found = self.call("list networks", client.list_networks(Some(options))).await?;
        let meant =
            found.into_iter().filter(|found| is_meant(found.labels.as_ref().unwrap_or(&HashMap::new())));
        Ok(meant.filter_map(|network| network.id).collect())
    }

    /// Removes the networks that a filter finds and whose labels are such, which no container may be in any more.
    pub(crate) async fn remove_private(
        &self,
        filters: HashMap<String, Vec<String>>,
        is_meant: impl Fn(&HashMap<String, String>) -> bool,
    ) -> Result<(), ContainerError> {
        let mut outcome = Ok(());
        for id in self.private_networks(filters, is_meant).await? {
            let client = self.client().await?;
            match self.call("remove a network", client.remove_network(&id)).await {
                Err(fault) if fault.status() == Some(NOT_FOUND) => {}
                // The others go all the same.
                removed => outcome = outcome.and(removed.map_err(ContainerError::from)),
            }
        }
        outcome
    }
}

/// Docker says in several ways that it has no subnet left.
fn explain(fault: Fault) -> ContainerError {
    match &fault {
        Fault::Refused { message, .. } if message.contains("address pool") => {
            ContainerError::Engine(format!(
                "Docker has no subnet left for the private network of a stage ({message}); let fewer stages with services run at \
             once, remove networks that nobody uses (`docker network prune`), or give it more (`default-address-pools` in its \
             daemon.json)"
            ))
        }
        _ => fault.into(),
    }
}
