//! Builds by BuildKit, over the same call as the classic builder's.
//!
//! The context is the body of the request, as for the classic one, and the engine's own frontend reads the Dockerfile. What
//! takes a session of gRPC beside it (secrets, ssh, credentials for base images) is left out for what it costs; what a
//! Dockerfile asks of BuildKit itself (`RUN --mount=type=cache`, parallel stages, skipped ones) is there. How a build goes on
//! comes as records of BuildKit's own (`trace.rs`), of which lines like those of the classic builder are made.

mod trace;

use std::collections::{HashMap, HashSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use futures::Stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::Request;
use hyper::body::{Frame, Incoming};
use hyper::header::CONTENT_TYPE;
use serde::Deserialize;
use serde_json::Value;
use url::form_urlencoded::Serializer;
use yuanli_ports::containers::ContainerError;
use yuanli_ports::images::BuildRequest;

use self::trace::{Status, Vertex};
use crate::connection::Docker;
use crate::fault::{self, BAD_REQUEST, Fault};

/// Records of these kinds are of interest.
const TRACE: &str = "moby.buildkit.trace";
const IMAGE: &str = "moby.image.id";
/// Longest record: one has at most some seconds of output in it.
const MAX_RECORD: usize = 16 << 20;

/// The build argument by which BuildKit is asked to write into an image what it takes to be a cache.
const INLINE_CACHE: &str = "BUILDKIT_INLINE_CACHE";

const DOING: &str = "build the image";

/// What the engine says of a build, one in a line.
#[derive(Deserialize)]
struct Record {
    id: Option<String>,
    aux: Option<Value>,
    error: Option<String>,
}

impl Docker {
    /// Builds an image from a context, and returns its id.
    pub(crate) async fn build_by_kit(
        &self,
        request: &BuildRequest,
        dockerfile: &str,
        body: impl Stream<Item = std::io::Result<Bytes>> + Send + 'static,
        say: &(dyn Fn(String) + Send + Sync),
    ) -> Result<String, ContainerError> {
        let body = futures::StreamExt::map(body, |chunk| chunk.map(Frame::data));
        let uri = format!("{}/build?{}", self.base().await?, query(request, dockerfile)?);
        let request = Request::post(uri)
            .header(CONTENT_TYPE, "application/x-tar")
            .body(BodyExt::boxed_unsync(StreamBody::new(body)))
            .map_err(|error| ContainerError::Engine(format!("the request for a build: {error}")))?;
        let answer = self.send(request).await?;
        let (head, mut body) = answer.into_parts();
        if !head.status.is_success() {
            let text = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
            return Err(refused(head.status.as_u16(), &text));
        }
        let mut progress = Steps::new(say);
        let mut records = Records::default();
        loop {
            while let Some(record) = records.next() {
                progress.accept(record)?;
            }
            let Some(chunk) =
                next(&mut body).await.map_err(|error| fault::unreachable(&self.host(), DOING, &error))?
            else {
                break;
            };
            records.push(&chunk)?;
        }
        progress.image.ok_or_else(|| {
            ContainerError::Unreachable(format!(
                "Docker at {} broke off the connection before the image was built; it may be restarting",
                self.host()
            ))
        })
    }
}

/// Refuses a Dockerfile that asks for what takes a session: BuildKit would leave it out, or fail without saying why.
pub(crate) async fn check(dockerfile: &std::path::Path) -> Result<(), ContainerError> {
    // One that cannot be read is told of by who builds.
    let text = tokio::fs::read(dockerfile).await.unwrap_or_default();
    match asks_for_session(&String::from_utf8_lossy(&text)) {
        None => Ok(()),
        Some(kind) => Err(ContainerError::Invalid(format!(
            "the Dockerfile has `--mount=type={kind}`, which this engine does not offer: BuildKit asks for it over a session of its \
             own, and none is opened. Fetch what takes a secret in a stage before (`source`, `command`), or build from a base image \
             that has it"
        ))),
    }
}

/// What a Dockerfile mounts that comes over a session: `secret` or `ssh`.
fn asks_for_session(dockerfile: &str) -> Option<&'static str> {
    let lines = dockerfile.lines().filter(|line| !line.trim_start().starts_with('#'));
    let mut mounts = lines.flat_map(str::split_whitespace).filter_map(|word| word.strip_prefix("--mount="));
    mounts.find_map(|mount| {
        ["secret", "ssh"]
            .into_iter()
            .find(|kind| mount.split(',').any(|part| part.strip_prefix("type=") == Some(kind)))
    })
}

async fn next(body: &mut Incoming) -> Result<Option<Bytes>, bollard::errors::Error> {
    loop {
        let Some(frame) = body.frame().await.transpose()? else { return Ok(None) };
        if let Ok(data) = frame.into_data() {
            return Ok(Some(data));
        }
    }
}

