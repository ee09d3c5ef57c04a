//! Containers that a dead engine may have started: found by their name, which is the operation's, and taken or made anew.
//!
//! What makes it safe is that a name is given once, and that nothing is ever started by its name: a request of the dead
//! engine that is still on its way names a container which is gone by then.

use bollard::models::ContainerStateStatusEnum;
use bollard::query_parameters::RemoveContainerOptions;
use yuanli_ports::containers::{ContainerError, ContainerId, ContainerRequest};

use crate::connection::{Docker, SHORT_OUTAGE};
use crate::container::REMOVAL_DEADLINE;
use crate::fault::{CONFLICT, NOT_FOUND};

/// How often it is begun anew because the container was made, started or removed by somebody else meanwhile: there is one
/// other, the dead engine's last request.
const LOOKS: u32 = 10;

impl Docker {
    /// See [`Containers::adopt`].
    pub(crate) async fn adopt_or_start(
        &self,
        request: &ContainerRequest,
    ) -> Result<ContainerId, ContainerError> {
        let name = ContainerId(request.operation.to_string());
        let mut refused = None;
        for _ in 0..LOOKS {
            let Some((id, state)) = self.look(&name).await? else {
                match self.start_or_leave(request).await {
                    Ok(id) => return Ok(id),
                    // Somebody was quicker, if it is there now.
                    Err(error @ ContainerError::Engine(_)) if self.look(&name).await?.is_some() => {
                        refused = Some(error);
                        continue;
                    }
                    Err(error) => return Err(error),
                }
            };
            match state.status {
                Some(ContainerStateStatusEnum::CREATED) => self.remove_unstarted(&id).await?,
                Some(ContainerStateStatusEnum::REMOVING | ContainerStateStatusEnum::DEAD) => {
                    self.is_gone_within(REMOVAL_DEADLINE, &id).await?;
                }
                _ => return Ok(id),
            }
        }
        Err(refused.unwrap_or_else(|| {
            ContainerError::Engine(format!("somebody else makes and removes the container `{}`", name.0))
        }))
    }

    /// Makes and starts a container. One stays of which nobody knows whether it runs, as no answer came: who asks again finds it,
    /// and what has run does not run twice. It goes with its attempt.
    pub(crate) async fn start_or_leave(
        &self,
        request: &ContainerRequest,
    ) -> Result<ContainerId, ContainerError> {
        let container = self.create(request).await?;
        match self.start_created(request, &container).await {
            Ok(()) => Ok(container.id),
            Err(error @ ContainerError::Unreachable(_)) => match self.has_started(&container.id).await {
                true => Ok(container.id),
                false => Err(error),
            },
            Err(error) => Err(self.remove_refused(&container.id, error).await),
        }
    }

    /// Whether a container was started whose start was not answered: one that was only made may be started yet, by a request
    /// that is still on its way.
    async fn has_started(&self, id: &ContainerId) -> bool {
        let looked = self.outlasting(SHORT_OUTAGE, || self.look(id)).await;
        let status = looked.ok().flatten().and_then(|(_, state)| state.status);
        matches!(status, Some(ContainerStateStatusEnum::RUNNING | ContainerStateStatusEnum::EXITED))
    }

    /// Removes a container unless it runs: that is what tells one that was never started from one that just was.
    async fn remove_unstarted(&self, id: &ContainerId) -> Result<(), ContainerError> {
        let options = RemoveContainerOptions { v: true, force: false, link: false };
        let client = self.client().await?;
        let call = client.remove_container(&id.0, Some(options));
        match self.call("remove the container", call).await {
            Err(fault) if matches!(fault.status(), Some(NOT_FOUND | CONFLICT)) => Ok(()),
            result => Ok(result?),
        }
    }
}
