//! The one door through which tasks are spawned: named, counted, panics reported.

use std::panic::AssertUnwindSafe;

use futures::FutureExt;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

/// The tasks of an engine. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tasks(TaskTracker);

impl Tasks {
    /// Runs a task beside all others. A panic in it is logged and ends this task only.
    pub(crate) fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let task = async move {
            if let Err(panic) = AssertUnwindSafe(task).catch_unwind().await {
                tracing::error!(task = name, panic = panic_text(panic.as_ref()), "a task panicked");
            }
        };
        self.0.spawn(task.instrument(tracing::debug_span!("task", name)));
    }

    /// Waits for the end of all tasks. More may be spawned until then.
    pub(crate) async fn join(&self) {
        self.0.close();
        self.0.wait().await;
    }
}

/// What a panic said.
pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}
