//! Probes: what a test says is found.

use yuanli_ports::containers::{ContainerError, ContainerId, Probed};

use super::{FakeDocker, State, full_name};

impl FakeDocker {
    /// Says what probes of running containers of an image find from now on.
    pub fn script_probes(&self, image: &str, found: Probed) {
        self.state().probes.insert(full_name(image), found);
    }

    /// The names by which running containers are reached in the networks of their attempts, sorted.
    #[must_use]
    pub fn services(&self) -> Vec<String> {
        let state = self.state();
        let running = state.containers.values().filter(|container| container.exit.is_none());
        let mut names: Vec<String> = running.filter_map(|container| container.member.clone()?.name).collect();
        names.sort();
        names
    }
}

impl State {
    pub(super) fn probed(&self, container: &ContainerId) -> Result<Probed, ContainerError> {
        let found = self
            .containers
            .get(&container.0)
            .ok_or_else(|| ContainerError::NotFound(format!("the container {} is not there", container.0)))?;
        Ok(match found.exit {
            Some(exit) => Probed::Ended(exit),
            None => self.probes.get(&found.image).cloned().unwrap_or(Probed::Ready),
        })
    }
}
