//! The one door through which tasks of the gateway are spawned: named, and a panic in one is told.

use tracing::Instrument;

/// Runs a task beside all others.
pub(crate) fn spawn(name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
    #[expect(clippy::disallowed_methods, reason = "this is the door")]
    let running = tokio::spawn(task.instrument(tracing::debug_span!("task", name)));
    drop(running);
}
