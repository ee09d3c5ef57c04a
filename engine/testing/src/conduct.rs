//! One case from its start to its end, with the people in it who answer and cancel.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _};
use indexmap::IndexMap;
use serde_json::Value;
use tokio::runtime::Handle;
use yuanli_executor::{Definition, Definitions, Executor, Manner, Submission};
use yuanli_lang::{Case, GivenAnswer};
use yuanli_model::run::{Answer, Cause};
use yuanli_model::{Digest, InputName, PluginDescription, RunId, Timestamp};
use yuanli_ports::{Clock as _, Plugins, Store};

use crate::clock::CaseClock;
use crate::compare;
use crate::observed::Observed;
use crate::plugins::CasePlugins;
use crate::runs::{Runs, Seen};
use crate::world;

/// Lines of the log that are kept for who looks for the reason of a difference: the last ones.
const LAST_LINES: usize = 20;
/// Who cancels runs in tests, for the reason of it.
const CANCELLED: &str = "the test cancels it";

/// What is tested.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The workflow.
    pub definition: Definition,
    /// The workflows that its stages run.
    pub workflows: Arc<Definitions>,
    /// What its plugins say of themselves, by component.
    pub descriptions: Arc<HashMap<Digest, Arc<PluginDescription>>>,
    /// What runs plugins that reach nothing outside.
    pub plugins: Arc<dyn Plugins>,
    /// Where these are run.
    pub runtime: Handle,
}

/// What came of a case.
#[derive(Debug, Clone, PartialEq)]
pub struct Tried {
    /// What differs from what was expected, a line each.
    pub differences: Vec<String>,
    /// The last lines that its stages wrote.
    pub log: Vec<String>,
    /// How long the run took on its clock.
    pub took: Duration,
}

/// Why a case cannot be tried at all.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The machine has no threads or timers left.
    #[error("no runtime for a test: {0}")]
    Runtime(#[from] std::io::Error),
    /// The executor failed, which a store in memory does not.
    #[error(transparent)]
    Executor(yuanli_executor::Error),
    /// The run is not there.
    #[error("the run of a test is lost")]
    Lost,
}

/// What somebody does meanwhile. It gives a line when that was not possible.
type Doing = BoxFuture<'static, Option<String>>;

/// Tries a case with these inputs. Takes the thread until it is done, so it is to be one for work that blocks.
///
/// # Errors
/// See [`Error`].
pub fn try_out(
    subject: &Subject,
    case: &Case,
    inputs: IndexMap<InputName, Value>,
    by: Cause,
) -> Result<Tried, Error> {
    let clock = Arc::new(CaseClock::new(case.now));
    let idle = Arc::clone(&clock);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .on_thread_park(move || idle.thread_is_idle())
        .build()?;
    runtime.block_on(conduct(subject, case, inputs, by, clock))
}

async fn conduct(
    subject: &Subject,
    case: &Case,
    inputs: IndexMap<InputName, Value>,
    by: Cause,
    clock: Arc<CaseClock>,
) -> Result<Tried, Error> {
    let plugins = Arc::new(CasePlugins {
        tested: subject.definition.workflow.name().clone(),
        fakes: case.fakes.clone(),
        clock: Arc::clone(&clock),
        real: Arc::clone(&subject.plugins),
        runtime: subject.runtime.clone(),
        descriptions: Arc::clone(&subject.descriptions),
        unsaid: Mutex::default(),
    });
    let (executor, store) = world::executor(Arc::clone(&clock), plugins.clone());
    let submission = Submission {
        definition: subject.definition.clone(),
        inputs,
        workflows: Arc::clone(&subject.workflows),
        cause: None,
        is_kept: false,
        manner: Manner::default(),
    };
    let begin = clock.now();
    let run = match executor.start_by(submission, by).await {
        Ok(started) => started.run,
        Err(yuanli_executor::Error::Group(why)) => {
            let differences = compare::not_started(&case.expect, &format!("its concurrency group: {why}"));
            return Ok(Tried { differences, log: Vec::new(), took: Duration::ZERO });
        }
        Err(error) => return Err(Error::Executor(error)),
    };
    let followed = follow(&executor, store, run, case, &clock).await?;
    let found = executor.history().run(run).await.map_err(Error::Executor)?;
    let (state, events) = found.ok_or(Error::Lost)?;
    let unsaid = std::mem::take(&mut *plugins.unsaid.lock().unwrap_or_else(PoisonError::into_inner));
    let observed = Observed { workflow: &subject.definition.workflow, begin, events: &events, run: &state };
    let Followed { log, mut differences, stuck } = followed;
    differences.extend(unsaid_in_words(&unsaid));
    match stuck {
        Some(waiting) => differences.push(Observed::waits_in_words(&waiting)),
        None => differences.extend(compare::differences(&case.expect, &observed)),
    }
    Ok(Tried { differences, log, took: observed.took() })
}

