//! Runs that stages of other runs start and wait for.
//!
//! The attempt is the cause of the child: whenever the attempt is gone on with, it finds the same one. A child is a run
//! like any other, with an owner of its own; all that its parent does is to wait for its end, and to ask for it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indexmap::IndexMap;
use serde_json::Value;
use tokio::sync::Notify;
use yuanli_flow::outcome_for_stage;
use yuanli_model::input::InvalidInput;
use yuanli_model::run::{Again, Cause};
use yuanli_model::stage::WorkflowReference;
use yuanli_model::{AttemptId, AttemptOutcome, Failure, FailureClass, InputName, Level, Outcome, RunId};
use yuanli_points::{Point, pass};
use yuanli_ports::{AttemptLog, Cancellation};

use crate::attempt;
use crate::executor::{Error, Executor};
use crate::history::Summary;
use crate::owner::{Family, Owner};
use crate::patience::patiently;
use crate::retry::Retry;
use crate::submission::{Definition, Manner, Submission};

/// The runs that somebody waits for: whoever does is told when one is driven, and when it is not any more.
#[derive(Debug, Default)]
pub(crate) struct Awaited(Mutex<HashMap<RunId, Arc<Notify>>>);

/// That somebody waits for a run, until this is dropped. One at a time waits for a run.
struct Wait<'a> {
    awaited: &'a Awaited,
    run: RunId,
    news: Arc<Notify>,
}

impl Awaited {
    fn wait_for(&self, run: RunId) -> Wait<'_> {
        let news = Arc::new(Notify::new());
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(run, Arc::clone(&news));
        Wait { awaited: self, run, news }
    }

    /// There is something new about a run.
    pub(crate) fn tell(&self, run: RunId) {
        if let Some(news) = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&run) {
            news.notify_one();
        }
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        self.awaited.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.run);
    }
}

/// What the task of such an attempt works with.
struct Parent {
    executor: Executor,
    attempt: AttemptId,
    uses: WorkflowReference,
    inputs: Value,
    bypasses_cache: bool,
    /// The run that the one around it takes over from, unless this stage was named to begin with.
    again: Option<RunId>,
    /// How many attempts the stage may have.
    attempts: u32,
    timeout: Option<Duration>,
    family: Family,
    log: Arc<dyn AttemptLog>,
    cancel: Cancellation,
    /// Fires when the owner gives the run up until the engine is started again.
    given_up: Cancellation,
}

/// Starts the run of an attempt, in a task of its own, which reports its end to the owner's mailbox.
pub(crate) fn start(owner: &Owner, attempt: AttemptId, uses: WorkflowReference, inputs: Value) {
    let log = owner.open_log(&attempt);
    let stage = owner.run.workflow().stage(&attempt.stage);
    let is_named = |again: &&Again| again.from.iter().any(|point| point.stage == attempt.stage);
    let again = owner.run.again().filter(|again| !is_named(again)).map(|again| again.run);
    let parent = Parent {
        again,
        attempts: stage.map_or(1, |stage| stage.retry.attempts.get()),
        executor: Executor { shared: Arc::clone(&owner.shared) },
        attempt: attempt.clone(),
        uses,
        inputs,
        bypasses_cache: owner.run.is_cache_bypassed(),
        timeout: stage.and_then(|stage| stage.timeout),
        family: owner.family.clone(),
        log: Arc::clone(&log),
        cancel: owner.cancel.child_token(),
        given_up: owner.given_up.clone(),
    };
    // Asked again it finds the run that it has started.
    let work = async move { patiently(&parent.attempt, || parent.work()).await };
    let of = attempt.clone();
    let report = attempt::report(attempt, log, None, owner.to_mailbox.clone(), work);
    owner.shared.tasks.spawn_for(&of, "child", report);
}

impl Parent {
    /// How the run ended. An error says why that cannot be known before the engine is started again.
    async fn work(&self) -> Result<AttemptOutcome, Error> {
        match self.child().await? {
            Ok(child) => self.ended(child).await,
            Err(outcome) => Ok(outcome),
        }
    }

