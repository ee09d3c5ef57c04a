//! A host for unit tests: a stage runs in the test itself, in microseconds, without an engine and without Docker.
//!
//! ```
//! use yuanli_sdk::mock::{Mock, Ran};
//! use yuanli_sdk::prelude::*;
//! use yuanli_sdk::serde_json::json;
//!
//! struct Lint;
//!
//! #[derive(Deserialize, JsonSchema)]
//! struct Config {
//!     image: String,
//! }
//!
//! #[derive(Serialize, JsonSchema)]
//! struct Outputs {
//!     findings: usize,
//! }
//!
//! impl Stage for Lint {
//!     const NAME: &str = "lint";
//!     const VERSION: &str = "1.0.0";
//!     const SUMMARY: &str = "Counts what a linter finds";
//!     type Config = Config;
//!     type Outputs = Outputs;
//!
//!     fn run(config: Config) -> Result<Outputs, Failure> {
//!         let exit = containers::start(&containers::request(&config.image, vec!["lint".into()]))?.wait()?;
//!         log::info(format!("it ended with {}", exit.code));
//!         Ok(Outputs { findings: workspace::read_text("findings.txt")?.lines().count() })
//!     }
//! }
//!
//! let mut mock = Mock::new();
//! mock.file("findings.txt", "a\nb\n");
//! mock.container("linter:1", |_| Ok(Ran::with_code(1)));
//! let outputs = mock.run::<Lint>(json!({ "image": "linter:1" })).expect("it succeeds");
//! assert_eq!(outputs, json!({ "findings": 2 }));
//! assert_eq!(mock.started()[0].command, ["lint"]);
//! assert_eq!(mock.log()[0].text, "it ended with 1");
//! ```
//!
//! Log, context, clock, random numbers, workspace, state, artifacts, events, secrets, containers and volumes are kept by the mock itself; what else a stage
//! calls is answered by the test, see [`Answers`]. A call that nobody answers ends the test with its name.

mod answers;
#[allow(unreachable_pub, reason = "it stands for generated code, of which everything is public")]
pub(crate) mod host;
mod records;
mod workspace;

use std::any::type_name;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;

pub use answers::Answers;
pub use host::apps::Rollout;
pub use host::http::Request as HttpRequest;
pub use host::traffic::GrayRelease;
pub use records::Emitted;

use crate::containers::{
    Command, CommandEnding, Error as ContainerError, Executed, Exit, Readiness, Request,
};
use crate::failure::{Failure, FailureClass};
use crate::log::Level;
use crate::stage::{self, Stage};
use records::Kept;
use workspace::Files;

/// Noon of 2026-01-01, UTC: when the clock of a mock begins.
const BEGIN: Duration = Duration::from_secs(1_767_268_800);
/// How long an attempt may take, as the context tells it.
const TIMEOUT: Duration = Duration::from_secs(3_600);

/// The workflow that a mock runs its stages in.
pub(crate) const WORKFLOW: &str = "mock";

thread_local! {
    /// The mock whose stage runs on this thread.
    static CURRENT: RefCell<Option<State>> = const { RefCell::new(None) };
}

/// A host for unit tests of a stage. It keeps what it has seen from one run to the next.
#[derive(Debug, Default)]
pub struct Mock {
    state: Option<State>,
}

/// An entry of the log.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// How important it is.
    pub level: Level,
    /// What it says.
    pub text: String,
    /// Key and value beside it.
    pub fields: Vec<(String, String)>,
}

/// How a container ended that a test made up.
#[derive(Debug, Clone)]
pub struct Ran {
    /// How it ended.
    pub exit: Exit,
    /// What it wrote.
    pub output: Vec<String>,
    /// Whether it is ready, where it serves and does not end before others do.
    pub serves: Option<Readiness>,
    /// What it wrote into files that it hands over.
    pub files: BTreeMap<String, Vec<u8>>,
}

impl Ran {
    /// It ended with this exit code and wrote nothing.
    #[must_use]
    pub fn with_code(code: i64) -> Self {
        let exit = Exit { code, out_of_memory: false, duration_ms: 10 };
        Self { exit, output: Vec::new(), serves: None, files: BTreeMap::new() }
    }

    /// The same, and it wrote this into a file that it hands over.
    #[must_use]
    pub fn handing(mut self, path: &str, content: impl AsRef<[u8]>) -> Self {
        self.files.insert(path.to_owned(), content.as_ref().to_vec());
        self
    }

