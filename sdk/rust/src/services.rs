//! Services beside a stage's own containers: a database for tests, a broker. Each is a container in the private network of
//! the attempt, reached by its name, and gone with the attempt. Once it is ready, it is set up by commands that run in it.

mod setup;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::containers::{self, Container, Exit, Extras, Form, Probe, Readiness, Variable, ending};
use crate::failure::Failure;
use crate::registries::{self, LoginConfig, Pull};
use crate::timespan::Timespan;

/// Lines that a failure has of what a service said last.
const LAST_LINES: u32 = 10;
/// How long a service has to end when it is not needed any more: what is in it goes with it.
const STOP_GRACE_MS: u32 = 0;
/// How long a container has to end when a service that it needs has ended.
const NEEDING_GRACE_MS: u32 = 1_000;

/// A service, as a config says it.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServiceConfig {
    /// Name or id of the image.
    image: String,
    /// When the image is fetched.
    #[serde(default)]
    pull: Pull,
    /// Who to be at the registry of the image; whoever the engine's user is there without it.
    login: Option<LoginConfig>,
    /// The command with its arguments; the image's own when empty.
    #[serde(default)]
    command: Vec<String>,
    /// Environment variables: texts, or secrets.
    #[serde(default)]
    env: BTreeMap<String, Variable>,
    /// `name`, `uid` or `uid:gid`; the image's own when absent.
    user: Option<String>,
    /// Whether it reaches more than the containers of its stage.
    #[serde(default)]
    network: bool,
    /// What it may use, and what it is not given.
    #[serde(default)]
    container: Form,
    /// What tells that it is ready; as soon as it runs without it.
    ready: Option<Ready>,
    /// Commands that are run in it, one after the other, once it is ready and before what needs it begins: a schema, a user, a
    /// topic.
    #[serde(default)]
    setup: Vec<setup::Setup>,
}

/// What tells that a service is ready: one of `tcp`, `http` and `exec`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = [{ "required": ["tcp"] }, { "required": ["http"] }, { "required": ["exec"] }]))]
struct Ready {
    /// Something listens at this TCP port.
    tcp: Option<u16>,
    /// A GET is answered with a status of 200 to 399.
    http: Option<Page>,
    /// This command, run in it, ends with exit code 0.
    exec: Option<Vec<String>>,
    /// How often it is asked.
    #[serde(default = "interval")]
    interval: Timespan,
    /// How long it may take.
    #[serde(default = "timeout")]
    timeout: Timespan,
}

/// A page that is asked for.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Page {
    /// The port.
    port: u16,
    /// The path, with `/` in front.
    #[serde(default = "root")]
    path: String,
}

fn interval() -> Timespan {
    Timespan(std::time::Duration::from_millis(250))
}

fn timeout() -> Timespan {
    Timespan::minutes(1)
}

fn root() -> String {
    "/".to_owned()
}

/// The services of a stage, all of them ready.
#[derive(Debug, Default)]
pub struct Services {
    running: Vec<(String, Container)>,
}

impl Services {
    /// Starts services, all at the same time, waits until each is ready, and sets them up.
    ///
    /// # Errors
    /// Which one could not be started, or was not ready in time, or ended, with what it said last, or which command did not set
    /// it up. None of them runs then.
    pub fn start(configs: &BTreeMap<String, ServiceConfig>) -> Result<Self, Failure> {
        for config in configs.values() {
            registries::ensure(&config.image, config.pull, config.login.as_ref())?;
        }
        let mut services = Self::default();
        let ready = configs
            .iter()
            .try_for_each(|(name, config)| services.add(name, config))
            .and_then(|()| services.wait_ready(configs))
            .and_then(|()| services.set_up(configs));
        match ready {
            Ok(()) => Ok(services),
            Err(failure) => {
                services.stop();
                Err(failure)
            }
        }
    }

    fn add(&mut self, name: &str, config: &ServiceConfig) -> Result<(), Failure> {
        let request = containers::Request {
            user: config.user.clone(),
            network: config.network,
            ..containers::request(&config.image, config.command.clone())
        };
        let mut request = Extras::default().service(name).of(request);
        // Also when the stage is cut off, unless its form says otherwise.
        request.options.push(("stop-grace-ms".to_owned(), STOP_GRACE_MS.to_string()));
        let request = config.container.of(request);
        let request = containers::with_variables(request, config.env.clone());
        let container = containers::start(&request).map_err(|error| {
            let mut failure = Failure::from(error);
            failure.message = format!("service `{name}`: {}", failure.message);
            failure
        })?;
        self.running.push((name.to_owned(), container));
        Ok(())
    }

