//! Builds of images, by Docker's classic builder (API 1.41, which every engine since 20.10 speaks); those of BuildKit are
//! `buildkit.rs`.
//!
//! The classic builder stops when the request's connection is closed, so dropping the request is how a build is cancelled.
//! It removes its intermediate containers itself then, a moment later; whoever cancelled is told only after that.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bollard::errors::Error;
use bollard::models::BuildInfo;
use bollard::query_parameters::BuildImageOptions;
use bytes::Bytes;
use futures::{Stream, StreamExt};
use yuanli_model::OperationId;
use yuanli_points::{Point, pass};
use yuanli_ports::containers::{ContainerError, ContainerId};
use yuanli_ports::images::{BuildRequest, Builder, Image};
use yuanli_ports::{Cancellation, Images};

use crate::buildkit;
use crate::connection::Docker;
use crate::context::Context;
use crate::fault::{BAD_REQUEST, Fault};
use crate::reference;

/// How long the builder may take to remove what a stopped build left, before it is done here.
const CLEAN_UP_DEADLINE: Duration = Duration::from_secs(10);

type Progress<'a> = &'a (dyn Fn(String) + Send + Sync);

#[async_trait]
impl Images for Docker {
    async fn build(
        &self,
        request: &BuildRequest,
        progress: Progress<'_>,
        cancel: &Cancellation,
    ) -> Result<Image, ContainerError> {
        let log = Log::new(progress);
        let result = tokio::select! {
            biased;
            () = cancel.cancelled() => Err(ContainerError::Cancelled),
            result = self.run_build(request, &log) => result,
        };
        if result.is_err() {
            self.clean_up(log.running()).await;
        }
        self.inspect_image(&result?).await
    }

    async fn inspect(&self, image: &str) -> Result<Image, ContainerError> {
        self.inspect_image(image).await
    }

    async fn read_files(
        &self,
        operation: &OperationId,
        image: &str,
        paths: &[String],
        most: u64,
    ) -> Result<Vec<Option<Vec<u8>>>, ContainerError> {
        self.files_of_image(operation, image, paths, most).await
    }

    async fn save(&self, images: &[String], to: File) -> Result<u64, ContainerError> {
        self.save_images(images, to).await
    }

    async fn load(&self, from: File) -> Result<Vec<Image>, ContainerError> {
        self.load_images(from).await
    }

    async fn tag(&self, image: &str, tag: &str) -> Result<(), ContainerError> {
        self.tag_image(image, tag).await
    }

    async fn remove(&self, image: &str) -> Result<(), ContainerError> {
        self.remove_image(image).await
    }
}

impl Docker {
    /// Builds and names the image; returns its id.
    async fn run_build(&self, request: &BuildRequest, log: &Log<'_>) -> Result<String, ContainerError> {
        for tag in &request.tags {
            reference::parse_tag(tag)?;
        }
        let (folder, dockerfile) = (request.context.clone(), request.dockerfile.clone());
        let context = tokio::task::spawn_blocking(move || Context::open(&folder, &dockerfile)).await;
        let context =
            context.map_err(|panic| ContainerError::Engine(format!("reading the context: {panic}")))??;
        let is_by_kit = self.is_by_kit(request.builder).await?;
        if request.has_inline_cache && !is_by_kit {
            return Err(ContainerError::Invalid(
                "only BuildKit writes a cache into the image: `builder: buildkit`".to_owned(),
            ));
        }
        let dockerfile = context.dockerfile().to_owned();
        if is_by_kit {
            buildkit::check(&request.context.join(&dockerfile)).await?;
        }
        let (body, sending) = context.stream();
        // Each closes the connection at its end, and with it the queue that the thread may be waiting for.
        let built = match is_by_kit {
            true => self.build_by_kit(request, &dockerfile, body, &|line| log.say(line)).await,
            false => self.build_classic(request, &dockerfile, body, log).await,
        };
        let skipped = sending
            .await
            .map_err(|panic| ContainerError::Engine(format!("reading the context: {panic}")))??;
        let image = built?;
        pass(Point::ImageBuilt);
        for path in skipped {
            log.say(format!("`{path}` is neither file, folder nor link and was not sent to the builder"));
        }
        for tag in request.tags.iter().skip(1).filter(|_| !is_by_kit) {
            self.tag_image(&image, tag).await?;
        }
        Ok(image)
    }