    /// The same of a command in a container.
    #[must_use]
    pub fn executed(self) -> CommandEnding {
        let Self { exit, output, .. } = self;
        CommandEnding::Executed(Executed {
            code: exit.code,
            stdout: output.join("\n"),
            stderr: String::new(),
            is_cut: false,
            is_whole: true,
            duration_ms: exit.duration_ms,
        })
    }

    /// It serves until it is stopped, and is ready, or why it is not in time.
    #[must_use]
    pub fn serving(ready: Result<(), &str>) -> Self {
        let serves = ready.map_or_else(|why| Readiness::Late(why.to_owned()), |()| Readiness::Ready);
        Self { serves: Some(serves), ..Self::with_code(137) }
    }

    /// The same, and it wrote these lines.
    #[must_use]
    pub fn saying(mut self, lines: &[&str]) -> Self {
        self.output.extend(lines.iter().map(|line| (*line).to_owned()));
        self
    }
}

/// What containers of an image do.
type Behaviour = Box<dyn FnMut(&Request) -> Result<Ran, ContainerError>>;

/// What commands do in containers of an image.
type CommandBehaviour = Box<dyn FnMut(&Command) -> Result<CommandEnding, ContainerError>>;

/// What the host functions of a mock work on.
pub(crate) struct State {
    pub(crate) files: Files,
    pub(crate) kept: Kept,
    pub(crate) log: Vec<Line>,
    pub(crate) now: Duration,
    pub(crate) is_cancelled: bool,
    pub(crate) effects: u32,
    pub(crate) random: u64,
    pub(crate) secrets: BTreeMap<String, Vec<u8>>,
    /// The secrets whose handles are in the config.
    pub(crate) handles: BTreeSet<String>,
    /// The workflow that made each volume; `None` for those that an app or a restore made.
    pub(crate) volumes: BTreeMap<String, Option<String>>,
    containers: BTreeMap<String, Behaviour>,
    started: Vec<Request>,
    /// What commands do in containers of an image that serve.
    commands: BTreeMap<String, CommandBehaviour>,
    executed: Vec<Command>,
    answers: Option<Box<dyn Answers>>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State")
            .field("log", &self.log)
            .field("started", &self.started)
            .finish_non_exhaustive()
    }
}

impl Default for State {
    fn default() -> Self {
        Self {
            files: Files::default(),
            kept: Kept::default(),
            log: Vec::new(),
            now: BEGIN,
            is_cancelled: false,
            effects: 0,
            random: 1,
            secrets: BTreeMap::new(),
            handles: BTreeSet::new(),
            volumes: BTreeMap::new(),
            containers: BTreeMap::new(),
            started: Vec::new(),
            commands: BTreeMap::new(),
            executed: Vec::new(),
            answers: None,
        }
    }
}

/// Works on the mock whose stage runs on this thread.
pub(crate) fn with<R>(work: impl FnOnce(&mut State) -> R) -> R {
    CURRENT.with_borrow_mut(|current| {
        let state = current.as_mut();
        work(state.expect("the host is called by a stage that a mock runs: `Mock::run`, on the same thread"))
    })
}

/// As [`with`], for what changes something: each has an effect key of its own.
pub(crate) fn effect<R>(work: impl FnOnce(&mut State) -> R) -> R {
    with(|mock| {
        mock.effects += 1;
        work(mock)
    })
}

/// Asks the test. It may call the host itself, so nothing is held meanwhile.
pub(crate) fn ask<R>(question: impl FnOnce(&mut dyn Answers) -> R) -> R {
    let mut answers = with(|mock| mock.answers.take()).unwrap_or_else(|| Box::new(answers::Nobody));
    let answer = question(&mut *answers);
    with(|mock| mock.answers = Some(answers));
    answer
}

/// Runs a container as the test said.
pub(crate) fn run_container(request: &Request) -> Result<Ran, ContainerError> {
    let image = &request.image;
    let behaviour = effect(|mock| {
        for (key, value) in &request.options {
            mock.check_option(key, value)?;
        }
        mock.started.push(request.clone());
        let behaviour = mock.containers.remove_entry(image);
        behaviour.ok_or_else(|| ContainerError::NotFound(format!("the mock has no image `{image}`")))
    });
    let (image, mut run) = behaviour?;
    let ran = run(request);
    with(|mock| mock.containers.insert(image, run));
    ran
}

/// Runs a command in a container as the test said; without that it ends well and says nothing.
pub(crate) fn run_command(image: &str, command: &Command) -> Result<CommandEnding, ContainerError> {
    let behaviour = effect(|mock| {
        mock.executed.push(command.clone());
        mock.commands.remove_entry(image)
    });
    let Some((image, mut run)) = behaviour else { return Ok(Ran::with_code(0).executed()) };
    let ending = run(command);
    with(|mock| mock.commands.insert(image, run));
    ending
}