    /// The run of this attempt: the one that was started before, or a new one. Else how the attempt ends without one.
    async fn child(&self) -> Result<Result<RunId, AttemptOutcome>, Error> {
        let cause = cause(&self.attempt);
        if let Some(child) = self.executor.started(Some(&cause)).await? {
            return Ok(Ok(child));
        }
        if self.cancel.is_cancelled() {
            return Ok(Err(AttemptOutcome::Cancelled));
        }
        let failed = |kind, why| Ok(Err(AttemptOutcome::Failed(Failure::permanent(kind, why))));
        let Some(definition) = self.family.workflows.get(&self.uses) else {
            return failed(
                "unknown-workflow",
                format!("`{}` was not found when the run was started", self.uses),
            );
        };
        let inputs = match bind(definition, &self.inputs) {
            Ok(inputs) => inputs,
            Err(why) => return failed("invalid-inputs", format!("the inputs of `{}`: {why}", self.uses)),
        };
        let submission = Submission {
            definition: definition.clone(),
            inputs,
            workflows: Arc::clone(&self.family.workflows),
            cause: Some(cause),
            is_kept: self.family.is_kept,
            manner: Manner { bypasses_cache: self.bypasses_cache, ..Manner::default() },
        };
        match self.begin(submission).await {
            Ok(run) => {
                pass(Point::ChildStarted);
                Ok(Ok(run))
            }
            Err(error @ Error::Group(_)) => failed("expression", error.to_string()),
            Err(error @ Error::TooLong(_)) => failed("too-long", error.to_string()),
            Err(error) => Err(error),
        }
    }

