//! Containers that run to their end.

use std::collections::{HashMap, HashSet};
use std::pin::pin;
use std::time::Duration;

use async_trait::async_trait;
use bollard::container::LogOutput;
use bollard::errors::Error;
use bollard::models::{ContainerCreateBody, ContainerState, ContainerStateStatusEnum};
use bollard::query_parameters::{
    CreateContainerOptions, ListContainersOptions, LogsOptions, RemoveContainerOptions, StopContainerOptions,
    WaitContainerOptions,
};
use futures::StreamExt;
use yuanli_model::{AttemptId, EngineId};
use yuanli_points::{Point, pass};
use yuanli_ports::Containers;
use yuanli_ports::containers::{
    Command, ContainerError, ContainerId, ContainerRequest, Executed, Execution, Exit, Mount, OnLine, Probe,
    Probed,
};

use crate::connection::{BETWEEN_LOOKS, Docker, OUTAGE, SHORT_OUTAGE};
use crate::fault::{CONFLICT, Fault, NOT_FOUND};
use crate::output::{Frame, Output};
use crate::refusal::Asked;
use crate::{carry, image, label, refusal, request};

/// How long the followed log may be silent after its container ended before it is given up; what is missing is read
/// again anyway. Docker 20.10 sometimes forgets to end it.
const LOG_QUIET: Duration = Duration::from_secs(2);

/// How many entries at the end of an ended container's log are read again. Docker loses a few at most, and finds the
/// last thousand from the end of the file in about a millisecond.
const TAIL_FRAMES: usize = 1_000;

/// How many containers are removed at the same time. Docker removes them nearly one after the other anyway; this
/// hides the round trips.
const CONCURRENT_REMOVALS: usize = 8;

/// How long a removal that is already under way may take, and how often it is looked at.
pub(crate) const REMOVAL_DEADLINE: Duration = Duration::from_secs(30);
const REMOVAL_POLL: Duration = Duration::from_millis(20);

/// A container that was made and not started.
pub(crate) struct Created {
    pub(crate) id: ContainerId,
    /// Whether its folders have to be sent to it.
    travels: bool,
}

#[async_trait]
impl Containers for Docker {
    async fn start(&self, request: &ContainerRequest) -> Result<ContainerId, ContainerError> {
        self.start_or_leave(request).await
    }

    async fn adopt(&self, request: &ContainerRequest) -> Result<ContainerId, ContainerError> {
        self.adopt_or_start(request).await
    }

    async fn follow(&self, container: &ContainerId, on_line: OnLine<'_>) -> Result<Exit, ContainerError> {
        check_id(container)?;
        self.require_started(container).await?;
        let mut output = Output::new(on_line);
        self.read_log(container, &mut output).await?;
        self.read_rest(container, &mut output).await?;
        output.finish();
        self.exit(container).await
    }

    async fn ended_at(&self, container: &ContainerId) -> Result<Option<u64>, ContainerError> {
        check_id(container)?;
        let state = self.outlasting(OUTAGE, || self.state(container)).await?;
        Ok(ended_at(&state))
    }

    async fn bring_back(&self, container: &ContainerId, mounts: &[Mount]) -> Result<(), ContainerError> {
        check_id(container)?;
        self.bring_folders_back(container, mounts).await
    }

    async fn stop(&self, container: &ContainerId, grace: Duration) -> Result<(), ContainerError> {
        check_id(container)?;
        self.outlasting(SHORT_OUTAGE, || self.stop_container(container, grace, self.deadline())).await
    }

    async fn remove(&self, container: &ContainerId) -> Result<(), ContainerError> {
        check_id(container)?;
        self.insisting(|| self.remove_container(container)).await
    }

    async fn probe(&self, container: &ContainerId, probe: &Probe) -> Result<Probed, ContainerError> {
        check_id(container)?;
        self.outlasting(OUTAGE, || self.probe_once(container, probe)).await
    }

    async fn prepare(&self, container: &ContainerId, command: &Command) -> Result<Execution, ContainerError> {
        check_id(container)?;
        self.outlasting(OUTAGE, || self.prepare_command(container, command)).await
    }