impl State {
    /// As the host does.
    pub(crate) fn check_command(&self, command: &Command) -> Result<(), ContainerError> {
        if command.arguments.first().is_none_or(String::is_empty) {
            return Err(ContainerError::Invalid("there is no command to run".to_owned()));
        }
        for (key, value) in &command.options {
            match key.as_str() {
                "secret-variable" => self.check_option(key, value)?,
                "input-file" if command.input.is_empty() && self.files.read(value).is_ok() => {}
                _ => {
                    let message = format!("no command has the option `{key}` like this: `{value}`");
                    return Err(ContainerError::Invalid(message));
                }
            }
        }
        Ok(())
    }

    /// Whether a test has said what containers of an image do.
    pub(crate) fn has_image(&self, image: &str) -> bool {
        self.containers.contains_key(image)
    }

    /// Whether a test answers what the mock does not keep.
    pub(crate) fn has_answers(&self) -> bool {
        self.answers.is_some()
    }

    /// As the host does: what it does not know is wrong, a secret has to be the stage's own, and a volume has to be there.
    /// What a workflow grants is not asked: a test has none.
    fn check_option(&self, key: &str, value: &str) -> Result<(), ContainerError> {
        let parts: Vec<&str> = value.split(':').collect();
        let is_mount = matches!(parts[..], [what, target] | [what, target, "ro" | "rw"] if !what.is_empty() && target.starts_with('/'));
        match (key, value.split_once('=')) {
            ("secret-variable", Some((_, name))) if self.handles.contains(name) => Ok(()),
            ("secret-variable", Some((_, name))) => {
                Err(ContainerError::Invalid(format!("the config has no handle of the secret `{name}`")))
            }
            ("volume", _) if is_mount && self.volumes.contains_key(parts[0]) => Ok(()),
            ("volume", _) if is_mount => {
                Err(ContainerError::NotFound(format!("the mock has no volume `{}`", parts[0])))
            }
            ("mount", _) if is_mount && value.starts_with('/') => Ok(()),
            ("network", _) if ["host", "attempt"].contains(&value) => Ok(()),
            ("privileged" | "read-only-root" | "no-new-privileges" | "init", _) if value == "true" => Ok(()),
            ("shm-bytes" | "pids" | "stop-grace-ms", _) if value.parse::<u64>().is_ok() => Ok(()),
            ("tmpfs" | "file", _) if value.starts_with('/') => Ok(()),
            ("ulimit", Some(_)) => Ok(()),
            ("service" | "drop-capability" | "add-capability" | "stop-signal", _) if !value.is_empty() => {
                Ok(())
            }
            _ => {
                let message = format!("no container has the option `{key}` like this: `{value}`");
                Err(ContainerError::Invalid(message))
            }
        }
    }
}

/// Adds the names of the secrets whose handles are in a value.
fn add_handles(value: &Value, names: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) if fields.len() == 1 => match fields.get("secret") {
            Some(Value::String(name)) => drop(names.insert(name.clone())),
            _ => fields.values().for_each(|value| add_handles(value, names)),
        },
        Value::Object(fields) => fields.values().for_each(|value| add_handles(value, names)),
        Value::Array(items) => items.iter().for_each(|value| add_handles(value, names)),
        _ => {}
    }
}