fn query(request: &BuildRequest, dockerfile: &str) -> Result<String, ContainerError> {
    let json = |pairs: &[(String, String)]| {
        let map: HashMap<&str, &str> =
            pairs.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        serde_json::to_string(&map).map_err(|error| ContainerError::Invalid(error.to_string()))
    };
    let mut query = Serializer::new(String::new());
    query.append_pair("version", "2").append_pair("dockerfile", dockerfile);
    for tag in &request.tags {
        query.append_pair("t", tag);
    }
    let mut arguments = request.arguments.clone();
    if request.has_inline_cache {
        arguments.push((INLINE_CACHE.to_owned(), "1".to_owned()));
    }
    if !request.cache_from.is_empty() {
        let images = serde_json::to_string(&request.cache_from);
        query.append_pair("cachefrom", &images.map_err(|error| ContainerError::Invalid(error.to_string()))?);
    }
    query.append_pair("buildargs", &json(&arguments)?).append_pair("labels", &json(&request.labels)?);
    if let Some(target) = &request.target {
        query.append_pair("target", target);
    }
    if let Some(platform) = &request.platform {
        query.append_pair("platform", platform);
    }
    if request.no_cache {
        query.append_pair("nocache", "1");
    }
    Ok(query.finish())
}

fn refused(status: u16, text: &[u8]) -> ContainerError {
    #[derive(Deserialize)]
    struct Refusal {
        message: String,
    }
    let message = serde_json::from_slice::<Refusal>(text)
        .map_or_else(|_| String::from_utf8_lossy(text).trim().to_owned(), |refusal| refusal.message);
    if status == BAD_REQUEST {
        return ContainerError::Invalid(format!("the image cannot be built: {message}"));
    }
    Fault::Refused { status, message, doing: DOING.to_owned() }.into()
}

/// Records from bytes as they come.
#[derive(Default)]
struct Records(BytesMut);

impl Records {
    fn push(&mut self, chunk: &[u8]) -> Result<(), ContainerError> {
        if self.0.len() + chunk.len() > MAX_RECORD {
            return Err(ContainerError::Engine(
                "Docker says more of a build at once than can be read".to_owned(),
            ));
        }
        self.0.extend_from_slice(chunk);
        Ok(())
    }

    fn next(&mut self) -> Option<Record> {
        loop {
            let end = self.0.iter().position(|&byte| byte == b'\n')?;
            let line = self.0.split_to(end + 1);
            // A line that says something else is of another kind.
            if let Ok(record) = serde_json::from_slice(&line) {
                return Some(record);
            }
        }
    }
}

/// How far a build is, in lines.
struct Steps<'a> {
    say: &'a (dyn Fn(String) + Send + Sync),
    /// What is known of each step that has been heard of, by digest.
    names: HashMap<String, String>,
    said: HashSet<String>,
    /// The step whose lines come.
    current: String,
    /// The beginnings of lines, by step.
    pieces: HashMap<String, Vec<u8>>,
    failed: Option<Vertex>,
    image: Option<String>,
}

impl<'a> Steps<'a> {
    fn new(say: &'a (dyn Fn(String) + Send + Sync)) -> Self {
        Self {
            say,
            names: HashMap::new(),
            said: HashSet::new(),
            current: String::new(),
            pieces: HashMap::new(),
            failed: None,
            image: None,
        }
    }

    fn accept(&mut self, Record { id, aux, error }: Record) -> Result<(), ContainerError> {
        if let Some(error) = error {
            return Err(explain(self.failed.as_ref(), error.trim()));
        }
        match (id.as_deref(), aux) {
            (Some(TRACE), Some(Value::String(text))) => {
                // What cannot be read is progress that is not told.
                if let Some(status) = STANDARD.decode(text).ok().and_then(|bytes| Status::read(&bytes)) {
                    self.progress(status);
                }
            }
            (Some(IMAGE), Some(aux)) => self.image = aux["ID"].as_str().map(str::to_owned),
            _ => {}
        }
        Ok(())
    }

    fn progress(&mut self, status: Status) {
        for vertex in status.vertices {
            self.names.insert(vertex.digest.clone(), vertex.name.clone());
            if vertex.is_started || vertex.is_cached {
                self.begin(&vertex.digest);
            }
            if vertex.is_cached
                && self.said.insert(format!("{} cached", vertex.digest))
                && step(&vertex.name).is_some()
            {
                (self.say)(" ---> Using cache".to_owned());
            }
            if vertex.is_completed {
                self.finish(&vertex.digest);
            }
            if !vertex.error.is_empty() && !vertex.error.contains("context canceled") {
                self.failed = Some(vertex);
            }
        }
        for log in status.logs {
            self.begin(&log.vertex);
            let mut piece = self.pieces.remove(&log.vertex).unwrap_or_default();
            piece.extend_from_slice(&log.text);
            while let Some(end) = piece.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = piece.drain(..=end).collect();
                self.line(&line);
            }
            self.pieces.insert(log.vertex, piece);
        }
    }

    /// Says which step it is whose lines come now: steps run beside each other.
    fn begin(&mut self, vertex: &str) {
        let Some(step) = self.names.get(vertex).and_then(|name| step(name)) else { return };
        let is_new = self.said.insert(vertex.to_owned());
        if is_new || self.current != vertex {
            (self.say)(step);
            vertex.clone_into(&mut self.current);
        }
    }

    fn finish(&mut self, vertex: &str) {
        if let Some(rest) = self.pieces.remove(vertex) {
            self.line(&rest);
        }
    }

    fn line(&self, line: &[u8]) {
        let text = String::from_utf8_lossy(line);
        let text = text.trim_end();
        if !text.is_empty() {
            (self.say)(text.to_owned());
        }
    }
}