    async fn execute(
        &self,
        execution: &Execution,
        command: &Command,
        input: Vec<u8>,
        on_line: OnLine<'_>,
    ) -> Result<Executed, ContainerError> {
        Box::pin(self.run_command(execution, command, (input, false), on_line)).await
    }

    async fn execute_again(
        &self,
        execution: &Execution,
        command: &Command,
        input: Vec<u8>,
        on_line: OnLine<'_>,
    ) -> Result<Executed, ContainerError> {
        Box::pin(self.run_command(execution, command, (input, true), on_line)).await
    }

    async fn remove_all(&self, engine: EngineId, attempt: Option<&AttemptId>) -> Result<u64, ContainerError> {
        self.insisting(|| self.remove_found(label::run_filter(engine, attempt), |_| true)).await
    }

    async fn remove_others(
        &self,
        engine: EngineId,
        kept: &HashSet<AttemptId>,
    ) -> Result<u64, ContainerError> {
        // What was made to look at something is nobody's: who goes on makes another one.
        let is_other = |labels: &HashMap<String, String>| {
            label::is_helper(labels) || label::attempt(labels).is_none_or(|attempt| !kept.contains(&attempt))
        };
        self.insisting(|| self.remove_found(label::run_filter(engine, None), is_other)).await
    }
}

/// When a container ended, in nanoseconds since 1970; `None` while it runs, or is about to.
fn ended_at(state: &ContainerState) -> Option<u64> {
    use bollard::models::ContainerStateStatusEnum::{DEAD, EXITED};
    let at = state.finished_at.as_deref().filter(|_| matches!(state.status, Some(EXITED | DEAD)))?;
    let at = chrono::DateTime::parse_from_rfc3339(at).ok()?;
    at.timestamp_nanos_opt().and_then(|nanos| u64::try_from(nanos).ok())
}

impl Docker {
    /// Removes the containers that a filter finds and whose labels are such, and after them the networks.
    async fn remove_found(
        &self,
        filters: HashMap<String, Vec<String>>,
        is_meant: impl Fn(&HashMap<String, String>) -> bool,
    ) -> Result<u64, ContainerError> {
        let client = self.client().await?;
        let options = ListContainersOptions {
            all: true,
            filters: Some(filters.clone()),
            ..ListContainersOptions::default()
        };
        let found = self.call("list containers", client.list_containers(Some(options))).await?;
        let meant =
            found.into_iter().filter(|found| is_meant(found.labels.as_ref().unwrap_or(&HashMap::new())));
        let ids = meant.filter_map(|summary| summary.id).map(ContainerId).collect::<Vec<_>>();
        let removals = futures::stream::iter(ids).map(|id| async move { self.remove_container(&id).await });
        let results: Vec<_> = removals.buffer_unordered(CONCURRENT_REMOVALS).collect().await;
        // One that cannot be removed must not keep the others: the first error is told after all were tried.
        let removed = results.iter().filter(|result| result.is_ok()).count();
        results.into_iter().collect::<Result<(), ContainerError>>()?;
        self.remove_private(filters, &is_meant).await?;
        Ok(removed as u64)
    }

    /// Removes a container that did not start; gives why it did not.
    pub(crate) async fn remove_refused(
        &self,
        container: &ContainerId,
        error: ContainerError,
    ) -> ContainerError {
        if let Err(left) = self.remove_container(container).await {
            tracing::warn!(container = container.0, %left, "a container that did not start is left");
        }
        error
    }

    pub(crate) async fn start_created(
        &self,
        request: &ContainerRequest,
        Created { id: container, travels }: &Created,
    ) -> Result<(), ContainerError> {
        if *travels {
            self.send_folders(request, container).await?;
        }
        self.let_out(request, container).await?;
        let client = self.client().await?;
        pass(Point::ContainerCreated);
        let started = self.call("start the container", client.start_container(&container.0, None)).await;
        pass(Point::ContainerStarted);
        started.map_err(|fault| refusal::explain(fault, &asked(request)))
    }

