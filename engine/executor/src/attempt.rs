//! What is done for one attempt, beside its plugin: its workspace, its log, its report.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use futures::FutureExt;
use serde_json::Value;
use tokio::sync::mpsc;
use yuanli_model::{
    AttemptId, AttemptOutcome, Digest, Failure, FailureClass, Level, LogLine, SecretName, Stream, Timestamp,
    Workflow,
};
use yuanli_points::{Point, pass};
use yuanli_ports::plugins::{Afterwards, Attempt};
use yuanli_ports::workspaces::WorkspaceError;
use yuanli_ports::{AttemptLog, AttemptWorkspace, Cancellation};

use crate::cache::{Consulted, Question};
use crate::executor::{Error, Shared};
use crate::owner::{Message, Owner};
use crate::records::{Entries, Journal, Journals, Keep, OfAttempt};
use crate::task::panic_text;

/// What the task of an attempt works with.
struct Work {
    shared: Arc<Shared>,
    workflow: Arc<Workflow>,
    attempt: AttemptId,
    position: usize,
    component: Digest,
    config: Value,
    secrets: Arc<[SecretName]>,
    origin: Arc<yuanli_ports::plugins::Origin>,
    needs: Vec<Digest>,
    log: Arc<dyn AttemptLog>,
    journal: Arc<Journal>,
    /// Whether an earlier attempt may stand for it, or why that cannot be asked.
    question: Option<Result<Question, String>>,
    consulted: Answered,
    /// When it began, if an engine before this one has begun it.
    begun: Option<Timestamp>,
    /// Its workspace, once it has one. The folder stays until the end of the attempt is durable.
    workspace: Kept,
    afterwards: Afterwards,
    cancel: Cancellation,
}

/// The workspace of an attempt, for whoever removes its folder.
pub(crate) type Kept = Arc<OnceLock<Arc<dyn AttemptWorkspace>>>;

/// What was found of earlier attempts that may stand for one, once it was looked.
pub(crate) type Answered = Arc<Mutex<Option<Box<Consulted>>>>;

/// What an attempt leaves with the engine until its end is durable.
#[derive(Debug, Default)]
pub(crate) struct Leftover {
    /// What there may be of its journal.
    pub(crate) entries: Entries,
    /// What keeps them instead, where they are kept.
    pub(crate) kept: Option<Keep>,
    /// Its workspace.
    pub(crate) workspace: Option<Arc<dyn AttemptWorkspace>>,
    /// What its plugin has left.
    pub(crate) afterwards: Afterwards,
    /// What was found of earlier attempts.
    pub(crate) consulted: Option<Box<Consulted>>,
}

/// Starts an attempt in a task of its own, which reports to the owner's mailbox.
pub(crate) fn start(owner: &Owner, attempt: AttemptId, config: Value) {
    let workflow = Arc::clone(owner.run.workflow());
    let Some(position) = workflow.position(&attempt.stage) else {
        // `apply` has accepted the start of an attempt of this stage.
        unreachable!("stage `{}` was started and does not exist", attempt.stage);
    };
    let log = owner.open_log(&attempt);
    let records = owner.shared.records.clone();
    let begun = owner.begun_before(&attempt);
    let journal = Journal::new(records, attempt.clone(), begun.is_some());
    let (workspace, afterwards, consulted) = (Kept::default(), Afterwards::default(), Answered::default());
    let question = question(owner, &workflow, &attempt, position, &config);
    let work = Work {
        shared: Arc::clone(&owner.shared),
        position,
        component: owner.run.component(position),
        config,
        secrets: Arc::clone(&owner.secrets),
        origin: Arc::clone(&owner.origin),
        needs: owner.run.workspaces(position),
        log: Arc::clone(&log),
        journal: Arc::clone(&journal),
        question,
        consulted: Arc::clone(&consulted),
        begun,
        workspace: Arc::clone(&workspace),
        afterwards: afterwards.clone(),
        cancel: owner.cancel.child_token(),
        workflow,
        attempt: attempt.clone(),
    };
    let work = async move { Ok(work.run().await) };
    let mailbox = owner.to_mailbox.clone();
    let left = Left { shared: Arc::clone(&owner.shared), journal, workspace, afterwards, consulted };
    let of = attempt.clone();
    owner.shared.tasks.spawn_for(&of, "attempt", report(attempt, log, Some(left), mailbox, work));
}

