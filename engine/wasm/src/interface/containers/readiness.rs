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
    let exits = running.iter().map(|running| (running.id.clone(), running.exit.clone())).collect();
    let outside = Arc::clone(&state.outside);
    async move {
        let first = first(&*outside.containers, exits).await;
        written.note(first);
        (Ok(u32::try_from(first).unwrap_or(u32::MAX)),)
    }
    .boxed()
}

/// The place of the one that ended first, by the clock of who runs them: the output of a later one may be read sooner, as when
/// an engine comes back to several that ended while there was none. Of two that ended at once it is the former one.
async fn first(containers: &dyn port::Containers, mut running: Vec<(port::ContainerId, Ended)>) -> usize {
    // One that nobody follows any more has ended as well: `wait` says why.
    let ends = running.iter_mut().map(|(_, exit)| exit.wait_for(Option::is_some).boxed());
    let (_, woken, _) = select_all(ends).await;
    let mut ended = Vec::new();
    for (place, (id, exit)) in running.iter().enumerate().filter(|_| running.len() > 1) {
        // It outlasts Docker itself, for as long as it does; of one that cannot be asked for only what was heard counts.
        let at = containers.ended_at(id).await.ok().flatten();
        if at.is_some() || exit.borrow().is_some() {
            ended.push((at.unwrap_or(u64::MAX), place));
        }
    }
    let first = ended.into_iter().min().map_or(woken, |(_, place)| place);
    // Its output may still be read.
    let _ = running[first].1.wait_for(Option::is_some).await;
    first
}

#[cfg(test)]
mod tests {
    use tokio::sync::watch;
    use yuanli_bindings::containers::Exit;
    use yuanli_docker::fake::{Behaviour, FakeDocker};
    use yuanli_model::{AttemptId, EngineId, OperationId, RunId};
    use yuanli_ports::containers::{ContainerId, ContainerRequest, Containers as _};

    use super::*;

    /// Containers that run, by number.
    async fn running(docker: &FakeDocker, count: u32) -> Vec<ContainerId> {
        docker.add_image("tool");
        docker.script_others(Behaviour::RunsUntilStopped { lines: Vec::new() });
        let stage = "s".parse().expect("a name");
        let attempt = AttemptId { run: RunId::from_u128(1), stage, instance: 0, attempt: 1 };
        let mut ids = Vec::new();
        for position in 0..count {
            let operation =
                OperationId { engine: EngineId::from_u128(1), attempt: attempt.clone(), position };
            let request = ContainerRequest {
                operation,
                image: "tool".to_owned(),
                command: Vec::new(),
                entrypoint: None,
                environment: Vec::new(),
                working_folder: None,
                user: None,
                mounts: Vec::new(),
                network: port::ContainerNetwork::None,
                is_privileged: false,
                memory_bytes: None,
                cpu_millis: None,
                member: None,
                options: port::ContainerOptions::default(),
            };
            ids.push(docker.start(&request).await.expect("a container"));
        }
        ids
    }

    /// What is heard of containers whose output is read in this order, all ended before.
    async fn heard(docker: &FakeDocker, ids: &[ContainerId], read: &[usize]) -> usize {
        let (heard, exits): (Vec<_>, Vec<_>) = ids.iter().map(|_| watch::channel(None)).unzip();
        let exit = Exit { code: 0, out_of_memory: false, duration_ms: 1 };
        let waiting = first(docker, ids.iter().cloned().zip(exits).collect());
        let reading = async {
            for place in read {
                heard[*place].send_replace(Some(Ok(exit)));
                tokio::task::yield_now().await;
            }
            future::pending::<()>().await;
        };
        tokio::select! {
            first = waiting => first,
            () = reading => unreachable!("it waits for ever"),
        }
    }

    #[tokio::test]
    async fn the_one_that_ended_first_is_told_whose_output_is_read_first_or_not() {
        let docker = FakeDocker::default();
        let ids = running(&docker, 4).await;
        for ended in [2, 0, 1] {
            docker.end(&ids[ended].0, &[], 0);
        }
        for read in [[0, 1, 2], [1, 0, 2], [2, 0, 1], [2, 1, 0]] {
            assert_eq!(heard(&docker, &ids, &read).await, 2, "{read:?}");
        }
        // One of several, and one alone.
        assert_eq!(heard(&docker, &ids[..2], &[1, 0]).await, 0);
        assert_eq!(heard(&docker, &ids[1..2], &[0]).await, 0);
        // Of those that are gone it counts what was heard.
        for id in &ids {
            docker.remove(id).await.expect("removed");
        }
        assert_eq!(heard(&docker, &ids, &[1]).await, 1);
    }
}