    pub(crate) async fn create(&self, request: &ContainerRequest) -> Result<Created, ContainerError> {
        Box::pin(self.create_as(request, request::create_body(request)?)).await
    }

    /// The same, as this body says it.
    pub(crate) async fn create_as(
        &self,
        request: &ContainerRequest,
        mut body: ContainerCreateBody,
    ) -> Result<Created, ContainerError> {
        for volume in request::volumes(request) {
            self.require_volume(request.operation.engine, volume).await?;
        }
        self.join(request, &mut body).await?;
        // What connects knows where it is.
        self.client().await?;
        let mut travels = self.travels(request).await?;
        if travels {
            self.unmount(request, &mut body)?;
        }
        let name = request.operation.to_string();
        let mut created = self.create_named(&name, body.clone()).await;
        if !travels && created.as_ref().is_err_and(carry::is_unseen) && !self.sees_files(request).await? {
            travels = true;
            self.unmount(request, &mut body)?;
            created = self.create_named(&name, body).await;
        }
        match created {
            Ok(id) => Ok(Created { id, travels }),
            Err(Fault::Refused { status: NOT_FOUND, .. }) => Err(image::missing(&request.image)),
            Err(Fault::Refused { status: CONFLICT, message, .. }) => {
                Err(ContainerError::Engine(format!("a container named `{name}` exists already: {message}")))
            }
            Err(fault) => Err(refusal::explain(fault, &asked(request))),
        }
    }

    async fn create_named(&self, name: &str, body: ContainerCreateBody) -> Result<ContainerId, Fault> {
        let options = CreateContainerOptions { name: Some(name.to_owned()), platform: String::new() };
        let client = self.client().await.map_err(Fault::Other)?;
        let created = self.call("create a container", client.create_container(Some(options), body)).await?;
        Ok(ContainerId(created.id))
    }

    /// A `wait` for a container that was never started answers 0 at once, so it is looked at first.
    async fn require_started(&self, container: &ContainerId) -> Result<(), ContainerError> {
        match self.outlasting(OUTAGE, || self.state(container)).await?.status {
            Some(ContainerStateStatusEnum::CREATED) => Err(ContainerError::Invalid(format!(
                "the container {} was created and never started, so there is nothing to follow",
                container.0
            ))),
            _ => Ok(()),
        }
    }

    async fn has_ended(&self, container: &ContainerId) -> Result<bool, ContainerError> {
        use ContainerStateStatusEnum::{DEAD, EXITED, REMOVING};
        let status = self.outlasting(OUTAGE, || self.state(container)).await?.status;
        Ok(matches!(status, Some(EXITED | DEAD | REMOVING)))
    }

    /// Hands on the log while it grows; returns when the container has ended. A log that breaks off is no error: it is followed
    /// again from where it broke off. What is missing in the end is read once the container has ended.
    async fn read_log(&self, container: &ContainerId, output: &mut Output<'_>) -> Result<(), ContainerError> {
        let client = self.streaming().await?;
        // A connection that is cut is no end: the container may go on.
        let mut ended = pin!(self.outlasting_long(|| self.ended(container)));
        let (mut has_ended, mut options) = (false, log_options(true, "all"));
        loop {
            let mut frames = client.logs(&container.0, Some(options));
            loop {
                tokio::select! {
                    biased;
                    frame = frames.next() => match frame {
                        Some(Ok(frame)) => match Frame::new(frame) {
                            Some(frame) => output.take(&frame),
                            None => break,
                        },
                        Some(Err(_)) | None => break,
                    },
                    result = &mut ended, if !has_ended => {
                        result?;
                        has_ended = true;
                    }
                    () = tokio::time::sleep(LOG_QUIET), if has_ended => break,
                }
            }
            if has_ended {
                return Ok(());
            }
            // Most logs end because their container has; who waits for that may never be told.
            match tokio::time::timeout(BETWEEN_LOOKS, &mut ended).await {
                Ok(ended) => return ended,
                Err(_) if self.has_ended(container).await? => return Ok(()),
                Err(_) => options = log_options_since(output.reread()),
            }
        }
    }