    async fn is_by_kit(&self, builder: Builder) -> Result<bool, ContainerError> {
        match builder {
            Builder::Classic => Ok(false),
            Builder::BuildKit => Ok(true),
            Builder::Auto => self.prefers_kit().await,
        }
    }

    async fn build_classic(
        &self,
        request: &BuildRequest,
        dockerfile: &str,
        body: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
        log: &Log<'_>,
    ) -> Result<String, ContainerError> {
        let client = self.streaming().await?;
        let body = bollard::body_try_stream(body);
        let mut records = client.build_image(build_options(request, dockerfile), None, Some(body));
        let mut outcome = Ok(());
        while let Some(record) = records.next().await {
            match record {
                Ok(info) => log.accept(info),
                Err(error) => {
                    outcome = Err(self.explain_build(error, request, log));
                    break;
                }
            }
        }
        log.finish();
        outcome?;
        log.image()
            .ok_or_else(|| ContainerError::Engine("Docker built an image and did not say which".to_owned()))
    }

    fn explain_build(&self, error: Error, request: &BuildRequest, log: &Log<'_>) -> ContainerError {
        let dockerfile = &request.dockerfile;
        match error {
            Error::DockerStreamError { error } => failed_step(&log.step(), error.trim()),
            error => match Fault::new(error, "build the image", &self.host()) {
                Fault::Refused { status: BAD_REQUEST, message, .. } => ContainerError::Invalid(format!(
                    "the Dockerfile `{dockerfile}` cannot be built: {message}"
                )),
                fault => fault.into(),
            },
        }
    }

    /// Sees to it that the intermediate containers of a build that ended badly are gone.
    async fn clean_up(&self, containers: Vec<String>) {
        for container in containers.into_iter().map(ContainerId) {
            let is_gone = self.is_gone_within(CLEAN_UP_DEADLINE, &container).await;
            if matches!(is_gone, Ok(true)) {
                continue;
            }
            if let Err(error) = self.remove_container(&container).await {
                tracing::warn!(container = container.0, %error, "an intermediate container of a build is left");
            }
        }
    }
}

fn build_options(request: &BuildRequest, dockerfile: &str) -> BuildImageOptions {
    let map = |pairs: &[(String, String)]| -> HashMap<String, String> { pairs.iter().cloned().collect() };
    BuildImageOptions {
        dockerfile: dockerfile.to_owned(),
        t: request.tags.first().cloned(),
        target: request.target.clone().unwrap_or_default(),
        buildargs: Some(map(&request.arguments)),
        labels: Some(map(&request.labels)),
        nocache: request.no_cache,
        platform: request.platform.clone().unwrap_or_default(),
        cachefrom: (!request.cache_from.is_empty()).then(|| request.cache_from.clone()),
        rm: true,
        // Also when a step fails.
        forcerm: true,
        ..BuildImageOptions::default()
    }
}

/// Why a step failed. bollard drops the exit code that stands beside the message, so it is read from its end.
fn failed_step(step: &str, message: &str) -> ContainerError {
    if step.to_ascii_uppercase().starts_with("FROM ") {
        return ContainerError::NotFound(format!(
            "the base image of `{step}` is not on this engine and Docker could not fetch it: {message}. Build it in \
             an earlier stage or bring it with `docker load`; Yuanli pulls nothing by itself"
        ));
    }
    let exit_code = message.rsplit_once("returned a non-zero code: ").and_then(|(_, code)| code.parse().ok());
    let message =
        if step.is_empty() { message.to_owned() } else { format!("step `{step}` failed: {message}") };
    ContainerError::BuildFailed { message, exit_code }
}

/// What the builder said so far. Behind a lock because cancelling drops the build and still wants to know.
struct Log<'a> {
    progress: Progress<'a>,
    state: Mutex<LogState>,
}

#[derive(Debug, Default)]
struct LogState {
    /// What came since the last line end.
    line: String,
    /// The instruction of the step that runs.
    step: String,
    /// Intermediate containers that were not reported as removed.
    running: HashSet<String>,
    image: Option<String>,
}

/// The classic builder prints what a step writes to standard error in red, piece by piece.
const RED: &str = "\u{1b}[91m";
const PLAIN: &str = "\u{1b}[0m";