/// A step as the classic builder says it: `[2/4] RUN x`, with the stage where there are several. What BuildKit does for
/// itself, such as loading the context, is no step.
fn step(name: &str) -> Option<String> {
    let (place, instruction) = name.strip_prefix('[')?.split_once("] ")?;
    let (stage, count) =
        place.rsplit_once(' ').map_or((None, place), |(stage, count)| (Some(stage.trim()), count));
    let (number, all) = count.split_once('/')?;
    let is_number = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
    if !is_number(number) || !is_number(all) {
        return None;
    }
    let of = stage
        .filter(|stage| !stage.starts_with("stage-"))
        .map_or_else(String::new, |stage| format!(" ({stage})"));
    Some(format!("Step {number}/{all}{of} : {instruction}"))
}

/// Why a build failed, by the step that did.
fn explain(failed: Option<&Vertex>, error: &str) -> ContainerError {
    let name = failed.map_or("", |vertex| vertex.name.as_str());
    if name.contains("load metadata for ") || name.contains("] FROM ") {
        let image = name.rsplit(' ').next().unwrap_or_default();
        return ContainerError::NotFound(format!(
            "the base image `{image}` is not on this engine and Docker could not fetch it: {error}. Build it in an earlier stage \
             or bring it with `docker load`; Yuanli pulls nothing by itself"
        ));
    }
    let text = error.to_ascii_lowercase();
    let is_dockerfile =
        ["dockerfile parse error", "failed to read dockerfile", "unknown instruction", "target stage"];
    if is_dockerfile.iter().any(|part| text.contains(part)) {
        return ContainerError::Invalid(format!("the Dockerfile cannot be built: {error}"));
    }
    let exit_code = error.rsplit_once("exit code: ").and_then(|(_, code)| code.trim().parse().ok());
    let message = match step(name).as_deref().and_then(|step| step.split_once(" : ")) {
        Some((_, instruction)) => format!("step `{instruction}` failed: {error}"),
        None => error.to_owned(),
    };
    ContainerError::BuildFailed { message, exit_code }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_a_session_is_seen() {
        let check = |text: &str, kind| assert_eq!(asks_for_session(text), kind, "{text}");
        check("FROM a\nRUN --mount=type=secret,id=x cat /run/secrets/x\n", Some("secret"));
        check("RUN --mount=type=cache,target=/c \\\n  --mount=id=y,type=ssh git clone x\n", Some("ssh"));
        check("# RUN --mount=type=secret,id=x y\nRUN --mount=type=cache,target=/c echo type=secret\n", None);
    }

    #[test]
    fn steps_are_named_as_the_classic_builder_does() {
        for (name, expected) in [
            ("[stage-0 2/4] RUN echo", Some("Step 2/4 : RUN echo")),
            ("[2/2] COPY a b", Some("Step 2/2 : COPY a b")),
            ("[tool 1/3] FROM docker.io/library/x", Some("Step 1/3 (tool) : FROM docker.io/library/x")),
            ("[internal] load metadata for x", None),
            ("exporting to image", None),
            ("[a/b] x", None),
        ] {
            assert_eq!(step(name).as_deref(), expected, "{name}");
        }
    }

    #[test]
    fn a_failed_step_is_named_with_its_exit_code() {
        let failed = |name: &str| Some(Vertex { name: name.to_owned(), ..Vertex::default() });
        let of_run = explain(
            failed("[2/2] RUN exit 7").as_ref(),
            "executor failed running [/bin/sh -c exit 7]: exit code: 7",
        );
        let message =
            "step `RUN exit 7` failed: executor failed running [/bin/sh -c exit 7]: exit code: 7".to_owned();
        assert_eq!(of_run, ContainerError::BuildFailed { message, exit_code: Some(7) });
        let from =
            explain(failed("[internal] load metadata for docker.io/library/nosuch:1").as_ref(), "not found");
        assert!(
            matches!(&from, ContainerError::NotFound(text) if text.contains("`docker.io/library/nosuch:1`")),
            "{from:?}"
        );
    }

    #[test]
    fn records_come_in_any_pieces() {
        let mut records = Records::default();
        let mut found = Vec::new();
        for byte in b"{\"id\":\"a\"}\nno json\n{\"id\":\"b\"}\n{\"id\"" {
            records.push(&[*byte]).expect("a record");
            found.extend(std::iter::from_fn(|| records.next()).filter_map(|record| record.id));
        }
        assert_eq!(found, ["a", "b"]);
    }
}