impl Mock {
    /// An empty one: no files, no images, no secrets.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&mut self) -> &mut State {
        self.state.get_or_insert_default()
    }

    /// Puts a file into the workspace.
    ///
    /// # Panics
    /// When the path leads out of it.
    pub fn file(&mut self, path: &str, content: impl AsRef<[u8]>) -> &mut Self {
        let written = self.state().files.write(path, content.as_ref());
        written.unwrap_or_else(|error| panic!("a test puts a file at `{path}`: {error:?}"));
        self
    }

    /// Gives a state key a value, as an earlier run would have left it.
    ///
    /// # Panics
    /// When key or value are against the rules.
    pub fn state_value(&mut self, key: &str, value: impl AsRef<[u8]>) -> &mut Self {
        let set = self.state().kept.set(key, None, value.as_ref());
        set.unwrap_or_else(|error| panic!("a test sets the state key `{key}`: {error:?}"));
        self
    }

    /// Puts an artifact of a stage before.
    pub fn artifact(&mut self, stage: &str, name: &str, content: impl AsRef<[u8]>) -> &mut Self {
        self.state().kept.add_before(stage, name, content.as_ref());
        self
    }

    /// Gives a secret a value. A stage can get it when its config has the handle, `{"secret": "NAME"}`.
    pub fn secret(&mut self, name: &str, value: impl AsRef<[u8]>) -> &mut Self {
        self.state().secrets.insert(name.to_owned(), value.as_ref().to_vec());
        self
    }

    /// Lets a volume be there that an app made.
    pub fn volume(&mut self, name: &str) -> &mut Self {
        self.state().volumes.insert(name.to_owned(), None);
        self
    }

    /// The volumes that are there, sorted.
    #[must_use]
    pub fn volumes(&self) -> Vec<&str> {
        let state = self.state.as_ref();
        state.map_or_else(Vec::new, |state| state.volumes.keys().map(String::as_str).collect())
    }

    /// Says what containers of an image do.
    pub fn container(
        &mut self,
        image: &str,
        run: impl FnMut(&Request) -> Result<Ran, ContainerError> + 'static,
    ) -> &mut Self {
        self.state().containers.insert(image.to_owned(), Box::new(run));
        self
    }

    /// Says what commands do in containers of an image that serve; without it they end with code 0.
    pub fn command(
        &mut self,
        image: &str,
        run: impl FnMut(&Command) -> Result<CommandEnding, ContainerError> + 'static,
    ) -> &mut Self {
        self.state().commands.insert(image.to_owned(), Box::new(run));
        self
    }

    /// Lets somebody answer what the mock does not keep itself.
    pub fn answering(&mut self, answers: impl Answers + 'static) -> &mut Self {
        self.state().answers = Some(Box::new(answers));
        self
    }

    /// Cancels the run, as the stage sees it.
    pub fn cancel(&mut self) -> &mut Self {
        self.state().is_cancelled = true;
        self
    }

    /// Runs a stage with a config, as the engine would: texts in, texts out.
    ///
    /// # Errors
    /// The failure of the stage.
    ///
    /// # Panics
    /// When the stage does, and when it calls what nobody answers.
    pub fn run<S: Stage>(&mut self, config: Value) -> Result<Value, Failure> {
        /// Takes the state back, also from a stage that panics.
        struct Running<'a>(&'a mut Mock);
        impl Drop for Running<'_> {
            fn drop(&mut self) {
                self.0.state = CURRENT.take();
            }
        }
        let mut state = self.state.take().unwrap_or_default();
        state.handles.clear();
        add_handles(&config, &mut state.handles);
        let before = CURRENT.replace(Some(state));
        assert!(before.is_none(), "{} runs another stage", type_name::<S>());
        let running = Running(self);
        let outcome = stage::run::<S>(&config.to_string());
        drop(running);
        match outcome {
            Ok(outputs) => Ok(serde_json::from_str(&outputs).expect("outputs are JSON")),
            Err(failure) => Err(Failure::of_binding(failure)),
        }
    }

    /// The entries of the log.
    #[must_use]
    pub fn log(&self) -> &[Line] {
        self.state.as_ref().map_or(&[], |state| &state.log)
    }

    /// The containers that were asked for.
    #[must_use]
    pub fn started(&self) -> &[Request] {
        self.state.as_ref().map_or(&[], |state| &state.started)
    }

    /// The commands that were run in containers.
    #[must_use]
    pub fn executed(&self) -> &[Command] {
        self.state.as_ref().map_or(&[], |state| &state.executed)
    }

    /// The value of a state key, as text.
    #[must_use]
    pub fn state_of(&self, key: &str) -> Option<String> {
        let value = self.state.as_ref()?.kept.get(key).ok()??.value;
        Some(String::from_utf8_lossy(&value).into_owned())
    }

    /// What the stage has put as an artifact of this name.
    #[must_use]
    pub fn put(&self, name: &str) -> Option<&[u8]> {
        self.state.as_ref()?.kept.own(name)
    }

    /// The events that the stage has emitted.
    #[must_use]
    pub fn emitted(&self) -> &[Emitted] {
        self.state.as_ref().map_or(&[], |state| &state.kept.events)
    }

    /// A file of the workspace, as text.
    #[must_use]
    pub fn read(&self, path: &str) -> Option<String> {
        let content = self.state.as_ref()?.files.read(path).ok()?;
        Some(String::from_utf8_lossy(&content).into_owned())
    }
}

