//! The one door through which tasks are spawned: named, counted, panics reported.

use std::panic::AssertUnwindSafe;

use futures::FutureExt;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, Span};
use yuanli_model::{AttemptId, RunId};

/// The tasks of an engine. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tasks {
    tracker: TaskTracker,
    abort: CancellationToken,
}

impl Tasks {
    /// Runs a task beside all others. A panic in it is logged and ends this task only.
    pub(crate) fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.spawn_in(tracing::debug_span!("task", name), name, task);
    }

    /// The same for what an attempt does: each line of the log that is written meanwhile, by whomever, says of which.
    pub(crate) fn spawn_for(
        &self,
        attempt: &AttemptId,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        let AttemptId { run, stage, instance, attempt } = attempt;
        self.spawn_in(tracing::error_span!("attempt", %run, %stage, instance, attempt), name, task);
    }

    /// The same for what a run does.
    pub(crate) fn spawn_for_run(
        &self,
        run: RunId,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        self.spawn_in(tracing::error_span!("run", %run), name, task);
    }

    fn spawn_in(&self, span: Span, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let abort = self.abort.clone();
        // In a box: each of those around it would have room for it once more, for as long as it goes on.
        let task = AssertUnwindSafe(task).catch_unwind().boxed();
        let task = async move {
            let ended = abort.run_until_cancelled(task).await;
            if let Some(Err(panic)) = ended {
                tracing::error!(task = name, panic = panic_text(panic.as_ref()), "a task panicked");
            }
        };
        self.tracker.spawn(task.instrument(span));
    }

    /// Drops all tasks where they are, and every one that is spawned later.
    pub(crate) fn abort(&self) {
        self.abort.cancel();
    }

    /// Waits for the end of all tasks. More may be spawned until then.
    pub(crate) async fn join(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }
}

/// What a panic said.
pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}