/// What was seen of a run while it went on.
struct Followed {
    log: Vec<String>,
    differences: Vec<String>,
    /// The approvals that it waits for, where nothing will ever happen in it any more.
    stuck: Option<BTreeSet<String>>,
}

async fn follow(
    executor: &Executor,
    store: Arc<dyn Store>,
    run: RunId,
    case: &Case,
    clock: &Arc<CaseClock>,
) -> Result<Followed, Error> {
    let mut followed = Followed { log: Vec::new(), differences: Vec::new(), stuck: None };
    let mut doings: FuturesUnordered<Doing> = FuturesUnordered::new();
    if let Some(after) = case.cancel {
        doings.push(cancel(executor.clone(), Arc::clone(clock), run, clock.now().after(after)));
    }
    let mut runs = Runs::new(executor.clone(), store, run);
    // What was said of the thread before is over.
    let _ = clock.has_been_idle().now_or_never();
    let going_on = clock.go_on();
    tokio::pin!(going_on);
    loop {
        tokio::select! {
            seen = runs.next() => match seen.map_err(Error::Executor)? {
                Seen::Asked(run, stage, at) => {
                    let answers = case.answers.iter().filter(|answer| answer.stage == stage);
                    doings.extend(answers.map(|given| answer(executor, clock, run, at, given)));
                }
                Seen::Line(stage, text) => {
                    if followed.log.len() == LAST_LINES {
                        followed.log.remove(0);
                    }
                    followed.log.push(format!("[{stage}] {text}"));
                }
                Seen::Over => return Ok(followed),
            },
            Some(said) = doings.next(), if !doings.is_empty() => followed.differences.extend(said),
            () = &mut going_on => {
                followed.stuck = Some(std::mem::take(&mut runs.waiting));
                return Ok(followed);
            }
        }
    }
}

fn cancel(executor: Executor, clock: Arc<CaseClock>, run: RunId, at: Timestamp) -> Doing {
    async move {
        clock.wait_until(at).await;
        let cancelled = executor.cancel_durably(run, CANCELLED).await;
        cancelled.err().map(|error| format!("it cannot be cancelled then: {error}"))
    }
    .boxed()
}

fn answer(
    executor: &Executor,
    clock: &Arc<CaseClock>,
    run: RunId,
    asked: Timestamp,
    given: &GivenAnswer,
) -> Doing {
    let (executor, clock, at) = (executor.clone(), Arc::clone(clock), asked.after(given.after));
    let GivenAnswer { stage, by, is_approved, comment, inputs, .. } = given.clone();
    async move {
        clock.wait_until(at).await;
        let answer = Answer { by: by.clone(), is_approved, comment, inputs: Value::Object(inputs) };
        let answered = executor.answer(run, stage.stage.clone(), answer).await;
        answered.err().map(|error| format!("the answer of {by} to `{stage}` is not taken: {error}"))
    }
    .boxed()
}

fn unsaid_in_words(unsaid: &BTreeSet<String>) -> impl Iterator<Item = String> {
    unsaid.iter().map(|key| {
        format!("stage `{key}` ran, and reaches what a test does not: say under `stages` what it does, such as `{key}: {{ outputs: {{}} }}`")
    })
}