    /// Starts the run. Where the one around it takes over from another one, it takes over from the one that the stage had
    /// started there, unless that succeeded: what succeeded in it does not run again either.
    async fn begin(&self, submission: Submission) -> Result<RunId, Error> {
        let by = || Cause::Stage(self.attempt.clone());
        if let Some(run) = self.before().await? {
            let retry = Retry { submission: submission.clone(), run, from: Vec::new() };
            match self.executor.retry(retry, by()).await {
                Ok(started) => return Ok(started.run),
                Err(
                    error @ (Error::NotReusable(_)
                    | Error::Unkept { .. }
                    | Error::NotStored(_)
                    | Error::Workspace(_)),
                ) => {
                    let text = format!("nothing is taken over from run {run}: {error}");
                    attempt::note(&self.executor.shared, &*self.log, Level::Info, text);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(self.executor.start_by(submission, by()).await?.run)
    }

    /// The run that this stage had started in the run that this one takes over from, if that run is to be taken over from:
    /// with the stage as such, not when it is to begin with it; by its first attempt.
    async fn before(&self) -> Result<Option<RunId>, Error> {
        let Some(run) = self.again else { return Ok(None) };
        if self.attempt.attempt > 1 {
            return Ok(None);
        }
        let history = &self.executor.shared.history;
        // The last of its attempts there; more than it may have now do not count.
        let mut found = None;
        for attempt in (1..=self.attempts).rev() {
            let attempt = AttemptId { run, attempt, ..self.attempt.clone() };
            found = self.executor.started(Some(&cause(&attempt))).await?;
            if found.is_some() {
                break;
            }
        }
        let Some(run) = found else { return Ok(None) };
        let ended = history.summary(run).await?.and_then(|summary| summary.ended);
        Ok(ended.filter(|(_, outcome)| *outcome != Outcome::Succeeded).map(|_| run))
    }

    /// Waits for the end of the run. It is asked to end when this attempt is, or its time is over.
    async fn ended(&self, child: RunId) -> Result<AttemptOutcome, Error> {
        let shared = &self.executor.shared;
        attempt::note(
            shared,
            &*self.log,
            Level::Info,
            format!("run {child} of workflow `{}`", self.uses.name),
        );
        let wait = shared.awaited.wait_for(child);
        let (mut asked, mut is_told, mut is_again, mut was_active) = (None, false, false, false);
        loop {
            // Looked at first: an end is durable before nobody drives the run any more.
            let is_active = shared.is_active(child);
            let Some(summary) = shared.history.summary(child).await? else {
                return Ok(AttemptOutcome::Failed(lost(child)));
            };
            if summary.ended.is_some() {
                return self.outcome(&summary, asked).await;
            }
            if was_active && !is_active {
                // Its owner has given it up, and this one is to do the same.
                return Err(Error::NotActive(child));
            }
            was_active |= is_active;
            if let Some(reason) = asked
                && !is_told
            {
                // One that nobody drives yet is told when somebody does: that is news.
                is_told = is_active && (!is_again && self.is_asked(child).await? || self.ask(child, reason));
            }
            let due = self.timeout.map(|timeout| summary.created.after(timeout));
            tokio::select! {
                biased;
                () = self.given_up.cancelled() => return Err(Error::NotActive(self.attempt.run)),
                // Also one that was asked as its time is over: that ends its `finally` part too.
                () = self.cancel.cancelled(), if asked != Some(Reason::Cancelled) => {
                    is_again = is_told;
                    (asked, is_told) = (Some(Reason::Cancelled), false);
                }
                () = shared.wait_until(due), if asked.is_none() => asked = Some(Reason::TimedOut),
                () = wait.news.notified() => {}
            }
        }
    }

    /// Whether the run is to end already. To ask once more would end its `finally` part too, which the engine before this one
    /// has not meant.
    async fn is_asked(&self, child: RunId) -> Result<bool, Error> {
        let stored = self.executor.shared.history.run(child).await?;
        Ok(stored.is_some_and(|(run, _)| run.is_cancelling()))
    }

    /// Asks the run to end; whether there was somebody to hear it.
    fn ask(&self, child: RunId, reason: Reason) -> bool {
        self.executor.cancel(child, &self.in_words(reason)).is_ok()
    }

    fn in_words(&self, reason: Reason) -> String {
        let AttemptId { run, stage, .. } = &self.attempt;
        match reason {
            Reason::Cancelled => format!("run {run} is being stopped"),
            Reason::TimedOut => format!("the time of stage `{stage}` of run {run} is over"),
        }
    }

    /// What the end of the run is for this attempt.
    async fn outcome(&self, summary: &Summary, asked: Option<Reason>) -> Result<AttemptOutcome, Error> {
        let child = summary.id;
        let is_success = matches!(summary.ended, Some((_, Outcome::Succeeded)));
        match asked {
            Some(Reason::Cancelled) => return Ok(AttemptOutcome::Cancelled),
            // A success that crossed the question is one.
            Some(Reason::TimedOut) if !is_success => {
                let limit = self.timeout.unwrap_or_default();
                let message = format!("run {child} took longer than {limit:?}; give it more with `timeout:`");
                return Ok(AttemptOutcome::Failed(Failure::transient("timeout", message)));
            }
            Some(Reason::TimedOut) | None => {}
        }
        let Some((run, events)) = self.executor.shared.history.run(child).await? else {
            return Ok(AttemptOutcome::Failed(lost(child)));
        };
        match events.last() {
            Some(last) => Ok(outcome_for_stage(&run, &last.event)),
            None => Ok(AttemptOutcome::Failed(lost(child))),
        }
    }
}

/// What names the run of an attempt.
pub(crate) fn cause(attempt: &AttemptId) -> String {
    format!("stage\0{attempt}")
}

/// Why a run is asked to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reason {
    Cancelled,
    TimedOut,
}

/// The inputs of a run, checked as those that a person gives.
fn bind(definition: &Definition, inputs: &Value) -> Result<IndexMap<InputName, Value>, String> {
    let given = match inputs {
        Value::Object(given) => given.clone().into_iter().collect(),
        _ => IndexMap::new(),
    };
    definition.workflow.bind(given).map_err(|wrong| InvalidInput::in_words(&wrong))
}

fn lost(child: RunId) -> Failure {
    let message = format!("run {child} is not stored any more");
    Failure::new(FailureClass::Interrupted, "run-lost", message)
}