    fn wait_ready(&self, configs: &BTreeMap<String, ServiceConfig>) -> Result<(), Failure> {
        for (name, container) in &self.running {
            let Some(ready) = configs.get(name).and_then(|config| config.ready.as_ref()) else { continue };
            let millis = |time: Timespan| u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
            let probe = ready.probe(name)?;
            match container.wait_ready(&probe, millis(ready.interval), millis(ready.timeout)) {
                Ok(Readiness::Ready) => crate::log::info(format!("service `{name}` is ready")),
                Ok(Readiness::Late(why)) => {
                    let seconds = ready.timeout.0.as_secs_f64();
                    let message = format!("service `{name}` was not ready after {seconds} s: {why}");
                    return Err(with_last_lines(Failure::permanent("service-not-ready", message), container));
                }
                Ok(Readiness::Ended(exit)) => return Err(ended(name, container, &exit)),
                Err(error) => {
                    let mut failure = Failure::from(error);
                    failure.message = format!("service `{name}`: {}", failure.message);
                    return Err(failure);
                }
            }
        }
        Ok(())
    }

    fn set_up(&self, configs: &BTreeMap<String, ServiceConfig>) -> Result<(), Failure> {
        for (name, container) in &self.running {
            let commands = configs.get(name).map_or(&[][..], |config| &config.setup);
            commands.iter().try_for_each(|command| command.run(name, container))?;
        }
        Ok(())
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// The request of a container that reaches them.
    #[must_use]
    pub fn beside(&self, request: containers::Request) -> containers::Request {
        if self.is_empty() { request } else { Extras::default().attempt_network().of(request) }
    }

    /// Waits until a container has ended. It is ended as soon as a service does.
    ///
    /// # Errors
    /// The container cannot be waited for, or a service has ended before it.
    pub fn wait(&self, container: &Container) -> Result<Exit, Failure> {
        if !self.is_empty() {
            let all: Vec<&Container> =
                std::iter::once(container).chain(self.running.iter().map(|(_, service)| service)).collect();
            if let Some(place) = containers::wait_any(&all)?.checked_sub(1) {
                let (name, service) = &self.running[place];
                // What needs it cannot go on.
                container.stop(NEEDING_GRACE_MS)?;
                return Err(ended(name, service, &service.wait()?));
            }
        }
        Ok(container.wait()?)
    }

    /// Ends them. What cannot be ended is worth a line: the end of the attempt tries again.
    pub fn stop(self) {
        for (name, container) in &self.running {
            if let Err(error) = container.stop(STOP_GRACE_MS) {
                let message = Failure::from(error).message;
                crate::log::warn(format!("service `{name}` could not be ended: {message}"));
            }
        }
    }
}

impl Ready {
    fn probe(&self, service: &str) -> Result<Probe, Failure> {
        match (&self.tcp, &self.http, &self.exec) {
            (Some(port), None, None) => Ok(Probe::Tcp(*port)),
            (None, Some(page), None) => Ok(Probe::Http((page.port, page.path.clone()))),
            (None, None, Some(command)) => Ok(Probe::Command(command.clone())),
            _ => Err(Failure::permanent(
                "invalid-config",
                format!("`ready` of service `{service}` takes one of `tcp`, `http` and `exec`"),
            )),
        }
    }
}

fn ended(name: &str, container: &Container, exit: &Exit) -> Failure {
    let message = format!("service `{name}` {} while it was needed", ending(exit));
    with_last_lines(Failure::permanent("service-ended", message), container)
}

/// The failure with what a container said last.
fn with_last_lines(mut failure: Failure, container: &Container) -> Failure {
    let said = container.tail(LAST_LINES);
    if let Some(last) = said.iter().rev().find(|line| !line.trim().is_empty()) {
        failure.message = format!("{}; it said last: {}", failure.message, last.trim());
        failure = failure.with("last-lines", said.join("\n"));
    }
    failure
}