impl<'a> Log<'a> {
    fn new(progress: Progress<'a>) -> Self {
        Self { progress, state: Mutex::default() }
    }

    fn accept(&self, info: BuildInfo) {
        if let Some(text) = &info.stream {
            let text = text.strip_prefix(RED).and_then(|text| text.strip_suffix(PLAIN)).unwrap_or(text);
            self.state().line.push_str(text);
            self.drain();
        }
        // A pull that the builder began; its bars, which have a detail, are left out.
        let has_bar = info.progress_detail.is_some_and(|detail| detail.total.is_some());
        if let (Some(status), false) = (info.status, has_bar) {
            self.say(info.id.map_or_else(|| status.clone(), |id| format!("{id}: {status}")));
        }
        if let Some(id) = info.aux.and_then(|aux| aux.id) {
            self.state().image = Some(id);
        }
    }

    /// Hands on the whole lines that came.
    fn drain(&self) {
        let mut lines = Vec::new();
        let mut state = self.state();
        while let Some(end) = state.line.find('\n') {
            let line: String = state.line.drain(..=end).collect();
            state.note(line.trim());
            lines.push(line);
        }
        drop(state);
        lines.into_iter().for_each(|line| self.say(line));
    }

    /// Hands on a last line without an end.
    fn finish(&self) {
        let line = std::mem::take(&mut self.state().line);
        self.say(line);
    }

    fn say(&self, line: String) {
        let line = line.trim_end();
        // `FROM scratch` has no image that the arrow could name.
        if !line.is_empty() && line != " --->" {
            (self.progress)(line.to_owned());
        }
    }

    fn step(&self) -> String {
        self.state().step.clone()
    }

    fn image(&self) -> Option<String> {
        self.state().image.clone()
    }

    fn running(&self) -> Vec<String> {
        self.state().running.drain().collect()
    }

    fn state(&self) -> std::sync::MutexGuard<'_, LogState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LogState {
    /// Learns from a line which step runs and in which container. A step's own output could imitate these lines; the
    /// worst that comes of it is a wrong name in a message, or a look at a container that does not exist.
    fn note(&mut self, line: &str) {
        if let Some((_, instruction)) = line.strip_prefix("Step ").and_then(|rest| rest.split_once(" : ")) {
            instruction.clone_into(&mut self.step);
        } else if let Some(container) = line.strip_prefix("---> Running in ") {
            self.running.insert(container.to_owned());
        } else if let Some(container) = line.strip_prefix("Removing intermediate container ") {
            self.running.remove(container);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(text: &str) -> BuildInfo {
        BuildInfo { stream: Some(text.to_owned()), ..BuildInfo::default() }
    }

    #[test]
    fn lines_are_joined_and_empty_ones_left_out() {
        let lines = Mutex::new(Vec::new());
        let progress = |line| lines.lock().expect("no panic").push(line);
        let log = Log::new(&progress);
        for text in ["Step 1/2 : FROM scratch", "\n", " ---> \n", "\n", "a\nb", "\u{1b}[91mc\nd\u{1b}[0m"] {
            log.accept(stream(text));
        }
        assert_eq!(log.step(), "FROM scratch");
        log.finish();
        assert_eq!(*lines.lock().expect("no panic"), ["Step 1/2 : FROM scratch", "a", "bc", "d"]);
    }

    #[test]
    fn containers_that_still_run_are_known() {
        let log = Log::new(&|_| ());
        log.accept(stream(" ---> Running in aaa\n"));
        log.accept(stream("Removing intermediate container aaa\n ---> 123\n ---> Running in bbb\n"));
        assert_eq!(log.running(), ["bbb"]);
    }

    #[test]
    fn a_failed_step_is_named_with_its_exit_code() {
        let text = "The command '/bin/sh -c exit 3' returned a non-zero code: 3";
        let error = failed_step("RUN exit 3", text);
        let message = format!("step `RUN exit 3` failed: {text}");
        assert_eq!(error, ContainerError::BuildFailed { message, exit_code: Some(3) });
        let copy = failed_step("COPY a b", "no such file");
        assert!(matches!(copy, ContainerError::BuildFailed { exit_code: None, .. }));
        assert!(matches!(failed_step("FROM nosuch", "pull access denied"), ContainerError::NotFound(_)));
    }
}