impl Failure {
    fn of_binding(failure: crate::bindings::Failure) -> Self {
        use crate::bindings::yuanli::stage::types::FailureClass as Class;
        let class = match failure.class {
            Class::Transient => FailureClass::Transient,
            Class::Throttled(after) => FailureClass::Throttled(after.map(Duration::from_millis)),
            Class::Cancelled => FailureClass::Cancelled,
            Class::Interrupted => FailureClass::Interrupted,
            // As the engine takes one that it does not know.
            Class::Permanent | Class::Other(_) => FailureClass::Permanent,
        };
        let (kind, message, details) = (failure.kind, failure.message, failure.details);
        Self { class, kind, message, details }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::prelude::*;
    use crate::secrets::Handle;
    use crate::workspace;

    struct Probe;

    #[derive(Deserialize, JsonSchema)]
    struct Config {
        own: Handle,
        other: String,
    }

    impl Stage for Probe {
        const NAME: &str = "probe";
        const VERSION: &str = "1.0.0";
        const SUMMARY: &str = "Looks at the mock";
        type Config = Config;
        type Outputs = Value;

        fn run(config: Config) -> Result<Value, Failure> {
            let own = secrets::reveal(&config.own.get()?)?;
            let other = secrets::get(&config.other).map(|secret| secret.name());
            let first = context::effect_key();
            workspace::write("a", "b")?;
            let second = context::effect_key();
            images::tag("a", "b")?;
            log::progress(1, Some(2), "files");
            Ok(json!({
                "own": String::from_utf8_lossy(&own),
                "is_denied": matches!(other, Err(secrets::Error::Denied(_))),
                "keys": [first, second, context::effect_key()],
            }))
        }
    }

    /// Counts its runs, and hands on what a stage before has left.
    struct Counter;

    impl Stage for Counter {
        const NAME: &str = "counter";
        const VERSION: &str = "1.0.0";
        const SUMMARY: &str = "Counts its runs";
        type Config = Value;
        type Outputs = Value;

        fn run(_: Value) -> Result<Value, Failure> {
            let old = state::get("runs")?;
            let runs = state::update("runs", |old| old.map_or(0, |old| old.parse::<u64>().unwrap_or(0)) + 1)?;
            let stale = state::compare_and_set("runs", old.map(|old| old.revision), "0");
            let report = artifacts::list()?.remove(0);
            let copied = artifacts::read_to_file(&report, "report.txt")?;
            artifacts::put_file("copy.txt", "text/plain", "report.txt")?;
            let outside = artifacts::put("../copy.txt", "text/plain", "");
            events::emit_about("shop", "counter.ran", &json!({ "runs": runs }))?;
            Ok(json!({
                "runs": runs,
                "copied": copied,
                "is_stale": matches!(stale, Err(state::Error::Conflict(_))),
                "is_outside": matches!(outside, Err(artifacts::Error::Invalid(_))),
                "end": String::from_utf8_lossy(&artifacts::read(&report, 5, 100)?),
            }))
        }
    }

    #[test]
    fn a_mock_keeps_state_artifacts_and_events() {
        let mut mock = Mock::new();
        mock.state_value("runs", "41").artifact("test", "report.txt", "two words");
        let outputs = mock.run::<Counter>(json!({})).expect("it succeeds");
        let expected =
            json!({ "runs": 42, "copied": 9, "is_stale": true, "is_outside": true, "end": "ords" });
        assert_eq!(outputs, expected);
        assert_eq!(mock.state_of("runs").as_deref(), Some("42"));
        assert_eq!(mock.put("copy.txt"), Some(b"two words".as_slice()));
        let (kind, subject) = ("counter.ran".to_owned(), Some("shop".to_owned()));
        assert_eq!(mock.emitted(), [Emitted { kind, subject, data: json!({ "runs": 42 }) }]);
    }

    struct Talkative;

    impl Answers for Talkative {
        fn tag(&mut self, _: &str, _: &str) -> Result<(), images::Error> {
            log::info("an answer may use the host");
            Ok(())
        }
    }

    #[test]
    fn a_mock_is_as_strict_as_the_host() {
        let mut mock = Mock::new();
        mock.secret("own", "value").secret("other", "hidden").answering(Talkative);
        let config = json!({ "own": { "secret": "own" }, "other": "other" });
        let outputs = mock.run::<Probe>(config).expect("it succeeds");
        assert_eq!((&outputs["own"], &outputs["is_denied"]), (&json!("value"), &json!(true)));
        assert_eq!(outputs["keys"], json!(["mock-1", "mock-2", "mock-3"]));
        assert_eq!(mock.log()[0].text, "an answer may use the host");
        assert_eq!(mock.log()[1].fields, [("yuanli.progress".to_owned(), "1/2".to_owned())]);
    }
}
