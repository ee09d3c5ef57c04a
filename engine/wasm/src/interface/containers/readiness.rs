//! Waiting for a container to be ready, and for one of several to end.

use std::time::Duration;

use futures::FutureExt;
use futures::future::select_all;
use tokio::time::{Instant, timeout};
use wasmtime::component::Resource;
use yuanli_bindings::containers::{Container, Error, Exit, Probe, Readiness};
use yuanli_ports::containers as port;

use super::{Ended, Running, no_such_container, of_port};
use crate::call::Answer;
use crate::guest::State;

/// Shortest time between two probes, as the contract says: each is a process in the container.
const MIN_INTERVAL: Duration = Duration::from_millis(100);

type Parameters = (Resource<Container>, Probe, u32, u32);

pub(super) fn wait_ready(
    state: &mut State,
    (container, probe, interval_ms, timeout_ms): Parameters,
) -> Answer<'_, (Result<Readiness, Error>,)> {
    async move {
        let interval = Duration::from_millis(interval_ms.into()).max(MIN_INTERVAL);
        let until = Instant::now() + Duration::from_millis(timeout_ms.into());
        let ready = ready(state, &container, probe, (interval, until)).await;
        if matches!(ready, Ok(Readiness::Ended(_))) {
            note_written(state, container.rep());
        }
        (ready,)
    }
    .boxed()
}

async fn ready(
    state: &State,
    container: &Resource<Container>,
    probe: Probe,
    (interval, until): (Duration, Instant),
) -> Result<Readiness, Error> {
    let probe = translate(probe)?;
    let running = state.containers.get(&container.rep()).ok_or_else(no_such_container)?;
    let mut exit = running.exit.clone();
    loop {
        let why = match state.outside.containers.probe(&running.id, &probe).await.map_err(of_port)? {
            port::Probed::Ready => return Ok(Readiness::Ready),
            port::Probed::Ended(_) => return ended(&mut exit).await.map(Readiness::Ended),
            port::Probed::NotYet(why) => why,
        };
        let pause = interval.min(until.saturating_duration_since(Instant::now()));
        if pause.is_zero() {
            return Ok(Readiness::Late(why));
        }
        // One that ends is not waited for any longer.
        if timeout(pause, exit.wait_for(Option::is_some)).await.is_ok() {
            return ended(&mut exit).await.map(Readiness::Ended);
        }
    }
}

fn translate(probe: Probe) -> Result<port::Probe, Error> {
    let invalid = |message: &str| Err(Error::Invalid(message.to_owned()));
    match probe {
        Probe::Command(command) if command.is_empty() => invalid("a probe needs a command to run"),
        Probe::Command(command) => Ok(port::Probe::Command(command)),
        Probe::Tcp(0) | Probe::Http((0, _)) => invalid("no program listens at port 0"),
        Probe::Tcp(port) => Ok(port::Probe::Tcp(port)),
        Probe::Http((_, path)) if !is_path(&path) => {
            invalid("the path of a probe begins with `/` and has neither spaces nor signs that are not ASCII")
        }
        Probe::Http((port, path)) => Ok(port::Probe::Http { port, path }),
    }
}

/// Whether it can stand in the first line of a request as it is.
fn is_path(path: &str) -> bool {
    path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic())
}

/// How a container ended, once all its output is in the log.
async fn ended(exit: &mut Ended) -> Result<Exit, Error> {
    let ended = exit.wait_for(Option::is_some).await.ok().and_then(|exit| exit.clone());
    ended.unwrap_or_else(|| Err(Error::Engine("the container was abandoned".to_owned())))
}

pub(super) fn wait_any(
    state: &mut State,
    (containers,): (Vec<Resource<Container>>,),
) -> Answer<'_, (Result<u32, Error>,)> {
    async move {
        let first = first(state, &containers).await;
        let ended = first.as_ref().ok().and_then(|place| containers.get(*place as usize));
        if let Some(ended) = ended {
            note_written(state, ended.rep());
        }
        (first,)
    }
    .boxed()
}

/// Whoever knows that a container has ended finds what it has written.
pub(super) fn note_written(state: &mut State, container: u32) {
    state.is_workspace_written |= state.containers.get(&container).is_some_and(Running::is_writer);
}

/// The place of the first that has ended.
async fn first(state: &State, containers: &[Resource<Container>]) -> Result<u32, Error> {
    let exit = |container: &Resource<Container>| {
        let running = state.containers.get(&container.rep()).ok_or_else(no_such_container)?;
        Ok(running.exit.clone())
    };
    let mut exits = containers.iter().map(exit).collect::<Result<Vec<Ended>, Error>>()?;
    if exits.is_empty() {
        return Err(Error::Invalid("there is no container to wait for".to_owned()));
    }
    // One that nobody follows any more has ended as well: `wait` says why.
    let (_, woken, _) = select_all(exits.iter_mut().map(|exit| exit.wait_for(Option::is_some).boxed())).await;
    let has_ended = |exit: &Ended| exit.borrow().is_some();
    let place = exits.iter().position(has_ended).unwrap_or(woken);
    Ok(u32::try_from(place).unwrap_or(u32::MAX))
}