/// What is asked of earlier attempts where the stage is cached.
fn question(
    owner: &Owner,
    workflow: &Workflow,
    attempt: &AttemptId,
    position: usize,
    config: &Value,
) -> Option<Result<Question, String>> {
    let cache = workflow.stages()[position].cache.clone()?;
    let values = owner.run.cache_values(position, attempt.instance);
    let question = values.map(|values| Question {
        workflow: workflow.name().clone(),
        attempt: attempt.clone(),
        component: owner.run.component(position),
        config: config.clone(),
        cache,
        values,
        is_bypassed: owner.run.is_cache_bypassed(),
        is_again: owner.begun_before(attempt).is_some(),
    });
    Some(question.map_err(|error| format!("the `values` of `cache`: {error}")))
}

/// What an attempt has, to be looked through at its end.
pub(crate) struct Left {
    shared: Arc<Shared>,
    journal: Arc<Journal>,
    workspace: Kept,
    afterwards: Afterwards,
    consulted: Answered,
}

impl Left {
    async fn over(self, attempt: &AttemptId, outcome: Option<&AttemptOutcome>) -> Leftover {
        let Self { shared, journal, workspace, afterwards, consulted } = self;
        let is_kept = match shared.options.journals.which {
            Journals::None => false,
            Journals::Failed => matches!(outcome, Some(AttemptOutcome::Failed(_))),
            Journals::All => outcome.is_some(),
        };
        let kept = match is_kept {
            // An attempt does not wait for what only helps to look at it.
            true => journal.keep_all(shared.ports.clock.now()).await.unwrap_or_else(|error| {
                tracing::warn!(%attempt, %error, "the calls of an attempt are not kept");
                None
            }),
            false => None,
        };
        Leftover {
            entries: journal.entries().await,
            kept,
            workspace: workspace.get().cloned(),
            afterwards,
            consulted: consulted.lock().unwrap_or_else(PoisonError::into_inner).take(),
        }
    }
}

/// Does the work of an attempt and reports its end to the owner's mailbox, or why that cannot be known.
pub(crate) async fn report(
    attempt: AttemptId,
    log: Arc<dyn AttemptLog>,
    left: Option<Left>,
    mailbox: mpsc::UnboundedSender<Box<Message>>,
    work: impl Future<Output = Result<AttemptOutcome, Error>>,
) {
    let outcome = match AssertUnwindSafe(work).catch_unwind().await {
        Ok(outcome) => outcome,
        Err(panic) => Ok(AttemptOutcome::Failed(Failure::permanent(
            "engine-panic",
            format!("the engine has a bug: {}; please report it", panic_text(panic.as_ref())),
        ))),
    };
    let log = log.finish().await;
    let log = log.inspect_err(|error| tracing::warn!(%attempt, %error, "a log is lost")).ok();
    pass(Point::LogFinished);
    let leftover = match left {
        Some(left) => left.over(&attempt, outcome.as_ref().ok()).await,
        None => Leftover::default(),
    };
    let message = match outcome {
        Ok(outcome) => Message::Ended { attempt, outcome, log, leftover },
        Err(error) => Message::Lost { attempt, error },
    };
    // The owner is gone when the store failed; the next engine finds the run as it was.
    let _ = mailbox.send(Box::new(message));
}

/// Writes a line of the engine's own.
pub(crate) fn note(shared: &Shared, log: &dyn AttemptLog, level: Level, text: String) {
    let at = shared.ports.clock.now();
    log.append(LogLine { at, stream: Stream::Engine, level, text, fields: Vec::new() });
}