    /// Reads what a followed log left out. Engines before 23 end it as soon as the container ends, whether or not the
    /// last lines were sent (moby issue 43860); a connection may also have been cut.
    async fn read_rest(
        &self,
        container: &ContainerId,
        output: &mut Output<'_>,
    ) -> Result<(), ContainerError> {
        let some = TAIL_FRAMES.to_string();
        let tail = self.outlasting(OUTAGE, || self.log_tail(container, &some)).await?;
        if output.resume(&tail, tail.len() < TAIL_FRAMES) {
            return Ok(());
        }
        drop(tail);
        // Hours of log may be missing, or one line of many megabytes ends it: read on from where it broke off, entry by entry.
        let output = tokio::sync::Mutex::new(output);
        self.outlasting_long(|| async { self.read_on(container, &mut **output.lock().await).await }).await
    }

    /// Hands on what is missing of the log of a container that has ended.
    async fn read_on(&self, container: &ContainerId, output: &mut Output<'_>) -> Result<(), ContainerError> {
        let options = LogsOptions { follow: false, ..log_options_since(output.reread()) };
        let client = self.streaming().await?;
        let mut entries = client.logs(&container.0, Some(options));
        while let Some(entry) = entries.next().await {
            output.take(&self.frame(container, entry)?);
        }
        Ok(())
    }

    /// The entry of a log that is read to its end.
    fn frame(
        &self,
        container: &ContainerId,
        entry: Result<LogOutput, Error>,
    ) -> Result<Frame, ContainerError> {
        let entry = entry.map_err(|error| self.gone_or(error, "read the log of the container", container))?;
        Frame::new(entry).ok_or_else(|| {
            ContainerError::Engine(format!(
                "Docker could not read the log of the container {} to its end; the file under it may be damaged",
                container.0
            ))
        })
    }

    /// The entries at the end of a container's log.
    pub(crate) async fn log_tail(
        &self,
        container: &ContainerId,
        tail: &str,
    ) -> Result<Vec<Frame>, ContainerError> {
        let client = self.streaming().await?;
        let mut entries = client.logs(&container.0, Some(log_options(false, tail)));
        let mut frames = Vec::new();
        while let Some(entry) = entries.next().await {
            frames.push(self.frame(container, entry)?);
        }
        Ok(frames)
    }

    /// Returns when the container has ended.
    pub(crate) async fn ended(&self, container: &ContainerId) -> Result<(), ContainerError> {
        let client = self.streaming().await?;
        let options = WaitContainerOptions { condition: "not-running".to_owned() };
        let answer = client.wait_container(&container.0, Some(options)).next().await;
        match answer {
            // bollard makes an error of an exit code that is not 0; the code itself is read afterwards.
            Some(Ok(_) | Err(Error::DockerContainerWaitError { .. })) => Ok(()),
            Some(Err(error)) => Err(self.gone_or(error, "wait for the container", container)),
            None => Err(ContainerError::Unreachable(format!(
                "Docker at {} broke off the connection while the container {} was running; it may be restarting",
                self.host(),
                container.0
            ))),
        }
    }

    pub(crate) async fn exit(&self, container: &ContainerId) -> Result<Exit, ContainerError> {
        let state = self.outlasting(OUTAGE, || self.state(container)).await?;
        let code = state.exit_code.ok_or_else(|| {
            ContainerError::Engine(format!("Docker did not say how the container {} ended", container.0))
        })?;
        Ok(Exit { code, is_out_of_memory: state.oom_killed.unwrap_or(false) })
    }

    async fn state(&self, container: &ContainerId) -> Result<ContainerState, ContainerError> {
        let (_, state) = self.look(container).await?.ok_or_else(|| gone(container))?;
        Ok(state)
    }

    /// The id and state of a container that is given by its id or name; `None` when it is not there.
    pub(crate) async fn look(
        &self,
        container: &ContainerId,
    ) -> Result<Option<(ContainerId, ContainerState)>, ContainerError> {
        let client = self.client().await?;
        let inspected =
            self.call("inspect the container", client.inspect_container(&container.0, None)).await;
        match inspected {
            Ok(found) => {
                let id = found.id.map_or_else(|| container.clone(), ContainerId);
                Ok(Some((id, found.state.unwrap_or_default())))
            }
            Err(fault) if fault.status() == Some(NOT_FOUND) => Ok(None),
            Err(fault) => Err(fault.into()),
        }
    }

