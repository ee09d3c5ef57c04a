//! The two requests that a start consists of, and what an engine does that finds a container of a dead one: one by one, for
//! whoever lets something happen between them.

use yuanli_model::{OperationId, VolumeName};
use yuanli_ports::containers::{ContainerError, ContainerId, ContainerRequest, Exit};

use super::{Behaviour, Call, Container, FakeDocker, KILLED, full_name};
use crate::request;

/// A container that was made. Like an id of Docker it stands for this one only, not for another one of its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    name: String,
    serial: u64,
}

impl FakeDocker {
    /// Makes a container and does not start it.
    ///
    /// # Errors
    /// Those of [`yuanli_ports::Containers::start`]; there is none then.
    pub fn create(&self, request: &ContainerRequest) -> Result<Made, ContainerError> {
        let mut state = self.called(Some(Call::Start(request.clone())))?;
        // The same checks as for the real engine.
        request::create_body(request)?;
        let volumes: Vec<VolumeName> = request::volumes(request).cloned().collect();
        volumes.iter().try_for_each(|volume| state.require_volume(request.operation.engine, volume))?;
        state.image(&request.image)?;
        let name = request.operation.to_string();
        if state.containers.contains_key(&name) {
            return Err(ContainerError::Engine(format!("a container named `{name}` exists already")));
        }
        let image = full_name(&request.image);
        let script = state.scripts.get(&(image.clone(), request.command.clone())).or(state.others.as_ref());
        let behaviour = script.cloned().unwrap_or(Behaviour::Ends { lines: Vec::new(), code: 0 });
        state.made += 1;
        let serial = state.made;
        let container = Container {
            operation: request.operation.clone(),
            image,
            member: request.member.clone(),
            volumes,
            lines: Vec::new(),
            exit: None,
            ended_at: None,
            is_created: true,
            behaviour,
            serial,
        };
        state.containers.insert(name.clone(), container);
        Ok(Made { name, serial })
    }

    /// Starts a container that was made. One that cannot be started is gone afterwards.
    ///
    /// # Errors
    /// [`ContainerError::NotFound`] when it is not there any more; what its script says.
    pub fn launch(&self, made: &Made) -> Result<ContainerId, ContainerError> {
        let mut state = self.called(None)?;
        let ended_at = state.next_end();
        let found = state.containers.get_mut(&made.name).filter(|found| found.serial == made.serial);
        let found = found
            .ok_or_else(|| ContainerError::NotFound(format!("the container {} is not there", made.name)))?;
        let exit = |code, is_out_of_memory| Some(Exit { code, is_out_of_memory });
        (found.lines, found.exit) = match found.behaviour.clone() {
            Behaviour::Ends { lines, code } => (lines, exit(code, false)),
            Behaviour::RunsUntilStopped { lines } => (lines, None),
            Behaviour::RunsOutOfMemory { lines } => (lines, exit(KILLED, true)),
            Behaviour::FailsToStart(error) => {
                state.containers.remove(&made.name);
                return Err(error);
            }
        };
        found.is_created = false;
        found.ended_at = found.exit.map(|_| ended_at);
        Ok(ContainerId(made.name.clone()))
    }

    /// The container of an operation, and whether it was ever started.
    ///
    /// # Errors
    /// [`ContainerError::Unreachable`] during an outage.
    pub fn look(&self, operation: &OperationId) -> Result<Option<(Made, bool)>, ContainerError> {
        let (state, name) = (self.called(None)?, operation.to_string());
        let found = state.containers.get(&name);
        Ok(found.map(|found| (Made { name, serial: found.serial }, !found.is_created)))
    }

    /// Removes a container unless it was started meanwhile.
    ///
    /// # Errors
    /// [`ContainerError::Unreachable`] during an outage.
    pub fn remove_unstarted(&self, made: &Made) -> Result<(), ContainerError> {
        let mut state = self.called(None)?;
        if state
            .containers
            .get(&made.name)
            .is_some_and(|found| found.serial == made.serial && found.is_created)
        {
            state.containers.remove(&made.name);
        }
        Ok(())
    }

    /// Takes a container away, whatever it does.
    pub fn discard(&self, name: &str) {
        self.state().remove_container(name);
        self.changed.notify_waiters();
    }

    /// Takes the containers of such operations away; returns how many.
    pub fn discard_where(&self, is_meant: impl Fn(&OperationId) -> bool) -> u64 {
        let mut state = self.state();
        let before = state.containers.len();
        state.containers.retain(|_, found| !is_meant(&found.operation));
        self.changed.notify_waiters();
        (before - state.containers.len()) as u64
    }
}
