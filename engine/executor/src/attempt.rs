//! What is done for one attempt, beside its plugin: its workspace, its log, its report.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt;
use serde_json::Value;
use tokio::sync::mpsc;
use yuanli_model::{
    AttemptId, AttemptOutcome, Digest, Failure, FailureClass, Level, LogLine, SecretName, Stream, Workflow,
};
use yuanli_ports::plugins::Attempt;
use yuanli_ports::workspaces::WorkspaceError;
use yuanli_ports::{AttemptLog, AttemptWorkspace, Cancellation};

use crate::executor::{Error, Shared};
use crate::owner::{Message, Owner};
use crate::records::{Journal, OfAttempt};
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
    cancel: Cancellation,
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
    let journal = Journal::new(records, attempt.clone(), owner.is_again(&attempt));
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
        cancel: owner.cancel.child_token(),
        workflow,
        attempt: attempt.clone(),
    };
    let work = async move { Ok(work.run().await) };
    let mailbox = owner.to_mailbox.clone();
    owner.shared.tasks.spawn("attempt", report(attempt, log, Some(journal), mailbox, work));
}

/// Does the work of an attempt and reports its end to the owner's mailbox, or why that cannot be known.
pub(crate) async fn report(
    attempt: AttemptId,
    log: Arc<dyn AttemptLog>,
    journal: Option<Arc<Journal>>,
    mailbox: mpsc::UnboundedSender<Message>,
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
    let calls = match journal {
        Some(journal) => journal.last().await,
        None => 0,
    };
    let message = match outcome {
        Ok(outcome) => Message::Ended { attempt, outcome, log, calls },
        Err(error) => Message::Lost { attempt, error },
    };
    // The owner is gone when the store failed; the next engine finds the run as it was.
    let _ = mailbox.send(message);
}

/// Writes a line of the engine's own.
pub(crate) fn note(shared: &Shared, log: &dyn AttemptLog, level: Level, text: String) {
    let at = shared.ports.clock.now();
    log.append(LogLine { at, stream: Stream::Engine, level, text, fields: Vec::new() });
}

impl Work {
    async fn run(&self) -> AttemptOutcome {
        let workspaces = &self.shared.ports.workspaces;
        let workspace = match workspaces.begin(&self.attempt, &self.needs, &self.workflow).await {
            Ok(workspace) => workspace,
            Err(error) => return AttemptOutcome::Failed(of_workspace(&error)),
        };
        match self.shared.ports.plugins.run(self.plugin_attempt(Arc::clone(&workspace))).await {
            Ok(outputs) => match workspace.publish().await {
                Ok(published) => AttemptOutcome::Succeeded { outputs, workspace: published },
                Err(error) => AttemptOutcome::Failed(of_workspace(&error)),
            },
            Err(failure) => {
                if let Err(error) = workspace.discard().await {
                    note(&self.shared, &*self.log, Level::Warn, format!("not cleaned up: {error}"));
                }
                match failure.class {
                    FailureClass::Cancelled if self.cancel.is_cancelled() => AttemptOutcome::Cancelled,
                    _ => AttemptOutcome::Failed(failure),
                }
            }
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
            started: self.shared.ports.clock.now(),
            origin: Arc::clone(&self.origin),
            workspace,
            log: Arc::clone(&self.log),
            journal: self.journal.clone(),
            records: self.records(),
            cancel: self.cancel.clone(),
        }
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