    /// Stops a container within `grace`. Docker may take `slack` longer, for the end by force and for itself.
    pub(crate) async fn stop_container(
        &self,
        container: &ContainerId,
        grace: Duration,
        slack: Duration,
    ) -> Result<(), ContainerError> {
        // Docker counts whole seconds; rounding up never takes time away from the container.
        let seconds = grace.as_secs() + u64::from(grace.subsec_nanos() > 0);
        let options =
            StopContainerOptions { t: Some(i32::try_from(seconds).unwrap_or(i32::MAX)), signal: None };
        let client = self.streaming().await?;
        let call = client.stop_container(&container.0, Some(options));
        let deadline = Duration::from_secs(seconds).saturating_add(slack);
        match self.call_within(deadline, "stop the container", call).await {
            Err(fault) if fault.status() == Some(NOT_FOUND) => Ok(()),
            result => Ok(result?),
        }
    }

    pub(crate) async fn remove_container(&self, container: &ContainerId) -> Result<(), ContainerError> {
        let options = RemoveContainerOptions { v: true, force: true, link: false };
        let client = self.client().await?;
        let call = client.remove_container(&container.0, Some(options));
        match self.call("remove the container", call).await {
            Err(fault) if fault.status() == Some(NOT_FOUND) => Ok(()),
            // Somebody else is removing it: done when it is gone.
            Err(fault) if fault.status() == Some(CONFLICT) => {
                if self.is_gone_within(REMOVAL_DEADLINE, container).await? {
                    Ok(())
                } else {
                    Err(fault.into())
                }
            }
            result => Ok(result?),
        }
    }

    /// Whether the container is gone, after waiting for it for a while.
    pub(crate) async fn is_gone_within(
        &self,
        deadline: Duration,
        container: &ContainerId,
    ) -> Result<bool, ContainerError> {
        let until = tokio::time::Instant::now() + deadline;
        loop {
            match self.state(container).await {
                Err(ContainerError::NotFound(_)) => return Ok(true),
                Err(error) => return Err(error),
                Ok(_) if tokio::time::Instant::now() >= until => return Ok(false),
                Ok(_) => tokio::time::sleep(REMOVAL_POLL).await,
            }
        }
    }

    pub(crate) fn gone_or(&self, error: Error, doing: &str, container: &ContainerId) -> ContainerError {
        match Fault::new(error, doing, &self.host()) {
            fault if fault.status() == Some(NOT_FOUND) => gone(container),
            fault => fault.into(),
        }
    }
}

fn log_options(follow: bool, tail: &str) -> LogsOptions {
    LogsOptions {
        follow,
        stdout: true,
        stderr: true,
        timestamps: true,
        tail: tail.to_owned(),
        ..LogsOptions::default()
    }
}

fn log_options_since(seconds: i64) -> LogsOptions {
    LogsOptions { since: i32::try_from(seconds).unwrap_or(0), ..log_options(true, "all") }
}

fn gone(container: &ContainerId) -> ContainerError {
    ContainerError::NotFound(format!(
        "the container {} is not there; it was removed by somebody, or Docker's data was",
        container.0
    ))
}

/// Ids become part of a request's path, where bollard resolves `..`.
fn check_id(container: &ContainerId) -> Result<(), ContainerError> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    if container.0.starts_with(|c: char| c.is_ascii_alphanumeric()) && container.0.chars().all(is_plain) {
        Ok(())
    } else {
        Err(ContainerError::Invalid(format!("`{}` is no id of a container", container.0)))
    }
}

fn asked(request: &ContainerRequest) -> Asked<'_> {
    let entry = request.entrypoint.as_ref().and_then(|entry| entry.first());
    let program = entry.or(request.command.first()).map(String::as_str);
    Asked { image: &request.image, program, user: request.user.as_deref() }
}
