//! Commands in containers that run: they do what a test says.

use std::sync::PoisonError;
use std::time::Duration;

use yuanli_model::Stream;
use yuanli_ports::containers::{Command, ContainerError, ContainerId, Executed, Execution, OnLine};

use super::{Behaviour, Call, FakeDocker, full_name};

/// A command that was prepared, or begun.
#[derive(Debug)]
pub(super) struct Prepared {
    behaviour: Behaviour,
    is_begun: bool,
}

impl FakeDocker {
    /// Says what a command does in running containers of an image; without it, it ends at once with code 0.
    pub fn script_command(&self, image: &str, command: &[&str], behaviour: Behaviour) {
        let command = command.iter().map(|&part| part.to_owned()).collect();
        self.state().commands.insert((full_name(image), command), behaviour);
    }

    pub(super) fn prepare_command(
        &self,
        container: &ContainerId,
        command: &Command,
    ) -> Result<Execution, ContainerError> {
        let mut state = self.called(None)?;
        let image = match state.running(&container.0) {
            Some(found) => found.image.clone(),
            None => return Err(ContainerError::Invalid("the container does not run".to_owned())),
        };
        let behaviour = state.commands.get(&(image, command.arguments.clone())).cloned();
        let behaviour = behaviour.unwrap_or(Behaviour::Ends { lines: Vec::new(), code: 0 });
        let id = format!("{}-{}", container.0, state.executions.len());
        state.executions.insert(id.clone(), Prepared { behaviour, is_begun: false });
        Ok(Execution { container: container.clone(), id })
    }

    pub(super) async fn run_command(
        &self,
        execution: &Execution,
        command: &Command,
        (input, is_again): (Vec<u8>, bool),
        on_line: OnLine<'_>,
    ) -> Result<Executed, ContainerError> {
        let Some((behaviour, was_begun)) = self.begin_command(execution, command, (&input, is_again))? else {
            return Ok(Executed::Lost("its input was cut off".to_owned()));
        };
        let is_whole = !was_begun;
        // What it said before is gone.
        let say = |lines: Vec<(Stream, String)>| {
            lines.into_iter().filter(|_| is_whole).for_each(|(stream, line)| on_line(stream, line));
        };
        match behaviour {
            Behaviour::Ends { lines, code } => {
                say(lines);
                Ok(Executed::Ended { code, is_whole })
            }
            Behaviour::FailsToStart(error) => Err(error),
            Behaviour::RunsUntilStopped { lines } | Behaviour::RunsOutOfMemory { lines } => {
                say(lines);
                self.until_container_ends(&execution.container, command.timeout).await
            }
        }
    }

    /// What it does, and whether it was begun before; `None` where that makes it unknown what it was given.
    fn begin_command(
        &self,
        execution: &Execution,
        command: &Command,
        (input, is_again): (&[u8], bool),
    ) -> Result<Option<(Behaviour, bool)>, ContainerError> {
        let asked = Call::Execute(command.arguments.clone(), input.to_vec());
        let mut state = self.called(None)?;
        let Some(found) = state.executions.get_mut(&execution.id) else {
            return Err(ContainerError::NotFound(format!("there is no command `{}`", execution.id)));
        };
        let was_begun = std::mem::replace(&mut found.is_begun, true);
        let behaviour = found.behaviour.clone();
        if was_begun && !is_again {
            return Err(ContainerError::Invalid("the command was begun before".to_owned()));
        }
        if !was_begun {
            state.calls.push(asked);
        }
        Ok((!was_begun || input.is_empty()).then_some((behaviour, was_begun)))
    }

    async fn until_container_ends(
        &self,
        container: &ContainerId,
        timeout: Option<Duration>,
    ) -> Result<Executed, ContainerError> {
        let ended = async {
            loop {
                let changed = self.changed.notified();
                let exit = {
                    let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
                    state.containers.get(&container.0).map(|found| found.exit)
                };
                match exit {
                    Some(Some(exit)) => return Ok(Executed::ContainerEnded(exit)),
                    Some(None) => changed.await,
                    None => return Ok(Executed::Lost("the container is gone".to_owned())),
                }
            }
        };
        match timeout {
            Some(most) => tokio::time::timeout(most, ended).await.unwrap_or(Ok(Executed::Late)),
            None => ended.await,
        }
    }
}
