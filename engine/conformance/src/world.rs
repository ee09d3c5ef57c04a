//! What plugins reach while they are tried out: the same each time, and seen.

use std::collections::BTreeMap;
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use yuanli_docker::fake::{Behaviour, BuildBehaviour, Call, FakeDocker};
use yuanli_model::http::HttpScope;
use yuanli_model::{RunId, SecretName, Stream, Timestamp, WorkflowName};
use yuanli_ports::containers::{ContainerError, ContainerRequest};
use yuanli_ports::http::{HttpError, HttpRequest, HttpResponse};
use yuanli_ports::images::BuildRequest;
use yuanli_ports::plugins::Attempt;
use yuanli_ports::registries::RegistryError;
use yuanli_ports::secrets::{SecretError, SecretValue};
use yuanli_ports::{Cancellation, Clock, Http, Secrets};
use yuanli_wasm::{Class, HostCall, Observer};

use crate::apps::CaseApps;
use crate::case::{Answer, Case, Container, RegistryFailure};
use crate::sources::CaseSources;

/// What the clock shows when an attempt begins: the first second of 2026, in UTC.
pub(crate) const BEGINNING: Timestamp = Timestamp::from_millis(1_767_225_600_000);
/// Further than this nobody waits to the end: an attempt that sleeps so long is to meet its time-out.
const LONGEST_SLEEP: Duration = Duration::from_hours(24);
/// Most calls that are remembered; what comes after them is counted.
const MAX_CALLS: usize = 10_000;

/// A clock that stands still until somebody lets time pass.
#[derive(Debug)]
pub(crate) struct Time(AtomicU64);

impl Time {
    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::Acquire))
    }

    pub(crate) fn pass(&self, time: Duration) {
        self.0.fetch_add(u64::try_from(time.as_millis()).unwrap_or(0), Ordering::AcqRel);
    }
}

/// All of it.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) docker: Arc<FakeDocker>,
    pub(crate) apps: Arc<CaseApps>,
    pub(crate) sources: Arc<CaseSources>,
    time: Arc<Time>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    secrets: BTreeMap<SecretName, SecretValue>,
    answers: Vec<Answer>,
    requests: Vec<String>,
    calls: Vec<HostCall>,
    /// How many calls there were, those that only write to the log included.
    count: usize,
    /// Fires with the call of this number.
    cancel: Option<(usize, Cancellation)>,
}

/// What was seen of an attempt.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// The calls that a replay would compare: all but those that change nothing that the plugin could see.
    pub(crate) calls: Vec<HostCall>,
    /// How many calls there were in all.
    pub(crate) count: usize,
    pub(crate) requests: Vec<String>,
    /// What was asked of apps.
    pub(crate) apps: Vec<String>,
    /// What was done with backups.
    pub(crate) backups: Vec<String>,
    /// The source trees that were asked for.
    pub(crate) sources: Vec<String>,
    pub(crate) containers: Vec<ContainerRequest>,
    /// What was run in containers that run.
    pub(crate) commands: Vec<String>,
    pub(crate) builds: Vec<BuildRequest>,
    /// What was pushed, and what was fetched.
    pub(crate) pushes: Vec<String>,
    pub(crate) pulls: Vec<String>,
    /// Containers that are still there.
    pub(crate) left: Vec<String>,
}

impl World {
    pub(crate) fn new() -> Self {
        let time = Arc::new(Time(AtomicU64::new(BEGINNING.as_millis())));
        let (apps, sources) = (Arc::new(CaseApps::new(Arc::clone(&time))), Arc::default());
        Self { docker: Arc::default(), apps, sources, time, state: Mutex::default() }
    }

    /// Makes it what a case says, whatever was before. With `is_endless` no command ends by itself. `beside` is the folder of
    /// the case.
    ///
    /// # Errors
    /// When something cannot be as the case says, for a person.
    pub(crate) fn prepare(
        &self,
        (case, beside): (&Case, &Path),
        is_endless: bool,
        cancel: Option<(usize, Cancellation)>,
    ) -> Result<(), String> {
        self.time.0.store(BEGINNING.as_millis(), Ordering::Release);
        self.apps.prepare(&case.apps, &case.backups)?;
        self.sources.prepare(&case.sources, beside);
        self.docker.reset();
        for image in case
            .docker
            .images
            .iter()
            .chain(case.docker.containers.iter().chain(&case.docker.commands).map(|c| &c.image))
        {
            self.docker.add_image(image);
        }
        for command in &case.docker.commands {
            let words: Vec<&str> = command.command.iter().map(String::as_str).collect();
            self.docker.script_command(&command.image, &words, behaviour(command));
        }
        if is_endless {
            self.docker.script_others(Behaviour::RunsUntilStopped { lines: Vec::new() });
        } else {
            for container in &case.docker.containers {
                let command: Vec<&str> = container.command.iter().map(String::as_str).collect();
                self.docker.script(&container.image, &command, behaviour(container));
            }
        }
        if let Some(build) = &case.docker.build {
            let lines = build.output.lines().map(str::to_owned).collect();
            self.docker.script_builds(match &build.fails {
                Some(why) => BuildBehaviour::Fails { lines, error: ContainerError::Engine(why.clone()) },
                None => BuildBehaviour::Succeeds { lines },
            });
        }
        case.docker.published.iter().for_each(|image| self.docker.publish(image));
        self.docker
            .fail_registries(case.docker.registry_fails.iter().map(|why| registry_error(*why)).collect());
        for (path, text) in &case.docker.files {
            self.docker.add_file(path, text.as_bytes());
        }
        self.docker.set_outage(case.docker.unreachable.as_deref());
        let mut secrets = BTreeMap::new();
        for (name, value) in &case.secrets {
            let name: SecretName = name.parse().map_err(|e: yuanli_model::id::InvalidId| e.to_string())?;
            let value = SecretValue::new(&name, value.clone().into_bytes()).map_err(|e| e.to_string())?;
            secrets.insert(name, value);
        }
        if let Some((0, cancel)) = &cancel {
            cancel.cancel();
        }
        *self.state() = State { secrets, answers: case.http.clone(), cancel, ..State::default() };
        Ok(())
    }