impl Work {
    async fn run(&self) -> AttemptOutcome {
        pass(Point::AttemptBegun);
        // What an attempt has written that has recorded nothing is not known to it: it begins with what it began with.
        let is_adopted = match self.journal.is_empty().await {
            Ok(is_empty) => !is_empty,
            Err(error) => {
                let why = format!("what it has called cannot be read: {error}");
                return AttemptOutcome::Failed(Failure::transient("engine", why));
            }
        };
        let workspaces = &self.shared.ports.workspaces;
        let begun = workspaces.begin(&self.attempt, &self.needs, &self.workflow, is_adopted).await;
        let workspace = match begun {
            Ok(workspace) => workspace,
            Err(error) => return AttemptOutcome::Failed(of_workspace(&error)),
        };
        // It is set nowhere else.
        let _ = self.workspace.set(Arc::clone(&workspace));
        match self.consult(&workspace, is_adopted).await {
            Ok(None) => {}
            Ok(Some(outputs)) => return succeeded(&*workspace, outputs).await,
            Err(failure) => return AttemptOutcome::Failed(failure),
        }
        pass(Point::WorkspaceMade);
        let ended = self.shared.ports.plugins.run(self.plugin_attempt(Arc::clone(&workspace))).await;
        pass(Point::PluginDone);
        match ended {
            Ok(outputs) => {
                self.count_artifacts().await;
                succeeded(&*workspace, outputs).await
            }
            Err(failure) => match failure.class {
                FailureClass::Cancelled if self.cancel.is_cancelled() => AttemptOutcome::Cancelled,
                _ => AttemptOutcome::Failed(failure),
            },
        }
    }

    /// The outputs of an earlier attempt that stands for this one, if one does.
    async fn consult(
        &self,
        workspace: &Arc<dyn AttemptWorkspace>,
        is_adopted: bool,
    ) -> Result<Option<Value>, Failure> {
        let question = match &self.question {
            // One that has done something goes on with it.
            None | Some(Ok(_)) if is_adopted => return Ok(None),
            None => return Ok(None),
            Some(Err(why)) => return Err(Failure::permanent("expression", why)),
            Some(Ok(question)) => question,
        };
        let consulted = question.ask(&self.shared, workspace).await;
        let mut consulted = consulted.map_err(|error| {
            Failure::transient("engine", format!("what earlier runs gave cannot be taken over: {error}"))
        })?;
        let outputs = consulted.outputs.take();
        *self.consulted() = Some(Box::new(consulted));
        Ok(outputs)
    }

    fn consulted(&self) -> MutexGuard<'_, Option<Box<Consulted>>> {
        self.consulted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes how many artifacts there are to be found again.
    async fn count_artifacts(&self) {
        if self.question.is_none() {
            return;
        }
        let count = self.shared.records.artifacts_of_attempt(&self.attempt).await.map(|found| found.len());
        let mut consulted = self.consulted();
        match (count, &mut *consulted) {
            (Ok(count), Some(consulted)) => consulted.artifacts = count as u32,
            _ => *consulted = None,
        }
    }

    fn records(&self) -> Arc<OfAttempt> {
        let records = self.shared.records.clone();
        OfAttempt::new(records, self.attempt.clone(), Arc::clone(&self.workflow))
    }

    fn plugin_attempt(&self, workspace: Arc<dyn AttemptWorkspace>) -> Attempt {
        let stage = &self.workflow.stages()[self.position];
        Attempt {
            id: self.attempt.clone(),
            workflow: self.workflow.name().clone(),
            component: self.component,
            grants: stage.grants.clone(),
            config: self.config.clone(),
            secrets: Arc::clone(&self.secrets),
            timeout: stage.timeout.unwrap_or(self.shared.options.timeout),
            limits: stage.limits,
            started: self.begun.unwrap_or_else(|| self.shared.ports.clock.now()),
            is_again: self.begun.is_some(),
            origin: Arc::clone(&self.origin),
            workspace,
            log: Arc::clone(&self.log),
            journal: self.journal.clone(),
            records: self.records(),
            cancel: self.cancel.clone(),
            afterwards: self.afterwards.clone(),
            images: self.consulted().as_ref().map(|consulted| consulted.images.clone()),
        }
    }
}

async fn succeeded(workspace: &dyn AttemptWorkspace, outputs: Value) -> AttemptOutcome {
    let published = workspace.publish().await;
    pass(Point::WorkspaceKept);
    match published {
        Ok(published) => AttemptOutcome::Succeeded { outputs, workspace: published },
        Err(error) => AttemptOutcome::Failed(of_workspace(&error)),
    }
}

fn of_workspace(error: &WorkspaceError) -> Failure {
    match error {
        WorkspaceError::Conflict(conflict) => Failure::permanent("workspace-conflict", conflict.to_string()),
        WorkspaceError::Io { .. } | WorkspaceError::Missing(_) => {
            Failure::transient("workspace", error.to_string())
        }
    }
}
