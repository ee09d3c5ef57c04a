//! Waiting for a container to be ready, and for one of several to end.

use std::future;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::select_all;
use tokio::time::{Instant, timeout};
use wasmtime::component::Resource;
use yuanli_bindings::containers::{Container, Error, Probe, Readiness};
use yuanli_ports::containers as port;

use super::{Ended, Running, Written, ended, no_such_container, of_port};
use crate::guest::State;
use crate::host::Outside;
use crate::wait::Waiting;

/// Shortest time between two probes, as the contract says: each is a process in the container.
const MIN_INTERVAL: Duration = Duration::from_millis(100);

type Parameters = (Resource<Container>, Probe, u32, u32);

pub(super) fn wait_ready(
    state: &mut State,
    (container, probe, interval_ms, timeout_ms): Parameters,
) -> Waiting<(Result<Readiness, Error>,)> {
    let interval = Duration::from_millis(interval_ms.into()).max(MIN_INTERVAL);
    let until = Instant::now() + Duration::from_millis(timeout_ms.into());
    let Some(running) = state.containers.get(&container.rep()).cloned() else {
        return future::ready((Err(no_such_container()),)).boxed();
    };
    let (written, outside) = (Written::of(state, [&running]), Arc::clone(&state.outside));
    async move {
        let ready = ready(&outside, running, probe, (interval, until)).await;
        if matches!(ready, Ok(Readiness::Ended(_))) {
            written.note(0);
        }
        (ready,)
    }
    .boxed()
}

async fn ready(
    outside: &Outside,
    running: Running,
    probe: Probe,
    (interval, until): (Duration, Instant),
) -> Result<Readiness, Error> {
    let probe = translate(probe)?;
    let mut exit = running.exit;
    loop {
        let why = match outside.containers.probe(&running.id, &probe).await.map_err(of_port)? {
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

pub(super) fn wait_any(
    state: &mut State,
    (containers,): (Vec<Resource<Container>>,),
) -> Waiting<(Result<u32, Error>,)> {
    let found: Option<Vec<&Running>> =
        containers.iter().map(|container| state.containers.get(&container.rep())).collect();
    let running = match found {
        None => return future::ready((Err(no_such_container()),)).boxed(),
        Some(running) if running.is_empty() => {
            let error = Error::Invalid("there is no container to wait for".to_owned());
            return future::ready((Err(error),)).boxed();
        }
        Some(running) => running,
    };
    let written = Written::of(state, running.iter().copied());
    let exits = running.iter().map(|running| running.exit.clone()).collect();
    async move {
        let first = first(exits).await;
        written.note(first);
        (Ok(u32::try_from(first).unwrap_or(u32::MAX)),)
    }
    .boxed()
}

/// The place of the first that has ended.
async fn first(mut exits: Vec<Ended>) -> usize {
    // One that nobody follows any more has ended as well: `wait` says why.
    let (_, woken, _) = select_all(exits.iter_mut().map(|exit| exit.wait_for(Option::is_some).boxed())).await;
    let has_ended = |exit: &Ended| exit.borrow().is_some();
    exits.iter().position(has_ended).unwrap_or(woken)
}