    /// What was seen since it was prepared.
    pub(crate) fn take(&self) -> Seen {
        let state = std::mem::take(&mut *self.state());
        let (apps, backups) = self.apps.take();
        let mut seen = Seen {
            calls: state.calls,
            count: state.count,
            requests: state.requests,
            apps,
            backups,
            sources: self.sources.take(),
            left: self.docker.containers(),
            ..Seen::default()
        };
        for call in self.docker.calls() {
            match call {
                Call::Start(request) => seen.containers.push(request),
                Call::Execute(command, input) => {
                    let input = (!input.is_empty()).then(|| String::from_utf8_lossy(&input).into_owned());
                    seen.commands.push(format!("{}{}", command.join(" "), suffix("<", input)));
                }
                Call::Build(request) => seen.builds.push(request),
                Call::Push { image, name, username } => {
                    let image = image.map(|image| format!("{image} to ")).unwrap_or_default();
                    seen.pushes.push(format!("{image}{name}{}", suffix("as", username)));
                }
                Call::Pull { name, platform, username } => {
                    seen.pulls.push(format!("{name}{}{}", suffix("for", platform), suffix("as", username)));
                }
                Call::Stop(..) | Call::Remove(_) | Call::RemoveAll(..) => {}
            }
        }
        seen
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn suffix(word: &str, what: Option<String>) -> String {
    what.map(|what| format!(" {word} {what}")).unwrap_or_default()
}

fn registry_error(why: RegistryFailure) -> RegistryError {
    let message = || "the registry of the case".to_owned();
    match why {
        RegistryFailure::Unreachable => RegistryError::Unreachable(message()),
        RegistryFailure::Throttled => RegistryError::Throttled { message: message(), after: None },
        RegistryFailure::Denied => RegistryError::Denied(message()),
        RegistryFailure::Failed => RegistryError::Failed(message()),
    }
}

fn behaviour(container: &Container) -> Behaviour {
    let of = |stream: Stream, text: &str| {
        text.lines().map(move |line| (stream, line.to_owned())).collect::<Vec<_>>()
    };
    let lines = [of(Stream::Stdout, &container.stdout), of(Stream::Stderr, &container.stderr)].concat();
    match container {
        Container { fails: Some(why), .. } => Behaviour::FailsToStart(ContainerError::Invalid(why.clone())),
        Container { endless: true, .. } => Behaviour::RunsUntilStopped { lines },
        Container { out_of_memory: true, .. } => Behaviour::RunsOutOfMemory { lines },
        Container { exit, .. } => Behaviour::Ends { lines, code: *exit },
    }
}

impl Observer for World {
    fn called(&self, _: &Attempt, call: HostCall) {
        let mut state = self.state();
        state.count += 1;
        if let Some((at, cancel)) = &state.cancel
            && *at <= state.count
        {
            cancel.cancel();
        }
        if call.class != Class::Silent && state.calls.len() < MAX_CALLS {
            state.calls.push(call);
        }
    }
}

impl Clock for World {
    fn now(&self) -> Timestamp {
        self.time.now()
    }

    fn new_run_id(&self) -> RunId {
        RunId::from_u128(1)
    }

    fn wait_until(&self, at: Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        if at.since(self.now()) > LONGEST_SLEEP {
            return Box::pin(std::future::pending());
        }
        self.time.0.fetch_max(at.as_millis(), Ordering::AcqRel);
        Box::pin(std::future::ready(()))
    }
}

#[async_trait]
impl Secrets for World {
    async fn resolve(&self, name: &SecretName, _: &WorkflowName) -> Result<SecretValue, SecretError> {
        let found = self.state().secrets.get(name).cloned();
        found.ok_or_else(|| SecretError::Unknown(format!("the case has no secret `{name}`")))
    }
}

#[async_trait]
impl Http for World {
    async fn send(&self, request: HttpRequest, _: &[HttpScope]) -> Result<HttpResponse, HttpError> {
        let HttpRequest { method, url, max_body_bytes, .. } = request;
        let mut state = self.state();
        state.requests.push(format!("{method} {url}"));
        let fits = |answer: &&Answer| answer.method == method && answer.url == url;
        let Some(answer) = state.answers.iter().find(fits) else {
            return Err(HttpError::Connect(format!("the case has no answer to `{method} {url}`")));
        };
        if let Some(why) = &answer.fails {
            return Err(HttpError::Io(why.clone()));
        }
        if answer.body.len() > max_body_bytes {
            return Err(HttpError::TooLarge(format!("`{url}` gave more than {max_body_bytes} bytes")));
        }
        let headers = answer.headers.iter().map(|(name, value)| (name.to_lowercase(), value.clone()));
        let (status, headers, body) = (answer.status, headers.collect(), answer.body.clone().into_bytes());
        Ok(HttpResponse { status, headers, body, url })
    }
}
