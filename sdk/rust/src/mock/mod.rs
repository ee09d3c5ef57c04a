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
//! Log, context, clock, random numbers, workspace, secrets and containers are kept by the mock itself; what else a stage
//! calls is answered by the test, see [`Answers`]. A call that nobody answers ends the test with its name.

mod answers;
#[allow(unreachable_pub, reason = "it stands for generated code, of which everything is public")]
pub(crate) mod host;
mod workspace;

use std::any::type_name;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

pub use answers::Answers;
pub use host::apps::Rollout;
pub use host::http::Request as HttpRequest;
pub use host::traffic::GrayRelease;

use crate::containers::{Error as ContainerError, Exit, Request};
use crate::failure::{Failure, FailureClass};
use crate::log::Level;
use crate::stage::{self, Stage};
use workspace::Files;

/// Noon of 2026-01-01, UTC: when the clock of a mock begins.
const BEGIN: Duration = Duration::from_secs(1_767_268_800);
/// How long an attempt may take, as the context tells it.
const TIMEOUT: Duration = Duration::from_secs(3_600);

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
}

impl Ran {
    /// It ended with this exit code and wrote nothing.
    #[must_use]
    pub fn with_code(code: i64) -> Self {
        let exit = Exit { code, out_of_memory: false, duration_ms: 10 };
        Self { exit, output: Vec::new() }
    }

    /// The same, and it wrote these lines.
    #[must_use]
    pub fn saying(mut self, lines: &[&str]) -> Self {
        self.output.extend(lines.iter().map(|line| (*line).to_owned()));
        self
    }
}

type Containers = BTreeMap<String, Box<dyn FnMut(&Request) -> Result<Ran, ContainerError>>>;

/// What the host functions of a mock work on.
pub(crate) struct State {
    pub(crate) files: Files,
    pub(crate) log: Vec<Line>,
    pub(crate) now: Duration,
    pub(crate) is_cancelled: bool,
    pub(crate) effects: u32,
    pub(crate) random: u64,
    pub(crate) secrets: BTreeMap<String, Vec<u8>>,
    containers: Containers,
    started: Vec<Request>,
    pub(crate) answers: Box<dyn Answers>,
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
            log: Vec::new(),
            now: BEGIN,
            is_cancelled: false,
            effects: 0,
            random: 1,
            secrets: BTreeMap::new(),
            containers: Containers::new(),
            started: Vec::new(),
            answers: Box::new(answers::Nobody),
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

impl State {
    pub(crate) fn start(&mut self, request: &Request) -> Result<Ran, ContainerError> {
        self.started.push(request.clone());
        match self.containers.get_mut(&request.image) {
            Some(run) => run(request),
            None => Err(ContainerError::NotFound(format!("the mock has no image `{}`", request.image))),
        }
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

    /// Gives a secret a value.
    pub fn secret(&mut self, name: &str, value: impl AsRef<[u8]>) -> &mut Self {
        self.state().secrets.insert(name.to_owned(), value.as_ref().to_vec());
        self
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

    /// Lets somebody answer what the mock does not keep itself.
    pub fn answering(&mut self, answers: impl Answers + 'static) -> &mut Self {
        self.state().answers = Box::new(answers);
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
        let state = self.state.take().unwrap_or_default();
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
